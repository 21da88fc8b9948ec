//! Comparisons run their turns, and stop at the first wrong answer.

use serde_json::Value;

use crate::fake::Manners;
use crate::program::{Outcome, check_all, run, run_against};

const SHORT: &str = "--rounds 1 --seconds 1 --warm-up-ms 100 --connections 8 --buyers 40";

#[test]
fn right_answers_are_measured() {
    check_all(vec![
        Box::new(peers_are_measured_and_put_in_relation),
        Box::new(a_sold_out_product_is_a_peer),
        Box::new(numbers_of_products_are_peers),
    ]);
}

fn peers_are_measured_and_put_in_relation() {
    let Outcome { code, json, said } = run_against(
        Manners::default(),
        40,
        &format!("compare --peers no-op,journey {SHORT}"),
    );
    assert_eq!(code, 0, "{said}");
    assert_eq!(json["rounds"], 1);
    assert!(
        json["machine"]["cpu"].is_string()
            && json["machine"]["kernel"].is_string()
            && json["machine"]["cores"].is_u64()
    );
    for peer in ["no-op", "journey"] {
        let turns = &json["peers"][peer];
        assert!(
            turns["throughput_per_s"][0].as_f64() > Some(1.0),
            "{json:#}"
        );
        assert!(turns["p99_ms"][0].as_f64() > Some(0.0), "{json:#}");
    }
    let ratio = &json["ratios"]["journey/no-op"];
    assert!(
        ["median", "min", "max"]
            .iter()
            .all(|name| ratio[name].is_f64()),
        "{json:#}"
    );
    assert!(said.contains("of no-op"), "{said}");
}

fn a_sold_out_product_is_a_peer() {
    let Outcome { code, json, said } = run_against(
        Manners::default(),
        40,
        &format!("compare --peers sold-out {SHORT}"),
    );
    assert_eq!(code, 0, "{said}");
    assert!(json["peers"]["sold-out"]["throughput_per_s"][0].as_f64() > Some(1.0));
}

fn numbers_of_products_are_peers() {
    let Outcome { code, json, said } = run_against(
        Manners::default(),
        40,
        &format!("many-products --products 1,3 {SHORT}"),
    );
    assert_eq!(code, 0, "{said}");
    assert!(
        json["ratios"]["products-3/products-1"]["median"].is_f64(),
        "{json:#}"
    );
}

#[test]
fn a_wrong_answer_ends_the_comparison() {
    let manners = Manners {
        is_broken: true,
        ..Manners::default()
    };
    let Outcome { code, json, said } =
        run_against(manners, 40, &format!("compare --peers layby {SHORT}"));
    assert_eq!((code, json), (1, Value::Null), "{said}");
    assert!(said.contains("answered 500 instead of 201"), "{said}");
}

#[test]
fn without_a_server_there_must_be_a_program_to_start() {
    let dir = tempfile::tempdir().expect("temp dir");
    let Outcome { code, said, .. } = run(
        &dir,
        &format!("compare --peers layby --url http://127.0.0.1:9 --admin-token t {SHORT}"),
    );
    assert_eq!(code, 1);
    assert!(
        said.contains("nobody answers at http://127.0.0.1:9"),
        "{said}"
    );
}
