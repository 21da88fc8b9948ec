//! What a provider says by itself, over HTTP. The sandbox's own memory is on nobody's side here: a word that is signed
//! counts.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{
    Answer, Caller, Sale, Shop, Store, Webhook, eventually, line, on_each_database, text,
};

on_each_database! {
    a_signed_word_pays_the_order_and_survives_a_crash,
    a_signed_decline_gives_the_hold_back_its_chance,
    a_body_that_is_not_signed_right_changes_nothing,
    a_signature_is_good_for_five_minutes_both_ways,
    each_of_two_live_secrets_signs,
    words_that_come_twice_and_in_any_order_change_nothing_more,
    words_about_what_nobody_knows_are_ignored,
    another_sum_settles_nothing,
    only_the_configured_provider_is_heard,
    a_signed_body_that_is_no_word_is_told_so,
    a_success_after_the_hold_takes_the_units_again,
    an_order_that_has_left_the_memory_is_looked_up,
    a_success_for_an_order_that_was_over_long_ago_gives_the_money_back,
}

const FAULT: &str = "another sum than the order's";

/// An order whose only attempt was declined, so that all that happens to it afterwards is a webhook's doing.
fn declined(shop: &Shop, product: &str) -> (Caller, Value, Value) {
    let alice = shop.buyer();
    let order = alice.hold(product, 1);
    let told = alice
        .pay(&order, "card_declined")
        .is_refused(402, "payment_declined");
    let word = word("captured", &order, &told["payment_id"]);
    (alice, order, word)
}

fn word(kind: &str, order: &Value, attempt: &Value) -> Value {
    json!({
        "type": kind, "order_id": order["id"], "attempt_id": attempt, "amount": order["total"],
    })
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

/// Somebody must look at it.
#[track_caller]
fn is_logged(shop: &mut Shop, words: &str, times: usize) {
    let log = &shop.process().stderr;
    eventually("the faults are in the log", || {
        let lines = log.all();
        let faults = lines
            .iter()
            .filter(|it| it.contains("ERROR") && it.contains(words));
        (faults.count() == times).then_some(())
    });
}

#[track_caller]
fn says(answer: &Answer, result: &str) {
    assert_eq!(answer.is(200)["result"], result);
}

fn a_signed_word_pays_the_order_and_survives_a_crash(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, order, word) = declined(&shop, &lamp);
    says(&Webhook::sandbox(&shop).send(&word), "settled");
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    let paid = alice.order(&order);
    assert_eq!(paid["state"], "paid");
    assert_eq!(paid["payments"][0]["state"], "captured");
    assert_eq!(shop.units(&lamp), (4, 0, 1));
    says(&Webhook::sandbox(&shop).send(&word), "settled");
    assert_eq!(alice.order(&order), paid);
}

fn a_signed_decline_gives_the_hold_back_its_chance(store: Store) {
    let options = ["--payment-answer-ms=100", "--payment-call-ms=300"];
    let shop = Shop::open_with(store, &options);
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    let pending = alice.pay(&order, "card_timeout").is(202);
    let decline = word("declined", &order, &pending["id"]);
    says(&Webhook::sandbox(&shop).send(&decline), "settled");
    // The sandbox did take the money, and says so when it is asked: a success is never ignored.
    eventually("the look-up finds the money", || {
        (alice.state(&order) == "paid").then_some(())
    });
    let seen = alice.order(&order);
    assert_eq!(seen["payments"].as_array().map(Vec::len), Some(1));
    assert_eq!(shop.units(&lamp), (4, 0, 1));
}

fn a_body_that_is_not_signed_right_changes_nothing(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, order, word) = declined(&shop, &lamp);
    let before = alice.order(&order);
    let door = Webhook::sandbox(&shop);
    let good = door.signature(now(), &word.to_string());
    let other = Webhook {
        secret: "somebody_elses_secret".into(),
        ..door.clone()
    };
    let mut dearer = word.clone();
    dearer["amount"]["amount"] = json!(1);
    let refused = [
        door.send_signed(None, &word),
        door.send_signed(Some(""), &word),
        door.send_signed(Some("t=1,v1=00"), &word),
        door.send_signed(Some(&good.replace("v1=", "v0=")), &word),
        door.send_signed(Some(&other.signature(now(), &word.to_string())), &word),
        door.send_signed(Some(&good), &dearer),
        other.send(&word),
    ];
    for answer in refused {
        answer.is_refused(400, "signature_invalid");
    }
    let under_another_name = Webhook {
        header: "Stripe-Signature",
        ..door.clone()
    };
    under_another_name
        .send(&word)
        .is_refused(400, "signature_invalid");
    assert_eq!(alice.order(&order), before);
    says(&door.send_signed(Some(&good), &word), "settled");
}

fn a_signature_is_good_for_five_minutes_both_ways(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, order, word) = declined(&shop, &lamp);
    let door = Webhook::sandbox(&shop);
    let sent_at = |at: i64| {
        let signature = door.signature(at, &word.to_string());
        door.send_signed(Some(&signature), &word)
    };
    for away in [-310, -86_400, 310, 86_400] {
        sent_at(now() + away).is_refused(400, "signature_invalid");
    }
    assert_eq!(alice.state(&order), "held");
    for away in [-290, 290] {
        says(&sent_at(now() + away), "settled");
    }
    assert_eq!(alice.state(&order), "paid");
}

fn each_of_two_live_secrets_signs(store: Store) {
    let mut shop = Shop::closed(store, &[]);
    let secrets = ["whsec_the_older_of_two", "whsec_the_newer_of_two"];
    shop.write_secret("sandbox-webhook.secrets", &secrets.join("\n"));
    shop.start();
    let lamp = shop.product(Sale::of(5));
    let door = Webhook::sandbox(&shop);
    for secret in secrets {
        let (alice, order, word) = declined(&shop, &lamp);
        let door = Webhook {
            secret: secret.into(),
            ..door.clone()
        };
        says(&door.send(&word), "settled");
        assert_eq!(alice.state(&order), "paid");
    }
}

fn words_that_come_twice_and_in_any_order_change_nothing_more(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, order, captured) = declined(&shop, &lamp);
    let mut stale = captured.clone();
    stale["type"] = json!("declined");
    let door = Webhook::sandbox(&shop);
    says(&door.send(&stale), "settled");
    assert_eq!(alice.state(&order), "held", "it was declined already");
    says(&door.send(&captured), "settled");
    let paid = alice.order(&order);
    assert_eq!(paid["state"], "paid");
    for word in [&stale, &captured, &captured, &stale, &captured] {
        says(&door.send(word), "settled");
        assert_eq!(alice.order(&order), paid);
    }
    assert_eq!(shop.units(&lamp), (4, 0, 1));
}

fn words_about_what_nobody_knows_are_ignored(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, order, word) = declined(&shop, &lamp);
    let before = alice.order(&order);
    let nobody = json!(uuid::Uuid::now_v7());
    let door = Webhook::sandbox(&shop);
    for field in ["order_id", "attempt_id"] {
        let mut unknown = word.clone();
        unknown[field] = nobody.clone();
        says(&door.send(&unknown), "ignored");
    }
    assert_eq!(alice.order(&order), before);
}

fn another_sum_settles_nothing(store: Store) {
    let mut shop = Shop::open(store);
    shop.announce(FAULT);
    let lamp = shop.product(Sale::of(5));
    let (alice, order, word) = declined(&shop, &lamp);
    let before = alice.order(&order);
    let door = Webhook::sandbox(&shop);
    let total = order["total"]["amount"].as_i64().expect("an amount");
    let others = [
        json!({"amount": total - 1, "currency": "KRW"}),
        json!({"amount": total * 100, "currency": "KRW"}),
        json!({"amount": -total, "currency": "KRW"}),
        json!({"amount": total, "currency": "USD"}),
    ];
    for amount in others {
        let mut wrong = word.clone();
        wrong["amount"] = amount;
        door.send(&wrong).is_refused(422, "payment_mismatch");
    }
    assert_eq!(alice.order(&order), before);
    is_logged(&mut shop, FAULT, 4);
    says(&door.send(&word), "settled");
}

fn only_the_configured_provider_is_heard(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, order, word) = declined(&shop, &lamp);
    for provider in ["stripe", "Sandbox", "nobody", "%20"] {
        let door = Webhook {
            provider,
            ..Webhook::sandbox(&shop)
        };
        door.send(&word).is_refused(404, "not_found");
    }
    assert_eq!(alice.state(&order), "held");
    let answer = shop.visitor().get("/v1/webhooks/payments/sandbox");
    answer.is_refused(405, "method_not_allowed");
}

fn a_signed_body_that_is_no_word_is_told_so(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (_, _, word) = declined(&shop, &lamp);
    let door = Webhook::sandbox(&shop);
    let mut more = word.clone();
    more["note"] = json!("x");
    let mut other = word;
    other["type"] = json!("refunded");
    for body in [json!({}), json!([]), json!("captured"), more, other] {
        door.send(&body).is_refused(400, "malformed_request");
    }
    let huge = json!({"type": "x".repeat(70_000)});
    door.send(&huge).is_refused(413, "body_too_large");
}

fn a_success_after_the_hold_takes_the_units_again(store: Store) {
    let mut shop = Shop::open(store);
    // The sandbox has never taken this money, whatever it has signed.
    shop.announce("refuses to give money back");
    let short = Sale {
        hold_seconds: 1,
        ..Sale::of(2)
    };
    let lamp = shop.product(short);
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    let told = alice
        .pay(&order, "card_declined")
        .is_refused(402, "payment_declined");
    alice.cancel(&order).is(200);
    assert_eq!(shop.units(&lamp), (2, 0, 0));
    let captured = word("captured", &order, &told["payment_id"]);
    says(&Webhook::sandbox(&shop).send(&captured), "settled");
    let seen = alice.order(&order);
    assert_eq!(seen["state"], "cancelled");
    assert_eq!(seen["payments"][0]["state"], "captured");
    assert_ne!(
        seen["payments"][0]["refund"], "not_due",
        "the money goes back"
    );
    assert_eq!(shop.units(&lamp), (2, 0, 0));
}

/// Settled orders are kept in memory for two days; these were settled years ago.
fn make_old(shop: &mut Shop) {
    shop.catches_up();
    shop.stop();
    shop.sql("UPDATE orders SET placed_at = 1, changed_at = 1");
    shop.leave_books_unproved();
    shop.start();
}

fn an_order_that_has_left_the_memory_is_looked_up(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    let paid = alice.pay(&order, "card").is(201);
    alice.cancel(&order);
    eventually("the money is back", || {
        let seen = alice.order(&order);
        (seen["payments"][0]["refund"] == "done").then_some(())
    });
    make_old(&mut shop);
    let door = Webhook::sandbox(&shop);
    for kind in ["captured", "declined"] {
        says(&door.send(&word(kind, &order, &paid["id"])), "settled");
    }
    let unknown = word("captured", &order, &json!(uuid::Uuid::now_v7()));
    says(&door.send(&unknown), "ignored");
    shop.announce(FAULT);
    let mut wrong = word("captured", &order, &paid["id"]);
    wrong["amount"]["amount"] = json!(1);
    door.send(&wrong).is_refused(422, "payment_mismatch");
    let alice = alice.at(shop.url());
    assert_eq!(text(&alice.order(&order), "state"), "cancelled");
}

fn a_success_for_an_order_that_was_over_long_ago_gives_the_money_back(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, order, word) = declined(&shop, &lamp);
    alice.cancel(&order).is(200);
    make_old(&mut shop);
    // The sandbox has never taken this money, whatever it has signed.
    shop.announce("refuses to give money back");
    let door = Webhook::sandbox(&shop);
    for _ in 0..2 {
        says(&door.send(&word), "settled");
    }
    // The sandbox took none, whatever was said in its name: to it there is nothing to give back.
    let order = alice.at(shop.url()).order(&order);
    assert_eq!(order["payments"][0]["refund"], "due", "{order}");
    assert_eq!(text(&order, "state"), "cancelled");
    let bought = shop.buyer().place(&[line(&lamp, 1)]);
    bought.is(201);
}
