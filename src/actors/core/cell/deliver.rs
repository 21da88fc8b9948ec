//! What happens to an order once it is paid: it is shipped, delivered, and perhaps sent back.
//!
//! What the shop does carries its audit mark in the same record. The end of the return window and the restock are due
//! like the end of a hold, see [`Cell::settle_due`].

use super::Cell;
use crate::actors::core::message::{Answer, Shipment, Viewer};
use crate::actors::core::turn::Turn;
use crate::domain::{AdminMark, BuyerId, OrderChange, OrderId};

impl Cell {
    pub(super) fn ship(
        &mut self,
        id: OrderId,
        shipment: &Shipment,
        mark: Option<AdminMark>,
        turn: &mut Turn,
    ) -> Answer {
        let order = self.touch_order(id, Viewer::Shop, turn)?;
        let decided = order.decide_shipment(&shipment.carrier, &shipment.tracking_number)?;
        if let Some((change, release)) = decided {
            self.change_order_as(mark, id, change, release, turn);
        }
        self.read_own(id)
    }

    pub(super) fn deliver(
        &mut self,
        id: OrderId,
        mark: Option<AdminMark>,
        turn: &mut Turn,
    ) -> Answer {
        let return_until = self.calendar.return_until(turn.now);
        let order = self.touch_order(id, Viewer::Shop, turn)?;
        if let Some((change, release)) = order.decide_delivery(return_until)? {
            self.change_order_as(mark, id, change, release, turn);
        }
        self.read_own(id)
    }

    pub(super) fn request_return(
        &mut self,
        id: OrderId,
        buyer: BuyerId,
        reason: &str,
        turn: &mut Turn,
    ) -> Answer {
        let order = self.touch_order(id, Viewer::Buyer(buyer), turn)?;
        if let Some((change, release)) = order.decide_return_request(reason)? {
            self.change_order(id, change, release, turn);
        }
        self.read_own(id)
    }

    /// The units are on their way back and the money leaves at once; the answer does not wait for it.
    pub(super) fn accept_return(
        &mut self,
        id: OrderId,
        mark: AdminMark,
        turn: &mut Turn,
    ) -> Answer {
        let order = self.touch_order(id, Viewer::Shop, turn)?;
        if let Some((change, release)) = order.decide_return_acceptance()? {
            let refunded = match &change {
                OrderChange::ReturnAccepted { attempt, .. } => Some(*attempt),
                _ => None,
            };
            self.admit_refund()?;
            self.change_order_as(Some(mark), id, change, release, turn);
            if let Some(attempt) = refunded {
                self.refund_if_due(id, attempt, turn);
            }
        }
        // A return that is accepted late may be due for its restock in the same instant.
        self.settle_order(id, turn);
        self.read_own(id)
    }
}
