//! What comes after the sale: on its way, there, and perhaps back.

use super::{Expected, Model, Paper, Try, refused};
use crate::actors::core::message::Shipment;
use crate::domain::{
    AttemptState, BuyerId, OrderId, OrderState, RefundState, Rejection, Span, Timestamp,
};

const DAY: Span = Span::from_secs(86_400);

impl Model {
    pub(super) fn ship(&mut self, id: OrderId, shipment: &Shipment) -> Expected {
        let said = (shipment.carrier.clone(), shipment.tracking_number.clone());
        self.step(id, |paper| match (&paper.shipped_by, paper.state) {
            (Some(known), _) if *known != said => Err(Rejection::AlreadyShipped {
                carrier: known.0.clone(),
                tracking_number: known.1.clone(),
            }),
            (Some(_), _) => Ok("a shipment is said twice"),
            (None, OrderState::Paid) => {
                paper.shipped_by = Some(said);
                paper.state = OrderState::Shipped;
                Ok("an order is shipped")
            }
            (None, _) => Err(Rejection::NotPaid),
        })
    }

    pub(super) fn deliver(&mut self, id: OrderId) -> Expected {
        let return_until = end_of_tomorrow_in_seoul(self.now);
        self.step(id, |paper| match paper.state {
            OrderState::Shipped => {
                paper.return_until = Some(return_until);
                paper.state = OrderState::Delivered;
                Ok("an order is delivered")
            }
            _ if paper.return_until.is_some() => Ok("a delivery is said twice"),
            _ => Err(Rejection::NotShipped),
        })
    }

    pub(super) fn request_return(&mut self, id: OrderId, buyer: BuyerId) -> Expected {
        let is_own = |paper: &Paper| paper.buyer == buyer;
        if !self.papers.get(&id).is_some_and(is_own) {
            self.marks.hit("a return of somebody else's order");
            return refused(Rejection::NoSuchOrder);
        }
        let restock_at = self.now.plus(DAY);
        self.step(id, |paper| match paper.state {
            OrderState::Delivered => {
                paper.restock_at = Some(restock_at);
                paper.state = OrderState::ReturnRequested;
                Ok("a return is asked for")
            }
            OrderState::ReturnRequested | OrderState::Returned => Ok("a return is asked for twice"),
            OrderState::Completed => Err(Rejection::ReturnWindowClosed),
            _ => Err(Rejection::NotDelivered),
        })
    }

    pub(super) fn accept_return(&mut self, id: OrderId) -> Expected {
        self.touch(id);
        let Some(state) = self.papers.get(&id).map(|paper| paper.state) else {
            return refused(Rejection::NoSuchOrder);
        };
        if state == OrderState::ReturnRequested
            && let Some(busy) = self.check_refund()
        {
            return busy;
        }
        let paper = self.papers.get_mut(&id).unwrap();
        match state {
            OrderState::ReturnRequested => {
                paper.state = OrderState::Returned;
                let late = paper.restock_at.is_some_and(|at| at <= self.now);
                self.marks
                    .hit_if(late, "a return is accepted after its restock was due");
                let paid_by =
                    |t: &&Try| t.state == AttemptState::Captured && t.refund == RefundState::NotDue;
                let attempt = paper.tries.iter().find(paid_by).unwrap().id;
                self.refund(id, attempt);
                self.touch(id);
            }
            OrderState::Returned => self.marks.hit("a return is accepted twice"),
            _ => return refused(Rejection::ReturnNotRequested),
        }
        self.show(id)
    }

    /// One step that is taken, was taken before, or is refused.
    fn step(
        &mut self,
        id: OrderId,
        take: impl FnOnce(&mut Paper) -> Result<&'static str, Rejection>,
    ) -> Expected {
        self.touch(id);
        let Some(paper) = self.papers.get_mut(&id) else {
            return refused(Rejection::NoSuchOrder);
        };
        match take(paper) {
            Ok(situation) => {
                self.marks.hit(situation);
                self.show(id)
            }
            Err(rejection) => refused(rejection),
        }
    }
}

/// Korea is nine hours ahead and has no summer time.
fn end_of_tomorrow_in_seoul(now: Timestamp) -> Timestamp {
    let (day, ahead) = (DAY.as_micros(), 9 * 3_600_000_000);
    let days = (now.as_micros() + ahead) / day;
    Timestamp::from_micros((days + 2) * day - ahead)
}
