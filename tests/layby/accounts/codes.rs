//! Codes by mail: six digits, one live code, five tries, good once.

use serde_json::json;

use crate::support::{Answer, Outbox, Person, Postbox, Shop, Store, at_once, on_each_database};

on_each_database! {
    a_code_is_good_once,
    five_wrong_tries_kill_a_code,
    four_wrong_tries_do_not,
    of_many_who_use_a_code_at_once_one_succeeds,
    a_new_code_replaces_the_one_before,
    a_code_dies_with_its_time,
    a_code_is_for_one_purpose_and_one_person,
    a_second_sign_up_replaces_the_first_and_kills_its_code,
    nobody_learns_whether_an_address_is_known,
    a_known_address_is_told_that_somebody_tried,
    letters_for_an_address_are_limited_known_or_not,
    asking_to_reset_does_not_eat_up_letters_to_verify,
    a_reset_code_is_good_once_and_five_tries,
    a_code_survives_a_crash_and_so_do_its_tries,
}

/// Another code of six digits than this.
fn wrong(code: &str, number: u32) -> String {
    let code: u32 = code.parse().expect("digits");
    format!("{:06}", (code + 1 + number) % 1_000_000)
}

fn a_code_is_good_once(store: Store) {
    let shop = Shop::open(store);
    let (alice, post) = (Person::new("alice"), Outbox::of(&shop));
    alice.asks_to_join(&shop.visitor()).is(202);
    let code = post.code(&alice.email, 1);
    assert_eq!(alice.verifies(&shop.visitor(), &code).is(204), json!(null));
    alice
        .verifies(&shop.visitor(), &code)
        .is_refused(422, "code_invalid");
    alice.signs_in(&shop.visitor());
}

fn five_wrong_tries_kill_a_code(store: Store) {
    let shop = Shop::open(store);
    let (alice, post) = (Person::new("alice"), Outbox::of(&shop));
    alice.asks_to_join(&shop.visitor()).is(202);
    let code = post.code(&alice.email, 1);
    for number in 0..5 {
        alice
            .verifies(&shop.visitor(), &wrong(&code, number))
            .is_refused(422, "code_invalid");
    }
    alice
        .verifies(&shop.visitor(), &code)
        .is_refused(422, "code_invalid");
    alice
        .asks_to_sign_in(&shop.visitor())
        .is_refused(403, "email_not_verified");
    // The next one counts from nothing.
    alice.asks_for_another_code(&shop.visitor()).is(202);
    let code = post.code(&alice.email, 2);
    alice.verifies(&shop.visitor(), &code).is(204);
}

fn four_wrong_tries_do_not(store: Store) {
    let shop = Shop::open(store);
    let (alice, post) = (Person::new("alice"), Outbox::of(&shop));
    alice.asks_to_join(&shop.visitor()).is(202);
    let code = post.code(&alice.email, 1);
    for number in 0..4 {
        alice
            .verifies(&shop.visitor(), &wrong(&code, number))
            .is_refused(422, "code_invalid");
    }
    alice.verifies(&shop.visitor(), &code).is(204);
}

fn of_many_who_use_a_code_at_once_one_succeeds(store: Store) {
    let shop = Shop::open(store);
    let (alice, post) = (Person::new("alice"), Outbox::of(&shop));
    alice.asks_to_join(&shop.visitor()).is(202);
    let code = post.code(&alice.email, 1);
    let callers: Vec<_> = (0..12).map(|_| shop.visitor()).collect();
    let answers = at_once(&callers, |it| alice.verifies(it, &code));
    one_succeeded(&answers);

    alice.forgets(&shop.visitor()).is(202);
    let code = post.code(&alice.email, 2);
    let tries: Vec<_> = (0..12).map(|number| (shop.visitor(), number)).collect();
    let answers = at_once(&tries, |(caller, number)| {
        alice.resets(caller, &code, &format!("violet thunder {number}"))
    });
    one_succeeded(&answers);
    let winner = answers.iter().position(|it| it.status == 204);
    let password = format!("violet thunder {}", winner.expect("one"));
    alice.with_password(&password).signs_in(&shop.visitor());
}

#[track_caller]
fn one_succeeded(answers: &[Answer]) {
    let good = answers.iter().filter(|it| it.status == 204).count();
    assert_eq!(good, 1, "{} of {}", good, answers.len());
    for answer in answers.iter().filter(|it| it.status != 204) {
        answer.is_refused(422, "code_invalid");
    }
}

fn a_new_code_replaces_the_one_before(store: Store) {
    let shop = Shop::open(store);
    let (alice, post) = (Person::new("alice"), Outbox::of(&shop));
    alice.asks_to_join(&shop.visitor()).is(202);
    let first = post.code(&alice.email, 1);
    let second = loop {
        alice.asks_for_another_code(&shop.visitor()).is(202);
        let count = post.codes(&alice.email).len().max(2);
        let code = post.code(&alice.email, count);
        // One in a million is the same again.
        if code != first {
            break code;
        }
    };
    alice
        .verifies(&shop.visitor(), &first)
        .is_refused(422, "code_invalid");
    alice.verifies(&shop.visitor(), &second).is(204);
}

fn a_code_dies_with_its_time(store: Store) {
    let shop = Shop::open(store);
    let (alice, post) = (Person::new("alice"), Outbox::of(&shop));
    alice.asks_to_join(&shop.visitor()).is(202);
    let code = post.code(&alice.email, 1);
    let lives = "SELECT MAX(expires_at - created_at), COUNT(*) FROM codes";
    assert_eq!(shop.rows(lives), [["600000000", "1"]], "ten minutes");
    shop.sql("UPDATE codes SET expires_at = created_at");
    alice
        .verifies(&shop.visitor(), &code)
        .is_refused(422, "code_invalid");
}

fn a_code_is_for_one_purpose_and_one_person(store: Store) {
    let shop = Shop::open(store);
    let post = Outbox::of(&shop);
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.asks_to_join(&shop.visitor()).is(202);
    bob.asks_to_join(&shop.visitor()).is(202);
    let [for_alice, for_bob] = [&alice, &bob].map(|it| post.code(&it.email, 1));
    if for_alice != for_bob {
        bob.verifies(&shop.visitor(), &for_alice)
            .is_refused(422, "code_invalid");
    }
    // A code to verify an address does not reset a password.
    alice
        .resets(&shop.visitor(), &for_alice, "violet thunder 51")
        .is_refused(422, "code_invalid");
    alice.verifies(&shop.visitor(), &for_alice).is(204);
    alice.forgets(&shop.visitor()).is(202);
    let to_reset = post.code(&alice.email, 2);
    alice
        .verifies(&shop.visitor(), &to_reset)
        .is_refused(422, "code_invalid");
    alice
        .resets(&shop.visitor(), &to_reset, "violet thunder 51")
        .is(204);
}

fn a_second_sign_up_replaces_the_first_and_kills_its_code(store: Store) {
    let shop = Shop::open(store);
    let post = Outbox::of(&shop);
    let thief = Person::new("thief");
    let owner = Person {
        email: thief.email.clone(),
        ..Person::new("owner")
    };
    thief.asks_to_join(&shop.visitor()).is(202);
    let first = post.code(&thief.email, 1);
    owner.asks_to_join(&shop.visitor()).is(202);
    let second = post.code(&owner.email, 2);
    if first != second {
        owner
            .verifies(&shop.visitor(), &first)
            .is_refused(422, "code_invalid");
    }
    owner.verifies(&shop.visitor(), &second).is(204);
    owner.signs_in(&shop.visitor());
    // Whoever was first with somebody else's address has nothing of it, and the name is free again.
    thief
        .asks_to_sign_in(&shop.visitor())
        .is_refused(401, "invalid_credentials");
    let again = Person {
        email: Person::new("new").email,
        ..thief
    };
    again.asks_to_join(&shop.visitor()).is(202);
}

/// But for the id, which differs always.
fn said(answer: &Answer) -> (u16, serde_json::Value, Vec<String>) {
    let mut body = answer.json();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("request_id");
    }
    let mut headers: Vec<String> = answer.headers.keys().map(|it| it.to_string()).collect();
    headers.sort();
    (answer.status, body, headers)
}

fn nobody_learns_whether_an_address_is_known(store: Store) {
    let shop = Shop::open(store);
    let visitor = shop.visitor();
    let known = shop.member("known").person;
    let pending = Person::new("pending");
    pending.asks_to_join(&visitor).is(202);
    let stranger = Person::new("stranger");

    let others = [&known, &pending];
    let with_address_of = |person: &Person| Person {
        email: person.email.clone(),
        ..Person::new("fresh")
    };
    let asked: [&dyn Fn(&Person) -> Answer; 5] = [
        &|person| person.asks_for_another_code(&visitor),
        &|person| person.forgets(&visitor),
        &|person| person.verifies(&visitor, "000000"),
        &|person| person.resets(&visitor, "000000", "violet thunder 51"),
        &|person| with_address_of(person).asks_to_join(&visitor),
    ];
    for (number, ask) in asked.iter().enumerate() {
        let to_stranger = said(&ask(&stranger));
        for other in others {
            assert_eq!(said(&ask(other)), to_stranger, "request {number}");
        }
    }
    let stranger = Person::new("nobody");
    let to_stranger = said(&stranger.asks_to_sign_in(&visitor));
    let to_known = said(&known.asks_to_sign_in_with(&visitor, "not my password"));
    let to_pending = said(&pending.asks_to_sign_in_with(&visitor, "not my password"));
    assert_eq!(to_known, to_stranger);
    assert_eq!(to_pending, to_stranger);
}

fn a_known_address_is_told_that_somebody_tried(store: Store) {
    let shop = Shop::open(store);
    let post = Outbox::of(&shop);
    let alice = shop.member("alice");
    let mallory = Person {
        email: alice.person.email.clone(),
        ..Person::new("mallory")
    };
    mallory.asks_to_join(&shop.visitor()).is(202);
    let letters = post.letters(&alice.person.email, 2);
    assert_eq!(post.codes(&alice.person.email).len(), 1, "{letters:#?}");
    assert!(
        !letters[1].text.contains(&mallory.username),
        "a stranger puts no words into our letters"
    );
    mallory
        .asks_to_sign_in(&shop.visitor())
        .is_refused(401, "invalid_credentials");
    // Alice has noticed nothing else.
    alice.is_let_in();
    alice.person.signs_in(&shop.visitor());
}

fn letters_for_an_address_are_limited_known_or_not(store: Store) {
    let shop = Shop::open(store);
    let visitor = shop.visitor();
    let post = Outbox::of(&shop);
    let known = shop.member("known").person;
    let pending = Person::new("pending");
    pending.asks_to_join(&visitor).is(202);
    let stranger = Person::new("stranger");
    type Ask<'a> = (&'a str, &'a dyn Fn(&Person) -> Answer);
    let asks: [Ask<'_>; 2] = [
        ("another code", &|it| it.asks_for_another_code(&visitor)),
        ("forgotten", &|it| it.forgets(&visitor)),
    ];
    for (what, ask) in asks {
        for person in [&known, &pending, &stranger] {
            let accepted = (0..10).take_while(|_| {
                let answer = ask(person);
                if answer.status != 202 {
                    let told = answer.is_refused(429, "too_many_requests");
                    let seconds = told["retry_after"].as_u64().expect("seconds");
                    assert!((1..=3_600).contains(&seconds), "{told}");
                }
                answer.status == 202
            });
            let accepted = accepted.count();
            // The letter of the sign-up may count.
            assert!((4..=5).contains(&accepted), "{what}: {accepted}");
        }
        // However it is spelt.
        let shouting = Person {
            email: pending.email.to_uppercase(),
            ..pending.clone()
        };
        ask(&shouting).is_refused(429, "too_many_requests");
    }
    assert!(post.letters_to(&pending.email).len() <= 11);
    assert_eq!(post.letters_to(&stranger.email).len(), 0);
}

fn asking_to_reset_does_not_eat_up_letters_to_verify(store: Store) {
    let shop = Shop::open(store);
    let visitor = shop.visitor();
    let pending = Person::new("pending");
    pending.asks_to_join(&visitor).is(202);
    for _ in 0..8 {
        pending.forgets(&visitor);
    }
    pending
        .forgets(&visitor)
        .is_refused(429, "too_many_requests");
    pending.asks_for_another_code(&visitor).is(202);
    let code = Outbox::of(&shop).code(&pending.email, 2);
    pending.verifies(&visitor, &code).is(204);
}

fn a_reset_code_is_good_once_and_five_tries(store: Store) {
    let shop = Shop::open(store);
    let visitor = shop.visitor();
    let post = Outbox::of(&shop);
    let alice = shop.member("alice").person;
    alice.forgets(&visitor).is(202);
    let code = post.code(&alice.email, 2);
    for number in 0..5 {
        alice
            .resets(&visitor, &wrong(&code, number), "violet thunder 51")
            .is_refused(422, "code_invalid");
    }
    alice
        .resets(&visitor, &code, "violet thunder 51")
        .is_refused(422, "code_invalid");
    alice.signs_in(&visitor);

    alice.forgets(&visitor).is(202);
    let code = post.code(&alice.email, 3);
    // A password that is refused does not use the code up.
    alice
        .resets(&visitor, &code, "short")
        .is_refused(422, "invalid_values");
    alice.resets(&visitor, &code, "violet thunder 51").is(204);
    alice
        .resets(&visitor, &code, "violet thunder 52")
        .is_refused(422, "code_invalid");
    alice.with_password("violet thunder 51").signs_in(&visitor);
}

fn a_code_survives_a_crash_and_so_do_its_tries(store: Store) {
    let mut shop = Shop::open(store);
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    let post = Outbox::of(&shop);
    for person in [&alice, &bob] {
        person.asks_to_join(&shop.visitor()).is(202);
    }
    let code = post.code(&alice.email, 1);
    let bobs = post.code(&bob.email, 1);
    for number in 0..5 {
        alice
            .verifies(&shop.visitor(), &wrong(&code, number))
            .is_refused(422, "code_invalid");
        if number % 2 == 0 {
            shop.kill_and_start();
        }
    }
    alice
        .verifies(&shop.visitor(), &code)
        .is_refused(422, "code_invalid");
    bob.verifies(&shop.visitor(), &bobs).is(204);
}
