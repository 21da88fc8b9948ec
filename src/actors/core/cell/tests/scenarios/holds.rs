//! Holding, asking twice, and the limit a person.

use super::super::story::check;

#[test]
fn the_last_unit_goes_to_one_of_two() {
    check(
        "lamp 1",
        &["A reserves 1", "B reserves 1", "shelf"],
        &["A held 1 until 60", "B all held", "lamp: 1 held"],
    );
}

#[test]
fn only_sold_out_is_final() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "B reserves 1",
            "bank takes A",
            "B reserves 1",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "B all held",
            "A paid",
            "B sold out",
        ],
    );
}

#[test]
fn a_hold_ends_exactly_at_its_deadline() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "59999999 us",
            "A looks",
            "1 us",
            "A pays",
            "B reserves 1",
        ],
        &[
            "A held 1 until 60",
            "A held 1 until 60",
            "A hold expired",
            "B held 1 until 120",
        ],
    );
}

#[test]
fn a_payment_in_the_last_microsecond_is_in_time() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "59999999 us",
            "A pays",
            "bank takes A",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A paid",
            "lamp: 1 sold",
        ],
    );
}

#[test]
fn a_dead_hold_is_dead_though_the_timer_is_slow() {
    check(
        "lamp 1",
        &["A reserves 1", "3600 s", "A cancels"],
        &["A held 1 until 60", "A hold expired"],
    );
}

#[test]
fn the_timer_frees_what_is_due() {
    check(
        "lamp 2",
        &[
            "A reserves 1",
            "30 s",
            "B reserves 1",
            "30 s",
            "timer",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "B held 1 until 90",
            "lamp: 1 available, 1 held",
        ],
    );
}

#[test]
fn an_order_is_all_or_nothing_and_names_every_short_product() {
    check(
        "lamp 1, chair 0, table 9",
        &["A reserves 2 lamp 1 chair 1 table", "shelf"],
        &[
            "A lamp too few of 1, chair sold out of 0",
            "lamp: 1 available",
            "chair: ",
            "table: 9 available",
        ],
    );
}

#[test]
fn a_held_order_of_several_products_frees_all_of_them() {
    check(
        "lamp 1, chair 2",
        &["A reserves 1 lamp 2 chair", "shelf", "A cancels", "shelf"],
        &[
            "A held 3 until 60",
            "lamp: 1 held",
            "chair: 2 held",
            "A cancelled 3",
            "lamp: 1 available",
            "chair: 2 available",
        ],
    );
}

#[test]
fn the_price_is_frozen_at_the_hold() {
    check(
        "lamp 2",
        &[
            "A reserves 1",
            "shop wants 5000",
            "A pays",
            "B reserves 1",
            "B pays",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "B held 1 until 60",
            "charge B 5000",
        ],
    );
}

// The same request twice.

#[test]
fn a_repeat_of_an_order_takes_nothing_more() {
    check(
        "lamp 5",
        &["A reserves 1", "A repeats", "A repeats", "shelf"],
        &[
            "A held 1 until 60",
            "A held 1 until 60",
            "A held 1 until 60",
            "lamp: 4 available, 1 held",
        ],
    );
}

#[test]
fn a_repeat_after_the_end_takes_nothing_either() {
    check(
        "lamp 5",
        &["A reserves 1", "60 s", "timer", "A repeats", "shelf"],
        &["A held 1 until 60", "A expired 1", "lamp: 5 available"],
    );
}

#[test]
fn a_key_with_another_body_is_refused() {
    check(
        "lamp 5",
        &["A reserves 1", "A repeats as 2", "shelf"],
        &[
            "A held 1 until 60",
            "A key reused",
            "lamp: 4 available, 1 held",
        ],
    );
}

#[test]
fn a_payment_repeated_is_one_charge_and_one_answer() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "A pays again",
            "bank takes A",
            "A pays again",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A paid",
            "A paid",
            "A paid",
        ],
    );
}

// The limit.

#[test]
fn the_limit_holds_over_any_number_of_tabs() {
    check(
        "lamp 9; limit 2",
        &[
            "A reserves 1",
            "A reserves 1",
            "A reserves 1",
            "A reserves 2",
            "B reserves 2",
        ],
        &[
            "A held 1 until 60",
            "A held 1 until 60",
            "A at the limit of 2 with 2, held to resume",
            "A at the limit of 2 with 2, held to resume",
            "B held 2 until 60",
        ],
    );
}

#[test]
fn the_limit_counts_what_is_paying_and_what_is_bought() {
    check(
        "lamp 9; limit 1",
        &[
            "A reserves 1",
            "A pays",
            "A reserves 1",
            "bank takes A",
            "A reserves 1",
            "shop ships A",
            "A reserves 1",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A at the limit of 1 with 1, paying to resume",
            "A paid",
            "A at the limit of 1 with 1, nothing to resume",
            "shop shipped 1",
            "A at the limit of 1 with 1, nothing to resume",
        ],
    );
}

#[test]
fn a_cancelled_order_does_not_count() {
    check(
        "lamp 9; limit 1",
        &[
            "A reserves 1",
            "A pays",
            "bank takes A",
            "A cancels",
            "A reserves 1",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A paid",
            "refund A 1000",
            "A held 1 until 60",
        ],
    );
}

#[test]
fn nobody_is_blocked_by_their_own_stale_hold() {
    check(
        "lamp 1; limit 1",
        &["A reserves 1", "60 s", "A reserves 1"],
        &["A held 1 until 60", "A held 1 until 120"],
    );
}

#[test]
fn an_order_that_is_being_cancelled_is_not_offered_for_resuming() {
    check(
        "lamp 9; limit 1",
        &["A reserves 1", "A pays", "A cancels", "A reserves 1"],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A cancel requested 1 until 120",
            "withdraw A",
            "A at the limit of 1 with 1, nothing to resume",
        ],
    );
}

#[test]
fn a_held_order_is_resumed_before_one_that_is_paying() {
    check(
        "lamp 9; limit 2",
        &["A reserves 1", "A pays", "A reserves 1", "A reserves 1"],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A held 1 until 60",
            "A at the limit of 2 with 2, held to resume",
        ],
    );
}
