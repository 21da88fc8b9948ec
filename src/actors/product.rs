//! The actor of one product: the only place where its units are given out and taken back.
//!
//! It lives on the engine's thread and is told one thing at a time, so reservations of a product are serialised
//! without a lock. It has no mailbox of its own: the engine's inbox is shared, which is what makes one write and one
//! fdatasync serve many purchases (docs/decisions/0002).

use crate::domain::{BuyerId, Posting, Product, ProductChange, Timestamp};

#[derive(Debug)]
pub(crate) struct ProductActor {
    product: Product,
}

impl ProductActor {
    pub(crate) fn new(product: Product) -> Self {
        Self { product }
    }

    /// The state to decide on.
    pub(crate) fn product(&self) -> &Product {
        &self.product
    }

    pub(crate) fn post(&mut self, posting: &Posting, buyer: Option<BuyerId>) {
        self.product.post(posting, buyer);
    }

    pub(crate) fn apply(&mut self, change: &ProductChange) {
        self.product.apply(change);
    }

    pub(crate) fn move_hold_end(&mut self, before: Option<Timestamp>, after: Option<Timestamp>) {
        self.product.move_hold_end(before, after);
    }
}
