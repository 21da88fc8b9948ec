//! Letters over a real mail server, and what happens while it is away: nothing that a customer notices.

use std::time::{Duration, Instant};

use crate::support::{
    MailServer, Person, Postbox, Redis, Shop, Store, Tls, on_each_database, pause,
};

on_each_database! {
    the_whole_walk_with_a_mail_server_and_redis,
    letters_wait_for_the_mail_server_and_come_once,
    letters_survive_a_crash_of_the_shop,
}

fn the_whole_walk_with_a_mail_server_and_redis(store: Store) {
    let (post, redis) = (MailServer::start(Tls::None), Redis::start());
    let (mail_url, redis_url) = (post.url(), redis.url());
    let mut shop = Shop::open_with(store, &["--mail-url", &mail_url, "--redis-url", &redis_url]);
    super::walk::walk(&mut shop, &post);
    assert!(!shop.data_dir().join("outbox").exists(), "letters went out");
}

fn letters_wait_for_the_mail_server_and_come_once(store: Store) {
    let mut post = MailServer::start(Tls::None);
    let url = post.url();
    let shop = Shop::open_with(store, &["--mail-url", &url]);
    let visitor = shop.visitor();
    let known = Person::new("known");
    known.joins(&visitor, &post);
    let answered = |person: &Person| {
        let began = Instant::now();
        let joined = person.asks_to_join(&visitor);
        let took = began.elapsed();
        (joined.is(202), took)
    };
    let (alive, alive_took) = answered(&Person::new("alive"));

    post.kill();
    let people = ["ann", "ben", "cat"].map(Person::new);
    for person in &people {
        let (dead, took) = answered(person);
        assert_eq!(dead, alive, "the answer is the same");
        assert!(
            took < alive_took * 4 + Duration::from_millis(500),
            "{took:?} instead of {alive_took:?}"
        );
    }
    known.forgets(&visitor).is(202);
    // Long enough for a try in vain.
    pause(Duration::from_millis(1_500));
    post.start_again();
    for person in &people {
        let code = post.code(&person.email, 1);
        person.verifies(&visitor, &code).is(204);
        person.signs_in(&visitor);
    }
    post.code(&known.email, 2);
    // Another round of tries would have brought a second copy.
    pause(Duration::from_secs(2));
    for person in &people {
        assert_eq!(post.letters_to(&person.email).len(), 1);
    }
    assert_eq!(post.letters_to(&known.email).len(), 2);
    assert_eq!(shop.rows("SELECT COUNT(*) FROM mail_outbox"), [["0"]]);
}

fn letters_survive_a_crash_of_the_shop(store: Store) {
    let mut post = MailServer::start(Tls::None);
    let url = post.url();
    let mut shop = Shop::open_with(store, &["--mail-url", &url]);
    post.kill();
    let alice = Person::new("alice");
    alice.asks_to_join(&shop.visitor()).is(202);
    shop.kill();
    post.start_again();
    shop.start();
    let code = post.code(&alice.email, 1);
    alice.verifies(&shop.visitor(), &code).is(204);
    alice.signs_in(&shop.visitor());
}

#[test]
fn a_letter_of_one_is_not_sent_to_another() {
    let mut post = MailServer::start(Tls::None);
    let url = post.url();
    let mut shop = Shop::open_with(Store::Sqlite, &["--mail-url", &url]);
    shop.announce("letter");
    shop.announce("mail");
    shop.announce("damaged");
    post.kill();
    let people = ["ann", "ben", "cat"].map(Person::new);
    for person in &people {
        person.asks_to_join(&shop.visitor()).is(202);
    }
    shop.kill();
    let rows = shop.rows("SELECT HEX(id), HEX(letter) FROM mail_outbox ORDER BY created_at");
    assert_eq!(rows.len(), 3);
    for (row, other) in [(0, 1), (1, 0)] {
        shop.sql(&format!(
            "UPDATE mail_outbox SET letter = X'{}' WHERE id = X'{}'",
            rows[other][1], rows[row][0]
        ));
    }
    post.start_again();
    shop.start();
    post.code(&people[2].email, 1);
    pause(Duration::from_secs(1));
    for person in &people[..2] {
        assert_eq!(post.letters_to(&person.email).len(), 0);
    }
    let log = shop.process().stderr.all().join("\n");
    for person in &people {
        assert!(!log.contains(&person.email), "{log}");
    }
}

#[test]
fn a_mail_url_that_cannot_be_stops_the_start_without_its_password() {
    for url in [
        "gopher://mail",
        "smtp://user:hunter2@",
        "nonsense",
        "smtp://user:hunter2@host:99999",
    ] {
        let mut shop = Shop::closed(Store::Sqlite, &["--mail-url", url]);
        let (code, said) = shop.fails_to_start();
        assert_eq!(code, Some(1), "{url}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
