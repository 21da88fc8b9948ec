//! The waitlist by example.

use super::story::check;

#[test]
fn a_freed_unit_goes_to_the_head_of_the_waitlist_and_to_nobody_else() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "B waits 1",
            "C waits 1",
            "A cancels",
            "D reserves 1",
            "B asks",
            "C asks",
            "B reserves 1",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "B waits at 1 for 1",
            "C waits at 2 for 1",
            "A cancelled 1",
            "D all held",
            "B is offered 1 until 120",
            "C waits at 1 for 1",
            "B held 1 until 60",
            "lamp: 1 held",
        ],
    );
}

#[test]
fn an_expired_hold_is_offered_in_the_same_turn() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "B waits 1",
            "60 s",
            "timer",
            "B asks",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "B waits at 1 for 1",
            "B is offered 1 until 180",
            "lamp: 1 offered",
        ],
    );
}

#[test]
fn nobody_waits_for_what_can_be_had() {
    check(
        "lamp 2",
        &["A reserves 1", "B waits 1", "B waits 2"],
        &[
            "A held 1 until 60",
            "B 1 still available",
            "B 1 still available",
        ],
    );
}

#[test]
fn a_person_has_one_place() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "B waits 1",
            "C waits 1",
            "B waits 1",
            "B waits 2",
        ],
        &[
            "A held 1 until 60",
            "B waits at 1 for 1",
            "C waits at 2 for 1",
            "B waits at 1 for 1",
            "B waits for 1 already",
        ],
    );
}

#[test]
fn who_lets_an_offer_lapse_goes_to_the_end_once_and_then_off() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "B waits 1",
            "C waits 1",
            "A cancels",
            "120 s",
            "timer",
            "B asks",
            "C asks",
            "120 s",
            "timer",
            "B asks",
            "120 s",
            "timer",
            "B asks",
            "C asks",
        ],
        &[
            "A held 1 until 60",
            "B waits at 1 for 1",
            "C waits at 2 for 1",
            "A cancelled 1",
            "B waits at 1 for 1",
            "C is offered 1 until 240",
            "B is offered 1 until 360",
            "B on 0 lists",
            "C is offered 1 until 480",
        ],
    );
}

#[test]
fn an_offer_ends_exactly_at_its_deadline() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "B waits 1",
            "A cancels",
            "119999999 us",
            "B asks",
            "1 us",
            "C reserves 1",
            "B asks",
        ],
        &[
            "A held 1 until 60",
            "B waits at 1 for 1",
            "A cancelled 1",
            "B is offered 1 until 120",
            "C all held",
            // The only one who waits is the head again.
            "B is offered 1 until 240",
        ],
    );
}

#[test]
fn an_offer_may_be_for_fewer_units_than_wanted() {
    check(
        "lamp 2",
        &[
            "A reserves 1",
            "B reserves 1",
            "C waits 2",
            "D waits 1",
            "A cancels",
            "C asks",
            "C reserves 2",
            "C reserves 1",
            "D asks",
        ],
        &[
            "A held 1 until 60",
            "B held 1 until 60",
            "C waits at 1 for 2",
            "D waits at 2 for 1",
            "A cancelled 1",
            "C is offered 1 until 120",
            "C all held",
            "C held 1 until 60",
            "D waits at 1 for 1",
        ],
    );
}

#[test]
fn what_is_left_of_an_offer_goes_to_the_next() {
    check(
        "lamp 2",
        &[
            "A reserves 2",
            "B waits 2",
            "C waits 1",
            "A cancels",
            "B reserves 1",
            "C asks",
            "shelf",
        ],
        &[
            "A held 2 until 60",
            "B waits at 1 for 2",
            "C waits at 2 for 1",
            "A cancelled 2",
            "B held 1 until 60",
            "C is offered 1 until 120",
            "lamp: 1 held, 1 offered",
        ],
    );
}

#[test]
fn an_offer_is_taken_up_though_the_sale_is_paused() {
    check(
        "lamp 2",
        &[
            "A reserves 2",
            "B waits 1",
            "C waits 1",
            "A cancels",
            "shop pauses",
            "B leaves",
            "C reserves 1",
            "D waits 1",
            "E reserves 1",
            "shop resumes",
            "E reserves 1",
        ],
        &[
            "A held 2 until 60",
            "B waits at 1 for 1",
            "C waits at 2 for 1",
            "A cancelled 2",
            "C held 1 until 60",
            "D 1 still available",
            "E paused",
            "E held 1 until 60",
        ],
    );
}

#[test]
fn a_paused_sale_makes_no_offers_until_it_goes_on() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "B waits 1",
            "shop pauses",
            "A cancels",
            "B asks",
            "shop resumes",
            "B asks",
        ],
        &[
            "A held 1 until 60",
            "B waits at 1 for 1",
            "A cancelled 1",
            "B waits at 1 for 1",
            "B is offered 1 until 120",
        ],
    );
}

#[test]
fn a_raise_of_the_stock_serves_those_who_wait_first() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "B waits 1",
            "C waits 1",
            "shop sets 4",
            "B asks",
            "C asks",
            "D reserves 1",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "B waits at 1 for 1",
            "C waits at 2 for 1",
            "B is offered 1 until 120",
            "C is offered 1 until 120",
            "D held 1 until 60",
            "lamp: 2 held, 2 offered",
        ],
    );
}

#[test]
fn a_withdrawal_comes_before_the_waitlist() {
    check(
        "lamp 2",
        &[
            "A reserves 1",
            "B reserves 1",
            "C waits 1",
            "shop sets 1",
            "A cancels",
            "C asks",
            "B cancels",
            "C asks",
            "shelf",
        ],
        &[
            "A held 1 until 60",
            "B held 1 until 60",
            "C waits at 1 for 1",
            "A cancelled 1",
            "C waits at 1 for 1",
            "B cancelled 1",
            "C is offered 1 until 120",
            "lamp: 1 offered, 1 withdrawn",
        ],
    );
}

#[test]
fn an_offer_counts_against_the_limit() {
    check(
        "lamp 2; limit 1",
        &[
            "A reserves 1",
            "B reserves 1",
            "A waits 1",
            "C waits 1",
            "B cancels",
            "shop sets 3",
            "C reserves 1",
            "C reserves 1",
        ],
        &[
            "A held 1 until 60",
            "B held 1 until 60",
            "A at the limit of 1 with 1, nothing to resume",
            "C waits at 1 for 1",
            "B cancelled 1",
            "C held 1 until 60",
            "C at the limit of 1 with 1, held to resume",
        ],
    );
}

#[test]
fn a_late_success_takes_no_unit_from_those_who_wait() {
    check(
        "lamp 1; hold 1",
        &[
            "A reserves 1",
            "A pays",
            "B waits 1",
            "121 s",
            "timer",
            "bank takes A",
            "B asks",
            "shelf",
        ],
        &[
            "A held 1 until 1",
            "charge A 1000",
            "B waits at 1 for 1",
            "A paid for nothing",
            "refund A 1000",
            "B is offered 1 until 241",
            "lamp: 1 offered",
        ],
    );
}

#[test]
fn a_cancelled_purchase_goes_to_the_waitlist_too() {
    check(
        "lamp 1",
        &[
            "A reserves 1",
            "A pays",
            "bank takes A",
            "B waits 1",
            "A cancels",
            "B asks",
        ],
        &[
            "A held 1 until 60",
            "charge A 1000",
            "A paid",
            "B waits at 1 for 1",
            "refund A 1000",
            "B is offered 1 until 120",
        ],
    );
}
