//! The address book, and what an order remembers of it.

use serde_json::{Value, json};
use ureq::http::Method;
use uuid::Uuid;

use crate::support::{Key, Member, Sale, Shop, Store, line, on_each_database, text};

on_each_database! {
    the_first_address_is_the_default_and_the_default_moves,
    an_address_is_edited_field_by_field,
    a_book_has_20_addresses_at_most,
    a_book_comes_in_pages,
    a_strangers_address_answers_like_none,
    an_order_keeps_the_address_that_it_was_placed_with,
    an_order_goes_to_an_address_of_ones_own,
    a_repeated_order_is_answered_alike_whatever_became_of_the_address,
    addresses_survive_a_crash,
}

pub(crate) fn form(recipient: &str) -> Value {
    json!({
        "recipient": recipient,
        "phone": "010-1234-5678",
        "postal_code": "04524",
        "line1": "110 Sejong-daero, Jung-gu",
        "line2": "7th floor",
    })
}

fn book(member: &Member) -> Vec<Value> {
    let page = member.caller.get("/v1/me/addresses").is(200);
    page["items"].as_array().expect("items").clone()
}

fn path(address: &Value) -> String {
    format!("/v1/me/addresses/{}", text(address, "id"))
}

/// Which of them is the default.
#[track_caller]
fn default_of(member: &Member) -> Option<String> {
    let book = book(member);
    let defaults: Vec<&Value> = book.iter().filter(|it| it["is_default"] == true).collect();
    assert!(defaults.len() <= 1, "{defaults:#?}");
    defaults.first().map(|it| text(it, "id"))
}

fn the_first_address_is_the_default_and_the_default_moves(store: Store) {
    let shop = Shop::open(store);
    let alice = shop.member("alice");
    assert_eq!(book(&alice), Vec::<Value>::new());
    let home = alice.adds_address(&form("Alice at home"));
    assert_eq!(home["is_default"], true);
    assert_eq!(
        (&home["country"], &home["line2"]),
        (&json!("KR"), &json!("7th floor"))
    );
    let work = alice.adds_address(&form("Alice at work"));
    assert_eq!(work["is_default"], false);
    let mut third = form("Alice's mother");
    third["default"] = json!(true);
    let mother = alice.adds_address(&third);
    assert_eq!(mother["is_default"], true);
    assert_eq!(default_of(&alice), Some(text(&mother, "id")));
    let moved = alice.caller.patch(&path(&work), &json!({"default": true}));
    assert_eq!(moved.is(200)["is_default"], true);
    assert_eq!(default_of(&alice), Some(text(&work, "id")));
    alice.caller.delete(&path(&home)).is(204);
    assert_eq!(default_of(&alice), Some(text(&work, "id")));
    alice.caller.delete(&path(&work)).is(204);
    assert_eq!(book(&alice).len(), 1);
    default_of(&alice);
    alice.caller.delete(&path(&mother)).is(204);
    assert_eq!(book(&alice), Vec::<Value>::new());
    assert_eq!(alice.adds_address(&form("Alice"))["is_default"], true);
}

fn an_address_is_edited_field_by_field(store: Store) {
    let shop = Shop::open(store);
    let alice = shop.member("alice");
    let mut expected = alice.adds_address(&form("Alice"));
    for (field, value) in [
        ("recipient", json!("홍길동")),
        ("phone", json!("+1 415 555 0100")),
        ("country", json!("US")),
        ("postal_code", json!("94103")),
        ("line1", json!("1 O'Farrell St \"B\"")),
        ("line2", json!(null)),
        ("line2", json!("Apt 4")),
    ] {
        let edited = alice
            .caller
            .patch(&path(&expected), &json!({field: value}))
            .is(200);
        if field != "phone" {
            assert_eq!(edited[field], value, "{field}");
        }
        expected[field] = edited[field].clone();
        assert_eq!(edited, expected);
        assert_eq!(book(&alice), [expected.clone()]);
    }
    for (field, value) in [
        ("recipient", json!("")),
        ("recipient", json!("a\r\nb")),
        ("recipient", json!("x".repeat(10_000))),
        ("phone", json!("none")),
        ("country", json!("Korea")),
        ("country", json!("K")),
        ("country", json!("1Z")),
        ("postal_code", json!("")),
        ("postal_code", json!("x".repeat(1_000))),
        ("line1", json!("")),
        ("line1", json!("a\u{0}b")),
        ("line1", json!(null)),
        ("line1", json!("x".repeat(10_000))),
        ("line2", json!("a\nb")),
        ("default", json!("yes")),
        ("id", json!(Uuid::now_v7())),
        ("is_default", json!(true)),
        ("account", json!(Uuid::now_v7())),
    ] {
        let patched = alice.caller.patch(&path(&expected), &json!({field: value}));
        // Nothing stands there: nothing is said of it.
        if field == "line1" && value.is_null() && patched.status == 200 {
            continue;
        }
        patched.is_refused(422, "invalid_values");
        let mut whole = form("Alice");
        whole[field] = value;
        alice
            .caller
            .post_with("/v1/me/addresses", &whole)
            .is_refused(422, "invalid_values");
    }
    for field in ["recipient", "phone", "postal_code", "line1"] {
        let mut whole = form("Alice");
        whole.as_object_mut().expect("a form").remove(field);
        alice
            .caller
            .post_with("/v1/me/addresses", &whole)
            .is_refused(422, "invalid_values");
    }
    assert_eq!(book(&alice), [expected]);
}

fn a_book_has_20_addresses_at_most(store: Store) {
    let shop = Shop::open(store);
    let alice = shop.member("alice");
    for number in 0..20 {
        alice.adds_address(&form(&format!("Alice {number}")));
    }
    alice
        .caller
        .post_with("/v1/me/addresses", &form("One more"))
        .is_refused(409, "too_many_addresses");
    let first = book(&alice)[0].clone();
    alice.caller.delete(&path(&first)).is(204);
    // Of many at once there is room for one.
    let answers = crate::support::at_once(&[(); 8], |()| {
        alice
            .caller
            .post_with("/v1/me/addresses", &form("One of many"))
    });
    let added = answers.iter().filter(|it| it.status == 201).count();
    assert_eq!(added, 1);
    for answer in answers.iter().filter(|it| it.status != 201) {
        answer.is_refused(409, "too_many_addresses");
    }
    assert_eq!(book(&alice).len(), 20);
    shop.member("bob").adds_address(&form("Bob"));
}

fn a_book_comes_in_pages(store: Store) {
    let shop = Shop::open(store);
    let alice = shop.member("alice");
    let added: Vec<Value> = (0..7)
        .map(|it| alice.adds_address(&form(&format!("Alice {it}"))))
        .collect();
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = alice
            .caller
            .get(&format!("/v1/me/addresses?limit=3{after}"))
            .is(200);
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 3);
        found.extend(items.iter().map(|it| text(it, "id")));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("&after={next}");
    }
    let ids: Vec<String> = added.iter().map(|it| text(it, "id")).collect();
    assert_eq!(found, ids);
    for query in ["limit=0", "limit=101", "limit=x", "after=x", "page=1"] {
        alice
            .caller
            .get(&format!("/v1/me/addresses?{query}"))
            .is_refused(422, "invalid_values");
    }
}

fn a_strangers_address_answers_like_none(store: Store) {
    let shop = Shop::open(store);
    let (alice, mallory) = (shop.member("alice"), shop.member("mallory"));
    let home = alice.adds_address(&form("Alice"));
    let body = json!({"line1": "Mallory's den", "default": true});
    for id in [
        text(&home, "id"),
        Uuid::now_v7().to_string(),
        "1".into(),
        Uuid::nil().to_string(),
    ] {
        let path = format!("/v1/me/addresses/{id}");
        mallory
            .caller
            .patch(&path, &body)
            .is_refused(404, "not_found");
        mallory.caller.delete(&path).is_refused(404, "not_found");
        mallory
            .caller
            .send(&Method::PATCH, &path, None, Some(&json!({})))
            .is_refused(404, "not_found");
    }
    assert_eq!(book(&alice), [home]);
    assert_eq!(book(&mallory), Vec::<Value>::new());
}

/// The address as an order shows it, without what is about the book.
fn shown(order: &Value) -> Value {
    let fields = [
        "recipient",
        "phone",
        "country",
        "postal_code",
        "line1",
        "line2",
    ];
    let address = &order["address"];
    json!(fields.map(|field| address[field].clone()))
}

fn an_order_keeps_the_address_that_it_was_placed_with(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let alice = shop.member("alice");
    let home = alice.adds_address(&form("Alice at home"));
    let place = |alice: &Member| {
        let body = json!({"lines": [line(&lamp, 1)], "address_id": home["id"]});
        alice
            .caller
            .post_under(&Key::fresh(), "/v1/orders", &body)
            .is(201)
    };
    let first = place(&alice);
    let at_first = json!([
        "Alice at home",
        home["phone"],
        "KR",
        "04524",
        "110 Sejong-daero, Jung-gu",
        "7th floor"
    ]);
    assert_eq!(shown(&alice.caller.order(&first)), at_first);
    let patch = json!({"recipient": "Alice Lee", "line1": "1 Elsewhere", "line2": null});
    alice.caller.patch(&path(&home), &patch).is(200);
    let second = place(&alice);
    let at_second = json!([
        "Alice Lee",
        home["phone"],
        "KR",
        "04524",
        "1 Elsewhere",
        null
    ]);
    let check = |alice: &Member, when: &str| {
        assert_eq!(shown(&alice.caller.order(&first)), at_first, "{when}");
        assert_eq!(shown(&alice.caller.order(&second)), at_second, "{when}");
        let listed = alice.caller.get("/v1/orders").is(200);
        let ids = [&first, &second].map(|it| text(it, "id"));
        for item in listed["items"].as_array().expect("items") {
            let expected = if text(item, "id") == ids[0] {
                &at_first
            } else {
                &at_second
            };
            assert_eq!(shown(item), *expected, "{when}");
        }
    };
    check(&alice, "after an edit");
    alice.caller.pay(&first, "card_ok").is(201);
    alice.caller.delete(&path(&home)).is(204);
    check(&alice, "after the address was removed");
    shop.catches_up();
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    check(&alice, "after a restart");
    // An order without an address has none.
    let bare = alice.caller.hold(&lamp, 1);
    assert_eq!(alice.caller.order(&bare)["address"], json!(null));
}

fn an_order_goes_to_an_address_of_ones_own(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let (alice, mallory) = (shop.member("alice"), shop.member("mallory"));
    let home = alice.adds_address(&form("Alice"));
    let gone = mallory.adds_address(&form("Mallory"));
    mallory.caller.delete(&path(&gone)).is(204);
    for id in [
        text(&home, "id"),
        text(&gone, "id"),
        Uuid::now_v7().to_string(),
        Uuid::nil().to_string(),
    ] {
        let body = json!({"lines": [line(&lamp, 1)], "address_id": id});
        let answer = mallory
            .caller
            .post_under(&Key::fresh(), "/v1/orders", &body);
        let told = answer.is_refused(422, "invalid_values");
        assert_eq!(text(&told["errors"][0], "field"), "address_id", "{told}");
    }
    // A token without an account has no book.
    let body = json!({"lines": [line(&lamp, 1)], "address_id": home["id"]});
    shop.buyer()
        .post_under(&Key::fresh(), "/v1/orders", &body)
        .is_refused(422, "invalid_values");
    assert_eq!(shop.units(&lamp), (10, 0, 0));
    assert_eq!(mallory.caller.get("/v1/orders").is(200)["items"], json!([]));
}

fn a_repeated_order_is_answered_alike_whatever_became_of_the_address(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let alice = shop.member("alice");
    let home = alice.adds_address(&form("Alice"));
    let work = alice.adds_address(&form("Alice at work"));
    let key = Key::fresh();
    let body = json!({"lines": [line(&lamp, 1)], "address_id": home["id"]});
    let first = alice.caller.post_under(&key, "/v1/orders", &body);
    first.is(201);
    let again = |alice: &Member| {
        let answer = alice.caller.post_under(&key, "/v1/orders", &body);
        assert_eq!((answer.status, &answer.body), (201, &first.body));
    };
    again(&alice);
    alice
        .caller
        .patch(&path(&home), &json!({"line1": "Elsewhere"}))
        .is(200);
    again(&alice);
    alice.caller.delete(&path(&home)).is(204);
    again(&alice);
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    again(&alice);
    let other = json!({"lines": [line(&lamp, 1)], "address_id": work["id"]});
    alice
        .caller
        .post_under(&key, "/v1/orders", &other)
        .is_refused(422, "idempotency_key_reused");
    assert_eq!(shop.units(&lamp), (9, 1, 0));
}

fn addresses_survive_a_crash(store: Store) {
    let mut shop = Shop::open(store);
    let alice = shop.member("alice");
    alice.adds_address(&form("Alice"));
    let work = alice.adds_address(&form("Alice at work"));
    alice
        .caller
        .patch(&path(&work), &json!({"default": true}))
        .is(200);
    let before = book(&alice);
    shop.kill_and_start();
    assert_eq!(book(&alice.at(shop.url())), before);
}
