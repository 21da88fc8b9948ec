//! Passwords: what may be one, that nothing of it is cut off, and that spellings of the same one are the same.

use serde_json::json;

use crate::support::{Answer, Outbox, Person, Postbox, Shop, Store, on_each_database, text};

on_each_database! {
    a_password_counts_to_its_last_character,
    the_same_password_in_another_spelling_is_the_same,
    a_password_is_kept_as_a_salted_slow_hash_and_nothing_else,
}

#[test]
fn a_password_has_8_characters_at_least_and_1024_bytes_at_most() {
    let shop = Shop::open(Store::Sqlite);
    let member = shop.member("alice");
    let long = |length: usize| "correct horse battery staple ".repeat(40)[..length].to_owned();
    let cases = [
        (String::new(), false),
        ("vK7#qpZ".into(), false),
        ("vK7#qpZw".into(), true),
        (long(64), true),
        (long(73), true),
        (long(1_024), true),
        (long(1_025), false),
        (long(2_000), false),
        // Characters count, not bytes; and not those that are no letters of their own.
        ("등불참새겨울밤".into(), false),
        ("등불참새겨울밤별".into(), true),
        ("e\u{301}".repeat(7), false),
        ("no\u{0}nul at all".into(), false),
        ("no\r\nline breaks".into(), false),
        ("no\u{1b}[31mcolours".into(), false),
    ];
    let mut current = member.person.password.clone();
    for (password, is_good) in cases {
        let mut short = password.clone();
        short.truncate(short.floor_char_boundary(30));
        let answer = member.changes_password(&current, &password);
        if is_good {
            assert_eq!(answer.status, 204, "{short:?}: {answer}");
            current = password;
        } else {
            names_field(&answer, "new_password");
            let person = Person {
                password: password.clone(),
                ..Person::new("bob")
            };
            names_field(&person.asks_to_join(&shop.visitor()), "password");
        }
    }
}

#[test]
fn a_million_characters_are_refused_at_the_door() {
    let shop = Shop::open(Store::Sqlite);
    let member = shop.member("alice");
    let million = "x".repeat(1_000_000);
    let person = member.person.with_password(&million);
    for answer in [
        person.asks_to_sign_in(&shop.visitor()),
        Person::new("bob")
            .with_password(&million)
            .asks_to_join(&shop.visitor()),
        member.changes_password(&member.person.password, &million),
        member.changes_password(&million, "violet thunder 51"),
        member.person.resets(&shop.visitor(), "000000", &million),
    ] {
        answer.is_refused(413, "body_too_large");
    }
    let most = "x".repeat(60_000);
    member
        .person
        .asks_to_sign_in_with(&shop.visitor(), &most)
        .is_refused(401, "invalid_credentials");
    member
        .changes_password(&most, "violet thunder 51")
        .is_refused(403, "wrong_password");
    member.person.signs_in(&shop.visitor());
}

#[test]
fn what_everybody_tries_first_is_refused() {
    let shop = Shop::open(Store::Sqlite);
    let member = shop.member("alice");
    let person = &member.person;
    let local_part = person.email.split('@').next().expect("a local part");
    for password in [
        "password",
        "Password",
        "password1",
        "password123",
        "PASSWORD123",
        "P@ssw0rd",
        "12345678",
        "123456789",
        "qwertyuiop",
        "iloveyou",
        "11111111",
        "sunshine",
        "football",
        "baseball",
        "trustno1",
        "ｐａｓｓｗｏｒｄ",
        &person.username,
        &person.username.to_uppercase(),
        &person.email,
        local_part,
    ] {
        let answer = member.changes_password(&person.password, password);
        assert_eq!(answer.code(), "invalid_values", "{password}: {answer}");
        names_field(&answer, "new_password");
    }
    for password in [
        "vK7#qpZw",
        "tram quilt 9 basil",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ] {
        let bob = Person::new("bob").with_password(password);
        bob.asks_to_join(&shop.visitor()).is(202);
    }
}

fn a_password_counts_to_its_last_character(store: Store) {
    let shop = Shop::open(store);
    let member = shop.member("alice");
    let mut current = member.person.password.clone();
    for length in [64, 73, 100, 1_024] {
        let password = "battery staple correct horse ".repeat(40)[..length].to_owned();
        member.changes_password(&current, &password).is(204);
        for wrong in [
            password[..length - 1].to_owned(),
            format!("{}!", &password[..length - 1]),
            format!(
                "{}{}",
                &password[..length - 1],
                password[length - 1..].to_uppercase() + "."
            ),
            password.to_uppercase(),
        ] {
            member
                .person
                .asks_to_sign_in_with(&shop.visitor(), &wrong)
                .is_refused(401, "invalid_credentials");
        }
        let person = member.person.with_password(&password);
        person.signs_in(&shop.visitor());
        current = password;
    }
}

fn the_same_password_in_another_spelling_is_the_same(store: Store) {
    let shop = Shop::open(store);
    let member = shop.member("alice");
    let mut current = member.person.password.clone();
    for (typed, again) in [
        // Composed and decomposed; full width; Hangul as letters.
        ("caf\u{e9} lantern 51", "cafe\u{301} lantern 51"),
        (
            "\u{ff56}\u{ff49}\u{ff4f}\u{ff4c}\u{ff45}\u{ff54} thunder 51",
            "violet thunder 51",
        ),
        (
            "등불 참새 겨울밤",
            "\u{1103}\u{1173}\u{11bc}\u{1107}\u{116e}\u{11af} 참새 겨울밤",
        ),
        ("\u{fb01}sh lantern 51", "fish lantern 51"),
    ] {
        member.changes_password(&current, typed).is(204);
        for spelling in [typed, again] {
            member
                .person
                .with_password(spelling)
                .signs_in(&shop.visitor());
        }
        current = again.to_owned();
    }
}

fn a_password_is_kept_as_a_salted_slow_hash_and_nothing_else(store: Store) {
    let shop = Shop::open(store);
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    let bob = bob.with_password(&alice.password);
    for person in [&alice, &bob] {
        person.joins(&shop.visitor(), &Outbox::of(&shop));
    }
    let hashes = shop.rows("SELECT password_hash FROM accounts WHERE password_hash IS NOT NULL");
    assert_eq!(hashes.len(), 2);
    assert_ne!(hashes[0], hashes[1], "the same password has two salts");
    for row in hashes {
        let hash = &row[0];
        let parameters = hash
            .strip_prefix("$argon2id$v=19$")
            .unwrap_or_else(|| panic!("{hash}"));
        let number = |name: &str| -> u32 {
            let rest = parameters.split_once(name).expect("a parameter").1;
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().expect("a number")
        };
        let (memory, passes) = (number("m="), number("t="));
        assert!(
            memory >= 19_456 && passes >= 2 || memory >= 47_104,
            "{hash}"
        );
    }
    // Signing in changes nothing of it.
    alice.signs_in(&shop.visitor());
}

#[test]
fn a_forgotten_password_is_asked_for_by_any_spelling_of_the_address() {
    let shop = Shop::open(Store::Sqlite);
    let alice = shop.member("alice").person;
    let shouting = Person {
        email: alice.email.to_uppercase(),
        ..alice.clone()
    };
    shouting.forgets(&shop.visitor()).is(202);
    let code = Outbox::of(&shop).code(&alice.email, 2);
    shouting
        .resets(&shop.visitor(), &code, "violet thunder 51")
        .is(204);
    alice
        .with_password("violet thunder 51")
        .signs_in(&shop.visitor());
}

#[track_caller]
fn names_field(answer: &Answer, field: &str) {
    let told = answer.is_refused(422, "invalid_values");
    let errors = told["errors"].as_array().expect("errors").clone();
    let named: Vec<String> = errors.iter().map(|it| text(it, "field")).collect();
    assert_eq!(json!(named), json!([field]), "{answer}");
}
