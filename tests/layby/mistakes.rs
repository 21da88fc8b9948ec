//! Mistakes that services of this kind really made. Each is a test, on both databases; those that were a sentence of
//! another file already stay there.
//!
//! | the mistake | the test | its file |
//! | --- | --- | --- |
//! | pay that always fails, and restocks at every failure | `payments_that_always_fail_restock_nothing` | `mistakes.rs` |
//! | unpaid orders that hold stock for ever | `a_hold_ends_at_its_deadline_and_its_unit_goes_to_the_next` | `orders.rs` |
//! | the same, over a restart | `a_hold_that_ends_while_the_server_is_down_is_over_when_it_is_back` | `orders.rs` |
//! | a second cancel that restocks twice | `a_cancelled_hold_gives_its_units_back_once` | `orders.rs` |
//! | the same, of a paid order | `a_cancelled_purchase_is_refunded_once` | `payments/mod.rs` |
//! | cancel or refund of a stranger's order | `a_stranger_neither_cancels_nor_refunds` | `mistakes.rs` |
//! | the same, down to the words of the answer | `cancel_or_refund_of_a_strangers_order` | `returns.rs` |
//! | a refund of an order never paid | `an_order_that_was_never_paid_is_refunded_nothing` | `mistakes.rs` |
//! | the same, by a return | `a_refund_of_an_order_never_paid` | `returns.rs` |
//! | delivery dates that never advance | `delivery_dates_that_never_advance` | `shipping.rs` |
//! | a return that restocks by the wrong id | `a_return_that_restocks_by_the_wrong_id` | `returns.rs` |
//! | a duplicate-username check that compares plain text with ciphertext | `a_duplicate_username_is_found_although_names_are_sealed` | `accounts/mistakes.rs` |
//! | sign-in without the e-mail verified | `nobody_signs_in_without_a_verified_address` | `accounts/mistakes.rs` |
//! | a changed password that can no longer log in | `a_changed_password_can_log_in` | `accounts/mistakes.rs` |
//! | an address stored in plain text on update | `an_address_is_sealed_on_update_too` | `accounts/mistakes.rs` |
//! | a key in the source | `two_shops_share_no_key` | `mistakes.rs` |
//! | a static nonce | `the_same_words_are_never_sealed_alike` | `accounts/mistakes.rs` |
//! | a code without expiry or attempt limit | `a_code_has_an_end_and_a_limit_of_tries` | `accounts/mistakes.rs` |
//! | a list without paging | `every_list_has_pages` | `mistakes.rs` |
//! | anyone may register products | `not_anyone_may_register_products` | `accounts/mistakes.rs` |
//! | repeat clicks that burn stock | `one_key_in_fifty_requests_at_once_is_one_order` | `orders.rs` |
//! | the same, of a whole wishlist | `one_key_in_twenty_requests_at_once_is_one_order` | `wishlist.rs` |
//! | stock cut and the process dead before the order exists | `whatever_the_moment_of_death_a_list_is_bought_whole_or_not_at_all` | `wishlist.rs` |
//! | a hold in one system and the ledger in another that drift apart | `whatever_the_moment_of_death_no_answer_is_taken_back` | `crash.rs` |
//! | calls before the window that lower stock | `nothing_is_held_before_the_window_opens` | `orders.rs` |
//! | one failure that marks a product sold out for all | `one_buyers_failure_sells_nothing_out_for_the_others` | `mistakes.rs` |
//! | a multi-product order that keeps half | `an_order_of_several_products_is_all_or_nothing` | `orders.rs` |
//! | the same, of two that cross | `two_orders_that_want_the_same_products_crosswise_do_not_both_fail_halfway` | `orders.rs` |
//! | a timeout task that races the payment callback | `a_payment_that_races_the_end_of_its_hold_is_in_time_or_too_late` | `mistakes.rs` |
//! | the same, with a callback that loses | `a_late_success_claims_its_unit_again_while_it_is_free` | `engine.rs` |
//! | a shopper blocked by their own stale hold | `nobody_is_blocked_by_their_own_stale_hold` | `orders.rs` |
//! | a cart timer that can be renewed for ever | `a_payment_extends_the_hold_once` | `payments/mod.rs` |
//! | money taken after the stock is gone and never given back | `money_taken_after_the_stock_is_gone_is_given_back` | `mistakes.rs` |
//! | the same, told three times | `a_late_success_whose_unit_is_gone_is_refunded_in_full_once` | `engine.rs` |
//! | a waitlist that runs by the minute | `a_waitlist_moves_in_the_moment_in_which_a_hold_ends` | `mistakes.rs` |

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    Caller, Sale, Shop, Store, at_once, eventually, line, on_each_database, pause, text,
};

/// Unless it is set otherwise.
const OFFER_TTL: SignedDuration = SignedDuration::from_secs(120);

on_each_database! {
    payments_that_always_fail_restock_nothing,
    a_stranger_neither_cancels_nor_refunds,
    an_order_that_was_never_paid_is_refunded_nothing,
    two_shops_share_no_key,
    every_list_has_pages,
    one_buyers_failure_sells_nothing_out_for_the_others,
    a_payment_that_races_the_end_of_its_hold_is_in_time_or_too_late,
    money_taken_after_the_stock_is_gone_is_given_back,
    a_waitlist_moves_in_the_moment_in_which_a_hold_ends,
}

fn payments_that_always_fail_restock_nothing(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(3));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 2);
    for _ in 0..6 {
        alice
            .pay(&order, "card_declined")
            .is_refused(402, "payment_declined");
        assert_eq!(shop.units(&lamp), (1, 2, 0), "a failure moves no unit");
    }
    shop.kill_and_start();
    assert_eq!(shop.units(&lamp), (1, 2, 0));
    // It does not always fail.
    let alice = alice.at(shop.url());
    alice.pay(&order, "card").is(201);
    assert_eq!(shop.units(&lamp), (1, 0, 2));
    assert_eq!(shop.provider_books().captured().len(), 1);
}

fn a_stranger_neither_cancels_nor_refunds(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, mallory) = (shop.buyer(), shop.buyer());
    let held = alice.hold(&lamp, 1);
    let paid = alice.hold(&lamp, 2);
    alice.pay(&paid, "card").is(201);
    for order in [&held, &paid] {
        for _ in 0..2 {
            mallory.cancel(order).is_refused(404, "not_found");
        }
    }
    assert_eq!(
        (alice.state(&held), alice.state(&paid)),
        ("held".into(), "paid".into())
    );
    assert_eq!(shop.units(&lamp), (2, 1, 2));
    assert!(shop.provider_books().refunded().is_empty());
}

fn an_order_that_was_never_paid_is_refunded_nothing(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let brief = shop.product(Sale {
        hold_seconds: 1,
        ..Sale::of(5)
    });
    let alice = shop.buyer();
    let [untouched, declined] = [1, 1].map(|quantity| alice.hold(&lamp, quantity));
    let expired = alice.hold(&brief, 1);
    alice
        .pay(&declined, "card_declined")
        .is_refused(402, "payment_declined");
    for order in [&untouched, &declined] {
        assert_eq!(alice.cancel(order).is(200)["state"], "cancelled");
        alice.cancel(order).is(200);
    }
    eventually("the hold is over", || {
        (alice.state(&expired) == "expired").then_some(())
    });
    alice.cancel(&expired).is_refused(409, "hold_expired");
    assert_eq!(alice.order(&declined)["payments"][0]["refund"], "not_due");
    assert_eq!(
        (shop.units(&lamp), shop.units(&brief)),
        ((5, 0, 0), (5, 0, 0))
    );
    let books = shop.provider_books();
    assert_eq!((books.captured().len(), books.refunded().len()), (0, 0));
}

fn two_shops_share_no_key(store: Store) {
    let shops = [Shop::open(store), Shop::open(store)];
    let secrets = |shop: &Shop| -> Vec<(String, Vec<u8>)> {
        let files = std::fs::read_dir(shop.data_dir().join("secrets")).expect("secrets");
        let mut secrets: Vec<_> = files
            .map(|file| {
                let path = file.expect("a file").path();
                let name = path.file_name().expect("a name").display().to_string();
                (name, std::fs::read(path).expect("a secret"))
            })
            .collect();
        secrets.sort();
        secrets
    };
    let [one, other] = [&shops[0], &shops[1]].map(secrets);
    assert!(one.len() >= 3, "keys of tokens, of seals and of the index");
    for ((name, mine), (same_name, theirs)) in one.iter().zip(&other) {
        assert_eq!(name, same_name);
        assert_ne!(mine, theirs, "{name} is the same everywhere");
    }
    let alice = shops[0].buyer();
    alice.get("/v1/orders").is(200);
    alice
        .at(shops[1].url())
        .get("/v1/orders")
        .is_refused(401, "unauthorized");
}

fn every_list_has_pages(store: Store) {
    let shop = Shop::open(store);
    let admin = shop.promote(&shop.member("ada"), "admin");
    for number in 0..2 {
        let product = shop.product(Sale::of(5));
        admin.caller.hold(&product, 1);
        admin.adds_address(&crate::accounts::address_form(&format!("Ada {number}")));
        let wish = format!("/v1/me/wishlist/{product}");
        let quantity = json!({"quantity": 1});
        admin
            .caller
            .send(&Method::PUT, &wish, None, Some(&quantity))
            .is(201);
    }
    for sold_out in [shop.product(Sale::of(0)), shop.product(Sale::of(0))] {
        let path = format!("/v1/products/{sold_out}/waitlist");
        admin.caller.post(&path).is(201);
    }
    shop.catches_up();
    let document = shop.visitor().get("/openapi.json").is(200);
    let lists = lists(&document);
    assert!(lists.len() >= 6, "{lists:?}");
    for (path, parameters) in lists {
        for name in ["limit", "after"] {
            assert!(
                parameters.contains(&name.to_owned()),
                "{path} has no {name}"
            );
        }
        let page = admin.caller.get(&format!("{path}?limit=1")).is(200);
        assert_eq!(
            page["items"].as_array().map(Vec::len),
            Some(1),
            "{path}: {page}"
        );
        let next = text(&page, "next");
        assert!(!next.is_empty(), "{path}: {page}");
        let second = admin
            .caller
            .get(&format!("{path}?limit=1&after={next}"))
            .is(200);
        assert_ne!(second["items"][0], page["items"][0], "{path}");
        admin
            .caller
            .get(&format!("{path}?limit=101"))
            .is_refused(422, "invalid_values");
    }
}

fn one_buyers_failure_sells_nothing_out_for_the_others(store: Store) {
    let options = ["--payment-answer-ms=100", "--payment-call-ms=200"];
    let shop = Shop::open_with(store, &options);
    let lamp = shop.product(Sale::of(5));
    let mallory = shop.buyer();
    let unknown = uuid::Uuid::now_v7().to_string();
    let failures: [&dyn Fn(); 6] = [
        &|| {
            drop(
                mallory
                    .place(&[line(&lamp, 6)])
                    .is_refused(409, "insufficient_stock"),
            )
        },
        &|| {
            drop(
                mallory
                    .place(&[line(&lamp, 1), line(&unknown, 1)])
                    .is_refused(404, "not_found"),
            )
        },
        &|| {
            drop(
                mallory
                    .place(&[line(&lamp, 0)])
                    .is_refused(422, "invalid_values"),
            )
        },
        &|| {
            drop(
                mallory
                    .place(&[line(&lamp, 10_000)])
                    .is_refused(409, "insufficient_stock"),
            )
        },
        &|| {
            let order = mallory.hold(&lamp, 5);
            mallory
                .pay(&order, "card_declined")
                .is_refused(402, "payment_declined");
            mallory.cancel(&order).is(200);
        },
        &|| {
            let order = mallory.hold(&lamp, 5);
            mallory.pay(&order, "card_timeout").is(202);
            mallory.cancel(&order).is(202);
            eventually("the payment is settled", || {
                (mallory.cancel(&order).status == 200).then_some(())
            });
        },
    ];
    for fails in failures {
        fails();
        let seen = shop.visitor().get(&format!("/v1/products/{lamp}")).is(200);
        assert_eq!(
            (&seen["availability"], &seen["available"]),
            (&json!("available"), &json!(5))
        );
    }
    for buyer in shop.buyers(5) {
        buyer.hold(&lamp, 1);
    }
}

fn a_payment_that_races_the_end_of_its_hold_is_in_time_or_too_late(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale {
        hold_seconds: 1,
        ..Sale::of(100)
    });
    // Some are sure to be in time, some to be late, and most come within a few milliseconds of the end.
    let distances = [-400, -400, 60, 60].into_iter().chain((-20..20).step_by(2));
    let people: Vec<(Caller, i64)> = distances.map(|it| (shop.buyer(), it)).collect();
    let ends = at_once(&people, |(buyer, distance)| {
        let order = buyer.hold(&lamp, 1);
        let pay_by: Timestamp = text(&order, "pay_by").parse().expect("a time");
        wait_until(pay_by + SignedDuration::from_millis(*distance));
        let answer = buyer.pay(&order, "card");
        if answer.status != 201 {
            answer.is_refused(409, "hold_expired");
        }
        (answer.status == 201, buyer.state(&order))
    });
    for (was_paid, state) in &ends {
        assert_eq!(state, if *was_paid { "paid" } else { "expired" });
    }
    let paid = ends.iter().filter(|(was_paid, _)| *was_paid).count();
    assert!(
        0 < paid && paid < ends.len(),
        "{paid} of {} were in time",
        ends.len()
    );
    let sold = paid as u64;
    assert_eq!(shop.units(&lamp), (100 - sold, 0, sold));
    let books = shop.provider_books();
    assert_eq!((books.captured().len(), books.refunded().len()), (paid, 0));
}

/// The sandbox takes the money and does not say so while the hold lasts. Meanwhile the hold ends, and the unit goes to
/// whoever waits for it; what is left is to give the money back.
fn money_taken_after_the_stock_is_gone_is_given_back(store: Store) {
    let mut shop = Shop::open_with(store, &["--payment-answer-ms", "50"]);
    let lamp = shop.product(Sale {
        hold_seconds: 1,
        ..Sale::of(1)
    });
    let (alice, bob) = (shop.buyer(), shop.buyer());
    let order = alice.hold(&lamp, 1);
    let waitlist = format!("/v1/products/{lamp}/waitlist");
    bob.post(&waitlist).is(201);
    alice.pay(&order, "card_late").is(202);
    shop.stop();
    assert_eq!(shop.provider_books().captured(), [text(&order, "id")]);
    long_ago(&mut shop, &order);
    shop.start();
    let [alice, bob] = [alice, bob].map(|it| it.at(shop.url()));

    let settled = eventually("the money is back", || {
        let seen = alice.order(&order);
        (seen["payments"][0]["refund"] == "done").then_some(seen)
    });
    assert_eq!(settled["state"], "refunded");
    assert_eq!(settled["payments"][0]["state"], "captured");
    assert_eq!(shop.provider_books().refunded(), [text(&order, "id")]);
    // The unit is where it was before the money came.
    let place = &bob.get("/v1/me/waitlist").is(200)["items"][0];
    assert_eq!(place["state"], "offered", "{place}");
    bob.hold(&lamp, 1);
    assert_eq!(shop.units(&lamp), (0, 1, 0));
}

/// Other services ask now and then whether somebody is to be told. Here the same moment ends one and begins the other: an
/// offer is good for its time counted from the deadline of the hold.
fn a_waitlist_moves_in_the_moment_in_which_a_hold_ends(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale {
        hold_seconds: 1,
        ..Sale::of(1)
    });
    let (holder, waiter, passer_by) = (shop.buyer(), shop.buyer(), shop.buyer());
    let order = holder.hold(&lamp, 1);
    waiter
        .post(&format!("/v1/products/{lamp}/waitlist"))
        .is(201);
    let offer = eventually("the unit is offered", || {
        let list = waiter.get("/v1/me/waitlist").is(200);
        let offer = list["items"][0]["offer"].clone();
        // It is never to be had by whoever happens to come by.
        assert_eq!(shop.units(&lamp).0, 0);
        passer_by
            .place(&[line(&lamp, 1)])
            .is_refused(409, "all_held");
        offer.is_object().then_some(offer)
    });
    let time = |of: &Value, field: &str| -> Timestamp { text(of, field).parse().expect("a time") };
    let offered_at = time(&offer, "expires_at") - OFFER_TTL;
    let late = offered_at.duration_since(time(&order, "pay_by"));
    let a_moment = SignedDuration::ZERO..SignedDuration::from_secs(1);
    assert!(a_moment.contains(&late), "{late:?} after the hold");
    let ended_at = time(&holder.order(&order), "changed_at");
    assert_eq!(
        ended_at, offered_at,
        "one turn ends the hold and offers the unit"
    );
}

#[test]
fn every_mistake_names_a_test_that_there_is() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layby");
    let mut mistakes = 0;
    for row in include_str!("mistakes.rs")
        .lines()
        .filter(|it| it.starts_with("//! | "))
    {
        let mut names = row.split('`').skip(1).step_by(2);
        let (Some(test), Some(file)) = (names.next(), names.next()) else {
            continue;
        };
        let text = std::fs::read_to_string(files.join(file)).expect("a file of tests");
        assert!(
            text.contains(&format!("fn {test}(")),
            "{file} has no {test}"
        );
        mistakes += 1;
    }
    assert!(mistakes > 20, "only {mistakes} were found");
}

/// Every list that takes no id, with the names of its parameters.
fn lists(document: &Value) -> Vec<(String, Vec<String>)> {
    let paths = document["paths"].as_object().expect("paths");
    let mut lists = Vec::new();
    for (path, operations) in paths {
        let answer = &operations["get"]["responses"]["200"]["content"]["application/json"];
        let name = text(&answer["schema"], "$ref");
        let name = name.rsplit('/').next().unwrap_or_default();
        let schema = &document["components"]["schemas"][name];
        if path.contains('{') || schema["properties"]["items"].is_null() {
            continue;
        }
        let parameters = operations["get"]["parameters"].as_array();
        let names = parameters.into_iter().flatten().map(|it| text(it, "name"));
        lists.push((path.clone(), names.collect()));
    }
    lists
}

/// While the shop is stopped: an order was placed an hour before it was.
///
/// Time is moved where it is kept. The journal holds the same times, so the books are no longer proved against it.
fn long_ago(shop: &mut Shop, order: &Value) {
    let (id, hour) = (text(order, "id").replace('-', ""), 3_600_000_000_u64);
    let moved =
        ["placed_at", "pay_by", "deadline", "changed_at"].map(|it| format!("{it} = {it} - {hour}"));
    shop.sql(&format!(
        "UPDATE orders SET {} WHERE id = X'{id}'",
        moved.join(", ")
    ));
    shop.leave_books_unproved();
}

fn wait_until(time: Timestamp) {
    let left = time.duration_since(Timestamp::now());
    pause(Duration::try_from(left).unwrap_or_default());
}
