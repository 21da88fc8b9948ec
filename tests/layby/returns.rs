//! Orders that come back: asked for by the buyer, accepted by the shop, refunded, restocked.

use serde_json::{Value, json};

use crate::support::{Sale, Shop, Store, eventually, on_each_database, text};

on_each_database! {
    a_return_is_refunded_on_acceptance_and_restocked_a_day_after_the_request,
    a_return_that_restocks_by_the_wrong_id,
    cancel_or_refund_of_a_strangers_order,
    a_refund_of_an_order_never_paid,
    a_return_said_again_is_answered_in_the_same_way,
    what_is_not_delivered_is_not_sent_back,
    a_return_without_a_reason_is_refused,
    a_restock_that_falls_due_while_the_shop_is_closed_is_made_up_for,
    a_buyer_can_explain_an_order_that_came_back,
    the_zone_of_the_shop_says_when_the_day_ends,
}

fn a_return_is_refunded_on_acceptance_and_restocked_a_day_after_the_request(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let (alice, admin) = (shop.buyer(), shop.admin());
    let order = shop.delivered(&alice, &lamp);

    let asked = alice.send_back(&order, "Too bright.\nReally.").is(202);
    assert_eq!(asked["state"], "return_requested");
    assert_eq!(asked["return"]["reason"], "Too bright.\nReally.");
    assert_eq!(asked["return"]["restock_at"], Value::Null);
    assert_eq!((shop.units(&lamp), shop.returning(&lamp)), ((0, 0, 1), 0));
    assert_eq!(shop.provider_books().refunded(), Vec::<&str>::new());

    let accepted = admin.accept_return(&order).is(200);
    assert_eq!(accepted["state"], "returned");
    assert_eq!((shop.units(&lamp), shop.returning(&lamp)), ((0, 0, 0), 1));
    let restock_at = text(&accepted["return"], "restock_at");
    assert_eq!(
        microseconds(&restock_at) - microseconds(&text(&accepted["return"], "requested_at")),
        86_400_000_000
    );
    let refunded = || alice.order(&order)["payments"][0]["refund"] == "done";
    eventually("the money is back", || refunded().then_some(()));
    assert_eq!(shop.provider_books().refunded(), [text(&order, "id")]);
    // A unit that may come back is not a final end.
    let next = shop.buyer().place(&[crate::support::line(&lamp, 1)]);
    next.is_refused(409, "all_held");
}

/// Two orders of two products, one of them sent back: only its own units move, and only its own money.
fn a_return_that_restocks_by_the_wrong_id(store: Store) {
    let mut shop = Shop::open(store);
    let (lamp, chair) = (shop.product(Sale::of(3)), shop.product(Sale::of(3)));
    let (alice, bob) = (shop.buyer(), shop.buyer());
    let both = [
        crate::support::line(&lamp, 2),
        crate::support::line(&chair, 1),
    ];
    let order = alice.place(&both).is(201);
    alice.pay(&order, "card_ok").is(201);
    let others = [shop.delivered(&bob, &lamp), shop.delivered(&bob, &chair)];
    let admin = shop.admin();
    admin.ship(&order, "Korea Post", "RR9").is(200);
    admin.deliver(&order).is(200);
    alice.send_back(&order, "too bright").is(202);
    admin.accept_return(&order).is(200);
    assert_eq!((shop.units(&lamp), shop.returning(&lamp)), ((0, 0, 1), 2));
    assert_eq!((shop.units(&chair), shop.returning(&chair)), ((1, 0, 1), 1));

    a_day_passes(&mut shop);
    assert_eq!((shop.units(&lamp), shop.returning(&lamp)), ((2, 0, 1), 0));
    assert_eq!((shop.units(&chair), shop.returning(&chair)), ((2, 0, 1), 0));
    assert_eq!(
        alice.at(shop.url()).order(&order)["return"]["restocked"],
        json!(true)
    );
    for other in &others {
        assert_eq!(bob.at(shop.url()).order(other)["return"], Value::Null);
    }
    assert_eq!(shop.provider_books().refunded(), [text(&order, "id")]);
}

fn cancel_or_refund_of_a_strangers_order(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(3));
    let (alice, mallory) = (shop.buyer(), shop.buyer());
    let held = alice.hold(&lamp, 1);
    let paid = shop.bought(&alice, &lamp);
    let delivered = shop.delivered(&alice, &lamp);
    let nobodys = json!({"id": uuid::Uuid::now_v7().to_string()});
    let said = |answer: crate::support::Answer| {
        let mut problem = answer.is_refused(404, "not_found");
        problem["request_id"] = Value::Null;
        problem
    };
    for order in [&held, &paid, &delivered] {
        assert_eq!(said(mallory.cancel(order)), said(mallory.cancel(&nobodys)));
        assert_eq!(
            said(mallory.send_back(order, "mine")),
            said(mallory.send_back(&nobodys, "mine"))
        );
        // What only the shop may do is not done by a buyer, of whatever order.
        mallory.accept_return(order).is_refused(403, "forbidden");
        alice.accept_return(order).is_refused(403, "forbidden");
    }
    let states = [&held, &paid, &delivered].map(|order| alice.state(order));
    assert_eq!(states, ["held", "paid", "delivered"]);
    assert_eq!(shop.units(&lamp), (0, 1, 2));
    assert_eq!(shop.provider_books().refunded(), Vec::<&str>::new());
}

fn a_refund_of_an_order_never_paid(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale {
        hold_seconds: 1,
        ..Sale::of(4)
    });
    let (alice, admin) = (shop.buyer(), shop.admin());
    let declined = alice.hold(&lamp, 1);
    alice
        .pay(&declined, "card_declined")
        .is_refused(402, "payment_declined");
    let cancelled = alice.hold(&lamp, 1);
    alice.cancel(&cancelled).is(200);
    let expired = alice.hold(&lamp, 1);
    eventually("a hold ends", || {
        (alice.state(&expired) == "expired").then_some(())
    });
    for order in [&declined, &cancelled, &expired] {
        alice
            .send_back(order, "give me money")
            .is_refused(409, "not_delivered");
        admin
            .ship(order, "Korea Post", "RR1")
            .is_refused(409, "not_paid");
        admin
            .accept_return(order)
            .is_refused(409, "return_not_requested");
    }
    alice.cancel(&cancelled).is(200);
    assert_eq!(shop.provider_books().refunded(), Vec::<&str>::new());
    assert_eq!(shop.provider_books().captured(), Vec::<&str>::new());
}

fn a_return_said_again_is_answered_in_the_same_way(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let alice = shop.buyer();
    let order = shop.delivered(&alice, &lamp);
    let first = alice.send_back(&order, "too bright").is(202);
    assert_eq!(alice.send_back(&order, "too bright").is(202), first);
    // The first reason stands.
    assert_eq!(alice.send_back(&order, "too dark").is(202), first);
    shop.kill_and_start();
    let (alice, admin) = (alice.at(shop.url()), shop.admin());
    assert_eq!(alice.send_back(&order, "too bright").is(202), first);
    let refunded = || alice.order(&order)["payments"][0]["refund"] == "done";
    admin.accept_return(&order).is(200);
    eventually("the money is back", || refunded().then_some(()));
    let accepted = admin.accept_return(&order).is(200);
    assert_eq!(admin.accept_return(&order).is(200), accepted);
    assert_eq!(alice.send_back(&order, "too bright").is(200), accepted);
    assert_eq!(shop.provider_books().refunded(), [text(&order, "id")]);
    assert_eq!(shop.returning(&lamp), 1);
}

fn what_is_not_delivered_is_not_sent_back(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let (alice, admin) = (shop.buyer(), shop.admin());
    let order = shop.bought(&alice, &lamp);
    alice
        .send_back(&order, "too bright")
        .is_refused(409, "not_delivered");
    admin.ship(&order, "Korea Post", "RR1").is(200);
    alice
        .send_back(&order, "too bright")
        .is_refused(409, "not_delivered");
    admin.deliver(&order).is(200);
    admin
        .accept_return(&order)
        .is_refused(409, "return_not_requested");
    assert_eq!(alice.state(&order), "delivered");
}

fn a_return_without_a_reason_is_refused(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let alice = shop.buyer();
    let order = shop.delivered(&alice, &lamp);
    let long = "r".repeat(1_001);
    for reason in ["", " \n ", &long, "bell\u{7}"] {
        let refused = alice.send_back(&order, reason);
        let refused = refused.is_refused(422, "invalid_values");
        assert_eq!(refused["errors"][0]["field"], "reason", "{refused}");
    }
    let path = format!("/v1/orders/{}/return", text(&order, "id"));
    for body in [
        json!({}),
        json!({"reason": 1}),
        json!({"reason": "x", "refund": 1}),
    ] {
        alice
            .post_with(&path, &body)
            .is_refused(422, "invalid_values");
    }
    assert_eq!(alice.state(&order), "delivered");
    alice.send_back(&order, &"밝".repeat(1_000)).is(202);
}

fn a_restock_that_falls_due_while_the_shop_is_closed_is_made_up_for(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let alice = shop.buyer();
    let order = shop.delivered(&alice, &lamp);
    alice.send_back(&order, "too bright").is(202);
    shop.admin().accept_return(&order).is(200);
    shop.kill_and_start();
    assert_eq!((shop.units(&lamp), shop.returning(&lamp)), ((0, 0, 0), 1));
    a_day_passes(&mut shop);
    assert_eq!((shop.units(&lamp), shop.returning(&lamp)), ((1, 0, 0), 0));
    // Once, however often it starts.
    shop.kill_and_start();
    assert_eq!((shop.units(&lamp), shop.returning(&lamp)), ((1, 0, 0), 0));
    shop.bought(&shop.buyer(), &lamp);
}

fn a_buyer_can_explain_an_order_that_came_back(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let alice = shop.buyer();
    let order = shop.delivered(&alice, &lamp);
    alice.send_back(&order, "too bright").is(202);
    shop.admin().accept_return(&order).is(200);
    let seen = alice.order(&order);
    let steps = [
        &seen["placed_at"],
        &seen["payments"][0]["started_at"],
        &seen["shipment"]["shipped_at"],
        &seen["shipment"]["delivered_at"],
        &seen["return"]["requested_at"],
        &seen["return"]["restock_at"],
    ]
    .map(|time| microseconds(time.as_str().unwrap_or_else(|| panic!("{seen}"))));
    assert!(steps.is_sorted(), "{seen}");
    assert_eq!(seen["return"]["restocked"], json!(false));
    let listed = alice.get("/v1/orders").is(200);
    assert_eq!(listed["items"][0]["return"], seen["return"]);
}

fn the_zone_of_the_shop_says_when_the_day_ends(store: Store) {
    let mut shop = Shop::closed(store, &["--time-zone", "Mars/Olympus"]);
    let (code, said) = shop.fails_to_start();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("time_zone") && said.contains("`Mars/Olympus`"),
        "{said}"
    );

    let shop = Shop::open_with(store, &["--time-zone", "America/Caracas"]);
    let lamp = shop.product(Sale::of(1));
    let alice = shop.buyer();
    let order = shop.delivered(&alice, &lamp);
    let until = text(&alice.order(&order)["shipment"], "return_until");
    // Four hours behind, all the year.
    assert!(until.ends_with("T04:00:00.000000Z"), "{until}");
}

/// Stops the shop, moves its past a day and a second back, and starts it again: what fell due meanwhile is done.
///
/// Time is moved where it is kept. The journal holds the same times, so the books are no longer proved against it.
fn a_day_passes(shop: &mut Shop) {
    shop.catches_up();
    shop.stop();
    shop.sql(
        "UPDATE orders SET restock_at = restock_at - 86401000000 WHERE restock_at IS NOT NULL",
    );
    shop.leave_books_unproved();
    shop.start();
    eventually("what was due is done", || {
        let due = shop.admin().get("/v1/admin/orders?state=returned").is(200);
        let items = due["items"].as_array()?;
        let done = |it: &Value| it["return"]["restocked"] == json!(true);
        items.iter().all(done).then_some(())
    });
}

fn microseconds(time: &str) -> i64 {
    let time: jiff::Timestamp = time.parse().unwrap_or_else(|_| panic!("no time: {time}"));
    time.as_microsecond()
}
