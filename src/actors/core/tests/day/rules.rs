//! The rules that every record must keep, once more and without looking at how the core decides.

use crate::actors::core::cell::Cell;
use crate::actors::core::cell::tests::Marks;
use crate::domain::{
    AttemptId, AttemptState, Event, Order, OrderChange, OrderPlaced, OrderState, Phase, Span,
    Timestamp, WaitlistChange,
};

/// What is due is done that soon after it, or after the engine is in service again.
#[derive(Debug, Clone, Copy)]
pub(super) struct InTime {
    pub(super) since: Timestamp,
    pub(super) late_max: Span,
}

/// Looks at an event before it is applied: `before` is the order that it changes.
pub(super) fn check(event: &Event, before: Option<&Order>, cell: &Cell, in_time: InTime) {
    match event {
        Event::OrderPlaced(placed) => check_placed(placed, cell),
        Event::OrderChanged { at, change, .. } => {
            let before = before.expect("an order that was never placed changed");
            check_due(*at, change, before, in_time);
        }
        Event::ProductChanged { .. } | Event::WaitlistChanged { .. } => {}
    }
}

/// Only in the window, and within what a person may have; what was offered is theirs in any case.
fn check_placed(placed: &OrderPlaced, cell: &Cell) {
    for line in &placed.lines {
        let (snapshot, product) = cell
            .snapshot(line.product)
            .expect("a product that there is");
        let offers = placed.offers.iter().filter(|it| it.product == line.product);
        let offered: u32 = offers.map(|it| it.units.get()).sum();
        if offered >= line.quantity.get() {
            continue;
        }
        assert_eq!(
            snapshot.phase(placed.at),
            Phase::Open,
            "a hold outside of the window"
        );
        assert!(!product.deleted, "a hold of what is deleted");
        let limit = product.window.and_then(|window| window.per_person_limit);
        let in_hand = product.in_hand(placed.buyer) - u64::from(offered);
        let after = in_hand + u64::from(line.quantity.get());
        assert!(
            limit.is_none_or(|limit| after <= u64::from(limit)),
            "{after} units in one hand, over the limit of {limit:?}"
        );
    }
}

/// Not before it is due, and not long after.
fn check_due(at: Timestamp, change: &OrderChange, before: &Order, in_time: InTime) {
    let happens_by_itself = match change {
        OrderChange::Expired | OrderChange::Completed | OrderChange::Restocked => true,
        // Also by a buyer, in other states.
        OrderChange::Cancelled => before.state == OrderState::CancelRequested,
        _ => false,
    };
    if happens_by_itself {
        let due = before.next_due().expect("something that is due");
        assert!(due <= at, "{change:?} before it was due");
        // What is accepted after a day is due for its restock at once.
        let possible = due.max(before.changed_at).max(in_time.since);
        let at_the_latest = possible.plus(in_time.late_max);
        assert!(
            at <= at_the_latest,
            "{change:?} came {} us late",
            at.since(due).as_micros()
        );
    }
}

/// An end is an end, and what was told of a payment or a cancel stays true: from each of these states only states lead
/// on that keep it.
pub(super) fn check_transition(before: Option<&Order>, after: &Order) {
    use OrderState::{
        CancelRequested, Cancelled, Completed, Delivered, Expired, Held, Paid, PaidUnfulfilled,
        Paying, Refunded, Refunding, ReturnRequested, Returned, Shipped,
    };
    let Some(before) = before else {
        assert_eq!(after.state, Held);
        return;
    };
    let next: &[OrderState] = match before.state {
        Held => &[Paying, Cancelled, Expired, Paid],
        Paying => &[Held, CancelRequested, Paid, Expired],
        CancelRequested => &[Cancelled, Refunding],
        Paid => &[Refunding, Shipped],
        Refunding => &[Cancelled],
        Expired => &[Paid, PaidUnfulfilled],
        PaidUnfulfilled => &[Refunded],
        Shipped => &[Delivered],
        Delivered => &[Completed, ReturnRequested],
        ReturnRequested => &[Returned],
        Cancelled | Refunded | Completed | Returned => &[],
    };
    assert!(
        before.state == after.state || next.contains(&after.state),
        "order {} went from {:?} to {:?}",
        after.id,
        before.state,
        after.state
    );
    for attempt in &before.attempts {
        let now = after.attempt(attempt.id).expect("an attempt stays");
        let was_captured = attempt.state == AttemptState::Captured;
        assert!(
            !was_captured || now.state == AttemptState::Captured,
            "money was forgotten"
        );
        assert!(attempt.answer.is_none() || attempt.answer == now.answer);
    }
}

/// Counts what is rare.
pub(super) fn mark(
    event: &Event,
    before: Option<&Order>,
    cell: &Cell,
    started_at: Timestamp,
    marks: &mut Marks,
) {
    match event {
        Event::OrderPlaced(placed) => {
            marks.hit_if(!placed.offers.is_empty(), "an offer is taken up");
            marks.hit_if(placed.lines.len() > 1, "several products in one order");
        }
        Event::OrderChanged { change, .. } => {
            let before = before.expect("an order that was never placed changed");
            mark_change(change, before, started_at, marks);
        }
        Event::WaitlistChanged {
            product, change, ..
        } => match change {
            WaitlistChange::Offered { .. } => marks.hit("units are offered"),
            WaitlistChange::Ended => marks.hit("a sale closes on those who wait"),
            WaitlistChange::Lapsed { buyer } => {
                let waitlist = cell.snapshot(*product).map(|it| it.1.waitlist());
                let waiter = waitlist.and_then(|waitlist| waitlist.get(*buyer));
                let offer = waiter.and_then(|waiter| waiter.offer);
                let is_over_a_crash = offer.is_some_and(|offer| offer.deadline < started_at);
                marks.hit("an offer lapses");
                marks.hit_if(is_over_a_crash, "an offer lapses over a crash");
            }
            WaitlistChange::Joined { .. } | WaitlistChange::Left { .. } => {}
        },
        Event::ProductChanged { .. } => {}
    }
}

fn mark_change(change: &OrderChange, before: &Order, started_at: Timestamp, marks: &mut Marks) {
    let is_over_a_crash = before.next_due().is_some_and(|due| due < started_at);
    match change {
        OrderChange::Expired => {
            marks.hit_if(is_over_a_crash, "a hold ends over a crash");
            marks.hit_if(
                before.state == OrderState::Paying,
                "a hold ends while paying",
            );
        }
        OrderChange::PaymentReclaimed { .. } => marks.hit("a late success is reclaimed"),
        OrderChange::PaymentUnfulfilled { .. } => marks.hit("a late success is given back"),
        OrderChange::PaymentReturned { attempt } => {
            let is_requested = before.state == OrderState::CancelRequested;
            marks.hit_if(is_requested, "a success after a cancel was asked for");
            let is_second = before.state == OrderState::Paid;
            marks.hit_if(is_second, "a second success for a paid order");
            marks.hit_if(was_declined(before, *attempt), "a success after a decline");
        }
        OrderChange::PaymentDeferred { .. } => marks.hit("the provider does not answer in time"),
        OrderChange::RefundStarted { .. } => marks.hit("a paid order is cancelled"),
        OrderChange::Completed => {
            marks.hit("a return window ends");
            marks.hit_if(is_over_a_crash, "a return window ends over a crash");
        }
        OrderChange::Restocked => {
            marks.hit("a return is put back");
            marks.hit_if(is_over_a_crash, "a return is put back after a crash");
        }
        OrderChange::PaymentStarted { .. } => {
            marks.hit_if(!before.attempts.is_empty(), "a second attempt to pay");
        }
        OrderChange::Cancelled
        | OrderChange::CancelRequested
        | OrderChange::PaymentDeclined { .. }
        | OrderChange::PaymentCaptured { .. }
        | OrderChange::Refunded { .. }
        | OrderChange::Shipped { .. }
        | OrderChange::Delivered { .. }
        | OrderChange::ReturnRequested { .. }
        | OrderChange::ReturnAccepted { .. } => {}
    }
}

fn was_declined(order: &Order, attempt: AttemptId) -> bool {
    let known = order.attempt(attempt);
    known.is_some_and(|it| it.state == AttemptState::Declined)
}
