//! Paying, and giving money back. The sandbox keeps the provider's side of the books.

mod queue;
pub(crate) mod stripe;
mod webhooks;

use serde_json::json;

use crate::support::{
    Answer, Key, Sale, Shop, Store, at_once, eventually, on_each_database, pause, text,
};

on_each_database! {
    a_payment_buys_the_units_and_its_repeat_gets_the_same_bytes,
    a_declined_payment_keeps_hold_and_deadline_and_another_may_follow,
    a_declined_payment_is_told_in_the_same_bytes_again,
    a_payment_extends_the_hold_once,
    a_hold_that_is_over_can_not_be_paid,
    an_order_is_paid_once_however_many_try,
    a_payment_key_with_another_method_is_refused,
    an_order_takes_twenty_attempts,
    a_provider_that_is_silent_is_no_decline,
    a_late_answer_settles_the_payment,
    a_payment_that_gets_no_turn_is_pending_and_made_later,
    repeated_and_stale_notices_change_nothing,
    a_cancelled_purchase_is_refunded_once,
    a_cancellation_in_mid_payment_is_settled_when_the_result_is_known,
    a_payment_survives_the_death_of_the_server,
    an_answer_that_was_lost_in_a_crash_is_given_to_the_repeat,
    a_tenth_declined_leaves_money_and_units_in_agreement,
}

fn a_payment_buys_the_units_and_its_repeat_gets_the_same_bytes(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, key) = (shop.buyer(), Key::fresh());
    let order = alice.hold(&lamp, 2);
    let first = alice.pay_under(&key, &order, "card");
    let paid = first.is(201);
    assert_eq!(
        (
            &paid["state"],
            &paid["order_id"],
            &paid["method"],
            &paid["amount"]
        ),
        (
            &json!("paid"),
            &order["id"],
            &json!("card"),
            &order["total"]
        )
    );
    assert_eq!(shop.units(&lamp), (3, 0, 2));
    let seen = alice.order(&order);
    assert_eq!(seen["state"], "paid");
    assert_eq!(seen["payments"][0]["id"], paid["id"]);
    assert_eq!(seen["payments"][0]["state"], "captured");

    same_bytes(&first, &alice.pay_under(&key, &order, "card"));
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    same_bytes(&first, &alice.pay_under(&key, &order, "card"));
    alice.pay(&order, "card").is_refused(409, "already_paid");
    alice.cancel(&order).is(200);
    same_bytes(&first, &alice.pay_under(&key, &order, "card"));
    assert_eq!(shop.provider_books().captured().len(), 1);
}

fn a_declined_payment_keeps_hold_and_deadline_and_another_may_follow(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    let told = alice
        .pay(&order, "card_declined")
        .is_refused(402, "payment_declined");
    let seen = alice.order(&order);
    assert_eq!(seen["state"], "held");
    assert_eq!(
        seen["pay_by"], order["pay_by"],
        "five minutes are more than two"
    );
    assert_eq!(seen["pay_by"], told["pay_by"]);
    assert_eq!(seen["payments"][0]["id"], told["payment_id"]);
    assert_eq!(shop.units(&lamp), (4, 1, 0), "a decline moves no stock");
    alice.pay(&order, "card").is(201);
    assert_eq!(shop.units(&lamp), (4, 0, 1));
    let books = shop.provider_books();
    assert_eq!((books.captured().len(), books.refunded().len()), (1, 0));
}

fn a_declined_payment_is_told_in_the_same_bytes_again(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, key) = (shop.buyer(), Key::fresh());
    let order = alice.hold(&lamp, 1);
    let first = alice.pay_under(&key, &order, "card_declined");
    first.is_refused(402, "payment_declined");
    same_bytes(&first, &alice.pay_under(&key, &order, "card_declined"));
    alice.pay(&order, "card").is(201);
    same_bytes(&first, &alice.pay_under(&key, &order, "card_declined"));
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    same_bytes(&first, &alice.pay_under(&key, &order, "card_declined"));
}

fn a_payment_extends_the_hold_once(store: Store) {
    let shop = Shop::open(store);
    let sale = Sale {
        hold_seconds: 60,
        ..Sale::of(5)
    };
    let lamp = shop.product(sale);
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    let pay_by = || text(&alice.order(&order), "pay_by");
    alice
        .pay(&order, "card_declined")
        .is_refused(402, "payment_declined");
    let extended = pay_by();
    assert!(extended > text(&order, "pay_by"), "{extended}");
    alice
        .pay(&order, "card_declined")
        .is_refused(402, "payment_declined");
    assert_eq!(pay_by(), extended, "nothing else extends it");
}

fn a_hold_that_is_over_can_not_be_paid(store: Store) {
    let shop = Shop::open(store);
    let sale = Sale {
        hold_seconds: 1,
        ..Sale::of(1)
    };
    let lamp = shop.product(sale);
    let (alice, key) = (shop.buyer(), Key::fresh());
    let order = alice.hold(&lamp, 1);
    eventually("the hold is over", || {
        (alice.state(&order) == "expired").then_some(())
    });
    for _ in 0..2 {
        let told = alice
            .pay_under(&key, &order, "card")
            .is_refused(409, "hold_expired");
        assert_eq!(told["expired_at"], order["pay_by"]);
    }
    assert_eq!(shop.units(&lamp), (1, 0, 0));
    assert!(shop.provider_books().captured().is_empty());
}

fn an_order_is_paid_once_however_many_try(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, key) = (shop.buyer(), Key::fresh());
    let order = alice.hold(&lamp, 1);
    let answers = at_once(&vec![alice.clone(); 20], |alice| {
        alice.pay_under(&key, &order, "card")
    });
    for answer in &answers {
        answer.is(201);
        same_bytes(&answers[0], answer);
    }

    let order = alice.hold(&lamp, 1);
    let answers = at_once(&vec![alice; 20], |alice| alice.pay(&order, "card"));
    let paid = answers.iter().filter(|it| it.status == 201).count();
    assert_eq!(paid, 1);
    for answer in answers.iter().filter(|it| it.status != 201) {
        let code = answer.code();
        assert!(
            matches!(code.as_str(), "payment_in_progress" | "already_paid"),
            "{answer}"
        );
    }
    assert_eq!(shop.provider_books().captured().len(), 2);
    assert_eq!(shop.units(&lamp), (3, 0, 2));
}

fn a_payment_key_with_another_method_is_refused(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let (alice, key) = (shop.buyer(), Key::fresh());
    let (order, other) = (alice.hold(&lamp, 1), alice.hold(&lamp, 1));
    alice.pay_under(&key, &order, "card").is(201);
    alice
        .pay_under(&key, &order, "wallet")
        .is_refused(422, "idempotency_key_reused");
    alice.pay_under(&key, &other, "wallet").is(201);
}

fn an_order_takes_twenty_attempts(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    for _ in 0..20 {
        alice
            .pay(&order, "card_declined")
            .is_refused(402, "payment_declined");
    }
    let told = alice
        .pay(&order, "card")
        .is_refused(409, "too_many_attempts");
    assert_eq!(told["attempts_max"], 20);
    assert_eq!(alice.state(&order), "held");
}

fn a_provider_that_is_silent_is_no_decline(store: Store) {
    let shop = Shop::open_with(store, &["--payment-answer-ms=150", "--payment-call-ms=300"]);
    let lamp = shop.product(Sale::of(5));
    let (alice, key) = (shop.buyer(), Key::fresh());
    let order = alice.hold(&lamp, 1);
    let first = alice.pay_under(&key, &order, "card_timeout");
    assert_eq!(first.is(202)["state"], "pending");
    assert_eq!(alice.state(&order), "paying");
    assert_eq!(shop.units(&lamp), (4, 1, 0));
    alice
        .pay(&order, "card")
        .is_refused(409, "payment_in_progress");
    eventually("the provider is asked what became of it", || {
        (alice.state(&order) == "paid").then_some(())
    });
    same_bytes(&first, &alice.pay_under(&key, &order, "card_timeout"));
    assert_eq!(shop.units(&lamp), (4, 0, 1));
    assert_eq!(shop.provider_books().captured().len(), 1);
}

fn a_late_answer_settles_the_payment(store: Store) {
    let shop = Shop::open_with(
        store,
        &["--payment-answer-ms", "100", "--sandbox-late-ms", "400"],
    );
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    alice.pay(&order, "card_late").is(202);
    eventually("the late answer comes", || {
        (alice.state(&order) == "paid").then_some(())
    });
    assert_eq!(shop.units(&lamp), (4, 0, 1));
    assert_eq!(shop.provider_books().captured().len(), 1);
}

fn a_payment_that_gets_no_turn_is_pending_and_made_later(store: Store) {
    let options = [
        "--payment-answer-ms=200",
        "--payment-call-ms=200",
        "--payment-calls-max=1",
    ];
    let shop = Shop::open_with(store, &options);
    let lamp = shop.product(Sale::of(6));
    let people = shop.buyers(6);
    let orders: Vec<_> = people.iter().map(|it| it.hold(&lamp, 1)).collect();
    let pairs: Vec<_> = people.iter().zip(&orders).collect();
    at_once(&pairs, |(buyer, order)| {
        // Each keeps the only turn for as long as a call may take.
        buyer.pay(order, "card_timeout").is(202);
    });
    let at_first = shop.provider_books().captured().len();
    assert!(at_first < 6, "all of them had a turn at once");
    eventually("each gets its turn", || {
        let mut states = people
            .iter()
            .zip(&orders)
            .map(|(it, order)| it.state(order));
        states.all(|it| it == "paid").then_some(())
    });
    assert_eq!(shop.provider_books().captured().len(), 6);
    assert_eq!(shop.units(&lamp), (0, 0, 6));
}

fn repeated_and_stale_notices_change_nothing(store: Store) {
    let shop = Shop::open_with(store, &["--sandbox-late-ms", "200"]);
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let twice = alice.hold(&lamp, 1);
    let stale = alice.hold(&lamp, 1);
    let gone = alice.hold(&lamp, 1);
    alice.pay(&twice, "card_duplicate").is(201);
    alice.pay(&stale, "card_out_of_order").is(201);
    alice.pay(&gone, "card_duplicate").is(201);
    alice.cancel(&gone).is(200);
    let before = [&twice, &stale, &gone].map(|order| alice.order(order));
    // The last notice is sent 200 ms after its payment.
    pause(std::time::Duration::from_millis(600));
    assert_eq!(
        [&twice, &stale, &gone].map(|order| alice.order(order)),
        before
    );
    assert_eq!(shop.units(&lamp), (3, 0, 2));
    let books = shop.provider_books();
    assert_eq!((books.captured().len(), books.refunded().len()), (3, 1));
}

fn a_cancelled_purchase_is_refunded_once(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 2);
    alice.pay(&order, "card").is(201);
    let answers = at_once(&vec![alice.clone(); 10], |alice| alice.cancel(&order));
    for answer in &answers {
        assert!(matches!(answer.status, 200 | 202), "{answer}");
    }
    let cancelled = eventually("the refund is done", || {
        let answer = alice.cancel(&order);
        (answer.status == 200).then_some(answer)
    });
    let told = cancelled.is(200);
    assert_eq!(told["state"], "cancelled");
    assert_eq!(told["payments"][0]["refund"], "done");
    shop.kill_and_start();
    same_bytes(&cancelled, &alice.at(shop.url()).cancel(&order));
    assert_eq!(shop.units(&lamp), (5, 0, 0));
    let books = shop.provider_books();
    assert_eq!(books.refunded(), books.captured());
    assert_eq!(books.refunded().len(), 1);
}

fn a_cancellation_in_mid_payment_is_settled_when_the_result_is_known(store: Store) {
    let shop = Shop::open_with(
        store,
        &["--payment-answer-ms", "100", "--sandbox-late-ms", "500"],
    );
    let lamp = shop.product(Sale::of(5));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    alice.pay(&order, "card_late").is(202);
    assert_eq!(alice.cancel(&order).is(202)["state"], "cancel_requested");
    assert_eq!(alice.cancel(&order).is(202)["state"], "cancel_requested");
    alice.pay(&order, "card").is_refused(409, "order_cancelled");
    assert_eq!(
        shop.units(&lamp),
        (4, 1, 0),
        "nothing comes free before the result is known"
    );
    let settled = eventually("the result is known", || {
        let answer = alice.cancel(&order);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(settled["state"], "cancelled");
    let refunded = eventually("the money is back", || {
        let order = alice.order(&order);
        (order["payments"][0]["refund"] == "done").then_some(order)
    });
    assert_eq!(refunded["state"], "cancelled");
    assert_eq!(shop.units(&lamp), (5, 0, 0));
    let books = shop.provider_books();
    assert_eq!((books.captured().len(), books.refunded().len()), (1, 1));
}

fn a_payment_survives_the_death_of_the_server(store: Store) {
    let mut shop = Shop::open_with(store, &["--payment-answer-ms", "100"]);
    let lamp = shop.product(Sale::of(5));
    let (alice, key) = (shop.buyer(), Key::fresh());
    let order = alice.hold(&lamp, 1);
    let first = alice.pay_under(&key, &order, "card_timeout");
    first.is(202);
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    same_bytes(&first, &alice.pay_under(&key, &order, "card_timeout"));
    eventually("the provider is asked after the restart", || {
        (alice.state(&order) == "paid").then_some(())
    });
    assert_eq!(shop.provider_books().captured().len(), 1);
    assert_eq!(shop.units(&lamp), (4, 0, 1));
}

fn an_answer_that_was_lost_in_a_crash_is_given_to_the_repeat(store: Store) {
    // Killed before the provider has heard of it, the charge is sent again, and its answer never comes.
    let times = ["--payment-answer-ms=5000", "--payment-call-ms=3000"];
    let mut shop = Shop::open_with(store, &times);
    let lamp = shop.product(Sale::of(5));
    let (alice, key) = (shop.buyer(), Key::fresh());
    let order = alice.hold(&lamp, 1);
    let path = format!("/v1/orders/{}/payments", text(&order, "id"));
    let body = json!({"method": "card_timeout"});
    std::thread::scope(|scope| {
        let lost = scope
            .spawn(|| alice.try_send(&ureq::http::Method::POST, &path, Some(&key), Some(&body)));
        eventually("the intent is durable", || {
            (alice.state(&order) == "paying").then_some(())
        });
        shop.kill();
        assert!(
            lost.join().expect("no panic").is_err(),
            "nothing was answered"
        );
    });
    shop.start();
    let alice = alice.at(shop.url());
    let repeat = alice.pay_under(&key, &order, "card_timeout");
    assert!(matches!(repeat.status, 201 | 202), "{repeat}");
    assert_eq!(repeat.json()["order_id"], order["id"]);
    eventually("it is settled", || {
        (alice.state(&order) == "paid").then_some(())
    });
    same_bytes(&repeat, &alice.pay_under(&key, &order, "card_timeout"));
    assert_eq!(shop.provider_books().captured().len(), 1);
}

fn a_tenth_declined_leaves_money_and_units_in_agreement(store: Store) {
    let rates = [
        "--payment-answer-ms=100",
        "--payment-call-ms=300",
        "--sandbox-late-ms=200",
        "--sandbox-seed=7",
        "--sandbox-decline-rate=0.1",
        "--sandbox-late-rate=0.1",
        "--sandbox-duplicate-rate=0.1",
        "--sandbox-timeout-rate=0.1",
        "--sandbox-out-of-order-rate=0.1",
    ];
    let shop = Shop::open_with(store, &rates);
    let lamp = shop.product(Sale::of(100));
    let people = shop.buyers(60);
    let orders = at_once(&people, |buyer| {
        let order = buyer.hold(&lamp, 1);
        let answer = buyer.pay(&order, "card");
        assert!(matches!(answer.status, 201 | 202 | 402), "{answer}");
        order
    });
    let states: Vec<String> = eventually("every payment is settled", || {
        let states = people
            .iter()
            .zip(&orders)
            .map(|(buyer, order)| buyer.state(order));
        let states: Vec<String> = states.collect();
        states
            .iter()
            .all(|state| state != "paying")
            .then_some(states)
    });
    let paid = states.iter().filter(|state| *state == "paid").count();
    let held = states.iter().filter(|state| *state == "held").count();
    assert_eq!(paid + held, 60, "{states:?}");
    assert!(
        held > 0 && paid > 30,
        "the rates had no effect: {paid} paid, {held} held"
    );
    let (available, in_hold, sold) = shop.units(&lamp);
    assert_eq!((available, in_hold, sold), (40, held as u64, paid as u64));
    let books = shop.provider_books();
    assert_eq!((books.captured().len(), books.refunded().len()), (paid, 0));
}

#[track_caller]
fn same_bytes(first: &Answer, again: &Answer) {
    assert_eq!(
        (again.status, String::from_utf8_lossy(&again.body)),
        (first.status, String::from_utf8_lossy(&first.body))
    );
}
