//! How fast it is. Not run by default: `cargo test --release --lib persistence::tests::bench -- --ignored --nocapture`.

use std::time::Instant;

use super::shop::{Dice, Shop};
use super::store::{Store, run};
use crate::domain::*;
use crate::persistence::codec;
use crate::persistence::journal::Position;
use crate::persistence::projection::Projector;

const ORDERS: usize = 1_000_000;
const BATCH: usize = 2_000;

fn placed(dice: &mut Dice, product: ProductId, number: u64) -> Event {
    let buyer = BuyerId::new(dice.id());
    // Like a UUID of version 7: the time comes first.
    let unique = (u128::from(number) << 80) | (dice.id() >> 48);
    Event::OrderPlaced(OrderPlaced {
        order: OrderId::for_buyer(unique, buyer),
        buyer,
        key: KeyHash::new(dice.id()),
        fingerprint: Fingerprint(dice.next()),
        address: None,
        at: Timestamp::from_micros(number),
        deadline: Timestamp::from_micros(number + 300_000_000),
        lines: vec![Line {
            product,
            quantity: Quantity::new(1).expect("a quantity"),
            unit_price: Money {
                amount: 9_900,
                currency: Currency::parse("KRW").expect("a currency"),
            },
        }],
        offers: Vec::new(),
    })
}

async fn measure(store: &Store, name: &str) {
    let mut dice = Dice::new(1);
    let mut shop = Shop::default();
    shop.register(&mut dice);
    let product = *shop.products.keys().next().expect("a product");
    let (change, postings) = shop.products[&product]
        .decide_stock(10_000_000)
        .expect("stock");
    shop.record(Event::ProductChanged {
        product,
        at: Timestamp::ZERO,
        mark: AdminMark {
            admin: BuyerId::new(1),
            request: RequestId::new(1),
        },
        change,
        postings,
    });
    let mut projector = Projector::open(&store.database).await.expect("a projector");
    projector
        .apply_events(&shop.batch())
        .await
        .expect("a product");

    let mut position = projector.position();
    let began = Instant::now();
    let mut first = Vec::new();
    for start in (0..ORDERS).step_by(BATCH) {
        let mut batch: Vec<(Position, Event)> = Vec::with_capacity(BATCH);
        for number in start..start + BATCH {
            position = position.next();
            batch.push((position, placed(&mut dice, product, number as u64)));
        }
        projector.apply_events(&batch).await.expect("a batch");
        if (start + BATCH).is_multiple_of(100_000) {
            println!(
                "{name}: {} after {:.2} s",
                start + BATCH,
                began.elapsed().as_secs_f64()
            );
        }
        if first.len() < 100_000 {
            first.append(&mut batch);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{name}: placed {ORDERS} orders in {seconds:.2} s: {:.0} a second",
        ORDERS as f64 / seconds
    );

    let began = Instant::now();
    let loaded = store.load_live(Timestamp::MAX).await.expect("a load");
    println!(
        "{name}: loaded {} orders in {:.2} s",
        loaded.orders.len(),
        began.elapsed().as_secs_f64()
    );
    drop(loaded);

    let began = Instant::now();
    for chunk in first.chunks(BATCH) {
        let batch: Vec<_> = chunk
            .iter()
            .map(|(_, event)| {
                position = position.next();
                let Event::OrderPlaced(placed) = event else {
                    unreachable!()
                };
                (
                    position,
                    Event::OrderChanged {
                        order: placed.order,
                        at: placed.deadline,
                        mark: None,
                        change: OrderChange::Expired,
                        postings: vec![Posting {
                            product,
                            from: Bucket::Held,
                            to: Bucket::Available,
                            units: 1,
                        }],
                    },
                )
            })
            .collect();
        projector.apply_events(&batch).await.expect("a batch");
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{name}: expired {} orders in {seconds:.2} s: {:.0} a second",
        first.len(),
        first.len() as f64 / seconds
    );
}

#[test]
#[ignore = "takes a minute; run it in release"]
fn a_million_orders_on_sqlite() {
    run(async {
        let store = Store::sqlite().await;
        measure(&store, "SQLite").await;
        store.end().await;
    });
}

#[test]
#[ignore = "takes a minute; run it in release"]
fn a_million_orders_on_mysql() {
    run(async {
        let store = Store::mysql().await;
        measure(&store, "MySQL").await;
        store.end().await;
    });
}

#[test]
#[ignore = "run it in release"]
fn a_million_records() {
    let mut dice = Dice::new(1);
    let event = placed(&mut dice, ProductId::new(1), 1);
    let mut out = Vec::with_capacity(256);
    let began = Instant::now();
    for _ in 0..ORDERS {
        out.clear();
        codec::encode(std::hint::black_box(&event), &mut out);
    }
    println!(
        "encoded in {:.0} ns a record of {} bytes",
        began.elapsed().as_nanos() as f64 / ORDERS as f64,
        out.len()
    );
    let began = Instant::now();
    for _ in 0..ORDERS {
        std::hint::black_box(codec::decode(std::hint::black_box(&out)).expect("an event"));
    }
    println!(
        "decoded in {:.0} ns a record",
        began.elapsed().as_nanos() as f64 / ORDERS as f64
    );
}
