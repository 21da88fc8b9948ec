//! Orders that have left memory come back, and the same rules decide about them.

use super::super::recall::{Stored, Wanted};
use super::super::replay::{LiveState, ReplayError, replay};
use super::*;
use crate::domain::{AttemptState, IdMap, OrderState, RefundState, Timestamp};

/// A cancelled order whose attempt was declined, as SQL keeps it after it has left memory.
fn forgotten(stage: &mut Stage) -> (Order, AttemptId) {
    let order = stage.place(KIM).expect("a hold");
    let (attempt, _) = stage.start_payment(&order);
    stage
        .settle(&order, attempt, PaymentOutcome::Declined)
        .expect("settled");
    let order = stage.cancel(&order).expect("cancelled");
    stage.forget();
    stage.wait(Span::from_secs(86_401));
    stage.forget();
    assert!(!stage.core.cell().has_order(order.id));
    (order, attempt)
}

fn stored(stage: &Stage, orders: &[&Order]) -> Stored {
    Stored {
        position: stage.core.position(),
        orders: orders.iter().map(|order| (*order).clone()).collect(),
        people: IdMap::default(),
    }
}

fn wanted(order: &Order) -> Wanted {
    Wanted {
        orders: vec![order.id],
        people: Vec::new(),
    }
}

#[test]
fn an_order_that_has_left_memory_is_read_as_if_it_had_not() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let (order, _) = forgotten(&mut stage);
    let (first, again) = (stage.send(read(&order)), stage.send(read(&order)));
    assert!(stage.answer_to(first).is_none());
    assert_eq!(stage.core.next_recall(), Some(wanted(&order)));
    assert_eq!(stage.core.next_recall(), None, "asked once");
    let found = stored(&stage, &[&order]);
    stage.core.recalled(Some(found), &mut stage.left);
    stage.wait(Span::ZERO);
    for reply_to in [first, again] {
        let answer = stage.answer_to(reply_to).expect("an answer");
        assert_eq!(order_in(answer), Ok(order.clone()));
    }
    let now_here = stage.ask(read(&order));
    assert_eq!(order_in(now_here), Ok(order));
}

#[test]
fn money_for_an_order_that_has_left_memory_goes_back() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let (order, attempt) = forgotten(&mut stage);
    stage.left.effects.clear();
    let told = stage.send(Command::SettlePayment {
        order: order.id,
        attempt,
        outcome: PaymentOutcome::Captured,
        amount: None,
    });
    assert_eq!(stage.core.next_recall(), Some(wanted(&order)));
    let found = stored(&stage, &[&order]);
    stage.core.recalled(Some(found), &mut stage.left);
    stage.wait(Span::ZERO);
    assert!(matches!(stage.answer_to(told), Some(Ok(Reply::Done))));
    assert!(matches!(stage.left.effects[..], [Effect::Refund(_)]));
    let order = order_in(stage.ask(read(&order))).expect("here");
    let attempt = order.attempt(attempt).expect("the attempt");
    assert_eq!(
        (order.state, attempt.state, attempt.refund),
        (
            OrderState::Cancelled,
            AttemptState::Captured,
            RefundState::Due
        )
    );
}

#[test]
fn an_order_that_nobody_placed_is_not_found() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let order = stage.place(KIM).expect("a hold");
    let unknown = Order {
        id: OrderId::for_buyer(0xffff_0000, KIM),
        ..order
    };
    let asked = stage.send(read(&unknown));
    assert_eq!(stage.core.next_recall(), Some(wanted(&unknown)));
    let nothing = stored(&stage, &[]);
    stage.core.recalled(Some(nothing), &mut stage.left);
    stage.wait(Span::ZERO);
    let answer = stage.answer_to(asked).expect("an answer");
    assert_eq!(
        order_in(answer),
        Err(crate::domain::Rejection::NoSuchOrder.into())
    );
    assert_eq!(stage.core.next_recall(), None);
}

#[test]
fn a_database_that_is_away_or_older_is_named_and_gives_back_nothing() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let (order, _) = forgotten(&mut stage);
    let older = Stored {
        position: Position::new(3),
        ..stored(&stage, &[&order])
    };
    for answered in [None, Some(older)] {
        let asked = stage.send(read(&order));
        assert_eq!(stage.core.next_recall(), Some(wanted(&order)));
        stage.core.recalled(answered, &mut stage.left);
        let answer = stage.answer_to(asked).expect("an answer");
        assert_eq!(order_in(answer), Err(Refusal::OrdersUnavailable));
    }
    assert!(!stage.core.cell().has_order(order.id));
}

#[test]
fn only_so_many_wait_for_orders_from_sql() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let order = stage.place(KIM).expect("a hold");
    let unknown = |number: u128| Order {
        id: OrderId::for_buyer((0xffff_0000 + number) << 8, KIM),
        ..order.clone()
    };
    let mut commands = Vec::new();
    for number in 0..=4_096 {
        let (envelope, _) = stage.envelope(read(&unknown(number)));
        commands.push(envelope);
    }
    stage.turn(&mut commands).expect("a turn");
    let answers: Vec<_> = stage.left.answers.drain(..).map(|it| it.1).collect();
    assert!(matches!(answers[..], [Err(Refusal::RecallsBusy)]));
    let asked = stage.core.next_recall().expect("something to ask for");
    assert_eq!(asked.orders.len(), 256);
}

#[test]
fn an_order_asked_for_again_leaves_memory_again() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let (order, _) = forgotten(&mut stage);
    stage.send(read(&order));
    stage.core.next_recall().expect("asked for");
    let found = stored(&stage, &[&order]);
    stage.core.recalled(Some(found), &mut stage.left);
    stage.wait(Span::ZERO);
    assert!(stage.core.cell().has_order(order.id));
    stage.wait(Span::from_secs(61));
    stage.forget();
    assert!(!stage.core.cell().has_order(order.id));
}

#[test]
fn a_paid_order_that_nobody_ships_leaves_memory_too() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let order = stage.place(KIM).expect("a hold");
    let (attempt, _) = stage.start_payment(&order);
    stage
        .settle(&order, attempt, PaymentOutcome::Captured)
        .expect("settled");
    stage.forget();
    stage.wait(Span::from_secs(86_401));
    stage.forget();
    assert!(!stage.core.cell().has_order(order.id));
}

#[test]
fn a_replay_brings_back_what_the_journal_speaks_of() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let (order, attempt) = forgotten(&mut stage);
    let base = stage.core.position();
    let products = stage.core.cell().products().cloned().collect();
    let told = stage.send(Command::SettlePayment {
        order: order.id,
        attempt,
        outcome: PaymentOutcome::Captured,
        amount: None,
    });
    stage.core.next_recall().expect("asked for");
    let found = stored(&stage, &[&order]);
    stage.core.recalled(Some(found), &mut stage.left);
    stage.wait(Span::ZERO);
    assert!(matches!(stage.answer_to(told), Some(Ok(_))));

    let replayed = |position| {
        let live = LiveState {
            position: base,
            last_stamp: Timestamp::ZERO,
            products: Clone::clone(&products),
            orders: Vec::new(),
        };
        let mut reader = stage.core.reader(base).expect("a reader");
        let mut ask = |asked: Wanted| {
            assert_eq!(asked, wanted(&order));
            Ok(Stored {
                position,
                ..stored(&stage, &[&order])
            })
        };
        let end = stage.core.position();
        replay(live, reader.as_mut(), end, CellLimits::default(), &mut ask)
    };
    let cell = replayed(base).expect("a replay");
    let live = stage.core.cell().sound_order(order.id);
    assert_eq!(cell.sound_order(order.id), live);
    assert!(matches!(
        replayed(base.next()),
        Err(ReplayError::Moved { .. })
    ));
    let live = LiveState {
        position: base,
        last_stamp: Timestamp::ZERO,
        products: Clone::clone(&products),
        orders: Vec::new(),
    };
    let mut later = stage.core.reader(base.next()).expect("a reader");
    let end = stage.core.position();
    let mut ask = |_| panic!("nothing is asked");
    let limits = CellLimits::default();
    assert!(matches!(
        replay(live, later.as_mut(), end, limits, &mut ask),
        Err(ReplayError::WentBack { .. })
    ));
}
