//! The wishlist: what it shows, and buying all of it in one order.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use rand::RngExt;
use serde_json::{Value, json};
use ureq::http::Method;
use uuid::Uuid;

use crate::support::{
    Answer, Caller, Key, Sale, Shop, Store, at_once, connect, eventually, line, on_each_database,
    pause, run, text,
};

on_each_database! {
    a_wish_is_put_changed_and_removed,
    a_quantity_that_no_order_takes_is_refused,
    a_list_shows_price_and_availability_of_this_moment,
    a_list_has_50_lines_at_most,
    a_list_comes_in_pages,
    a_list_is_its_owners_own,
    a_list_survives_a_crash,
    a_product_that_was_deleted_is_shown_as_gone,
    a_total_is_in_one_currency,
    a_list_is_bought_in_one_go_and_is_empty_then,
    twenty_products_are_bought_by_one_record,
    what_is_short_is_named_and_the_list_stays,
    an_empty_list_is_not_bought,
    a_bought_list_goes_to_an_address_of_ones_own,
    a_repeat_gets_the_same_bytes_and_ends_the_removal,
    a_removal_that_failed_is_told_and_done_by_the_repeat,
    whoever_hangs_up_finds_an_order_or_a_list,
    the_key_decides_and_not_the_list,
    what_is_put_there_again_stays,
    one_key_in_twenty_requests_at_once_is_one_order,
    of_lists_that_want_the_same_last_unit_one_is_bought,
    whatever_the_moment_of_death_a_list_is_bought_whole_or_not_at_all,
}

const LIST: &str = "/v1/me/wishlist";

fn a_wish_is_put_changed_and_removed(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let alice = somebody(&shop);
    assert_eq!(list(&alice)["items"], json!([]));

    let added = put(&alice, &lamp, 2).is(201);
    assert_eq!(
        (text(&added, "product_id"), &added["quantity"]),
        (lamp.clone(), &json!(2))
    );
    for quantity in [3, 3] {
        let changed = put(&alice, &lamp, quantity).is(200);
        assert_eq!(changed["quantity"], quantity);
        assert_eq!(changed["added_at"], added["added_at"]);
        assert_eq!(list(&alice)["items"], json!([changed]));
    }
    assert_eq!(shop.units(&lamp), (10, 0, 0), "a wish takes no stock");

    let unknown = Uuid::now_v7().to_string();
    put(&alice, &unknown, 1).is_refused(404, "not_found");
    put(&alice, "lamp", 1).is_refused(404, "not_found");
    for product in [&unknown, &lamp, &lamp] {
        alice.delete(&path(product)).is(204);
    }
    assert_eq!(wishes(&alice), []);
}

fn a_quantity_that_no_order_takes_is_refused(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let alice = somebody(&shop);
    put(&alice, &lamp, 10_000).is(201);
    for body in [
        json!({"quantity": 0}),
        json!({"quantity": 10_001}),
        json!({"quantity": -1}),
        json!({"quantity": 4_294_967_296_u64}),
        json!({"quantity": 1.5}),
        json!({"quantity": "1"}),
        json!({"quantity": null}),
        json!({"quantity": 1, "price": 0}),
        json!({}),
        json!([1]),
    ] {
        let answer = alice.send(&Method::PUT, &path(&lamp), None, Some(&body));
        let told = answer.is_refused(422, "invalid_values");
        assert!(
            !text(&told["errors"][0], "field").is_empty(),
            "{body}: {told}"
        );
    }
    assert_eq!(wishes(&alice), [(lamp, 10_000)]);
}

fn a_list_shows_price_and_availability_of_this_moment(store: Store) {
    let shop = Shop::open(store);
    let [lamp, desk] = [2, 1].map(|stock| shop.product(Sale::of(stock)));
    let alice = somebody(&shop);
    put(&alice, &lamp, 2).is(201);
    put(&alice, &desk, 1).is(201);
    let seen = |number: usize| list(&alice)["items"][number].clone();
    let product = |id: &str| alice.get(&format!("/v1/products/{id}")).is(200);
    let same_as_the_product = |number: usize, id: &str| {
        let (wish, product) = (seen(number), product(id));
        for field in [
            "name",
            "image_url",
            "price",
            "window",
            "availability",
            "available",
            "holds",
            "earliest_deadline",
        ] {
            assert_eq!(wish[field], product[field], "{field}");
        }
        assert_eq!(wish["gone"], false);
    };
    same_as_the_product(0, &lamp);
    assert_eq!(
        list(&alice)["total"],
        json!({"amount": 117_000, "currency": "KRW"})
    );

    let bob = shop.buyer();
    let order = bob.hold(&desk, 1);
    assert_eq!(
        (&seen(1)["availability"], &seen(1)["available"]),
        (&json!("all_held"), &json!(0))
    );
    assert_eq!(seen(1)["earliest_deadline"], order["pay_by"]);
    bob.pay(&order, "card").is(201);
    assert_eq!(seen(1)["availability"], "sold_out");
    let dearer = json!({"name": "Reading lamp", "price": {"amount": 50_000, "currency": "KRW"}});
    shop.edit(&lamp, &dearer).is(200);
    shop.window_act(&lamp, "pause").is(200);
    same_as_the_product(0, &lamp);
    same_as_the_product(1, &desk);
    assert_eq!(
        (&seen(0)["name"], &seen(0)["window"]["state"]),
        (&json!("Reading lamp"), &json!("paused"))
    );
    assert_eq!(list(&alice)["total"]["amount"], 139_000);
}

fn a_list_has_50_lines_at_most(store: Store) {
    let shop = Shop::open(store);
    let products: Vec<String> = (0..57).map(|_| shop.product(Sale::of(10))).collect();
    let alice = somebody(&shop);
    for product in &products[..49] {
        put(&alice, product, 1).is(201);
    }
    // The last place goes to one of those who want it at once.
    let answers = at_once(&products[49..], |product| put(&alice, product, 1));
    assert_eq!(answers.iter().filter(|it| it.status == 201).count(), 1);
    for answer in answers.iter().filter(|it| it.status != 201) {
        assert_eq!(answer.is_refused(409, "wishlist_full")["lines_max"], 50);
    }
    assert_eq!(wishes(&alice).len(), 50);
    put(&alice, &products[0], 7).is(200);
    // A full list can still be bought in one go.
    let order = checkout(&alice).is(201);
    assert_eq!(order["lines"].as_array().map(Vec::len), Some(50));
    assert_eq!(wishes(&alice), []);
}

fn a_list_comes_in_pages(store: Store) {
    let shop = Shop::open(store);
    let mut products: Vec<String> = (0..7).map(|_| shop.product(Sale::of(10))).collect();
    // In the order in which they were put there, not in that of the products.
    products.reverse();
    let alice = somebody(&shop);
    for product in &products {
        put(&alice, product, 1).is(201);
    }
    put(&alice, &products[0], 2).is(200);
    let mut listed: Vec<Vec<String>> = Vec::new();
    let mut after = String::new();
    loop {
        let page = alice.get(&format!("{LIST}?limit=3{after}")).is(200);
        assert_eq!(page["total"]["amount"], 8 * 39_000, "of the whole list");
        listed.push(ids(&page));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let expected: Vec<Vec<String>> = products.chunks(3).map(<[String]>::to_vec).collect();
    assert_eq!(listed, expected);
    let nowhere = format!("{LIST}?after={}", Uuid::now_v7());
    assert_eq!(ids(&alice.get(&nowhere).is(200)), Vec::<String>::new());
    for limit in ["0", "101", "-1", "many"] {
        alice
            .get(&format!("{LIST}?limit={limit}"))
            .is_refused(422, "invalid_values");
    }
}

fn a_list_is_its_owners_own(store: Store) {
    let shop = Shop::open(store);
    let [lamp, desk] = [10, 10].map(|stock| shop.product(Sale::of(stock)));
    let [alice, bob] = people(&shop, 2)
        .try_into()
        .unwrap_or_else(|_| panic!("two people"));
    put(&alice, &lamp, 1).is(201);
    put(&bob, &lamp, 4).is(201);
    put(&bob, &desk, 2).is(201);
    bob.delete(&path(&lamp)).is(204);
    assert_eq!(wishes(&alice), [(lamp.clone(), 1)]);
    assert_eq!(wishes(&bob), [(desk.clone(), 2)]);
    let key = Key::fresh();
    let [of_alice, of_bob] = [&alice, &bob].map(|it| checkout_under(&key, it).is(201));
    assert_eq!(
        (
            text(&of_alice["lines"][0], "product_id"),
            text(&of_bob["lines"][0], "product_id")
        ),
        (lamp, desk)
    );
    assert_eq!((wishes(&alice), wishes(&bob)), (vec![], vec![]));
}

fn a_list_survives_a_crash(store: Store) {
    let mut shop = Shop::open(store);
    let [lamp, desk] = [10, 10].map(|stock| shop.product(Sale::of(stock)));
    let alice = somebody(&shop);
    put(&alice, &lamp, 1).is(201);
    put(&alice, &desk, 2).is(201);
    put(&alice, &lamp, 3).is(200);
    let before = list(&alice)["items"].clone();
    shop.kill_and_start();
    assert_eq!(list(&alice.at(shop.url()))["items"], before);
}

fn a_product_that_was_deleted_is_shown_as_gone(store: Store) {
    let mut shop = Shop::open(store);
    let [lamp, desk] = [10, 10].map(|stock| shop.product(Sale::of(stock)));
    let alice = somebody(&shop);
    put(&alice, &lamp, 2).is(201);
    put(&alice, &desk, 1).is(201);
    shop.admin()
        .delete(&format!("/v1/admin/products/{lamp}"))
        .is(204);
    let shows_it = |alice: &Caller| {
        let list = list(alice);
        let gone = &list["items"][0];
        assert_eq!(
            (&gone["gone"], text(gone, "product_id"), text(gone, "name")),
            (&json!(true), lamp.clone(), "Desk lamp".into())
        );
        assert_eq!(
            (&gone["quantity"], &gone["available"]),
            (&json!(2), &json!(0))
        );
        for field in ["price", "window", "availability", "earliest_deadline"] {
            assert_eq!(gone[field], Value::Null, "{field}");
        }
        assert_eq!(
            (&list["items"][1]["gone"], &list["total"]["amount"]),
            (&json!(false), &json!(39_000))
        );
    };
    shows_it(&alice);
    shop.catches_up();
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    shows_it(&alice);

    put(&alice, &lamp, 1).is_refused(404, "not_found");
    let told = checkout(&alice).is_refused(404, "not_found");
    assert_eq!(
        text(&told, "product_id"),
        lamp,
        "it says what is in the way"
    );
    assert_eq!(shop.units(&desk), (10, 0, 0));
    alice.delete(&path(&lamp)).is(204);
    checkout(&alice).is(201);
}

fn a_total_is_in_one_currency(store: Store) {
    let shop = Shop::open(store);
    let [lamp, desk] = [10, 10].map(|stock| shop.product(Sale::of(stock)));
    let alice = somebody(&shop);
    assert_eq!(list(&alice)["total"], Value::Null);
    put(&alice, &lamp, 2).is(201);
    let dollars = json!({"price": {"amount": 1_999, "currency": "USD"}});
    shop.edit(&desk, &dollars).is(200);
    put(&alice, &desk, 3).is(201);
    assert_eq!(list(&alice)["total"], Value::Null);
    checkout(&alice).is_refused(409, "currency_mismatch");
    alice.delete(&path(&lamp)).is(204);
    assert_eq!(
        list(&alice)["total"],
        json!({"amount": 5_997, "currency": "USD"})
    );
}

fn a_list_is_bought_in_one_go_and_is_empty_then(store: Store) {
    let shop = Shop::open(store);
    let [lamp, desk] = [5, 5].map(|stock| shop.product(Sale::of(stock)));
    let alice = somebody(&shop);
    put(&alice, &lamp, 2).is(201);
    put(&alice, &desk, 1).is(201);
    let total = list(&alice)["total"].clone();
    let answer = checkout(&alice);
    let order = answer.is(201);

    let location = format!("/v1/orders/{}", text(&order, "id"));
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert_eq!((&order["state"], &order["total"]), (&json!("held"), &total));
    let lines = [(&lamp, 2), (&desk, 1)].map(|(product, quantity)| {
        json!({"product_id": product, "quantity": quantity, "unit_price": {"amount": 39_000, "currency": "KRW"}})
    });
    assert_eq!(order["lines"], json!(lines));
    assert_eq!(wishes(&alice), []);
    assert_eq!(
        (shop.units(&lamp), shop.units(&desk)),
        ((3, 2, 0), (4, 1, 0))
    );
    alice.pay(&order, "card").is(201);
    assert_eq!(
        (shop.units(&lamp), shop.units(&desk)),
        ((3, 0, 2), (4, 0, 1))
    );
}

fn twenty_products_are_bought_by_one_record(store: Store) {
    let shop = Shop::open(store);
    let products: Vec<String> = (0..20).map(|_| shop.product(Sale::of(3))).collect();
    let (alice, bob) = (somebody(&shop), shop.buyer());
    for product in &products {
        put(&alice, product, 2).is(201);
    }
    let sequence = |order: &Value| {
        order["sequence"]
            .as_u64()
            .unwrap_or_else(|| panic!("{order}"))
    };
    // The number of a record is the place of its order.
    let before = sequence(&bob.hold(&products[0], 1));
    let order = checkout(&alice).is(201);
    let after = sequence(&bob.hold(&products[19], 1));
    assert_eq!(order["lines"].as_array().map(Vec::len), Some(20));
    assert_eq!((sequence(&order), after), (before + 1, before + 2));
    let units: Vec<_> = products.iter().map(|it| shop.units(it)).collect();
    assert_eq!((units[0], units[19]), ((0, 3, 0), (0, 3, 0)));
    assert!(units[1..19].iter().all(|it| *it == (1, 2, 0)), "{units:?}");
}

fn what_is_short_is_named_and_the_list_stays(store: Store) {
    let shop = Shop::open(store);
    let [plenty, held, few] = [5, 1, 2].map(|stock| shop.product(Sale::of(stock)));
    let other = shop.buyer();
    let taken = other.hold(&held, 1);
    let alice = somebody(&shop);
    for (product, quantity) in [(&plenty, 1), (&held, 1), (&few, 3)] {
        put(&alice, product, quantity).is(201);
    }
    let (key, before) = (Key::fresh(), wishes(&alice));
    let told = checkout_under(&key, &alice).is_refused(409, "all_held");
    let same = other.place(&[line(&plenty, 1), line(&held, 1), line(&few, 3)]);
    assert_eq!(
        told["short"],
        same.is_refused(409, "all_held")["short"],
        "as POST /v1/orders says it"
    );
    let short: Vec<String> = told["short"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|it| text(it, "product_id"))
        .collect();
    assert_eq!(short, [held.clone(), few.clone()]);
    assert_eq!(wishes(&alice), before);
    assert_eq!(
        (shop.units(&plenty), shop.units(&few)),
        ((5, 0, 0), (2, 0, 0))
    );

    // A refusal is not remembered: the same key buys once the reason is gone.
    other.cancel(&taken).is(200);
    put(&alice, &few, 2).is(200);
    checkout_under(&key, &alice).is(201);
    assert_eq!(wishes(&alice), []);

    let limited = Sale {
        limit: Some(1),
        ..Sale::of(9)
    };
    let rare = shop.product(limited);
    put(&alice, &plenty, 1).is(201);
    put(&alice, &rare, 2).is(201);
    let told = checkout(&alice).is_refused(409, "limit_reached");
    assert_eq!(
        (text(&told, "product_id"), &told["limit"]),
        (rare, &json!(1))
    );
    assert_eq!(wishes(&alice).len(), 2);
}

fn an_empty_list_is_not_bought(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, key) = (somebody(&shop), Key::fresh());
    checkout_under(&key, &alice).is_refused(409, "wishlist_empty");
    put(&alice, &lamp, 1).is(201);
    checkout_under(&key, &alice).is(201);
    checkout(&alice).is_refused(409, "wishlist_empty");
    let without_key = alice.post_with(&format!("{LIST}/checkout"), &json!({}));
    without_key.is_refused(400, "idempotency_key_required");
    assert_eq!(shop.units(&lamp), (4, 1, 0));
}

fn a_bought_list_goes_to_an_address_of_ones_own(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let [alice, bob] = ["alice", "bob"].map(|it| shop.member(it));
    let home = alice.adds_address(&crate::accounts::address_form("Alice"));
    let buys = |member: &crate::support::Member, key: &Key| {
        let body = json!({"address_id": home["id"]});
        member
            .caller
            .post_under(key, &format!("{LIST}/checkout"), &body)
    };
    for member in [&alice, &bob] {
        put(&member.caller, &lamp, 1).is(201);
    }
    let told = buys(&bob, &Key::fresh()).is_refused(422, "invalid_values");
    assert_eq!(told["errors"][0]["field"], "address_id");
    assert_eq!(wishes(&bob.caller).len(), 1);

    let key = Key::fresh();
    let first = buys(&alice, &key);
    let seen = alice.caller.order(&first.is(201));
    assert_eq!(seen["address"]["recipient"], "Alice");
    // Where to is part of what was asked; what the book says by now is not.
    checkout_under(&key, &alice.caller).is_refused(422, "idempotency_key_reused");
    let gone = format!("/v1/me/addresses/{}", text(&home, "id"));
    alice.caller.delete(&gone).is(204);
    same_bytes(&first, &buys(&alice, &key));
    put(&alice.caller, &lamp, 1).is(201);
    same_bytes(&first, &buys(&alice, &key));
    assert_eq!(wishes(&alice.caller).len(), 1);
}

fn a_repeat_gets_the_same_bytes_and_ends_the_removal(store: Store) {
    let mut shop = Shop::open(store);
    let [lamp, desk] = [5, 5].map(|stock| shop.product(Sale::of(stock)));
    let (alice, key) = (somebody(&shop), Key::fresh());
    put(&alice, &lamp, 2).is(201);
    put(&alice, &desk, 1).is(201);
    shop.sql("CREATE TABLE wishlist_before AS SELECT * FROM wishlist");
    let first = checkout_under(&key, &alice);
    first.is(201);
    same_bytes(&first, &checkout_under(&key, &alice));

    // As if it had died after the record and before the removal.
    shop.kill();
    shop.sql("INSERT INTO wishlist SELECT * FROM wishlist_before");
    shop.sql("DROP TABLE wishlist_before");
    shop.start();
    let alice = alice.at(shop.url());
    assert_eq!(wishes(&alice).len(), 2);
    same_bytes(&first, &checkout_under(&key, &alice));
    assert_eq!(wishes(&alice), []);
    same_bytes(&first, &checkout_under(&key, &alice));
    assert_eq!(
        (shop.units(&lamp), shop.units(&desk)),
        ((3, 2, 0), (4, 1, 0))
    );
    assert_eq!(ids_of_orders(&alice).len(), 1);
}

fn a_removal_that_failed_is_told_and_done_by_the_repeat(store: Store) {
    let mut shop = Shop::open(store);
    let [lamp, desk] = [5, 5].map(|stock| shop.product(Sale::of(stock)));
    let (alice, key) = (somebody(&shop), Key::fresh());
    put(&alice, &lamp, 2).is(201);
    put(&alice, &desk, 1).is(201);
    shop.announce("request failed");
    shop.sql(match store {
        Store::Sqlite => {
            "CREATE TRIGGER stuck BEFORE DELETE ON wishlist BEGIN SELECT RAISE(ABORT, 'stuck'); END"
        }
        Store::MariaDb => {
            "CREATE TRIGGER stuck BEFORE DELETE ON wishlist FOR EACH ROW SIGNAL SQLSTATE '45000'"
        }
    });
    for _ in 0..2 {
        checkout_under(&key, &alice).is_refused(503, "temporarily_unavailable");
        assert_eq!(wishes(&alice).len(), 2);
        assert_eq!(ids_of_orders(&alice).len(), 1);
    }
    shop.sql("DROP TRIGGER stuck");
    let order = checkout_under(&key, &alice).is(201);
    assert_eq!(wishes(&alice), []);
    assert_eq!(ids_of_orders(&alice), [text(&order, "id")]);
    assert_eq!(
        (shop.units(&lamp), shop.units(&desk)),
        ((3, 2, 0), (4, 1, 0))
    );
}

fn whoever_hangs_up_finds_an_order_or_a_list(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1_000));
    let everybody = people(&shop, 24);
    for person in &everybody {
        put(person, &lamp, 1).is(201);
    }
    at_once(&everybody, |person| {
        let request = format!(
            "POST {LIST}/checkout HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {}\r\nIdempotency-Key: once\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
            person.token()
        );
        let mut stream = connect(shop.url());
        let greeting = b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n";
        stream.write_all(greeting).expect("sent");
        // An answer that nobody has read makes the end of the connection a reset, which a server notices at once.
        stream.peek(&mut [0]).expect("an answer");
        stream.write_all(request.as_bytes()).expect("sent");
        pause(Duration::from_micros(rand::rng().random_range(0..4_000)));
    });
    // None of them has both, once what was under way is done.
    for person in &everybody {
        eventually("an order or a list", || {
            let (orders, wishes) = (ids_of_orders(person).len(), wishes(person).len());
            (orders + wishes == 1).then_some(())
        });
    }
    // A repeat makes no second order of any.
    for person in &everybody {
        person
            .post_under(&Key("once".into()), &format!("{LIST}/checkout"), &json!({}))
            .is(201);
    }
    assert_eq!(shop.units(&lamp), (976, 24, 0));
}

fn the_key_decides_and_not_the_list(store: Store) {
    let mut shop = Shop::open(store);
    let [lamp, desk] = [5, 5].map(|stock| shop.product(Sale::of(stock)));
    let (alice, key) = (somebody(&shop), Key::fresh());
    put(&alice, &lamp, 2).is(201);
    let first = checkout_under(&key, &alice);
    let order = first.is(201);
    put(&alice, &desk, 1).is(201);
    same_bytes(&first, &checkout_under(&key, &alice));
    put(&alice, &lamp, 2).is(201);
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    same_bytes(&first, &checkout_under(&key, &alice));
    alice.cancel(&order).is(200);
    same_bytes(&first, &checkout_under(&key, &alice));
    assert_eq!(
        wishes(&alice),
        [(desk.clone(), 1), (lamp.clone(), 2)],
        "what came later stays"
    );
    // The key of an order of the same lines is another one.
    alice.place_under(&key, &[line(&lamp, 1)]).is(201);
    checkout(&alice).is(201);
    assert_eq!(
        (shop.units(&lamp), shop.units(&desk)),
        ((2, 3, 0), (4, 1, 0))
    );
}

fn what_is_put_there_again_stays(store: Store) {
    let shop = Shop::open(store);
    let [lamp, desk, chair] = [5, 5, 5].map(|stock| shop.product(Sale::of(stock)));
    let (alice, key) = (somebody(&shop), Key::fresh());
    for product in [&lamp, &desk, &chair] {
        put(&alice, product, 1).is(201);
    }
    shop.sql("CREATE TABLE wishlist_before AS SELECT * FROM wishlist");
    checkout_under(&key, &alice).is(201);
    shop.sql("INSERT INTO wishlist SELECT * FROM wishlist_before");
    shop.sql("DROP TABLE wishlist_before");
    // Before the removal was done, one was wanted again, and another in another quantity.
    put(&alice, &lamp, 1).is(200);
    put(&alice, &desk, 2).is(200);
    checkout_under(&key, &alice).is(201);
    assert_eq!(wishes(&alice), [(lamp, 1), (desk, 2)]);
}

fn one_key_in_twenty_requests_at_once_is_one_order(store: Store) {
    let shop = Shop::open(store);
    let products = [9, 9, 9].map(|stock| shop.product(Sale::of(stock)));
    let (alice, key) = (somebody(&shop), Key::fresh());
    for product in &products {
        put(&alice, product, 1).is(201);
    }
    let answers = at_once(&vec![alice.clone(); 20], |alice| {
        checkout_under(&key, alice)
    });
    for answer in &answers {
        answer.is(201);
        same_bytes(&answers[0], answer);
    }
    assert_eq!(ids_of_orders(&alice).len(), 1);
    assert_eq!(wishes(&alice), []);
    assert!(products.iter().all(|it| shop.units(it) == (8, 1, 0)));
}

fn of_lists_that_want_the_same_last_unit_one_is_bought(store: Store) {
    let shop = Shop::open(store);
    for _ in 0..4 {
        let [first, last] = [1, 1].map(|stock| shop.product(Sale::of(stock)));
        let lists: Vec<(Caller, String)> = people(&shop, 6)
            .into_iter()
            .map(|person| (person, shop.product(Sale::of(1))))
            .collect();
        for (number, (person, own)) in lists.iter().enumerate() {
            // Every other one wants them the other way round.
            let shared = if number % 2 == 0 {
                [&first, &last]
            } else {
                [&last, &first]
            };
            for product in [shared[0], own, shared[1]] {
                put(person, product, 1).is(201);
            }
        }
        let answers = at_once(&lists, |(person, _)| checkout(person));
        assert_eq!(answers.iter().filter(|it| it.status == 201).count(), 1);
        assert_eq!(
            (shop.units(&first), shop.units(&last)),
            ((0, 1, 0), (0, 1, 0))
        );
        for ((person, own), answer) in lists.iter().zip(&answers) {
            if answer.status == 201 {
                assert_eq!((wishes(person).len(), shop.units(own)), (0, (0, 1, 0)));
                continue;
            }
            let told = answer.is_refused(409, "all_held");
            assert_eq!(told["short"].as_array().map(Vec::len), Some(2), "{told}");
            assert_eq!((wishes(person).len(), shop.units(own)), (3, (1, 0, 0)));
        }
    }
}

fn whatever_the_moment_of_death_a_list_is_bought_whole_or_not_at_all(store: Store) {
    const ROUNDS: usize = 6;
    let mut shop = Shop::open(store);
    let sale = Sale {
        hold_seconds: 1_800,
        ..Sale::of(1_000)
    };
    let products: Vec<String> = (0..6).map(|_| shop.product(sale)).collect();
    let mut everybody: Vec<(Caller, Key)> = Vec::new();
    let mut cut_short = 0;
    for _ in 0..ROUNDS {
        let lists: Vec<(Caller, Key)> = people(&shop, 12)
            .into_iter()
            .map(|it| (it, Key::fresh()))
            .collect();
        for (person, _) in &lists {
            for product in &products {
                put(person, product, 1).is(201);
            }
        }
        let answers = std::thread::scope(|scope| {
            let asked = scope.spawn(|| at_once(&lists, |(person, key)| try_checkout(key, person)));
            pause(Duration::from_millis(rand::rng().random_range(1..25)));
            shop.kill();
            asked
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        shop.prove_books();
        shop.start();
        let lists: Vec<(Caller, Key)> = lists
            .into_iter()
            .map(|(it, key)| (it.at(shop.url()), key))
            .collect();
        everybody.extend(lists.iter().cloned());
        for (person, _) in &mut everybody {
            *person = person.at(shop.url());
        }
        // Before anybody asks again: every unit that is held is in an order with a deadline, and every order is whole.
        let held = held_by_orders(&everybody);
        for product in &products {
            assert_eq!(
                shop.units(product).1,
                held.get(product).copied().unwrap_or_default()
            );
        }
        for ((person, key), answer) in lists.iter().zip(&answers) {
            let again = checkout_under(key, person);
            again.is(201);
            match answer {
                Some(first) => same_bytes(first, &again),
                None => cut_short += 1,
            }
            assert_eq!(wishes(person), []);
            assert_eq!(ids_of_orders(person), [text(&again.json(), "id")]);
        }
    }
    assert!(cut_short > 0, "no crash hit anything");
    for product in &products {
        assert_eq!(shop.units(product).1, 12 * ROUNDS as u64);
    }
}

// -- the list's verbs ----------------------------------------------------------------------------------------------

fn path(product: &str) -> String {
    format!("{LIST}/{product}")
}

#[track_caller]
fn put(person: &Caller, product: &str, quantity: u32) -> Answer {
    let body = json!({"quantity": quantity});
    person.send(&Method::PUT, &path(product), None, Some(&body))
}

#[track_caller]
fn list(person: &Caller) -> Value {
    person.get(&format!("{LIST}?limit=100")).is(200)
}

/// What is on the list, and how many of it.
#[track_caller]
fn wishes(person: &Caller) -> Vec<(String, u64)> {
    let list = list(person);
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
    let wish = |it: &Value| {
        (
            text(it, "product_id"),
            it["quantity"].as_u64().unwrap_or_default(),
        )
    };
    items.iter().map(wish).collect()
}

#[track_caller]
fn checkout(person: &Caller) -> Answer {
    checkout_under(&Key::fresh(), person)
}

#[track_caller]
fn checkout_under(key: &Key, person: &Caller) -> Answer {
    person.post_under(key, &format!("{LIST}/checkout"), &json!({}))
}

/// `None`: nothing was answered.
fn try_checkout(key: &Key, person: &Caller) -> Option<Answer> {
    let path = format!("{LIST}/checkout");
    person
        .try_send(&Method::POST, &path, Some(key), Some(&json!({})))
        .ok()
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
    items.iter().map(|item| text(item, "product_id")).collect()
}

#[track_caller]
fn ids_of_orders(person: &Caller) -> Vec<String> {
    let page = person.get("/v1/orders").is(200);
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
    items.iter().map(|item| text(item, "id")).collect()
}

/// Units of each product in the orders of these people, each of which must be of a whole list.
fn held_by_orders(people: &[(Caller, Key)]) -> BTreeMap<String, u64> {
    let mut held = BTreeMap::new();
    for (person, _) in people {
        let page = person.get("/v1/orders").is(200);
        for order in page["items"].as_array().expect("items") {
            let lines = order["lines"].as_array().expect("lines");
            assert_eq!(
                (lines.len(), &order["state"]),
                (6, &json!("held")),
                "{order}"
            );
            for line in lines {
                *held.entry(text(line, "product_id")).or_default() +=
                    line["quantity"].as_u64().expect("a number");
            }
        }
    }
    held
}

#[track_caller]
fn same_bytes(first: &Answer, again: &Answer) {
    assert_eq!(
        (again.status, String::from_utf8_lossy(&again.body)),
        (first.status, String::from_utf8_lossy(&first.body))
    );
}

// -- people with accounts ------------------------------------------------------------------------------------------

fn somebody(shop: &Shop) -> Caller {
    people(shop, 1).remove(0)
}

/// By `layby seed`: a list belongs to an account, which those whom only a token knows have not.
fn people(shop: &Shop, count: usize) -> Vec<Caller> {
    let tokens = shop.scratch().join("tokens.csv");
    let mut seed = shop.command("seed");
    seed.arg("--buyers")
        .arg(count.to_string())
        .arg("--out")
        .arg(&tokens);
    let output = run(&mut seed);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let person = |line: &str| {
        let (id, token) = line.split_once(',').expect("an id and a token");
        let mut person = shop.visitor().with_token(token);
        person.id = id.parse().expect("an id");
        person
    };
    let lines = std::fs::read_to_string(&tokens).expect("tokens");
    lines.lines().map(person).collect()
}
