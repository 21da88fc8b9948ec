//! People with accounts, from signing up to being erased, by the rules of `docs/api.md`.

mod addresses;
mod audit;
mod codes;
mod damage;
mod erasing;
mod fields;
mod keys;
mod limits;
mod matrix;
mod passwords;
mod roles;
mod sessions;
mod tokens;
mod upgrade;
mod walk;

use std::process::Command;

use crate::support::{Person, Shop, run};

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
