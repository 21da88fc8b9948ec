//! What the journal proves about an order, and about the units of a product.

use serde_json::{Value, json};

use crate::support::{Sale, Shop, Store, line, on_each_database, text};

on_each_database! {
    the_journey_of_an_order_is_every_record_about_it,
    the_journey_of_a_product_counts_its_units_after_every_movement,
    a_journey_is_the_same_after_a_crash,
    a_journey_whose_beginning_is_gone_says_so_and_still_counts_right,
    a_journey_comes_in_pages,
    nobody_travels_who_is_not_there,
}

fn items(page: &Value) -> Vec<Value> {
    page["items"]
        .as_array()
        .unwrap_or_else(|| panic!("{page}"))
        .clone()
}

fn words(page: &Value) -> Vec<String> {
    items(page).iter().map(|it| text(it, "what")).collect()
}

#[track_caller]
fn of_order(shop: &Shop, order: &Value) -> Value {
    let path = format!("/v1/admin/orders/{}/journey", text(order, "id"));
    shop.admin().get(&path).is(200)
}

#[track_caller]
fn of_product(shop: &Shop, product: &str, query: &str) -> Value {
    let path = format!("/v1/admin/products/{product}/journey{query}");
    shop.admin().get(&path).is(200)
}

fn the_journey_of_an_order_is_every_record_about_it(store: Store) {
    let shop = Shop::open(store);
    let (lamp, chair) = (shop.product(Sale::of(3)), shop.product(Sale::of(3)));
    let (alice, bob, admin) = (shop.buyer(), shop.buyer(), shop.admin());
    let order = alice.place(&[line(&lamp, 1), line(&chair, 2)]).is(201);
    shop.bought(&bob, &lamp);
    alice
        .pay(&order, "card_declined")
        .is_refused(402, "payment_declined");
    alice.pay(&order, "card_ok").is(201);
    admin.ship(&order, "Korea Post", "RR1").is(200);
    admin.deliver(&order).is(200);
    alice.send_back(&order, "too bright").is(202);
    admin.accept_return(&order).is(200);
    crate::support::eventually("the money is back", || {
        (alice.order(&order)["payments"][1]["refund"] == "done").then_some(())
    });

    let journey = of_order(&shop, &order);
    assert_eq!(journey["complete"], json!(true));
    assert_eq!(
        words(&journey),
        [
            "order_placed",
            "payment_started",
            "payment_declined",
            "payment_started",
            "payment_captured",
            "order_shipped",
            "order_delivered",
            "return_requested",
            "return_accepted",
            "refunded"
        ]
    );
    let items = items(&journey);
    assert_eq!(items[0]["position"], order["sequence"]);
    assert_eq!(items[0]["at"], order["placed_at"]);
    let posting = |product: &str, from: &str, to: &str, units: u64| json!({"product_id": product, "from": from, "to": to, "units": units});
    assert_eq!(
        items[0]["postings"],
        json!([
            posting(&lamp, "available", "held", 1),
            posting(&chair, "available", "held", 2)
        ])
    );
    assert_eq!(
        items[4]["postings"],
        json!([
            posting(&lamp, "held", "sold", 1),
            posting(&chair, "held", "sold", 2)
        ])
    );
    assert_eq!(
        items[8]["postings"],
        json!([
            posting(&lamp, "sold", "returning", 1),
            posting(&chair, "sold", "returning", 2)
        ])
    );
    for (index, item) in items.iter().enumerate() {
        let by_the_shop = [5, 6, 8].contains(&index);
        let admin = if by_the_shop {
            json!(admin.id)
        } else {
            Value::Null
        };
        assert_eq!(item["admin"], admin, "{item}");
        assert_eq!(item["order_id"], order["id"]);
    }
}

fn the_journey_of_a_product_counts_its_units_after_every_movement(store: Store) {
    let shop = Shop::open(store);
    let (lamp, chair) = (shop.product(Sale::of(5)), shop.product(Sale::of(5)));
    let alice = shop.buyer();
    let cancelled = alice.place(&[line(&lamp, 2), line(&chair, 1)]).is(201);
    shop.bought(&alice, &lamp);
    alice.cancel(&cancelled).is(200);
    shop.edit(&lamp, &json!({"name": "Lamp"})).is(200);
    shop.set_stock(&lamp, 3).is(200);

    let journey = of_product(&shop, &lamp, "");
    let expected = [
        ("registered", [5, 0, 0, 0, 0, 0]),
        ("order_placed", [3, 2, 0, 0, 0, 0]),
        ("order_placed", [2, 3, 0, 0, 0, 0]),
        ("payment_captured", [2, 2, 0, 1, 0, 0]),
        ("order_cancelled", [4, 0, 0, 1, 0, 0]),
        ("stock_set", [2, 0, 0, 1, 0, 2]),
    ];
    let buckets = [
        "available",
        "held",
        "offered",
        "sold",
        "returning",
        "withdrawn",
    ];
    let seen: Vec<(String, Vec<i64>)> = items(&journey)
        .iter()
        .map(|it| {
            let units = buckets.iter().map(|bucket| it["units"][bucket].as_i64());
            (
                text(it, "what"),
                units.map(|it| it.expect("a number")).collect(),
            )
        })
        .collect();
    let expected: Vec<(String, Vec<i64>)> = expected
        .iter()
        .map(|(what, units)| ((*what).to_owned(), units.to_vec()))
        .collect();
    assert_eq!(seen, expected);
    let last = items(&journey).pop().expect("a movement");
    let sale = shop.sale(&lamp);
    for bucket in buckets {
        assert_eq!(last["units"][bucket], sale[bucket], "{bucket}");
    }
    assert_eq!(last["units"]["total"], sale["total"]);
    assert!(items(&journey).iter().all(|it| {
        let postings = it["postings"].as_array().expect("postings");
        postings.iter().all(|it| it["product_id"] == json!(lamp))
    }));
    assert_eq!(
        (&journey["complete"], &journey["next"]),
        (&json!(true), &Value::Null)
    );
}

fn a_journey_is_the_same_after_a_crash(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(3));
    let order = shop.delivered(&shop.buyer(), &lamp);
    let before = (of_order(&shop, &order), of_product(&shop, &lamp, ""));
    shop.kill_and_start();
    assert_eq!(
        (of_order(&shop, &order), of_product(&shop, &lamp, "")),
        before
    );
}

/// Long descriptions fill segments quickly, and none is kept that SQL has.
fn a_journey_whose_beginning_is_gone_says_so_and_still_counts_right(store: Store) {
    let shop = Shop::open_with(store, &["--journal-retention-mib", "0"]);
    let lamp = shop.product(Sale::of(9));
    let alice = shop.buyer();
    let old = shop.bought(&alice, &lamp);
    let other = shop.product(Sale::of(1));
    for number in 0..40 {
        let description = format!("{number} {}", "긴 설명 ".repeat(1_900));
        shop.edit(&other, &json!({"description": description}))
            .is(200);
    }
    shop.catches_up();
    let recent = alice.hold(&lamp, 2);
    let gone = crate::support::eventually("the first segment is released", || {
        let journey = of_order(&shop, &old);
        (journey["complete"] == json!(false)).then_some(journey)
    });
    assert_eq!(items(&gone), Vec::<Value>::new());
    assert!(
        gone["from_position"].as_u64() > old["sequence"].as_u64(),
        "{gone}"
    );

    let journey = of_order(&shop, &recent);
    assert_eq!(
        (&journey["complete"], words(&journey)),
        (&json!(true), vec!["order_placed".to_owned()])
    );
    let journey = of_product(&shop, &lamp, "");
    assert_eq!(journey["complete"], json!(false));
    let last = items(&journey).pop().expect("a movement");
    let sale = shop.sale(&lamp);
    for bucket in ["total", "available", "held", "sold"] {
        assert_eq!(last["units"][bucket], sale[bucket], "{bucket}");
    }
}

fn a_journey_comes_in_pages(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(9));
    let alice = shop.buyer();
    for _ in 0..6 {
        alice.hold(&lamp, 1);
    }
    let all = items(&of_product(&shop, &lamp, ""));
    assert_eq!(all.len(), 7);
    let (mut paged, mut query) = (Vec::new(), "?limit=3".to_owned());
    loop {
        let page = of_product(&shop, &lamp, &query);
        paged.extend(items(&page));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        query = format!("?limit=3&after={next}");
    }
    assert_eq!(paged, all);
    for query in [
        "?limit=0",
        "?limit=1001",
        "?limit=x",
        "?after=-1",
        "?depth=1",
    ] {
        let path = format!("/v1/admin/products/{lamp}/journey{query}");
        shop.admin().get(&path).is_refused(422, "invalid_values");
    }
}

fn nobody_travels_who_is_not_there(store: Store) {
    let shop = Shop::open(store);
    let id = uuid::Uuid::now_v7();
    for path in [
        format!("/v1/admin/orders/{id}/journey"),
        format!("/v1/admin/products/{id}/journey"),
        "/v1/admin/orders/nonsense/journey".into(),
    ] {
        shop.admin().get(&path).is_refused(404, "not_found");
        shop.buyer().get(&path).is_refused(403, "forbidden");
    }
}
