//! The table of problems against what is made of it: the notes for people, and the tests that reach each code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use actix_web::ResponseError;

use super::{Code, Entry, Problem};
use crate::actors::message;
use crate::persistence::database;

const NOTES: &str = include_str!("../../../docs/api.md");

/// Codes that no request of a test is answered with: the test that reaches the refusal behind it, and why it stops there.
const REACHED_ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "waitlist_full",
        "a_waitlist_has_an_end",
        "100,000 people would have to join",
    ),
    (
        "payment_returned",
        "a_late_success_without_units_is_refunded_in_full_and_once",
        "the provider would have to answer two minutes late, to a buyer who waits",
    ),
    (
        "memory_full",
        "the_orders_of_the_last_day_take_only_so_much_memory",
        "the least that can be set takes thousands of orders",
    ),
    (
        "internal",
        "a_bug_is_told_as_a_bug",
        "no request may lead there",
    ),
    (
        "recovering",
        "a_crashed_actor_is_rebuilt_and_nobody_else_notices",
        "no request makes an actor crash",
    ),
    (
        "shutting_down",
        "nobody_comes_in_after_closing",
        "the moment is too short for a request to meet it for certain",
    ),
];

fn entries() -> impl Iterator<Item = &'static Entry> {
    Code::ALL.iter().map(|code| code.entry())
}

#[test]
fn every_code_is_spelled_once_and_stands_by_its_status() {
    let codes: BTreeSet<&str> = entries().map(|it| it.code).collect();
    assert_eq!(codes.len(), Code::ALL.len());
    assert!(entries().is_sorted_by_key(|it| it.status));
    for entry in entries() {
        let words = entry
            .code
            .chars()
            .all(|it| it.is_ascii_lowercase() || it == '_');
        assert!(words, "{}", entry.code);
        assert_eq!(entry.link, format!("/docs/problems#{}", entry.code));
    }
}

#[test]
fn whoever_is_told_to_wait_is_told_how_long_and_nobody_else_is() {
    for entry in entries() {
        let waits = matches!(entry.status.as_u16(), 429 | 503);
        assert_eq!(entry.retry_after_secs.is_some(), waits, "{}", entry.code);
    }
}

#[test]
fn the_table_in_the_api_notes_is_this_one() {
    let (_, table) = NOTES
        .split_once("| --- | --- | --- | --- |\n")
        .expect("the table of problems");
    let rows: String = entries().map(row).collect();
    assert!(
        table == rows,
        "the table of problems in docs/api.md is to be:\n{rows}"
    );
}

/// An entry in Markdown.
fn row(entry: &Entry) -> String {
    let waits = entry.retry_after_secs.map(|_| "retry_after");
    let facts: Vec<String> = entry
        .facts
        .iter()
        .copied()
        .chain(waits)
        .map(|it| format!("`{it}`"))
        .collect();
    let Entry {
        status, code, when, ..
    } = entry;
    let facts = facts.join(", ");
    format!("| {} | `{code}` | {when} | {facts} |\n", status.as_u16()).replace("|  |", "| |")
}

#[test]
fn every_code_is_reached_by_a_test_or_says_why_not() {
    let reached = refusals_that_tests_reach();
    let elsewhere: BTreeSet<&str> = REACHED_ELSEWHERE.iter().map(|(code, ..)| *code).collect();
    for Entry { status, code, .. } in entries() {
        match reached.contains(&(status.as_u16(), (*code).to_owned())) {
            true => assert!(
                !elsewhere.contains(code),
                "`{code}` is reached; take it off the list"
            ),
            false => assert!(
                elsewhere.contains(code),
                "no test in tests/layby is refused `{code}`"
            ),
        }
    }
    for (status, code) in reached {
        let is_known = entries().any(|it| it.code == code && it.status == status);
        assert!(
            is_known,
            "a test waits for {status} `{code}`, which nothing answers"
        );
    }
}

#[test]
fn what_is_reached_elsewhere_is_reached_by_the_test_that_is_named() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = [root.join("src"), root.join("tests")]
        .map(|it| sources(&it))
        .concat();
    let texts: Vec<String> = files.into_iter().map(read).collect();
    for (code, test, _) in REACHED_ELSEWHERE {
        let name = format!("fn {test}(");
        assert!(
            texts.iter().any(|it| it.contains(&name)),
            "`{code}`: no {name}"
        );
    }
}

#[test]
fn a_bug_is_told_as_a_bug() {
    let damage = database::Error::Damaged { what: "a canary" };
    let wrong = message::Refusal::WrongReply {
        expected: "an order",
        found: "a canary",
    };
    for problem in [Problem::from(damage), Problem::from(wrong)] {
        let status = problem.status_code().as_u16();
        assert_eq!((problem.code(), status), (Code::Internal, 500));
        let told = serde_json::to_value(&problem).expect("JSON");
        assert!(!told.to_string().contains("canary"), "{told}");
        assert_eq!(told["request_id"], problem.request_id.to_string());
    }
}

/// What stands in `is_refused(STATUS, "CODE")` under `tests/layby`.
fn refusals_that_tests_reach() -> BTreeSet<(u16, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layby");
    let mut reached = BTreeSet::new();
    for path in sources(&root) {
        for call in read(path).split("is_refused(").skip(1) {
            let mut parts = call.splitn(3, ['"']);
            let (Some(status), Some(code)) = (parts.next(), parts.next()) else {
                continue;
            };
            if let Ok(status) = status.trim().trim_end_matches(',').parse() {
                reached.insert((status, code.to_owned()));
            }
        }
    }
    assert!(reached.len() > 50, "the tests were not found: {reached:?}");
    reached
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).expect("a source file")
}

/// Every Rust file below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|it| it == "rs"))
        .collect()
}
