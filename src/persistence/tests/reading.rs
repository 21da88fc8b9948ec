//! Pages for people, accounts, and books that do not add up.

use super::shop::Shop;
use super::store::{Store, execute, on_each_engine, run};
use crate::domain::*;
use crate::persistence::database::{
    ConnectError, Database, Error, Options, OrderFilter, verify_books,
};
use crate::persistence::journal::Position;
use crate::persistence::projection::Projector;

async fn shop_in(store: &Store, seed: u64, steps: usize) -> Shop {
    let shop = Shop::after(seed, steps);
    let mut projector = Projector::open(&store.database).await.expect("a projector");
    projector
        .apply_events(&shop.batch())
        .await
        .expect("a batch");
    shop
}

/// Reads page after page, the next one after the last order of the one before.
async fn all_pages(page: impl AsyncFn(Option<OrderId>) -> Result<Vec<Order>, Error>) -> Vec<Order> {
    let mut all: Vec<Order> = Vec::new();
    loop {
        let next = page(all.last().map(|it| it.id)).await.expect("a page");
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

fn newest_first(orders: impl Iterator<Item = Order>) -> Vec<Order> {
    let mut orders: Vec<Order> = orders.collect();
    orders.sort_by_key(|order| std::cmp::Reverse(order.sequence));
    orders
}

#[test]
fn an_order_is_read_as_it_is() {
    on_each_engine(async |store| {
        let shop = shop_in(store, 20, 800).await;
        for order in shop.orders.values() {
            let read = store.database.order(order.id).await.expect("a read");
            assert_eq!(read.as_ref(), Some(order));
        }
        let none = store.database.order(OrderId::new(1)).await.expect("a read");
        assert_eq!(none, None);
    });
}

#[test]
fn pages_show_the_newest_first_and_leave_nothing_out() {
    on_each_engine(async |store| {
        let shop = shop_in(store, 21, 800).await;
        let database = &store.database;
        let orders = || shop.orders.values().cloned();

        let all = all_pages(async |after| {
            database
                .orders_for_admin(OrderFilter::default(), after, 7)
                .await
        })
        .await;
        assert_eq!(all, newest_first(orders()));

        let of = |buyer| orders().filter(move |it| it.buyer == buyer);
        let buyer = orders().map(|it| it.buyer).max_by_key(|it| of(*it).count());
        let buyer = buyer.expect("somebody bought something");
        let own = all_pages(async |after| database.orders_of(buyer, after, 2).await).await;
        assert_eq!(own, newest_first(of(buyer)));
        assert!(own.len() > 2);

        for product in shop.products.keys().copied() {
            let filter = OrderFilter {
                product: Some(product),
                ..OrderFilter::default()
            };
            let page = async |after| database.orders_for_admin(filter, after, 5).await;
            let has = |order: &Order| order.lines.iter().any(|line| line.product == product);
            assert_eq!(all_pages(page).await, newest_first(orders().filter(has)));
        }
    });
}

#[test]
fn a_filter_lets_through_what_is_everything_it_says() {
    on_each_engine(async |store| {
        let shop = shop_in(store, 26, 1_200).await;
        let mut found = 0;
        for product in shop.products.keys().copied().map(Some).chain([None]) {
            for state in OrderState::ALL {
                for buyer in [None, Some(BuyerId::new(3)), Some(BuyerId::new(4))] {
                    let filter = OrderFilter {
                        product,
                        buyer,
                        state: Some(state),
                    };
                    let page =
                        async |after| store.database.orders_for_admin(filter, after, 3).await;
                    let passes = |order: &Order| {
                        let has = |it| order.lines.iter().any(|line| line.product == it);
                        order.state == state
                            && buyer.is_none_or(|it| order.buyer == it)
                            && product.is_none_or(has)
                    };
                    let wanted = shop.orders.values().filter(|it| passes(it)).cloned();
                    let got = all_pages(page).await;
                    found += got.len();
                    assert_eq!(got, newest_first(wanted), "{filter:?}");
                }
            }
        }
        assert!(found > 100, "only {found} orders were found");
    });
}

#[test]
fn the_order_of_somebody_else_is_like_none() {
    on_each_engine(async |store| {
        let shop = shop_in(store, 22, 300).await;
        let newest = newest_first(shop.orders.values().cloned());
        let (mine, theirs) = (
            &newest[0],
            newest.iter().find(|it| it.buyer != newest[0].buyer),
        );
        let theirs = theirs.expect("another buyer").id;
        for after in [theirs, OrderId::new(1)] {
            let page = store.database.orders_of(mine.buyer, Some(after), 10).await;
            assert_eq!(page.expect("a page"), []);
        }
    });
}

#[test]
fn each_act_of_an_admin_is_in_the_audit_log_once() {
    on_each_engine(async |store| {
        let shop = shop_in(store, 23, 500).await;
        let mut before = u64::MAX;
        let mut entries = Vec::new();
        loop {
            let page = store.database.audit(before, 3).await.expect("a page");
            let Some(last) = page.last() else { break };
            before = last.position.get();
            entries.extend(page);
        }
        entries.reverse();
        let acts: Vec<_> = shop
            .batch()
            .into_iter()
            .filter_map(|(position, event)| match event {
                Event::ProductChanged {
                    product, at, mark, ..
                } => Some((position, Some(product), None, at, mark)),
                Event::OrderChanged {
                    order,
                    at,
                    mark: Some(mark),
                    ..
                } => Some((position, None, Some(order), at, mark)),
                Event::OrderPlaced(_)
                | Event::OrderChanged { .. }
                | Event::WaitlistChanged { .. } => None,
            })
            .collect();
        let logged: Vec<_> = entries
            .iter()
            .map(|it| (it.position, it.product, it.order, it.at, it.mark))
            .collect();
        assert_eq!(logged, acts);
        for act in ["order_shipped", "order_delivered", "return_accepted"] {
            assert!(entries.iter().any(|it| &*it.act == act), "no {act}");
        }
        let shipped = entries.iter().find(|it| &*it.act == "order_shipped");
        let shipped = shipped.expect("a shipment");
        assert_eq!(shipped.before.as_deref(), Some(r#"{"state":"paid"}"#));
        let after: serde_json::Value =
            serde_json::from_str(shipped.after.as_deref().expect("JSON")).expect("JSON");
        assert_eq!(
            after,
            serde_json::json!({"state": "shipped", "carrier": "Hanjin", "tracking_number": "한진-1234"})
        );
        let first = &entries[0];
        assert_eq!(
            (&*first.act, first.before.as_deref(), first.position),
            ("registered", None, Position::new(1))
        );
        let after: serde_json::Value =
            serde_json::from_str(first.after.as_deref().expect("JSON")).expect("JSON");
        assert_eq!(after["price"]["currency"], "KRW");
    });
}

#[test]
fn books_that_do_not_add_up_are_told_product_by_product() {
    on_each_engine(async |store| {
        let shop = shop_in(store, 24, 600).await;
        let product = shop.products.keys().next().expect("a product");
        let order = shop.orders.values().next().expect("an order");
        let held = shop.products.values().find(|it| it.stock.in_hand() > 0);
        let hand = held.and_then(|it| Some((it.id, it.people()?.next()?)));
        let (sold, (buyer, units)) = hand.expect("somebody with units");
        for statement in [
            format!(
                "UPDATE in_hand SET units = units + 3 WHERE product = X'{:032x}' AND buyer = X'{:032x}'",
                sold.get(),
                buyer.get()
            ),
            format!("UPDATE products SET stock_held = stock_held + 1 WHERE id = X'{:032x}'", product.get()),
            format!("UPDATE products SET stock_available = -5 WHERE id = X'{:032x}'", product.get()),
            format!("UPDATE orders SET total = total - 1 WHERE id = X'{:032x}'", order.id.get()),
            "INSERT INTO order_lines VALUES (999999, 0, X'00000000000000000000000000000009', 1, 1, 'KRW')".to_owned(),
        ] {
            execute(&store.address, statement).await;
        }
        let faults = verify_books(&store.database)
            .await
            .expect("a check")
            .join("\n");
        for told in [
            format!("product {product}: held is"),
            format!("product {product}: available is -5"),
            format!("order {}: its total is", order.id),
            format!(
                "product {sold}: {buyer} has {} in hand, but the orders and the waitlist make {units}",
                units + 3
            ),
            "belongs to record 999999, which is no order".to_owned(),
        ] {
            assert!(faults.contains(&told), "{told} is not in\n{faults}");
        }
    });
}

#[test]
fn a_client_that_hangs_up_leaves_the_connection_clean() {
    on_each_engine(async |store| {
        let shop = shop_in(store, 25, 300).await;
        let order = shop.orders.values().next().expect("an order");
        for micros in 0..60 {
            let life = std::time::Duration::from_micros(micros * 20);
            let read = store.database.order(order.id);
            drop(tokio::time::timeout(life, read).await);
            let read = store.database.order(order.id).await.expect("a read");
            assert_eq!(read.as_ref(), Some(order));
        }
    });
}

#[test]
fn a_database_that_is_not_there_is_told_with_the_next_step() {
    run(async {
        let told = async |address: &str| match Database::connect(address, Options::default()).await
        {
            Ok(_) => panic!("{address} answered"),
            Err(error) => error,
        };
        let error = told("postgres://u:secret@db/x").await;
        assert!(matches!(error, ConnectError::Address { .. }), "{error}");
        let error = told("mysql://layby:secret@127.0.0.1:1/x").await;
        assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
        assert!(
            error.to_string().contains("mysql://layby@127.0.0.1:1/x"),
            "{error}"
        );
        assert!(
            !format!("{error:?} {error}").contains("secret"),
            "{error:?}"
        );
        let server = super::store::mysql_server();
        let error = told(&format!(
            "{}/layby_no_such_database",
            server.trim_end_matches('/')
        ))
        .await;
        assert!(
            matches!(error, ConnectError::UnknownDatabase { .. }),
            "{error}"
        );
        let (_, place) = server.rsplit_once('@').expect("a user");
        let error = told(&format!("mysql://layby:wrong-secret@{place}/mysql")).await;
        assert!(
            matches!(error, ConnectError::AccessDenied { .. }),
            "{error}"
        );
        assert!(
            !format!("{error:?} {error}").contains("wrong-secret"),
            "{error:?}"
        );
    });
}
