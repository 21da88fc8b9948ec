//! Waitlists end with their sale.

use super::*;
use crate::domain::{OrderState, Rejection};

const LEE: BuyerId = BuyerId::new(8);

/// The last unit is held by Kim, and Lee waits for it.
fn waited_for() -> (Stage, Order) {
    let mut stage = Stage::new(PersonLimits::NONE);
    stage.change(ProductAct::SetStock(1)).expect("one unit");
    let order = stage.place(KIM).expect("the last unit");
    stage.join(LEE).expect("a place");
    (stage, order)
}

impl Stage {
    fn join(&mut self, buyer: BuyerId) -> Answer {
        self.ask(Command::JoinWaitlist {
            product: LAMP,
            buyer,
            quantity: Quantity::new(1).expect("one"),
        })
    }

    fn places_of(&mut self, buyer: BuyerId) -> usize {
        match self.ask(Command::ReadWaitlists { buyer }) {
            Ok(Reply::Places(places)) => places.len(),
            other => panic!("places were expected, not {other:?}"),
        }
    }

    fn close_sale(&mut self) {
        self.change(ProductAct::Window(WindowAct::Close, None))
            .expect("closed");
    }
}

#[test]
fn a_sale_that_an_admin_closes_ends_its_waitlist() {
    let (mut stage, _) = waited_for();
    assert_eq!(stage.places_of(LEE), 1);
    stage.close_sale();
    assert_eq!(stage.places_of(LEE), 0);
    let refused = Refusal::Rejected(Rejection::Closed(LAMP));
    assert!(stage.join(LEE).is_err_and(|it| it == refused));
}

#[test]
fn a_sale_that_closes_by_the_clock_ends_its_waitlist_by_itself() {
    let (mut stage, _) = waited_for();
    let window = Window {
        closes_at: Some(stage.now.plus(Span::from_secs(60))),
        ..Window::open_from(stage.now)
    };
    stage
        .change(ProductAct::Window(WindowAct::Schedule, Some(window)))
        .expect("scheduled");
    assert_eq!(stage.core.next_due(), window.closes_at);
    stage.wait(Span::from_secs(60));
    let lamp = stage.core.cell().snapshot(LAMP).expect("the lamp").0;
    assert_eq!(lamp.waiting, 0);
    assert_eq!(stage.places_of(LEE), 0);
}

#[test]
fn who_has_an_offer_when_the_sale_closes_may_still_take_it() {
    let (mut stage, order) = waited_for();
    stage.cancel(&order).expect("cancelled");
    stage.close_sale();
    assert_eq!(stage.places_of(LEE), 1);
    stage.place(LEE).expect("what was offered");
}

#[test]
fn an_offer_that_lapses_after_the_sale_ends_the_place() {
    let (mut stage, order) = waited_for();
    stage.cancel(&order).expect("cancelled");
    stage.close_sale();
    stage.wait(Span::from_secs(121));
    assert_eq!(stage.places_of(LEE), 0);
}

#[test]
fn whoever_waits_in_vain_keeps_no_unit_from_a_payment_that_comes_late() {
    let (mut stage, order) = waited_for();
    let (attempt, _) = stage.start_payment(&order);
    stage.close_sale();
    stage.wait(Span::from_secs(500));
    stage
        .settle(&order, attempt, PaymentOutcome::Captured)
        .expect("settled");
    let order = order_in(stage.ask(read(&order))).expect("the order");
    assert_eq!(order.state, OrderState::Paid);
}

#[test]
fn a_product_with_an_offer_out_says_so_when_it_is_not_deleted() {
    let (mut stage, order) = waited_for();
    stage.cancel(&order).expect("cancelled");
    let refused = Rejection::HasCommittedUnits {
        held: 0,
        offered: 1,
        sold: 0,
        returning: 0,
    };
    let answer = stage.change(ProductAct::Delete);
    assert!(answer.is_err_and(|it| it == Refusal::Rejected(refused)));
}
