//! After the sale: shipping, delivery, returns.

use super::super::story::check;

/// Steps before what a test is about, and what is told on the way.
const DELIVERED: [&str; 5] = [
    "A reserves 1",
    "A pays",
    "bank takes A",
    "shop ships A",
    "shop delivers A",
];
const DELIVERED_TOLD: [&str; 5] = [
    "A held 1 until 60",
    "charge A 1000",
    "A paid",
    "shop shipped 1",
    "shop delivered 1",
];

#[track_caller]
fn check_delivered(setting: &str, steps: &[&str], told: &[&str]) {
    check(
        setting,
        &[&DELIVERED, steps].concat(),
        &[&DELIVERED_TOLD, told].concat(),
    );
}

#[test]
fn a_return_is_refunded_at_once_and_restocked_a_day_after_the_request() {
    check_delivered(
        "lamp 1",
        &[
            "A returns",
            "3600 s",
            "shop accepts A",
            "shop accepts A",
            "shelf",
            "bank refunds A",
            "82799 s",
            "timer",
            "shelf",
            "1 s",
            "timer",
            "timer",
            "shelf",
            "A looks",
        ],
        &[
            "A return requested 1",
            "shop returned 1",
            "refund A 1000",
            "shop returned 1",
            "lamp: 1 returning",
            "lamp: 1 returning",
            "lamp: 1 available",
            "A returned 1",
        ],
    );
}

#[test]
fn a_return_accepted_a_day_late_is_restocked_at_once() {
    check_delivered(
        "lamp 1",
        &["A returns", "86400 s", "shop accepts A", "shelf"],
        &[
            "A return requested 1",
            "shop returned 1",
            "refund A 1000",
            "lamp: 1 available",
        ],
    );
}

#[test]
fn a_return_goes_where_the_product_says() {
    check_delivered(
        "lamp 1; withdraws returns",
        &["A returns", "shop accepts A", "86400 s", "timer", "shelf"],
        &[
            "A return requested 1",
            "shop returned 1",
            "refund A 1000",
            "lamp: 1 withdrawn",
        ],
    );
}

#[test]
fn a_return_restocks_the_products_of_its_own_order_and_no_others() {
    check(
        "lamp 3, chair 3",
        &[
            "B reserves 2 lamp",
            "B pays",
            "bank takes B",
            "A reserves 1 lamp 2 chair",
            "A pays",
            "bank takes A",
            "shop ships A",
            "shop ships B",
            "shop delivers A",
            "shop delivers B",
            "A returns",
            "shop accepts A",
            "shelf",
            "86400 s",
            "timer",
            "shelf",
        ],
        &[
            "B held 2 until 60",
            "charge B 2000",
            "B paid",
            "A held 3 until 60",
            "charge A 3000",
            "A paid",
            "shop shipped 3",
            "shop shipped 2",
            "shop delivered 3",
            "shop delivered 2",
            "A return requested 3",
            "shop returned 3",
            "refund A 3000",
            "lamp: 2 sold, 1 returning",
            "chair: 1 available, 2 returning",
            "lamp: 1 available, 2 sold",
            "chair: 3 available",
        ],
    );
}

#[test]
fn a_return_serves_a_withdrawal_first() {
    check_delivered(
        "lamp 2",
        &[
            "B reserves 1",
            "A returns",
            "shop accepts A",
            "shop sets 1",
            "86400 s",
            "timer",
            "shelf",
        ],
        &[
            "B held 1 until 60",
            "A return requested 1",
            "shop returned 1",
            "refund A 1000",
            "lamp: 1 available, 1 withdrawn",
        ],
    );
}

#[test]
fn what_is_returned_no_longer_counts_against_the_limit() {
    check_delivered(
        "lamp 2; limit 1",
        &[
            "A returns",
            "A reserves 1",
            "shop accepts A",
            "A reserves 1",
        ],
        &[
            "A return requested 1",
            "A at the limit of 1 with 1, nothing to resume",
            "shop returned 1",
            "refund A 1000",
            "A held 1 until 60",
        ],
    );
}

/// The story begins at a quarter past nine in Seoul.
#[test]
fn the_return_window_ends_with_the_next_day_of_the_shop() {
    check_delivered(
        "lamp 1",
        &["139399 s", "A looks", "1 s", "A returns", "A looks"],
        &["A delivered 1", "A return window closed", "A completed 1"],
    );
    check_delivered(
        "lamp 1",
        &["139399 s", "A returns", "1 s", "timer", "A looks"],
        &["A return requested 1", "A return requested 1"],
    );
}

#[test]
fn a_window_that_is_over_closes_by_itself() {
    check_delivered(
        "lamp 1",
        &["139400 s", "timer", "shelf", "A looks"],
        &["lamp: 1 sold", "A completed 1"],
    );
}

#[test]
fn nothing_is_shipped_before_it_is_paid_nor_returned_before_it_is_delivered() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "shop ships A",
            "shop delivers A",
            "A returns",
            "shop accepts A",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "shop not paid",
            "shop not shipped",
            "A not delivered",
            "shop return not requested",
            "lamp: 1 held",
        ],
    );
}

#[test]
fn a_cancelled_order_is_not_shipped() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank takes A",
            "A cancels",
            "shop ships A",
            "bank refunds A",
            "shop ships A",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A paid",
            "refund A 1000",
            "shop not paid",
            "A cancelled 1",
            "shop not paid",
        ],
    );
}

#[test]
fn a_shipment_in_other_words_is_refused() {
    check_delivered(
        "lamp 1",
        &["shop ships A as RR2", "shop ships A as RR1"],
        &["shop shipped as RR1", "shop delivered 1"],
    );
}

#[test]
fn nobody_sends_back_what_is_somebody_elses() {
    check_delivered(
        "lamp 1",
        &["B returns A", "A looks"],
        &["B no such order", "A delivered 1"],
    );
}

#[test]
fn a_step_after_the_sale_is_taken_once_and_its_repeat_is_told_the_same_for_ever() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank takes A",
            "shop ships A",
            "shop ships A",
            "shop delivers A",
            "shop delivers A",
            "A returns",
            "A returns",
            "shop delivers A",
            "shop ships A",
            "shop accepts A",
            "A returns",
            "86400 s",
            "timer",
            "shop accepts A",
            "A returns",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A paid",
            "shop shipped 1",
            "shop shipped 1",
            "shop delivered 1",
            "shop delivered 1",
            "A return requested 1",
            "A return requested 1",
            "shop return requested 1",
            "shop return requested 1",
            "shop returned 1",
            "refund A 1000",
            "A returned 1",
            "shop returned 1",
            "A returned 1",
            "lamp: 1 available",
        ],
    );
}
