//! Paying, and money that comes late.

use super::super::story::check;

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
