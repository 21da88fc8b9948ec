//! Placing, reading and cancelling orders.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{
    Answer, Key, Sale, Shop, Store, at_once, eventually, line, on_each_database, pause, text,
};

on_each_database! {
    an_order_holds_units_and_says_until_when,
    an_order_is_visible_at_once_and_to_its_buyer_alone,
    a_strangers_order_answers_like_one_that_does_not_exist,
    a_repeat_gets_the_same_bytes_whatever_has_happened_since,
    a_refused_request_may_be_made_again_under_its_key,
    a_key_with_another_body_is_refused,
    a_key_is_its_users_own,
    one_key_in_fifty_requests_at_once_is_one_order,
    every_request_sent_three_times_at_once_has_one_effect,
    ten_units_go_to_ten_of_two_hundred_at_once,
    the_limit_counts_what_a_person_holds_and_has_bought,
    the_limit_holds_in_twenty_tabs_at_once,
    nobody_is_blocked_by_their_own_stale_hold,
    an_order_of_several_products_is_all_or_nothing,
    two_orders_that_want_the_same_products_crosswise_do_not_both_fail_halfway,
    an_order_in_two_currencies_is_refused,
    a_product_that_nobody_knows_is_not_found,
    nothing_is_held_before_the_window_opens,
    the_window_opens_and_closes_by_itself,
    while_paused_nobody_holds_anew_and_holders_may_pay,
    a_hold_ends_at_its_deadline_and_its_unit_goes_to_the_next,
    a_hold_that_ends_while_the_server_is_down_is_over_when_it_is_back,
    a_cancelled_hold_gives_its_units_back_once,
    an_expired_order_can_not_be_cancelled,
    the_price_is_frozen_at_the_hold,
    the_list_of_orders_comes_in_pages_newest_first,
}

fn an_order_holds_units_and_says_until_when(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let answer = shop.buyer().place(&[line(&lamp, 3)]);
    let order = answer.is(201);

    let location = format!("/v1/orders/{}", text(&order, "id"));
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert_eq!(order["state"], "held");
    assert_eq!(
        order["total"],
        json!({"amount": 117_000, "currency": "KRW"})
    );
    assert_eq!(
        order["lines"],
        json!([{"product_id": lamp, "quantity": 3, "unit_price": {"amount": 39_000, "currency": "KRW"}}])
    );
    assert_eq!(seconds_between(&order, "placed_at", "pay_by"), 300.0);
    assert!(order["sequence"].as_u64() > Some(0), "{order}");
    assert_eq!(shop.units(&lamp), (7, 3, 0));
}

fn an_order_is_visible_at_once_and_to_its_buyer_alone(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let (alice, bob) = (shop.buyer(), shop.buyer());
    let order = alice.hold(&lamp, 1);

    let seen = alice.order(&order);
    for field in [
        "id",
        "state",
        "pay_by",
        "lines",
        "total",
        "sequence",
        "placed_at",
    ] {
        assert_eq!(seen[field], order[field], "{field}");
    }
    assert_eq!(text(&seen, "buyer_id"), alice.id.to_string());
    assert_eq!(ids(&alice.get("/v1/orders").is(200)), [text(&order, "id")]);
    assert!(ids(&bob.get("/v1/orders").is(200)).is_empty());
}

fn a_strangers_order_answers_like_one_that_does_not_exist(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let (alice, mallory) = (shop.buyer(), shop.buyer());
    let foreign = alice.hold(&lamp, 1);
    let unknown = json!({"id": uuid::Uuid::now_v7().to_string()});

    let attempts: [&dyn Fn(&Value) -> Answer; 3] = [
        &|order| mallory.get(&format!("/v1/orders/{}", text(order, "id"))),
        &|order| mallory.cancel(order),
        &|order| mallory.pay(order, "card"),
    ];
    for attempt in attempts {
        let (about_foreign, about_unknown) = (attempt(&foreign), attempt(&unknown));
        about_foreign.is_refused(404, "not_found");
        assert_eq!(about_foreign.status, about_unknown.status);
        assert_eq!(
            without_request_id(&about_foreign),
            without_request_id(&about_unknown)
        );
    }
    assert_eq!(alice.state(&foreign), "held");
    assert_eq!(shop.units(&lamp), (9, 1, 0));
}

fn a_repeat_gets_the_same_bytes_whatever_has_happened_since(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let (alice, key) = (shop.buyer(), Key::fresh());
    let lines = [line(&lamp, 2)];
    let first = alice.place_under(&key, &lines);
    let order = first.is(201);
    let same = |again: &Answer| {
        assert_eq!(
            (again.status, &again.body),
            (first.status, &first.body),
            "{again}"
        );
    };

    same(&alice.place_under(&key, &lines));
    alice.pay(&order, "card").is(201);
    same(&alice.place_under(&key, &lines));
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    same(&alice.place_under(&key, &lines));
    alice.cancel(&order).is(200);
    same(&alice.place_under(&key, &lines));
    shop.stop();
    shop.start();
    let alice = alice.at(shop.url());
    same(&alice.place_under(&key, &lines));
    assert_eq!(shop.units(&lamp), (10, 0, 0));
}

fn a_refused_request_may_be_made_again_under_its_key(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let (alice, bob, key) = (shop.buyer(), shop.buyer(), Key::fresh());
    let taken = alice.hold(&lamp, 1);
    let lines = [line(&lamp, 1)];
    bob.place_under(&key, &lines).is_refused(409, "all_held");
    alice.cancel(&taken).is(200);
    bob.place_under(&key, &lines).is(201);
}

fn a_key_with_another_body_is_refused(store: Store) {
    let mut shop = Shop::open(store);
    let (lamp, desk) = (shop.product(Sale::of(10)), shop.product(Sale::of(10)));
    let (alice, key) = (shop.buyer(), Key::fresh());
    alice.place_under(&key, &[line(&lamp, 1)]).is(201);
    let refuses = |alice: &crate::support::Caller| {
        for lines in [
            vec![line(&lamp, 2)],
            vec![line(&desk, 1)],
            vec![line(&lamp, 1), line(&desk, 1)],
        ] {
            alice
                .place_under(&key, &lines)
                .is_refused(422, "idempotency_key_reused");
        }
    };
    refuses(&alice);
    shop.kill_and_start();
    refuses(&alice.at(shop.url()));
    assert_eq!(shop.units(&lamp), (9, 1, 0));
    assert_eq!(shop.units(&desk), (10, 0, 0));
}

fn a_key_is_its_users_own(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let key = Key::fresh();
    let people = shop.buyers(3);
    let placed: Vec<String> = people
        .iter()
        .zip(1..)
        .map(|(person, quantity)| {
            let order = person.place_under(&key, &[line(&lamp, quantity)]).is(201);
            // The same key again, on another route.
            person.pay_under(&key, &order, "card").is(201);
            text(&order, "id")
        })
        .collect();
    assert!(
        placed[0] != placed[1] && placed[1] != placed[2],
        "{placed:?}"
    );
    assert_eq!(shop.units(&lamp), (4, 0, 6));
}

fn one_key_in_fifty_requests_at_once_is_one_order(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(100));
    let (alice, key) = (shop.buyer(), Key::fresh());
    let answers = at_once(&vec![alice.clone(); 50], |alice| {
        alice.place_under(&key, &[line(&lamp, 2)])
    });
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (201, &answers[0].body));
    }
    assert_eq!(shop.units(&lamp), (98, 2, 0));
    assert_eq!(ids(&alice.get("/v1/orders").is(200)).len(), 1);
}

fn every_request_sent_three_times_at_once_has_one_effect(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1_000));
    let requests: Vec<_> = shop
        .buyers(30)
        .into_iter()
        .map(|buyer| (buyer, Key::fresh()))
        .collect();
    let mut duplicated: Vec<_> = (0..3).flat_map(|_| requests.clone()).collect();
    duplicated.rotate_left(17);
    let answers = at_once(&duplicated, |(buyer, key)| {
        let order = buyer.place_under(key, &[line(&lamp, 1)]).is(201);
        let paid = buyer.pay_under(key, &order, "card").is(201);
        (buyer.id, text(&order, "id"), text(&paid, "id"))
    });
    for (buyer, _) in &requests {
        let mut seen: Vec<_> = answers.iter().filter(|(id, ..)| *id == buyer.id).collect();
        seen.dedup();
        assert_eq!(seen.len(), 1, "{seen:?}");
    }
    assert_eq!(shop.units(&lamp), (970, 0, 30));
    assert_eq!(shop.provider_books().captured().len(), 30);
}

fn ten_units_go_to_ten_of_two_hundred_at_once(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let answers = at_once(&shop.buyers(200), |buyer| buyer.place(&[line(&lamp, 1)]));
    let (held, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 201);
    assert_eq!(held.len(), 10);
    for answer in refused {
        let told = answer.is_refused(409, "all_held");
        assert_eq!(told["available"], 0, "{told}");
    }
    let mut sequences: Vec<u64> = held
        .iter()
        .filter_map(|it| it.json()["sequence"].as_u64())
        .collect();
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!(
        sequences.len(),
        10,
        "each has a place of its own in the order of decisions"
    );
    assert_eq!(shop.units(&lamp), (0, 10, 0));
}

fn the_limit_counts_what_a_person_holds_and_has_bought(store: Store) {
    let shop = Shop::open(store);
    let sale = Sale {
        limit: Some(2),
        ..Sale::of(10)
    };
    let lamp = shop.product(sale);
    let alice = shop.buyer();
    let refused = |quantity, in_hand, live_order: Value| {
        let told = alice
            .place(&[line(&lamp, quantity)])
            .is_refused(409, "limit_reached");
        assert_eq!(
            (&told["limit"], &told["in_hand"], &told["order_id"]),
            (&json!(2), &json!(in_hand), &live_order)
        );
    };
    refused(3, 0, Value::Null);
    let first = alice.hold(&lamp, 1);
    refused(2, 1, first["id"].clone());
    let second = alice.hold(&lamp, 1);
    assert_ne!(
        first["id"], second["id"],
        "within the limit it is a new order"
    );
    refused(1, 2, first["id"].clone());

    alice.pay(&first, "card").is(201);
    refused(1, 2, second["id"].clone());
    alice.pay(&second, "card").is(201);
    refused(1, 2, Value::Null);
    alice.cancel(&first).is(200);
    alice.hold(&lamp, 1);
    refused(
        1,
        2,
        alice.get("/v1/orders").is(200)["items"][0]["id"].clone(),
    );
    assert_eq!(shop.units(&lamp), (8, 1, 1));
    shop.buyer().hold(&lamp, 2);
}

fn the_limit_holds_in_twenty_tabs_at_once(store: Store) {
    let shop = Shop::open(store);
    let sale = Sale {
        limit: Some(1),
        ..Sale::of(100)
    };
    let lamp = shop.product(sale);
    let alice = shop.buyer();
    let answers = at_once(&vec![alice; 20], |alice| alice.place(&[line(&lamp, 1)]));
    let held: Vec<_> = answers.iter().filter(|it| it.status == 201).collect();
    assert_eq!(held.len(), 1);
    for answer in answers.iter().filter(|it| it.status != 201) {
        let told = answer.is_refused(409, "limit_reached");
        assert_eq!(told["order_id"], held[0].json()["id"]);
    }
}

fn nobody_is_blocked_by_their_own_stale_hold(store: Store) {
    let shop = Shop::open(store);
    let sale = Sale {
        limit: Some(1),
        hold_seconds: 1,
        ..Sale::of(1)
    };
    let lamp = shop.product(sale);
    let alice = shop.buyer();
    let first = alice.hold(&lamp, 1);
    let again = eventually("the stale hold is over", || {
        let answer = alice.place(&[line(&lamp, 1)]);
        (answer.status == 201).then(|| answer.json())
    });
    let (deadline, placed) = (time(&first, "pay_by"), time(&again, "placed_at"));
    assert!(placed >= deadline, "{placed} < {deadline}");
    assert_eq!(alice.state(&first), "expired");
}

fn an_order_of_several_products_is_all_or_nothing(store: Store) {
    let shop = Shop::open(store);
    let [plenty, held, sold, few] = [5, 1, 1, 2].map(|stock| shop.product(Sale::of(stock)));
    let other = shop.buyer();
    other.hold(&held, 1);
    let bought = other.hold(&sold, 1);
    other.pay(&bought, "card").is(201);

    let alice = shop.buyer();
    let lines = [line(&plenty, 1), line(&held, 1), line(&few, 3)];
    let told = alice.place(&lines).is_refused(409, "all_held");
    assert_eq!(
        short(&told),
        [(held.clone(), 0, "all_held"), (few.clone(), 2, "available")]
    );
    let lines = [line(&sold, 1), line(&held, 1), line(&plenty, 1)];
    let told = alice.place(&lines).is_refused(409, "sold_out");
    assert_eq!(
        short(&told),
        [(sold.clone(), 0, "sold_out"), (held.clone(), 0, "all_held")]
    );
    let told = alice
        .place(&[line(&few, 3), line(&plenty, 6)])
        .is_refused(409, "insufficient_stock");
    assert_eq!(
        short(&told),
        [
            (few.clone(), 2, "available"),
            (plenty.clone(), 5, "available")
        ]
    );
    assert_eq!(shop.units(&plenty), (5, 0, 0), "a refusal holds nothing");
    assert_eq!(shop.units(&few), (2, 0, 0));

    let order = alice.place(&[line(&plenty, 2), line(&few, 2)]).is(201);
    assert_eq!(
        (shop.units(&plenty), shop.units(&few)),
        ((3, 2, 0), (0, 2, 0))
    );
    alice.pay(&order, "card").is(201);
    assert_eq!(
        (shop.units(&plenty), shop.units(&few)),
        ((3, 0, 2), (0, 0, 2))
    );
    alice.cancel(&order).is(200);
    assert_eq!(
        (shop.units(&plenty), shop.units(&few)),
        ((5, 0, 0), (2, 0, 0))
    );
}

fn two_orders_that_want_the_same_products_crosswise_do_not_both_fail_halfway(store: Store) {
    let shop = Shop::open(store);
    let (lamp, desk) = (shop.product(Sale::of(1)), shop.product(Sale::of(1)));
    let there = [line(&lamp, 1), line(&desk, 1)];
    let back = [line(&desk, 1), line(&lamp, 1)];
    let ways = [there, back];
    let buyers: Vec<_> = shop
        .buyers(20)
        .into_iter()
        .zip(ways.iter().cycle())
        .collect();
    let answers = at_once(&buyers, |(buyer, lines)| buyer.place(*lines).status);
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 1);
    assert_eq!(
        (shop.units(&lamp), shop.units(&desk)),
        ((0, 1, 0), (0, 1, 0))
    );
}

fn an_order_in_two_currencies_is_refused(store: Store) {
    let shop = Shop::open(store);
    let (lamp, desk) = (shop.product(Sale::of(5)), shop.product(Sale::of(5)));
    let dollars = json!({"price": {"amount": 1_999, "currency": "USD"}});
    shop.edit(&desk, &dollars).is(200);
    shop.buyer()
        .place(&[line(&lamp, 1), line(&desk, 1)])
        .is_refused(409, "currency_mismatch");
    assert_eq!(
        (shop.units(&lamp), shop.units(&desk)),
        ((5, 0, 0), (5, 0, 0))
    );
}

fn a_product_that_nobody_knows_is_not_found(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let nothing = uuid::Uuid::now_v7().to_string();
    let alice = shop.buyer();
    alice
        .place(&[line(&nothing, 1)])
        .is_refused(404, "not_found");
    alice
        .place(&[line(&lamp, 1), line(&nothing, 1)])
        .is_refused(404, "not_found");
    assert_eq!(shop.units(&lamp), (5, 0, 0));
}

fn nothing_is_held_before_the_window_opens(store: Store) {
    let shop = Shop::open(store);
    let sale = Sale {
        opens_in_ms: 3_600_000,
        ..Sale::of(5)
    };
    let (later, never) = (shop.product(sale), shop.unscheduled_product(sale));
    let alice = shop.buyer();
    let told = alice.place(&[line(&later, 1)]).is_refused(409, "not_open");
    assert_eq!(
        told["opens_at"],
        alice.get(&format!("/v1/products/{later}")).is(200)["window"]["opens_at"]
    );
    assert!(time(&told, "server_time") < time(&told, "opens_at"));
    let told = alice.place(&[line(&never, 1)]).is_refused(409, "not_open");
    assert_eq!(told["opens_at"], Value::Null);
    assert_eq!(
        (shop.units(&later), shop.units(&never)),
        ((5, 0, 0), (5, 0, 0))
    );
}

fn the_window_opens_and_closes_by_itself(store: Store) {
    // Each buyer takes as many as there is time for.
    let shop = Shop::open_with(store, &["--open-orders-max", "0"]);
    let sale = Sale {
        opens_in_ms: 700,
        closes_in_ms: Some(1_700),
        ..Sale::of(100_000)
    };
    let lamp = shop.product(sale);
    let window = shop.sale(&lamp)["window"].clone();
    let (opens_at, closes_at) = (time(&window, "opens_at"), time(&window, "closes_at"));
    let buyers = shop.buyers(8);
    let held = at_once(&buyers, |buyer| {
        let mut held: Vec<Value> = Vec::new();
        loop {
            let answer = buyer.place(&[line(&lamp, 1)]);
            match answer.code().as_str() {
                "" => held.push(answer.is(201)),
                "not_open" => assert!(held.is_empty(), "it had opened: {answer}"),
                _ => {
                    answer.is_refused(409, "closed");
                    return held;
                }
            }
        }
    });
    for order in held.iter().flatten() {
        let placed = time(order, "placed_at");
        assert!(opens_at <= placed && placed < closes_at, "{order}");
    }
    let firsts = held.iter().filter_map(|held| held.first());
    let first = firsts
        .map(|order| time(order, "placed_at"))
        .min()
        .expect("it opened");
    let late = first.duration_since(opens_at).as_secs_f64();
    assert!(late < 0.5, "the first hold came {late} s after the opening");

    let order = held[0].first().expect("everybody got some");
    buyers[0].pay(order, "card").is(201);
    assert_eq!(
        buyers[0].state(order),
        "paid",
        "live holds may pay after the end"
    );
}

fn while_paused_nobody_holds_anew_and_holders_may_pay(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, bob) = (shop.buyer(), shop.buyer());
    let order = alice.hold(&lamp, 1);
    assert_eq!(
        shop.window_act(&lamp, "pause").is(200)["window"]["state"],
        "paused"
    );
    bob.place(&[line(&lamp, 1)]).is_refused(409, "paused");
    assert_eq!(
        alice.order(&order)["pay_by"],
        order["pay_by"],
        "live holds keep their deadline"
    );
    alice.pay(&order, "card").is(201);
    assert_eq!(shop.units(&lamp), (4, 0, 1));
    shop.window_act(&lamp, "resume").is(200);
    bob.hold(&lamp, 1);
}

fn a_hold_ends_at_its_deadline_and_its_unit_goes_to_the_next(store: Store) {
    let shop = Shop::open(store);
    let sale = Sale {
        hold_seconds: 1,
        ..Sale::of(1)
    };
    let lamp = shop.product(sale);
    let (alice, bob) = (shop.buyer(), shop.buyer());
    let stale = alice.hold(&lamp, 1);
    let resold = eventually("the unit comes back", || {
        let answer = bob.place(&[line(&lamp, 1)]);
        if answer.status == 201 {
            return Some(answer.json());
        }
        let told = answer.is_refused(409, "all_held");
        assert_eq!(told["earliest_deadline"], stale["pay_by"]);
        None
    });
    let (deadline, placed) = (time(&stale, "pay_by"), time(&resold, "placed_at"));
    let late = placed.duration_since(deadline).as_secs_f64();
    assert!(
        (0.0..1.0).contains(&late),
        "resold {late} s after the deadline"
    );
    assert_eq!(alice.state(&stale), "expired");
    assert_eq!(shop.units(&lamp), (0, 1, 0));

    eventually("a hold ends by a timer, with nobody asking", || {
        let lamp = shop.visitor().get(&format!("/v1/products/{lamp}")).is(200);
        (lamp["availability"] == "available").then_some(())
    });
    assert_eq!(bob.state(&resold), "expired");
}

fn a_hold_that_ends_while_the_server_is_down_is_over_when_it_is_back(store: Store) {
    let mut shop = Shop::open(store);
    let sale = Sale {
        hold_seconds: 1,
        ..Sale::of(1)
    };
    let lamp = shop.product(sale);
    let alice = shop.buyer();
    let stale = alice.hold(&lamp, 1);
    shop.kill();
    while Timestamp::now() <= time(&stale, "pay_by") {
        pause(std::time::Duration::from_millis(50));
    }
    shop.start();
    shop.buyer().hold(&lamp, 1);
    assert_eq!(alice.at(shop.url()).state(&stale), "expired");
}

fn a_cancelled_hold_gives_its_units_back_once(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 2);
    let other = alice.hold(&lamp, 1);
    let first = alice.cancel(&order);
    assert_eq!(first.is(200)["state"], "cancelled");
    at_once(&vec![alice.clone(); 10], |alice| {
        assert_eq!(alice.cancel(&order).body, first.body);
    });
    assert_eq!(shop.units(&lamp), (4, 1, 0));
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    assert_eq!(alice.cancel(&order).body, first.body);
    alice.pay(&order, "card").is_refused(409, "order_cancelled");
    assert_eq!(alice.state(&other), "held");
    assert_eq!(shop.units(&lamp), (4, 1, 0));
}

fn an_expired_order_can_not_be_cancelled(store: Store) {
    let shop = Shop::open(store);
    let sale = Sale {
        hold_seconds: 1,
        ..Sale::of(1)
    };
    let lamp = shop.product(sale);
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    eventually("the hold is over", || {
        (alice.state(&order) == "expired").then_some(())
    });
    for _ in 0..2 {
        let told = alice.cancel(&order).is_refused(409, "hold_expired");
        assert_eq!(told["expired_at"], order["pay_by"]);
    }
    assert_eq!(shop.units(&lamp), (1, 0, 0));
}

fn the_price_is_frozen_at_the_hold(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let before = alice.hold(&lamp, 2);
    let dearer = json!({"price": {"amount": 50_000, "currency": "KRW"}});
    shop.edit(&lamp, &dearer).is(200);
    let after = alice.hold(&lamp, 2);
    assert_eq!(alice.order(&before)["total"]["amount"], 78_000);
    assert_eq!(alice.order(&after)["total"]["amount"], 100_000);
    assert_eq!(
        alice.pay(&before, "card").is(201)["amount"]["amount"],
        78_000
    );
}

fn the_list_of_orders_comes_in_pages_newest_first(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(100));
    let (alice, bob) = (shop.buyer(), shop.buyer());
    let mut placed: Vec<String> = (0..7)
        .map(|number| {
            bob.hold(&lamp, 1);
            let order = alice.hold(&lamp, 1);
            match number % 3 {
                0 => drop(alice.cancel(&order).is(200)),
                1 => drop(alice.pay(&order, "card").is(201)),
                _ => {}
            }
            text(&order, "id")
        })
        .collect();
    placed.reverse();
    let pages = |alice: &crate::support::Caller| {
        let mut listed: Vec<Vec<String>> = Vec::new();
        let mut after = String::new();
        loop {
            let page = alice.get(&format!("/v1/orders?limit=3{after}")).is(200);
            listed.push(ids(&page));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return listed,
            }
        }
    };
    let expected: Vec<Vec<String>> = placed.chunks(3).map(<[String]>::to_vec).collect();
    assert_eq!(pages(&alice), expected);
    shop.catches_up();
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    assert_eq!(pages(&alice), expected);
    let whole = alice.get("/v1/orders?limit=7").is(200);
    assert_eq!((ids(&whole), &whole["next"]), (placed, &Value::Null));
}

// -- reading answers ---------------------------------------------------------------------------------------------

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
    items.iter().map(|item| text(item, "id")).collect()
}

fn short(told: &Value) -> Vec<(String, u64, &str)> {
    let lines = told["short"].as_array().unwrap_or_else(|| panic!("{told}"));
    lines
        .iter()
        .map(|line| {
            let available = line["available"].as_u64().unwrap_or(u64::MAX);
            let word = line["availability"].as_str().unwrap_or_default();
            (text(line, "product_id"), available, word)
        })
        .collect()
}

fn without_request_id(answer: &Answer) -> Value {
    let mut body = answer.json();
    body["request_id"] = Value::Null;
    body
}

fn time(object: &Value, field: &str) -> Timestamp {
    let told = object[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field}: {object}"));
    told.parse()
        .unwrap_or_else(|error| panic!("{field}: {error}"))
}

fn seconds_between(object: &Value, from: &str, to: &str) -> f64 {
    time(object, to)
        .duration_since(time(object, from))
        .as_secs_f64()
}
