//! Runs the program and reads what it leaves behind.

use std::process::Command;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::fake::{Fake, Manners};

pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) json: Value,
    /// Both outputs, for messages.
    pub(crate) said: String,
}

/// `loadtest ARGUMENTS` against a fake server of the given manners that knows `buyers` buyers.
pub(crate) fn run_against(manners: Manners, buyers: u32, arguments: &str) -> Outcome {
    let fake = Fake::start(manners, buyers);
    let dir = tempfile::tempdir().expect("temp dir");
    let tokens = dir.path().join("tokens.csv");
    std::fs::write(&tokens, fake.tokens()).expect("tokens written");
    let tokens = tokens.display();
    let url = fake.url();
    run(
        &dir,
        &format!("{arguments} --url {url} --admin-token admin --tokens {tokens}"),
    )
}

/// `loadtest ARGUMENTS --data-dir DIR --json FILE`.
pub(crate) fn run(dir: &TempDir, arguments: &str) -> Outcome {
    let json_path = dir.path().join("result.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments.split_whitespace());
    command
        .arg("--data-dir")
        .arg(dir.path())
        .arg("--json")
        .arg(&json_path);
    let output = command.output().expect("the program runs");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(&json_path).unwrap_or_default();
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Outcome {
        code: output.status.code().unwrap_or(-1),
        json,
        said,
    }
}

pub(crate) type Case = Box<dyn FnOnce() + Send>;

/// Runs mostly wait, so they can all wait at once.
pub(crate) fn check_all(cases: Vec<Case>) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(case);
        }
    });
}
