//! Random histories: what is projected, in whatever batches and through whatever crashes, is what the domain folds.

use std::time::Duration;

use super::shop::{Dice, Shop};
use super::store::{Store, on_each_engine, run};
use crate::domain::{Event, Timestamp};
use crate::persistence::database::{Loaded, diff, verify_books};
use crate::persistence::journal::Position;
use crate::persistence::projection::{ProjectError, Projector};

const NO_FAULTS: Vec<String> = Vec::new();

async fn project(store: &Store, batch: &[(Position, Event)], dice: &mut Dice) {
    let mut projector = open(store).await;
    let mut rest = batch;
    while !rest.is_empty() {
        let len = 1 + dice.below(60).min(rest.len() as u64 - 1) as usize;
        let (now, later) = rest.split_at(len);
        projector
            .apply_events(now)
            .await
            .expect("a projected batch");
        rest = later;
    }
}

async fn open(store: &Store) -> Projector {
    Projector::open(&store.database).await.expect("a projector")
}

async fn load(store: &Store) -> Loaded {
    store.database.load_all().await.expect("a load")
}

async fn check_books(store: &Store) {
    let faults = verify_books(&store.database).await.expect("a check");
    assert_eq!(faults, NO_FAULTS);
}

/// Replays the first events into a new shop.
fn prefix(shop: &Shop, position: Position) -> Shop {
    let mut prefix = Shop::default();
    for event in shop.events.iter().take(position.get() as usize) {
        prefix.record(event.clone());
    }
    prefix
}

#[test]
fn a_history_in_random_batches_is_loaded_as_it_was_folded() {
    on_each_engine(async |store| {
        let shop = Shop::after(1, 4_000);
        assert_eq!(
            shop.states().len(),
            14,
            "the history is too tame: {:?}",
            shop.states()
        );
        project(store, &shop.batch(), &mut Dice::new(1)).await;
        let middle = shop.orders.values().nth(40).map(|it| it.placed_at);
        for keep_since in [Timestamp::ZERO, Timestamp::MAX, middle.unwrap_or_default()] {
            let loaded = store.load_live(keep_since).await;
            let expected = shop.live(keep_since);
            let loaded = loaded.expect("a load");
            assert_eq!(loaded.last_stamp, expected.last_stamp);
            assert_eq!(diff(&loaded, &expected), NO_FAULTS);
        }
        check_books(store).await;
    });
}

#[test]
fn thirty_short_histories_on_sqlite() {
    run(async {
        for seed in 100..130 {
            println!("seed {seed}");
            let store = Store::sqlite().await;
            let shop = Shop::after(seed, 400);
            project(&store, &shop.batch(), &mut Dice::new(seed)).await;
            assert_eq!(
                diff(&load(&store).await, &shop.live(Timestamp::ZERO)),
                NO_FAULTS
            );
            check_books(&store).await;
            store.end().await;
        }
    });
}

#[test]
fn a_batch_that_is_applied_twice_changes_nothing() {
    on_each_engine(async |store| {
        let shop = Shop::after(7, 600);
        let batch = shop.batch();
        let mut projector = open(store).await;
        for part in batch.chunks(100) {
            projector.apply_events(part).await.expect("a batch");
            projector.apply_events(part).await.expect("the same batch");
        }
        // Half known, half new; and all of it, on a new connection.
        projector.apply_events(&batch).await.expect("all of it");
        let mut other = open(store).await;
        other.apply_events(&batch).await.expect("all of it again");
        assert_eq!(
            diff(&load(store).await, &shop.live(Timestamp::ZERO)),
            NO_FAULTS
        );
    });
}

#[test]
fn the_last_stamp_stays_where_the_records_of_an_earlier_release_went_back_in_time() {
    on_each_engine(async |store| {
        assert_eq!(load(store).await.last_stamp, Timestamp::ZERO);
        let mut shop = Shop::after(12, 50);
        shop.register(&mut Dice::new(12));
        let last_stamp = shop.live(Timestamp::ZERO).last_stamp;
        let mut batch = shop.batch();
        let Some((_, Event::ProductChanged { at, .. })) = batch.last_mut() else {
            panic!("a product was registered");
        };
        *at = Timestamp::from_micros(1);
        let mut projector = open(store).await;
        for part in batch.chunks(7) {
            projector.apply_events(part).await.expect("a batch");
        }
        assert_eq!(load(store).await.last_stamp, last_stamp);
    });
}

#[test]
fn a_missing_record_is_noticed() {
    on_each_engine(async |store| {
        let batch = Shop::after(8, 50).batch();
        let mut projector = open(store).await;
        let skipped = projector.apply_events(&batch[1..]).await;
        assert!(matches!(skipped, Err(ProjectError::Gap { .. })));
        let torn = [batch[0].clone(), batch[2].clone()];
        assert!(matches!(
            projector.apply_events(&torn).await,
            Err(ProjectError::Gap { .. })
        ));
        assert_eq!(load(store).await, Loaded::default());
    });
}

#[test]
fn a_second_writer_is_noticed_and_changes_nothing() {
    on_each_engine(async |store| {
        let shop = Shop::after(9, 300);
        let batch = shop.batch();
        let mut slow = open(store).await;
        let mut fast = open(store).await;
        fast.apply_events(&batch).await.expect("a batch");
        let refused = slow.apply_events(&batch[..20]).await;
        assert!(
            matches!(refused, Err(ProjectError::Moved { .. })),
            "{refused:?}"
        );
        assert_eq!(
            diff(&load(store).await, &shop.live(Timestamp::ZERO)),
            NO_FAULTS
        );
    });
}

#[test]
fn a_journal_of_another_shop_is_refused() {
    on_each_engine(async |store| {
        let shop = Shop::after(10, 200);
        let other = Shop::after(11, 400);
        open(store)
            .await
            .apply_events(&shop.batch())
            .await
            .expect("a batch");
        let position = Position::new(shop.events.len() as u64);
        let mut foreign: Vec<_> = other.batch();
        foreign.retain(|(at, _)| *at > position);
        let refused = open(store).await.apply_events(&foreign).await;
        assert!(
            matches!(refused, Err(ProjectError::Disagreement(_))),
            "{refused:?}"
        );
        assert_eq!(
            diff(&load(store).await, &shop.live(Timestamp::ZERO)),
            NO_FAULTS
        );
    });
}

/// A crash in any instant of a transaction leaves rows and position together: the rows of exactly that position.
#[test]
fn a_crash_leaves_the_rows_of_the_position() {
    on_each_engine(async |store| {
        let shop = Shop::after(12, 1_500);
        let batch = shop.batch();
        let mut dice = Dice::new(12);
        let mut crashes = 0;
        loop {
            let mut projector = open(store).await;
            let position = projector.position();
            let replayed = prefix(&shop, position);
            assert_eq!(
                diff(&load(store).await, &replayed.live(Timestamp::ZERO)),
                NO_FAULTS
            );
            let rest = &batch[position.get() as usize..];
            let Some(rest) = rest.get(..rest.len().min(150)) else {
                unreachable!()
            };
            if rest.is_empty() {
                break;
            }
            let life = Duration::from_micros(200 + dice.below(60_000));
            if tokio::time::timeout(life, projector.apply_events(rest))
                .await
                .is_err()
            {
                crashes += 1;
            }
        }
        println!("{crashes} crashes");
        assert!(crashes > 0, "no crash fired");
        check_books(store).await;
    });
}
