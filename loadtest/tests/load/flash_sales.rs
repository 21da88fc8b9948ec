//! Right sales are called right, and every way to go wrong is noticed and named.

use serde_json::Value;

use crate::fake::Manners;
use crate::program::{Case, Outcome, check_all, run, run_against};

const BUYERS: u32 = 200;
/// Everybody pays: the sale is over at once.
const QUICK: &str = "flash-sale --buyers 200 --units 10 --leave 0 --decline 0 --hold-seconds 1 --connections 16 --look-again-ms 20 --seed 1";
/// More units than orders can be in flight together, so that it matters who came first.
const ROOMY: &str = "flash-sale --buyers 200 --units 100 --leave 0 --decline 0 --hold-seconds 1 --connections 4 --look-again-ms 20 --seed 1";
/// Fewer buyers than units.
const FEW: &str = "flash-sale --buyers 5 --units 10 --leave 0 --decline 0 --hold-seconds 1";
/// Holds long enough for their end to be early beyond doubt.
const SLOW: &str = "flash-sale --buyers 20 --units 10 --leave 0 --decline 0 --hold-seconds 10 --connections 4 --look-again-ms 20 --seed 1 --time-limit-seconds 1";
const INVERSIONS: &str = "first_come_inversions";
/// Half of the holders leave or are declined, so units come back.
const LIVELY: &str = "flash-sale --buyers 200 --units 10 --leave 0.2 --decline 0.2 --hold-seconds 1 --connections 16 --look-again-ms 50 --seed 1";

#[test]
#[rustfmt::skip] // A table is read by its columns.
fn right_sales_are_right() {
    let lively_open_loop = format!("{LIVELY} --arrival 400");
    let scheduled = format!("{QUICK} --scheduled");
    let two_each = format!("{LIVELY} --per-person 2");
    check_all(vec![
        ok("everybody pays", |_| {}, QUICK, |json| json["requests"].as_u64() > Some(200)),
        ok("units come back", |_| {}, LIVELY, |json| json["resale_ms"]["p99"].as_f64() > Some(0.0)),
        ok("open loop", |_| {}, &lively_open_loop, |json| json["elapsed_s"].as_f64() > Some(0.3)),
        ok("scheduled bell", |_| {}, &scheduled, |json| json["sold"] == 10),
        ok("two each", |_| {}, &two_each, |json| json["sold"] == 10),
        ok("too few buyers", |_| {}, FEW, |json| json["sold"] == 5),
        ok("slow payments", |fake| fake.settles_later = true, QUICK, |json| json["sold"] == 10),
        ok("prolonged holds", |fake| fake.prolongs = true, LIVELY, |json| json["sold"] == 10),
        ok("lost answers", |fake| fake.drops_answers = true, LIVELY, |json| json["errors"] != 0),
        ok("overload", |fake| fake.is_busy = true, QUICK, |json| json["overloaded"] != 0),
        ok("restart", |fake| fake.restarts = true, LIVELY, |json| json["errors"] != 0),
    ]);
}

#[test]
#[rustfmt::skip] // A table is read by its columns.
fn wrong_sales_are_named() {
    let impatient = format!("{LIVELY} --time-limit-seconds 1");
    check_all(vec![
        wrong("oversold", |fake| fake.oversells = 3, QUICK, "oversold", "units too many"),
        wrong("oversold in secret", oversell_in_secret, QUICK, "oversold", "by the receipts of the buyers"),
        wrong("leaked", |fake| fake.leaks = true, &impatient, "leaked", "after every deadline"),
        wrong("leaked unsold", |fake| fake.leaks = true, &impatient, "undersold", "did not end within 1 s"),
        wrong("lost", |fake| fake.loses_units = true, &impatient, "leaked", "total 10 is not"),
        wrong("undersold", |fake| fake.gives_up_early = true, LIVELY, "undersold", "told sold_out before"),
        wrong("refused", |fake| fake.refuses_while_free = true, ROOMY, INVERSIONS, "certainly free"),
        wrong("disorder", |fake| fake.counts_backwards = true, ROOMY, INVERSIONS, "before an earlier one"),
        wrong("forgotten", |fake| fake.forgets_orders = true, QUICK, "", "answered 201 is gone"),
        wrong("keys ignored", |fake| fake.ignores_keys = true, ROOMY, "", "with the same order"),
        wrong("limit ignored", |fake| fake.ignores_limit = true, ROOMY, "", "more than one may have"),
        wrong("early end", |fake| fake.expires_early = true, SLOW, "", "before its deadline"),
        wrong("broken", |fake| fake.is_broken = true, QUICK, "", "nor a known refusal"),
    ]);
}

fn oversell_in_secret(fake: &mut Manners) {
    (fake.oversells, fake.hides_oversale) = (3, true);
}

#[test]
fn a_server_that_is_not_there_is_a_fault_with_a_next_step() {
    let dir = tempfile::tempdir().expect("temp dir");
    let outcome = run(&dir, "flash-sale --url http://127.0.0.1:9 --admin-token t");
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.said.contains("http://127.0.0.1:9") && outcome.said.contains("layby serve --demo"),
        "{}",
        outcome.said
    );
    let outcome = run(&dir, "flash-sale");
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.said.contains("demo.json") && outcome.said.contains("layby serve --demo"),
        "{}",
        outcome.said
    );
}

#[test]
fn wrong_use_is_told_apart() {
    let dir = tempfile::tempdir().expect("temp dir");
    for arguments in [
        "flash-sale --leave 2",
        "flash-sale --leave 0.6 --decline 0.6",
        "flash-sale --url http://127.0.0.1:9",
        "rehearse",
    ] {
        let outcome = run(&dir, arguments);
        assert_eq!(outcome.code, 2, "{arguments}: {}", outcome.said);
    }
}

/// Exit 0, verdict ok, all counts 0, and whatever else is expected.
fn ok(
    name: &'static str,
    spoil: fn(&mut Manners),
    arguments: &str,
    also: fn(&Value) -> bool,
) -> Case {
    let arguments = arguments.to_owned();
    Box::new(move || {
        let Outcome { code, json, said } = run_against(spoiled(spoil), BUYERS, &arguments);
        assert_eq!(code, 0, "{name}: {said}");
        for count in ["oversold", "undersold", "leaked", "first_come_inversions"] {
            assert_eq!(json[count], 0, "{name}: {count} in {json:#}");
        }
        assert_eq!(json["verdict"], "ok", "{name}: {json:#}");
        assert!(also(&json), "{name}: {json:#}");
        assert!(
            said.contains("verdict"),
            "{name}: there is no table in {said}"
        );
    })
}

/// Exit 3, verdict wrong, a count above 0 (if one is named), and a line that says why.
fn wrong(
    name: &'static str,
    spoil: fn(&mut Manners),
    arguments: &str,
    count: &'static str,
    part: &'static str,
) -> Case {
    let arguments = arguments.to_owned();
    Box::new(move || {
        let Outcome { code, json, said } = run_against(spoiled(spoil), BUYERS, &arguments);
        assert_eq!(code, 3, "{name}: {said}");
        assert_eq!(json["verdict"], "wrong", "{name}: {json:#}");
        assert!(
            count.is_empty() || json[count].as_u64() > Some(0),
            "{name}: {count} in {json:#}"
        );
        let lines = json["why"].as_array().expect("lines");
        assert!(
            lines
                .iter()
                .any(|line| line.as_str().is_some_and(|line| line.contains(part))),
            "{name}: {json:#}"
        );
    })
}

fn spoiled(spoil: fn(&mut Manners)) -> Manners {
    let mut manners = Manners::default();
    spoil(&mut manners);
    manners
}
