//! What leaves a turn, when, and in which order.

use super::*;
use crate::persistence::journal::AppendFault;

#[test]
fn a_turn_is_appended_then_published_then_performed_then_answered() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let order = stage.place(KIM).expect("a hold");
    stage.left.steps.lock().clear();
    let (other, _) = stage.envelope(read(&order));
    let attempt = AttemptId::new(99);
    let start = StartPayment {
        order: order.id,
        buyer: KIM,
        attempt,
        key: KeyHash::new(98),
        fingerprint: Fingerprint(0),
        method: "card".into(),
    };
    let (payment, _) = stage.envelope(Command::StartPayment(start));
    stage.turn(&mut vec![other, payment]).expect("a turn");
    assert_eq!(
        *stage.left.steps.lock(),
        [Step::Append, Step::Publish, Step::Perform, Step::Answer]
    );
}

#[test]
fn a_refusal_waits_for_the_journal_like_everything_of_its_turn() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let order = stage.place(KIM).expect("a hold");
    stage.left.steps.lock().clear();
    let stranger = Command::CancelOrder {
        order: order.id,
        buyer: BuyerId::new(8),
    };
    let (refused, _) = stage.envelope(stranger);
    let (cancelled, _) = stage.envelope(Command::CancelOrder {
        order: order.id,
        buyer: KIM,
    });
    stage.turn(&mut vec![refused, cancelled]).expect("a turn");
    assert_eq!(
        *stage.left.steps.lock(),
        [Step::Append, Step::Publish, Step::Answer]
    );
}

#[test]
fn when_the_journal_fails_everybody_is_told_and_nothing_is_published() {
    for fault in [AppendFault::Lost, AppendFault::Kept] {
        let mut journal = MemoryJournal::new();
        // The shop, two holds and a payment before it.
        journal.fail_append(6, fault);
        let mut stage = Stage::with(PersonLimits::NONE, journal, usize::MAX);
        let paying = stage.place(KIM).expect("a hold");
        let held = stage.place(KIM).expect("a hold");
        let (_, waits_for_payment) = stage.start_payment(&paying);
        let forgotten = Order {
            id: OrderId::for_buyer(0xffff_0000, KIM),
            ..held.clone()
        };
        let waits_for_sql = stage.send(read(&forgotten));
        stage.left.steps.lock().clear();
        stage.left.effects.clear();

        let cancel = |order: &Order| Command::CancelOrder {
            order: order.id,
            buyer: KIM,
        };
        let (first, fails) = stage.envelope(cancel(&held));
        let mut commands = vec![first];
        assert!(stage.turn(&mut commands).is_err());
        let (later, comes_later) = stage.envelope(read(&held));
        stage.turn(&mut vec![later]).expect("nothing to append");

        for reply_to in [waits_for_payment, waits_for_sql, fails, comes_later] {
            let answer = stage.answer_to(reply_to);
            assert!(
                matches!(answer, Some(Err(Refusal::JournalFailed))),
                "{answer:?}"
            );
        }
        assert!(!stage.left.steps.lock().contains(&Step::Publish));
        assert!(stage.left.effects.is_empty());
        assert!(stage.core.has_failed());
    }
}
