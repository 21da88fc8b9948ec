//! What a panic in an actor's work leaves behind.

use smallvec::{SmallVec, smallvec};

use super::cell::Cell;
use super::message::Command;
use crate::domain::{OrderId, ProductId};

/// Whose state a command may have half changed if it crashes.
#[derive(Debug)]
pub(super) struct Concerned {
    order: Option<OrderId>,
    products: SmallVec<[ProductId; 2]>,
}

impl Concerned {
    pub(super) fn by(command: &Command) -> Self {
        match command {
            Command::PlaceOrder(place) => Self {
                order: Some(place.order),
                products: place.lines.iter().map(|(product, _)| *product).collect(),
            },
            Command::ReadOrders { buyer, .. }
            | Command::ReadOpenOrders { buyer, .. }
            | Command::ReadPlaced { buyer, .. } => Self {
                order: Some(OrderId::for_buyer(0, *buyer)),
                products: SmallVec::new(),
            },
            Command::ChangeProduct { product, .. }
            | Command::JoinWaitlist { product, .. }
            | Command::LeaveWaitlist { product, .. }
            | Command::BreakProduct(product) => Self {
                order: None,
                products: smallvec![*product],
            },
            about_an_order => Self {
                order: about_an_order.order(),
                products: SmallVec::new(),
            },
        }
    }

    pub(super) fn order(&self) -> Option<OrderId> {
        self.order
    }

    /// The products named by the command, and those of the order it names.
    pub(super) fn products(&self, cell: &Cell) -> Vec<ProductId> {
        let of_order = self.order.map(|order| cell.products_of(order));
        let named = self.products.iter().copied();
        named.chain(of_order.into_iter().flatten()).collect()
    }
}
