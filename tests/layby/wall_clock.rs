//! A wall clock that somebody sets: no hold, no sale and nobody's money notices.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Caller, FakeTime, Outbox, Person, Postbox, Sale, Shop, Store, Webhook, eventually, line,
    on_each_database, pause, text,
};

on_each_database! {
    an_hour_ahead_for_a_second_ends_no_hold_opens_no_sale_and_holds_up_nothing_afterwards,
    a_clock_set_back_by_twenty_seconds_makes_no_hold_longer_and_a_restart_goes_on_from_the_last_stamp,
    a_start_behind_what_was_only_projected_goes_on_from_there,
    a_clock_that_was_wrong_at_the_start_and_is_put_right_refuses_no_webhook,
    what_people_are_given_for_minutes_outlives_an_hour_that_is_none,
}

const HOUR: i64 = 3_600;

/// A shop under a clock that is right so far.
fn shop(store: Store) -> (Shop, FakeTime) {
    let mut shop = Shop::closed(store, &[]);
    let wall = FakeTime::of(&shop);
    wall.start(&mut shop);
    (shop, wall)
}

/// Waits until the server has seen how its wall clock stands. It is ready all the while.
#[track_caller]
fn sees_clock(shop: &Shop, in_step: bool, offset_secs: i64) {
    eventually("it sees how its clock stands", || {
        let readiness = shop.visitor().get("/readyz").is(200);
        assert_eq!(readiness["status"], "ready");
        let clock = &readiness["clock"];
        let offset_ms = clock["offset_ms"].as_i64().expect("a number");
        let is_near = (offset_ms - offset_secs * 1_000).abs() < 500;
        (clock["in_step"] == in_step && is_near).then_some(())
    });
}

/// Lines of the log about the wall clock: how often it was lost, and found again.
fn told(shop: &mut Shop) -> (usize, usize) {
    let lines = shop.process().stderr.all();
    let count = |level: &str| {
        let about = lines.iter().filter(|it| it.contains("the wall clock is"));
        about.filter(|it| it.contains(level)).count()
    };
    (count(" WARN "), count(" INFO "))
}

/// How long the last unit is held by somebody who does nothing with it.
#[track_caller]
fn hold_lasts(shop: &Shop, lamp: &str, began: Instant) -> Duration {
    eventually("the unit is free again", || {
        (shop.units(lamp).0 == 1).then(|| began.elapsed())
    })
}

#[track_caller]
fn is_five_seconds(lasted: Duration) {
    // What is above is the tests' own: the server is asked again and again, on a busy machine.
    let (least, most) = (Duration::from_millis(4_950), Duration::from_secs(8));
    assert!(least <= lasted && lasted <= most, "{lasted:?}");
}

fn of_five_seconds(stock: u64) -> Sale {
    Sale {
        hold_seconds: 5,
        ..Sale::of(stock)
    }
}

#[track_caller]
fn seconds_from_now(time: &str) -> f64 {
    let time: Timestamp = time.parse().expect("a time");
    time.duration_since(Timestamp::now()).as_secs_f64()
}

/// Seconds from now to the time that an id bears.
#[track_caller]
fn made_at(id: &str) -> f64 {
    let milliseconds = id.parse::<Uuid>().expect("an id").as_u128() >> 80;
    let milliseconds = i64::try_from(milliseconds).expect("48 bits");
    let time = Timestamp::from_millisecond(milliseconds).expect("a time");
    seconds_from_now(&time.to_string())
}

/// A signed word of the provider about a declined attempt: the money was taken after all.
fn captured(buyer: &Caller, order: &Value) -> Value {
    let told = buyer
        .pay(order, "card_declined")
        .is_refused(402, "payment_declined");
    json!({
        "type": "captured", "order_id": order["id"],
        "attempt_id": told["payment_id"], "amount": order["total"],
    })
}

fn an_hour_ahead_for_a_second_ends_no_hold_opens_no_sale_and_holds_up_nothing_afterwards(
    store: Store,
) {
    let (mut shop, wall) = shop(store);
    let lamp = shop.product(Sale::of(5));
    let last = shop.product(of_five_seconds(1));
    let soon = shop.product(Sale {
        opens_in_ms: HOUR * 1_000 / 2,
        ..Sale::of(5)
    });
    let (alice, bob, webhook) = (shop.buyer(), shop.buyer(), Webhook::sandbox(&shop));
    let held = alice.hold(&lamp, 1);
    let [first, second] = [alice.hold(&lamp, 1), alice.hold(&lamp, 1)];
    let words = [&first, &second].map(|order| captured(&alice, order));
    sees_clock(&shop, true, 0);

    wall.set_by_secs(HOUR);
    sees_clock(&shop, false, HOUR);
    for order in [&held, &first, &second] {
        assert_eq!(alice.state(order), "held");
    }
    let refused = bob.place(&[line(&soon, 1)]).is_refused(409, "not_open");
    let server_time = text(&refused, "server_time");
    assert!(seconds_from_now(&server_time).abs() < 60.0, "{refused}");
    assert_eq!(webhook.send(&words[0]).is(200)["result"], "settled");
    let bought = bob.hold(&lamp, 1);
    let paid = bob.pay(&bought, "card_ok").is(201);
    assert!(made_at(&text(&paid, "id")).abs() < 60.0, "{paid}");
    let pay_by = text(&bought, "pay_by");
    assert!(
        (240.0..=301.0).contains(&seconds_from_now(&pay_by)),
        "{bought}"
    );

    wall.set_by_secs(0);
    sees_clock(&shop, true, 0);
    let began = Instant::now();
    bob.hold(&last, 1);
    is_five_seconds(hold_lasts(&shop, &last, began));
    assert_eq!(webhook.send(&words[1]).is(200)["result"], "settled");
    assert_eq!(alice.state(&held), "held");
    assert_eq!(alice.state(&second), "paid");
    assert_eq!(told(&mut shop), (1, 1));
    let metrics = shop.visitor().get("/metrics");
    let metrics = String::from_utf8_lossy(&metrics.body);
    for line in [
        "\nlayby_wall_clock_jumps_total 2\n",
        "\nlayby_wall_clock_offset_seconds ",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

fn a_clock_set_back_by_twenty_seconds_makes_no_hold_longer_and_a_restart_goes_on_from_the_last_stamp(
    store: Store,
) {
    let (mut shop, wall) = shop(store);
    let lamp = shop.product(of_five_seconds(1));
    let alice = shop.buyer();
    let began = Instant::now();
    let first = alice.hold(&lamp, 1);
    wall.set_by_secs(-20);
    sees_clock(&shop, false, -20);
    is_five_seconds(hold_lasts(&shop, &lamp, began));
    assert_eq!(told(&mut shop), (1, 0));

    let second = alice.hold(&lamp, 1);
    shop.kill();
    wall.start(&mut shop);
    let began = Instant::now();
    let alice = alice.at(shop.url());
    assert_eq!(alice.state(&second), "held");
    let lasted = hold_lasts(&shop, &lamp, began);
    assert!(lasted < Duration::from_secs(8), "{lasted:?}");
    let third = alice.hold(&lamp, 1);
    let placed_at = [&first, &second, &third].map(|order| text(order, "placed_at"));
    assert!(placed_at.is_sorted(), "{placed_at:?}");
    assert_eq!(told(&mut shop), (1, 0));
}

fn a_start_behind_what_was_only_projected_goes_on_from_there(store: Store) {
    let (mut shop, wall) = shop(store);
    let lamp = shop.unscheduled_product(Sale::of(1));
    // The window is to be younger than anything else that SQL has a time of.
    pause(Duration::from_secs(2));
    shop.window_act(&lamp, "open").is(200);
    let opens_at = text(&shop.sale(&lamp)["window"], "opens_at");
    shop.catches_up();
    shop.stop();

    wall.set_by_secs(-60);
    wall.start(&mut shop);
    let order = shop.buyer().hold(&lamp, 1);
    let times = [opens_at, text(&order, "placed_at")];
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(told(&mut shop), (1, 0));
}

fn a_clock_that_was_wrong_at_the_start_and_is_put_right_refuses_no_webhook(store: Store) {
    let mut shop = Shop::closed(store, &[]);
    let wall = FakeTime::of(&shop);
    for wrong in [-HOUR, HOUR] {
        wall.set_by_secs(wrong);
        wall.start(&mut shop);
        let lamp = shop.unscheduled_product(of_five_seconds(2));
        shop.window_act(&lamp, "open").is(200);
        let (alice, webhook) = (shop.buyer(), Webhook::sandbox(&shop));
        let [first, second] = [alice.hold(&lamp, 1), alice.hold(&lamp, 1)];
        let words = [&first, &second].map(|order| captured(&alice, order));
        // Neither of its clocks is the provider's.
        webhook.send(&words[0]).is_refused(400, "signature_invalid");
        assert_eq!(told(&mut shop), (0, 0));

        wall.set_by_secs(0);
        sees_clock(&shop, false, -wrong);
        assert_eq!(webhook.send(&words[0]).is(200)["result"], "settled");
        assert_eq!(told(&mut shop), (1, 0));
        shop.kill();
        wall.start(&mut shop);
        let webhook = Webhook::sandbox(&shop);
        assert_eq!(webhook.send(&words[1]).is(200)["result"], "settled");
        // A restart takes over a clock that is ahead, and goes on from the last stamp before one that is behind.
        sees_clock(&shop, wrong < 0, if wrong < 0 { 0 } else { -wrong });
        shop.kill();
    }
    wall.start(&mut shop);
}

fn what_people_are_given_for_minutes_outlives_an_hour_that_is_none(store: Store) {
    let (shop, wall) = shop(store);
    let (visitor, post) = (shop.visitor(), Outbox::of(&shop));
    let lamp = shop.product(Sale::of(2));
    let alice = Person::new("alice");
    alice.asks_to_join(&visitor).is(202);
    let code = post.code(&alice.email, 1);

    wall.set_by_secs(HOUR);
    sees_clock(&shop, false, HOUR);
    alice.verifies(&visitor, &code).is(204);
    let alice = alice.signs_in(&visitor);
    // The letter about it would be over before it is written.
    alice.caller.hold(&lamp, 1);
    let letters = post.letters(&alice.person.email, 2);
    assert_eq!(letters[1].subject, "Your order is held for you");

    wall.set_by_secs(0);
    sees_clock(&shop, true, 0);
    alice.refreshes().is_let_in();
}
