//! Guessing is slow, and nobody is locked out by somebody else's guessing.

use crate::support::{
    Answer, Caller, Outbox, Person, Postbox, Redis, Shop, Store, on_each_database,
};

on_each_database! {
    ten_wrong_passwords_for_an_account_and_then_no_more,
    a_right_password_makes_an_account_whole_again,
    the_owner_comes_in_while_others_guess,
}

const BEHIND_A_PROXY: &[&str] = &["--trusted-proxies", "127.0.0.1"];

/// How many wrong passwords are heard before the first "not now".
#[track_caller]
fn guesses(person: &Person, caller: impl Fn(usize) -> Caller, most: usize) -> usize {
    for number in 0..most {
        let answer = person.asks_to_sign_in_with(&caller(number), &format!("wrong guess {number}"));
        if answer.status == 429 {
            is_put_off(&answer);
            return number;
        }
        answer.is_refused(401, "invalid_credentials");
    }
    most
}

#[track_caller]
fn is_put_off(answer: &Answer) {
    let told = answer.is_refused(429, "too_many_requests");
    let seconds = told["retry_after"].as_u64().expect("seconds");
    assert!((1..=3_600).contains(&seconds), "{told}");
    assert_eq!(
        answer.header("retry-after"),
        Some(seconds.to_string().as_str())
    );
}

/// Somebody with an account who has never signed in.
fn joined(shop: &Shop, first_name: &str) -> Person {
    let person = Person::new(first_name);
    person.joins(&shop.visitor(), &Outbox::of(shop));
    person
}

fn ten_wrong_passwords_for_an_account_and_then_no_more(store: Store) {
    let shop = Shop::open(store);
    let alice = joined(&shop, "alice");
    assert_eq!(guesses(&alice, |_| shop.visitor(), 30), 10);
    // Not even the right one, from where the wrong ones came.
    is_put_off(&alice.asks_to_sign_in(&shop.visitor()));
    // A name that nobody has is treated alike.
    let nobody = Person::new("nobody");
    assert_eq!(guesses(&nobody, |_| shop.visitor(), 30), 10);
    // Others are not concerned.
    joined(&shop, "bob").signs_in(&shop.visitor());
    // However the name is spelt.
    let shouting = Person {
        username: alice.username.to_uppercase(),
        ..alice
    };
    is_put_off(&shouting.asks_to_sign_in(&shop.visitor()));
}

fn a_right_password_makes_an_account_whole_again(store: Store) {
    let shop = Shop::open(store);
    let alice = joined(&shop, "alice");
    for _ in 0..4 {
        for number in 0..9 {
            alice
                .asks_to_sign_in_with(&shop.visitor(), &format!("wrong guess {number}"))
                .is_refused(401, "invalid_credentials");
        }
        alice.signs_in(&shop.visitor());
    }
}

fn the_owner_comes_in_while_others_guess(store: Store) {
    let shop = Shop::open_with(store, BEHIND_A_PROXY);
    let alice = joined(&shop, "alice");
    let attacker = |number: usize| {
        let address = format!("198.51.100.{}", number % 4);
        shop.visitor().calling_from(&address)
    };
    assert!(guesses(&alice, attacker, 60) <= 10);
    for number in 0..4 {
        is_put_off(&alice.asks_to_sign_in(&attacker(number)));
    }
    let at_home = shop.visitor().calling_from("203.0.113.77");
    let member = alice.signs_in(&at_home);
    for _ in 0..3 {
        // A good sign-in forgives the bad ones, and they begin again.
        assert!(guesses(&alice, attacker, 60) <= 10);
        alice.signs_in(&at_home);
    }
    // A reset needs no password.
    alice.forgets(&at_home).is(202);
    let code = Outbox::of(&shop).code(&alice.email, 2);
    alice.resets(&at_home, &code, "violet thunder 51").is(204);
    member.is_turned_away();
    alice.with_password("violet thunder 51").signs_in(&at_home);
}

#[test]
fn an_address_from_which_the_owner_has_signed_in_does_not_guess_for_ever() {
    let shop = Shop::open(Store::Sqlite);
    let alice = joined(&shop, "alice");
    alice.signs_in(&shop.visitor());
    assert_eq!(guesses(&alice, |_| shop.visitor(), 60), 10);
}

#[test]
fn a_header_does_not_make_another_client() {
    let shop = Shop::open(Store::Sqlite);
    let alice = joined(&shop, "alice");
    let elsewhere = |number: usize| {
        shop.visitor()
            .calling_from(&format!("198.51.100.{number}"))
            .with_header("X-Real-IP", format!("192.0.2.{number}"))
            .with_header("Forwarded", format!("for=192.0.2.{number}"))
            .with_header("X-User-Id", format!("{number}"))
    };
    assert_eq!(guesses(&alice, elsewhere, 30), 10);
    is_put_off(&alice.asks_to_sign_in(&elsewhere(200)));
}

#[test]
fn what_a_client_says_in_front_of_the_proxy_is_not_believed() {
    let shop = Shop::open_with(Store::Sqlite, BEHIND_A_PROXY);
    let alice = joined(&shop, "alice");
    let forged = |number: usize| {
        let hops = format!("192.0.2.{number}, 10.0.0.{number}, 198.51.100.7");
        shop.visitor().calling_from(&hops)
    };
    assert_eq!(guesses(&alice, forged, 30), 10);
    is_put_off(&alice.asks_to_sign_in(&forged(200)));
    alice.signs_in(&shop.visitor().calling_from("198.51.100.8"));
}

#[test]
fn neighbours_in_one_ipv6_network_are_one_client() {
    let shop = Shop::open_with(Store::Sqlite, BEHIND_A_PROXY);
    let alice = joined(&shop, "alice");
    let hop = |number: usize| {
        shop.visitor()
            .calling_from(&format!("2001:db8:1:2::{number:x}"))
    };
    assert_eq!(guesses(&alice, hop, 30), 10);
    is_put_off(&alice.asks_to_sign_in(&hop(0xffff)));
    let next_door = shop.visitor().calling_from("2001:db8:1:3::1");
    alice.signs_in(&next_door);
}

#[test]
fn one_client_does_not_try_thousands_of_names() {
    for redis in [None, Some(Redis::start())] {
        let url = redis.as_ref().map(Redis::url);
        let mut options = BEHIND_A_PROXY.to_vec();
        if let Some(url) = &url {
            options.extend(["--redis-url", url]);
        }
        let shop = Shop::open_with(Store::Sqlite, &options);
        let alice = joined(&shop, "alice");
        let attacker = shop.visitor().calling_from("198.51.100.7");
        let mut heard = 0;
        let refused = loop {
            let nobody = Person::new("nobody");
            let answer = nobody.asks_to_sign_in(&attacker);
            if answer.status == 429 {
                break answer;
            }
            answer.is_refused(401, "invalid_credentials");
            heard += 1;
            assert!(heard < 700, "nobody stops it");
        };
        is_put_off(&refused);
        // One more a second while it lasted.
        assert!((300..400).contains(&heard), "{heard}");
        // One may come through a second, no more.
        let heard = (0..10)
            .filter(|number| {
                let guess = format!("wrong guess {number}");
                alice.asks_to_sign_in_with(&attacker, &guess).status != 429
            })
            .count();
        assert!(heard <= 2, "{heard}");
        alice.signs_in(&shop.visitor().calling_from("198.51.100.8"));
    }
}

#[test]
fn limits_hold_while_redis_comes_and_goes() {
    let mut redis = Redis::start();
    let url = redis.url();
    let mut shop = Shop::open_with(Store::Sqlite, &["--redis-url", &url]);
    let people = ["alice", "bob", "carol"].map(|it| joined(&shop, it));
    let [alice, bob, carol] = &people;
    let session = carol.signs_in(&shop.visitor());
    assert_eq!(guesses(alice, |_| shop.visitor(), 30), 10);
    assert!(!redis.keys().is_empty(), "the limits are in Redis");

    // What another process has counted counts: a restart forgets nothing, once Redis answers.
    shop.kill_and_start();
    assert!(guesses(alice, |_| shop.visitor(), 30) <= 3);

    for number in 0..5 {
        bob.asks_to_sign_in_with(&shop.visitor(), &format!("wrong guess {number}"))
            .is_refused(401, "invalid_credentials");
    }
    redis.kill();
    // At worst it is counted anew once.
    assert!(guesses(bob, |_| shop.visitor(), 30) <= 10);
    is_put_off(&bob.asks_to_sign_in(&shop.visitor()));
    let session = session.at(shop.url());
    session.is_let_in();
    session.refreshes().is_let_in();
    carol.signs_in(&shop.visitor());

    redis.start_again();
    let again = guesses(bob, |_| shop.visitor(), 30);
    assert!(again <= 10, "{again}");
    redis.flush();
    carol.signs_in(&shop.visitor()).is_let_in();

    // It hangs: nobody waits for it for long.
    redis.pause();
    let began = std::time::Instant::now();
    for _ in 0..5 {
        carol.signs_in(&shop.visitor()).is_let_in();
    }
    let took = began.elapsed();
    redis.resume();
    assert!(took.as_secs() < 5, "{took:?}");
}

#[test]
fn no_flush_brings_back_what_was_ended() {
    let redis = Redis::start();
    let url = redis.url();
    let mut shop = Shop::open_with(Store::Sqlite, &["--redis-url", &url]);
    let out = shop.member("out");
    let suspended = shop.member("suspended");
    let reused = shop.member("reused");
    let code_user = Person::new("coder");
    code_user.asks_to_join(&shop.visitor()).is(202);
    let code = Outbox::of(&shop).code(&code_user.email, 1);
    for number in 0..5 {
        let wrong = format!(
            "{:06}",
            (code.parse::<u32>().expect("digits") + 1 + number) % 1_000_000
        );
        code_user
            .verifies(&shop.visitor(), &wrong)
            .is_refused(422, "code_invalid");
    }
    out.signs_out();
    shop.user_act(&suspended, "suspend");
    reused.refreshes();
    for _ in 0..2 {
        redis.flush();
        for ended in [&out, &suspended] {
            ended.at(shop.url()).is_turned_away();
            ended
                .at(shop.url())
                .asks_to_refresh()
                .is_refused(401, "invalid_refresh_token");
        }
        code_user
            .verifies(&shop.visitor(), &code)
            .is_refused(422, "code_invalid");
        shop.kill_and_start();
    }
    reused
        .at(shop.url())
        .asks_to_refresh()
        .is_refused(401, "invalid_refresh_token");
}

#[test]
fn a_redis_that_is_not_there_stops_no_start_and_one_that_cannot_be_is_named() {
    let shop = Shop::open_with(Store::Sqlite, &["--redis-url", "redis://127.0.0.1:1"]);
    shop.member("alice").is_let_in();
    for url in ["http://127.0.0.1", "nonsense", "redis://user:hunter2@:x"] {
        let mut shop = Shop::closed(Store::Sqlite, &["--redis-url", url]);
        let (code, said) = shop.fails_to_start();
        assert_eq!(code, Some(1), "{url}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    for nets in ["localhost", "127.0.0.1/33", "everybody"] {
        let mut shop = Shop::closed(Store::Sqlite, &["--trusted-proxies", nets]);
        let (code, said) = shop.fails_to_start();
        assert!(code == Some(1) && said.contains(nets), "{said}");
    }
}
