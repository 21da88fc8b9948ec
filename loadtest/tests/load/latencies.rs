//! Latency at a steady rate.

use crate::fake::Manners;
use crate::program::{Outcome, check_all, run_against};

#[test]
fn a_rate_is_kept_or_the_figure_is_worthless() {
    check_all(vec![
        Box::new(a_rate_that_is_kept_is_measured),
        Box::new(a_rate_that_is_not_kept_is_called_wrong),
    ]);
}

fn a_rate_that_is_kept_is_measured() {
    let Outcome { code, json, said } = run_against(
        Manners::default(),
        40,
        "latency --rate 200 --seconds 2 --warm-up-ms 0 --connections 8 --buyers 40",
    );
    assert_eq!(code, 0, "{said}");
    assert_eq!(json["scenario"], "latency");
    assert!(json["requests"] == 400, "{json:#}");
    let latency = &json["latency_ms"];
    assert!(
        latency["p50"].as_f64() > Some(0.0) && latency["p50"].as_f64() <= latency["max"].as_f64(),
        "{json:#}"
    );
}

fn a_rate_that_is_not_kept_is_called_wrong() {
    let Outcome { code, json, said } = run_against(
        Manners::default(),
        40,
        "latency --rate 5000000 --seconds 1 --warm-up-ms 0 --connections 1 --buyers 40",
    );
    assert_eq!(code, 3, "{said}");
    assert!(
        json["why"][0]
            .as_str()
            .is_some_and(|why| why.contains("lower --rate")),
        "{json:#}"
    );
}
