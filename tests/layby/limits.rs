//! Everything has a bound: what happens at it, and that the rest goes on.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::support::{
    Key, Sale, Shop, Store, at_once, connect, eventually, line, on_each_database, text,
};

on_each_database! {
    more_requests_than_are_admitted_are_told_to_come_back,
    more_payments_than_are_admitted_are_told_to_come_back,
    an_account_holds_and_gives_up_only_so_many_orders,
    a_herd_at_the_opening_gets_what_there_is_and_no_more,
}

fn more_requests_than_are_admitted_are_told_to_come_back(store: Store) {
    let shop = Shop::open_with(store, &["--in-flight-max", "2"]);
    let lamp = shop.product(Sale::of(1_000_000));
    let mut accepted = 0;
    let turned_away = eventually("three requests meet", || {
        let requests: Vec<_> = shop
            .buyers(50)
            .into_iter()
            .map(|buyer| (buyer, Key::fresh()))
            .collect();
        let place = |(buyer, key): &(_, _)| {
            let buyer: &crate::support::Caller = buyer;
            buyer.place_under(key, &[line(&lamp, 1)])
        };
        let answers = at_once(&requests, place);
        accepted += answers.iter().filter(|it| it.status == 201).count();
        let mut refused = requests
            .iter()
            .zip(&answers)
            .filter(|(_, it)| it.status != 201);
        let (request, answer) = refused.next()?;
        let told = answer.is_refused(503, "overloaded");
        assert_eq!(told["retry_after"], 1);
        assert_eq!(answer.header("retry-after"), Some("1"));
        Some(request.clone())
    });
    assert_eq!(
        shop.units(&lamp).1,
        accepted as u64,
        "who was turned away holds nothing"
    );
    let (buyer, key) = turned_away;
    buyer.place_under(&key, &[line(&lamp, 1)]).is(201);
}

fn more_payments_than_are_admitted_are_told_to_come_back(store: Store) {
    let options = [
        "--payments-pending-max=1",
        "--payment-answer-ms=100",
        "--payment-call-ms=200",
    ];
    let shop = Shop::open_with(store, &options);
    let lamp = shop.product(Sale::of(10));
    let (alice, bob, key) = (shop.buyer(), shop.buyer(), Key::fresh());
    let (first, second) = (alice.hold(&lamp, 1), bob.hold(&lamp, 1));
    alice.pay(&first, "card_timeout").is(202);
    bob.pay_under(&key, &second, "card")
        .is_refused(503, "payments_busy");
    assert_eq!(bob.order(&second)["payments"], serde_json::json!([]));
    eventually("the first is settled", || {
        (alice.state(&first) == "paid").then_some(())
    });
    bob.pay_under(&key, &second, "card").is(201);
}

fn an_account_holds_and_gives_up_only_so_many_orders(store: Store) {
    let options = ["--open-orders-max", "2", "--ended-holds-max", "3"];
    let shop = Shop::open_with(store, &options);
    let lamp = shop.product(Sale::of(10));
    let (alice, bob) = (shop.buyer(), shop.buyer());
    for given_up in 0..3 {
        let held = [1, 1].map(|quantity| alice.hold(&lamp, quantity));
        let third = alice.place(&[line(&lamp, 1)]);
        let told = third.is_refused(429, "too_many_open_orders");
        assert_eq!(told["orders_max"], 2);
        alice.pay(&held[0], "card").is(201);
        assert_eq!(shop.units(&lamp), (8 - given_up, 1, 1 + given_up));
        alice.cancel(&held[1]).is(200);
    }
    let told = alice
        .place(&[line(&lamp, 1)])
        .is_refused(429, "too_many_ended_holds");
    assert_eq!(told["holds_max"], 3);
    bob.hold(&lamp, 1);
}

fn a_herd_at_the_opening_gets_what_there_is_and_no_more(store: Store) {
    let shop = Shop::open(store);
    let sale = Sale {
        opens_in_ms: 1_200,
        ..Sale::of(25)
    };
    let lamp = shop.product(sale);
    let opens_at: Timestamp = text(&shop.sale(&lamp)["window"], "opens_at")
        .parse()
        .expect("a time");
    let answers = at_once(&shop.buyers(150), |buyer| {
        // Asks until there is a definite answer.
        loop {
            let answer = buyer.place(&[line(&lamp, 1)]);
            if answer.code() != "not_open" {
                return answer;
            }
        }
    });
    let placed: Vec<Timestamp> = answers
        .iter()
        .filter(|it| it.status == 201)
        .map(|it| text(&it.json(), "placed_at").parse().expect("a time"))
        .collect();
    assert_eq!(placed.len(), 25);
    assert!(
        placed.iter().all(|at| *at >= opens_at),
        "somebody was let in early"
    );
    for answer in answers.iter().filter(|it| it.status != 201) {
        answer.is_refused(409, "all_held");
    }
    assert_eq!(shop.units(&lamp), (0, 25, 0));
}

#[test]
fn idle_connections_bother_nobody() {
    let mut shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(1_000));
    let idle: Vec<_> = (0..400).map(|_| connect(shop.url())).collect();
    for buyer in shop.buyers(20) {
        let asked = Instant::now();
        buyer.hold(&lamp, 1);
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{:?}",
            asked.elapsed()
        );
    }
    // Nor do they keep it from ending.
    shop.stop();
    drop(idle);
}
