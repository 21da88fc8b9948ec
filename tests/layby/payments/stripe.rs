//! Paying through Stripe's API, played by localstripe; and a provider that does not answer.

use serde_json::{Value, json};

use crate::support::{
    Key, LocalStripe, Sale, Shop, Store, Webhook, at_once, eventually, on_each_database, text,
};

on_each_database! {
    a_payment_through_stripe_buys_the_units,
    a_declined_card_takes_nothing_and_another_may_follow,
    a_cancelled_purchase_goes_back_through_stripe,
    stripes_own_webhooks_are_believed_and_change_nothing_more,
    stripes_webhooks_under_another_secret_are_not_believed,
    a_payment_outlives_both_a_silent_stripe_and_the_death_of_the_server,
    buyers_keep_their_holds_while_stripe_is_silent_and_pay_when_it_is_back,
    stripes_books_and_the_shops_agree,
    without_its_key_or_over_an_open_line_stripe_is_refused,
}

/// What Stripe signs its webhooks with.
pub(crate) const SECRET: &str = "whsec_of_the_shop_and_stripe";
const GOOD: &str = LocalStripe::GOOD;
const DECLINED: &str = LocalStripe::DECLINED;

/// A shop whose money goes through Stripe. Dropped first, so that it never misses its provider.
struct Fixture {
    shop: Shop,
    stripe: LocalStripe,
}

/// A shop that is not started yet, and has what it needs to be paid through Stripe.
pub(crate) fn closed(store: Store, stripe: &LocalStripe, options: &[&str]) -> Shop {
    closed_at(store, &stripe.url(), options)
}

/// The same, wherever its Stripe is.
pub(crate) fn closed_at(store: Store, url: &str, options: &[&str]) -> Shop {
    let ours = ["--payment-provider", "stripe", "--stripe-url", url];
    let shop = Shop::closed(store, &[&ours[..], options].concat());
    shop.write_secret("stripe.key", LocalStripe::KEY);
    shop.write_secret("stripe-webhook.secrets", SECRET);
    shop
}

impl Fixture {
    fn open(store: Store, options: &[&str]) -> Self {
        let stripe = LocalStripe::start();
        let mut shop = closed(store, &stripe, options);
        shop.start();
        Self { shop, stripe }
    }

    /// Attempts that Stripe has captured, and those of them that it gave back.
    fn books(&self) -> (usize, usize) {
        let books = self.stripe.books();
        let count = |amount: fn(&crate::support::Booked) -> i64| {
            books.iter().filter(|it| amount(it) > 0).count()
        };
        (count(|it| it.captured), count(|it| it.refunded))
    }
}

fn a_payment_through_stripe_buys_the_units(store: Store) {
    let Fixture { shop, stripe } = Fixture::open(store, &[]);
    let lamp = shop.product(Sale::of(5));
    let (alice, key) = (shop.buyer(), Key::fresh());
    let order = alice.hold(&lamp, 2);
    let first = alice.pay_under(&key, &order, GOOD);
    let paid = first.is(201);
    let repeat = alice.pay_under(&key, &order, GOOD);
    assert_eq!((repeat.status, &repeat.body), (201, &first.body));
    let [booked] = &stripe.books()[..] else {
        panic!("one payment: {:?}", stripe.books());
    };
    assert_eq!(
        (
            json!(booked.order),
            json!(booked.attempt),
            json!(booked.captured)
        ),
        (
            order["id"].clone(),
            paid["id"].clone(),
            order["total"]["amount"].clone()
        )
    );
    assert_eq!(shop.units(&lamp), (3, 0, 2));
    assert_eq!(alice.order(&order)["payments"][0]["method"], GOOD);
}

fn a_declined_card_takes_nothing_and_another_may_follow(store: Store) {
    let fixture = Fixture::open(store, &[]);
    let lamp = fixture.shop.product(Sale::of(5));
    let alice = fixture.shop.buyer();
    let order = alice.hold(&lamp, 1);
    for method in [DECLINED, "pm_of_nobody", "card_ok", "a&confirm=true"] {
        alice
            .pay(&order, method)
            .is_refused(402, "payment_declined");
        assert_eq!(fixture.books(), (0, 0), "{method}");
    }
    assert_eq!(fixture.shop.units(&lamp), (4, 1, 0));
    alice.pay(&order, GOOD).is(201);
    assert_eq!(fixture.books(), (1, 0));
    let seen = alice.order(&order);
    let states: Vec<&Value> = seen["payments"]
        .as_array()
        .expect("attempts")
        .iter()
        .map(|it| &it["state"])
        .collect();
    let declined = json!("declined");
    assert_eq!(
        states,
        [
            &declined,
            &declined,
            &declined,
            &declined,
            &json!("captured")
        ]
    );
}

fn a_cancelled_purchase_goes_back_through_stripe(store: Store) {
    let mut fixture = Fixture::open(store, &[]);
    let lamp = fixture.shop.product(Sale::of(5));
    let alice = fixture.shop.buyer();
    let order = alice.hold(&lamp, 1);
    alice.pay(&order, GOOD).is(201);
    let told = alice.cancel(&order).is(200);
    assert_eq!(told["payments"][0]["refund"], "done");
    fixture.shop.kill_and_start();
    assert_eq!(alice.at(fixture.shop.url()).cancel(&order).is(200), told);
    assert_eq!(fixture.books(), (1, 1));
    assert_eq!(fixture.stripe.money(), 0);
    assert_eq!(fixture.shop.units(&lamp), (5, 0, 0));
}

fn stripes_own_webhooks_are_believed_and_change_nothing_more(store: Store) {
    let mut fixture = Fixture::open(store, &["--log", "layby=debug"]);
    let door = Webhook::stripe(&fixture.shop, SECRET);
    fixture.stripe.send_webhooks_to(&door.url(), SECRET);
    let lamp = fixture.shop.product(Sale::of(5));
    let alice = fixture.shop.buyer();
    let (paid, declined) = (alice.hold(&lamp, 1), alice.hold(&lamp, 1));
    alice.pay(&paid, GOOD).is(201);
    alice
        .pay(&declined, DECLINED)
        .is_refused(402, "payment_declined");
    let before = [&paid, &declined].map(|order| alice.order(order));
    // Stripe sends them a second after it has answered.
    let log = &fixture.shop.process().stderr;
    eventually("both webhooks have come", || {
        let lines = log.all();
        let known = lines
            .iter()
            .filter(|it| it.contains("stale or repeated result ignored"));
        (known.count() == 2).then_some(())
    });
    let log = log.all();
    assert!(
        !log.iter().any(|it| it.contains("was not believed")),
        "{log:#?}"
    );
    assert_eq!([&paid, &declined].map(|order| alice.order(order)), before);
    assert_eq!(fixture.books(), (1, 0));

    // Things of Stripe's that are not about our payments.
    for event in [
        json!({"type": "customer.created", "data": {"object": {"id": "cus_1"}}}),
        json!({"type": "payment_intent.succeeded", "data": {"object": {
            "id": "pi_1", "amount": 1, "currency": "krw", "metadata": {}}}}),
    ] {
        assert_eq!(door.send(&event).is(200)["result"], "ignored");
    }
}

fn stripes_webhooks_under_another_secret_are_not_believed(store: Store) {
    let mut fixture = Fixture::open(store, &[]);
    let door = Webhook::stripe(&fixture.shop, SECRET);
    fixture
        .stripe
        .send_webhooks_to(&door.url(), "whsec_of_another_shop");
    let lamp = fixture.shop.product(Sale::of(5));
    let alice = fixture.shop.buyer();
    let order = alice.hold(&lamp, 1);
    alice.pay(&order, GOOD).is(201);
    let log = &fixture.shop.process().stderr;
    eventually("the webhook has come", || {
        let lines = log.all();
        lines
            .iter()
            .any(|it| it.contains("was not believed"))
            .then_some(())
    });
    assert_eq!(alice.state(&order), "paid");
}

fn a_payment_outlives_both_a_silent_stripe_and_the_death_of_the_server(store: Store) {
    let mut fixture = Fixture::open(store, &["--payment-answer-ms", "300"]);
    let lamp = fixture.shop.product(Sale::of(5));
    let (alice, key) = (fixture.shop.buyer(), Key::fresh());
    let order = alice.hold(&lamp, 1);
    fixture.stripe.pause();
    let first = alice.pay_under(&key, &order, GOOD);
    assert_eq!(first.is(202)["state"], "pending");
    fixture.shop.kill();
    fixture.stripe.resume();
    fixture.shop.start();
    let alice = alice.at(fixture.shop.url());
    let repeat = alice.pay_under(&key, &order, GOOD);
    assert_eq!((repeat.status, &repeat.body), (202, &first.body));
    let state = eventually("Stripe says what became of it", || {
        let state = alice.state(&order);
        (state != "paying").then_some(state)
    });
    if state == "held" {
        // The call had got so far that it could be called off; nothing was taken.
        assert_eq!(fixture.books(), (0, 0));
        alice.pay(&order, GOOD).is(201);
    }
    assert_eq!(alice.state(&order), "paid");
    assert_eq!(fixture.books(), (1, 0));
}

fn buyers_keep_their_holds_while_stripe_is_silent_and_pay_when_it_is_back(store: Store) {
    let options = [
        "--payment-answer-ms=200",
        "--payment-call-ms=400",
        "--payment-unclear-max=2",
        "--payment-pause-ms=60000",
    ];
    let mut fixture = Fixture::open(store, &options);
    let lamp = fixture.shop.product(Sale::of(5));
    let people = fixture.shop.buyers(3);
    let orders: Vec<Value> = people.iter().map(|it| it.hold(&lamp, 1)).collect();
    fixture.stripe.pause();
    people[0].pay(&orders[0], GOOD).is(202);
    people[1].pay(&orders[1], GOOD).is(202);
    let before = people[2].order(&orders[2]);
    let log = &fixture.shop.process().stderr;
    eventually("nobody may start to pay", || {
        let lines = log.all();
        let is_said = |it: &String| it.contains("nobody starts to pay");
        lines.iter().any(is_said).then_some(())
    });
    let refused = people[2].pay(&orders[2], GOOD);
    let told = refused.is_refused(503, "payments_unavailable");
    let secs = told["retry_after"].as_u64().expect("seconds");
    assert!((1..=60).contains(&secs), "{told}");
    assert_eq!(
        people[2].order(&orders[2]),
        before,
        "the hold stays as it is"
    );

    fixture.stripe.resume();
    eventually("a look-up is answered, and buyers may pay", || {
        (people[2].pay(&orders[2], GOOD).status == 201).then_some(())
    });
    eventually("the others are told what became of theirs", || {
        let mut states = [0, 1].map(|at| people[at].state(&orders[at])).into_iter();
        states.all(|it| it != "paying").then_some(())
    });
    let paid = (0..3)
        .filter(|&at| people[at].state(&orders[at]) == "paid")
        .count();
    assert_eq!(fixture.books(), (paid, 0));
}

fn stripes_books_and_the_shops_agree(store: Store) {
    let fixture = Fixture::open(store, &["--payment-calls-max", "4"]);
    let lamp = fixture.shop.product(Sale::of(100));
    let people = fixture.shop.buyers(24);
    let numbered: Vec<_> = people.iter().cloned().enumerate().collect();
    let orders = at_once(&numbered, |(number, buyer)| {
        let order = buyer.hold(&lamp, 1);
        let method = if number % 4 == 0 { DECLINED } else { GOOD };
        let answer = buyer.pay(&order, method);
        assert!(matches!(answer.status, 201 | 202 | 402), "{answer}");
        if number % 3 == 0 {
            let answer = buyer.cancel(&order);
            assert!(matches!(answer.status, 200 | 202), "{answer}");
        }
        order
    });
    let settled: Vec<Value> = eventually("everything is settled", || {
        let seen = people
            .iter()
            .zip(&orders)
            .map(|(buyer, it)| buyer.order(it));
        let seen: Vec<Value> = seen.collect();
        let is_over =
            |it: &Value| matches!(text(it, "state").as_str(), "paid" | "held" | "cancelled");
        let is_owed = |it: &Value| it["payments"][0]["refund"] == "due";
        let is_settled = |it: &Value| is_over(it) && !is_owed(it);
        seen.iter().all(is_settled).then_some(seen)
    });
    let paid = settled.iter().filter(|it| it["state"] == "paid");
    let price: i64 = paid.filter_map(|it| it["total"]["amount"].as_i64()).sum();
    assert!(price > 0);
    assert_eq!(fixture.stripe.money(), price);
}

fn without_its_key_or_over_an_open_line_stripe_is_refused(store: Store) {
    let mut shop = Shop::closed(store, &["--payment-provider", "stripe"]);
    let (code, said) = shop.fails_to_start();
    assert_eq!(code, Some(1));
    assert!(said.contains("LAYBY_STRIPE_SECRET_KEY"), "{said}");
    let open_line = [
        "--payment-provider=stripe",
        "--stripe-url=http://stripe.test",
    ];
    let mut shop = Shop::closed(store, &open_line);
    shop.write_secret("stripe.key", LocalStripe::KEY);
    let (code, said) = shop.fails_to_start();
    assert_eq!(code, Some(1));
    assert!(
        said.contains("https") && !said.contains(LocalStripe::KEY),
        "{said}"
    );
}
