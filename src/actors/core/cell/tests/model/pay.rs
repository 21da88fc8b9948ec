//! Attempts to pay, their outcomes in any order, and what they mean for the units.

use super::{ATTEMPTS_MAX, Errand, Expected, GRACE, Model, Paper, Try, refused};
use crate::actors::core::message::{Refusal, ReplyTo, StartPayment};
use crate::domain::{
    AttemptId, AttemptState, BuyerId, Money, OrderId, OrderState, PaymentAnswer, PaymentOutcome,
    ProductId, RefundState, Rejection,
};

impl Model {
    pub(super) fn start_payment(&mut self, start: &StartPayment, to: ReplyTo) -> Option<Expected> {
        self.touch_own(start.order, start.buyer);
        let Some(paper) = self
            .papers
            .get_mut(&start.order)
            .filter(|paper| paper.buyer == start.buyer)
        else {
            return Some(refused(Rejection::NoSuchOrder));
        };
        if let Some(same) = paper.tries.iter_mut().find(|t| t.key == start.key) {
            if same.fingerprint != start.fingerprint {
                self.marks
                    .hit("a payment's key comes back with another body");
                return Some(refused(Rejection::KeyReused));
            }
            let Some(answer) = same.told else {
                self.marks.hit("a repeat of a payment waits for the first");
                same.waiters.push(to);
                return None;
            };
            let attempt = same.id;
            self.marks.hit("a repeat of a payment is told the same");
            return Some(self.payment(start.order, attempt, answer));
        }
        if let Err(rejection) = self.check_payment(start.order) {
            return Some(refused(rejection));
        }
        if self.pending() >= self.payments_pending_max {
            self.marks.hit("too many payments are under way");
            return Some(Expected::Refused(Refusal::PaymentsBusy));
        }
        self.begin_attempt(start, to);
        None
    }

    pub(super) fn touch_own(&mut self, id: OrderId, buyer: BuyerId) {
        if self
            .papers
            .get(&id)
            .is_some_and(|paper| paper.buyer == buyer)
        {
            self.touch(id);
        }
    }

    pub(super) fn check_payment(&mut self, id: OrderId) -> Result<(), Rejection> {
        let paper = &self.papers[&id];
        match paper.state {
            OrderState::Held if paper.tries.len() >= ATTEMPTS_MAX => {
                Err(Rejection::TooManyAttempts {
                    attempts_max: ATTEMPTS_MAX,
                })
            }
            OrderState::Held => {
                let left = paper.deadline.since(self.now).as_micros();
                self.marks
                    .hit_if(left == 1, "a payment starts in the last microsecond");
                Ok(())
            }
            OrderState::Paying => {
                self.marks
                    .hit("a second payment starts while one is under way");
                Err(Rejection::PaymentInProgress)
            }
            OrderState::Expired | OrderState::PaidUnfulfilled | OrderState::Refunded => {
                self.marks.hit("a payment starts after the hold");
                Err(Rejection::HoldExpired {
                    deadline: paper.deadline,
                })
            }
            OrderState::CancelRequested | OrderState::Cancelled => Err(Rejection::OrderCancelled),
            _ => Err(Rejection::AlreadyPaid),
        }
    }

    pub(super) fn pending(&self) -> usize {
        let tries = self.papers.values().flat_map(|paper| &paper.tries);
        tries.filter(|t| t.state == AttemptState::Pending).count()
    }

    pub(super) fn refunds_due(&self) -> usize {
        let tries = self.papers.values().flat_map(|paper| &paper.tries);
        tries.filter(|t| t.refund == RefundState::Due).count()
    }

    /// As many refunds may wait for the provider as payments.
    pub(super) fn check_refund(&mut self) -> Option<Expected> {
        let is_full = self.refunds_due() >= self.payments_pending_max;
        self.marks.hit_if(is_full, "too many refunds are due");
        is_full.then_some(Expected::Refused(Refusal::PaymentsBusy))
    }

    pub(super) fn begin_attempt(&mut self, start: &StartPayment, to: ReplyTo) {
        let now = self.now;
        let paper = self.papers.get_mut(&start.order).unwrap();
        if paper.tries.is_empty() {
            self.marks.hit_if(
                now.plus(GRACE) > paper.deadline,
                "the first payment extends the deadline",
            );
            self.marks.hit_if(
                now.plus(GRACE) <= paper.deadline,
                "the first payment leaves a long deadline alone",
            );
            paper.deadline = paper.deadline.max(now.plus(GRACE)).min(paper.cap());
        } else {
            self.marks.hit_if(
                now.plus(GRACE) > paper.deadline,
                "a second payment extends nothing",
            );
        }
        paper.state = OrderState::Paying;
        paper.tries.push(Try {
            id: start.attempt,
            state: AttemptState::Pending,
            refund: RefundState::NotDue,
            told: None,
            key: start.key,
            fingerprint: start.fingerprint,
            waiters: vec![to],
        });
        let charge = Errand::Charge(start.attempt, paper.total(), paper.cap());
        let window = self.shelves[&paper.lines[0].0].window;
        self.marks.hit_if(
            window.is_some_and(|w| w.paused),
            "a hold pays while the sale is paused",
        );
        let closed = window.is_some_and(|w| w.closes_at.is_some_and(|end| end <= now));
        self.marks.hit_if(closed, "a hold pays after closing");
        self.errands.push(charge);
    }

    /// Of what is not settled nothing may be sent any more.
    pub(super) fn withdraw(&mut self, id: OrderId) {
        let tries = self.papers[&id].tries.iter();
        let open = tries.filter(|t| t.state == AttemptState::Pending);
        self.errands.extend(open.map(|t| Errand::Withdraw(t.id)));
    }

    pub(super) fn settle(
        &mut self,
        id: OrderId,
        attempt: AttemptId,
        outcome: PaymentOutcome,
    ) -> Expected {
        let end = self.papers.get(&id).and_then(Paper::ends_at);
        self.marks.hit_if(
            end == Some(self.now),
            "an outcome comes at the very end of a hold",
        );
        let left = end.map(|end| end.since(self.now).as_micros());
        self.marks.hit_if(
            left == Some(1),
            "an outcome comes in the last microsecond of a hold",
        );
        self.touch(id);
        let paid = self.papers.get(&id);
        let lines = paid
            .filter(|_| outcome == PaymentOutcome::Captured)
            .map(|paper| paper.lines.clone());
        for (product, ..) in lines.unwrap_or_default() {
            self.lapse_all(product);
        }
        let Some(paper) = self.papers.get_mut(&id) else {
            return refused(Rejection::NoSuchOrder);
        };
        let Some(this) = paper.tries.iter_mut().find(|t| t.id == attempt) else {
            self.marks.hit("the outcome of an unknown attempt");
            return refused(Rejection::NoSuchOrder);
        };
        let (before, state) = (this.state, paper.state);
        match (outcome, before) {
            (PaymentOutcome::Declined, AttemptState::Pending) => {
                this.state = AttemptState::Declined;
                self.declined(id, attempt, state);
            }
            (PaymentOutcome::Declined, AttemptState::Captured) => {
                self.marks.hit("a stale failure after success")
            }
            (PaymentOutcome::Declined, AttemptState::Declined) => {
                self.marks.hit("a failure is told twice")
            }
            (PaymentOutcome::Captured, AttemptState::Captured) => {
                self.marks.hit("a success is told twice")
            }
            (PaymentOutcome::Captured, AttemptState::Pending | AttemptState::Declined) => {
                this.state = AttemptState::Captured;
                self.marks.hit_if(
                    before == AttemptState::Declined,
                    "a success after a decline",
                );
                self.captured(id, attempt, state);
            }
        }
        Expected::Done
    }

    pub(super) fn declined(&mut self, id: OrderId, attempt: AttemptId, state: OrderState) {
        match state {
            OrderState::Paying => {
                self.papers.get_mut(&id).unwrap().state = OrderState::Held;
                if self.now >= self.papers[&id].deadline {
                    self.marks.hit("a decline after the deadline ends the hold");
                    self.expire(id);
                } else {
                    self.marks.hit("a decline leaves the hold alive");
                }
            }
            OrderState::CancelRequested => {
                self.marks.hit("a cancel while paying, then declined");
                self.end(id, OrderState::Cancelled);
            }
            _ => self.marks.hit("a decline after the order has ended"),
        }
        self.tell(id, attempt, PaymentAnswer::Declined);
    }

    /// A success is never ignored: it buys the units, buys them back, or is paid back.
    pub(super) fn captured(&mut self, id: OrderId, attempt: AttemptId, state: OrderState) {
        match state {
            OrderState::Held | OrderState::Paying => {
                let late = self.now >= self.papers[&id].deadline;
                self.marks
                    .hit_if(late, "a success between the deadline and the cap");
                self.marks
                    .hit_if(state == OrderState::Held, "a success while held again");
                self.papers.get_mut(&id).unwrap().state = OrderState::Paid;
                if state == OrderState::Paying {
                    self.withdraw(id);
                }
                self.tell(id, attempt, PaymentAnswer::Paid);
            }
            OrderState::CancelRequested => {
                self.marks.hit("a cancel while paying, then captured");
                self.end(id, OrderState::Refunding);
                self.refund(id, attempt);
                self.tell(id, attempt, PaymentAnswer::Unfulfilled);
            }
            OrderState::Expired if self.can_reclaim(id) => {
                self.marks.hit("a late success is reclaimed");
                self.papers.get_mut(&id).unwrap().state = OrderState::Paid;
                self.tell(id, attempt, PaymentAnswer::Paid);
            }
            OrderState::Expired => {
                self.marks.hit("a late success is refunded");
                self.papers.get_mut(&id).unwrap().state = OrderState::PaidUnfulfilled;
                self.refund(id, attempt);
                self.tell(id, attempt, PaymentAnswer::Unfulfilled);
            }
            _ => {
                let unfulfilled = state == OrderState::PaidUnfulfilled;
                self.marks.hit_if(
                    unfulfilled,
                    "a second success for an order that was not fulfilled",
                );
                self.marks.hit_if(
                    state == OrderState::Paid,
                    "a second success for a paid order",
                );
                self.marks
                    .hit_if(state == OrderState::Cancelled, "a success after a cancel");
                self.refund(id, attempt);
                self.tell(id, attempt, PaymentAnswer::Unfulfilled);
            }
        }
    }

    pub(super) fn can_reclaim(&mut self, id: OrderId) -> bool {
        let paper = &self.papers[&id];
        let is_there = |(p, units, _): &(ProductId, u64, Money)| {
            !self.shelves[p].deleted && self.free(*p) >= *units
        };
        let for_others = paper
            .lines
            .iter()
            .any(|(p, _, _)| self.shelves[p].waiting() > 0);
        let is_within = |(p, units, _): &(ProductId, u64, Money)| {
            let limit = self.shelves[p]
                .window
                .and_then(|window| window.per_person_limit);
            limit.is_none_or(|limit| self.in_hand(*p, paper.buyer) + units <= u64::from(limit))
        };
        let waiting = paper
            .lines
            .iter()
            .any(|(p, _, _)| self.shelves[p].pending > 0);
        let (there, within) = (
            paper.lines.iter().all(is_there),
            paper.lines.iter().all(is_within),
        );
        self.marks
            .hit_if(for_others, "a late success finds people who wait");
        self.marks
            .hit_if(waiting, "a late success finds a withdrawal that waits");
        self.marks
            .hit_if(there && !within, "a late success is over the limit by now");
        there && within
    }

    pub(super) fn refund(&mut self, id: OrderId, attempt: AttemptId) {
        let paper = self.papers.get_mut(&id).unwrap();
        let amount = paper.total();
        let this = paper.tries.iter_mut().find(|t| t.id == attempt).unwrap();
        assert_eq!(
            (this.state, this.refund),
            (AttemptState::Captured, RefundState::NotDue),
            "refunded twice"
        );
        this.refund = RefundState::Due;
        self.errands.push(Errand::Refund(attempt, amount));
    }

    /// Everybody who waits for the attempt hears the answer, and whoever repeats the request later.
    pub(super) fn tell(&mut self, id: OrderId, attempt: AttemptId, answer: PaymentAnswer) {
        let this = self
            .papers
            .get_mut(&id)
            .unwrap()
            .tries
            .iter_mut()
            .find(|t| t.id == attempt)
            .unwrap();
        let answer = *this.told.get_or_insert(answer);
        for waiter in std::mem::take(&mut this.waiters) {
            let payment = self.payment(id, attempt, answer);
            self.answer(waiter, payment);
        }
    }

    pub(super) fn defer(&mut self, id: OrderId, attempt: AttemptId) -> Expected {
        self.touch(id);
        let Some(paper) = self.papers.get(&id) else {
            return refused(Rejection::NoSuchOrder);
        };
        let known = paper.tries.iter().find(|t| t.id == attempt);
        if known.is_some_and(|t| t.state == AttemptState::Pending && t.told.is_none()) {
            self.marks.hit("the provider gives no clear answer in time");
            self.tell(id, attempt, PaymentAnswer::Pending);
        }
        Expected::Done
    }

    pub(super) fn repeat_charge(&mut self, id: OrderId, attempt: AttemptId) -> Expected {
        self.touch(id);
        let known = self
            .papers
            .get(&id)
            .filter(|paper| paper.tries.iter().any(|t| t.id == attempt));
        let Some(paper) = known else {
            return refused(Rejection::NoSuchOrder);
        };
        let pending = paper
            .tries
            .iter()
            .any(|t| t.id == attempt && t.state == AttemptState::Pending);
        if !pending {
            self.marks.hit("a charge that is settled is not repeated");
        } else if paper.state == OrderState::Paying {
            self.marks.hit("a charge that never arrived is repeated");
            let charge = Errand::Charge(attempt, paper.total(), paper.cap());
            self.errands.push(charge);
        } else {
            self.marks
                .hit("a charge that never arrived is not worth repeating");
            return self.settle(id, attempt, PaymentOutcome::Declined);
        }
        Expected::Done
    }
}
