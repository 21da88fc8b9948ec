//! The actor of one product: the only place where its units are given out and taken back.
//!
//! It lives on the engine's thread and is told one thing at a time, so reservations of a product are serialised
//! without a lock. It has no mailbox of its own: the engine's inbox is shared, which is what makes one write and one
//! fdatasync serve many purchases (docs/decisions/0002).

use crate::domain::{
    BuyerId, InHand, Posting, Product, ProductChange, Quantity, Timestamp, WaitlistChange,
};

#[derive(Debug)]
pub(crate) struct ProductActor {
    product: Product,
    /// When the cell is to look at the waitlist, as it has noted.
    due: Option<Timestamp>,
}

impl ProductActor {
    pub(crate) fn new(product: Product) -> Self {
        Self { product, due: None }
    }

    /// The state to decide on.
    pub(crate) fn product(&self) -> &Product {
        &self.product
    }

    pub(crate) fn post(&mut self, posting: &Posting, buyer: Option<BuyerId>) {
        self.product.post(posting, buyer);
    }

    pub(crate) fn forget_people(&mut self) {
        self.product.forget_people();
    }

    pub(crate) fn recall_people(&mut self, people: InHand) {
        self.product.recall_people(people);
    }

    pub(crate) fn apply(&mut self, change: &ProductChange) {
        self.product.apply(change);
    }

    pub(crate) fn apply_to_waitlist(
        &mut self,
        sequence: u64,
        at: Timestamp,
        change: &WaitlistChange,
        postings: &[Posting],
    ) {
        self.product
            .apply_to_waitlist(sequence, at, change, postings);
    }

    pub(crate) fn take_offer(&mut self, buyer: BuyerId, units: Quantity) {
        self.product.take_offer(buyer, units);
    }

    /// Sets when the cell is to look at the waitlist; gives what was set before, if that is another time.
    pub(crate) fn move_due(&mut self, as_of: Timestamp) -> Option<[Option<Timestamp>; 2]> {
        let due = self.product.next_due(as_of);
        let before = std::mem::replace(&mut self.due, due);
        (before != due).then_some([before, due])
    }

    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.due
    }

    pub(crate) fn move_hold_end(&mut self, before: Option<Timestamp>, after: Option<Timestamp>) {
        self.product.move_hold_end(before, after);
    }
}
