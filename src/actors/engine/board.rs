//! What has been made durable about each product, where every HTTP worker can read it without asking an actor.
//!
//! A refusal that rests on it needs no trip to the engine: the board shows no more than the journal has, so what it
//! says was true when it was read.
//!
//! **Invariant:** the engine publishes after the journal has the batch and before the batch's answers leave.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::RwLock;

use super::filter::TurningFilter;
use crate::domain::{BuyerId, Details, KeyHash, Product, ProductId, Snapshot, Timestamp};

/// One product as the public sees it.
#[derive(Debug, Clone)]
pub struct Listing {
    pub details: Arc<Details>,
    pub snapshot: Snapshot,
    pub registered_at: Timestamp,
}

/// Looks at one product again and again, without looking it up.
#[derive(Debug, Clone)]
pub struct Lookout(Arc<Shelf>);

#[derive(Debug)]
struct Shelf {
    details: ArcSwap<Details>,
    snapshot: ArcSwap<Snapshot>,
    /// Grows with whatever is published.
    version: AtomicU64,
    registered_at: Timestamp,
}

#[derive(Debug)]
pub struct Board {
    shelves: RwLock<BTreeMap<ProductId, Arc<Shelf>>>,
    placed: TurningFilter,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            shelves: RwLock::new(BTreeMap::new()),
            placed: TurningFilter::new(),
        }
    }

    pub fn snapshot(&self, product: ProductId) -> Option<Snapshot> {
        let shelf = self.shelves.read().get(&product).cloned()?;
        Some(**shelf.snapshot.load())
    }

    pub fn listing(&self, product: ProductId) -> Option<Listing> {
        self.listing_or_deleted(product)
            .filter(|listing| !listing.snapshot.deleted)
    }

    /// For who has known a product since before it was deleted.
    pub fn listing_or_deleted(&self, product: ProductId) -> Option<Listing> {
        let shelf = self.shelves.read().get(&product).cloned()?;
        Some(shelf.listing())
    }

    pub fn lookout(&self, product: ProductId) -> Option<Lookout> {
        self.shelves.read().get(&product).cloned().map(Lookout)
    }

    /// Up to `limit` products that are not deleted, oldest first, after the one named.
    pub fn listings(&self, after: Option<ProductId>, limit: u32) -> Vec<Listing> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.shelves
            .read()
            .range((from, Bound::Unbounded))
            .map(|(_, shelf)| shelf.listing())
            .filter(|listing| !listing.snapshot.deleted)
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .collect()
    }

    /// May the buyer have placed this very request before, or have units of the product? `false` is certain.
    pub(crate) fn may_know(&self, key: KeyHash, buyer: BuyerId, product: ProductId) -> bool {
        self.placed.contains(key.get()) || self.placed.contains(in_hand_mark(buyer, product))
    }

    pub(crate) fn publish(&self, product: &Product) {
        let known = self.shelves.read().get(&product.id).cloned();
        match known {
            Some(shelf) => shelf.publish(product),
            None => {
                let shelf = Arc::new(Shelf::new(product));
                self.shelves.write().insert(product.id, shelf);
            }
        }
    }

    pub(crate) fn note_placed(
        &self,
        key: KeyHash,
        buyer: BuyerId,
        products: impl Iterator<Item = ProductId>,
    ) {
        self.placed.insert(key.get());
        for product in products {
            self.note_in_hand(buyer, product);
        }
    }

    /// So much was noted that most of what is noted may have left memory: begins to note anew, beside what is there. Who
    /// calls it notes everything that is in memory once more, and then calls [`Board::end_renewal`].
    pub(crate) fn begins_renewal(&self) -> bool {
        self.placed.begins_turn()
    }

    pub(crate) fn end_renewal(&self) {
        self.placed.end_turn();
    }

    /// Somebody holds units, or is offered some.
    pub(crate) fn note_in_hand(&self, buyer: BuyerId, product: ProductId) {
        self.placed.insert(in_hand_mark(buyer, product));
    }
}

impl Lookout {
    /// Another number than before: there is something new to see. Take it before looking, and nothing is missed.
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// Also of a product that is deleted.
    pub fn listing(&self) -> Listing {
        self.0.listing()
    }
}

impl Shelf {
    fn new(product: &Product) -> Self {
        Self {
            details: ArcSwap::from_pointee(product.details.clone()),
            snapshot: ArcSwap::from_pointee(product.snapshot()),
            version: AtomicU64::new(0),
            registered_at: product.registered_at,
        }
    }

    fn publish(&self, product: &Product) {
        if **self.details.load() != product.details {
            self.details.store(Arc::new(product.details.clone()));
        }
        self.snapshot.store(Arc::new(product.snapshot()));
        self.version.fetch_add(1, Ordering::Release);
    }

    fn listing(&self) -> Listing {
        Listing {
            details: self.details.load_full(),
            snapshot: **self.snapshot.load(),
            registered_at: self.registered_at,
        }
    }
}

fn in_hand_mark(buyer: BuyerId, product: ProductId) -> u128 {
    buyer.get().rotate_left(64)
        ^ product
            .get()
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}
