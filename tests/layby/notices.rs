//! Letters about orders, over a real mail server: each once, in the language of who ordered, whatever happens to the shop.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    Key, MailServer, MariaDb, Member, Person, ReceivedLetter, Sale, Shop, Store, Tls, at_once,
    eventually, line, on_each_database, pause, text,
};

on_each_database! {
    what_becomes_of_an_order_is_told_once_in_the_language_of_its_buyer,
    a_hold_that_ends_is_told,
    what_is_shipped_and_sent_back_is_told,
    whose_turn_it_is_on_a_waitlist_is_told,
    killed_at_any_moment_it_tells_each_order_its_letters_once,
    who_has_left_is_told_nothing,
    people_without_an_account_here_hold_up_nobody,
    letters_can_be_turned_off_and_the_time_without_them_is_not_told,
    the_journal_waits_for_letters_that_are_not_written,
    letters_that_hold_up_the_journal_for_too_long_are_left_out,
}

const HELD: &str = "Your order is held for you";
const PAID: &str = "Your order is paid";
const EXPIRED: &str = "Your hold has ended";
const CANCELLED: &str = "Your order is cancelled";
const SHIPPED: &str = "Your order is on its way";
const REFUNDED: &str = "Your money is on its way back";

/// Longer than the notices and the carrier take to look again.
const ANOTHER_LOOK: Duration = Duration::from_millis(2_500);

fn open(store: Store, options: &[&str]) -> (MailServer, Shop) {
    let post = MailServer::start(Tls::None);
    let url = post.url();
    let mut all = vec!["--mail-url", &url];
    all.extend(options);
    let shop = Shop::open_with(store, &all);
    (post, shop)
}

fn member(shop: &Shop, post: &MailServer, first_name: &str) -> Member {
    let person = Person::new(first_name);
    person.joins(&shop.visitor(), post);
    person.signs_in(&shop.visitor())
}

/// The letters to somebody about an order. One that was sent twice, around a crash, has the same name and counts once.
fn letters_about(post: &MailServer, email: &str, order: &str) -> Vec<ReceivedLetter> {
    let mut seen = BTreeMap::new();
    for letter in post.letters_to(email) {
        let id = letter.header("Message-ID").expect("a name").to_owned();
        if letter.text.contains(order) {
            seen.entry(id).or_insert(letter);
        }
    }
    seen.into_values().collect()
}

fn count(letters: &[ReceivedLetter], subject: &str) -> usize {
    letters.iter().filter(|it| it.subject == subject).count()
}

#[track_caller]
fn wait_for(post: &MailServer, email: &str, order: &Value, subject: &str) -> ReceivedLetter {
    eventually(&format!("`{subject}` to {email}"), || {
        let letters = letters_about(post, email, &text(order, "id"));
        letters.into_iter().find(|it| it.subject == subject)
    })
}

/// Everything is written, and sent.
fn all_is_told(shop: &Shop) {
    eventually("all letters are written and sent", || {
        let last = shop.prove_books()["journal"]["last"].to_string();
        let written =
            shop.rows("SELECT position FROM followers WHERE name = 'notices'") == [[last]];
        let waiting = shop.rows(
            "SELECT (SELECT COUNT(*) FROM order_outbox) + (SELECT COUNT(*) FROM mail_outbox)",
        );
        (written && waiting == [["0"]]).then_some(())
    });
}

fn what_becomes_of_an_order_is_told_once_in_the_language_of_its_buyer(store: Store) {
    let (post, shop) = open(store, &[]);
    let lamp = shop.product(Sale::of(10));
    let alice = member(&shop, &post, "alice");
    let mina = Person::new("mina");
    let in_korean = shop
        .visitor()
        .with_header("Accept-Language", "ko-KR,ko;q=0.9");
    mina.joins(&in_korean, &post);
    let mina = mina.signs_in(&shop.visitor());

    let tell = |who: &Member, subjects: [&str; 3], words: [&str; 3]| {
        let email = &who.person.email;
        let order = who.caller.hold(&lamp, 2);
        let held = wait_for(&post, email, &order, subjects[0]);
        for word in words {
            assert!(held.text.contains(word), "no `{word}` in {}", held.text);
        }
        who.caller.pay(&order, "card_ok").is(201);
        wait_for(&post, email, &order, subjects[1]);
        who.caller.cancel(&order);
        let refunded = wait_for(&post, email, &order, subjects[2]);
        assert!(refunded.text.contains("78,000"), "{}", refunded.text);
        order
    };
    let english = [
        "Desk lamp × 2: KRW 78,000",
        "Total: KRW 78,000",
        "(Seoul time)",
    ];
    let order = tell(&alice, [HELD, PAID, REFUNDED], english);
    let korean = ["Desk lamp × 2: 78,000원", "합계: 78,000원", "(한국 시간)"];
    let subjects = [
        "주문하신 상품을 확보해 두었습니다",
        "결제가 완료되었습니다",
        "환불이 처리되었습니다",
    ];
    let other = tell(&mina, subjects, korean);

    pause(ANOTHER_LOOK);
    for (who, order, subjects) in [
        (&alice, &order, [HELD, PAID, REFUNDED]),
        (&mina, &other, subjects),
    ] {
        let letters = letters_about(&post, &who.person.email, &text(order, "id"));
        for subject in subjects {
            assert_eq!(count(&letters, subject), 1, "{letters:#?}");
        }
        // The refund may have come with the cancellation, or after it.
        assert!((3..=4).contains(&letters.len()), "{letters:#?}");
    }
    let of_others = post.letters_to(&alice.person.email);
    let names_other = of_others.iter().any(|it| {
        [&it.text, &it.html]
            .iter()
            .any(|said| said.contains(&mina.person.email) || said.contains(&text(&other, "id")))
    });
    assert!(!names_other, "a letter tells of somebody else");
}

fn a_hold_that_ends_is_told(store: Store) {
    let (post, shop) = open(store, &[]);
    let sale = Sale {
        hold_seconds: 1,
        ..Sale::of(10)
    };
    let lamp = shop.product(sale);
    let alice = member(&shop, &post, "alice");
    let order = alice.caller.hold(&lamp, 1);
    wait_for(&post, &alice.person.email, &order, EXPIRED);
    // Without doing anything about it, and without a word more.
    pause(ANOTHER_LOOK);
    let letters = letters_about(&post, &alice.person.email, &text(&order, "id"));
    assert_eq!(count(&letters, EXPIRED), 1);
    assert!(
        count(&letters, HELD) <= 1 && letters.len() <= 2,
        "{letters:#?}"
    );
}

fn what_is_shipped_and_sent_back_is_told(store: Store) {
    let (post, shop) = open(store, &[]);
    let lamp = shop.product(Sale::of(10));
    let alice = member(&shop, &post, "alice");
    let email = &alice.person.email;
    let order = alice.caller.hold(&lamp, 1);
    alice.caller.pay(&order, "card_ok").is(201);
    wait_for(&post, email, &order, PAID);
    let admin = shop.admin();
    admin.ship(&order, "Hanjin", "6412-3388-01").is(200);
    let shipped = wait_for(&post, email, &order, SHIPPED);
    let tells = |word: &str| shipped.text.contains(word);
    assert!(tells("Hanjin") && tells("6412-3388-01"), "{}", shipped.text);
    admin.deliver(&order).is(200);
    alice.caller.send_back(&order, "too bright").is(202);
    admin.accept_return(&order);
    let refunded = wait_for(&post, email, &order, REFUNDED);
    let tells = |word: &str| refunded.text.contains(word);
    assert!(
        tells("sent back") && tells("KRW 39,000"),
        "{}",
        refunded.text
    );
    assert!(!tells("too bright"), "{}", refunded.text);
}

fn whose_turn_it_is_on_a_waitlist_is_told(store: Store) {
    let (post, shop) = open(store, &[]);
    let lamp = shop.product(Sale::of(1));
    let alice = member(&shop, &post, "alice");
    let stranger = shop.buyer();
    let order = stranger.hold(&lamp, 1);
    let path = format!("/v1/products/{lamp}/waitlist");
    alice
        .caller
        .post_with(&path, &json!({"quantity": 1}))
        .is(201);
    stranger.cancel(&order).is(200);
    let offers = || {
        let letters = post.letters_to(&alice.person.email).into_iter();
        letters.filter(|it| it.subject == "It is your turn")
    };
    let offer = eventually("the offer is told", || offers().next());
    let tells = |word: &str| offer.text.contains(word);
    assert!(
        tells("Desk lamp") && tells("(Seoul time)"),
        "{}",
        offer.text
    );
    assert!(!tells(&text(&order, "id")), "{}", offer.text);
    let taken = alice.caller.hold(&lamp, 1);
    wait_for(&post, &alice.person.email, &taken, HELD);
    assert_eq!(offers().count(), 1);
}

/// Holds, pays and cancels at random until the shop is gone.
fn trades_until_it_is_gone(who: &Member, products: &[String]) {
    let mut random = rand::rng();
    loop {
        let product = &products[random.random_range(0..products.len())];
        let act = |path: &str, key: Option<Key>, body: Value| {
            let answer = who
                .caller
                .try_send(&Method::POST, path, key.as_ref(), Some(&body));
            answer.ok()
        };
        let place = json!({"lines": [line(product, 1)]});
        let Some(placed) = act("/v1/orders", Some(Key::fresh()), place) else {
            return;
        };
        let order = text(&placed.is(201), "id");
        if random.random_bool(0.3) {
            pause(Duration::from_millis(random.random_range(0..700)));
        }
        let path = |end: &str| format!("/v1/orders/{order}/{end}");
        let pays = random.random_bool(0.6);
        let method = json!({"method": "card_ok"});
        if pays && act(&path("payments"), Some(Key::fresh()), method).is_none() {
            return;
        }
        let cancels = random.random_bool(0.4);
        let cancel = || {
            who.caller
                .try_send(&Method::POST, &path("cancel"), None, None)
        };
        if cancels && cancel().is_err() {
            return;
        }
        pause(Duration::from_millis(random.random_range(0..100)));
    }
}

fn killed_at_any_moment_it_tells_each_order_its_letters_once(store: Store) {
    let (post, mut shop) = open(store, &[]);
    let sale = Sale {
        hold_seconds: 1_800,
        ..Sale::of(100_000)
    };
    let products = [sale, sale].map(|sale| shop.product(sale)).to_vec();
    let members: Vec<Member> = ["ann", "ben", "cat", "dan"]
        .map(|name| member(&shop, &post, name))
        .to_vec();
    for _ in 0..8 {
        let here: Vec<Member> = members.iter().map(|it| it.at(shop.url())).collect();
        std::thread::scope(|scope| {
            for who in &here {
                scope.spawn(|| trades_until_it_is_gone(who, &products));
            }
            pause(Duration::from_millis(rand::rng().random_range(300..1_800)));
            shop.kill();
        });
        shop.start();
    }
    all_is_told(&shop);
    let mut told = BTreeMap::new();
    for who in members.iter().map(|it| it.at(shop.url())) {
        for order in orders_of(&who) {
            let state = text(&order, "state");
            let letters = letters_about(&post, &who.person.email, &text(&order, "id"));
            check_letters(&order, &state, &letters);
            *told.entry(state).or_insert(0) += 1;
        }
    }
    eprintln!("orders told of: {told:?}");
    assert!(told.values().sum::<usize>() > 50, "{told:?} is no sale");
    for state in ["held", "paid", "cancelled"] {
        assert!(told.contains_key(state), "{told:?}");
    }
}

fn orders_of(who: &Member) -> Vec<Value> {
    let (mut orders, mut after) = (Vec::new(), String::new());
    loop {
        let page = who
            .caller
            .get(&format!("/v1/orders?limit=100{after}"))
            .is(200);
        orders.extend(page["items"].as_array().expect("items").iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return orders,
        }
    }
}

/// The last thing that happened is told once; what it followed so closely that nobody had to know is told once or not.
#[track_caller]
fn check_letters(order: &Value, state: &str, letters: &[ReceivedLetter]) {
    let was_paid = order["payments"]
        .as_array()
        .is_some_and(|it| it.iter().any(|payment| payment["state"] != "declined"));
    let last = match (state, was_paid) {
        ("held", _) => HELD,
        ("paid", _) => PAID,
        ("cancelled", true) => REFUNDED,
        ("cancelled", false) => CANCELLED,
        other => panic!("an order is {other:?}"),
    };
    assert_eq!(count(letters, last), 1, "{state}: {letters:#?}");
    for subject in [HELD, PAID, CANCELLED, REFUNDED, EXPIRED] {
        assert!(count(letters, subject) <= 1, "{state}: {letters:#?}");
    }
    let others = letters.iter().filter(|it| it.subject != last);
    let known = match last {
        HELD => [].as_slice(),
        PAID | CANCELLED => &[HELD],
        _ => &[HELD, PAID, CANCELLED],
    };
    for other in others {
        assert!(
            known.contains(&other.subject.as_str()),
            "{state}: {letters:#?}"
        );
    }
}

fn who_has_left_is_told_nothing(store: Store) {
    let (post, mut shop) = open(store, &[]);
    let sale = Sale {
        hold_seconds: 5,
        ..Sale::of(10)
    };
    let lamp = shop.product(sale);
    let (alice, bob) = (member(&shop, &post, "alice"), member(&shop, &post, "bob"));
    let order = alice.caller.hold(&lamp, 1);
    wait_for(&post, &alice.person.email, &order, HELD);
    alice.caller.delete("/v1/me").is(204);
    let other = bob.caller.hold(&lamp, 1);
    wait_for(&post, &bob.person.email, &other, EXPIRED);
    all_is_told(&shop);
    let letters = letters_about(&post, &alice.person.email, &text(&order, "id"));
    assert_eq!(letters.len(), 1, "{letters:#?}");
    shop.stop_and_hear(|said| {
        assert!(!said.contains(&alice.person.email) && !said.contains(&bob.person.email));
    });
}

fn people_without_an_account_here_hold_up_nobody(store: Store) {
    let (post, shop) = open(store, &[]);
    let lamp = shop.product(Sale::of(10_000));
    let alice = member(&shop, &post, "alice");
    at_once(&shop.buyers(64), |buyer| {
        for _ in 0..5 {
            buyer.hold(&lamp, 1);
        }
    });
    let order = alice.caller.hold(&lamp, 1);
    wait_for(&post, &alice.person.email, &order, HELD);
    all_is_told(&shop);
}

fn letters_can_be_turned_off_and_the_time_without_them_is_not_told(store: Store) {
    let (post, mut shop) = open(store, &[]);
    let lamp = shop.product(Sale::of(10));
    let alice = member(&shop, &post, "alice");
    shop.stop();
    let mut command = shop.serve_command();
    command.args(["--order-letters", "off"]);
    shop.start_by(command);
    let alice = alice.at(shop.url());
    let email = &alice.person.email;
    let untold = alice.caller.hold(&lamp, 1);
    alice.caller.pay(&untold, "card_ok").is(201);
    pause(ANOTHER_LOOK);
    shop.catches_up();
    shop.stop();
    shop.start();
    let alice = alice.at(shop.url());
    let told = alice.caller.hold(&lamp, 1);
    wait_for(&post, email, &told, HELD);
    all_is_told(&shop);
    let letters = letters_about(&post, email, &text(&untold, "id"));
    assert_eq!(letters.len(), 0, "{letters:#?}");
}

/// Orders of many lines, until so many files of journal have been written.
fn fill_journal(shop: &Shop, files: u64) {
    let products: Vec<String> = (0..50).map(|_| shop.product(Sale::of(1_000_000))).collect();
    let lines: Vec<Value> = products.iter().map(|product| line(product, 1)).collect();
    let newest = || segments(shop).last().copied().expect("a segment");
    let until = newest() + files;
    let projected = || shop.rows("SELECT COUNT(*) FROM orders")[0][0].parse::<usize>();
    shop.catches_up();
    let mut placed = projected().expect("a number");
    while newest() < until {
        at_once(&shop.buyers(64), |buyer| buyer.place(&lines).is(201));
        placed += 64;
        // SQL is not to be the one that runs out of the journal's budget.
        eventually("SQL keeps up", || (projected() == Ok(placed)).then_some(()));
    }
    shop.catches_up();
}

/// The numbers in the names of the journal's files.
fn segments(shop: &Shop) -> Vec<u64> {
    let entries = std::fs::read_dir(shop.journal_dir()).expect("a journal");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut numbers: Vec<u64> = names
        .filter_map(|name| {
            let number = name.to_str()?.strip_prefix("journal-")?;
            number.strip_suffix(".seg")?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Letters cannot be written until it is called off.
fn lose_outbox(shop: &mut Shop) {
    shop.announce("the notices is refused");
    shop.announce("the outbox");
    shop.sql("ALTER TABLE order_outbox RENAME TO away");
}

fn find_outbox(shop: &Shop) {
    shop.sql("ALTER TABLE away RENAME TO order_outbox");
}

fn the_journal_waits_for_letters_that_are_not_written(store: Store) {
    let (post, mut shop) = open(store, &["--journal-retention-mib", "0"]);
    let lamp = shop.product(Sale::of(10));
    let alice = member(&shop, &post, "alice");
    all_is_told(&shop);
    lose_outbox(&mut shop);
    let order = alice.caller.hold(&lamp, 1);
    let oldest = segments(&shop)[0];
    fill_journal(&shop, 3);
    // Upkeep comes every half a second.
    pause(Duration::from_millis(1_200));
    assert_eq!(segments(&shop)[0], oldest, "it was let go");
    find_outbox(&shop);
    wait_for(&post, &alice.person.email, &order, HELD);
    eventually("the journal lets go", || {
        (segments(&shop)[0] > oldest).then_some(())
    });
}

fn letters_that_hold_up_the_journal_for_too_long_are_left_out(store: Store) {
    let options = ["--journal-retention-mib", "0", "--journal-budget-mib", "2"];
    let (post, mut shop) = open(store, &options);
    let lamp = shop.product(Sale::of(10));
    let alice = member(&shop, &post, "alice");
    all_is_told(&shop);
    lose_outbox(&mut shop);
    let lost = alice.caller.hold(&lamp, 1);
    let oldest = segments(&shop)[0];
    fill_journal(&shop, 4);
    eventually("the journal lets go", || {
        (segments(&shop)[0] > oldest).then_some(())
    });
    find_outbox(&shop);
    // The sale went on all the time, and so do letters.
    let order = alice.caller.hold(&lamp, 1);
    wait_for(&post, &alice.person.email, &order, HELD);
    let said = shop.process().stderr.all().join("\n");
    assert!(
        said.contains("which the journal had let go"),
        "nobody was told"
    );
    let letters = letters_about(&post, &alice.person.email, &text(&lost, "id"));
    assert!(letters.len() <= 1, "{letters:#?}");
}

#[test]
fn letters_follow_when_the_database_is_back() {
    let (post, mut database) = (MailServer::start(Tls::None), MariaDb::start());
    let url = post.url();
    let mut shop = Shop::closed_at(database.database_url(), &["--mail-url", &url]);
    shop.start();
    let lamp = shop.product(Sale::of(10));
    let alice = member(&shop, &post, "alice");
    database.kill();
    let (paid, held) = (alice.caller.hold(&lamp, 1), alice.caller.hold(&lamp, 1));
    alice.caller.pay(&paid, "card_ok").is(201);
    pause(Duration::from_secs(2));
    database.start_again();
    let email = &alice.person.email;
    wait_for(&post, email, &paid, PAID);
    wait_for(&post, email, &held, HELD);
    all_is_told(&shop);
    for (order, subjects) in [(&paid, [PAID]), (&held, [HELD])] {
        let letters = letters_about(&post, email, &text(order, "id"));
        let told: Vec<&str> = letters.iter().map(|it| it.subject.as_str()).collect();
        assert_eq!(told, subjects, "who has paid is not told to pay");
    }
}

#[test]
fn a_time_zone_that_is_none_and_a_switch_that_is_none_stop_the_start() {
    for (options, word) in [
        (["--time-zone", "Mars/Olympus"], "Mars/Olympus"),
        (["--order-letters", "perhaps"], "perhaps"),
    ] {
        let mut shop = Shop::closed(Store::Sqlite, &options);
        let (code, said) = shop.fails_to_start();
        assert!(
            code.is_some_and(|it| it != 0) && said.contains(word),
            "{code:?} {said}"
        );
    }
}
