//! Random histories: what is projected, in whatever batches, is what the domain folds.

use super::shop::{Dice, Shop};
use super::store::{Store, on_each_engine};
use crate::domain::{Event, Order, Timestamp};
use crate::persistence::database::{Loaded, diff, verify_books};
use crate::persistence::journal::Position;
use crate::persistence::projection::Projector;

async fn project(store: &Store, batch: &[(Position, Event)], dice: &mut Dice) {
    let mut projector = Projector::open(&store.database).await.expect("a projector");
    let mut rest = batch;
    while !rest.is_empty() {
        let len = 1 + dice.below(60).min(rest.len() as u64 - 1) as usize;
        let (now, later) = rest.split_at(len);
        projector.apply(now).await.expect("a projected batch");
        rest = later;
    }
}

async fn check_equal(store: &Store, expected: &Loaded, keep_since: Timestamp) {
    let loaded = store.database.load_live(keep_since).await.expect("a load");
    assert_eq!(diff(&loaded, expected), Vec::<String>::new());
    assert_eq!(loaded.products.len(), expected.products.len());
    assert_eq!(loaded.orders.len(), expected.orders.len());
}

#[test]
fn a_history_in_random_batches_is_loaded_as_it_was_folded() {
    on_each_engine(async |store| {
        let seed = std::process::id().into();
        println!("seed {seed}");
        let shop = Shop::after(seed, 3_000);
        project(store, &shop.batch(), &mut Dice::new(seed)).await;
        for keep_since in [
            Timestamp::ZERO,
            Timestamp::MAX,
            shop.orders
                .values()
                .nth(9)
                .map(|it: &Order| it.placed_at)
                .unwrap_or_default(),
        ] {
            check_equal(store, &shop.live(keep_since), keep_since).await;
        }
        let faults = verify_books(&store.database).await.expect("a check");
        assert_eq!(faults, Vec::<String>::new());
    });
}
