//! People with accounts, from signing up to being erased, by the rules of `docs/api.md`.

pub(crate) mod addresses;
pub(crate) mod audit;
mod canaries;
mod codes;
mod damage;
mod erasing;
mod fields;
mod keys;
mod limits;
mod matrix;
mod mistakes;
mod passwords;
mod post;
mod races;
mod roles;
mod sessions;
mod timing;
mod tokens;
mod upgrade;
mod walk;

use std::process::Command;

pub(crate) use addresses::form as address_form;

use crate::support::{Person, Shop, run};

/// Every table as it is: all columns of all rows, as text and as bytes.
#[track_caller]
fn dump(shop: &Shop) -> Vec<u8> {
    let url = shop.database_url();
    if let Some(file) = url.strip_prefix("sqlite://") {
        let parts = ["", "-wal"].map(|end| std::fs::read(format!("{file}{end}")));
        return parts.into_iter().filter_map(Result::ok).flatten().collect();
    }
    let (server, database) = url
        .rsplit_once('/')
        .expect("mysql://user@host:port/database");
    let (user, host) = server
        .trim_start_matches("mysql://")
        .rsplit_once('@')
        .expect("a user");
    let (host, port) = host.split_once(':').unwrap_or((host, "3306"));
    let mut dumped = Vec::new();
    for way in [&["--hex-blob"] as &[&str], &["--skip-extended-insert"]] {
        let mut command = Command::new("mariadb-dump");
        command
            .arg("--no-defaults")
            .args(way)
            .args([
                "--user",
                user,
                "--host",
                host,
                "--port",
                port,
                "--protocol",
                "tcp",
            ])
            .arg(database);
        let output = run(&mut command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "mariadb-dump: {said}");
        assert!(output.stdout.windows(8).any(|it| it == b"accounts"));
        dumped.extend(output.stdout);
    }
    dumped
}

/// `layby admin create` for somebody with a name, the password in the environment.
fn create_admin(shop: &Shop, person: &Person) -> Command {
    let mut command = shop.command("admin create");
    command
        .args(["--username", &person.username, "--email", &person.email])
        .env("LAYBY_ADMIN_PASSWORD", &person.password);
    command
}

/// An admin with a name, made by the operator.
#[track_caller]
fn keeper(shop: &Shop, first_name: &str) -> Person {
    let person = Person::new(first_name);
    let output = run(&mut create_admin(shop, &person));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    person
}
