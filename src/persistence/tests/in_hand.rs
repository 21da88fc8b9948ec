//! What people have in hand, as rows: kept by the projection, filled for old databases, read at a start where it counts.

use std::collections::{BTreeMap, BTreeSet};

use super::shop::{Dice, Shop};
use super::store::{Store, execute, on_each_engine};
use crate::domain::{BuyerId, Event, OrderState, Product, ProductId, Timestamp};
use crate::persistence::database::{diff, verify_books};
use crate::persistence::journal::Position;
use crate::persistence::projection::Projector;

const NO_FAULTS: Vec<String> = Vec::new();

type People = BTreeMap<ProductId, BTreeMap<BuyerId, u64>>;

fn people_of<'p>(products: impl IntoIterator<Item = &'p Product>) -> People {
    let known = products.into_iter().filter_map(|product| {
        let people = product.people()?.collect();
        Some((product.id, people))
    });
    known.collect()
}

async fn stored_people(store: &Store) -> People {
    let loaded = store.database.load_all().await.expect("a load");
    people_of(&loaded.products)
}

async fn project(store: &Store, batch: &[(Position, Event)]) {
    let mut projector = Projector::open(&store.database).await.expect("a projector");
    projector.apply_events(batch).await.expect("a batch");
}

async fn check_books(store: &Store) {
    let faults = verify_books(&store.database).await.expect("a check");
    assert_eq!(faults, NO_FAULTS);
}

#[test]
fn people_are_what_a_recount_makes_at_every_cut() {
    on_each_engine(async |store| {
        let shop = Shop::after(31, 1_500);
        let mut dice = Dice::new(31);
        let mut folded = Shop::default();
        let mut projector = Projector::open(&store.database).await.expect("a projector");
        let batch = shop.batch();
        let mut rest = &batch[..];
        let mut gone = 0;
        while !rest.is_empty() {
            let len = 1 + dice.below(40).min(rest.len() as u64 - 1) as usize;
            let (now, later) = rest.split_at(len);
            rest = later;
            projector.apply_events(now).await.expect("a batch");
            let before = people_of(folded.products.values());
            for (_, event) in now {
                folded.record(event.clone());
            }
            let expected = people_of(folded.products.values());
            gone += left(&before, &expected);
            assert_eq!(stored_people(store).await, expected);
            check_books(store).await;
        }
        assert!(gone > 20, "only {gone} people gave everything back");
    });
}

/// How many people have nothing any more.
fn left(before: &People, after: &People) -> usize {
    let pairs = |people: &People| -> BTreeSet<(ProductId, BuyerId)> {
        let hands = people.iter();
        hands
            .flat_map(|(product, people)| people.keys().map(|buyer| (*product, *buyer)))
            .collect()
    };
    pairs(before).difference(&pairs(after)).count()
}

#[test]
fn a_start_reads_the_people_that_a_limit_counts_and_no_others() {
    on_each_engine(async |store| {
        let shop = Shop::after(32, 3_000);
        project(store, &shop.batch()).await;
        let as_of = Timestamp::from_micros(shop.now().as_micros() / 2);
        let loaded = store.load_live(as_of).await.expect("a load");
        let mut seen = BTreeSet::new();
        for product in &loaded.products {
            let folded = &shop.products[&product.id];
            let (has_people, counts) = (folded.stock.in_hand() > 0, folded.counts_people(as_of));
            assert_eq!(product.knows_people(), counts || !has_people);
            if product.knows_people() {
                assert_eq!(people_of([product]), people_of([folded]));
            }
            let limit = folded.window.and_then(|window| window.per_person_limit);
            seen.insert((has_people, counts, limit.is_some()));
        }
        for kind in [
            (true, true, true),
            (true, false, true),
            (true, false, false),
        ] {
            assert!(
                seen.contains(&kind),
                "the history has no such product: {kind:?}"
            );
        }
        assert_eq!(diff(&loaded, &shop.live(as_of)), NO_FAULTS);
    });
}

/// Were they read, the load would fail; were they added up, it would give something else.
#[test]
fn a_start_does_not_read_what_is_finished() {
    on_each_engine(async |store| {
        let shop = Shop::after(33, 3_000);
        project(store, &shop.batch()).await;
        let as_of = Timestamp::from_micros(shop.now().as_micros() / 2);
        let before = store.load_live(as_of).await.expect("a load");
        let known = before.products.iter().filter(|it| it.knows_people());
        let known: Vec<String> = known
            .map(|product| format!("X'{:032x}'", product.id.get()))
            .collect();
        let finished = format!(
            "SELECT sequence FROM orders WHERE standing <> 0 AND placed_at < {}",
            as_of.as_micros()
        );
        for statement in [
            format!(
                "UPDATE in_hand SET units = -1 WHERE product NOT IN ({})",
                known.join(", ")
            ),
            format!("UPDATE order_lines SET quantity = -1 WHERE sequence IN ({finished})"),
            format!("UPDATE payment_attempts SET state = 'lost' WHERE sequence IN ({finished})"),
            format!(
                "UPDATE orders SET state = 'lost' WHERE standing <> 0 AND placed_at < {}",
                as_of.as_micros()
            ),
        ] {
            execute(&store.address, statement).await;
        }
        let everything = store.database.load_all().await;
        assert!(everything.is_err(), "nothing is broken: {everything:?}");
        let after = store.load_live(as_of).await.expect("a load");
        assert_eq!(after, before);
        assert!(after.orders.len() < shop.orders.len());
    });
}

/// Orders in all states, and somebody who is offered units.
fn has_everything(shop: &Shop) -> bool {
    let states: BTreeSet<OrderState> = shop.orders.values().map(|it| it.state).collect();
    let mut products = shop.products.values();
    states.len() == OrderState::ALL.len() && products.any(|it| it.waitlist().offered() > 0)
}

/// The release before added up orders at each start and had no such table.
#[test]
fn a_database_of_the_release_before_is_filled_from_its_orders() {
    on_each_engine(async |store| {
        let mut shops = (34..64).map(|seed| Shop::after(seed, 4_000));
        let shop = shops.find(has_everything).expect("a shop of some life");
        project(store, &shop.batch()).await;
        let before = stored_people(store).await;
        for statement in [
            "DROP TABLE in_hand",
            "DELETE FROM _sqlx_migrations WHERE version IN (210, 211)",
            // A standing that came later than others.
            "UPDATE orders SET standing = 0 WHERE standing = 3",
        ] {
            execute(&store.address, statement.to_owned()).await;
        }
        store.database.migrate().await.expect("tables");
        assert_eq!(stored_people(store).await, before);
        check_books(store).await;
        // Killed behind its last statement, it runs once more.
        let again = "DELETE FROM _sqlx_migrations WHERE version = 211";
        execute(&store.address, again.to_owned()).await;
        store.database.migrate().await.expect("tables");
        assert_eq!(stored_people(store).await, before);
    });
}

#[test]
fn what_has_left_memory_is_read_as_of_one_position() {
    on_each_engine(async |store| {
        let shop = Shop::after(35, 800);
        project(store, &shop.batch()).await;
        let orders: Vec<_> = shop.orders.values().step_by(3).cloned().collect();
        let nobody = ProductId::new(1);
        let products: Vec<ProductId> = shop.products.keys().copied().chain([nobody]).collect();
        let ids = orders.iter().map(|order| order.id).collect();
        let recalled = store.database.recall(ids, products).await;
        let mut recalled = recalled.expect("a read");
        recalled.orders.sort_unstable_by_key(|order| order.id);
        assert_eq!(recalled.orders, orders);
        assert_eq!(recalled.position.get(), shop.events.len() as u64);
        let mut expected = people_of(shop.products.values());
        expected.retain(|_, people| !people.is_empty());
        let people = recalled.people.iter();
        let people: People = people
            .map(|(product, people)| (*product, people.iter().collect()))
            .collect();
        assert_eq!(people, expected);
    });
}
