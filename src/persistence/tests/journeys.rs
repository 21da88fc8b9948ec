//! Journeys: against a shop that remembers everything, with and without the beginning of the journal.

use std::sync::Arc;
use std::sync::mpsc;

use parking_lot::Mutex;

use super::shop::Shop;
use super::store::{Store, on_each_engine, run};
use crate::domain::*;
use crate::persistence::codec;
use crate::persistence::journal::{
    Batch, Journal, JournalId, JournalReader, JournalView, MemoryJournal, Position, ReadError,
};
use crate::persistence::journey::{JourneyRefusal, Journeys, Movement, Units};
use crate::persistence::projection::Projector;

/// The journal of a shop, and SQL as far as it has followed.
struct Told {
    shop: Shop,
    journal: Arc<Mutex<MemoryJournal>>,
    journeys: Journeys,
}

async fn told(store: &Store, seed: u64, steps: usize, followed: usize) -> Told {
    let shop = Shop::after(seed, steps);
    let mut journal = MemoryJournal::new();
    for event in &shop.events {
        let mut batch = Batch::new();
        batch
            .push_with(|bytes| codec::encode(event, bytes))
            .expect("a small record");
        journal.append(&batch).expect("memory does not fail");
    }
    let mut projector = Projector::open(&store.database).await.expect("a projector");
    let batch = shop.batch();
    projector
        .apply_events(&batch[..followed])
        .await
        .expect("a batch");
    Told {
        journeys: Journeys::new(journal.view(), store.database.clone()),
        shop,
        journal: Arc::new(Mutex::new(journal)),
    }
}

/// A journal whose readers are not made before somebody lets them go.
#[derive(Debug)]
struct Held(Mutex<mpsc::Receiver<()>>);

impl JournalView for Held {
    fn id(&self) -> JournalId {
        JournalId::new(0)
    }

    fn last(&self) -> Position {
        Position::ZERO
    }

    fn reader(&self, after: Position) -> Result<Box<dyn JournalReader>, ReadError> {
        self.0.lock().recv().ok();
        let last = Position::ZERO;
        Err(ReadError::Ahead { after, last })
    }

    fn frame_at(&self, _: Position) -> Result<u32, ReadError> {
        Ok(0)
    }

    fn report_damage(&self, _: &str) {}

    fn damage(&self) -> Option<Arc<str>> {
        None
    }

    fn unchecked_segments(&self) -> usize {
        0
    }

    fn on_damage(&self, _: Box<dyn Fn() + Send + Sync>) {}
}

impl Told {
    /// What the events say, one by one: which of them move units of the product, and what is there after each.
    fn movements(&self, product: ProductId) -> Vec<(u64, Stock)> {
        let mut stock = Stock::default();
        let mut moved = Vec::new();
        for (position, event) in self.shop.batch() {
            let mut moves = false;
            event.for_each_posting(|posting| {
                if posting.product == product {
                    stock.post(posting);
                    moves = true;
                }
            });
            if moves {
                moved.push((position.get(), stock));
            }
        }
        moved
    }

    async fn all_pages(&self, product: ProductId, limit: usize) -> (Vec<Movement>, bool) {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = self.journeys.of_product(product, after, limit);
            let page = page.await.expect("a journey");
            assert!(page.steps.len() <= limit);
            all.extend(page.steps);
            after = all.last().map_or(0, |it| it.step.position);
            if !page.more {
                return (all, page.complete);
            }
        }
    }
}

fn counts(stock: &Stock) -> [i64; 6] {
    Units::BUCKETS.map(|bucket| i64::try_from(stock.units(bucket)).expect("few units"))
}

#[test]
fn the_units_of_a_product_are_counted_after_every_movement() {
    on_each_engine(async |store| {
        let told = told(store, 31, 700, 40).await;
        for product in told.shop.products.keys() {
            let (movements, complete) = told.all_pages(*product, 7).await;
            assert!(complete);
            let seen: Vec<_> = movements
                .iter()
                .map(|it| (it.step.position, it.units.counts()))
                .collect();
            let expected: Vec<_> = told
                .movements(*product)
                .iter()
                .map(|(position, stock)| (*position, counts(stock)))
                .collect();
            assert_eq!(seen, expected);
            let own = |it: &Posting| it.product == *product;
            assert!(movements.iter().all(|it| it.step.postings.iter().all(own)));
        }
    });
}

#[test]
fn what_was_there_before_the_oldest_record_is_counted_in() {
    on_each_engine(async |store| {
        let told = told(store, 32, 2_000, 500).await;
        let released = 300;
        let journal = &told.journal;
        // The record of the position stays.
        journal.lock().release_through(Position::new(released + 1));
        for product in told.shop.products.keys() {
            let (movements, complete) = told.all_pages(*product, 5).await;
            let expected: Vec<_> = told
                .movements(*product)
                .iter()
                .filter(|(position, _)| *position > released)
                .map(|(position, stock)| (*position, counts(stock)))
                .collect();
            let seen: Vec<_> = movements
                .iter()
                .map(|it| (it.step.position, it.units.counts()))
                .collect();
            assert_eq!(seen, expected);
            let registered = told.movements(*product).first().map_or(0, |(it, _)| *it);
            if registered <= released {
                assert!(!complete, "{product} is older than the journal");
            }
        }
        let product = told.shop.products.keys().next().expect("a product");
        let journey = told.journeys.of_product(*product, 0, 1).await;
        assert_eq!(journey.expect("a journey").from_position, released + 1);
    });
}

#[test]
fn a_product_registered_after_the_oldest_record_has_a_complete_journey() {
    on_each_engine(async |store| {
        let told = told(store, 33, 2_500, 700).await;
        told.journal.lock().release_through(Position::new(100));
        let registered = |product: &ProductId| {
            let is_it = |event: &Event| matches!(event, Event::ProductChanged { product: it, change: ProductChange::Registered { .. }, .. } if it == product);
            told.shop.events.iter().position(is_it).expect("registered")
        };
        let late = told.shop.products.keys().find(|it| registered(it) >= 100);
        let late = late.expect("a product that came later");
        let (movements, complete) = told.all_pages(*late, 1_000).await;
        assert!(complete);
        let expected = told.movements(*late);
        assert_eq!(movements.len(), expected.len());
        let last = movements.last().expect("a movement");
        assert_eq!(last.units.counts(), counts(&told.shop.products[late].stock));
    });
}

#[test]
fn every_record_about_an_order_is_in_its_journey() {
    on_each_engine(async |store| {
        let told = told(store, 34, 500, 200).await;
        for order in told.shop.orders.values() {
            let journey = told.journeys.of_order(order).await.expect("a journey");
            assert!(journey.complete);
            let about: Vec<u64> = told
                .shop
                .batch()
                .iter()
                .filter(|(_, event)| match event {
                    Event::OrderPlaced(placed) => placed.order == order.id,
                    Event::OrderChanged { order: id, .. } => *id == order.id,
                    Event::ProductChanged { .. } | Event::WaitlistChanged { .. } => false,
                })
                .map(|(position, _)| position.get())
                .collect();
            let seen: Vec<u64> = journey.steps.iter().map(|it| it.position).collect();
            assert_eq!(seen, about);
            assert_eq!(journey.steps[0].act, "order_placed");
        }
        told.journal.lock().release_through(Position::new(201));
        for order in told.shop.orders.values() {
            let journey = told.journeys.of_order(order).await.expect("a journey");
            assert_eq!(journey.complete, order.sequence > 200);
            assert!(journey.steps.iter().all(|it| it.position > 200));
        }
    });
}

#[test]
fn only_two_are_read_at_once_and_a_reader_that_left_still_counts() {
    run(async {
        let store = Store::sqlite().await;
        let shop = Shop::after(35, 100);
        let order = shop.orders.values().next().expect("an order").clone();
        let (let_go, held) = mpsc::channel::<()>();
        let journal = Arc::new(Held(Mutex::new(held)));
        let journeys = Journeys::new(journal, store.database.clone());
        let first = tokio::spawn({
            let (journeys, order) = (journeys.clone(), order.clone());
            async move { journeys.of_order(&order).await }
        });
        let gone = tokio::spawn({
            let (journeys, order) = (journeys.clone(), order.clone());
            async move { journeys.of_order(&order).await }
        });
        tokio::task::yield_now().await;
        gone.abort();
        let third = journeys.of_order(&order).await;
        assert!(matches!(third, Err(JourneyRefusal::Busy)), "{third:?}");
        let_go.send(()).expect("somebody waits");
        let_go.send(()).expect("somebody waits");
        let first = first.await.expect("no panic");
        assert!(matches!(first, Err(JourneyRefusal::Read(_))), "{first:?}");
        drop(let_go);
        // Both are done, and there is room again.
        for _ in 0..200 {
            if !matches!(journeys.of_order(&order).await, Err(JourneyRefusal::Busy)) {
                return store.end().await;
            }
            tokio::task::yield_now().await;
        }
        panic!("the permit of a reader that left never came back");
    });
}
