//! The window and the stock.

use super::super::story::check;

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
