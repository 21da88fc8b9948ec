//! How long an answer takes does not tell what it hides. The one place where the tests look at a clock so closely; a
//! busy machine is given more rounds with more samples before it is believed.

use std::time::{Duration, Instant};

use crate::support::{Answer, Caller, Outbox, Person, Shop, Store};

/// Beside the tenth: what a machine with other work adds to an answer of a millisecond.
const NOISE: Duration = Duration::from_micros(400);
const ROUNDS: usize = 4;

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort();
    samples[samples.len() / 2]
}

/// Asks in turns and compares the medians.
#[track_caller]
fn take_equally_long(
    samples: usize,
    mut known: impl FnMut(usize) -> Answer,
    mut unknown: impl FnMut(usize) -> Answer,
) {
    let mut seen = Vec::new();
    let mut number = 0;
    for round in 1..=ROUNDS {
        let (mut of_known, mut of_unknown) = (Vec::new(), Vec::new());
        for _ in 0..samples * round {
            number += 1;
            let time = |ask: &mut dyn FnMut(usize) -> Answer| {
                let began = Instant::now();
                let answer = ask(number);
                let took = began.elapsed();
                assert!(matches!(answer.status, 202 | 401), "{answer}");
                took
            };
            // Who comes first alternates: the second of a pair finds everything warm.
            if number % 2 == 0 {
                of_known.push(time(&mut known));
                of_unknown.push(time(&mut unknown));
            } else {
                of_unknown.push(time(&mut unknown));
                of_known.push(time(&mut known));
            }
        }
        let (known, unknown) = (median(of_known), median(of_unknown));
        let gap = known.abs_diff(unknown);
        if gap <= known.max(unknown) / 10 || gap <= NOISE {
            return;
        }
        seen.push((known, unknown));
    }
    panic!("known and unknown differ in every round: {seen:?}");
}

/// A shop behind a proxy, so that nobody is told to come back later, and people with accounts.
fn town(people: usize) -> (Shop, Vec<Person>) {
    let shop = Shop::open_with(Store::Sqlite, &["--trusted-proxies", "127.0.0.1"]);
    let people = (0..people).map(|number| {
        let person = Person::new("known");
        person.joins(&from(&shop, number), &Outbox::of(&shop));
        person
    });
    let people = people.collect();
    (shop, people)
}

/// Each from a place of their own.
fn from(shop: &Shop, number: usize) -> Caller {
    shop.visitor()
        .calling_from(&format!("198.18.{}.{}", number / 250, number % 250 + 1))
}

#[test]
fn signing_in_takes_as_long_with_a_name_that_nobody_has() {
    // At most nine wrong passwords each.
    let (shop, people) = town(28);
    take_equally_long(
        20,
        |number| {
            let person = &people[number % people.len()];
            person.asks_to_sign_in_with(&from(&shop, 1_000 + number), "not my password")
        },
        |number| Person::new("unknown").asks_to_sign_in(&from(&shop, 3_000 + number)),
    );
}

#[test]
fn signing_up_takes_as_long_with_an_address_that_is_known() {
    let (shop, people) = town(40);
    take_equally_long(
        16,
        |number| {
            let person = Person {
                email: people[number % people.len()].email.clone(),
                ..Person::new("again")
            };
            person.asks_to_join(&from(&shop, 1_000 + number))
        },
        |number| Person::new("fresh").asks_to_join(&from(&shop, 3_000 + number)),
    );
}

#[test]
fn forgetting_a_password_takes_as_long_with_an_address_that_nobody_has() {
    let (shop, people) = town(50);
    take_equally_long(
        20,
        |number| people[number % people.len()].forgets(&from(&shop, 1_000 + number)),
        |number| Person::new("unknown").forgets(&from(&shop, 3_000 + number)),
    );
}
