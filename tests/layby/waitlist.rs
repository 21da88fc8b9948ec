//! Waiting for units that come back.

use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    Answer, Caller, Sale, Shop, Store, at_once, eventually, line, on_each_database, text,
};

on_each_database! {
    a_cancelled_unit_is_offered_to_the_head_before_anybody_else_can_have_it,
    an_offer_is_taken_up_by_placing_an_order,
    an_expired_hold_goes_to_the_waitlist_by_itself,
    an_offer_that_lapses_moves_its_person_to_the_end_once_and_then_off,
    positions_are_exact_and_move_up_when_somebody_leaves,
    joining_twice_is_one_place,
    there_is_nothing_to_wait_for_while_units_are_there,
    a_place_survives_a_crash_with_its_offer,
    a_hundred_people_join_at_once_and_each_has_a_place_of_their_own,
    a_stock_that_is_raised_goes_to_those_who_wait_first,
    a_deleted_product_has_no_waitlist_any_more,
    sales_that_have_closed_leave_no_places_behind,
    the_list_of_waitlists_comes_in_pages,
    nobody_waits_on_more_than_fifty_lists,
    bad_quantities_are_named,
}

#[track_caller]
fn join(who: &Caller, product: &str, quantity: u32) -> Answer {
    let path = format!("/v1/products/{product}/waitlist");
    who.post_with(&path, &json!({"quantity": quantity}))
}

#[track_caller]
fn leave(who: &Caller, product: &str) -> Answer {
    who.delete(&format!("/v1/products/{product}/waitlist"))
}

/// The only place that somebody has.
#[track_caller]
fn place(who: &Caller) -> Value {
    let list = who.get("/v1/me/waitlist").is(200);
    let places = list["items"].as_array().expect("items");
    assert_eq!(places.len(), 1, "{list}");
    places[0].clone()
}

fn is_on_a_list(who: &Caller) -> bool {
    let list = who.get("/v1/me/waitlist").is(200);
    list["items"] != json!([])
}

/// A product whose only unit somebody holds.
fn held_by_somebody(shop: &Shop, hold_seconds: u32) -> (String, Caller, Value) {
    let lamp = shop.product(Sale {
        hold_seconds,
        ..Sale::of(1)
    });
    let holder = shop.buyer();
    let order = holder.hold(&lamp, 1);
    (lamp, holder, order)
}

fn a_cancelled_unit_is_offered_to_the_head_before_anybody_else_can_have_it(store: Store) {
    let shop = Shop::open(store);
    let (lamp, holder, order) = held_by_somebody(&shop, 300);
    let (first, second, passer_by) = (shop.buyer(), shop.buyer(), shop.buyer());
    assert_eq!(join(&first, &lamp, 1).is(201)["position"], 1);
    assert_eq!(join(&second, &lamp, 1).is(201)["position"], 2);

    holder.cancel(&order).is(200);
    let refused = passer_by.place(&[line(&lamp, 1)]);
    refused.is_refused(409, "all_held");
    let offered = place(&first);
    assert_eq!(
        (&offered["state"], &offered["position"]),
        (&json!("offered"), &Value::Null)
    );
    assert_eq!(offered["offer"]["quantity"], 1);
    assert_eq!(place(&second)["position"], 1);

    let sale = shop.sale(&lamp);
    assert_eq!(
        (&sale["offered"], &sale["offers"], &sale["waiting"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let seen = shop.visitor().get(&format!("/v1/products/{lamp}")).is(200);
    assert_eq!(
        (&seen["availability"], &seen["available"]),
        (&json!("all_held"), &json!(0))
    );
    assert_eq!(seen["waiting"], 2);
}

fn an_offer_is_taken_up_by_placing_an_order(store: Store) {
    let shop = Shop::open(store);
    let (lamp, holder, order) = held_by_somebody(&shop, 300);
    let waiter = shop.buyer();
    join(&waiter, &lamp, 1).is(201);
    holder.cancel(&order).is(200);
    shop.window_act(&lamp, "close").is(200);

    let taken = waiter.hold(&lamp, 1);
    assert!(!is_on_a_list(&waiter));
    waiter.pay(&taken, "card_ok").is(201);
    assert_eq!(shop.units(&lamp), (0, 0, 1));
}

fn an_expired_hold_goes_to_the_waitlist_by_itself(store: Store) {
    let shop = Shop::open(store);
    let (lamp, _, _) = held_by_somebody(&shop, 1);
    let waiter = shop.buyer();
    join(&waiter, &lamp, 1).is(201);
    eventually("the unit is offered", || {
        (shop.sale(&lamp)["offered"] == 1).then_some(())
    });
    assert_eq!(place(&waiter)["state"], "offered");
}

fn an_offer_that_lapses_moves_its_person_to_the_end_once_and_then_off(store: Store) {
    let shop = Shop::open_with(store, &["--offer-seconds", "1"]);
    let (lamp, holder, order) = held_by_somebody(&shop, 300);
    let waiter = shop.buyer();
    join(&waiter, &lamp, 1).is(201);
    holder.cancel(&order).is(200);
    eventually("the first offer lapses", || {
        (place(&waiter)["lapsed"] == true).then_some(())
    });
    eventually("the second offer lapses", || {
        (!is_on_a_list(&waiter)).then_some(())
    });
    assert_eq!(shop.units(&lamp), (1, 0, 0));
}

fn positions_are_exact_and_move_up_when_somebody_leaves(store: Store) {
    let shop = Shop::open(store);
    let (lamp, _, _) = held_by_somebody(&shop, 300);
    let people = shop.buyers(5);
    for (person, position) in people.iter().zip(1..) {
        assert_eq!(join(person, &lamp, 1).is(201)["position"], position);
    }
    leave(&people[1], &lamp).is(204);
    leave(&people[1], &lamp).is(204);
    let positions: Vec<u64> = [0, 2, 3, 4]
        .map(|it| place(&people[it])["position"].as_u64().expect("a position"))
        .into();
    assert_eq!(positions, [1, 2, 3, 4]);
    assert_eq!(join(&people[1], &lamp, 1).is(201)["position"], 5);
}

fn joining_twice_is_one_place(store: Store) {
    let shop = Shop::open(store);
    let (lamp, _, _) = held_by_somebody(&shop, 300);
    let waiter = shop.buyer();
    let first = join(&waiter, &lamp, 2).is(201);
    let again = join(&waiter, &lamp, 2).is(200);
    assert_eq!(first, again);
    let refused = join(&waiter, &lamp, 1).is_refused(409, "already_waiting");
    assert_eq!(refused["quantity"], 2);
    // Without a body it is one unit.
    let other = shop.buyer();
    let path = format!("/v1/products/{lamp}/waitlist");
    assert_eq!(other.post(&path).is(201)["quantity"], 1);
}

fn there_is_nothing_to_wait_for_while_units_are_there(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(2));
    let refused = join(&shop.buyer(), &lamp, 1).is_refused(409, "still_available");
    assert_eq!(refused["available"], 2);
    let scheduled = shop.product(Sale {
        opens_in_ms: 60_000,
        ..Sale::of(0)
    });
    join(&shop.buyer(), &scheduled, 1).is_refused(409, "not_open");
    let limited = shop.product(Sale {
        limit: Some(1),
        ..Sale::of(1)
    });
    let holder = shop.buyer();
    holder.hold(&limited, 1);
    join(&holder, &limited, 1).is_refused(409, "limit_reached");
}

fn a_place_survives_a_crash_with_its_offer(store: Store) {
    let mut shop = Shop::open(store);
    let (lamp, holder, order) = held_by_somebody(&shop, 300);
    let (first, second) = (shop.buyer(), shop.buyer());
    join(&first, &lamp, 1).is(201);
    join(&second, &lamp, 3).is(201);
    holder.cancel(&order).is(200);
    let before = [place(&first), place(&second)];

    shop.kill_and_start();
    let [first, second] = [first, second].map(|it| it.at(shop.url()));
    assert_eq!([place(&first), place(&second)], before);
    shop.catches_up();
    shop.stop();
    shop.lose_tables();
    shop.start();
    let [first, second] = [first, second].map(|it| it.at(shop.url()));
    assert_eq!([place(&first), place(&second)], before);
    first.hold(&lamp, 1);
}

fn a_hundred_people_join_at_once_and_each_has_a_place_of_their_own(store: Store) {
    let shop = Shop::open(store);
    let (lamp, holder, order) = held_by_somebody(&shop, 300);
    let people = shop.buyers(100);
    let answers = at_once(&people, |person| join(person, &lamp, 1));
    let mut positions: Vec<u64> = answers
        .iter()
        .map(|answer| answer.is(201)["position"].as_u64().expect("a position"))
        .collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=100).collect::<Vec<u64>>());
    holder.cancel(&order).is(200);
    let offered = people
        .iter()
        .filter(|person| place(person)["state"] == "offered");
    assert_eq!(offered.count(), 1);
}

fn a_stock_that_is_raised_goes_to_those_who_wait_first(store: Store) {
    let shop = Shop::open(store);
    let (lamp, _, _) = held_by_somebody(&shop, 300);
    let people = shop.buyers(3);
    for person in &people {
        join(person, &lamp, 1).is(201);
    }
    shop.set_stock(&lamp, 3).is(200);
    let states = people.iter().map(|person| text(&place(person), "state"));
    assert_eq!(
        states.collect::<Vec<_>>(),
        ["offered", "offered", "waiting"]
    );
    shop.buyer()
        .place(&[line(&lamp, 1)])
        .is_refused(409, "all_held");
}

fn a_deleted_product_has_no_waitlist_any_more(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(0));
    let waiter = shop.buyer();
    join(&waiter, &lamp, 1).is(201);
    let path = format!("/v1/admin/products/{lamp}");
    shop.admin().delete(&path).is(204);
    assert!(!is_on_a_list(&waiter));
    join(&waiter, &lamp, 1).is_refused(404, "not_found");
    leave(&waiter, &lamp).is_refused(404, "not_found");
}

fn sales_that_have_closed_leave_no_places_behind(store: Store) {
    const WAITLISTS_MAX: usize = 50;
    let shop = Shop::open(store);
    let waiter = shop.buyer();
    for _ in 0..WAITLISTS_MAX {
        let (lamp, _, _) = held_by_somebody(&shop, 300);
        join(&waiter, &lamp, 1).is(201);
        let close = format!("/v1/admin/products/{lamp}/window/close");
        shop.admin().post_with(&close, &json!({})).is(200);
    }
    assert!(!is_on_a_list(&waiter));
    let (lamp, _, _) = held_by_somebody(&shop, 300);
    assert_eq!(join(&waiter, &lamp, 1).is(201)["position"], 1);
}

fn the_list_of_waitlists_comes_in_pages(store: Store) {
    let shop = Shop::open(store);
    let waiter = shop.buyer();
    let products: Vec<String> = (0..3).map(|_| shop.product(Sale::of(0))).collect();
    for product in &products {
        join(&waiter, product, 1).is(201);
    }
    let first = waiter.get("/v1/me/waitlist?limit=2").is(200);
    let next = text(&first, "next");
    let second = waiter
        .get(&format!("/v1/me/waitlist?limit=2&after={next}"))
        .is(200);
    assert_eq!(second["next"], Value::Null);
    let ids = [&first, &second].map(|page| {
        let items = page["items"].as_array().expect("items");
        items
            .iter()
            .map(|it| text(it, "product_id"))
            .collect::<Vec<_>>()
    });
    assert_eq!(ids.concat(), products);
    assert_eq!(
        shop.buyer().get("/v1/me/waitlist").is(200)["items"],
        json!([])
    );
}

fn nobody_waits_on_more_than_fifty_lists(store: Store) {
    let shop = Shop::open(store);
    let waiter = shop.buyer();
    let products: Vec<String> = (0..51).map(|_| shop.product(Sale::of(0))).collect();
    for product in &products[..50] {
        join(&waiter, product, 1).is(201);
    }
    let refused = join(&waiter, &products[50], 1).is_refused(409, "too_many_waitlists");
    assert_eq!(refused["waitlists_max"], 50);
    leave(&waiter, &products[0]).is(204);
    join(&waiter, &products[50], 1).is(201);
}

fn bad_quantities_are_named(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(0));
    let waiter = shop.buyer();
    for quantity in [json!(0), json!(10_001), json!(-1), json!("1"), json!(1.5)] {
        let path = format!("/v1/products/{lamp}/waitlist");
        let body = json!({"quantity": quantity});
        let refused = waiter
            .post_with(&path, &body)
            .is_refused(422, "invalid_values");
        assert_eq!(refused["errors"][0]["field"], "quantity", "{quantity}");
    }
    let path = "/v1/products/nonsense/waitlist";
    waiter.post(path).is_refused(404, "not_found");
    let path = format!("/v1/products/{lamp}/waitlist");
    shop.visitor().post(&path).is_refused(401, "unauthorized");
    waiter
        .send(&Method::PUT, &path, None, None)
        .is_refused(405, "method_not_allowed");
}
