//! The demo clock: orders that are shipped and delivered by themselves, a demo day after the other.

use serde_json::{Value, json};

use crate::support::{Sale, Shop, Store, eventually, on_each_database, pause, text};

on_each_database! {
    a_paid_order_is_shipped_after_a_day_and_delivered_after_two,
    what_people_did_first_stands,
    without_a_demo_day_nothing_moves_by_itself,
}

const ONE_SECOND: [&str; 2] = ["--demo-day-seconds", "1"];

fn seconds_between(earlier: &str, later: &str) -> f64 {
    let time = |text: &str| -> jiff::Timestamp { text.parse().expect("a time") };
    time(later).duration_since(time(earlier)).as_secs_f64()
}

fn a_paid_order_is_shipped_after_a_day_and_delivered_after_two(store: Store) {
    let mut shop = Shop::open_with(store, &ONE_SECOND);
    let lamp = shop.product(Sale::of(3));
    let alice = shop.buyer();
    let held = alice.hold(&lamp, 1);
    let order = shop.bought(&alice, &lamp);
    let paid_at = text(&alice.order(&order), "changed_at");
    let delivered = eventually("it is delivered", || {
        Some(alice.order(&order)).filter(|it| it["state"] == "delivered")
    });
    let shipment = &delivered["shipment"];
    assert_eq!(shipment["carrier"], "Demo Post");
    assert!(
        text(shipment, "tracking_number").starts_with("DEMO-"),
        "{shipment}"
    );
    let [shipped_at, delivered_at] = ["shipped_at", "delivered_at"].map(|it| text(shipment, it));
    assert!(seconds_between(&paid_at, &shipped_at) >= 1.0, "{delivered}");
    assert!(
        seconds_between(&shipped_at, &delivered_at) >= 1.0,
        "{delivered}"
    );
    assert_eq!(alice.state(&held), "held");
    // Nobody did it.
    let acts = crate::accounts::audit::acts(&shop);
    assert!(acts.iter().all(|it| it["order"] == Value::Null), "{acts:?}");

    // It goes on after a restart.
    let next = shop.bought(&alice, &lamp);
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    eventually("it is delivered", || {
        (alice.state(&next) == "delivered").then_some(())
    });
}

fn what_people_did_first_stands(store: Store) {
    let shop = Shop::open_with(store, &ONE_SECOND);
    let lamp = shop.product(Sale::of(3));
    let (alice, admin) = (shop.buyer(), shop.admin());
    let [shipped, cancelled] = [shop.bought(&alice, &lamp), shop.bought(&alice, &lamp)];
    admin.ship(&shipped, "Korea Post", "RR1").is(200);
    alice.cancel(&cancelled);
    let delivered = eventually("it is delivered", || {
        Some(alice.order(&shipped)).filter(|it| it["state"] == "delivered")
    });
    assert_eq!(delivered["shipment"]["carrier"], "Korea Post");
    assert_eq!(alice.state(&cancelled), "cancelled");
    assert_eq!(alice.order(&cancelled)["shipment"], json!(null));
}

fn without_a_demo_day_nothing_moves_by_itself(store: Store) {
    let shop = Shop::open_with(store, &["--demo-day-seconds", "0"]);
    let lamp = shop.product(Sale::of(1));
    let alice = shop.buyer();
    let order = shop.bought(&alice, &lamp);
    shop.catches_up();
    // Longer than any look of a demo clock takes.
    pause(std::time::Duration::from_millis(1_500));
    assert_eq!(alice.state(&order), "paid");
}
