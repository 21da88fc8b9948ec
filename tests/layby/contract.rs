//! The HTTP contract, a test for each row of its table: method, path, status codes and the shape of what is answered.
//!
//! What the routes do is told in the files beside this one; here it is held that they are there, and answer as was
//! agreed with those who call them.

use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    Answer, Key, Outbox, Person, Postbox, Sale, Shop, Store, Webhook, eventually, line,
    on_each_database, text,
};

on_each_database! {
    anybody_may_ask_whether_a_username_is_available,
    signing_up_is_answered_alike_whether_or_not_the_address_is_known,
    an_address_is_verified_by_a_mailed_code_that_may_be_sent_again,
    signing_in_gives_tokens_and_tells_of_an_unverified_address_only_after_the_password,
    a_refresh_rotates_the_token_and_signing_out_ends_it,
    a_forgotten_password_is_reset_by_a_mailed_code,
    people_see_change_and_erase_themselves,
    the_address_book_has_one_default,
    everybody_sees_products_with_window_price_availability_and_server_time,
    everybody_watches_a_product_live,
    the_wishlist_is_put_removed_listed_and_bought,
    an_order_is_answered_201_held_with_pay_by_lines_total_and_sequence,
    an_order_answered_201_is_visible_at_once,
    a_payment_is_201_paid_202_pending_402_declined_or_409_expired,
    a_cancellation_is_200_or_202,
    a_return_is_202_until_it_is_accepted_and_then_200,
    a_place_on_a_waitlist_is_taken_told_and_given_up,
    a_buyer_hears_of_their_own_orders_and_of_nobody_elses,
    an_admin_registers_edits_deletes_and_restocks_products,
    an_admin_sets_opens_pauses_resumes_and_closes_the_window,
    an_admin_sees_where_the_units_of_a_sale_are,
    an_admin_watches_a_sale_live,
    an_admin_gets_the_orders_of_a_sale_as_a_file,
    an_admin_lists_the_orders_of_the_shop,
    an_admin_ships_delivers_and_takes_back,
    an_admin_follows_an_order_and_the_units_of_a_product,
    an_admin_reads_the_audit_log_and_gives_roles,
    a_provider_is_told_200_once_its_word_is_durable,
    an_operator_finds_health_readiness_and_the_document,
}

fn anybody_may_ask_whether_a_username_is_available(store: Store) {
    let shop = Shop::open(store);
    let member = shop.member("alice");
    let asks = |name: &str| {
        let path = format!("/v1/auth/username-available?username={name}");
        shop.visitor().get(&path)
    };
    assert_eq!(asks("nobody.has.this").is(200), json!({"available": true}));
    assert_eq!(
        asks(&member.person.username).is(200),
        json!({"available": false})
    );
    asks("").is_refused(422, "invalid_values");
}

fn signing_up_is_answered_alike_whether_or_not_the_address_is_known(store: Store) {
    let shop = Shop::open(store);
    let alice = Person::new("alice");
    let unknown = alice.asks_to_join(&shop.visitor());
    unknown.is(202);
    let code = Outbox::of(&shop).code(&alice.email, 1);
    alice.verifies(&shop.visitor(), &code).is(204);
    let again = Person {
        email: alice.email.clone(),
        ..Person::new("other")
    };
    let known = again.asks_to_join(&shop.visitor());
    assert_eq!((known.status, known.body), (unknown.status, unknown.body));
    let nothing = json!({});
    let told = shop.visitor().post_with("/v1/auth/sign-up", &nothing);
    told.is_refused(422, "invalid_values");
}

fn an_address_is_verified_by_a_mailed_code_that_may_be_sent_again(store: Store) {
    let shop = Shop::open(store);
    let alice = Person::new("alice");
    alice.asks_to_join(&shop.visitor()).is(202);
    alice.asks_for_another_code(&shop.visitor()).is(202);
    let code = Outbox::of(&shop).code(&alice.email, 2);
    let wrong = if code == "000000" { "000001" } else { "000000" };
    alice
        .verifies(&shop.visitor(), wrong)
        .is_refused(422, "code_invalid");
    assert_eq!(alice.verifies(&shop.visitor(), &code).is(204), Value::Null);
}

fn signing_in_gives_tokens_and_tells_of_an_unverified_address_only_after_the_password(
    store: Store,
) {
    let shop = Shop::open(store);
    let visitor = shop.visitor();
    let alice = Person::new("alice");
    alice.asks_to_join(&visitor).is(202);
    alice
        .asks_to_sign_in_with(&visitor, "not my password")
        .is_refused(401, "invalid_credentials");
    alice
        .asks_to_sign_in(&visitor)
        .is_refused(403, "email_not_verified");
    let code = Outbox::of(&shop).code(&alice.email, 1);
    alice.verifies(&visitor, &code).is(204);
    are_tokens(&alice.asks_to_sign_in(&visitor).is(200));
}

fn a_refresh_rotates_the_token_and_signing_out_ends_it(store: Store) {
    let shop = Shop::open(store);
    let member = shop.member("alice");
    let tokens = member.asks_to_refresh().is(200);
    are_tokens(&tokens);
    assert_ne!(text(&tokens, "refresh_token"), member.refresh_token);
    let body = json!({"refresh_token": tokens["refresh_token"]});
    let signs_out = || shop.visitor().post_with("/v1/auth/sign-out", &body);
    assert_eq!(signs_out().is(204), Value::Null);
    let refreshed = shop.visitor().post_with("/v1/auth/refresh", &body);
    refreshed.is_refused(401, "invalid_refresh_token");
    let elsewhere = member.person.signs_in(&shop.visitor());
    let everywhere = json!({"refresh_token": elsewhere.refresh_token, "everywhere": true});
    shop.visitor()
        .post_with("/v1/auth/sign-out", &everywhere)
        .is(204);
    elsewhere.is_turned_away();
}

fn a_forgotten_password_is_reset_by_a_mailed_code(store: Store) {
    let shop = Shop::open(store);
    let alice = shop.member("alice").person;
    let stranger = Person::new("stranger");
    let known = alice.forgets(&shop.visitor());
    let unknown = stranger.forgets(&shop.visitor());
    assert_eq!((known.status, known.body), (202, unknown.body));
    assert_eq!(unknown.status, 202);
    let code = Outbox::of(&shop).code(&alice.email, 2);
    let new = "violet thunder 51";
    let reset = alice.resets(&shop.visitor(), &code, new);
    assert_eq!(reset.is(204), Value::Null);
    alice.with_password(new).signs_in(&shop.visitor());
    alice
        .resets(&shop.visitor(), &code, new)
        .is_refused(422, "code_invalid");
}

fn people_see_change_and_erase_themselves(store: Store) {
    let shop = Shop::open(store);
    let member = shop.member("alice");
    let me = member.me();
    has(&me, &["id", "username", "email", "name", "phone", "role"]);
    let patch = json!({"name": "Alice Lee", "phone": "+82 10-9999-0000"});
    assert_eq!(
        member.caller.patch("/v1/me", &patch).is(200)["name"],
        "Alice Lee"
    );
    member
        .caller
        .patch("/v1/me", &json!({"role": "admin"}))
        .is_refused(422, "invalid_values");
    let other = member.person.signs_in(&shop.visitor());
    let changed = member.changes_password(&member.person.password, "violet thunder 51");
    assert_eq!(changed.is(204), Value::Null);
    other.is_turned_away();
    assert_eq!(member.caller.delete("/v1/me").is(204), Value::Null);
    member.is_turned_away();
}

fn the_address_book_has_one_default(store: Store) {
    let shop = Shop::open(store);
    let member = shop.member("alice");
    let [home, work] = ["home", "work"].map(|it| {
        let added = member.adds_address(&crate::accounts::address_form(it));
        has(
            &added,
            &[
                "id",
                "recipient",
                "phone",
                "country",
                "postal_code",
                "line1",
                "line2",
                "is_default",
                "created_at",
            ],
        );
        added
    });
    let path = format!("/v1/me/addresses/{}", text(&work, "id"));
    let edited = member
        .caller
        .patch(&path, &json!({"default": true}))
        .is(200);
    assert_eq!(edited["is_default"], true);
    let book = is_page(&member.caller.get("/v1/me/addresses"));
    let defaults: Vec<&Value> = book.iter().map(|it| &it["is_default"]).collect();
    assert_eq!(
        (text(&book[0], "id"), defaults),
        (text(&home, "id"), vec![&json!(false), &json!(true)])
    );
    assert_eq!(member.caller.delete(&path).is(204), Value::Null);
    member.caller.delete(&path).is_refused(404, "not_found");
}

fn everybody_sees_products_with_window_price_availability_and_server_time(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let seen = shop.visitor().get(&format!("/v1/products/{lamp}")).is(200);
    let listed = is_page(&shop.visitor().get("/v1/products"));
    for product in [&seen, &listed[0]] {
        is_product(product);
        is_window(&product["window"]);
        assert_eq!(product["id"], json!(lamp));
    }
    let nothing = format!("/v1/products/{}", uuid::Uuid::now_v7());
    shop.visitor().get(&nothing).is_refused(404, "not_found");
}

fn everybody_watches_a_product_live(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let path = |product: &str| format!("/v1/products/{product}/live");
    let mut stream = shop.visitor().listen(&path(&lamp));
    let shown = stream.next("product");
    assert_eq!(
        (&shown["id"], &shown["available"]),
        (&json!(lamp), &json!(5))
    );
    shop.buyer().hold(&lamp, 1);
    for seen in [shown, stream.until("product", |it| it["available"] == 4)] {
        has(&seen, &["availability", "holds", "earliest_deadline"]);
        is_money(&seen["price"]);
        is_time(&seen["server_time"]);
        is_window(&seen["window"]);
    }
    for nothing in [&uuid::Uuid::now_v7().to_string(), "nonsense"] {
        let refused = shop.visitor().hear_out(&path(nothing));
        refused.is_refused(404, "not_found");
    }
}

fn the_wishlist_is_put_removed_listed_and_bought(store: Store) {
    let shop = Shop::open(store);
    let [lamp, desk] = [5, 5].map(|stock| shop.product(Sale::of(stock)));
    let member = shop.member("alice");
    let alice = &member.caller;
    let home = member.adds_address(&crate::accounts::address_form("Alice"));
    let wish = |product: &str| format!("/v1/me/wishlist/{product}");
    let put = |product: &str, quantity: u32| {
        let body = json!({"quantity": quantity});
        alice.send(&Method::PUT, &wish(product), None, Some(&body))
    };
    let fields = [
        "product_id",
        "name",
        "image_url",
        "price",
        "quantity",
        "available",
        "availability",
        "window",
        "added_at",
    ];
    has(&put(&lamp, 1).is(201), &fields);
    has(&put(&lamp, 2).is(200), &fields);
    put(&desk, 1).is(201);
    put(&lamp, 0).is_refused(422, "invalid_values");
    put(&uuid::Uuid::now_v7().to_string(), 1).is_refused(404, "not_found");
    for _ in 0..2 {
        assert_eq!(alice.delete(&wish(&desk)).is(204), Value::Null);
    }
    let list = alice.get("/v1/me/wishlist");
    has(&is_page(&list)[0], &fields);
    is_money(&list.json()["total"]);
    let body = json!({"address_id": home["id"]});
    let buy = || alice.post_under(&Key::fresh(), "/v1/me/wishlist/checkout", &body);
    is_placed(&buy());
    buy().is_refused(409, "wishlist_empty");
}

fn an_order_is_answered_201_held_with_pay_by_lines_total_and_sequence(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let (member, bob, key) = (shop.member("alice"), shop.buyer(), Key::fresh());
    let home = member.adds_address(&crate::accounts::address_form("Alice"));
    let body = json!({"lines": [line(&lamp, 1)], "address_id": home["id"]});
    let first = member.caller.post_under(&key, "/v1/orders", &body);
    is_placed(&first);
    let again = member.caller.post_under(&key, "/v1/orders", &body);
    assert_eq!((again.status, again.body), (first.status, first.body));
    let other = json!({"lines": [line(&lamp, 1)]});
    let reused = member.caller.post_under(&key, "/v1/orders", &other);
    reused.is_refused(422, "idempotency_key_reused");
    has(
        &bob.place(&[line(&lamp, 1)]).is_refused(409, "all_held"),
        &["available", "short", "earliest_deadline"],
    );
    bob.place(&[]).is_refused(422, "invalid_values");
    bob.post_with("/v1/orders", &body)
        .is_refused(400, "idempotency_key_required");
    shop.visitor()
        .place(&[line(&lamp, 1)])
        .is_refused(401, "unauthorized");
}

fn an_order_answered_201_is_visible_at_once(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(9));
    let (alice, bob) = (shop.buyer(), shop.buyer());
    for number in 1..=5 {
        let order = alice.hold(&lamp, 1);
        is_order(&alice.order(&order));
        let listed = is_page(&alice.get("/v1/orders"));
        assert_eq!((listed.len(), &listed[0]["id"]), (number, &order["id"]));
        let path = format!("/v1/orders/{}", text(&order, "id"));
        bob.get(&path).is_refused(404, "not_found");
    }
}

fn a_payment_is_201_paid_202_pending_402_declined_or_409_expired(store: Store) {
    let shop = Shop::open_with(store, &["--payment-answer-ms", "100"]);
    let lamp = shop.product(Sale::of(9));
    let brief = shop.product(Sale {
        hold_seconds: 1,
        ..Sale::of(9)
    });
    let alice = shop.buyer();
    let expired = alice.hold(&brief, 1);
    let [paid, pending, declined] = [1, 1, 1].map(|quantity| alice.hold(&lamp, quantity));
    for (order, method, status, state) in [
        (&paid, "card_ok", 201, "paid"),
        (&pending, "card_timeout", 202, "pending"),
    ] {
        let told = alice.pay(order, method).is(status);
        has(&told, &["id", "order_id", "state", "method", "amount"]);
        assert_eq!(told["state"], state);
    }
    let told = alice.pay(&declined, "card_declined");
    has(
        &told.is_refused(402, "payment_declined"),
        &["payment_id", "pay_by"],
    );
    eventually("the hold is over", || {
        (alice.state(&expired) == "expired").then_some(())
    });
    let told = alice.pay(&expired, "card_ok");
    has(&told.is_refused(409, "hold_expired"), &["expired_at"]);
    let path = format!("/v1/orders/{}/payments", text(&declined, "id"));
    alice
        .post_with(&path, &json!({"method": "card_ok"}))
        .is_refused(400, "idempotency_key_required");
}

fn a_cancellation_is_200_or_202(store: Store) {
    let shop = Shop::open_with(
        store,
        &["--payment-answer-ms", "100", "--sandbox-late-ms", "1000"],
    );
    let lamp = shop.product(Sale::of(9));
    let alice = shop.buyer();
    let [held, paying] = [1, 1].map(|quantity| alice.hold(&lamp, quantity));
    alice.pay(&paying, "card_late").is(202);
    for (order, status, state) in [
        (&held, 200, "cancelled"),
        (&paying, 202, "cancel_requested"),
    ] {
        let told = alice.cancel(order).is(status);
        is_order(&told);
        assert_eq!(told["state"], state);
    }
    shop.buyer().cancel(&held).is_refused(404, "not_found");
}

fn a_return_is_202_until_it_is_accepted_and_then_200(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(9));
    let alice = shop.buyer();
    let paid = shop.bought(&alice, &lamp);
    alice
        .send_back(&paid, "too bright")
        .is_refused(409, "not_delivered");
    let order = shop.delivered(&alice, &lamp);
    alice
        .send_back(&order, "")
        .is_refused(422, "invalid_values");
    let asked = alice.send_back(&order, "too bright").is(202);
    is_order(&asked);
    assert_eq!(asked["state"], "return_requested");
    is_return(&asked["return"]);
    shop.admin().accept_return(&order).is(200);
    let accepted = alice.send_back(&order, "too bright").is(200);
    assert_eq!(accepted["state"], "returned");
    is_return(&accepted["return"]);
    let strangers = shop.buyer().send_back(&order, "mine");
    strangers.is_refused(404, "not_found");
}

fn a_place_on_a_waitlist_is_taken_told_and_given_up(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let (holder, waiter) = (shop.buyer(), shop.buyer());
    let path = format!("/v1/products/{lamp}/waitlist");
    let one = json!({"quantity": 1});
    let told = waiter.post_with(&path, &one);
    has(
        &told.is_refused(409, "still_available"),
        &["available", "product_id"],
    );
    let order = holder.hold(&lamp, 1);
    let place = waiter.post_with(&path, &one).is(201);
    is_place(&place);
    assert_eq!(
        (&place["state"], &place["position"]),
        (&json!("waiting"), &json!(1))
    );
    assert_eq!(waiter.post_with(&path, &one).is(200), place);
    let more = waiter.post_with(&path, &json!({"quantity": 2}));
    has(&more.is_refused(409, "already_waiting"), &["quantity"]);
    holder.cancel(&order).is(200);
    let listed = is_page(&waiter.get("/v1/me/waitlist"));
    is_place(&listed[0]);
    assert_eq!((listed.len(), &listed[0]["state"]), (1, &json!("offered")));
    has(&listed[0]["offer"], &["quantity"]);
    is_time(&listed[0]["offer"]["expires_at"]);
    for _ in 0..2 {
        assert_eq!(waiter.delete(&path).is(204), Value::Null);
    }
    assert!(is_page(&waiter.get("/v1/me/waitlist")).is_empty());
    shop.visitor().post(&path).is_refused(401, "unauthorized");
}

fn a_buyer_hears_of_their_own_orders_and_of_nobody_elses(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(9));
    let (alice, bob) = (shop.buyer(), shop.buyer());
    let mut stream = alice.listen("/v1/me/events");
    bob.hold(&lamp, 1);
    let order = alice.hold(&lamp, 1);
    let heard = stream.next("order");
    is_order(&heard);
    assert_eq!(
        (&heard["id"], &heard["state"]),
        (&order["id"], &json!("held"))
    );
    assert_eq!(heard["address"], Value::Null);
    let refused = shop.visitor().hear_out("/v1/me/events");
    refused.is_refused(401, "unauthorized");
}

fn an_admin_registers_edits_deletes_and_restocks_products(store: Store) {
    let shop = Shop::open(store);
    let admin = shop.admin();
    let new = json!({
        "name": "Desk lamp", "description": "Lights a desk.", "price": {"amount": 39_000, "currency": "KRW"},
        "stock": 5, "image_url": "/lamp.png",
    });
    let created = admin.post_with("/v1/admin/products", &new).is(201);
    is_product(&created);
    let lamp = text(&created, "id");
    let path = format!("/v1/admin/products/{lamp}");
    let edited = admin.patch(&path, &json!({"name": "Reading lamp"})).is(200);
    is_product(&edited);
    assert_eq!(edited["name"], "Reading lamp");
    shop.window_act(&lamp, "open").is(200);
    let order = shop.buyer().hold(&lamp, 4);
    is_sale(&shop.set_stock(&lamp, 9).is(200));
    is_sale(&shop.set_stock(&lamp, 2).is(202));
    let told = admin.delete(&path).is_refused(409, "has_committed_units");
    assert_eq!(told["held"], 4, "{order}");
    let other = shop.unscheduled_product(Sale::of(1));
    let other = format!("/v1/admin/products/{other}");
    assert_eq!(admin.delete(&other).is(204), Value::Null);
    for caller in [shop.buyer(), shop.visitor()] {
        let status = if caller.token().is_empty() { 401 } else { 403 };
        assert_eq!(caller.post_with("/v1/admin/products", &new).status, status);
    }
}

fn an_admin_sets_opens_pauses_resumes_and_closes_the_window(store: Store) {
    let shop = Shop::open(store);
    let sale = Sale {
        limit: Some(2),
        opens_in_ms: 3_600_000,
        closes_in_ms: Some(7_200_000),
        ..Sale::of(5)
    };
    let lamp = shop.unscheduled_product(sale);
    let state = |answer: &Answer| {
        let told = answer.is(200);
        is_sale(&told);
        is_window(&told["window"]);
        text(&told["window"], "state")
    };
    assert_eq!(state(&shop.set_window(&lamp, &sale.window())), "scheduled");
    for (act, then) in [
        ("open", "open"),
        ("pause", "paused"),
        ("resume", "open"),
        ("close", "closed"),
    ] {
        assert_eq!(state(&shop.window_act(&lamp, act)), then);
    }
    shop.set_window(&lamp, &json!({"opens_at": "tomorrow"}))
        .is_refused(422, "invalid_values");
    shop.window_act(&uuid::Uuid::now_v7().to_string(), "open")
        .is_refused(404, "not_found");
}

fn an_admin_sees_where_the_units_of_a_sale_are(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(9));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 2);
    alice.hold(&lamp, 1);
    alice.pay(&order, "card_ok").is(201);
    let sale = shop.sale(&lamp);
    is_sale(&sale);
    let units = ["total", "available", "held", "sold"].map(|it| sale[it].as_u64());
    assert_eq!(units, [9, 6, 1, 2].map(Some));
    let path = format!("/v1/admin/products/{lamp}/sale");
    alice.get(&path).is_refused(403, "forbidden");
}

fn an_admin_watches_a_sale_live(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(9));
    let alice = shop.buyer();
    let path = format!("/v1/admin/products/{lamp}/sale/live");
    let mut stream = shop.admin().listen(&path);
    is_sale(&stream.next("sale"));
    alice.hold(&lamp, 2);
    is_sale(&stream.until("sale", |it| it["held"] == 2));
    alice.hear_out(&path).is_refused(403, "forbidden");
    shop.visitor()
        .hear_out(&path)
        .is_refused(401, "unauthorized");
}

fn an_admin_gets_the_orders_of_a_sale_as_a_file(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(9));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 2);
    shop.catches_up();
    let path = format!("/v1/admin/products/{lamp}/sale/orders.csv");
    let file = shop.admin().get(&path);
    assert_eq!(file.status, 200, "{file}");
    assert_eq!(file.header("content-type"), Some("text/csv; charset=utf-8"));
    let said = String::from_utf8(file.body).expect("UTF-8");
    let [head, row] = said.lines().collect::<Vec<_>>()[..] else {
        panic!("a head and a row: {said}");
    };
    assert!(
        head.starts_with("order_id,sequence,state,placed_at,"),
        "{head}"
    );
    assert!(row.starts_with(&text(&order, "id")), "{row}");
    alice.get(&path).is_refused(403, "forbidden");
}

fn an_admin_lists_the_orders_of_the_shop(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(9));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 2);
    shop.catches_up();
    let listed = is_page(&shop.admin().get("/v1/admin/orders"));
    is_order(&listed[0]);
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &order["id"]));
    alice.get("/v1/admin/orders").is_refused(403, "forbidden");
}

fn an_admin_ships_delivers_and_takes_back(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(9));
    let (alice, admin) = (shop.buyer(), shop.admin());
    let held = alice.hold(&lamp, 1);
    let order = shop.bought(&alice, &lamp);
    admin
        .ship(&held, "Korea Post", "RR1")
        .is_refused(409, "not_paid");
    admin
        .ship(&order, "", "RR1")
        .is_refused(422, "invalid_values");
    admin.deliver(&order).is_refused(409, "not_shipped");
    let shipped = admin.ship(&order, "Korea Post", "RR1").is(200);
    let refused = admin.ship(&order, "Korea Post", "RR2");
    has(
        &refused.is_refused(409, "already_shipped"),
        &["carrier", "tracking_number"],
    );
    let delivered = admin.deliver(&order).is(200);
    let refused = admin.accept_return(&order);
    refused.is_refused(409, "return_not_requested");
    alice.send_back(&order, "too bright").is(202);
    let returned = admin.accept_return(&order).is(200);
    for (answer, state) in [
        (&shipped, "shipped"),
        (&delivered, "delivered"),
        (&returned, "returned"),
    ] {
        is_order(answer);
        is_shipment(&answer["shipment"]);
        assert_eq!(answer["state"], state);
    }
    is_time(&delivered["shipment"]["return_until"]);
    is_time(&returned["return"]["restock_at"]);
    for answer in [
        alice.ship(&order, "Korea Post", "RR1"),
        alice.deliver(&order),
        alice.accept_return(&order),
    ] {
        answer.is_refused(403, "forbidden");
    }
}

fn an_admin_follows_an_order_and_the_units_of_a_product(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(9));
    let alice = shop.buyer();
    let order = shop.bought(&alice, &lamp);
    let of_order = format!("/v1/admin/orders/{}/journey", text(&order, "id"));
    let of_product = format!("/v1/admin/products/{lamp}/journey");
    for (path, more) in [(&of_order, None), (&of_product, Some("next"))] {
        let journey = shop.admin().get(path).is(200);
        has(&journey, &["items", "complete", "from_position"]);
        has(&journey, more.as_slice());
        let steps = journey["items"].as_array().expect("a list");
        assert!(!steps.is_empty(), "{journey}");
        is_time(&steps[0]["at"]);
        alice.get(path).is_refused(403, "forbidden");
    }
}

fn an_admin_reads_the_audit_log_and_gives_roles(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(9));
    let member = shop.member("alice");
    let admin = shop.admin();
    let path = format!("/v1/admin/users/{}/role", member.id());
    let roles = |answer: &Answer| {
        let told = answer.is(200);
        assert_eq!(text(&told, "user_id"), member.id().to_string());
        text(&told, "role")
    };
    assert_eq!(roles(&admin.get(&path)), "buyer");
    assert_eq!(
        roles(&admin.post_with(&path, &json!({"role": "seller"}))),
        "seller"
    );
    admin
        .post_with(&path, &json!({"role": "king"}))
        .is_refused(422, "invalid_values");
    shop.catches_up();
    let entries = is_page(&admin.get("/v1/admin/audit"));
    for entry in &entries {
        has(
            entry,
            &[
                "at",
                "act",
                "actor",
                "account",
                "product",
                "before",
                "after",
                "request_id",
            ],
        );
    }
    let about = |id: &str, field: &str| entries.iter().any(|it| it[field] == *id);
    assert!(about(&lamp, "product") && about(&member.id().to_string(), "account"));
    let seller = member.refreshes();
    for path in [path.as_str(), "/v1/admin/audit"] {
        seller.caller.get(path).is_refused(403, "forbidden");
    }
}

fn a_provider_is_told_200_once_its_word_is_durable(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(9));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    let declined = alice.pay(&order, "card_declined").is(402);
    let word = json!({
        "type": "captured", "order_id": order["id"], "attempt_id": declined["payment_id"],
        "amount": order["total"],
    });
    let door = Webhook::sandbox(&shop);
    door.send_signed(None, &word)
        .is_refused(400, "signature_invalid");
    let mut dearer = word.clone();
    dearer["amount"]["amount"] = json!(1);
    shop.announce("another sum than the order's");
    door.send(&dearer).is_refused(422, "payment_mismatch");
    let other = Webhook {
        provider: "paypal",
        ..door.clone()
    };
    other.send(&word).is_refused(404, "not_found");
    assert_eq!(door.send(&word).is(200), json!({"result": "settled"}));
    shop.kill_and_start();
    assert_eq!(alice.at(shop.url()).state(&order), "paid");
    let again = Webhook::sandbox(&shop).send(&word);
    assert_eq!(again.is(200), json!({"result": "settled"}));
}

fn an_operator_finds_health_readiness_and_the_document(store: Store) {
    let shop = Shop::open(store);
    let visitor = shop.visitor();
    assert_eq!(visitor.get("/healthz").is(200)["status"], "ok");
    assert_eq!(visitor.get("/readyz").is(200)["status"], "ready");
    let document = visitor.get("/openapi.json").is(200);
    assert!(
        text(&document, "openapi").starts_with("3.1"),
        "{}",
        document["openapi"]
    );
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        visitor.post(path).is_refused(405, "method_not_allowed");
        assert!(document["paths"][path].is_object(), "{path}");
    }
    visitor.get("/nowhere").is_refused(404, "not_found");
}

// -- shapes ------------------------------------------------------------------------------------------------------

/// The fields are there, if only as `null`.
#[track_caller]
fn has(object: &Value, fields: &[&str]) {
    for field in fields {
        assert!(object.get(field).is_some(), "no {field}: {object}");
    }
}

#[track_caller]
fn is_page(answer: &Answer) -> Vec<Value> {
    let page = answer.is(200);
    has(&page, &["items", "next"]);
    page["items"].as_array().expect("a list").clone()
}

#[track_caller]
fn is_money(money: &Value) {
    assert!(money["amount"].is_i64(), "{money}");
    assert_eq!(text(money, "currency").len(), 3, "{money}");
}

#[track_caller]
fn is_time(time: &Value) {
    let told = time.as_str().unwrap_or_default();
    assert!(
        told.ends_with('Z') && told.parse::<jiff::Timestamp>().is_ok(),
        "{time}"
    );
}

#[track_caller]
fn are_tokens(tokens: &Value) {
    has(tokens, &["access_token", "refresh_token", "expires_in"]);
    assert_eq!(
        (&tokens["token_type"], &tokens["expires_in"]),
        (&json!("Bearer"), &json!(900))
    );
}

/// 201, where it is, and what is held until when.
#[track_caller]
fn is_placed(answer: &Answer) {
    let order = answer.is(201);
    let location = format!("/v1/orders/{}", text(&order, "id"));
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert_eq!(order["state"], "held");
    is_time(&order["pay_by"]);
    is_money(&order["total"]);
    assert!(order["sequence"].is_u64(), "{order}");
    has(
        &order["lines"][0],
        &["product_id", "quantity", "unit_price"],
    );
}

#[track_caller]
fn is_order(order: &Value) {
    has(
        order,
        &[
            "id", "state", "pay_by", "lines", "total", "sequence", "payments", "address",
            "shipment",
        ],
    );
    is_money(&order["total"]);
    is_time(&order["placed_at"]);
}

#[track_caller]
fn is_shipment(shipment: &Value) {
    has(
        shipment,
        &["carrier", "tracking_number", "delivered_at", "return_until"],
    );
    is_time(&shipment["shipped_at"]);
}

#[track_caller]
fn is_return(sent_back: &Value) {
    has(sent_back, &["reason", "restock_at", "restocked"]);
    is_time(&sent_back["requested_at"]);
}

#[track_caller]
fn is_place(place: &Value) {
    has(
        place,
        &[
            "product_id",
            "state",
            "quantity",
            "position",
            "lapsed",
            "offer",
        ],
    );
    is_time(&place["joined_at"]);
}

#[track_caller]
fn is_product(product: &Value) {
    has(
        product,
        &[
            "id",
            "name",
            "description",
            "image_url",
            "window",
            "availability",
            "available",
            "holds",
            "earliest_deadline",
        ],
    );
    is_money(&product["price"]);
    is_time(&product["server_time"]);
}

#[track_caller]
fn is_window(window: &Value) {
    has(
        window,
        &["state", "closes_at", "per_person_limit", "hold_seconds"],
    );
    is_time(&window["opens_at"]);
}

#[track_caller]
fn is_sale(sale: &Value) {
    let buckets = [
        "available",
        "held",
        "offered",
        "sold",
        "returning",
        "withdrawn",
    ];
    let sum: u64 = buckets.iter().filter_map(|it| sale[it].as_u64()).sum();
    assert_eq!(sale["total"].as_u64(), Some(sum), "{sale}");
    has(sale, &["withdrawal_pending", "window", "server_time"]);
}
