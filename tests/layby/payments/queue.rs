//! Charges that wait for their turn at a provider that takes its time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stripe;
use crate::support::{
    Answer, Caller, Sale, Shop, SlowStripe, Store, at_once, eventually, is_long, pause, text,
};

const GOOD: &str = SlowStripe::GOOD;

/// A sale whose buyers come faster than the provider takes their money.
#[derive(Debug, Clone, Copy)]
struct Rush {
    payers: usize,
    /// The last of them comes after so long.
    arrive_within: Duration,
    calls_max: usize,
}

/// Through Stripe a payment is two calls: 1,000 of them at 64 at once and 1.2 s a call take 38 s.
const WHOLE: Rush = Rush {
    payers: 1_000,
    arrive_within: Duration::from_secs(10),
    calls_max: 64,
};
/// The same in small: as many payers for each call at once, in as much of the time that it takes.
const SMALL: Rush = Rush {
    payers: 80,
    arrive_within: Duration::from_secs(3),
    calls_max: 16,
};
const LATENCY: Duration = Duration::from_millis(1_200);

#[test]
fn a_slow_provider_is_paid_by_everybody_and_no_good_card_is_declined() {
    let rush = if is_long() { WHOLE } else { SMALL };
    let stripe = SlowStripe::start(LATENCY);
    let calls_max = rush.calls_max.to_string();
    let shop = open(&stripe, &["--payment-calls-max", &calls_max]);
    let sale = Sale {
        hold_seconds: 300,
        ..Sale::of(rush.payers as u64)
    };
    let lamp = shop.product(sale);
    let line = shop.buyer();
    let people = shop.buyers(rush.payers);
    let people: Vec<Caller> = people.iter().map(|it| it.sharing(&line)).collect();
    let numbered: Vec<_> = people.iter().cloned().enumerate().collect();
    let told: Vec<(Value, Answer)> = at_once(&numbered, |(number, buyer)| {
        let share =
            u32::try_from(*number).expect("few") * 1_000 / u32::try_from(rush.payers).expect("few");
        pause(rush.arrive_within * share / 1_000);
        let order = buyer.hold(&lamp, 1);
        let answer = buyer.pay(&order, GOOD);
        (order, answer)
    });
    let answers = told
        .iter()
        .map(|(_, it)| format!("{} {}", it.status, it.code()));
    let answers = counted(answers);
    eprintln!("told: {answers:?}");
    let states = eventually_all_settled(&people, &told);
    eprintln!(
        "in the end: {states:?}, at the provider {:?}",
        stripe.intents()
    );
    assert!(
        answers
            .keys()
            .all(|it| ["201 ", "202 "].contains(&it.as_str())),
        "{answers:?}"
    );
    assert!(
        answers.contains_key("202 "),
        "nobody had to wait: {answers:?}"
    );
    assert_eq!(
        states,
        counted(std::iter::repeat_n("paid".to_owned(), rush.payers))
    );
    assert_eq!(
        stripe.intents(),
        BTreeMap::from([("succeeded", rush.payers)])
    );
    assert_eq!(shop.units(&lamp), (0, 0, rush.payers as u64));
}

#[test]
fn a_cancel_takes_back_a_charge_that_waits_and_its_buyer_hears_at_once() {
    let stripe = SlowStripe::start(LATENCY);
    let shop = open(&stripe, &["--payment-calls-max=1"]);
    let lamp = shop.product(Sale::of(2));
    let (alice, bob) = (shop.buyer(), shop.buyer());
    let (first, second) = (alice.hold(&lamp, 1), bob.hold(&lamp, 1));
    std::thread::scope(|scope| {
        let paid = scope.spawn(|| alice.pay(&first, GOOD));
        eventually("the first is at the provider", || {
            (!stripe.intents().is_empty()).then_some(())
        });
        let waits = scope.spawn(|| bob.pay(&second, GOOD));
        eventually("the second waits", || {
            (gauge(&shop, "layby_payment_queue_length") == 1.0).then_some(())
        });
        let began = Instant::now();
        bob.cancel(&second).is(202);
        let told = waits.join().expect("no panic");
        told.is_refused(402, "payment_declined");
        assert!(began.elapsed() < LATENCY, "it waited for its turn");
        assert_eq!(bob.state(&second), "cancelled");
        assert_eq!(shop.units(&lamp), (1, 1, 0));
        paid.join().expect("no panic").is(201);
    });
    assert_eq!(stripe.intents(), BTreeMap::from([("succeeded", 1)]));
    assert_eq!(count(&shop, "charge", "unsent"), 1);
    assert_eq!(count(&shop, "charge", "captured"), 1);
    assert_eq!(gauge(&shop, "layby_payment_queue_length"), 0.0);
    assert_eq!(gauge(&shop, "layby_payment_queue_age_seconds"), 0.0);
}

#[test]
fn a_restart_looks_up_what_waited_and_sends_it() {
    let stripe = SlowStripe::start(Duration::from_millis(300));
    let mut shop = open(
        &stripe,
        &["--payment-calls-max=1", "--payment-answer-ms=100"],
    );
    let lamp = shop.product(Sale::of(8));
    let people = shop.buyers(8);
    let orders: Vec<Value> = people.iter().map(|it| it.hold(&lamp, 1)).collect();
    let pairs: Vec<_> = people.iter().zip(&orders).collect();
    at_once(&pairs, |(buyer, order)| {
        buyer.pay(order, GOOD).is(202);
    });
    shop.kill_and_start();
    let people: Vec<Caller> = people.iter().map(|it| it.at(shop.url())).collect();
    eventually("everybody has paid, or was called off in mid-call", || {
        let states = people.iter().zip(&orders);
        let mut states = states.map(|(buyer, order)| buyer.state(order));
        states.all(|it| it != "paying").then_some(())
    });
    let states = people.iter().zip(&orders);
    let states = counted(states.map(|(buyer, order)| buyer.state(order)));
    // The one that was under way when the server died may have been made and not confirmed.
    assert!(states["paid"] >= 7, "{states:?}");
    let captured = stripe.intents()["succeeded"];
    assert_eq!(captured, states["paid"]);
}

#[test]
fn what_the_provider_refuses_in_clear_words_shuts_nobody_out() {
    let stripe = SlowStripe::start(Duration::ZERO);
    let mut shop = open(&stripe, &["--payment-unclear-max=3"]);
    shop.announce("refuses to give money back");
    let lamp = shop.product(Sale::of(20));
    let people = shop.buyers(6);
    let orders: Vec<Value> = people.iter().map(|it| it.hold(&lamp, 1)).collect();
    for (buyer, order) in people.iter().zip(&orders) {
        let no_such_card = SlowStripe::UNKNOWN;
        buyer
            .pay(order, no_such_card)
            .is_refused(402, "payment_declined");
        buyer.pay(order, GOOD).is(201);
    }
    let refusal = json!({"error": {"type": "invalid_request_error", "code": "charge_disputed"}});
    stripe.refuse_refunds(Some((400, refusal)));
    for (buyer, order) in people.iter().zip(&orders) {
        assert_eq!(buyer.cancel(order).is(202)["state"], "refunding");
    }
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 1);
    alice.pay(&order, GOOD).is(201);
    // As long as three tries with the pauses of a provider that is away would take.
    pause(Duration::from_millis(3_500));
    assert_eq!(stripe.refunds_asked(), 6, "each is asked for once");
    let log = shop.process().stderr.all();
    for order in &orders {
        let id = text(order, "id");
        let said = |it: &&String| it.contains("refuses to give money back") && it.contains(&id);
        let lines: Vec<&String> = log.iter().filter(said).collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("charge_disputed"), "{lines:#?}");
    }
    assert_eq!(count(&shop, "charge", "refused"), 6);
    assert_eq!(count(&shop, "refund", "refused"), 6);

    // It takes a person to change that, and the next try is an hour away, or at the next start.
    stripe.refuse_refunds(None);
    shop.kill_and_start();
    let people: Vec<Caller> = people.iter().map(|it| it.at(shop.url())).collect();
    eventually("the money is back", || {
        let states = people.iter().zip(&orders);
        let mut states = states.map(|(buyer, order)| buyer.state(order));
        states.all(|it| it == "cancelled").then_some(())
    });
}

#[test]
fn the_threads_of_the_actors_have_names() {
    let mut shop = Shop::open(Store::Sqlite);
    let threads = format!("/proc/{}/task", shop.process().id());
    let names: Vec<String> = std::fs::read_dir(threads)
        .expect("the threads")
        .map(|entry| entry.expect("a thread").path().join("comm"))
        .map(|path| std::fs::read_to_string(path).expect("a name"))
        .collect();
    for name in ["engine", "payments"] {
        let is_there = names.iter().any(|it| it.trim() == name);
        assert!(is_there, "no thread is called {name}: {names:?}");
    }
}

/// A shop whose money goes through it.
fn open(stripe: &SlowStripe, options: &[&str]) -> Shop {
    let mut shop = stripe::closed_at(Store::Sqlite, &stripe.url(), options);
    shop.start();
    shop
}

fn eventually_all_settled(people: &[Caller], told: &[(Value, Answer)]) -> BTreeMap<String, usize> {
    let mut open: Vec<(&Caller, &Value)> =
        people.iter().zip(told.iter().map(|(it, _)| it)).collect();
    let mut states = Vec::new();
    while !open.is_empty() {
        // Each time somebody's payment is settled, the rest have as long again.
        eventually("one more payment is settled", || {
            let before = open.len();
            open.retain(|(buyer, order)| {
                let state = buyer.state(order);
                let is_open = state == "paying";
                if !is_open {
                    states.push(state);
                }
                is_open
            });
            (open.len() < before).then_some(())
        });
    }
    counted(states.into_iter())
}

fn counted(words: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

fn gauge(shop: &Shop, name: &str) -> f64 {
    reading(shop, name).parse().expect("a number")
}

/// How many calls have ended so.
fn count(shop: &Shop, call: &str, end: &str) -> u64 {
    let name = format!("layby_payment_calls_total{{call=\"{call}\",end=\"{end}\"}}");
    reading(shop, &name).parse().expect("a number")
}

fn reading(shop: &Shop, name: &str) -> String {
    let answer = shop.visitor().get("/metrics");
    assert_eq!(answer.status, 200, "{answer}");
    let text = String::from_utf8(answer.body).expect("text");
    let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let found = lines.find(|(it, _)| *it == name);
    let (_, value) = found.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.to_owned()
}
