//! The state machine of an order: every state under every decision, and what it does to the units.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::krw;
use crate::domain::{
    AttemptId, AttemptState, Bucket, BuyerId, Fingerprint, KeyHash, Line, Order, OrderChange,
    OrderId, OrderPlaced, OrderState, PaymentOutcome, ProductId, Quantity, RefundState, Rejection,
    Release, Timestamp,
};

type Decided = Result<Option<(OrderChange, Release)>, Rejection>;

const LATE: Timestamp = Timestamp::from_micros(1_000_000_000_000);
const RETURN_UNTIL: Timestamp = Timestamp::from_micros(900_000_000_000);

fn at(secs: u64) -> Timestamp {
    Timestamp::from_micros(secs * 1_000_000)
}

fn attempt(number: u128) -> AttemptId {
    AttemptId::new(number)
}

fn placed() -> Order {
    let line = Line {
        product: ProductId::new(1),
        quantity: Quantity::new(2).unwrap(),
        unit_price: krw(100),
    };
    Order::new(
        1,
        &OrderPlaced {
            order: OrderId::new(1),
            buyer: BuyerId::new(1),
            key: KeyHash::new(1),
            fingerprint: Fingerprint(0),
            address: None,
            at: at(0),
            deadline: at(60),
            lines: vec![line],
            offers: vec![],
        },
    )
}

fn started(order: &Order, number: u128, now: Timestamp) -> OrderChange {
    let key = KeyHash::new(number);
    order
        .decide_payment(attempt(number), key, Fingerprint(0), "card", now)
        .unwrap()
}

/// An order in the given state, reached as a buyer would; its first attempt has had an answer wherever it can.
fn in_state(state: OrderState) -> Order {
    use OrderChange as Did;
    let attempt = attempt(1);
    let declined = || vec![Did::PaymentDeclined { attempt }];
    let paid = || vec![Did::PaymentCaptured { attempt }];
    let shipped = || {
        [
            paid(),
            vec![Did::Shipped {
                carrier: "Post".into(),
                tracking_number: "1".into(),
            }],
        ]
        .concat()
    };
    let delivered = || {
        [
            shipped(),
            vec![Did::Delivered {
                return_until: RETURN_UNTIL,
            }],
        ]
        .concat()
    };
    let asked_back = || {
        [
            delivered(),
            vec![Did::ReturnRequested { reason: "".into() }],
        ]
        .concat()
    };
    let unfulfilled = || vec![Did::Expired, Did::PaymentUnfulfilled { attempt }];
    let changes = match state {
        OrderState::Held => declined(),
        OrderState::Paying => vec![],
        OrderState::CancelRequested => vec![Did::CancelRequested],
        OrderState::Paid => paid(),
        OrderState::Refunding => [paid(), vec![Did::RefundStarted { attempt }]].concat(),
        OrderState::Cancelled => [declined(), vec![Did::Cancelled]].concat(),
        OrderState::Expired => vec![Did::Expired],
        OrderState::PaidUnfulfilled => unfulfilled(),
        OrderState::Refunded => [unfulfilled(), vec![Did::Refunded { attempt }]].concat(),
        OrderState::Shipped => shipped(),
        OrderState::Delivered => delivered(),
        OrderState::Completed => [delivered(), vec![Did::Completed]].concat(),
        OrderState::ReturnRequested => asked_back(),
        OrderState::Returned => [
            asked_back(),
            vec![Did::ReturnAccepted {
                attempt,
                restock_at: RETURN_UNTIL,
            }],
        ]
        .concat(),
    };
    let mut order = placed();
    let start = started(&order, 1, at(0));
    order.apply(&start, at(0));
    changes.iter().for_each(|change| order.apply(change, at(1)));
    assert_eq!(order.state, state);
    order
}

const STATES: [OrderState; 14] = OrderState::ALL;

#[derive(Debug, Clone, Copy)]
enum Act {
    Pay,
    Cancel,
    Ship,
    Deliver,
    AskBack,
    TakeBack,
    Due,
    Captured,
    CapturedLate,
    Declined,
    Deferred,
    Refunded,
}

const ACTS: [Act; 12] = [
    Act::Pay,
    Act::Cancel,
    Act::Ship,
    Act::Deliver,
    Act::AskBack,
    Act::TakeBack,
    Act::Due,
    Act::Captured,
    Act::CapturedLate,
    Act::Declined,
    Act::Deferred,
    Act::Refunded,
];

/// `Captured` finds the units still free, `CapturedLate` finds them gone. The acts of the bank are on `attempt`.
fn decide(order: &Order, act: Act, attempt: AttemptId, now: Timestamp) -> Decided {
    let next = u128::try_from(order.attempts.len()).unwrap() + 1;
    let (id, key) = (AttemptId::new(next), KeyHash::new(next));
    match act {
        Act::Pay => order
            .decide_payment(id, key, Fingerprint(0), "card", now)
            .map(|change| Some((change, Release::Keep))),
        Act::Cancel => order.decide_cancel(),
        Act::Ship => order.decide_shipment("Post", "1"),
        Act::Deliver => order.decide_delivery(RETURN_UNTIL),
        Act::AskBack => order.decide_return_request("no"),
        Act::TakeBack => order.decide_return_acceptance(),
        Act::Due => Ok(order.decide_due(now)),
        Act::Captured => order.decide_outcome(attempt, PaymentOutcome::Captured, &|_| true),
        Act::CapturedLate => order.decide_outcome(attempt, PaymentOutcome::Captured, &|_| false),
        Act::Declined => order.decide_outcome(attempt, PaymentOutcome::Declined, &|_| true),
        Act::Deferred => order.decide_deferral(attempt),
        Act::Refunded => order.decide_refunded(attempt),
    }
}

/// The name of a change or of a refusal; `-` for nothing.
fn word(decided: &Decided) -> String {
    let debug = match decided {
        Ok(None) => "-".to_owned(),
        Ok(Some((change, _))) => format!("{change:?}"),
        Err(rejection) => format!("!{rejection:?}"),
    };
    debug
        .split([' ', '('])
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn every_state_has_an_answer_to_what_people_do() {
    let acts = [
        Act::Pay,
        Act::Cancel,
        Act::Ship,
        Act::Deliver,
        Act::AskBack,
        Act::TakeBack,
        Act::Due,
    ];
    let table = table(&acts);
    let expected = "
        Held            PaymentStarted     Cancelled        !NotPaid !NotShipped !NotDelivered       !ReturnNotRequested Expired
        Paying          !PaymentInProgress CancelRequested  !NotPaid !NotShipped !NotDelivered       !ReturnNotRequested Expired
        CancelRequested !OrderCancelled    -                !NotPaid !NotShipped !NotDelivered       !ReturnNotRequested Cancelled
        Paid            !AlreadyPaid       RefundStarted    Shipped  !NotShipped !NotDelivered       !ReturnNotRequested -
        Refunding       !AlreadyPaid       -                !NotPaid !NotShipped !NotDelivered       !ReturnNotRequested -
        Cancelled       !OrderCancelled    -                !NotPaid !NotShipped !NotDelivered       !ReturnNotRequested -
        Expired         !HoldExpired       !HoldExpired     !NotPaid !NotShipped !NotDelivered       !ReturnNotRequested -
        PaidUnfulfilled !HoldExpired       !HoldExpired     !NotPaid !NotShipped !NotDelivered       !ReturnNotRequested -
        Refunded        !HoldExpired       !HoldExpired     !NotPaid !NotShipped !NotDelivered       !ReturnNotRequested -
        Shipped         !AlreadyPaid       !TooLateToCancel -        Delivered   !NotDelivered       !ReturnNotRequested -
        Delivered       !AlreadyPaid       !TooLateToCancel -        -           ReturnRequested     !ReturnNotRequested Completed
        Completed       !AlreadyPaid       !TooLateToCancel -        -           !ReturnWindowClosed !ReturnNotRequested -
        ReturnRequested !AlreadyPaid       !TooLateToCancel -        -           -                   ReturnAccepted      -
        Returned        !AlreadyPaid       !TooLateToCancel -        -           -                   -                   Restocked";
    assert_eq!(table, squeezed(expected));
}

#[test]
fn every_state_has_an_answer_to_what_the_bank_says() {
    let acts = [
        Act::Captured,
        Act::CapturedLate,
        Act::Declined,
        Act::Deferred,
        Act::Refunded,
    ];
    let table = table(&acts);
    let expected = "
        Held            PaymentCaptured  PaymentCaptured    -               -               -
        Paying          PaymentCaptured  PaymentCaptured    PaymentDeclined PaymentDeferred -
        CancelRequested PaymentReturned  PaymentReturned    PaymentDeclined PaymentDeferred -
        Paid            -                -                  -               -               -
        Refunding       -                -                  -               -               Refunded
        Cancelled       PaymentReturned  PaymentReturned    -               -               -
        Expired         PaymentReclaimed PaymentUnfulfilled PaymentDeclined PaymentDeferred -
        PaidUnfulfilled -                -                  -               -               Refunded
        Refunded        -                -                  -               -               -
        Shipped         -                -                  -               -               -
        Delivered       -                -                  -               -               -
        Completed       -                -                  -               -               -
        ReturnRequested -                -                  -               -               -
        Returned        -                -                  -               -               Refunded";
    assert_eq!(table, squeezed(expected));
}

fn table(acts: &[Act]) -> Vec<String> {
    let row = |state: &OrderState| {
        let order = in_state(*state);
        let words = acts
            .iter()
            .map(|act| word(&decide(&order, *act, attempt(1), LATE)));
        std::iter::once(format!("{state:?}"))
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    };
    STATES.iter().map(row).collect()
}

fn squeezed(table: &str) -> Vec<String> {
    let lines = table.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn the_end_is_the_end_for_whatever_people_do() {
    let people = [
        Act::Pay,
        Act::Cancel,
        Act::Ship,
        Act::Deliver,
        Act::AskBack,
        Act::TakeBack,
    ];
    for state in STATES
        .into_iter()
        .filter(|state| in_state(*state).is_final())
    {
        let order = in_state(state);
        for act in people {
            let decided = decide(&order, act, attempt(1), LATE);
            assert!(
                !matches!(decided, Ok(Some(_))),
                "{act:?} changed an order that is {state:?}: {decided:?}"
            );
        }
    }
}

/// The word that is a state's own: none is left out of the list, and none is there twice.
#[test]
fn the_list_of_states_has_every_state_once() {
    let listed: BTreeSet<OrderState> = OrderState::ALL.into_iter().collect();
    assert_eq!(listed.len(), OrderState::ALL.len());
    let reached = ROADS.iter().flat_map(|(from, to)| to.iter().chain([from]));
    assert_eq!(listed, reached.copied().collect());
}

#[test]
fn a_shipment_said_in_other_words_is_refused_and_names_the_first() {
    let order = in_state(OrderState::Shipped);
    for (carrier, number) in [("Post", "2"), ("Other", "1"), ("", "")] {
        let first = Rejection::AlreadyShipped {
            carrier: "Post".into(),
            tracking_number: "1".into(),
        };
        assert_eq!(order.decide_shipment(carrier, number), Err(first));
    }
    assert_eq!(order.decide_shipment("Post", "1"), Ok(None));
}

#[test]
fn nothing_is_due_before_its_time() {
    for state in STATES {
        let order = in_state(state);
        let Some(due) = order.next_due() else {
            assert_eq!(order.decide_due(Timestamp::MAX), None, "{state:?}");
            continue;
        };
        let before = Timestamp::from_micros(due.as_micros() - 1);
        assert_eq!(
            order.decide_due(before),
            None,
            "{state:?} a microsecond early"
        );
        assert!(order.decide_due(due).is_some(), "{state:?} exactly on time");
    }
}

#[test]
fn the_extension_is_the_larger_of_both_and_never_past_the_cap() {
    for (ttl, now, extended) in [
        (60, 0, 120),
        (60, 30, 150),
        (60, 59, 179),
        (1_800, 0, 1_800),
        (1_800, 1_700, 1_820),
    ] {
        let mut order = placed();
        (order.pay_by, order.deadline) = (at(ttl), at(ttl));
        let start = started(&order, 1, at(now));
        order.apply(&start, at(now));
        assert_eq!(
            order.deadline,
            at(extended),
            "{ttl} s of hold, paid after {now} s"
        );
        assert!(order.deadline <= order.cap() && order.cap() == at(ttl + 120));
    }
}

/// The state machine of the specification, with the steps that a late success adds.
const ROADS: &[(OrderState, &[OrderState])] = {
    use OrderState::{
        CancelRequested, Cancelled, Completed, Delivered, Expired, Held, Paid, PaidUnfulfilled,
        Paying, Refunded, Refunding, ReturnRequested, Returned, Shipped,
    };
    &[
        (Held, &[Paying, Cancelled, Expired, Paid]),
        (Paying, &[Paid, Held, CancelRequested, Expired]),
        (CancelRequested, &[Refunding, Cancelled]),
        (Paid, &[Shipped, Refunding]),
        (Refunding, &[Cancelled]),
        (Expired, &[Paid, PaidUnfulfilled]),
        (PaidUnfulfilled, &[Refunded]),
        (Shipped, &[Delivered]),
        (Delivered, &[Completed, ReturnRequested]),
        (ReturnRequested, &[Returned]),
    ]
};

/// Where the units must have gone.
fn moved(release: Release, before: Option<Bucket>) -> Option<Bucket> {
    let (from, to) = match release {
        Release::Keep => (before, before),
        Release::FreeHeld => (Some(Bucket::Held), None),
        Release::Sell => (Some(Bucket::Held), Some(Bucket::Sold)),
        Release::FreeSold => (Some(Bucket::Sold), None),
        Release::Reclaim => (None, Some(Bucket::Sold)),
        Release::SendBack => (Some(Bucket::Sold), Some(Bucket::Returning)),
        Release::Restock => (Some(Bucket::Returning), None),
    };
    assert_eq!(
        before, from,
        "{release:?} takes units from where they are not"
    );
    to
}

/// Money that the shop keeps, in payments.
fn kept(order: &Order) -> usize {
    let captured = order
        .attempts
        .iter()
        .filter(|it| it.state == AttemptState::Captured);
    captured
        .filter(|it| it.refund == RefundState::NotDue)
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_life_keeps_to_the_roads_the_units_and_the_money(
        steps in vec((0..ACTS.len(), 1_u128..4, 0_u64..90), 1..40),
    ) {
        let (mut order, mut now, mut extended) = (placed(), at(0), BTreeSet::from([at(60)]));
        for (act, number, secs) in steps {
            now = now.plus(crate::domain::Span::from_micros_u64(secs * 1_000_000));
            // As in the engine, whoever looks at an order does what is due first.
            for act in [Act::Due, ACTS[act]] {
                let Ok(Some((change, release))) = decide(&order, act, attempt(number), now) else { continue };
                let (state, bucket) = (order.state, order.bucket());
                order.apply(&change, now);
                let roads = ROADS.iter().find(|(from, _)| *from == state).map_or(&[][..], |(_, to)| to);
                prop_assert!(order.state == state || roads.contains(&order.state), "{state:?} -> {:?}", order.state);
                prop_assert_eq!(order.bucket(), moved(release, bucket), "{:?} by {:?}", release, change);
                prop_assert_eq!(kept(&order), usize::from(order.bucket() == Some(Bucket::Sold)), "after {:?}", change);
                extended.insert(order.deadline);
                prop_assert!(extended.len() <= 2, "the deadline moved twice");
            }
        }
    }
}
