//! Mistakes that services of this kind really made with their users, each as a sentence.

use serde_json::json;

use crate::support::{
    Canaries, Outbox, Person, Postbox, Sale, Shop, Store, on_each_database, text,
};

on_each_database! {
    a_duplicate_username_is_found_although_names_are_sealed,
    nobody_signs_in_without_a_verified_address,
    a_changed_password_can_log_in,
    an_address_is_sealed_on_update_too,
    the_same_words_are_never_sealed_alike,
    a_code_has_an_end_and_a_limit_of_tries,
    not_anyone_may_register_products,
}

fn a_duplicate_username_is_found_although_names_are_sealed(store: Store) {
    let mut shop = Shop::open(store);
    let alice = shop.member("alice").person;
    let pending = Person::new("pending");
    pending.asks_to_join(&shop.visitor()).is(202);
    for _ in 0..2 {
        for taken in [&alice, &pending] {
            let other = Person {
                username: taken.username.clone(),
                ..Person::new("other")
            };
            other
                .asks_to_join(&shop.visitor())
                .is_refused(409, "username_taken");
            let path = format!("/v1/auth/username-available?username={}", taken.username);
            assert_eq!(shop.visitor().get(&path).is(200)["available"], false);
        }
        shop.kill_and_start();
    }
    // Of many who want a name at once one gets it.
    let name = Person::new("wanted").username;
    let people: Vec<Person> = (0..8)
        .map(|_| Person {
            username: name.clone(),
            ..Person::new("other")
        })
        .collect();
    let answers = crate::support::at_once(&people, |it| it.asks_to_join(&shop.visitor()));
    let accepted = answers.iter().filter(|it| it.status == 202).count();
    assert_eq!(accepted, 1);
    for answer in answers.iter().filter(|it| it.status != 202) {
        answer.is_refused(409, "username_taken");
    }
}

fn nobody_signs_in_without_a_verified_address(store: Store) {
    let mut shop = Shop::open(store);
    let alice = Person::new("alice");
    alice.asks_to_join(&shop.visitor()).is(202);
    for _ in 0..2 {
        alice
            .asks_to_sign_in(&shop.visitor())
            .is_refused(403, "email_not_verified");
        alice
            .asks_to_sign_in_with(&shop.visitor(), "not my password")
            .is_refused(401, "invalid_credentials");
        shop.kill_and_start();
    }
    // A forgotten password is no way around it either.
    alice.forgets(&shop.visitor()).is(202);
    let code = Outbox::of(&shop).code(&alice.email, 1);
    alice.verifies(&shop.visitor(), &code).is(204);
    alice.signs_in(&shop.visitor());
}

fn a_changed_password_can_log_in(store: Store) {
    let mut shop = Shop::open(store);
    let member = shop.member("alice");
    let mut person = member.person.clone();
    for number in 0..3 {
        let new = format!("violet thunder {number}");
        member.changes_password(&person.password, &new).is(204);
        person = person.with_password(&new);
        person.signs_in(&shop.visitor());
    }
    shop.kill_and_start();
    person.signs_in(&shop.visitor());
    member
        .person
        .asks_to_sign_in(&shop.visitor())
        .is_refused(401, "invalid_credentials");
}

fn an_address_is_sealed_on_update_too(store: Store) {
    let mut shop = Shop::open(store);
    let member = shop.member("alice");
    let words = [
        "Cinnabar-Avenue-4711",
        "Nightjar Plover",
        "Tamarisk-Court-12",
    ];
    let added = member.adds_address(&super::addresses::form("Alice"));
    let path = format!("/v1/me/addresses/{}", text(&added, "id"));
    let patch = json!({"line1": words[0], "recipient": words[1], "line2": words[2]});
    member.caller.patch(&path, &patch).is(200);
    member
        .caller
        .patch("/v1/me", &json!({"name": words[1]}))
        .is(200);
    let canaries = Canaries::new(&words);
    let tables = super::dump(&shop);
    assert!(!tables.is_empty());
    assert_eq!(canaries.found_in(&tables), Vec::<String>::new());
    shop.kill();
    assert_eq!(
        canaries.found_below(shop.scratch(), &["outbox"]),
        Vec::<String>::new()
    );
    shop.start();
    assert_eq!(member.at(shop.url()).me()["name"], json!(words[1]));
}

fn the_same_words_are_never_sealed_alike(store: Store) {
    let shop = Shop::open(store);
    let people = ["alice", "bob", "carol"].map(|it| shop.member(it));
    let mut seen = Vec::new();
    for round in 0..4 {
        for member in &people {
            // The same words every time.
            member
                .caller
                .patch("/v1/me", &json!({"name": "Kim", "phone": "01012345678"}))
                .is(200);
            member.adds_address(&super::addresses::form("Kim"));
        }
        let mut sealed = shop.rows("SELECT HEX(name), HEX(phone), HEX(data_key) FROM accounts");
        sealed.extend(shop.rows("SELECT HEX(content) FROM address_versions"));
        seen.extend(sealed.into_iter().flatten());
        assert!(seen.len() > 9 * round);
    }
    // A wrapped key stays as it is; everything else is sealed anew.
    seen.sort();
    seen.dedup();
    let keys = shop.rows("SELECT HEX(data_key) FROM accounts");
    assert_eq!(keys.len(), 3);
    let addresses = 3 * 4;
    let names_and_phones = 2 * 3 * 4;
    assert_eq!(seen.len(), keys.len() + addresses + names_and_phones);
    // The name and the address of a person begin alike only where the version and the key stand: nonces differ.
    let nonces: std::collections::BTreeSet<&str> = seen.iter().map(|it| &it[10..34]).collect();
    assert_eq!(nonces.len(), seen.len(), "a nonce was used twice");
}

fn a_code_has_an_end_and_a_limit_of_tries(store: Store) {
    let shop = Shop::open(store);
    let alice = Person::new("alice");
    alice.asks_to_join(&shop.visitor()).is(202);
    let code = Outbox::of(&shop).code(&alice.email, 1);
    // All codes are not tried before it dies.
    let wrong = if code == "123456" { "123457" } else { "123456" };
    for _ in 0..5 {
        alice
            .verifies(&shop.visitor(), wrong)
            .is_refused(422, "code_invalid");
    }
    alice
        .verifies(&shop.visitor(), &code)
        .is_refused(422, "code_invalid");
    let late = Person::new("late");
    late.asks_to_join(&shop.visitor()).is(202);
    let code = Outbox::of(&shop).code(&late.email, 1);
    shop.sql("UPDATE codes SET expires_at = 1");
    late.verifies(&shop.visitor(), &code)
        .is_refused(422, "code_invalid");
}

fn not_anyone_may_register_products(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let buyer = shop.member("alice");
    let new = json!({"name": "Chair", "description": "", "price": {"amount": 1, "currency": "KRW"}, "stock": 3});
    buyer
        .caller
        .post_with("/v1/admin/products", &new)
        .is_refused(403, "forbidden");
    let listed = shop.visitor().get("/v1/products").is(200);
    assert_eq!(text(&listed["items"][0], "id"), lamp);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
}
