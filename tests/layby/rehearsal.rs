//! The load test's own flash sale, against the real program.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Shop, Store, on_each_database, run};

on_each_database! {
    a_rehearsed_flash_sale_ends_with_right_books,
    a_rehearsed_audience_hears_of_every_change,
}

fn a_rehearsed_flash_sale_ends_with_right_books(store: Store) {
    let shop = Shop::open_with(store, &["--demo"]);
    let result = shop.scratch().join("result.json");
    let mut rehearsal = Command::new(loadtest());
    rehearsal
        .args([
            "flash-sale",
            "--buyers",
            "1000",
            "--units",
            "10",
            "--hold-seconds",
            "2",
        ])
        .arg("--data-dir")
        .arg(shop.data_dir())
        .arg("--json")
        .arg(&result);
    let output = run(&mut rehearsal);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value =
        serde_json::from_slice(&std::fs::read(&result).expect("a result")).expect("JSON");
    assert_eq!(
        (&report["verdict"], &report["buyers"], &report["units"]),
        (&json!("ok"), &json!(1_000), &json!(10)),
        "{report:#}"
    );
    for fault in ["oversold", "undersold", "leaked", "first_come_inversions"] {
        assert_eq!(report[fault], 0, "{fault}: {report:#}");
    }
    shop.prove_books();
}

fn a_rehearsed_audience_hears_of_every_change(store: Store) {
    let shop = Shop::open_with(store, &["--demo"]);
    let result = shop.scratch().join("result.json");
    let mut rehearsal = Command::new(loadtest());
    rehearsal
        .args([
            "live",
            "--streams",
            "200",
            "--rate",
            "200",
            "--buyers",
            "50",
        ])
        .args(["--rounds", "1", "--seconds", "1", "--connections", "8"])
        .arg("--data-dir")
        .arg(shop.data_dir())
        .arg("--json")
        .arg(&result);
    let output = run(&mut rehearsal);
    // What is slow on a machine that is busy with other tests is told, not asserted.
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
    let report: Value =
        serde_json::from_slice(&std::fs::read(&result).expect("a result")).expect("JSON");
    for reach in ["reach_ms", "reach_quiet_ms"] {
        assert_eq!(report[reach]["missed"], 0, "{report:#}");
        assert!(report[reach]["heard"].as_u64() >= Some(200), "{report:#}");
    }
    assert!(report["p99_ratio"]["median"].is_f64(), "{report:#}");
}

/// Built along with `cargo test --workspace` into the same directory as `layby`.
fn loadtest() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_layby")).with_file_name("loadtest");
    assert!(
        path.exists(),
        "there is no {}; run: cargo build --package loadtest",
        path.display()
    );
    path
}
