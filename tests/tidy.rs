//! The rules of the house that a compiler does not hold: who may name whom, and that the documents are complete.

use std::fs;
use std::path::{Path, PathBuf};

/// A name, and the only places under `src` that may use it.
const ROOMS: &[(&str, &[&str])] = &[
    ("sqlx::", &["persistence/"]),
    ("actix_web::", &["http/", "startup.rs", "cli/mod.rs"]),
    ("actix_http::", &["http/server.rs"]),
    (
        "actix::",
        &["actors/engine/", "actors/payment/", "startup.rs"],
    ),
    (
        "lettre::",
        &["gateways/mail/", "mail/", "accounts/fields.rs"],
    ),
    ("redis::", &["persistence/limits/"]),
    ("aes_gcm::", &["accounts/vault/", "secrets/"]),
    ("argon2::", &["accounts/passwords/"]),
    (
        "crate::persistence::journal",
        &["persistence/", "actors/", "notices/", "startup.rs", "cli/"],
    ),
    (
        "crate::persistence::database",
        &[
            "persistence/",
            "accounts/",
            "mail/",
            "notices/",
            "http/",
            "startup.rs",
            "cli/",
            "demo.rs",
            "demo_clock.rs",
        ],
    ),
    (
        "crate::http",
        &["http/", "startup.rs", "cli/", "demo.rs", "config.rs"],
    ),
];

#[test]
fn every_room_names_only_what_it_may() {
    for (path, text) in sources() {
        for (name, rooms) in ROOMS {
            let allowed = rooms.iter().any(|room| path.starts_with(room));
            let used = code(&text).any(|line| names(line, name));
            assert!(
                allowed || !used,
                "src/{path} names `{name}`; only {rooms:?} may"
            );
        }
    }
}

#[test]
fn the_rules_know_nothing_but_the_standard_library() {
    let rules = |path: &str| path.starts_with("domain/") && !path.contains("/tests");
    for (path, text) in sources().filter(|(path, _)| rules(path)) {
        for line in code(&text).filter(|line| line.trim_start().starts_with("use ")) {
            let own = [
                "use std::",
                "use self::",
                "use super::",
                "use crate::domain",
            ];
            let tests = ["use proptest", "use rand"];
            let fine = own
                .iter()
                .chain(&tests)
                .any(|start| line.trim_start().starts_with(start));
            assert!(fine, "src/{path}: {line}");
        }
        let asks_the_time = code(&text).any(|line| line.contains("::now()"));
        assert!(!asks_the_time, "src/{path} reads a clock");
    }
}

#[test]
fn the_core_has_no_thread_no_runtime_and_no_clock() {
    let core = |path: &str| path.starts_with("actors/core/") && !path.contains("/tests");
    for (path, text) in sources().filter(|(path, _)| core(path)) {
        for name in ["tokio::", "actix", "crate::clock", "Instant", "std::thread"] {
            let used = code(&text).any(|line| line.contains(name));
            assert!(
                !used,
                "src/{path} names `{name}`; the core is told everything"
            );
        }
    }
}

#[test]
fn every_setting_is_in_the_readme() {
    let readme = read("README.md");
    for name in words(&read("src/config.rs"), "env = \"") {
        assert!(readme.contains(&name), "README.md does not explain {name}");
    }
}

#[test]
fn every_migration_is_in_the_binary() {
    let carried = read("src/persistence/database/migrate.rs");
    for folder in ["mysql", "sqlite"] {
        let path = root().join("migrations").join(folder);
        for entry in fs::read_dir(path).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").display().to_string();
            let line = format!("migration!(\"{folder}\", \"{name}\",");
            assert!(carried.contains(&line), "{folder}/{name}.sql is nowhere");
        }
    }
}

#[test]
fn the_command_is_short_and_files_fit_in_one_head() {
    assert!(read("src/main.rs").lines().count() < 40);
    for (path, text) in sources().filter(|(path, _)| !path.contains("/tests")) {
        let lines = text.lines().count();
        assert!(
            lines <= 700,
            "src/{path} has {lines} lines; split it along its nouns"
        );
    }
}

/// Does the line use the name as a path of its own, not as the end of a longer one?
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|it| it.is_alphanumeric() || it == '_' || it == ':')
    })
}

/// Lines that are not comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// What stands between `before` and the next quotation mark.
fn words(text: &str, before: &str) -> Vec<String> {
    text.split(before)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect()
}

fn sources() -> impl Iterator<Item = (String, String)> {
    let root = root().join("src");
    let mut found = Vec::new();
    collect(&root, &mut found);
    assert!(found.len() > 30, "the sources were not found");
    found.into_iter().map(move |path| {
        let name = path
            .strip_prefix(&root)
            .expect("below src")
            .display()
            .to_string();
        (name, fs::read_to_string(&path).expect("a source file"))
    })
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
