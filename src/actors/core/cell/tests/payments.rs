//! Payments that do not start or settle, whatever the model would say: the provider is away, or speaks of another sum.

use super::till::Till;
use super::{buyer, krw, usd};
use crate::actors::BreakerOptions;
use crate::actors::core::message::{Command, Effect, PaymentReply, Refusal, Reply};
use crate::domain::{
    AttemptId, Money, OrderId, OrderState, PaymentAnswer, PaymentOutcome, Rejection, Span,
};

const HOLD: Span = Span::from_secs(300);
const PAUSE: Span = Span::from_secs(5);

fn till() -> Till {
    let mut till = Till::open(10, HOLD);
    till.cell.set_breaker(BreakerOptions {
        unclear_max: 3,
        pause: PAUSE,
    });
    till
}

fn pay(till: &mut Till, order: OrderId) -> Result<AttemptId, Refusal> {
    let command = till.pay_command(order, buyer(1));
    let (answers, effects) = till.tell(command);
    match (answers.into_iter().next(), effects.as_slice()) {
        (Some(Err(refusal)), []) => Err(refusal),
        (None, [Effect::Charge { order, .. }]) => Ok(order.attempt),
        other => panic!("neither started nor refused: {other:?}"),
    }
}

fn note(till: &mut Till, answered: bool) {
    till.tell(Command::NoteProvider { answered });
}

fn settle(
    till: &mut Till,
    order: OrderId,
    attempt: AttemptId,
    amount: Option<Money>,
) -> Result<Reply, Refusal> {
    let (answers, _) = till.tell(Command::SettlePayment {
        order,
        attempt,
        outcome: PaymentOutcome::Captured,
        amount,
    });
    answers.into_iter().next_back().expect("an answer")
}

#[test]
fn nobody_starts_to_pay_while_the_provider_gives_no_clear_answers() {
    let mut till = till();
    let orders = [1, 1, 1].map(|units| till.place(1, units).expect("held"));
    for _ in 0..3 {
        assert!(
            pay(&mut till, orders[0]).is_ok() || till.order(orders[0]).state == OrderState::Paying
        );
        note(&mut till, false);
    }
    let before = till.order(orders[1]).clone();
    let away = |retry_after| Err(Refusal::PaymentsUnavailable { retry_after });
    assert_eq!(pay(&mut till, orders[1]), away(PAUSE));
    assert_eq!(till.order(orders[1]), before, "the hold stays as it is");

    till.pass(PAUSE);
    pay(&mut till, orders[1]).expect("one may try");
    assert_eq!(pay(&mut till, orders[2]), away(PAUSE), "and one alone");

    note(&mut till, true);
    pay(&mut till, orders[2]).expect("one clear answer is enough");
}

#[test]
fn what_is_under_way_goes_on_while_the_provider_is_away() {
    let mut till = till();
    let order = till.place(1, 1).expect("held");
    let attempt = pay(&mut till, order).expect("started");
    (0..3).for_each(|_| note(&mut till, false));
    let repeat = Command::RepeatCharge { order, attempt };
    let (_, effects) = till.tell(repeat);
    assert!(
        matches!(effects.as_slice(), [Effect::Charge { order: it, .. }] if it.attempt == attempt)
    );
    settle(&mut till, order, attempt, None).expect("settled");
    let cancel = Command::CancelOrder {
        order,
        buyer: buyer(1),
    };
    let (_, effects) = till.tell(cancel);
    assert!(matches!(effects.as_slice(), [Effect::Refund(it)] if it.attempt == attempt));
}

#[test]
fn an_order_that_cannot_be_paid_does_not_use_up_the_one_try() {
    let mut till = till();
    let [gone, live] = [1, 1].map(|units| till.place(1, units).expect("held"));
    till.tell(Command::CancelOrder {
        order: gone,
        buyer: buyer(1),
    });
    (0..3).for_each(|_| note(&mut till, false));
    till.pass(PAUSE);
    let cancelled = Err(Refusal::Rejected(Rejection::OrderCancelled));
    assert_eq!(pay(&mut till, gone), cancelled);
    pay(&mut till, live).expect("the one that may try");
}

#[test]
fn another_sum_settles_nothing() {
    let mut till = till();
    let order = till.place(1, 2).expect("held");
    let attempt = pay(&mut till, order).expect("started");
    for told in [krw(1_999), krw(2_001), krw(0), krw(-2_000), usd(2_000)] {
        let before = till.order(order).clone();
        let refused = settle(&mut till, order, attempt, Some(told)).expect_err("another sum");
        let mismatch = Rejection::PaymentMismatch {
            told,
            total: krw(2_000),
        };
        assert_eq!(refused, mismatch.into());
        assert_eq!(till.order(order), before);
    }
    settle(&mut till, order, attempt, Some(krw(2_000))).expect("the right sum");
    assert_eq!(till.order(order).state, OrderState::Paid);
    let told = PaymentReply::of(&till.order(order), attempt).expect("told");
    assert_eq!(told.answer, PaymentAnswer::Paid);
    settle(&mut till, order, attempt, Some(krw(1))).expect_err("another sum, also afterwards");
}
