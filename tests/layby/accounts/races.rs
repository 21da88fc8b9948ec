//! What ends access meets what gives it, at the same moment: afterwards nobody is inside who should not be.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Caller, Member, Outbox, Person, Postbox, Sale, Shop, Store, at_once, line, on_each_database,
    text,
};

on_each_database! {
    a_refresh_that_meets_the_end_leaves_no_way_in,
    a_sign_in_that_meets_a_new_password_leaves_no_way_in,
    a_sign_in_that_meets_a_suspension_leaves_no_way_in,
    many_profile_changes_at_once_leave_one_of_them,
    of_many_defaults_at_once_one_is_the_default,
    many_who_want_the_same_address_make_one_account,
}

/// Refreshes until it is refused. Gives every pair of tokens that it was ever given.
fn refresh_on(first: &Member) -> Vec<Member> {
    let mut chain = vec![first.clone()];
    while let Some(last) = chain.last() {
        let answer = last.asks_to_refresh();
        if answer.status != 200 {
            answer.is_refused(401, "invalid_refresh_token");
            break;
        }
        let tokens = answer.json();
        chain.push(Member {
            person: first.person.clone(),
            caller: first.caller.with_token(text(&tokens, "access_token")),
            refresh_token: text(&tokens, "refresh_token"),
        });
        assert!(chain.len() < 20_000, "nothing ends it");
    }
    chain
}

fn a_refresh_that_meets_the_end_leaves_no_way_in(store: Store) {
    let shop = Shop::open_with(store, BEHIND_A_PROXY);
    let ends = ["suspend", "everywhere", "password", "delete"];
    for (round, end) in ends.into_iter().enumerate() {
        let member = shop.member("alice");
        // Each from a place of its own, so that none is told to wait.
        let sessions: Vec<Member> = (0..3)
            .map(|number| {
                let place = format!("198.51.{round}.{number}");
                member.person.signs_in(&shop.visitor().calling_from(&place))
            })
            .collect();
        let chains: Vec<Vec<Member>> = std::thread::scope(|scope| {
            let threads: Vec<_> = sessions
                .iter()
                .map(|session| scope.spawn(move || refresh_on(session)))
                .collect();
            crate::support::pause(Duration::from_millis(60));
            match end {
                "suspend" => shop.user_act(&member, "suspend"),
                "everywhere" => member.signs_out_everywhere(),
                "password" => {
                    let changed =
                        member.changes_password(&member.person.password, "violet thunder 51");
                    changed.is(204);
                }
                _ => {
                    member.caller.delete("/v1/me").is(204);
                }
            }
            threads
                .into_iter()
                .map(|it| {
                    it.join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
        for chain in &chains {
            assert!(chain.len() > 1, "{end} came before everything");
            let last = chain.last().expect("one");
            let answer = last.caller.get("/v1/me");
            assert_eq!(answer.code(), "unauthorized", "{end}: {answer}");
        }
    }
}

/// Signs in again and again until told to stop. Gives what was got.
fn sign_in_on(person: &Person, visitor: &Caller, enough: &AtomicBool, got: &Mutex<Vec<Member>>) {
    while !enough.load(Ordering::Relaxed) {
        let answer = person.asks_to_sign_in(visitor);
        if answer.status != 200 {
            continue;
        }
        let tokens = answer.json();
        let member = Member {
            person: person.clone(),
            caller: visitor.with_token(text(&tokens, "access_token")),
            refresh_token: text(&tokens, "refresh_token"),
        };
        got.lock().expect("not poisoned").push(member);
    }
}

/// What signing in has given while `end` happened; everything of it came from before the end.
fn signed_in_during(shop: &Shop, person: &Person, end: impl FnOnce()) -> Vec<Member> {
    let (enough, got) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (enough, got) = (&enough, &got);
            // Each from a place of its own, so that none is told to wait.
            let visitor = shop.visitor().calling_from(&format!("198.51.100.{number}"));
            scope.spawn(move || sign_in_on(person, &visitor, enough, got));
        }
        crate::support::pause(Duration::from_millis(150));
        end();
        // What had begun before the end comes to an end of its own.
        crate::support::pause(Duration::from_millis(250));
        enough.store(true, Ordering::Relaxed);
    });
    got.into_inner().expect("not poisoned")
}

const BEHIND_A_PROXY: &[&str] = &["--trusted-proxies", "127.0.0.1"];

fn a_sign_in_that_meets_a_new_password_leaves_no_way_in(store: Store) {
    let shop = Shop::open_with(store, BEHIND_A_PROXY);
    for round in 0..8 {
        let member = shop.member("alice");
        let others = signed_in_during(&shop, &member.person, || {
            let new = format!("violet thunder {round}");
            member
                .changes_password(&member.person.password, &new)
                .is(204);
        });
        assert!(!others.is_empty(), "nobody signed in");
        for other in others {
            let answer = other.caller.get("/v1/me");
            assert_eq!(answer.code(), "unauthorized", "{round}: {answer}");
            other
                .asks_to_refresh()
                .is_refused(401, "invalid_refresh_token");
        }
        member.is_let_in();
    }
}

fn a_sign_in_that_meets_a_suspension_leaves_no_way_in(store: Store) {
    let shop = Shop::open_with(store, BEHIND_A_PROXY);
    for round in 0..6 {
        let member = shop.member("alice");
        let others = signed_in_during(&shop, &member.person, || shop.user_act(&member, "suspend"));
        assert!(!others.is_empty(), "nobody signed in");
        shop.user_act(&member, "reinstate");
        for other in others {
            let answer = other.caller.get("/v1/me");
            assert_eq!(answer.code(), "unauthorized", "{round}: {answer}");
            other
                .asks_to_refresh()
                .is_refused(401, "invalid_refresh_token");
        }
    }
}

fn many_profile_changes_at_once_leave_one_of_them(store: Store) {
    let shop = Shop::open(store);
    let member = shop.member("alice");
    let names: Vec<String> = (0..12).map(|it| format!("Alice {it}")).collect();
    let answers = at_once(&names, |name| {
        member
            .caller
            .patch("/v1/me", &json!({"name": name, "phone": "0100000000"}))
    });
    // An answer shows how things stand, which may be what somebody else has just said.
    for answer in &answers {
        let shown = text(&answer.is(200), "name");
        assert!(names.contains(&shown), "{shown}");
    }
    let name = text(&member.me(), "name");
    assert!(names.contains(&name), "{name}");
}

fn of_many_defaults_at_once_one_is_the_default(store: Store) {
    let shop = Shop::open(store);
    let member = shop.member("alice");
    let added = at_once(&[(); 8], |()| {
        let mut form = super::addresses::form("Alice");
        form["default"] = json!(true);
        member.caller.post_with("/v1/me/addresses", &form)
    });
    let ids: Vec<String> = added.iter().map(|it| text(&it.is(201), "id")).collect();
    let check = || {
        let book = member.caller.get("/v1/me/addresses").is(200);
        let items = book["items"].as_array().expect("items").clone();
        assert_eq!(items.len(), 8);
        let defaults = items.iter().filter(|it| it["is_default"] == true).count();
        assert_eq!(defaults, 1);
    };
    check();
    let moved = at_once(&ids, |id| {
        member
            .caller
            .patch(&format!("/v1/me/addresses/{id}"), &json!({"default": true}))
    });
    for answer in &moved {
        answer.is(200);
    }
    check();
}

fn many_who_want_the_same_address_make_one_account(store: Store) {
    let shop = Shop::open(store);
    let post = Outbox::of(&shop);
    let email = Person::new("shared").email;
    let people: Vec<Person> = (0..6)
        .map(|_| Person {
            email: email.clone(),
            ..Person::new("rival")
        })
        .collect();
    for answer in at_once(&people, |it| it.asks_to_join(&shop.visitor())) {
        // Letters for an address are limited.
        assert!(matches!(answer.status, 202 | 429), "{answer}");
    }
    post.code(&email, 1);
    crate::support::pause(Duration::from_millis(300));
    let codes = post.codes(&email);
    let good = codes
        .iter()
        .filter(|code| people[0].verifies(&shop.visitor(), code).status == 204)
        .count();
    assert_eq!(good, 1, "of {} codes one is alive", codes.len());
    let inside = people
        .iter()
        .filter(|it| it.asks_to_sign_in(&shop.visitor()).status == 200)
        .count();
    assert_eq!(inside, 1);
    let verified = shop.rows("SELECT COUNT(*) FROM accounts WHERE verified_at IS NOT NULL");
    assert_eq!(verified, [["1"]]);
}

#[test]
fn a_rush_of_sign_ins_does_not_keep_buyers_waiting() {
    let shop = Shop::open_with(Store::Sqlite, BEHIND_A_PROXY);
    let lamp = shop.product(Sale::of(1_000));
    let members: Vec<usize> = (0..320).collect();
    let mut slowest = Duration::ZERO;
    let answers = std::thread::scope(|scope| {
        let rush = scope.spawn(|| {
            at_once(&members, |number| {
                let place = format!("198.18.{}.{}", number / 250, number % 250 + 1);
                let nobody = Person::new("nobody");
                nobody.asks_to_sign_in(&shop.visitor().calling_from(&place))
            })
        });
        for buyer in shop.buyers(200) {
            let began = Instant::now();
            buyer.place(&[line(&lamp, 1)]).is(201);
            slowest = slowest.max(began.elapsed());
        }
        rush.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert!(
        slowest < Duration::from_secs(1),
        "an order took {slowest:?}"
    );
    let busy = answers.iter().filter(|it| it.status == 503).count();
    for answer in &answers {
        match answer.status {
            503 => drop(answer.is_refused(503, "busy")),
            _ => drop(answer.is_refused(401, "invalid_credentials")),
        }
    }
    assert!(busy > 0, "more passwords than are admitted are waiting");
}
