//! Live streams: what is shown when, to whom, how many there may be, and how they end.

use std::time::{Duration, Instant};

use layby::accounts::token::{Role, TokenIssuer};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    Caller, Heard, Sale, Shop, Store, eventually, exchange, line, on_each_database, pause, text,
};

/// Comments come this often, and with them it is asked whether a stream may go on.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// In which time a change reaches every stream.
const SOON: Duration = Duration::from_secs(1);
const OWN_EVENTS: &str = "/v1/me/events";

fn live(product: &str) -> String {
    format!("/v1/products/{product}/live")
}

fn sale_live(product: &str) -> String {
    format!("/v1/admin/products/{product}/sale/live")
}

fn available(data: &Value) -> u64 {
    data["available"].as_u64().expect("a number")
}

// -- a product ---------------------------------------------------------------------------------------------------

#[test]
fn a_product_is_shown_at_once_and_whenever_it_changes() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(2));
    let mut stream = shop.visitor().listen(&live(&lamp));
    let first = stream.next("product");
    let now = shop.visitor().get(&format!("/v1/products/{lamp}")).is(200);
    for (field, value) in first.as_object().expect("an object") {
        if field != "server_time" {
            assert_eq!(*value, now[field], "{field}");
        }
    }
    assert_eq!(first["window"]["state"], "open");

    let began = Instant::now();
    let order = shop.buyer().hold(&lamp, 1);
    let held = stream.next("product");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!((available(&held), &held["holds"]), (1, &json!(1)));
    assert_eq!(held["earliest_deadline"], order["pay_by"]);
    shop.buyer().hold(&lamp, 1);
    let held = stream.until("product", |it| available(it) == 0);
    assert_eq!(held["availability"], "all_held");

    for (act, state) in [("pause", "paused"), ("resume", "open"), ("close", "closed")] {
        shop.window_act(&lamp, act).is(200);
        stream.until("product", |it| it["window"]["state"] == state);
    }
    shop.set_stock(&lamp, 7).is(200);
    stream.until("product", |it| available(it) == 5);
    shop.edit(&lamp, &json!({"price": {"amount": 5, "currency": "KRW"}}))
        .is(200);
    stream.until("product", |it| it["price"]["amount"] == 5);
}

#[test]
fn a_hold_that_ends_by_itself_is_seen() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale {
        hold_seconds: 1,
        ..Sale::of(1)
    });
    let mut stream = shop.visitor().listen(&live(&lamp));
    assert_eq!(available(&stream.next("product")), 1);
    shop.buyer().hold(&lamp, 1);
    stream.until("product", |it| available(it) == 0);
    stream.until("product", |it| available(it) == 1);
}

#[test]
fn a_window_opens_and_closes_on_the_stream_by_time_alone() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale {
        opens_in_ms: 1_000,
        closes_in_ms: Some(2_500),
        ..Sale::of(3)
    });
    let mut stream = shop.visitor().listen(&live(&lamp));
    let states = ["scheduled", "open", "closed"].map(|state| {
        let shown = stream.next("product");
        assert_eq!(shown["window"]["state"], state);
        shown
    });
    let time =
        |it: &Value, field: &str| -> jiff::Timestamp { text(it, field).parse().expect("a time") };
    for (shown, field) in [(&states[1], "opens_at"), (&states[2], "closes_at")] {
        let late = time(shown, "server_time").duration_since(time(&shown["window"], field));
        let late_ms = late.as_millis();
        assert!((0..1_000).contains(&late_ms), "{field}: {late_ms} ms");
    }
}

#[test]
fn a_product_that_is_deleted_ends_its_streams() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(1));
    let visitor = shop.visitor();
    let mut stream = visitor.listen(&live(&lamp));
    stream.next("product");
    let path = format!("/v1/admin/products/{lamp}");
    assert_eq!(shop.admin().delete(&path).status, 204);
    stream.ends_within(SOON);
    let refused = visitor.try_listen(&live(&lamp)).err();
    refused.expect("it is gone").is_refused(404, "not_found");
}

#[test]
fn a_sale_is_shown_to_the_shop() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(5));
    let mut stream = shop.admin().listen(&sale_live(&lamp));
    let first = stream.next("sale");
    assert_eq!((&first["total"], available(&first)), (&json!(5), 5));
    let alice = shop.buyer();
    let order = alice.hold(&lamp, 2);
    stream.until("sale", |it| it["held"] == 2 && it["available"] == 3);
    alice.pay(&order, "card_ok").is(201);
    stream.until("sale", |it| it["held"] == 0 && it["sold"] == 2);
}

#[test]
fn a_reader_that_does_not_read_gets_few_events_and_the_newest_last() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(1));
    let mut idle = shop.visitor().listen(&live(&lamp));
    let began = Instant::now();
    let mut stock = 1;
    while began.elapsed() < Duration::from_secs(2) {
        stock += 1;
        shop.set_stock(&lamp, stock).is(200);
    }
    let heard = idle.all_for(SOON);
    assert!(stock > 50, "only {stock} changes");
    // One every 500 ms, and the first.
    assert!(heard.len() <= 8, "{} events", heard.len());
    let last = heard.last().and_then(Heard::data).expect("an event");
    assert_eq!(available(last), stock);
}

// -- a buyer -----------------------------------------------------------------------------------------------------

on_each_database! {
    a_buyer_sees_what_happens_to_their_orders_and_to_no_others,
    a_stream_begins_with_the_orders_that_are_alive,
    a_hold_that_ends_is_told_to_its_buyer,
    an_offer_reaches_its_buyers_page_live_and_nobody_elses,
}

fn a_buyer_sees_what_happens_to_their_orders_and_to_no_others(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(10));
    let (alice, bob) = (shop.buyer(), shop.buyer());
    let mut stream = alice.listen(OWN_EVENTS);
    let mut second_window = alice.listen(OWN_EVENTS);
    let placed = alice.hold(&lamp, 2);
    bob.hold(&lamp, 1);
    for window in [&mut stream, &mut second_window] {
        let held = window.next("order");
        for field in ["id", "pay_by", "lines", "total", "sequence", "placed_at"] {
            assert_eq!(held[field], placed[field], "{field}");
        }
        assert_eq!(
            (&held["state"], &held["address"]),
            (&json!("held"), &Value::Null)
        );
    }
    alice.pay(&placed, "card_declined").is(402);
    stream.until("order", |it| it["payments"][0]["state"] == "declined");
    alice.pay(&placed, "card_ok").is(201);
    stream.until("order", |it| it["state"] == "paid");
    alice.cancel(&placed);
    let last = stream.until("order", |it| it["state"] == "cancelled");
    assert_eq!(last["payments"][1]["refund"], "done");
    assert_eq!(text(&last, "id"), text(&placed, "id"));
}

fn a_stream_begins_with_the_orders_that_are_alive(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(100));
    let alice = shop.buyer();
    let first = alice.hold(&lamp, 1);
    let cancelled = alice.hold(&lamp, 1);
    alice.cancel(&cancelled).is(200);
    let last = alice.hold(&lamp, 1);
    shop.kill_and_start();
    let alice = alice.at(shop.url());
    let mut stream = alice.listen(OWN_EVENTS);
    for order in [&first, &last] {
        let shown = stream.next("order");
        assert_eq!(
            (&shown["id"], &shown["state"]),
            (&order["id"], &json!("held"))
        );
    }
    let next = alice.hold(&lamp, 1);
    assert_eq!(stream.next("order")["id"], next["id"]);
}

fn a_hold_that_ends_is_told_to_its_buyer(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale {
        hold_seconds: 1,
        ..Sale::of(1)
    });
    let alice = shop.buyer();
    let mut stream = alice.listen(OWN_EVENTS);
    alice.hold(&lamp, 1);
    assert_eq!(stream.next("order")["state"], "held");
    assert_eq!(stream.next("order")["state"], "expired");
}

#[test]
fn more_than_a_stream_tells_becomes_one_word() {
    let shop = Shop::open_with(Store::Sqlite, &["--open-orders-max", "0"]);
    let lamp = shop.product(Sale::of(1_000));
    let alice = shop.buyer();
    for _ in 0..65 {
        alice.hold(&lamp, 1);
    }
    let mut stream = alice.listen(OWN_EVENTS);
    assert_eq!(stream.next("resync"), json!({}));
    let next = alice.place(&[line(&lamp, 1)]).is(201);
    assert_eq!(stream.next("order")["id"], next["id"]);
}

// -- bounds ------------------------------------------------------------------------------------------------------

#[test]
fn a_server_has_so_many_streams_and_a_peer_that_goes_makes_room() {
    let shop = Shop::open_with(Store::Sqlite, &["--live-streams-max", "3"]);
    let lamp = shop.product(Sale::of(1));
    let visitor = shop.visitor();
    let mut streams: Vec<_> = (0..3).map(|_| visitor.listen(&live(&lamp))).collect();
    let refused = || visitor.try_listen(&live(&lamp)).err();
    let full = refused().expect("full").is_refused(503, "too_many_streams");
    assert_eq!(full["streams_max"], 3);
    shop.buyer()
        .try_listen(OWN_EVENTS)
        .err()
        .expect("full for everybody")
        .is_refused(503, "too_many_streams");
    // Other requests are not concerned.
    shop.buyer().hold(&lamp, 1);

    streams.pop();
    let began = Instant::now();
    let room = eventually("there is room", || visitor.try_listen(&live(&lamp)).ok());
    assert!(began.elapsed() < KEEP_ALIVE, "{:?}", began.elapsed());
    assert!(refused().is_some(), "full again");
    drop(room);
}

#[test]
fn an_account_has_ten_streams() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(1));
    let (alice, admin) = (shop.buyer(), shop.admin());
    for (who, path) in [(&alice, OWN_EVENTS), (&admin, &sale_live(&lamp))] {
        let streams: Vec<_> = (0..10).map(|_| who.listen(path)).collect();
        who.try_listen(path)
            .err()
            .expect("one too many")
            .is_refused(429, "too_many_own_streams");
        shop.buyer().listen(OWN_EVENTS);
        drop(streams);
        let began = Instant::now();
        eventually("there is room", || who.try_listen(path).ok());
        assert!(began.elapsed() < KEEP_ALIVE, "{:?}", began.elapsed());
    }
}

// -- how they go on, and how they end ----------------------------------------------------------------------------

/// Both take the time from one comment to the next, so they share it.
#[test]
fn every_ten_seconds_there_is_a_comment_and_whoever_has_lost_access_is_cut_off() {
    let shop = Shop::open_with(Store::Sqlite, &["--trusted-proxies", "127.0.0.1"]);
    let lamp = shop.product(Sale::of(1));
    let suspended = shop.member("suspended");
    let demoted = shop.promote(&shop.member("demoted"), "seller");
    let expires = expiring(&shop, &shop.buyer(), 3);

    let mut welcome = [
        shop.visitor().listen(&live(&lamp)),
        shop.admin().listen(&sale_live(&lamp)),
        shop.buyer().listen(OWN_EVENTS),
    ];
    let mut unwelcome = [
        suspended.caller.listen(OWN_EVENTS),
        demoted.caller.listen(&sale_live(&lamp)),
        expires.listen(OWN_EVENTS),
    ];
    let began = Instant::now();
    shop.user_act(&suspended, "suspend");
    shop.set_role(&demoted, "buyer").is(200);
    let took = std::thread::scope(|scope| {
        let waiting: Vec<_> = welcome
            .iter_mut()
            .map(|stream| scope.spawn(|| while stream.hears() != Some(Heard::Comment) {}))
            .collect();
        for stream in &mut unwelcome {
            stream.ends_within(KEEP_ALIVE + SOON);
        }
        waiting
            .into_iter()
            .for_each(|it| it.join().expect("a comment"));
        began.elapsed()
    });
    assert!(
        (KEEP_ALIVE - SOON..KEEP_ALIVE + SOON).contains(&took),
        "{took:?}"
    );
    // They go on.
    shop.set_stock(&lamp, 2).is(200);
    welcome[0].until("product", |it| available(it) == 2);
}

#[test]
fn streams_end_first_when_the_server_stops() {
    let mut shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(1));
    let visitor = shop.visitor();
    let mut streams: Vec<_> = (0..300).map(|_| visitor.listen(&live(&lamp))).collect();
    streams.push(shop.buyer().listen(OWN_EVENTS));
    let began = Instant::now();
    shop.stop();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    for stream in &mut streams {
        stream.ends_within(SOON);
    }
}

#[test]
fn a_stream_takes_its_place_among_the_routes() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(1));
    let (visitor, buyer, admin) = (shop.visitor(), shop.buyer(), shop.admin());
    let doors = [
        (&visitor, live(&lamp)),
        (&buyer, OWN_EVENTS.to_owned()),
        (&admin, sale_live(&lamp)),
    ];
    for (who, path) in &doors {
        let head = who.send(&Method::HEAD, path, None, None);
        assert_eq!(head.status, 200, "{head}");
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let refused = who.post(path);
        refused.is_refused(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
    let unknown = uuid::Uuid::now_v7().to_string();
    for (who, path) in [
        (&visitor, live(&unknown)),
        (&visitor, live("nonsense")),
        (&admin, sale_live(&unknown)),
    ] {
        let refused = who.try_listen(&path).err().expect("there is none");
        refused.is_refused(404, "not_found");
    }
    for (who, path, status, code) in [
        (&visitor, OWN_EVENTS, 401, "unauthorized"),
        (&visitor, &sale_live(&lamp), 401, "unauthorized"),
        (&buyer, &sale_live(&lamp), 403, "forbidden"),
    ] {
        let refused = who.try_listen(path).err().expect("not let in");
        refused.is_refused(status, code);
    }
}

#[test]
fn what_a_listener_says_is_not_listened_to() {
    let shop = Shop::open(Store::Sqlite);
    let lamp = shop.product(Sale::of(1));
    let path = live(&lamp);
    let request = format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n");
    let answer = exchange(shop.url(), request.as_bytes()).answer();
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(
        answer.header("transfer-encoding"),
        None,
        "events as they are"
    );
    let mut stream = shop.visitor().listen(&path);
    stream.says(&[b'x'; 2_000]);
    stream.next("product");
    pause(SOON);
    shop.set_stock(&lamp, 2).is(200);
    assert_eq!(available(&stream.next("product")), 2);
}

/// The same buyer with a token that is good for so many seconds.
fn expiring(shop: &Shop, buyer: &Caller, seconds: u64) -> Caller {
    let issuer = TokenIssuer::from_data_dir(&shop.data_dir()).expect("the token key");
    let token = issuer.issue_plain(buyer.id, Role::Buyer, seconds);
    buyer.with_token(token.expect("a token"))
}

fn an_offer_reaches_its_buyers_page_live_and_nobody_elses(store: Store) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1));
    let (holder, waiter, next) = (shop.buyer(), shop.buyer(), shop.buyer());
    let order = holder.hold(&lamp, 1);
    let path = format!("/v1/products/{lamp}/waitlist");
    waiter.post(&path).is(201);
    let mut own = waiter.listen(OWN_EVENTS);
    assert_eq!(own.next("waitlist")["position"], 1);
    let mut other = next.listen(OWN_EVENTS);
    next.post(&path).is(201);
    assert_eq!(other.next("waitlist")["position"], 2);

    let began = Instant::now();
    holder.cancel(&order).is(200);
    let offer = own.next("offer");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(text(&offer, "product_id"), lamp);
    assert_eq!(offer["offer"]["quantity"], 1);

    let taken = waiter.hold(&lamp, 1);
    let told = [own.hears(), own.hears()].map(|it| it.expect("an event"));
    let told = told.map(|it| it.data().cloned().expect("data"));
    assert!(told.iter().any(|it| it["id"] == taken["id"]), "{told:?}");
    let is_gone = |it: &Value| it["product_id"] == json!(lamp) && it["state"].is_null();
    assert!(told.iter().any(is_gone), "{told:?}");
    assert!(other.all_for(SOON).iter().all(|it| it.data().is_none()));
}
