//! A restart cannot disagree with the past: what the journal says, folded into an empty cell, is the live cell.

use std::collections::{BTreeMap, BTreeSet};

use super::world::World;
use crate::actors::core::cell::Cell;
use crate::actors::core::orders::OpenPayments;
use crate::domain::{
    Bucket, BuyerId, Currency, Details, Event, Money, Order, OrderId, Product, ProductId, Quantity,
    RestockTo, Stock, Timestamp, Waiter,
};
use crate::persistence::codec;
use crate::persistence::journal::{Journal, MemoryJournal, Position, Records};

/// The live state behind one record of the journal.
#[derive(Debug)]
pub(super) struct Cut {
    position: Position,
    products: Vec<Product>,
    orders: Vec<Order>,
    due: Vec<(Timestamp, OrderId)>,
    waits_for: BTreeSet<(BuyerId, ProductId)>,
    open_payments: OpenPayments,
    latest_stamp: Timestamp,
}

impl Cut {
    pub(super) fn of(cell: &Cell, position: Position) -> Self {
        let mut products: Vec<Product> = cell.products().cloned().collect();
        let mut orders: Vec<Order> = cell.orders().collect();
        products.sort_by_key(|product| product.id);
        orders.sort_by_key(|order| order.id);
        Self {
            position,
            products,
            orders,
            due: cell.orders.all_due(),
            waits_for: waits_for(cell),
            open_payments: cell.orders.open_payments(),
            latest_stamp: cell.latest_stamp,
        }
    }

    /// A cell as a restart makes it from what SQL keeps of this state.
    fn restored(&self) -> Cell {
        Cell::restore(
            self.products.iter().map(as_stored).collect(),
            self.orders.clone(),
            self.latest_stamp,
            super::limits(usize::MAX),
        )
    }
}

fn waits_for(cell: &Cell) -> BTreeSet<(BuyerId, ProductId)> {
    let pairs = cell.waits_for.iter();
    pairs
        .flat_map(|(buyer, products)| products.iter().map(|product| (*buyer, *product)))
        .collect()
}

/// When holds end is not stored: a restart takes it from the orders.
pub(in crate::actors::core) fn as_stored(product: &Product) -> Product {
    let Product {
        id,
        details,
        restock_to,
        registered_at,
        ..
    } = product.clone();
    let mut stored = Product::new(id, details, restock_to, registered_at);
    stored.window = product.window;
    stored.stock = product.stock;
    stored.deleted = product.deleted;
    let waiters: Vec<Waiter> = product.waitlist().waiters().copied().collect();
    let mut stored = stored.restore(waiters);
    stored.recall_people(product.people().expect("known").collect());
    stored
}

pub(super) fn check(world: &mut World) {
    world.cut();
    let events = events_of(&world.journal);
    let cuts = &world.cuts;
    let mut replayed = Cell::new(super::limits(usize::MAX));
    let mut next = 0;
    for cut in cuts {
        let through = usize::try_from(cut.position.get()).expect("few events");
        fold(&mut replayed, &events, next, through);
        next = through;
        assert_same(&replayed, cut, "the journal alone");
        assert_same(&cut.restored(), cut, "what SQL keeps");
    }
    let last = cuts.last().expect("at least the one above");
    for cut in cuts {
        let mut restarted = cut.restored();
        fold(
            &mut restarted,
            &events,
            usize::try_from(cut.position.get()).expect("few events"),
            events.len(),
        );
        assert_same(&restarted, last, "what SQL keeps, and the journal after it");
        assert_same_keys(&restarted, &world.cell);
    }
    assert_books(&events, &world.cell);
}

pub(super) fn events_of(journal: &MemoryJournal) -> Vec<Event> {
    let mut reader = journal
        .reader(Position::ZERO)
        .expect("nothing was released");
    let (mut events, mut records) = (Vec::new(), Records::new());
    while reader
        .next_batch(1_000, &mut records)
        .expect("memory does not fail")
        > 0
    {
        events.extend(
            records
                .iter()
                .map(|(_, record)| codec::decode(record).expect("what was encoded")),
        );
    }
    events
}

fn fold(cell: &mut Cell, events: &[Event], from: usize, to: usize) {
    for (index, event) in events.iter().enumerate().take(to).skip(from) {
        let before = order_of(cell, event);
        cell.apply(u64::try_from(index + 1).expect("few events"), event);
        let idle = before.is_some() && before == order_of(cell, event);
        assert!(!idle, "a record that says nothing: {event:?}");
    }
}

/// The order that the event changes, but for the time of its last change.
fn order_of(cell: &Cell, event: &Event) -> Option<Order> {
    let Event::OrderChanged { order, .. } = event else {
        return None;
    };
    let mut order = cell.order(*order)?;
    order.changed_at = Timestamp::ZERO;
    Some(order)
}

fn assert_same(cell: &Cell, cut: &Cut, source: &str) {
    let state = Cut::of(cell, cut.position);
    assert_eq!(state.products, cut.products, "products from {source}");
    assert_eq!(state.orders, cut.orders, "orders from {source}");
    assert_eq!(state.due, cut.due, "what is due, from {source}");
    assert_eq!(state.waits_for, cut.waits_for, "who waits, from {source}");
    assert_eq!(
        state.open_payments, cut.open_payments,
        "payments under way, from {source}"
    );
    assert_eq!(
        state.latest_stamp, cut.latest_stamp,
        "the latest stamp, from {source}"
    );
}

#[test]
fn without_a_last_stamp_a_start_takes_the_latest_that_is_there() {
    let at = |secs: u64| Timestamp::from_micros(secs * 1_000_000);
    let details = Details {
        name: "Lamp".into(),
        description: "".into(),
        image_url: None,
        price: Money {
            amount: 39_000,
            currency: Currency::parse("KRW").expect("a currency"),
        },
    };
    let product = Product::new(ProductId::new(1), details, RestockTo::Available, at(5));
    let quantity = Quantity::new(1).expect("a quantity");
    let joined = |joined_at| Waiter::joining(3, BuyerId::new(2), quantity, joined_at);
    for (waiters, last_stamp, latest) in [
        (vec![], Timestamp::ZERO, at(5)),
        (vec![joined(at(7))], Timestamp::ZERO, at(7)),
        (vec![joined(at(7))], at(9), at(9)),
    ] {
        let product = product.clone().restore(waiters);
        let cell = Cell::restore(vec![product], vec![], last_stamp, super::limits(1));
        assert_eq!(cell.latest_stamp(), latest);
    }
}

/// Every key ever used finds its order again.
fn assert_same_keys(restarted: &Cell, live: &Cell) {
    for order in live.orders() {
        let actor = restarted.orders.of_order(order.id);
        let known = actor.placed_by(order.key).map(|it| it.id);
        assert_eq!(known, Some(order.id), "the key of an order is forgotten");
    }
}

/// The postings alone, added up by hand, are the six counters.
fn assert_books(events: &[Event], cell: &Cell) {
    let mut books: BTreeMap<(ProductId, Bucket), i64> = BTreeMap::new();
    for event in events {
        event.for_each_posting(|posting| {
            let units = i64::try_from(posting.units).expect("few units");
            assert!(
                units > 0 && posting.from != posting.to,
                "an idle posting: {posting:?}"
            );
            *books.entry((posting.product, posting.from)).or_default() -= units;
            *books.entry((posting.product, posting.to)).or_default() += units;
            assert!(
                posting.from == Bucket::Outside || books[&(posting.product, posting.from)] >= 0
            );
        });
    }
    for product in cell.products() {
        let units = |bucket| {
            let sum = books.get(&(product.id, bucket)).copied().unwrap_or(0);
            u64::try_from(sum).expect("no bucket is ever below zero")
        };
        let booked = Stock {
            available: units(Bucket::Available),
            held: units(Bucket::Held),
            offered: units(Bucket::Offered),
            sold: units(Bucket::Sold),
            returning: units(Bucket::Returning),
            withdrawn: units(Bucket::Withdrawn),
            withdrawal_pending: product.stock.withdrawal_pending,
        };
        assert_eq!(booked, product.stock, "the books of {}", product.id);
    }
}
