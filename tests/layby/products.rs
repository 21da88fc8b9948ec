//! What everybody sees: products, their windows and availability, the demo shop, the OpenAPI document.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{Answer, Caller, Sale, Shop, Store, eventually, line, on_each_database, text};

on_each_database! {
    a_visitor_sees_price_window_and_availability,
    availability_has_three_words_and_only_the_last_is_final,
    the_window_has_four_states,
    products_come_in_pages_oldest_first,
    a_deleted_product_is_gone_and_stays_gone,
    a_product_of_extreme_words_and_numbers_is_kept_as_it_is,
    a_demo_shop_can_be_used_at_once_and_is_kept,
}

fn a_visitor_sees_price_window_and_availability(store: Store) {
    let shop = Shop::open(store);
    let sale = Sale {
        limit: Some(2),
        closes_in_ms: Some(3_600_000),
        ..Sale::of(5)
    };
    let lamp = shop.product(sale);
    let seen = look(&shop.visitor(), &lamp);
    assert_eq!(
        (
            &seen["id"],
            &seen["name"],
            &seen["description"],
            &seen["image_url"]
        ),
        (
            &json!(lamp),
            &json!("Desk lamp"),
            &json!("Lights a desk."),
            &Value::Null
        )
    );
    assert_eq!(seen["price"], json!({"amount": 39_000, "currency": "KRW"}));
    assert_eq!(
        (&seen["availability"], &seen["available"], &seen["holds"]),
        (&json!("available"), &json!(5), &json!(0))
    );
    let window = &seen["window"];
    assert_eq!(
        (
            &window["state"],
            &window["per_person_limit"],
            &window["hold_seconds"]
        ),
        (&json!("open"), &json!(2), &json!(300))
    );
    let now = text(&seen, "server_time");
    assert!(
        text(window, "opens_at") < now && now < text(window, "closes_at"),
        "{seen}"
    );
    shop.visitor()
        .get(&format!("/v1/products/{}", uuid::Uuid::now_v7()))
        .is_refused(404, "not_found");
}

fn availability_has_three_words_and_only_the_last_is_final(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(2));
    let (alice, bob) = (shop.buyer(), shop.buyer());
    let word = |shop: &Shop| {
        let seen = look(&shop.visitor(), &lamp);
        (
            text(&seen, "availability"),
            seen["holds"].as_u64(),
            seen["earliest_deadline"].clone(),
        )
    };
    let first = alice.hold(&lamp, 1);
    assert_eq!(
        word(&shop),
        ("available".into(), Some(1), first["pay_by"].clone())
    );
    let second = bob.hold(&lamp, 1);
    assert_eq!(
        word(&shop),
        ("all_held".into(), Some(2), first["pay_by"].clone())
    );
    alice.pay(&first, "card").is(201);
    assert_eq!(
        word(&shop),
        ("all_held".into(), Some(1), second["pay_by"].clone())
    );
    bob.cancel(&second).is(200);
    assert_eq!(word(&shop), ("available".into(), Some(0), Value::Null));
    let third = bob.hold(&lamp, 1);
    bob.pay(&third, "card").is(201);
    assert_eq!(word(&shop), ("sold_out".into(), Some(0), Value::Null));
    let told = shop
        .buyer()
        .place(&[line(&lamp, 1)])
        .is_refused(409, "sold_out");
    assert_eq!(told["available"], 0);
    shop.kill_and_start();
    assert_eq!(word(&shop), ("sold_out".into(), Some(0), Value::Null));
}

fn the_window_has_four_states(store: Store) {
    let shop = Shop::open(store);
    let visitor = shop.visitor();
    let state = |product: &str| text(&look(&visitor, product)["window"], "state");
    let later = Sale {
        opens_in_ms: 3_600_000,
        ..Sale::default()
    };
    let over = Sale {
        opens_in_ms: -2_000,
        closes_in_ms: Some(-1_000),
        ..Sale::default()
    };
    let soon = Sale {
        opens_in_ms: 300,
        closes_in_ms: Some(900),
        ..Sale::default()
    };
    let unscheduled = shop.unscheduled_product(later);
    assert_eq!(look(&visitor, &unscheduled)["window"], Value::Null);
    assert_eq!(state(&shop.product(later)), "scheduled");
    assert_eq!(state(&shop.product(over)), "closed");
    let open = shop.product(Sale::default());
    assert_eq!(state(&open), "open");
    shop.window_act(&open, "pause").is(200);
    assert_eq!(state(&open), "paused");

    let soon = shop.product(soon);
    let mut states = vec![state(&soon)];
    eventually("the window closes by itself", || {
        let now = state(&soon);
        if states.last() != Some(&now) {
            states.push(now.clone());
        }
        (now == "closed").then_some(())
    });
    assert!(
        ["scheduled", "open", "closed"]
            .ends_with(&states.iter().map(String::as_str).collect::<Vec<_>>()),
        "{states:?}"
    );
}

fn products_come_in_pages_oldest_first(store: Store) {
    let mut shop = Shop::open(store);
    let made: Vec<String> = (0..5)
        .map(|_| shop.unscheduled_product(Sale::of(1)))
        .collect();
    let pages = |visitor: &Caller| {
        let mut listed: Vec<Vec<String>> = Vec::new();
        let mut after = String::new();
        loop {
            let page = visitor.get(&format!("/v1/products?limit=2{after}")).is(200);
            listed.push(ids(&page));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return listed,
            }
        }
    };
    let expected: Vec<Vec<String>> = made.chunks(2).map(<[String]>::to_vec).collect();
    assert_eq!(pages(&shop.visitor()), expected);
    assert_eq!(
        ids(&shop.visitor().get("/v1/products").is(200)),
        made,
        "20 unless told"
    );
    shop.kill_and_start();
    assert_eq!(pages(&shop.visitor()), expected);
}

fn a_deleted_product_is_gone_and_stays_gone(store: Store) {
    let mut shop = Shop::open(store);
    let (lamp, desk) = (shop.product(Sale::of(1)), shop.product(Sale::of(1)));
    let order = shop.buyer().hold(&lamp, 1);
    let path = format!("/v1/admin/products/{lamp}");
    let delete = |shop: &Shop| shop.admin().send(&Method::DELETE, &path, None, None);
    let told = delete(&shop).is_refused(409, "has_committed_units");
    assert_eq!(
        (&told["held"], &told["sold"]),
        (&json!(1), &json!(0)),
        "{order}"
    );

    let path = format!("/v1/admin/products/{desk}");
    shop.admin()
        .send(&Method::DELETE, &path, None, None)
        .is(204);
    for _ in 0..2 {
        let visitor = shop.visitor();
        visitor
            .get(&format!("/v1/products/{desk}"))
            .is_refused(404, "not_found");
        assert_eq!(ids(&visitor.get("/v1/products").is(200)), [lamp.as_str()]);
        shop.buyer()
            .place(&[line(&desk, 1)])
            .is_refused(404, "not_found");
        shop.admin()
            .send(&Method::DELETE, &path, None, None)
            .is_refused(404, "not_found");
        shop.window_act(&desk, "open").is_refused(404, "not_found");
        shop.kill_and_start();
    }
}

fn a_product_of_extreme_words_and_numbers_is_kept_as_it_is(store: Store) {
    let mut shop = Shop::open(store);
    let body = json!({
        "name": "🪔".repeat(200),
        "description": "\u{0}\u{1}'\";--\\\u{202e}𝕃é\u{10ffff}\n".repeat(600),
        "image_url": format!("https://example.com/{}", "a".repeat(1_900)),
        "price": {"amount": 1_000_000_000_000_i64, "currency": "KRW"},
        "stock": 1_000_000_000,
        "restock_to": "withdrawn",
    });
    let created = shop
        .admin()
        .send(&Method::POST, "/v1/admin/products", None, Some(&body));
    let lamp = text(&created.is(201), "id");
    shop.window_act(&lamp, "open").is(200);
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 10_000);
    assert_eq!(order["total"]["amount"], 10_000_000_000_000_000_i64);
    let method = "💳".repeat(64);
    alice.pay(&order, &method).is(201);
    let seen = look(&shop.visitor(), &lamp);
    let same = |seen: &Value| {
        for field in ["name", "description", "image_url", "price"] {
            assert_eq!(seen[field], body[field], "{field}");
        }
    };
    same(&seen);
    shop.catches_up();
    shop.stop();
    shop.start();
    same(&look(&shop.visitor(), &lamp));
    let kept = alice.at(shop.url()).order(&order);
    assert_eq!(
        (&kept["total"], &kept["payments"][0]["method"]),
        (&order["total"], &json!(method))
    );
    assert_eq!(shop.units(&lamp), (999_990_000, 0, 10_000));
}

fn a_demo_shop_can_be_used_at_once_and_is_kept(store: Store) {
    let mut shop = Shop::open_with(store, &["--demo"]);
    let path = shop.data_dir().join("demo.json");
    let demo = |shop: &Shop| -> Value {
        let bytes = std::fs::read(shop.data_dir().join("demo.json")).expect("demo.json");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let first = demo(&shop);
    let mode = std::fs::metadata(&path)
        .expect("demo.json")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "it holds tokens");
    assert_eq!(first["url"], shop.url());
    for person in ["admin", "buyer"] {
        for field in ["username", "password", "token"] {
            assert!(!text(&first[person], field).is_empty(), "{person}.{field}");
        }
    }
    let visitor = shop.visitor();
    let product = |word: &str| text(&first["products"], word);
    assert_eq!(
        look(&visitor, &product("open"))["availability"],
        "available"
    );
    assert_eq!(
        look(&visitor, &product("scheduled"))["window"]["state"],
        "scheduled"
    );
    assert_eq!(
        look(&visitor, &product("sold_out"))["availability"],
        "sold_out"
    );
    let buyer = visitor.with_token(text(&first["buyer"], "token"));
    let order = buyer.hold(&product("open"), 1);
    buyer.pay(&order, "card").is(201);
    let admin = visitor.with_token(text(&first["admin"], "token"));
    admin
        .get(&format!("/v1/admin/products/{}/sale", product("open")))
        .is(200);

    shop.stop();
    shop.start();
    let second = demo(&shop);
    assert_eq!(second["products"], first["products"]);
    assert_eq!(second["buyer"]["id"], first["buyer"]["id"]);
    assert_eq!(second["url"], shop.url());
    let buyer = shop.visitor().with_token(text(&second["buyer"], "token"));
    assert_eq!(buyer.state(&order), "paid");
}

/// Every route of the contract; some of them are still to come.
const CONTRACT: &[(&str, &str)] = &[
    ("GET", "/v1/auth/username-available"),
    ("POST", "/v1/auth/sign-up"),
    ("POST", "/v1/auth/verify-email"),
    ("POST", "/v1/auth/resend-code"),
    ("POST", "/v1/auth/sign-in"),
    ("POST", "/v1/auth/refresh"),
    ("POST", "/v1/auth/sign-out"),
    ("POST", "/v1/auth/forgot-password"),
    ("POST", "/v1/auth/reset-password"),
    ("GET", "/v1/me"),
    ("PATCH", "/v1/me"),
    ("DELETE", "/v1/me"),
    ("POST", "/v1/me/password"),
    ("GET", "/v1/me/addresses"),
    ("POST", "/v1/me/addresses"),
    ("PATCH", "/v1/me/addresses/{id}"),
    ("DELETE", "/v1/me/addresses/{id}"),
    ("GET", "/v1/me/wishlist"),
    ("PUT", "/v1/me/wishlist/{product_id}"),
    ("DELETE", "/v1/me/wishlist/{product_id}"),
    ("POST", "/v1/me/wishlist/checkout"),
    ("GET", "/v1/me/waitlist"),
    ("GET", "/v1/me/events"),
    ("GET", "/v1/products"),
    ("GET", "/v1/products/{id}"),
    ("GET", "/v1/products/{id}/live"),
    ("POST", "/v1/products/{id}/waitlist"),
    ("DELETE", "/v1/products/{id}/waitlist"),
    ("POST", "/v1/orders"),
    ("GET", "/v1/orders"),
    ("GET", "/v1/orders/{id}"),
    ("POST", "/v1/orders/{id}/payments"),
    ("POST", "/v1/orders/{id}/cancel"),
    ("POST", "/v1/orders/{id}/return"),
    ("POST", "/v1/admin/products"),
    ("PATCH", "/v1/admin/products/{id}"),
    ("DELETE", "/v1/admin/products/{id}"),
    ("PUT", "/v1/admin/products/{id}/stock"),
    ("PUT", "/v1/admin/products/{id}/window"),
    ("POST", "/v1/admin/products/{id}/window/{act}"),
    ("GET", "/v1/admin/products/{id}/sale"),
    ("GET", "/v1/admin/products/{id}/sale/live"),
    ("GET", "/v1/admin/products/{id}/sale/orders.csv"),
    ("GET", "/v1/admin/orders"),
    ("POST", "/v1/admin/orders/{id}/shipment"),
    ("POST", "/v1/admin/orders/{id}/delivered"),
    ("POST", "/v1/admin/orders/{id}/return/accept"),
    ("GET", "/v1/admin/audit"),
    ("GET", "/v1/admin/users/{id}/role"),
    ("POST", "/v1/admin/users/{id}/role"),
    ("POST", "/v1/webhooks/payments/{provider}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
];

#[test]
fn the_openapi_document_lists_every_route_that_is_answered_and_no_other() {
    let shop = Shop::open(Store::Sqlite);
    let document = shop.visitor().get("/openapi.json").is(200);
    let version = text(&document, "openapi");
    assert!(version.starts_with("3.1"), "{version}");
    let documented = documented(&document);
    let paths: BTreeSet<&str> = documented
        .iter()
        .map(|(_, path)| path.as_str())
        .chain(CONTRACT.iter().map(|(_, path)| *path))
        .collect();
    for path in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let answered = is_answered(&shop.visitor(), method, path);
            let listed = documented.contains(&(method.to_owned(), path.to_owned()));
            assert_eq!(
                answered, listed,
                "{method} {path}: answered or listed, not both"
            );
        }
    }
}

#[test]
fn the_openapi_document_names_security_and_answers_of_every_route() {
    let shop = Shop::open(Store::Sqlite);
    let document = shop.visitor().get("/openapi.json").is(200);
    for (method, path) in documented(&document) {
        let route = &document["paths"][&path][method.to_lowercase()];
        let open = [
            "/v1/products",
            "/healthz",
            "/readyz",
            "/openapi.json",
            "/docs",
            "/metrics",
            "/v1/webhooks",
        ];
        let is_open = open.iter().any(|start| path.starts_with(start)) || path.contains("/auth/");
        let asked = is_answered_with(&shop.visitor(), &method, &path).status == 401;
        assert_eq!(asked, route["security"].is_array(), "{method} {path}");
        assert_eq!(
            asked,
            !is_open || path.contains("waitlist"),
            "{method} {path}"
        );
        let answers = route["responses"].as_object().expect("responses");
        assert!(
            answers.keys().any(|status| status.starts_with('2')),
            "{method} {path}"
        );
    }
}

fn documented(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let routes = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods");
        methods
            .keys()
            .map(|method| (method.to_uppercase(), path.clone()))
    });
    routes.collect()
}

/// Whether there is anything at this path for this method.
fn is_answered(visitor: &Caller, method: &str, path: &str) -> bool {
    let answer = is_answered_with(visitor, method, path);
    let detail = match answer.status {
        404 | 405 => text(&answer.json(), "detail"),
        _ => return true,
    };
    !(answer.status == 405 || detail.contains("no such path"))
}

fn is_answered_with(visitor: &Caller, method: &str, path: &str) -> Answer {
    let id = uuid::Uuid::now_v7().to_string();
    let path = path
        .replace("{act}", "open")
        .replace("{provider}", "sandbox");
    let path = path.replace("{id}", &id).replace("{product_id}", &id);
    let method = method.parse().expect("a method");
    visitor.send(&method, &path, None, None)
}

fn look(caller: &Caller, product: &str) -> Value {
    caller.get(&format!("/v1/products/{product}")).is(200)
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
    items.iter().map(|item| text(item, "id")).collect()
}
