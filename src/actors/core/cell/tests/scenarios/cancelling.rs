//! Cancelling.

use super::super::story::check;

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
