//! What an admin does, and that nobody else can.

use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{Sale, Shop, Store, eventually, line, on_each_database, text};

on_each_database! {
    nobody_else_may_do_what_an_admin_does,
    more_stock_calls_off_a_withdrawal_first_and_then_is_available,
    less_stock_than_is_committed_is_withdrawn_as_it_comes_free,
    less_stock_than_is_sold_is_refused_with_the_numbers,
    stock_can_be_set_in_mid_sale_by_many_without_losing_a_unit,
    a_window_is_opened_paused_resumed_and_closed,
    a_new_window_concerns_later_holds_alone,
    a_window_that_makes_no_sense_is_refused_field_by_field,
    a_product_that_makes_no_sense_is_refused_field_by_field,
    a_product_is_edited_field_by_field,
    the_orders_of_the_shop_come_in_pages_and_by_product,
    what_an_admin_did_survives_a_crash,
}

const ROUTES: &[(&str, &str, Option<&str>)] = &[
    (
        "POST",
        "/v1/admin/products",
        Some(r#"{"name":"a","description":"","price":{"amount":1,"currency":"KRW"},"stock":1}"#),
    ),
    (
        "PATCH",
        "/v1/admin/products/{id}",
        Some(r#"{"name":"stolen"}"#),
    ),
    ("DELETE", "/v1/admin/products/{id}", None),
    (
        "PUT",
        "/v1/admin/products/{id}/stock",
        Some(r#"{"total":1000}"#),
    ),
    (
        "PUT",
        "/v1/admin/products/{id}/window",
        Some(r#"{"opens_at":"2020-01-01T00:00:00Z"}"#),
    ),
    ("POST", "/v1/admin/products/{id}/window/open", None),
    ("POST", "/v1/admin/products/{id}/window/pause", None),
    ("POST", "/v1/admin/products/{id}/window/resume", None),
    ("POST", "/v1/admin/products/{id}/window/close", None),
    ("GET", "/v1/admin/products/{id}/sale", None),
    ("GET", "/v1/admin/products/{id}/sale/orders.csv", None),
    ("GET", "/v1/admin/products/{id}/journey", None),
    ("GET", "/v1/admin/orders", None),
    ("GET", "/v1/admin/orders/{id}/journey", None),
    ("GET", "/v1/admin/orders/{id}", None),
    (
        "POST",
        "/v1/admin/orders/{id}/shipment",
        Some(r#"{"carrier":"a","tracking_number":"b"}"#),
    ),
    ("POST", "/v1/admin/orders/{id}/delivered", None),
    ("POST", "/v1/admin/orders/{id}/return/accept", None),
];

fn nobody_else_may_do_what_an_admin_does(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let before = shop.sale(&lamp);
    for (method, path, body) in ROUTES {
        let method: Method = method.parse().expect("a method");
        let path = path.replace("{id}", &lamp);
        let body: Option<Value> = body.map(|body| serde_json::from_str(body).expect("JSON"));
        let ask =
            |caller: &crate::support::Caller| caller.send(&method, &path, None, body.as_ref());
        ask(&shop.visitor()).is_refused(401, "unauthorized");
        ask(&shop.buyer()).is_refused(403, "forbidden");
    }
    let after = shop.sale(&lamp);
    for field in ["total", "available", "window"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    let products = shop.visitor().get("/v1/products").is(200);
    assert_eq!(
        products["items"].as_array().map(Vec::len),
        Some(1),
        "{products}"
    );
    assert_eq!(products["items"][0]["name"], "Desk lamp");
}

fn more_stock_calls_off_a_withdrawal_first_and_then_is_available(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let buckets = |answer: &crate::support::Answer, status| {
        let sale = answer.is(status);
        [
            "total",
            "available",
            "held",
            "withdrawn",
            "withdrawal_pending",
        ]
        .map(|name| sale[name].as_u64().unwrap_or_else(|| panic!("{sale}")))
    };
    assert_eq!(buckets(&shop.set_stock(&lamp, 8), 200), [8, 8, 0, 0, 0]);
    shop.buyer().hold(&lamp, 6);
    assert_eq!(buckets(&shop.set_stock(&lamp, 2), 202), [8, 0, 6, 2, 4]);
    assert_eq!(buckets(&shop.set_stock(&lamp, 4), 202), [8, 0, 6, 2, 2]);
    assert_eq!(buckets(&shop.set_stock(&lamp, 7), 200), [8, 1, 6, 1, 0]);
    assert_eq!(buckets(&shop.set_stock(&lamp, 20), 200), [20, 14, 6, 0, 0]);
}

fn less_stock_than_is_committed_is_withdrawn_as_it_comes_free(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(3));
    let (alice, bob, carol) = (shop.buyer(), shop.buyer(), shop.buyer());
    let orders = [&alice, &bob, &carol].map(|buyer| buyer.hold(&lamp, 1));
    let lowered = shop.set_stock(&lamp, 1).is(202);
    assert_eq!(
        (&lowered["held"], &lowered["withdrawal_pending"]),
        (&json!(3), &json!(2))
    );
    shop.kill_and_start();
    let [alice, bob, carol] = [alice, bob, carol].map(|buyer| buyer.at(shop.url()));
    alice.cancel(&orders[0]).is(200);
    assert_eq!(shop.units(&lamp), (0, 2, 0));
    shop.buyer()
        .place(&[line(&lamp, 1)])
        .is_refused(409, "all_held");
    bob.cancel(&orders[1]).is(200);
    carol.pay(&orders[2], "card").is(201);
    let sale = shop.sale(&lamp);
    assert_eq!(
        (&sale["withdrawn"], &sale["withdrawal_pending"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(shop.units(&lamp), (0, 0, 1));
    shop.buyer()
        .place(&[line(&lamp, 1)])
        .is_refused(409, "sold_out");
}

fn less_stock_than_is_sold_is_refused_with_the_numbers(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 3);
    alice.pay(&order, "card").is(201);
    let told = shop.set_stock(&lamp, 2).is_refused(409, "below_sold");
    assert_eq!((&told["total"], &told["sold"]), (&json!(2), &json!(3)));
    assert_eq!(shop.units(&lamp), (2, 0, 3));
    shop.set_stock(&lamp, 3).is(200);
    assert_eq!(shop.units(&lamp), (0, 0, 3));
}

fn stock_can_be_set_in_mid_sale_by_many_without_losing_a_unit(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(50));
    std::thread::scope(|scope| {
        for buyer in shop.buyers(8) {
            let lamp = &lamp;
            scope.spawn(move || {
                for number in 0..12 {
                    let answer = buyer.place(&[line(lamp, 1)]);
                    if answer.status == 409 {
                        continue;
                    }
                    let order = answer.is(201);
                    match number % 3 {
                        0 => drop(buyer.pay(&order, "card").is(201)),
                        1 => drop(buyer.cancel(&order).is(200)),
                        _ => {}
                    }
                }
            });
        }
        scope.spawn(|| {
            for total in [60, 10, 45, 5, 70, 0, 30, 100] {
                let answer = shop.set_stock(&lamp, total);
                assert!(
                    matches!(answer.status, 200 | 202) || answer.code() == "below_sold",
                    "{answer}"
                );
            }
        });
    });
    shop.set_stock(&lamp, 100);
    let (available, held, sold) = shop.units(&lamp);
    assert_eq!(available + held + sold, 100);
    let orders = shop
        .admin()
        .get(&format!("/v1/admin/orders?product_id={lamp}&limit=100"));
    orders.is(200);
}

fn a_window_is_opened_paused_resumed_and_closed(store: Store) {
    let shop = Shop::open(store);
    let later = Sale {
        opens_in_ms: 3_600_000,
        ..Sale::of(5)
    };
    let lamp = shop.product(later);
    let state = |act: &str| text(&shop.window_act(&lamp, act).is(200)["window"], "state");
    shop.window_act(&lamp, "pause").is_refused(409, "not_open");
    assert_eq!(state("open"), "open");
    shop.buyer().hold(&lamp, 1);
    for (act, expected) in [("open", "open"), ("pause", "paused"), ("pause", "paused")] {
        assert_eq!(state(act), expected);
    }
    shop.buyer()
        .place(&[line(&lamp, 1)])
        .is_refused(409, "paused");
    assert_eq!(state("resume"), "open");
    assert_eq!(state("resume"), "open");
    assert_eq!(state("close"), "closed");
    assert_eq!(state("close"), "closed");
    shop.buyer()
        .place(&[line(&lamp, 1)])
        .is_refused(409, "closed");
    for act in ["open", "pause", "resume"] {
        shop.window_act(&lamp, act).is_refused(409, "closed");
    }
    shop.set_window(&lamp, &Sale::default().window()).is(200);
    shop.buyer().hold(&lamp, 1);

    let bare = shop.unscheduled_product(Sale::of(1));
    shop.window_act(&bare, "close").is_refused(409, "not_open");
    assert_eq!(
        shop.window_act(&bare, "open").is(200)["window"]["hold_seconds"],
        300
    );
    shop.window_act(&bare, "explode")
        .is_refused(404, "not_found");
}

fn a_new_window_concerns_later_holds_alone(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let before = alice.hold(&lamp, 2);
    let short = Sale {
        hold_seconds: 1,
        limit: Some(1),
        ..Sale::default()
    };
    shop.set_window(&lamp, &short.window()).is(200);
    let told = alice
        .place(&[line(&lamp, 1)])
        .is_refused(409, "limit_reached");
    assert_eq!(told["in_hand"], 2);
    let bob = shop.buyer();
    let after = bob.hold(&lamp, 1);
    eventually("the short hold is over", || {
        (bob.state(&after) == "expired").then_some(())
    });
    assert_eq!(alice.order(&before)["pay_by"], before["pay_by"]);
    let over = Sale {
        opens_in_ms: -2_000,
        closes_in_ms: Some(-1_000),
        ..Sale::default()
    };
    shop.set_window(&lamp, &over.window()).is(200);
    alice.pay(&before, "card").is(201);
}

fn a_window_that_makes_no_sense_is_refused_field_by_field(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let before = shop.sale(&lamp)["window"].clone();
    let noon = "2026-11-22T12:00:00Z";
    let cases = [
        (json!({"opens_at": noon, "closes_at": noon}), "closes_at"),
        (
            json!({"opens_at": noon, "closes_at": "2026-11-22T11:59:59Z"}),
            "closes_at",
        ),
        (json!({"opens_at": "noon"}), "opens_at"),
        (json!({"opens_at": "2026-13-01T00:00:00Z"}), "opens_at"),
        (json!({"opens_at": "2026-11-22 12:00"}), "opens_at"),
        (json!({"opens_at": "1969-12-31T23:59:59Z"}), "opens_at"),
        (json!({"opens_at": 1_700_000_000}), "opens_at"),
        (json!({"opens_at": null}), "opens_at"),
        (json!({}), "opens_at"),
        (json!({"opens_at": noon, "closes_at": "later"}), "closes_at"),
        (
            json!({"opens_at": noon, "per_person_limit": 0}),
            "per_person_limit",
        ),
        (
            json!({"opens_at": noon, "per_person_limit": -1}),
            "per_person_limit",
        ),
        (
            json!({"opens_at": noon, "per_person_limit": 4_294_967_296_u64}),
            "per_person_limit",
        ),
        (json!({"opens_at": noon, "hold_seconds": 0}), "hold_seconds"),
        (
            json!({"opens_at": noon, "hold_seconds": 1_801}),
            "hold_seconds",
        ),
        (
            json!({"opens_at": noon, "hold_seconds": 1.5}),
            "hold_seconds",
        ),
        (json!({"opens_at": noon, "paused": true}), "paused"),
    ];
    for (window, field) in cases {
        let told = shop
            .set_window(&lamp, &window)
            .is_refused(422, "invalid_values");
        assert!(
            told["errors"].to_string().contains(field),
            "{window}: {told}"
        );
    }
    assert_eq!(shop.sale(&lamp)["window"], before);
}

fn a_product_that_makes_no_sense_is_refused_field_by_field(store: Store) {
    let shop = Shop::open(store);
    let good = json!({
        "name": "Lamp", "description": "", "price": {"amount": 1, "currency": "KRW"}, "stock": 1,
    });
    let cases = [
        ("name", json!("")),
        ("name", json!("a".repeat(201))),
        ("name", json!(7)),
        ("name", Value::Null),
        ("description", json!("a".repeat(10_001))),
        ("price", json!({"amount": -1, "currency": "KRW"})),
        (
            "price",
            json!({"amount": 1_000_000_000_001_i64, "currency": "KRW"}),
        ),
        ("price", json!({"amount": 1.5, "currency": "KRW"})),
        ("price", json!({"amount": 1, "currency": "won"})),
        ("price", json!({"amount": 1, "currency": "KRWW"})),
        ("price", json!({"amount": 1})),
        ("price", json!(1)),
        ("stock", json!(-1)),
        ("stock", json!(1_000_000_001)),
        ("stock", json!(u64::MAX)),
        ("stock", json!("10")),
        ("image_url", json!("javascript:alert(1)")),
        (
            "image_url",
            json!(format!("https://example.com/{}", "a".repeat(2_000))),
        ),
        ("restock_to", json!("nowhere")),
        ("seller", json!("somebody")),
    ];
    for (field, value) in cases {
        let mut body = good.clone();
        body[field] = value;
        let answer = shop
            .admin()
            .send(&Method::POST, "/v1/admin/products", None, Some(&body));
        let told = answer.is_refused(422, "invalid_values");
        assert!(
            told["errors"].to_string().contains(field),
            "{field}: {told}"
        );
    }
    let several = json!({"name": "", "description": "", "price": {"amount": -1, "currency": "?"}, "stock": 1});
    let answer = shop
        .admin()
        .send(&Method::POST, "/v1/admin/products", None, Some(&several));
    let told = answer.is_refused(422, "invalid_values");
    assert_eq!(
        told["errors"].as_array().map(Vec::len),
        Some(3),
        "each field is named: {told}"
    );
    assert_eq!(
        shop.visitor().get("/v1/products").is(200)["items"],
        json!([])
    );
}

fn a_product_is_edited_field_by_field(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let edited = shop
        .edit(
            &lamp,
            &json!({"name": "Floor lamp", "image_url": "/lamp.png"}),
        )
        .is(200);
    assert_eq!(
        (&edited["name"], &edited["image_url"]),
        (&json!("Floor lamp"), &json!("/lamp.png"))
    );
    assert_eq!(edited["description"], "Lights a desk.");
    shop.kill_and_start();
    let edited = shop
        .edit(
            &lamp,
            &json!({"image_url": null, "price": {"amount": 1, "currency": "KRW"}}),
        )
        .is(200);
    assert_eq!(
        (&edited["name"], &edited["image_url"]),
        (&json!("Floor lamp"), &Value::Null)
    );
    assert_eq!(edited["price"]["amount"], 1);
    shop.edit(&lamp, &json!({"stock": 1}))
        .is_refused(422, "invalid_values");
    shop.edit(&uuid::Uuid::now_v7().to_string(), &json!({}))
        .is_refused(404, "not_found");
    shop.buyer().hold(&lamp, 1);
    shop.edit(&lamp, &json!({"price": {"amount": 1, "currency": "USD"}}))
        .is_refused(409, "currency_mismatch");
}

fn the_orders_of_the_shop_come_in_pages_and_by_product(store: Store) {
    let shop = Shop::open(store);
    let (lamp, desk) = (shop.product(Sale::of(50)), shop.product(Sale::of(50)));
    let mut of_lamp: Vec<String> = shop
        .buyers(5)
        .iter()
        .map(|buyer| {
            let order = buyer.hold(&lamp, 1);
            buyer.pay(&order, "card").is(201);
            text(&order, "id")
        })
        .collect();
    of_lamp.reverse();
    let other = text(&shop.buyer().hold(&desk, 1), "id");
    shop.catches_up();
    let admin = shop.admin();
    let ids = |path: &str| {
        let page = admin.get(path).is(200);
        let items = page["items"].as_array().expect("items");
        let ids: Vec<String> = items.iter().map(|item| text(item, "id")).collect();
        (ids, text(&page, "next"))
    };
    let (page, next) = ids(&format!("/v1/admin/orders?product_id={lamp}&limit=3"));
    assert_eq!(page, of_lamp[..3]);
    let (page, next) = ids(&format!(
        "/v1/admin/orders?product_id={lamp}&limit=3&after={next}"
    ));
    assert_eq!((page.as_slice(), next.as_str()), (&of_lamp[3..], ""));
    let all: Vec<String> = [other].into_iter().chain(of_lamp).collect();
    assert_eq!(ids("/v1/admin/orders"), (all, String::new()));
    let nothing = format!("/v1/admin/orders?product_id={}", uuid::Uuid::now_v7());
    assert_eq!(ids(&nothing), (vec![], String::new()));
}

fn what_an_admin_did_survives_a_crash(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    shop.set_stock(&lamp, 9).is(200);
    shop.edit(&lamp, &json!({"name": "Floor lamp"})).is(200);
    shop.window_act(&lamp, "pause").is(200);
    let without_time = |shop: &Shop| {
        let mut seen = shop.visitor().get(&format!("/v1/products/{lamp}")).is(200);
        let mut sale = shop.sale(&lamp);
        seen["server_time"] = Value::Null;
        sale["server_time"] = Value::Null;
        (seen, sale)
    };
    let before = without_time(&shop);
    for _ in 0..3 {
        shop.kill_and_start();
        assert_eq!(without_time(&shop), before);
    }
    shop.window_act(&lamp, "resume").is(200);
    shop.kill_and_start();
    shop.buyer().hold(&lamp, 1);
}
