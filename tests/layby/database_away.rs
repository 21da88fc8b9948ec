//! The database is killed or hangs in mid-sale: the sale goes on, and the tables catch up.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    Caller, Key, MariaDb, Registry, Sale, Shop, Webhook, at_once, eventually, is_long, line, pause,
    recount, text, trade,
};

#[test]
fn a_sale_goes_on_while_the_database_is_dead() {
    let away = if is_long() { 30 } else { 4 };
    goes_on(|database, shop| {
        database.kill();
        is_degraded(shop);
        pause(Duration::from_secs(away));
        is_degraded(shop);
        database.start_again();
    });
}

#[test]
fn a_sale_goes_on_while_the_database_hangs() {
    // A batch is given up after 30 s; until then nobody can know that it hangs.
    let away = if is_long() { 40 } else { 4 };
    goes_on(|database, _| {
        database.freeze();
        pause(Duration::from_secs(away));
        database.thaw();
    });
}

#[test]
fn a_server_that_dies_while_the_database_is_dead_loses_nothing() {
    let (mut database, mut shop) = open();
    let lamp = shop.product(Sale::of(100));
    database.kill();
    let (alice, bob) = (shop.buyer(), shop.buyer());
    let order = alice.hold(&lamp, 1);
    alice.pay(&order, "card").is(201);
    let other = bob.hold(&lamp, 1);
    is_degraded(&shop);
    shop.kill();
    let (code, said) = shop.fails_to_start();
    assert!(
        code == Some(1) && said.contains("database"),
        "{code:?} {said}"
    );
    database.start_again();
    shop.start();
    assert_eq!(alice.at(shop.url()).state(&order), "paid");
    assert_eq!(bob.at(shop.url()).state(&other), "held");
    shop.catches_up();
    assert_eq!(shop.units(&lamp), (98, 1, 1));
}

#[test]
fn a_restart_finds_the_old_orders_that_the_journal_speaks_of() {
    let (mut database, mut shop) = open();
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    let declined = alice
        .pay(&order, "card_declined")
        .is_refused(402, "payment_declined");
    alice.pay(&order, "card").is(201);
    // Placed three days ago.
    shop.catches_up();
    shop.stop();
    shop.sql("UPDATE orders SET placed_at = placed_at - 259200000000");
    shop.leave_books_unproved();
    shop.start();
    // Over today.
    let alice = alice.at(shop.url());
    alice.cancel(&order);
    eventually("the money is back", || {
        let rows = shop.rows("SELECT refund FROM payment_attempts ORDER BY ordinal");
        (rows == [["not_due"], ["done"]]).then_some(())
    });
    database.kill();
    is_degraded(&shop);
    // The sandbox took nothing for the attempt that its message speaks of.
    shop.announce("refuses to give money back");
    let captured = json!({
        "type": "captured",
        "order_id": order["id"],
        "attempt_id": declined["payment_id"],
        "amount": order["total"],
    });
    let settled =
        |shop: &Shop| Webhook::sandbox(shop).send(&captured).is(200)["result"] == "settled";
    assert!(settled(&shop));
    shop.kill();
    database.start_again();
    let (_, report) = shop.verify();
    assert_refuses_nothing(&report);
    shop.start();
    let refunds = |shop: &Shop| {
        let payments = alice.at(shop.url()).order(&order)["payments"].clone();
        [0, 1].map(|attempt| payments[attempt]["refund"].clone())
    };
    assert_eq!(refunds(&shop), ["due", "done"]);
    // Told again, it is what it was: before and after the order has left memory.
    assert!(settled(&shop));
    shop.stop();
    shop.start();
    assert!(settled(&shop));
    assert_eq!(refunds(&shop), ["due", "done"]);
}

/// The moved times are told; nothing that a start would stumble over.
#[track_caller]
fn assert_refuses_nothing(report: &Value) {
    let faults = report["faults"].as_array().expect("faults");
    let breaks_rules = |fault: &&Value| text_of(fault).contains("breaks the rules");
    assert_eq!(faults.iter().find(breaks_rules), None, "{report}");
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn a_database_that_comes_back_from_an_old_backup_is_brought_up_again() {
    let (mut database, mut shop) = open();
    let lamp = shop.product(Sale::of(100));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    shop.catches_up();
    database.back_up();
    is_ready(&shop);
    let (bob, carol) = (shop.buyer(), shop.buyer());
    let paid = bob.hold(&lamp, 1);
    bob.pay(&paid, "card").is(201);
    alice.cancel(&order).is(200);
    shop.catches_up();
    database.restore();
    eventually("it went back and forth again", || {
        let warned = |it: &String| it.contains("SQL went back");
        shop.process().stderr.all().iter().any(warned).then_some(())
    });
    is_ready(&shop);
    let held = carol.hold(&lamp, 1);
    shop.catches_up();
    assert_eq!(listed(&shop), 3);
    shop.kill_and_start();
    assert_eq!(alice.at(shop.url()).state(&order), "cancelled");
    assert_eq!(bob.at(shop.url()).state(&paid), "paid");
    assert_eq!(carol.at(shop.url()).state(&held), "held");
    assert_eq!(shop.units(&lamp), (98, 1, 1));
}

#[test]
fn told_to_stop_while_the_database_is_dead_it_ends_in_order() {
    let (mut database, mut shop) = open();
    let lamp = shop.product(Sale::of(100));
    database.kill();
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    is_degraded(&shop);
    shop.stop();
    database.start_again();
    shop.start();
    shop.catches_up();
    assert_eq!(alice.at(shop.url()).state(&order), "held");
}

#[test]
fn while_the_database_is_dead_what_needs_it_says_so() {
    let (mut database, mut shop) = open();
    shop.announce("request failed");
    let lamp = shop.product(Sale::of(100));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    let (wisher, key) = (shop.member("wisher").caller, Key::fresh());
    let (list, wish) = ("/v1/me/wishlist", format!("/v1/me/wishlist/{lamp}"));
    let buys = |wisher: &Caller| wisher.post_under(&key, "/v1/me/wishlist/checkout", &json!({}));
    let wants =
        |wisher: &Caller| wisher.send(&Method::PUT, &wish, None, Some(&json!({"quantity": 2})));
    wants(&wisher).is(201);
    database.kill();
    is_degraded(&shop);
    for answer in [
        wisher.get(list),
        wants(&wisher),
        wisher.delete(&wish),
        buys(&wisher),
    ] {
        answer.is_refused(503, "temporarily_unavailable");
    }
    assert_eq!(shop.units(&lamp), (99, 1, 0), "nothing was bought unseen");
    shop.admin()
        .get("/v1/admin/orders")
        .is_refused(503, "temporarily_unavailable");
    let unknown = format!("/v1/orders/{}", uuid::Uuid::now_v7());
    alice
        .get(&unknown)
        .is_refused(503, "temporarily_unavailable");
    // What is live is answered from memory.
    assert_eq!(alice.state(&order), "held");
    let listed = alice.get("/v1/orders").is(200);
    assert_eq!(
        listed["items"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
    database.start_again();
    is_ready(&shop);
    shop.admin().get("/v1/admin/orders").is(200);
    alice.get(&unknown).is_refused(404, "not_found");
    buys(&wisher).is(201);
    assert_eq!(wisher.get(list).is(200)["items"], json!([]));
}

#[test]
fn when_the_journals_budget_is_spent_no_new_hold_is_taken() {
    let mut database = MariaDb::start();
    let mut shop = Shop::closed_at(database.database_url(), &["--journal-budget-mib", "1"]);
    shop.start();
    let products: Vec<String> = (0..50).map(|_| shop.product(Sale::of(1_000_000))).collect();
    let lines: Vec<Value> = products.iter().map(|product| line(product, 1)).collect();
    let alice = shop.buyer();
    let live = alice.hold(&products[0], 1);
    shop.catches_up();
    database.kill();
    eventually("a megabyte of journal is written", || {
        let answers = at_once(&shop.buyers(64), |buyer| buyer.place(&lines));
        let refused = answers.iter().find(|it| it.status != 201)?;
        Some(refused.is_refused(503, "database_behind"))
    });
    // Who holds may pay, and who has had enough may go.
    alice.pay(&live, "card").is(201);
    alice.cancel(&live).is(200);
    shop.visitor().get("/v1/products").is(200);
    database.start_again();
    eventually("the tables have caught up", || {
        let answer = alice.place(&lines);
        (answer.status == 201).then_some(())
    });
    shop.catches_up();
}

/// The shop is declared after the database, and gone before it.
fn open() -> (MariaDb, Shop) {
    let database = MariaDb::start();
    let mut shop = Shop::closed_at(database.database_url(), &[]);
    // Of sqlx: a connection that it closes is no more.
    shop.announce("Connection reset by peer");
    shop.start();
    (database, shop)
}

/// Buyers trade while the database is away; afterwards every order is in the tables.
fn goes_on(away: impl FnOnce(&mut MariaDb, &Shop)) {
    let (mut database, shop) = open();
    let sale = Sale {
        hold_seconds: 1_800,
        ..Sale::of(1_000_000)
    };
    let products = [sale, sale].map(|sale| shop.product(sale)).to_vec();
    let stories = trade(&Registry::of(&shop), &products, 4, || {
        pause(Duration::from_millis(300));
        away(&mut database, &shop);
        pause(Duration::from_millis(300));
    });
    assert!(
        stories.iter().all(|story| !story.was_cut_short()),
        "everybody was answered"
    );
    assert!(stories.len() > 50, "{} orders are no sale", stories.len());
    is_ready(&shop);
    shop.catches_up();
    let ended: Vec<_> = stories
        .into_iter()
        .filter_map(|story| story.resume(shop.url()))
        .collect();
    recount(&shop, &products, &ended, &shop.provider_books());
    shop.catches_up();
    assert_eq!(listed(&shop), ended.len(), "all rows are there");
}

/// How many orders the tables have.
fn listed(shop: &Shop) -> usize {
    let admin = shop.admin();
    let (mut count, mut after) = (0, String::new());
    loop {
        let page = admin
            .get(&format!("/v1/admin/orders?limit=100{after}"))
            .is(200);
        count += page["items"].as_array().map_or(0, Vec::len);
        match page["next"].as_str() {
            Some(_) => after = format!("&after={}", text(&page, "next")),
            None => return count,
        }
    }
}

fn is_degraded(shop: &Shop) {
    // Only a write shows that it is away.
    shop.product(Sale::of(1));
    eventually("it says that it is degraded", || {
        let readiness = shop.visitor().get("/readyz").is(200);
        let connected = &readiness["projection"]["connected"];
        (readiness["status"] == "degraded" && *connected == json!(false)).then_some(())
    });
    shop.visitor().get("/healthz").is(200);
}

fn is_ready(shop: &Shop) {
    eventually("it says that it is ready", || {
        let readiness = shop.visitor().get("/readyz").is(200);
        (readiness["status"] == "ready").then_some(())
    });
}
