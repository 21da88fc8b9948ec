//! A product or an order before a batch and after it, and what of it is to be written. Pure.

use crate::domain::{
    Attempt, BuyerId, IdMap, Order, Product, ProductId, Timestamp, Waiter, WaitlistChange,
};
use crate::persistence::database::{Hand, OrderRow, PlacedAttempt};
use crate::persistence::journal::Position;

use super::fold::Disagreement;

/// A product with as much of its waitlist and of its people as the batch is about.
#[derive(Debug)]
pub(super) struct FoldedProduct {
    pub(super) product: Product,
    /// What SQL has.
    stored_waiters: IdMap<u64, Waiter>,
    stored_hands: Vec<Hand>,
}

#[derive(Debug)]
pub(super) struct FoldedOrder {
    pub(super) row: OrderRow,
    /// What SQL has; `None`: not even the order.
    stored: Option<Vec<Attempt>>,
}

/// What becomes of rows.
#[derive(Debug)]
pub(super) struct Changes<Key, Row> {
    pub(super) gone: Vec<Key>,
    /// New rows, and those that are not as they were.
    pub(super) kept: Vec<Row>,
}

impl<Key, Row> Default for Changes<Key, Row> {
    fn default() -> Self {
        Self {
            gone: Vec::new(),
            kept: Vec::new(),
        }
    }
}

impl FoldedProduct {
    /// A waiter may be given twice.
    pub(super) fn stored(product: Product, waiters: Vec<Waiter>, hands: Vec<Hand>) -> Self {
        let stored_waiters: IdMap<u64, Waiter> =
            waiters.into_iter().map(|it| (it.sequence, it)).collect();
        let mut product = product.restore(stored_waiters.values().copied().collect());
        product.recall_people(hands.iter().copied().collect());
        Self {
            product,
            stored_waiters,
            stored_hands: hands,
        }
    }

    pub(super) fn new(product: Product) -> Self {
        Self::stored(product, Vec::new(), Vec::new())
    }

    pub(super) fn change_waitlist(
        &mut self,
        position: Position,
        at: Timestamp,
        change: &WaitlistChange,
        postings: &[crate::domain::Posting],
    ) -> Result<(), Disagreement> {
        if !matches!(change, WaitlistChange::Joined { .. }) {
            for buyer in change.buyers() {
                self.check_waits(position, buyer)?;
            }
        }
        self.product
            .apply_to_waitlist(position.get(), at, change, postings);
        Ok(())
    }

    pub(super) fn check_waits(
        &self,
        position: Position,
        buyer: BuyerId,
    ) -> Result<(), Disagreement> {
        match self.product.waitlist().get(buyer) {
            Some(_) => Ok(()),
            None => Err(Disagreement::NoSuchWaiter {
                position,
                product: self.product.id,
                buyer,
            }),
        }
    }

    /// Entries of the waitlist, which are found by their joining records.
    pub(super) fn add_waiters(&self, changes: &mut Changes<u64, (ProductId, Waiter)>) {
        let mut gone = self.stored_waiters.clone();
        for waiter in self.product.waitlist().waiters() {
            if gone.remove(&waiter.sequence) != Some(*waiter) {
                changes.kept.push((self.product.id, *waiter));
            }
        }
        changes.gone.extend(gone.into_keys());
    }

    pub(super) fn add_hands(&self, changes: &mut Changes<(ProductId, BuyerId), (ProductId, Hand)>) {
        let id = self.product.id;
        let mut gone: IdMap<BuyerId, u64> = self.stored_hands.iter().copied().collect();
        for (buyer, units) in self.product.people().into_iter().flatten() {
            if gone.remove(&buyer) != Some(units) {
                changes.kept.push((id, (buyer, units)));
            }
        }
        let gone = gone.into_keys().map(|buyer| (id, buyer));
        changes.gone.extend(gone);
    }
}

impl FoldedOrder {
    pub(super) fn stored(row: OrderRow) -> Self {
        let stored = Some(row.order.attempts.clone());
        Self { row, stored }
    }

    pub(super) fn new(order: Order) -> Self {
        Self {
            row: OrderRow::of(order),
            stored: None,
        }
    }

    pub(super) fn is_new(&self) -> bool {
        self.stored.is_none()
    }

    /// Attempts that SQL does not have, or not so.
    pub(super) fn attempts(&self) -> impl Iterator<Item = PlacedAttempt<'_>> {
        let order = &self.row.order;
        let stored = self.stored.as_deref().unwrap_or_default();
        let stored = stored.iter().map(Some).chain(std::iter::repeat(None));
        (0..)
            .zip(order.attempts.iter().zip(stored))
            .filter(|(_, (attempt, stored))| Some(*attempt) != *stored)
            .map(|(ordinal, (attempt, _))| PlacedAttempt {
                sequence: order.sequence,
                ordinal,
                attempt,
            })
    }
}
