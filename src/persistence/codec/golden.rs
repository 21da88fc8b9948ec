//! The bytes of one event of each kind, as released. If a test here fails, a journal that exists cannot be read any
//! more: change the encoding, not the test. New kinds are added at the end.

use super::{decode, encode};
use crate::domain::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn check(event: Event, golden: &str) {
    let mut bytes = Vec::new();
    encode(&event, &mut bytes);
    assert_eq!(
        hex(&bytes),
        hex(&unhex(golden)),
        "{event:?} is written in another way"
    );
    assert_eq!(
        decode(&unhex(golden)),
        Ok(event),
        "what was written is read in another way"
    );
}

fn at() -> Timestamp {
    Timestamp::from_micros(0x0102_0304)
}

fn attempt() -> AttemptId {
    AttemptId::new(0xaa)
}

fn money() -> Money {
    Money {
        amount: 9_900,
        currency: Currency::parse("KRW").expect("a currency"),
    }
}

fn details() -> Details {
    Details {
        name: "Lamp".into(),
        description: "램프".into(),
        image_url: Some("u".into()),
        price: money(),
    }
}

fn window() -> Window {
    Window {
        opens_at: at(),
        closes_at: Some(Timestamp::from_micros(5)),
        paused: true,
        per_person_limit: Some(2),
        hold_ttl: Span::from_secs(300),
    }
}

fn mark() -> AdminMark {
    AdminMark {
        admin: BuyerId::new(1),
        request: RequestId::new(2),
    }
}

fn changed(change: OrderChange) -> Event {
    Event::OrderChanged {
        order: OrderId::new(0x0b),
        at: at(),
        mark: None,
        change,
        postings: Vec::new(),
    }
}

fn product_changed(change: ProductChange) -> Event {
    Event::ProductChanged {
        product: ProductId::new(0x0c),
        at: at(),
        mark: mark(),
        change,
        postings: Vec::new(),
    }
}

/// What each kind of change of an order has behind the head that they share.
fn check_order_change(change: OrderChange, golden: &str) {
    let head = "0103 0b000000000000000000000000000000 0403020100000000";
    check(changed(change), &format!("{head} {golden} 00000000"));
}

fn check_product_change(change: ProductChange, golden: &str) {
    let head = "0101 0c000000000000000000000000000000 0403020100000000 \
                01000000000000000000000000000000 02000000000000000000000000000000";
    check(
        product_changed(change),
        &format!("{head} {golden} 00000000"),
    );
}

const ATTEMPT: &str = "aa000000000000000000000000000000";
const DETAILS: &str =
    "04000000 4c616d70 06000000 eb9ea8ed9484 01 01000000 75 ac26000000000000 4b5257";
const WINDOW: &str = "0403020100000000 01 0500000000000000 01 01 02000000 00a3e11100000000";

fn placed() -> OrderPlaced {
    OrderPlaced {
        order: OrderId::new(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        buyer: BuyerId::new(2),
        key: KeyHash::new(3),
        fingerprint: Fingerprint(4),
        address: Some(AddressId::new(5)),
        at: at(),
        deadline: Timestamp::from_micros(6),
        lines: vec![Line {
            product: ProductId::new(7),
            quantity: Quantity::new(2).expect("a quantity"),
            unit_price: money(),
        }],
        offers: Vec::new(),
    }
}

const PLACED: &str = "100f0e0d0c0b0a090807060504030201 02000000000000000000000000000000 \
                      03000000000000000000000000000000 0400000000000000 0403020100000000 0600000000000000 \
                      01 05000000000000000000000000000000 01000000 \
                      07000000000000000000000000000000 02000000 ac26000000000000 4b5257";

#[test]
fn a_placed_order() {
    check(Event::OrderPlaced(placed()), &format!("0102 {PLACED}"));
}

#[test]
fn an_order_placed_from_an_offer() {
    let taken = OfferTaken {
        product: ProductId::new(7),
        units: Quantity::new(1).expect("a quantity"),
    };
    let offers = vec![taken];
    check(
        Event::OrderPlaced(OrderPlaced { offers, ..placed() }),
        &format!("0105 {PLACED} 01000000 07000000000000000000000000000000 01000000"),
    );
}

#[test]
fn changes_of_a_waitlist() {
    let buyer = BuyerId::new(2);
    let quantity = Quantity::new(3).expect("a quantity");
    let deadline = Timestamp::from_micros(6);
    let offers = vec![(buyer, quantity)];
    let buyer_bytes = "02000000000000000000000000000000";
    let changes = [
        (
            WaitlistChange::Joined { buyer, quantity },
            format!("01 {buyer_bytes} 03000000"),
        ),
        (WaitlistChange::Left { buyer }, format!("02 {buyer_bytes}")),
        (
            WaitlistChange::Offered { offers, deadline },
            format!("03 0600000000000000 01000000 {buyer_bytes} 03000000"),
        ),
        (
            WaitlistChange::Lapsed { buyer },
            format!("04 {buyer_bytes}"),
        ),
        (WaitlistChange::Ended, "05".to_owned()),
    ];
    for (change, golden) in changes {
        let event = Event::WaitlistChanged {
            product: ProductId::new(0x0c),
            at: at(),
            change,
            postings: Vec::new(),
        };
        let head = "0106 0c000000000000000000000000000000 0403020100000000";
        check(event, &format!("{head} {golden} 00000000"));
    }
}

#[test]
fn postings() {
    let buckets = [
        Bucket::Outside,
        Bucket::Available,
        Bucket::Held,
        Bucket::Offered,
        Bucket::Sold,
        Bucket::Returning,
        Bucket::Withdrawn,
    ];
    let postings = buckets.map(|from| Posting {
        product: ProductId::new(9),
        from,
        to: Bucket::Withdrawn,
        units: 3,
    });
    let event = Event::OrderChanged {
        order: OrderId::new(0x0b),
        at: at(),
        mark: None,
        change: OrderChange::Expired,
        postings: postings.to_vec(),
    };
    let golden: String = (0..7)
        .map(|from| format!("09000000000000000000000000000000 0{from} 06 0300000000000000 "))
        .collect();
    check(
        event,
        &format!("0103 0b000000000000000000000000000000 0403020100000000 03 07000000 {golden}"),
    );
}

#[test]
fn changes_of_an_order_that_say_no_more() {
    check_order_change(OrderChange::Cancelled, "01");
    check_order_change(OrderChange::CancelRequested, "02");
    check_order_change(OrderChange::Expired, "03");
    check_order_change(OrderChange::Completed, "0f");
    check_order_change(OrderChange::Restocked, "12");
}

#[test]
fn changes_of_an_order_by_an_attempt() {
    let attempt = attempt();
    let changes = [
        (OrderChange::PaymentDeferred { attempt }, "05"),
        (OrderChange::PaymentDeclined { attempt }, "06"),
        (OrderChange::PaymentCaptured { attempt }, "07"),
        (OrderChange::PaymentReclaimed { attempt }, "08"),
        (OrderChange::PaymentUnfulfilled { attempt }, "09"),
        (OrderChange::PaymentReturned { attempt }, "0a"),
        (OrderChange::RefundStarted { attempt }, "0b"),
        (OrderChange::Refunded { attempt }, "0c"),
    ];
    for (change, tag) in changes {
        check_order_change(change, &format!("{tag} {ATTEMPT}"));
    }
}

#[test]
fn changes_of_an_order_that_say_more() {
    let started = OrderChange::PaymentStarted {
        attempt: attempt(),
        key: KeyHash::new(3),
        fingerprint: Fingerprint(4),
        method: "card".into(),
        deadline: Timestamp::from_micros(6),
    };
    check_order_change(
        started,
        &format!(
            "04 {ATTEMPT} 03000000000000000000000000000000 0400000000000000 \
             04000000 63617264 0600000000000000"
        ),
    );
    let shipped = OrderChange::Shipped {
        carrier: "H".into(),
        tracking_number: "12".into(),
    };
    check_order_change(shipped, "0d 01000000 48 02000000 3132");
    let return_until = Timestamp::from_micros(6);
    check_order_change(
        OrderChange::Delivered { return_until },
        "0e 0600000000000000",
    );
    let reason = "x".into();
    check_order_change(OrderChange::ReturnRequested { reason }, "10 01000000 78");
    let accepted = OrderChange::ReturnAccepted {
        attempt: attempt(),
        restock_at: Timestamp::from_micros(6),
    };
    check_order_change(accepted, &format!("11 {ATTEMPT} 0600000000000000"));
}

#[test]
fn changes_of_a_product() {
    for (restock_to, tag) in [(RestockTo::Available, "00"), (RestockTo::Withdrawn, "01")] {
        let details = details();
        let registered = ProductChange::Registered {
            details,
            restock_to,
        };
        check_product_change(registered, &format!("01 {DETAILS} {tag}"));
    }
    let edited = ProductChange::Edited {
        before: details(),
        after: details(),
    };
    check_product_change(edited, &format!("02 {DETAILS} {DETAILS}"));
    check_product_change(ProductChange::Deleted, "03");
    let set = ProductChange::StockSet {
        before: 1,
        after: 2,
        withdrawal_pending: 3,
    };
    check_product_change(set, "04 0100000000000000 0200000000000000 0300000000000000");
}

#[test]
fn changes_of_a_window() {
    let acts = [
        (WindowAct::Schedule, "00"),
        (WindowAct::Open, "01"),
        (WindowAct::Pause, "02"),
        (WindowAct::Resume, "03"),
        (WindowAct::Close, "04"),
    ];
    for (act, tag) in acts {
        let first = ProductChange::WindowSet {
            act,
            before: None,
            after: window(),
        };
        check_product_change(first, &format!("05 {tag} 00 {WINDOW}"));
    }
    let next = ProductChange::WindowSet {
        act: WindowAct::Open,
        before: Some(window()),
        after: window(),
    };
    check_product_change(next, &format!("05 01 01 {WINDOW} {WINDOW}"));
}

#[test]
fn changes_of_an_order_by_somebody_of_the_shop() {
    let managed = Event::OrderChanged {
        order: OrderId::new(0x0b),
        at: at(),
        mark: Some(mark()),
        change: OrderChange::Shipped {
            carrier: "H".into(),
            tracking_number: "12".into(),
        },
        postings: vec![Posting {
            product: ProductId::new(9),
            from: Bucket::Sold,
            to: Bucket::Returning,
            units: 3,
        }],
    };
    check(
        managed,
        "0104 0b000000000000000000000000000000 0403020100000000 \
         01000000000000000000000000000000 02000000000000000000000000000000 \
         0d 01000000 48 02000000 3132 \
         01000000 09000000000000000000000000000000 04 05 0300000000000000",
    );
}
