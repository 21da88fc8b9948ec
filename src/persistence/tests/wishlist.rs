//! Wishlists, on each engine.

use super::store::{Store, on_each_engine};
use crate::domain::{BuyerId, ProductId, Quantity, Timestamp};
use crate::persistence::database::*;

const KIM: BuyerId = BuyerId::new(1);
const LEE: BuyerId = BuyerId::new(2);
const LAMP: ProductId = ProductId::new(30);
const DESK: ProductId = ProductId::new(20);
const CHAIR: ProductId = ProductId::new(10);

const fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn units(quantity: u32) -> Quantity {
    Quantity::new(quantity).expect("a quantity")
}

fn wish(product: ProductId, quantity: u32, added: u64, changed: u64) -> Wish {
    Wish {
        product,
        quantity: units(quantity),
        added_at: at(added),
        changed_at: at(changed),
    }
}

async fn people(store: &Store) {
    let accounts = [KIM, LEE].map(|id| Account::nameless(id, "buyer", at(1)));
    let made = store.database.create_accounts(accounts.to_vec());
    made.await.expect("accounts");
}

/// At most three lines.
async fn put(store: &Store, who: BuyerId, what: ProductId, quantity: u32, now: u64) -> PutWish {
    let put = store
        .database
        .put_wish(who, what, units(quantity), at(now), 3);
    put.await.expect("an answer")
}

async fn wishes(store: &Store, who: BuyerId) -> Vec<Wish> {
    store.database.wishes(who).await.expect("a read")
}

#[test]
fn a_list_is_an_accounts_own_and_in_the_order_in_which_it_was_made() {
    on_each_engine(async |store| {
        people(store).await;
        let added = |product, quantity, now| PutWish::Added(wish(product, quantity, now, now));
        assert_eq!(put(store, KIM, LAMP, 2, 100).await, added(LAMP, 2, 100));
        assert_eq!(put(store, KIM, DESK, 1, 101).await, added(DESK, 1, 101));
        assert_eq!(put(store, LEE, LAMP, 9, 102).await, added(LAMP, 9, 102));
        let changed = PutWish::Changed(wish(LAMP, 10_000, 100, 103));
        assert_eq!(put(store, KIM, LAMP, 10_000, 103).await, changed);
        let of_kim = [wish(LAMP, 10_000, 100, 103), wish(DESK, 1, 101, 101)];
        assert_eq!(wishes(store, KIM).await, of_kim);
        for _ in 0..2 {
            let removed = store.database.remove_wish(KIM, LAMP).await;
            removed.expect("an answer");
        }
        assert_eq!(wishes(store, KIM).await, of_kim[1..]);
        assert_eq!(wishes(store, LEE).await, [wish(LAMP, 9, 102, 102)]);
        let nobody = put(store, BuyerId::new(3), LAMP, 1, 104).await;
        assert_eq!(nobody, PutWish::NoSuchAccount);
    });
}

#[test]
fn a_list_keeps_its_bound_however_many_put_at_once() {
    on_each_engine(async |store| {
        people(store).await;
        let products = (1..=12).map(ProductId::new);
        let puts = products.map(|product| put(store, KIM, product, 1, 100));
        let outcomes = futures_util::future::join_all(puts).await;
        let full = outcomes.iter().filter(|it| **it == PutWish::Full).count();
        assert_eq!(full, 9, "{outcomes:?}");
        let kept = wishes(store, KIM).await;
        assert_eq!(kept.len(), 3);
        let changed = put(store, KIM, kept[0].product, 2, 101).await;
        assert!(matches!(changed, PutWish::Changed(_)), "{changed:?}");
    });
}

#[test]
fn what_was_bought_leaves_unless_it_was_put_there_again_since() {
    on_each_engine(async |store| {
        people(store).await;
        for (who, product) in [(KIM, LAMP), (KIM, DESK), (KIM, CHAIR), (LEE, LAMP)] {
            put(store, who, product, 2, 100).await;
        }
        put(store, KIM, DESK, 2, 201).await;
        put(store, KIM, CHAIR, 3, 150).await;
        for _ in 0..2 {
            let bought = [LAMP, DESK, CHAIR].map(|product| (product, units(2)));
            let removed = store.database.remove_bought(KIM, bought.to_vec(), at(200));
            removed.await.expect("an answer");
            // The one was wanted again after the order, the other is wanted in another quantity.
            let left = [wish(CHAIR, 3, 100, 150), wish(DESK, 2, 100, 201)];
            assert_eq!(wishes(store, KIM).await, left);
        }
        assert_eq!(wishes(store, LEE).await, [wish(LAMP, 2, 100, 100)]);
    });
}
