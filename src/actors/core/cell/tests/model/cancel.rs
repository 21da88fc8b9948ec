//! Cancellations and refunds.

use super::{Expected, Model, Try, refused};
use crate::actors::core::message::ReplyTo;
use crate::domain::{
    AttemptId, AttemptState, BuyerId, OrderId, OrderState, RefundState, Rejection,
};

impl Model {
    pub(super) fn cancel(&mut self, id: OrderId, buyer: BuyerId, to: ReplyTo) -> Option<Expected> {
        self.touch_own(id, buyer);
        let Some(paper) = self
            .papers
            .get_mut(&id)
            .filter(|paper| paper.buyer == buyer)
        else {
            self.marks.hit("a cancel of somebody else's order");
            return Some(refused(Rejection::NoSuchOrder));
        };
        match paper.state {
            OrderState::Held => {
                self.marks.hit("a cancel while held");
                self.end(id, OrderState::Cancelled);
            }
            OrderState::Paying => {
                self.marks.hit("a cancel while paying");
                paper.state = OrderState::CancelRequested;
                self.withdraw(id);
            }
            OrderState::Paid => {
                if let Some(busy) = self.check_refund() {
                    return Some(busy);
                }
                self.marks.hit("a cancel after payment");
                let paper = self.papers.get_mut(&id).unwrap();
                paper.cancel_waiters.push(to);
                let paid_by =
                    |t: &&Try| t.state == AttemptState::Captured && t.refund == RefundState::NotDue;
                let attempt = paper.tries.iter().find(paid_by).unwrap().id;
                self.end(id, OrderState::Refunding);
                self.refund(id, attempt);
                return None;
            }
            OrderState::CancelRequested => self.marks.hit("a cancel is repeated while requested"),
            OrderState::Refunding => self.marks.hit("a cancel is repeated while refunding"),
            OrderState::Cancelled => self.marks.hit("a cancel is repeated after the end"),
            OrderState::Expired | OrderState::PaidUnfulfilled | OrderState::Refunded => {
                self.marks.hit("a cancel after the hold");
                return Some(refused(Rejection::HoldExpired {
                    deadline: paper.deadline,
                }));
            }
            _ => {
                self.marks.hit("a cancel after shipping");
                return Some(refused(Rejection::TooLateToCancel));
            }
        }
        Some(self.show(id))
    }

    pub(super) fn record_refund(&mut self, id: OrderId, attempt: AttemptId) -> Expected {
        self.touch(id);
        let Some(paper) = self.papers.get_mut(&id) else {
            return refused(Rejection::NoSuchOrder);
        };
        let Some(this) = paper
            .tries
            .iter_mut()
            .find(|t| t.id == attempt && t.refund == RefundState::Due)
        else {
            self.marks.hit("a refund that is not due is reported");
            self.tell_cancelled(id);
            return Expected::Done;
        };
        this.refund = RefundState::Done;
        let all_done = paper.tries.iter().all(|t| t.refund != RefundState::Due);
        self.marks.hit_if(!all_done, "one of two refunds is done");
        match paper.state {
            OrderState::Refunding if all_done => paper.state = OrderState::Cancelled,
            OrderState::PaidUnfulfilled if all_done => paper.state = OrderState::Refunded,
            OrderState::Refunding | OrderState::PaidUnfulfilled => {}
            _ => self.marks.hit("a refund beside the order's own course"),
        }
        self.tell_cancelled(id);
        Expected::Done
    }

    pub(super) fn defer_refund(&mut self, id: OrderId) -> Expected {
        let waits = self
            .papers
            .get(&id)
            .is_some_and(|p| !p.cancel_waiters.is_empty());
        self.marks
            .hit_if(waits, "a refund takes longer than a buyer should wait");
        if waits {
            self.tell_cancelled(id);
        }
        Expected::Done
    }

    pub(super) fn tell_cancelled(&mut self, id: OrderId) {
        for waiter in std::mem::take(&mut self.papers.get_mut(&id).unwrap().cancel_waiters) {
            let shown = self.show(id);
            self.answer(waiter, shown);
        }
    }
}
