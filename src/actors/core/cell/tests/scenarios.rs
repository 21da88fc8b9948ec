//! The rules by example.

use super::story::check;

// Holding.

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

// Paying.

#[test]
fn the_start_of_a_payment_extends_the_hold_to_two_minutes_from_now() {
    check(
        "lamp 1",
        &["A reserves 1", "30 s", "A pays", "A looks"],
        &["A held 1 until 60", "charge A 1000", "A paying 1 until 150"],
    );
}

#[test]
fn a_long_hold_is_not_shortened_by_a_payment() {
    check(
        "lamp 1; hold 1800",
        &["A reserves 1", "A pays", "A looks"],
        &[
            "A held 1 until 1800",
            "charge A 1000",
            "A paying 1 until 1800",
        ],
    );
}

#[test]
fn a_decline_keeps_the_deadline_and_moves_no_stock() {
    check(
        "lamp 2",
        &[
            "A reserves 1",
            "A pays",
            "30 s",
            "bank declines A",
            "A looks",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A declined",
            "A held 1 until 120",
            "lamp: 1 available, 1 held",
        ],
    );
}

#[test]
fn only_the_first_payment_extends_the_hold() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank declines A",
            "100 s",
            "A pays",
            "A looks",
            "bank declines A",
            "20 s",
            "A looks",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A declined",
            "charge A 1000",
            "A paying 1 until 120",
            "A declined",
            "A expired 1",
        ],
    );
}

#[test]
fn a_payment_may_run_past_the_deadline_but_not_past_the_cap() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "179 s",
            "A looks",
            "1 s",
            "A looks",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A paying 1 until 120",
            "A expired 1",
            "withdraw A",
            "lamp: 1 available",
        ],
    );
}

#[test]
fn a_decline_after_the_deadline_ends_the_hold_at_once() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "120 s",
            "bank declines A",
            "shelf",
            "A pays",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A declined",
            "lamp: 1 available",
            "A hold expired",
        ],
    );
}

#[test]
fn a_success_between_the_deadline_and_the_cap_is_in_time() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "179999999 us",
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
fn a_slow_bank_is_not_a_decline() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank is slow with A",
            "A looks",
            "bank is slow with A",
            "bank takes A",
            "A pays again",
            "A looks",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A payment pending",
            "A paying 1 until 120",
            "A payment pending",
            "A paid 1",
        ],
    );
}

#[test]
fn a_charge_that_never_arrived_is_repeated_while_the_hold_lives() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank never heard of A",
            "180 s",
            "bank never heard of A",
            "A looks",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "charge A 1000",
            "A declined",
            "withdraw A",
            "A expired 1",
        ],
    );
}

#[test]
fn an_attempt_that_was_declined_is_never_charged_again() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank declines A",
            "A pays",
            "bank never heard of A#1",
            "bank never heard of A#2",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A declined",
            "charge A 1000",
            "charge A 1000",
        ],
    );
}

#[test]
fn a_stale_failure_is_ignored() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank declines A",
            "A pays",
            "bank declines A#1",
            "A looks",
            "bank takes A",
            "bank declines A",
            "A looks",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A declined",
            "charge A 1000",
            "A paying 1 until 120",
            "A paid",
            "A paid 1",
        ],
    );
}

#[test]
fn a_success_after_a_decline_counts() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank declines A",
            "bank takes A",
            "A looks",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A declined",
            "A paid 1",
            "lamp: 1 sold",
        ],
    );
}

#[test]
fn a_second_success_is_paid_back() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank declines A",
            "A pays",
            "bank takes A",
            "bank takes A#1",
            "bank takes A#1",
            "A looks",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A declined",
            "charge A 1000",
            "A paid",
            "refund A 1000",
            "A paid 1",
        ],
    );
}

#[test]
fn twenty_attempts_are_enough() {
    let mut steps = vec!["A reserves 1"];
    steps.extend(["A pays", "bank declines A"].repeat(20));
    steps.push("A pays");
    let mut told = vec!["A held 1 until 60"];
    told.extend(["charge A 1000", "A declined"].repeat(20));
    told.push("A too many attempts { attempts_max: 20 }");
    check("lamp 1", &steps, &told);
}

// Late success.

#[test]
fn a_late_success_takes_the_units_back_if_they_are_free() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "180 s",
            "timer",
            "shelf",
            "bank takes A",
            "A looks",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "lamp: 1 available",
            "A paid",
            "A paid 1",
            "lamp: 1 sold",
        ],
    );
}

#[test]
fn a_late_success_without_units_is_refunded_in_full_and_once() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "180 s",
            "timer",
            "B reserves 1",
            "bank takes A",
            "bank takes A",
            "A looks",
            "bank refunds A",
            "bank refunds A",
            "A looks",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "B held 1 until 240",
            "A paid for nothing",
            "refund A 1000",
            "A paid unfulfilled 1",
            "A refunded 1",
            "lamp: 1 held",
        ],
    );
}

#[test]
fn a_late_success_is_all_or_nothing_too() {
    check(
        "lamp 1, chair 1",
        &[
            "A reserves 1 lamp 1 chair",
            "A pays",
            "180 s",
            "timer",
            "B reserves 1 chair",
            "bank takes A",
            "shelf",
        ],
        &[
            "A held 2 until 60",
            "charge A 2000",
            "B held 1 until 240",
            "A paid for nothing",
            "refund A 2000",
            "lamp: 1 available",
            "chair: 1 held",
        ],
    );
}

#[test]
fn a_late_success_does_not_break_the_limit() {
    check(
        "lamp 9; limit 1",
        &[
            "A reserves 1",
            "A pays",
            "180 s",
            "A reserves 1",
            "bank takes A",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A held 1 until 240",
            "withdraw A",
            "A paid for nothing",
            "refund A 1000",
            "lamp: 8 available, 1 held",
        ],
    );
}

// Cancelling.

#[test]
fn a_second_cancel_restocks_nothing() {
    check(
        "lamp 3",
        &["A reserves 2", "A cancels", "A cancels", "shelf"],
        &[
            "A held 2 until 60",
            "A cancelled 2",
            "A cancelled 2",
            "lamp: 3 available",
        ],
    );
}

#[test]
fn a_paid_order_is_cancelled_with_one_restock_and_one_refund() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank takes A",
            "A cancels",
            "shelf",
            "A cancels",
            "bank refunds A",
            "bank refunds A",
            "A cancels",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A paid",
            "refund A 1000",
            "lamp: 1 available",
            "A refunding 1",
            "A cancelled 1",
            "A cancelled 1",
            "lamp: 1 available",
        ],
    );
}

#[test]
fn a_slow_refund_keeps_nobody_waiting() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank takes A",
            "A cancels",
            "bank is slow to refund A",
            "bank refunds A",
            "A looks",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A paid",
            "refund A 1000",
            "A refunding 1",
            "A cancelled 1",
        ],
    );
}

#[test]
fn a_cancel_while_paying_waits_for_the_bank() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "A cancels",
            "A cancels",
            "shelf",
            "bank declines A",
            "A looks",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A cancel requested 1 until 120",
            "withdraw A",
            "A cancel requested 1 until 120",
            "lamp: 1 held",
            "A declined",
            "A cancelled 1",
            "lamp: 1 available",
        ],
    );
}

#[test]
fn a_cancel_while_paying_gives_the_money_back_if_it_was_taken() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "A cancels",
            "bank takes A",
            "A looks",
            "shelf",
            "bank refunds A",
            "A looks",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A cancel requested 1 until 120",
            "withdraw A",
            "A paid for nothing",
            "refund A 1000",
            "A refunding 1",
            "lamp: 1 available",
            "A cancelled 1",
        ],
    );
}

#[test]
fn a_cancel_that_no_bank_settles_ends_at_the_cap_and_is_not_bought_back() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "A cancels",
            "180 s",
            "A looks",
            "bank takes A",
            "A looks",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A cancel requested 1 until 120",
            "withdraw A",
            "A cancelled 1",
            "A paid for nothing",
            "refund A 1000",
            "A cancelled 1",
            "lamp: 1 available",
        ],
    );
}

#[test]
fn a_shipped_order_is_not_cancelled() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank takes A",
            "shop ships A",
            "A cancels",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A paid",
            "shop shipped 1",
            "A too late to cancel",
            "lamp: 1 sold",
        ],
    );
}

#[test]
fn somebody_elses_order_does_not_exist() {
    check(
        "lamp 1",
        &["A reserves 1", "B looks at A", "B cancels A", "shelf"],
        &[
            "A held 1 until 60",
            "B no such order",
            "B no such order",
            "lamp: 1 held",
        ],
    );
}

// The window.

#[test]
fn the_window_takes_its_first_instant_and_not_its_last() {
    check(
        "lamp 9; opens 10, closes 20",
        &[
            "9999999 us",
            "A reserves 1",
            "1 us",
            "A reserves 1",
            "9999999 us",
            "B reserves 1",
            "1 us",
            "C reserves 1",
        ],
        &[
            "A not open",
            "A held 1 until 70",
            "B held 1 until 79",
            "C closed",
        ],
    );
}

#[test]
fn a_pause_lets_holds_pay_and_takes_no_new_ones() {
    check(
        "lamp 2",
        &[
            "A reserves 1",
            "shop pauses",
            "B reserves 1",
            "A pays",
            "bank takes A",
            "shop resumes",
            "B reserves 1",
        ],
        &[
            "A held 1 until 60",
            "B paused",
            "charge A 1000",
            "A paid",
            "B held 1 until 60",
        ],
    );
}

#[test]
fn closing_lets_holds_pay_and_end() {
    check(
        "lamp 2",
        &[
            "A reserves 1",
            "B reserves 1",
            "shop closes",
            "C reserves 1",
            "A pays",
            "bank takes A",
            "60 s",
            "timer",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "B held 1 until 60",
            "C closed",
            "charge A 1000",
            "A paid",
            "lamp: 1 available, 1 sold",
        ],
    );
}

// The stock.

#[test]
fn a_cut_kills_no_hold_and_takes_what_comes_free() {
    check(
        "lamp 3",
        &[
            "A reserves 2",
            "B reserves 1",
            "shop sets 1",
            "shelf",
            "C reserves 1",
            "A cancels",
            "shelf",
            "B cancels",
            "shelf",
        ],
        &[
            "A held 2 until 60",
            "B held 1 until 60",
            "lamp: 3 held, 2 to withdraw",
            "C all held",
            "A cancelled 2",
            "lamp: 1 held, 2 withdrawn",
            "B cancelled 1",
            "lamp: 1 available, 2 withdrawn",
        ],
    );
}

#[test]
fn held_units_that_will_be_withdrawn_do_not_come_back() {
    check(
        "lamp 1",
        &["A reserves 1", "shop sets 0", "B reserves 1"],
        &["A held 1 until 60", "B sold out"],
    );
}

#[test]
fn a_raise_calls_the_withdrawal_off_first() {
    check(
        "lamp 3",
        &[
            "A reserves 3",
            "shop sets 1",
            "shelf",
            "shop sets 2",
            "shelf",
            "shop sets 5",
            "shelf",
        ],
        &[
            "A held 3 until 60",
            "lamp: 3 held, 2 to withdraw",
            "lamp: 3 held, 1 to withdraw",
            "lamp: 2 available, 3 held",
        ],
    );
}

#[test]
fn a_cut_below_what_is_sold_is_refused_with_the_numbers() {
    check(
        "lamp 2",
        &[
            "A reserves 2",
            "A pays",
            "bank takes A",
            "shop sets 1",
            "shop sets 2",
            "shelf",
        ],
        &[
            "A held 2 until 60",
            "charge A 2000",
            "A paid",
            "shop 1 is below 2 sold",
            "lamp: 2 sold",
        ],
    );
}

#[test]
fn a_late_success_does_not_take_what_a_withdrawal_took() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "shop sets 0",
            "180 s",
            "timer",
            "bank takes A",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A paid for nothing",
            "refund A 1000",
            "lamp: 1 withdrawn",
        ],
    );
}

#[test]
fn a_product_with_committed_units_is_not_deleted() {
    check(
        "lamp 2",
        &[
            "A reserves 1",
            "shop deletes",
            "A cancels",
            "shop deletes",
            "B reserves 1",
        ],
        &[
            "A held 1 until 60",
            "shop 1 held, 0 sold",
            "A cancelled 1",
            "B no such product",
        ],
    );
}

// After the sale.

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
