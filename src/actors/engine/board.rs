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
    placed: PlacedFilter,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            shelves: RwLock::new(BTreeMap::new()),
            placed: PlacedFilter::new(),
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

/// A Bloom filter of fixed size that only ever grows fuller: a wrong `true` costs one trip to the engine.
///
/// 16 Mi bits and four probes: 0.2 % wrong at a million entries, and at ten million every refusal takes the trip.
#[derive(Debug)]
struct PlacedFilter {
    words: Box<[AtomicU64]>,
}

impl PlacedFilter {
    const WORDS: usize = 1 << 18;
    const PROBES: u32 = 4;

    fn new() -> Self {
        Self {
            words: (0..Self::WORDS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn insert(&self, mark: u128) {
        for (word, bit) in Self::probes(mark) {
            self.words[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn contains(&self, mark: u128) -> bool {
        Self::probes(mark).all(|(word, bit)| self.words[word].load(Ordering::Relaxed) & bit != 0)
    }

    fn probes(mark: u128) -> impl Iterator<Item = (usize, u64)> {
        let mixed = mark.wrapping_mul(0x2d35_8dcc_aa6c_78a5_8bb8_4b93_962e_acc9) ^ (mark >> 64);
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = mixed.to_le_bytes();
        let groups = [[a, e, i, m], [b, f, j, n], [c, g, k, o], [d, h, l, p]];
        groups.into_iter().take(Self::PROBES as usize).map(|group| {
            let probe = u32::from_le_bytes(group) as usize;
            ((probe >> 6) % Self::WORDS, 1_u64 << (probe & 63))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_forgets_nothing_and_errs_seldom() {
        let filter = PlacedFilter::new();
        let id = |n: u128| 0x0192_0000_0000_7000_8000_0000_0000_0000_u128 + n * 0x1_0001_0003_0007;
        (0..100_000).for_each(|n| filter.insert(id(n)));
        assert!((0..100_000).all(|n| filter.contains(id(n))));
        let wrong = (100_000..200_000)
            .filter(|n| filter.contains(id(*n)))
            .count();
        assert!(wrong < 1_000, "{wrong} of 100,000 wrong");
    }
}
