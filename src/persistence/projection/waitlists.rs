//! What a batch of events makes of those who wait. Pure, like the rest of the fold.

use super::fold::Disagreement;
use crate::domain::{
    BuyerId, Event, IdMap, Offer, OrderPlaced, ProductChange, ProductId, Timestamp, Waiter,
    WaitlistChange,
};
use crate::persistence::journal::Position;

/// The entries that a batch is about.
#[derive(Debug, Default)]
pub(super) struct Waitlists {
    entries: IdMap<(ProductId, BuyerId), Waiter>,
    /// Those that SQL has, by their joining records.
    stored: IdMap<u64, Waiter>,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Rows {
    gone: Vec<u64>,
    waiters: Vec<(ProductId, Waiter)>,
}

impl Rows {
    /// The joining records of entries that end.
    pub(super) fn gone(&self) -> &[u64] {
        &self.gone
    }

    pub(super) fn waiters(&self) -> &[(ProductId, Waiter)] {
        &self.waiters
    }
}

impl Waitlists {
    /// An entry may be given twice.
    pub(super) fn of(stored: Vec<(ProductId, Waiter)>) -> Self {
        let entries = stored
            .iter()
            .map(|(product, waiter)| ((*product, waiter.buyer), *waiter));
        Self {
            entries: entries.collect(),
            stored: stored.iter().map(|(_, it)| (it.sequence, *it)).collect(),
        }
    }

    pub(super) fn apply(&mut self, position: Position, event: &Event) -> Result<(), Disagreement> {
        match event {
            Event::OrderPlaced(placed) => self.take_offers(position, placed),
            Event::ProductChanged {
                product,
                change: ProductChange::Deleted,
                ..
            } => {
                self.entries.retain(|(of, _), _| of != product);
                Ok(())
            }
            Event::ProductChanged { .. } | Event::OrderChanged { .. } => Ok(()),
            Event::WaitlistChanged {
                product,
                at,
                change,
                ..
            } => self.change(position, *product, *at, change),
        }
    }

    fn take_offers(
        &mut self,
        position: Position,
        placed: &OrderPlaced,
    ) -> Result<(), Disagreement> {
        for taken in &placed.offers {
            let waiter = self.find(position, taken.product, placed.buyer)?;
            if !waiter.take(taken.units) {
                self.entries.remove(&(taken.product, placed.buyer));
            }
        }
        Ok(())
    }

    fn change(
        &mut self,
        position: Position,
        product: ProductId,
        at: Timestamp,
        change: &WaitlistChange,
    ) -> Result<(), Disagreement> {
        match change {
            WaitlistChange::Joined { buyer, quantity } => {
                let waiter = Waiter::joining(position.get(), *buyer, *quantity, at);
                self.entries.insert((product, *buyer), waiter);
            }
            WaitlistChange::Left { buyer } => {
                self.find(position, product, *buyer)?;
                self.entries.remove(&(product, *buyer));
            }
            WaitlistChange::Offered { offers, deadline } => {
                for (buyer, units) in offers {
                    let waiter = self.find(position, product, *buyer)?;
                    waiter.offer = Some(Offer {
                        units: *units,
                        deadline: *deadline,
                    });
                }
            }
            WaitlistChange::Lapsed { buyer } => {
                if !self.find(position, product, *buyer)?.lapse(position.get()) {
                    self.entries.remove(&(product, *buyer));
                }
            }
            WaitlistChange::Ended => self
                .entries
                .retain(|(of, _), waiter| *of != product || waiter.offer.is_some()),
        }
        Ok(())
    }

    fn find(
        &mut self,
        position: Position,
        product: ProductId,
        buyer: BuyerId,
    ) -> Result<&mut Waiter, Disagreement> {
        self.entries
            .get_mut(&(product, buyer))
            .ok_or(Disagreement::NoSuchWaiter {
                position,
                product,
                buyer,
            })
    }

    /// What differs from what SQL has.
    pub(super) fn rows(&self) -> Rows {
        let mut gone = self.stored.clone();
        let mut waiters = Vec::new();
        for ((product, _), waiter) in &self.entries {
            if gone.remove(&waiter.sequence) != Some(*waiter) {
                waiters.push((*product, *waiter));
            }
        }
        waiters.sort_unstable_by_key(|(_, waiter)| waiter.sequence);
        let mut gone: Vec<u64> = gone.into_keys().collect();
        gone.sort_unstable();
        Rows { gone, waiters }
    }
}
