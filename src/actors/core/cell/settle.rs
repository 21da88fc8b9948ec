//! What happens to an order after it was placed: payment, cancellation, refund, and what time does to it.

use super::{Cell, provider_order};
use crate::actors::core::message::{
    Answer, Effect, PaymentReply, Refusal, Reply, ReplyTo, StartPayment, Viewer,
};
use crate::actors::core::turn::Turn;
use crate::domain::{
    AdminMark, Attempt, AttemptId, Bucket, BuyerId, Event, Money, Order, OrderChange, OrderId,
    OrderState, PaymentOutcome, Posting, RefundState, Rejection, Release, Timestamp,
};

impl Cell {
    /// Ends what is due for one order.
    pub(super) fn settle_order(&mut self, id: OrderId, turn: &mut Turn) {
        let due = self.order(id).and_then(|order| order.decide_due(turn.now));
        if let Some((change, release)) = due {
            self.change_order(id, change, release, turn);
        }
    }

    // -- payment -------------------------------------------------------------------------------------------------

    /// The answer comes with the first word of the provider, or when that takes too long.
    pub(super) fn start_payment(
        &mut self,
        start: StartPayment,
        reply_to: ReplyTo,
        turn: &mut Turn,
    ) {
        match self.decide_start(&start, turn) {
            Ok(attempt) => {
                let waiting = self.waiting_for_payment.entry(attempt).or_default();
                waiting.push(reply_to);
                self.answer_payment_waiters(start.order, attempt, turn);
            }
            Err(refusal) => turn.answer(reply_to, Err(refusal)),
        }
    }

    fn decide_start(
        &mut self,
        start: &StartPayment,
        turn: &mut Turn,
    ) -> Result<AttemptId, Refusal> {
        let busy = self.orders.open_payments().pending >= self.limits.payments_pending_max;
        let order = self.touch_order(start.order, Viewer::Buyer(start.buyer), turn)?;
        if let Some(known) = order.attempt_by_key(start.key) {
            if known.fingerprint != start.fingerprint {
                return Err(Rejection::KeyReused.into());
            }
            return Ok(known.id);
        }
        let now = turn.now;
        let change = order.decide_payment(
            start.attempt,
            start.key,
            start.fingerprint,
            &start.method,
            now,
        )?;
        if busy {
            return Err(Refusal::PaymentsBusy);
        }
        if let Err(retry_after) = self.breaker.admit(now) {
            return Err(Refusal::PaymentsUnavailable { retry_after });
        }
        self.change_order(start.order, change, Release::Keep, turn);
        self.charge(start.order, start.attempt, turn);
        Ok(start.attempt)
    }

    /// A provider that speaks of another sum means another payment, or was told lies.
    pub(super) fn check_amount(
        &self,
        id: OrderId,
        attempt: AttemptId,
        told: Option<Money>,
    ) -> Result<(), Refusal> {
        let known = self
            .order(id)
            .filter(|it| !self.is_broken(id) && it.attempt(attempt).is_some());
        let total = known.map(|order| order.money());
        match (told, total) {
            (Some(told), Some(total)) if told != total => {
                Err(Rejection::PaymentMismatch { told, total }.into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn settle_payment(
        &mut self,
        id: OrderId,
        attempt: AttemptId,
        outcome: PaymentOutcome,
        turn: &mut Turn,
    ) -> Answer {
        let order = self.touch_order(id, Viewer::Shop, turn)?;
        if outcome == PaymentOutcome::Captured {
            // Who waits for a sale that is over has no claim to what the money is for.
            for line in &order.lines {
                self.settle_waitlist(line.product, turn);
            }
        }
        let can_reclaim = |order: &Order| self.can_reclaim(order);
        let decision = order.decide_outcome(attempt, outcome, &can_reclaim)?;
        let Some((change, release)) = decision else {
            tracing::debug!(order.id = %id, attempt.id = %attempt, "stale or repeated result ignored");
            return Ok(Reply::Done);
        };
        self.change_order(id, change, release, turn);
        self.refund_if_due(id, attempt, turn);
        self.answer_payment_waiters(id, attempt, turn);
        self.settle_order(id, turn);
        Ok(Reply::Done)
    }

    pub(super) fn defer_payment(
        &mut self,
        id: OrderId,
        attempt: AttemptId,
        turn: &mut Turn,
    ) -> Answer {
        let order = self.touch_order(id, Viewer::Shop, turn)?;
        if let Some((change, release)) = order.decide_deferral(attempt)? {
            self.change_order(id, change, release, turn);
        }
        self.answer_payment_waiters(id, attempt, turn);
        Ok(Reply::Done)
    }

    /// The provider does not know the attempt: charge while the order can still be paid, else let it be declined.
    /// An attempt that is settled is never charged again, whatever another one of the order is doing.
    pub(super) fn repeat_charge(
        &mut self,
        id: OrderId,
        attempt: AttemptId,
        turn: &mut Turn,
    ) -> Answer {
        let order = self.touch_order(id, Viewer::Shop, turn)?;
        let unsettled = order.attempt(attempt).is_some_and(Attempt::is_pending);
        if unsettled && order.state == OrderState::Paying {
            self.charge(id, attempt, turn);
            return Ok(Reply::Done);
        }
        self.settle_payment(id, attempt, PaymentOutcome::Declined, turn)
    }

    pub(super) fn note_provider(&mut self, answered: bool, now: Timestamp) -> Answer {
        if answered && self.breaker.note_clear() {
            tracing::info!("the payment provider answers again; buyers may pay");
        } else if !answered && self.breaker.note_unclear(now) {
            tracing::warn!("the payment provider gives no answers; nobody starts to pay");
        }
        Ok(Reply::Done)
    }

    fn charge(&mut self, id: OrderId, attempt: AttemptId, turn: &mut Turn) {
        let charge = self.order(id).and_then(|order| {
            Some(Effect::Charge {
                order: provider_order(&order, attempt)?,
                send_by: order.cap(),
            })
        });
        turn.effects.extend(charge);
    }

    fn can_reclaim(&self, order: &Order) -> bool {
        order.lines.iter().all(|line| {
            self.products
                .get(&line.product)
                .is_some_and(|actor| actor.product().can_reclaim(order.buyer, line.quantity))
        })
    }

    fn answer_payment_waiters(&mut self, id: OrderId, attempt: AttemptId, turn: &mut Turn) {
        let Some(reply) = self.order(id).and_then(|it| PaymentReply::of(&it, attempt)) else {
            return;
        };
        let waiting = self.waiting_for_payment.remove(&attempt);
        for reply_to in waiting.into_iter().flatten() {
            turn.answer(reply_to, Ok(Reply::Payment(Box::new(reply.clone()))));
        }
    }

    // -- cancellation and refund ---------------------------------------------------------------------------------

    /// A refund is waited for as long as the payment actor lets us; it says when it takes longer.
    pub(super) fn cancel(
        &mut self,
        id: OrderId,
        buyer: BuyerId,
        reply_to: ReplyTo,
        turn: &mut Turn,
    ) {
        match self.request_cancel(id, buyer, turn) {
            Ok(RefundWait::Yes) => {
                let waiting = self.waiting_for_refund.entry(id).or_default();
                waiting.push(reply_to);
            }
            Ok(RefundWait::No) => {
                let answer = self.read_own(id);
                turn.answer(reply_to, answer);
            }
            Err(refusal) => turn.answer(reply_to, Err(refusal)),
        }
    }

    /// Only the request that starts a refund waits for it; a repeat is told at once how things stand.
    fn request_cancel(
        &mut self,
        id: OrderId,
        buyer: BuyerId,
        turn: &mut Turn,
    ) -> Result<RefundWait, Refusal> {
        let order = self.touch_order(id, Viewer::Buyer(buyer), turn)?;
        let Some((change, release)) = order.decide_cancel()? else {
            return Ok(RefundWait::No);
        };
        let refunded = match &change {
            OrderChange::RefundStarted { attempt } => Some(*attempt),
            _ => None,
        };
        if refunded.is_some() {
            self.admit_refund()?;
        }
        self.change_order(id, change, release, turn);
        let Some(attempt) = refunded else {
            return Ok(RefundWait::No);
        };
        self.refund_if_due(id, attempt, turn);
        Ok(RefundWait::Yes)
    }

    /// Refunds wait for the provider as payments do, and as many may.
    pub(super) fn admit_refund(&self) -> Result<(), Refusal> {
        if self.orders.open_payments().refunds_due >= self.limits.payments_pending_max {
            return Err(Refusal::PaymentsBusy);
        }
        Ok(())
    }

    pub(super) fn record_refund(
        &mut self,
        id: OrderId,
        attempt: AttemptId,
        turn: &mut Turn,
    ) -> Answer {
        let order = self.touch_order(id, Viewer::Shop, turn)?;
        if let Some((change, release)) = order.decide_refunded(attempt)? {
            self.change_order(id, change, release, turn);
        }
        self.answer_refund_waiters(id, turn);
        Ok(Reply::Done)
    }

    pub(super) fn answer_refund_waiters(&mut self, id: OrderId, turn: &mut Turn) {
        for reply_to in self.waiting_for_refund.remove(&id).into_iter().flatten() {
            let answer = self.read_own(id);
            turn.answer(reply_to, answer);
        }
    }

    pub(super) fn refund_if_due(&mut self, id: OrderId, attempt: AttemptId, turn: &mut Turn) {
        let due = self.order(id).and_then(|order| {
            let known = order.attempt(attempt)?;
            (known.refund == RefundState::Due).then(|| provider_order(&order, attempt))?
        });
        turn.effects.extend(due.map(Effect::Refund));
    }

    // -- units ---------------------------------------------------------------------------------------------------

    /// What buyers, the provider and time do.
    pub(super) fn change_order(
        &mut self,
        id: OrderId,
        change: OrderChange,
        release: Release,
        turn: &mut Turn,
    ) {
        self.change_order_as(None, id, change, release, turn);
    }

    /// The audit mark of somebody of the shop goes into the same record.
    pub(super) fn change_order_as(
        &mut self,
        mark: Option<AdminMark>,
        id: OrderId,
        change: OrderChange,
        release: Release,
        turn: &mut Turn,
    ) {
        let event = Event::OrderChanged {
            order: id,
            at: turn.now,
            mark,
            postings: self.postings(id, release),
            change,
        };
        let was_paying = self.is_paying(id);
        self.happen(&event, turn);
        if was_paying && !self.is_paying(id) {
            self.withdraw_charges(id, turn);
        }
        // The published snapshot names the earliest deadline, which a change may move without moving units.
        self.touch_products_of(id, turn);
    }

    fn is_paying(&self, id: OrderId) -> bool {
        self.orders.of_order(id).state(id) == Some(OrderState::Paying)
    }

    fn withdraw_charges(&self, id: OrderId, turn: &mut Turn) {
        let attempts = self.orders.of_order(id).attempts(id).iter();
        let pending = attempts.filter(|attempt| attempt.is_pending());
        turn.effects.extend(pending.map(|attempt| Effect::Withdraw {
            order: id,
            attempt: attempt.id,
        }));
    }

    fn touch_products_of(&self, id: OrderId, turn: &mut Turn) {
        for line in &self.orders.of_order(id).lines(id) {
            turn.touch(line.product);
        }
    }

    /// Asks each product of the order where its units go.
    fn postings(&self, id: OrderId, release: Release) -> Vec<Posting> {
        let mut postings = Vec::new();
        for line in &self.orders.of_order(id).lines(id) {
            let Some(actor) = self.products.get(&line.product) else {
                continue;
            };
            let product = actor.product();
            let units = u64::from(line.quantity.get());
            let straight = |from, to| Posting {
                product: line.product,
                from,
                to,
                units,
            };
            match release {
                Release::Keep => {}
                Release::FreeHeld => postings.extend(product.free(Bucket::Held, units)),
                Release::FreeSold => postings.extend(product.free(Bucket::Sold, units)),
                Release::Restock => postings.extend(product.restock(units)),
                Release::Sell => postings.push(straight(Bucket::Held, Bucket::Sold)),
                Release::Reclaim => postings.push(straight(Bucket::Available, Bucket::Sold)),
                Release::SendBack => postings.push(straight(Bucket::Sold, Bucket::Returning)),
            }
        }
        postings
    }

    pub(super) fn read_own(&self, id: OrderId) -> Answer {
        self.order(id)
            .map(|order| Reply::Order(Box::new(order)))
            .ok_or(Refusal::Rejected(Rejection::NoSuchOrder))
    }
}

/// Whether a request is answered only when the money is back, or when that takes too long.
enum RefundWait {
    Yes,
    No,
}
