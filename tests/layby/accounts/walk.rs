//! The whole way of a new customer, from the form to the end of the session.

use serde_json::json;

use crate::support::{Outbox, Person, Postbox, Sale, Shop, Store, code_in, on_each_database, text};

on_each_database! {
    somebody_new_signs_up_buys_changes_their_password_and_leaves,
    the_demo_people_can_sign_in,
    an_admin_made_on_the_command_line_can_sign_in,
}

fn somebody_new_signs_up_buys_changes_their_password_and_leaves(store: Store) {
    let mut shop = Shop::open(store);
    let post = Outbox::of(&shop);
    walk(&mut shop, &post);
}

/// Letters go where `post` looks.
pub(super) fn walk(shop: &mut Shop, post: &dyn Postbox) {
    let lamp = shop.product(Sale::of(10));
    let alice = Person::new("alice");
    let visitor = shop.visitor();

    let free = |name: &str| {
        let path = format!("/v1/auth/username-available?username={name}");
        visitor.get(&path).is(200)["available"].clone()
    };
    assert_eq!(free(&alice.username), true);
    alice.asks_to_join(&visitor).is(202);
    assert_eq!(free(&alice.username), false);
    alice
        .asks_to_sign_in(&visitor)
        .is_refused(403, "email_not_verified");

    let letters = post.letters(&alice.email, 1);
    let code = code_in(&letters[0].text).expect("a code on a line of its own");
    assert!(
        !letters[0].subject.contains(&code),
        "a subject is shown on locked screens"
    );
    alice.verifies(&visitor, &code).is(204);

    let tokens = alice.asks_to_sign_in(&visitor).is(200);
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 900);
    let fields = tokens.as_object().map(|it| it.len());
    assert_eq!(fields, Some(4), "{tokens}");

    let first = alice.signs_in(&visitor);
    let me = first.me();
    assert_eq!(me["username"], json!(alice.username));
    assert_eq!(me["email"], json!(alice.email));
    assert_eq!(me["name"], json!(alice.name));
    assert_eq!(me["role"], "buyer");
    let order = first.caller.hold(&lamp, 1);
    first.caller.pay(&order, "card_ok").is(201);

    let second = first.refreshes();
    assert_eq!(text(&second.me(), "id"), first.id().to_string());
    assert_eq!(second.caller.state(&order), "paid");

    let changed = second.caller.patch("/v1/me", &json!({"name": "Alice Lee"}));
    assert_eq!(changed.is(200)["name"], "Alice Lee");
    assert_eq!(second.me()["name"], "Alice Lee");

    let elsewhere = alice.signs_in(&visitor);
    let letters = post.letters_to(&alice.email).len();
    second
        .changes_password(&alice.password, "a better lantern of mine")
        .is(204);
    elsewhere.is_turned_away();
    elsewhere
        .asks_to_refresh()
        .is_refused(401, "invalid_refresh_token");
    second.is_let_in();
    post.letters(&alice.email, letters + 1);
    alice
        .asks_to_sign_in(&visitor)
        .is_refused(401, "invalid_credentials");
    let alice = alice.with_password("a better lantern of mine");

    let third = second.refreshes();
    third.signs_out();
    third.is_turned_away();
    third
        .asks_to_refresh()
        .is_refused(401, "invalid_refresh_token");

    shop.kill_and_start();
    third.at(shop.url()).is_turned_away();
    let back = alice.signs_in(&shop.visitor());
    assert_eq!(back.me()["name"], "Alice Lee");
    assert_eq!(back.caller.state(&order), "paid");
}

fn the_demo_people_can_sign_in(store: Store) {
    let mut shop = Shop::open_with(store, &["--demo"]);
    let demo = || -> serde_json::Value {
        let text = std::fs::read(shop.data_dir().join("demo.json")).expect("the demo");
        serde_json::from_slice(&text).expect("JSON")
    };
    let first = demo();
    let sign_in = |shop: &Shop, who: &str| {
        let body = json!({"username": first[who]["username"], "password": first[who]["password"]});
        let answer = shop.visitor().post_with("/v1/auth/sign-in", &body);
        let tokens = answer.is(200);
        shop.visitor().with_token(text(&tokens, "access_token"))
    };
    sign_in(&shop, "admin").get("/v1/admin/audit").is(200);
    let buyer = sign_in(&shop, "buyer");
    assert_eq!(buyer.get("/v1/me").is(200)["id"], first["buyer"]["id"]);
    buyer.get("/v1/admin/audit").is_refused(403, "forbidden");

    // The same people after a restart.
    shop.kill_and_start();
    sign_in(&shop, "admin").get("/v1/admin/orders").is(200);
    let token = text(&first["buyer"], "token");
    let me = shop.visitor().with_token(token).get("/v1/me").is(200);
    assert_eq!(me["id"], first["buyer"]["id"]);
}

fn an_admin_made_on_the_command_line_can_sign_in(store: Store) {
    let mut shop = Shop::closed(store, &[]);
    let root = super::keeper(&shop, "root");
    shop.start();
    let admin = root.signs_in(&shop.visitor());
    assert_eq!(admin.me()["role"], "admin");
    assert_eq!(admin.me()["email"], json!(root.email));
    admin.caller.get("/v1/admin/audit").is(200);

    // Nobody else gets that name or that address.
    let other = Person {
        email: "somebody.else@example.test".into(),
        ..root.clone()
    };
    other
        .asks_to_join(&shop.visitor())
        .is_refused(409, "username_taken");
    let mut again = super::create_admin(&shop, &root);
    let output = crate::support::run(&mut again);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains(&root.password), "{said}");
    // A password that everybody tries is nobody's password.
    let weak = Person::new("weak").with_password("password123");
    let output = crate::support::run(&mut super::create_admin(&shop, &weak));
    assert_eq!(output.status.code(), Some(1));
}
