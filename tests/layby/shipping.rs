//! What the shop does with a paid order: it ships it, and it is delivered.

use serde_json::{Value, json};

use crate::support::{Sale, Shop, Store, eventually, on_each_database, text};

on_each_database! {
    delivery_dates_that_never_advance,
    a_shipment_said_again_is_answered_in_the_same_way,
    a_shipment_in_other_words_is_refused_and_names_the_first,
    what_is_not_paid_is_not_shipped_and_what_is_not_shipped_is_not_delivered,
    a_shipped_order_is_not_cancelled,
    a_seller_ships_and_does_not_see_where_to,
    a_shipment_that_makes_no_sense_is_refused_field_by_field,
    an_order_that_nobody_placed_is_not_found,
    what_was_shipped_survives_a_crash,
    the_end_is_told_the_same_when_the_engine_has_forgotten_the_order,
    the_orders_of_the_shop_are_found_by_state_and_by_buyer,
    each_act_on_an_order_stands_in_the_audit_log,
}

/// As the other service did: the dates were made once, and nothing ever moved them.
fn delivery_dates_that_never_advance(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(3));
    let (alice, admin) = (shop.buyer(), shop.admin());
    let order = shop.bought(&alice, &lamp);
    assert_eq!(alice.order(&order)["shipment"], Value::Null);

    let shipped = admin.ship(&order, "Korea Post", "RR 123").is(200);
    assert_eq!(shipped["state"], "shipped");
    let seen = alice.order(&order);
    let shipment = &seen["shipment"];
    assert_eq!(
        (&shipment["carrier"], &shipment["tracking_number"]),
        (&json!("Korea Post"), &json!("RR 123"))
    );
    assert!(
        text(&seen, "placed_at") < text(shipment, "shipped_at"),
        "{seen}"
    );
    for not_yet in ["delivered_at", "return_until"] {
        assert_eq!(shipment[not_yet], Value::Null);
    }

    admin.deliver(&order).is(200);
    let seen = alice.order(&order);
    let delivered = &seen["shipment"];
    assert_eq!(seen["state"], "delivered");
    assert_eq!(delivered["shipped_at"], shipment["shipped_at"]);
    let [shipped_at, delivered_at, until] =
        ["shipped_at", "delivered_at", "return_until"].map(|it| text(delivered, it));
    assert!(shipped_at < delivered_at && delivered_at < until, "{seen}");
    // Midnight in Seoul.
    assert!(until.ends_with("T15:00:00.000000Z"), "{until}");
    assert_eq!(shop.units(&lamp), (2, 0, 1));
}

fn a_shipment_said_again_is_answered_in_the_same_way(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let alice = shop.buyer();
    let order = shop.bought(&alice, &lamp);
    let first = shop.admin().ship(&order, "Korea Post", "RR1").is(200);
    let again = shop.admin().ship(&order, " Korea Post ", "RR1").is(200);
    assert_eq!(again, first);
    shop.kill_and_start();
    assert_eq!(
        shop.admin().ship(&order, "Korea Post", "RR1").is(200),
        first
    );
    let delivered = shop.admin().deliver(&order).is(200);
    assert_eq!(shop.admin().deliver(&order).is(200), delivered);
    assert_eq!(
        shop.admin().ship(&order, "Korea Post", "RR1").is(200),
        delivered
    );
}

fn a_shipment_in_other_words_is_refused_and_names_the_first(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let (alice, admin) = (shop.buyer(), shop.admin());
    let order = shop.bought(&alice, &lamp);
    let first = admin.ship(&order, "Korea Post", "RR1").is(200);
    for (carrier, number) in [("Korea Post", "RR2"), ("Hanjin", "RR1")] {
        let refused = admin.ship(&order, carrier, number);
        let refused = refused.is_refused(409, "already_shipped");
        assert_eq!(
            (&refused["carrier"], &refused["tracking_number"]),
            (&json!("Korea Post"), &json!("RR1"))
        );
    }
    assert_eq!(admin.order_of_shop(&order).is(200), first);
}

fn what_is_not_paid_is_not_shipped_and_what_is_not_shipped_is_not_delivered(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(3));
    let (alice, admin) = (shop.buyer(), shop.admin());
    let held = alice.hold(&lamp, 1);
    let cancelled = alice.hold(&lamp, 1);
    alice.cancel(&cancelled).is(200);
    for order in [&held, &cancelled] {
        admin
            .ship(order, "Korea Post", "RR1")
            .is_refused(409, "not_paid");
        admin.deliver(order).is_refused(409, "not_shipped");
        admin
            .accept_return(order)
            .is_refused(409, "return_not_requested");
    }
    assert_eq!(alice.state(&held), "held");
    assert_eq!(alice.state(&cancelled), "cancelled");
    let paid = shop.bought(&alice, &lamp);
    admin.deliver(&paid).is_refused(409, "not_shipped");
    assert_eq!(alice.state(&paid), "paid");
}

fn a_shipped_order_is_not_cancelled(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let alice = shop.buyer();
    let order = shop.bought(&alice, &lamp);
    shop.admin().ship(&order, "Korea Post", "RR1").is(200);
    alice.cancel(&order).is_refused(409, "too_late_to_cancel");
    shop.admin().deliver(&order).is(200);
    alice.cancel(&order).is_refused(409, "too_late_to_cancel");
    assert_eq!(shop.units(&lamp), (0, 0, 1));
    assert_eq!(shop.provider_books().refunded(), Vec::<&str>::new());
}

fn a_seller_ships_and_does_not_see_where_to(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let alice = shop.member("alice");
    let seller = shop.promote(&shop.member("sally"), "seller").caller;
    let address = alice.adds_address(&crate::accounts::addresses::form("Alice Tester"));
    let place = json!({"lines": [crate::support::line(&lamp, 1)], "address_id": address["id"]});
    let key = crate::support::Key::fresh();
    let order = alice.caller.post_under(&key, "/v1/orders", &place).is(201);
    alice.caller.pay(&order, "card_ok").is(201);

    assert_eq!(seller.order_of_shop(&order).is(200)["address"], Value::Null);
    let shipped = seller.ship(&order, "Korea Post", "RR1").is(200);
    assert_eq!(shipped["address"], Value::Null);
    let seen = shop.admin().order_of_shop(&order).is(200);
    assert_eq!(seen["address"]["recipient"], "Alice Tester");
    assert_eq!(seen, alice.caller.order(&order));
}

fn a_shipment_that_makes_no_sense_is_refused_field_by_field(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let (alice, admin) = (shop.buyer(), shop.admin());
    let order = shop.bought(&alice, &lamp);
    let (long, longer) = ("c".repeat(65), "n".repeat(129));
    for (carrier, number, fields) in [
        ("", "", &["carrier", "tracking_number"][..]),
        (" ", "RR1", &["carrier"]),
        (&long, "RR1", &["carrier"]),
        ("Korea Post", &longer, &["tracking_number"]),
        ("Korea\nPost", "RR\u{0}1", &["carrier", "tracking_number"]),
        ("Korea\u{2028}Post", "RR1", &["carrier"]),
    ] {
        let refused = admin.ship(&order, carrier, number);
        let refused = refused.is_refused(422, "invalid_values");
        let errors = refused["errors"].as_array().expect("errors");
        let named: Vec<String> = errors.iter().map(|it| text(it, "field")).collect();
        assert_eq!(named, fields, "{refused}");
    }
    assert_eq!(alice.state(&order), "paid");
    let (most, more) = ("택".repeat(64), "n".repeat(128));
    admin.ship(&order, &most, &more).is(200);
    let shipment = &alice.order(&order)["shipment"];
    assert_eq!(shipment["carrier"], json!(most));
}

fn an_order_that_nobody_placed_is_not_found(store: Store) {
    let shop = Shop::open(store);
    let admin = shop.admin();
    for id in [uuid::Uuid::now_v7().to_string(), "nonsense".into()] {
        let order = json!({"id": id});
        admin.order_of_shop(&order).is_refused(404, "not_found");
        admin
            .ship(&order, "Korea Post", "RR1")
            .is_refused(404, "not_found");
        admin.deliver(&order).is_refused(404, "not_found");
        admin.accept_return(&order).is_refused(404, "not_found");
        shop.buyer()
            .send_back(&order, "too bright")
            .is_refused(404, "not_found");
    }
}

fn what_was_shipped_survives_a_crash(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(2));
    let alice = shop.buyer();
    let [shipped, delivered] = [shop.bought(&alice, &lamp), shop.delivered(&alice, &lamp)];
    let before = shop.admin().ship(&shipped, "한진", "RR-2").is(200);
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    assert_eq!(alice.order(&shipped), before);
    assert_eq!(alice.state(&delivered), "delivered");
    // Also out of the tables alone.
    shop.catches_up();
    shop.stop();
    shop.start();
    assert_eq!(alice.at(shop.url()).order(&shipped), before);
}

/// Settled orders leave memory; here they do at once, because the engine starts from the tables and is told that they
/// are old.
fn the_end_is_told_the_same_when_the_engine_has_forgotten_the_order(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(2));
    let alice = shop.buyer();
    let [completed, cancelled] = [shop.delivered(&alice, &lamp), alice.hold(&lamp, 1)];
    alice.cancel(&cancelled).is(200);
    shop.catches_up();
    shop.stop();
    make_old(&shop, &completed, "state = 'completed', standing = 2");
    make_old(&shop, &cancelled, "state = 'cancelled'");
    shop.leave_books_unproved();
    shop.start();
    let (alice, admin) = (alice.at(shop.url()), shop.admin());

    assert_eq!(
        admin.ship(&completed, "Korea Post", "RR1").is(200)["state"],
        "completed"
    );
    admin
        .ship(&completed, "Korea Post", "RR2")
        .is_refused(409, "already_shipped");
    assert_eq!(admin.deliver(&completed).is(200)["state"], "completed");
    admin
        .accept_return(&completed)
        .is_refused(409, "return_not_requested");
    alice
        .send_back(&completed, "late")
        .is_refused(409, "return_window_closed");
    assert_eq!(
        admin.order_of_shop(&completed).is(200),
        alice.order(&completed)
    );
    let stranger = shop.buyer();
    stranger
        .send_back(&completed, "mine")
        .is_refused(404, "not_found");

    admin
        .ship(&cancelled, "Korea Post", "RR1")
        .is_refused(409, "not_paid");
    admin.deliver(&cancelled).is_refused(409, "not_shipped");
    alice
        .send_back(&cancelled, "late")
        .is_refused(409, "not_delivered");
}

/// Moves an order ten days back, with what else is to be said of it.
fn make_old(shop: &Shop, order: &Value, set: &str) {
    let id = text(order, "id").replace('-', "");
    let back = 10 * 86_400_000_000_u64;
    shop.sql(&format!(
        "UPDATE orders SET {set}, placed_at = placed_at - {back}, changed_at = changed_at - {back} WHERE id = X'{id}'"
    ));
}

fn the_orders_of_the_shop_are_found_by_state_and_by_buyer(store: Store) {
    let shop = Shop::open(store);
    let (lamp, chair) = (shop.product(Sale::of(9)), shop.product(Sale::of(9)));
    let (alice, bob, admin) = (shop.buyer(), shop.buyer(), shop.admin());
    let paid = shop.bought(&alice, &lamp);
    let other = shop.bought(&bob, &chair);
    let shipped = shop.bought(&alice, &chair);
    admin.ship(&shipped, "Korea Post", "RR1").is(200);
    shop.catches_up();
    let found = |query: &str| {
        let page = admin.get(&format!("/v1/admin/orders?{query}")).is(200);
        let items = page["items"].as_array().expect("items").clone();
        let ids = items.iter().map(|it| text(it, "id"));
        ids.collect::<Vec<_>>()
    };
    let ids = |orders: &[&Value]| orders.iter().map(|it| text(it, "id")).collect::<Vec<_>>();
    assert_eq!(found("state=paid"), ids(&[&other, &paid]));
    assert_eq!(found("state=shipped"), ids(&[&shipped]));
    assert_eq!(found("state=delivered"), ids(&[]));
    assert_eq!(
        found(&format!("buyer_id={}", alice.id)),
        ids(&[&shipped, &paid])
    );
    assert_eq!(
        found(&format!("buyer_id={}&state=paid", alice.id)),
        ids(&[&paid])
    );
    assert_eq!(
        found(&format!("product_id={chair}&state=paid")),
        ids(&[&other])
    );
    assert_eq!(
        found(&format!("product_id={lamp}&buyer_id={}", bob.id)),
        ids(&[])
    );
    let page = admin.get("/v1/admin/orders?state=paid&limit=1").is(200);
    let next = text(&page, "next");
    assert_eq!(
        found(&format!("state=paid&limit=1&after={next}")),
        ids(&[&paid])
    );
    for nonsense in ["state=Paid", "state=lost", "buyer_id=me", "colour=red"] {
        admin
            .get(&format!("/v1/admin/orders?{nonsense}"))
            .is_refused(422, "invalid_values");
    }
}

fn each_act_on_an_order_stands_in_the_audit_log(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let (alice, admin) = (shop.buyer(), shop.admin());
    let order = shop.bought(&alice, &lamp);
    admin.ship(&order, "Korea Post", "RR1").is(200);
    admin.ship(&order, "Korea Post", "RR1").is(200);
    admin.deliver(&order).is(200);
    alice.send_back(&order, "too bright").is(202);
    admin.accept_return(&order).is(200);
    shop.kill_and_start();
    let acts = || {
        let log = crate::accounts::audit::acts(&shop);
        let of_order = log.into_iter().filter(|it| it["order"] == order["id"]);
        of_order.collect::<Vec<_>>()
    };
    let acts = eventually("three acts", || Some(acts()).filter(|it| it.len() == 3));
    let words: Vec<String> = acts.iter().map(|it| text(it, "act")).collect();
    assert_eq!(
        words,
        ["return_accepted", "order_delivered", "order_shipped"]
    );
    for act in &acts {
        assert_eq!(act["actor"], json!(admin.id), "{act}");
        assert_eq!(
            (&act["product"], &act["account"]),
            (&Value::Null, &Value::Null)
        );
        assert!(
            uuid::Uuid::parse_str(&text(act, "request_id")).is_ok(),
            "{act}"
        );
    }
    assert_eq!(acts[2]["before"], json!({"state": "paid"}));
    assert_eq!(
        acts[2]["after"],
        json!({"state": "shipped", "carrier": "Korea Post", "tracking_number": "RR1"})
    );
    assert_eq!(acts[1]["after"]["state"], "delivered");
    assert_eq!(
        (&acts[0]["before"]["state"], &acts[0]["after"]["state"]),
        (&json!("return_requested"), &json!("returned"))
    );
}
