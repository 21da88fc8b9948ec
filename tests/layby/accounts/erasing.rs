//! Leaving: what was personal is gone for good, and the books are as they were.

use serde_json::json;
use ureq::http::Method;

use crate::support::{
    Key, Outbox, Person, Postbox, Sale, Shop, Store, line, on_each_database, text,
};

on_each_database! {
    whoever_leaves_is_forgotten_and_the_books_are_not,
    a_name_and_an_address_are_free_again,
    what_was_erased_stays_erased_after_a_crash,
}

fn whoever_leaves_is_forgotten_and_the_books_are_not(store: Store) {
    let shop = Shop::open(store);
    let visitor = shop.visitor();
    let lamp = shop.product(Sale::of(10));
    let alice = shop.member("alice");
    let other = alice.person.signs_in(&visitor);
    let bob = shop.member("bob");
    let home = alice.adds_address(&super::addresses::form("Alice"));
    let body = json!({"lines": [line(&lamp, 2)], "address_id": home["id"]});
    let order = alice
        .caller
        .post_under(&Key::fresh(), "/v1/orders", &body)
        .is(201);
    alice.caller.pay(&order, "card_ok").is(201);
    let before = shop.units(&lamp);
    let wish = format!("/v1/me/wishlist/{lamp}");
    let quantity = json!({"quantity": 3});
    alice
        .caller
        .send(&Method::PUT, &wish, None, Some(&quantity))
        .is(201);

    alice.caller.delete("/v1/me").is(204);
    for ended in [&alice, &other] {
        ended.is_turned_away();
        ended
            .asks_to_refresh()
            .is_refused(401, "invalid_refresh_token");
    }
    alice
        .person
        .asks_to_sign_in(&visitor)
        .is_refused(401, "invalid_credentials");
    alice.person.forgets(&visitor).is(202);
    bob.is_let_in();

    assert_eq!(shop.units(&lamp), before);
    shop.catches_up();
    let listed = shop.admin().get("/v1/admin/orders").is(200);
    let item = &listed["items"][0];
    assert_eq!(
        (text(item, "id"), text(item, "state")),
        (text(&order, "id"), "paid".into())
    );
    let kept = shop.rows(
        "SELECT COUNT(*) FROM accounts WHERE erased_at IS NOT NULL AND (data_key IS NOT NULL OR username IS NOT NULL \
         OR email IS NOT NULL OR name IS NOT NULL OR phone IS NOT NULL OR username_index IS NOT NULL \
         OR email_index IS NOT NULL OR password_hash IS NOT NULL)",
    );
    assert_eq!(kept, [["0"]], "nothing personal is kept, not even sealed");
    let erased = shop.rows("SELECT COUNT(*) FROM accounts WHERE erased_at IS NOT NULL");
    assert_eq!(erased, [["1"]]);
    for table in [
        "addresses",
        "address_versions",
        "codes",
        "mail_outbox",
        "wishlist",
    ] {
        let query = format!(
            "SELECT COUNT(*) FROM {table} WHERE account NOT IN (SELECT id FROM accounts WHERE erased_at IS NULL)"
        );
        let left = shop.rows(&query);
        // What orders name may stay as rows, but without the data key nobody opens them.
        assert!(
            left == [["0"]] || table == "address_versions",
            "{table}: {left:?}"
        );
    }
    assert_eq!(
        Outbox::of(&shop).codes(&alice.person.email).len(),
        1,
        "no letter goes to whoever has left"
    );
    shop.prove_books();
}

fn a_name_and_an_address_are_free_again(store: Store) {
    let shop = Shop::open(store);
    let alice = shop.member("alice");
    alice.caller.delete("/v1/me").is(204);
    let again = Person {
        password: "violet thunder 51".into(),
        ..alice.person.clone()
    };
    again.asks_to_join(&shop.visitor()).is(202);
    let code = Outbox::of(&shop).code(&again.email, 2);
    again.verifies(&shop.visitor(), &code).is(204);
    let back = again.signs_in(&shop.visitor());
    assert_ne!(back.id(), alice.id());
    assert_eq!(back.caller.get("/v1/orders").is(200)["items"], json!([]));
    alice.is_turned_away();
}

fn what_was_erased_stays_erased_after_a_crash(store: Store) {
    let mut shop = Shop::open(store);
    let alice = shop.member("alice");
    alice.caller.delete("/v1/me").is(204);
    for _ in 0..2 {
        shop.kill_and_start();
        let alice = alice.at(shop.url());
        alice.is_turned_away();
        alice
            .caller
            .delete("/v1/me")
            .is_refused(401, "unauthorized");
        alice
            .person
            .asks_to_sign_in(&shop.visitor())
            .is_refused(401, "invalid_credentials");
    }
    let path = format!("/v1/admin/users/{}", alice.id());
    shop.admin()
        .post_with(&format!("{path}/role"), &json!({"role": "admin"}))
        .is_refused(404, "not_found");
    shop.admin()
        .post(&format!("{path}/reinstate"))
        .is_refused(404, "not_found");
}
