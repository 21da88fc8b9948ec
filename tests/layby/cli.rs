//! The command line: what each command says and how it ends.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Process, Sale, Shop, Store, layby, line, on_each_database, run, text};

on_each_database! {
    verify_proves_a_fresh_a_running_and_a_stopped_store,
    verify_names_what_is_wrong_with_the_tables,
    seeded_buyers_can_buy_beside_a_running_server,
    a_created_admin_can_sell,
    migrating_is_done_as_often_as_one_likes,
    a_second_server_on_the_data_directory_is_refused,
}

fn verify_proves_a_fresh_a_running_and_a_stopped_store(store: Store) {
    let mut shop = Shop::open(store);
    let report = shop.prove_books();
    assert_eq!(report["journal"]["last"], 0);
    assert_eq!(
        (&report["products"], &report["units"]["total"]),
        (&json!(0), &json!(0))
    );

    let lamp = shop.product(Sale::of(10));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 2);
    alice.hold(&lamp, 1);
    alice.pay(&order, "card").is(201);
    let proves = |shop: &Shop| {
        let report = shop.prove_books();
        let units = &report["units"];
        let buckets = ["total", "available", "held", "sold"].map(|name| units[name].clone());
        assert_eq!(buckets, [10, 7, 1, 2].map(|units| json!(units)), "{report}");
        assert_eq!(
            (&report["products"], &report["orders"]),
            (&json!(1), &json!(2))
        );
        assert_eq!(report["journal"]["complete"], true);
        assert_eq!(report["faults"], json!([]));
    };
    proves(&shop);
    shop.catches_up();
    let prose = run(&mut shop.command("verify"));
    let said = String::from_utf8_lossy(&prose.stdout).into_owned();
    assert!(
        prose.status.success() && said.contains("10 = 7 available + 1 held"),
        "{said}"
    );
    shop.kill();
    proves(&shop);
    shop.start();
    shop.stop();
    proves(&shop);
}

fn verify_names_what_is_wrong_with_the_tables(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    shop.buyer().hold(&lamp, 2);
    shop.catches_up();
    shop.stop();
    shop.sql(
        "UPDATE products SET stock_available = stock_available + 1, stock_held = stock_held - 1",
    );
    let (code, report) = shop.verify();
    assert_eq!(
        (code, &report["verdict"]),
        (Some(1), &json!("wrong")),
        "{report:#}"
    );
    let faults = report["faults"].to_string();
    assert!(faults.contains(&lamp), "{faults}");
    shop.leave_books_unproved();
}

fn seeded_buyers_can_buy_beside_a_running_server(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(100));
    let file = shop.scratch().join("tokens.csv");
    let seed = |buyers: &str| {
        let mut command = shop.command("seed");
        command.args(["--buyers", buyers, "--out"]).arg(&file);
        succeeds(&mut command);
        std::fs::read_to_string(&file).expect("the tokens")
    };
    let tokens = seed("20");
    assert_eq!(tokens.lines().count(), 20);
    for line_of_file in tokens.lines() {
        let (id, token) = line_of_file.split_once(',').expect("user_id,token");
        let buyer = shop.visitor().with_token(token);
        let order = buyer.hold(&lamp, 1);
        assert_eq!(text(&buyer.order(&order), "buyer_id"), id);
        buyer.get("/v1/admin/orders").is_refused(403, "forbidden");
    }
    let more = seed("3");
    assert_eq!(more.lines().count(), 3);
    assert!(more.lines().all(|it| !tokens.contains(it)));
}

fn a_created_admin_can_sell(store: Store) {
    let mut shop = Shop::closed(store, &[]);
    let created = succeeds(&mut shop.command("admin create"));
    let word = |name: &str| {
        let lines = created.lines().find_map(|it| it.strip_prefix(name));
        lines
            .unwrap_or_else(|| panic!("no {name} in {created}"))
            .trim()
            .to_owned()
    };
    shop.start();
    let admin = shop.visitor().with_token(word("token"));
    admin.get("/v1/admin/orders").is(200);
    assert!(uuid::Uuid::parse_str(&word("admin")).is_ok());
    let beside = succeeds(&mut shop.command("admin create"));
    assert_ne!(beside, created);
}

fn migrating_is_done_as_often_as_one_likes(store: Store) {
    let mut shop = Shop::closed(store, &[]);
    succeeds(&mut shop.command("migrate"));
    succeeds(&mut shop.command("migrate"));
    shop.start();
    let lamp = shop.product(Sale::of(1));
    shop.buyer().hold(&lamp, 1);
    succeeds(&mut shop.command("migrate"));
    assert_eq!(shop.units(&lamp), (0, 1, 0));
}

fn a_second_server_on_the_data_directory_is_refused(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    for _ in 0..3 {
        let began = Instant::now();
        let (code, said) = shop.fails_to_start();
        assert_eq!(code, Some(5), "{said}");
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        assert!(said.contains("in use") && said.contains("data"), "{said}");
    }
    shop.buyer().hold(&lamp, 1);
    // A killed process leaves no lock.
    shop.kill_and_start();
    assert_eq!(shop.units(&lamp), (0, 1, 0));
}

#[test]
fn wrong_use_ends_with_2_and_explains() {
    for words in [
        "",
        "sell",
        "serve --colour",
        "serve --listen",
        "serve --listen everywhere",
        "serve --workers many",
        "serve --in-flight-max -1",
        "seed",
        "seed --buyers 0 --out x",
        "seed --buyers 10",
        "verify --xml",
        "admin",
        "admin delete",
    ] {
        let output = run(&mut layby(words));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words}: {said}");
        assert!(
            said.contains("Usage") || said.contains("--help"),
            "{words}: {said}"
        );
    }
}

#[test]
fn help_explains_every_command_option_and_exit_code() {
    let help = succeeds(&mut layby("--help"));
    for command in ["serve", "admin", "migrate", "verify", "seed", "openapi"] {
        assert!(help.contains(command), "{help}");
        succeeds(&mut layby(&format!("{command} --help")));
    }
    for code in [
        "0 done",
        "1 a fault",
        "2 wrong use",
        "3 refused to start",
        "4 the journal failed",
        "5 the data directory is in use",
    ] {
        assert!(help.replace('\n', " ").contains(code), "{code}: {help}");
    }
    let serve = succeeds(&mut layby("serve --help"));
    for option in [
        "--listen",
        "--data-dir",
        "--database-url",
        "--demo",
        "LAYBY_LISTEN",
        "LAYBY_DATA_DIR",
    ] {
        assert!(serve.contains(option), "{option}: {serve}");
    }
    succeeds(&mut layby("--version"));
}

#[test]
fn the_openapi_document_is_printed_as_it_is_served() {
    let printed: Value = serde_json::from_str(&succeeds(&mut layby("openapi"))).expect("JSON");
    let shop = Shop::open(Store::Sqlite);
    assert_eq!(shop.visitor().get("/openapi.json").is(200), printed);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut shop = Shop::closed(Store::Sqlite, &["--log", "info"]);
    let mut command = shop.command("serve");
    command.args(["--listen", &address]);
    let said = fails_with_1(&mut command);
    assert!(said.contains(&address), "{said}");
    shop.start();
}

#[test]
fn a_data_directory_that_cannot_be_one_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "not a directory").expect("written");
    for path in [file.clone(), file.join("below"), "/proc/layby".into()] {
        for words in ["serve --listen 127.0.0.1:0", "migrate", "admin create"] {
            let mut command = layby(words);
            command.arg("--data-dir").arg(&path);
            let said = fails_with_1(&mut command);
            assert!(said.contains(&path.display().to_string()), "{said}");
        }
    }
}

#[test]
fn a_database_that_is_not_there_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let directory = tempfile::tempdir().expect("a directory");
    for (url, named) in [
        (
            format!("mysql://root:hunter2@{address}/layby"),
            address.to_string(),
        ),
        (
            "postgres://localhost/layby".to_owned(),
            "postgres".to_owned(),
        ),
        ("nonsense".to_owned(), "nonsense".to_owned()),
        (
            "sqlite:///proc/layby.db".to_owned(),
            "/proc/layby.db".to_owned(),
        ),
    ] {
        for words in ["serve --listen 127.0.0.1:0", "verify", "migrate"] {
            let mut command = layby(words);
            command
                .arg("--data-dir")
                .arg(directory.path())
                .args(["--database-url", &url]);
            let said = fails_with_1(&mut command);
            assert!(said.contains(&named), "{url}: {said}");
            assert!(
                !said.contains("hunter2"),
                "a password is nobody's business: {said}"
            );
        }
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("layby.toml");
    for (settings, named) in [
        ("listen = ", "layby.toml"),
        ("listen = 8080", "listen"),
        ("colour = \"red\"", "colour"),
        ("workers = \"two\"", "workers"),
        ("log = \"layby=loud\"", "loud"),
        ("workers = 0", "workers"),
        ("sandbox_decline_rate = 1.5", "sandbox_decline_rate"),
        ("journal_segment_mib = 4096", "4096"),
    ] {
        std::fs::write(&file, settings).expect("written");
        let mut command = layby("serve --listen 127.0.0.1:0");
        command.current_dir(directory.path());
        let said = fails_with_1(&mut command);
        assert!(said.contains(named), "{settings}: {said}");
    }
    let mut command = layby("serve --config nowhere.toml");
    let said = fails_with_1(command.current_dir(directory.path()));
    assert!(
        said.contains("nowhere.toml"),
        "a file that was named must be there: {said}"
    );
    assert!(
        !directory.path().join("layby-data").exists(),
        "nothing was begun"
    );
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let file = path("layby.toml");
    let settings = format!(
        "listen = \"127.0.0.1:0\"\ndemo = true\ndata_dir = \"{}\"\n",
        path("of-file").display()
    );
    std::fs::write(&file, settings).expect("written");
    let serves = |command: &mut Command| {
        command.current_dir(directory.path());
        let mut process = Process::start(std::mem::replace(command, Command::new("true")));
        let line = process.stdout.wait_for(Duration::from_secs(30), |it| {
            it.starts_with("listening on ")
        });
        assert!(line.is_some(), "{}", process.stderr.tail());
        process.kill();
    };
    let has_demo = |name: &str| path(name).join("demo.json").exists();

    serves(&mut layby("serve"));
    assert!(has_demo("of-file"));
    serves(layby("serve").env("LAYBY_DATA_DIR", path("of-environment")));
    assert!(has_demo("of-environment"));
    let mut command = layby("serve --demo false");
    command
        .env("LAYBY_DATA_DIR", path("unused"))
        .env("LAYBY_DEMO", "true");
    command.arg("--data-dir").arg(path("of-flag"));
    serves(&mut command);
    assert!(path("of-flag").join("journal").exists() && !has_demo("of-flag"));
    assert!(!path("unused").exists());

    let elsewhere = path("elsewhere.toml");
    std::fs::write(
        &elsewhere,
        format!(
            "data_dir = \"{}\"\nlisten = \"127.0.0.1:0\"",
            path("of-named-file").display()
        ),
    )
    .expect("written");
    serves(layby("serve").env("LAYBY_CONFIG", &elsewhere));
    assert!(path("of-named-file").exists() && !has_demo("of-named-file"));
}

#[test]
fn verify_of_a_place_where_nothing_is_says_so_and_makes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = directory.path().join("mistyped");
    let said = fails_with_1(layby("verify").arg("--data-dir").arg(&nowhere));
    assert!(said.contains("mistyped"), "{said}");
    assert!(!nowhere.exists(), "it proves, it does not create");
}

#[test]
fn secrets_that_others_may_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mut shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(1));
    shop.stop();
    let key = shop.data_dir().join("secrets").join("token.keys");
    let mode = |mode| std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).expect("set");
    mode(0o644);
    let (code, said) = shop.fails_to_start();
    assert!(
        code == Some(1) && said.contains("token.keys") && said.contains("600"),
        "{said}"
    );
    mode(0o600);
    shop.start();
    shop.buyer().place(&[line(&lamp, 1)]).is(201);
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", both(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Gives what it said to people.
#[track_caller]
fn fails_with_1(command: &mut Command) -> String {
    let output = run(command);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{command:?}: {}",
        both(&output)
    );
    let said = both(&output);
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn both(output: &Output) -> String {
    let stream = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    stream(&output.stdout) + &stream(&output.stderr)
}
