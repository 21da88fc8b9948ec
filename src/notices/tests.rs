//! Which letters come of which events.

use super::fold::Tales;
use super::letters::{Draft, Facts};
use crate::accounts::LETTER_LIFE;
use crate::calendar::ShopCalendar;
use crate::domain::*;
use crate::mail::{Letter, OrderSummary, RefundReason};
use crate::persistence::database::Account;
use crate::persistence::journal::Position;

const KIM: BuyerId = BuyerId::new(7);
const LAMP: ProductId = ProductId::new(70);
const ORDER: OrderId = OrderId::new(700);
const ATTEMPT: AttemptId = AttemptId::new(7_000);
/// Of the first record; each further one is a second later.
const START: Timestamp = Timestamp::from_micros(1_795_534_200_000_000);
const PAY_BY: Timestamp = START.plus(Span::from_secs(300));

/// What happens, by its word. Words with a dash let go of units.
fn change(word: &str) -> OrderChange {
    let attempt = ATTEMPT;
    match word {
        "starts to pay" => OrderChange::PaymentStarted {
            attempt,
            key: KeyHash::new(1),
            fingerprint: Fingerprint(1),
            method: "card".into(),
            deadline: PAY_BY,
        },
        "is captured" => OrderChange::PaymentCaptured { attempt },
        "is reclaimed" => OrderChange::PaymentReclaimed { attempt },
        "is declined" | "is declined - after a cancel" => OrderChange::PaymentDeclined { attempt },
        "is deferred" => OrderChange::PaymentDeferred { attempt },
        "expires" => OrderChange::Expired,
        "asks to cancel" => OrderChange::CancelRequested,
        "is cancelled" => OrderChange::Cancelled,
        "is paid too late" => OrderChange::PaymentUnfulfilled { attempt },
        "is paid again" | "is paid - after a cancel" => OrderChange::PaymentReturned { attempt },
        "begins a refund" => OrderChange::RefundStarted { attempt },
        "is refunded" => OrderChange::Refunded { attempt },
        "is shipped" => OrderChange::Shipped {
            carrier: "Hanjin".into(),
            tracking_number: "64-12".into(),
        },
        "is delivered" => OrderChange::Delivered {
            return_until: PAY_BY,
        },
        "is completed" => OrderChange::Completed,
        "is sent back" => OrderChange::ReturnRequested {
            reason: "too small".into(),
        },
        "is taken back" => OrderChange::ReturnAccepted {
            attempt,
            restock_at: PAY_BY,
        },
        "is restocked" => OrderChange::Restocked,
        other => panic!("nobody has heard of `{other}`"),
    }
}

fn event(word: &str, at: Timestamp) -> Event {
    if word == "is placed" {
        return Event::OrderPlaced(placed(at));
    }
    let freed = Posting {
        product: LAMP,
        from: Bucket::Held,
        to: Bucket::Available,
        units: 2,
    };
    let lets_go = word.contains(" - ");
    Event::OrderChanged {
        order: ORDER,
        at,
        mark: None,
        change: change(word),
        postings: if lets_go { vec![freed] } else { Vec::new() },
    }
}

fn placed(at: Timestamp) -> OrderPlaced {
    OrderPlaced {
        order: ORDER,
        buyer: KIM,
        key: KeyHash::new(1),
        fingerprint: Fingerprint(1),
        address: None,
        at,
        deadline: PAY_BY,
        lines: vec![line(2, 39_000)],
        offers: Vec::new(),
    }
}

fn line(units: u32, price: i64) -> Line {
    Line {
        product: LAMP,
        quantity: Quantity::new(units).expect("a quantity"),
        unit_price: Money {
            amount: price,
            currency: Currency::parse("KRW").expect("a currency"),
        },
    }
}

fn facts(state: OrderState) -> Facts {
    let mut order = Order::new(1, &placed(START));
    order.state = state;
    Facts {
        orders: [(ORDER, order)].into_iter().collect(),
        accounts: [(KIM, Account::nameless(KIM, "buyer", START))]
            .into_iter()
            .collect(),
        names: [(LAMP, "Desk lamp".into())].into_iter().collect(),
    }
}

fn batch(words: &[&str]) -> Vec<(Position, Event)> {
    let records = (1..).zip(words);
    records
        .map(|(number, word): (u32, &&str)| {
            let at = START.plus(Span::from_secs(number - 1));
            (Position::new(number.into()), event(word, at))
        })
        .collect()
}

fn letters(words: &[&str], state: OrderState, now: Timestamp) -> Vec<Draft> {
    let calendar = ShopCalendar::in_zone(ShopCalendar::ZONE_DEFAULT).expect("a zone");
    facts(state).letters(&Tales::of(&batch(words)), &calendar, now)
}

/// A letter in a word or two.
fn said(letter: &Letter) -> String {
    match letter {
        Letter::OrderCancelled { refund, .. } => format!("order_cancelled refund={refund}"),
        Letter::PaymentReturned { reason, .. } | Letter::OrderRefunded { reason, .. } => {
            format!("{} {reason:?}", letter.kind())
        }
        other => other.kind().to_owned(),
    }
}

/// What is told of an order to which all this happens in one batch, and which stands where it is by then.
#[track_caller]
fn check(words: &[&str], state: OrderState, told: &[&str]) {
    let drafts = letters(words, state, START);
    let said: Vec<String> = drafts.iter().map(|draft| said(&draft.letter)).collect();
    assert_eq!(said, told, "after {words:?}");
    assert!(drafts.iter().all(|draft| draft.to == KIM));
}

#[test]
fn what_happens_is_told() {
    use OrderState::*;
    check(&["is placed"], Held, &["order_held"]);
    check(&["is placed"], Paying, &["order_held"]);
    check(&["is captured"], Paid, &["order_paid"]);
    check(&["is reclaimed"], Paid, &["order_paid"]);
    check(&["expires"], Expired, &["order_expired"]);
    check(
        &["is cancelled"],
        Cancelled,
        &["order_cancelled refund=false"],
    );
    check(
        &["begins a refund"],
        Refunding,
        &["order_cancelled refund=true"],
    );
    check(&["is refunded"], Cancelled, &["order_refunded Cancelled"]);
    check(
        &["is paid too late"],
        PaidUnfulfilled,
        &["payment_returned TooLate"],
    );
    check(&["is refunded"], Refunded, &["order_refunded TooLate"]);
    check(&["is shipped"], Shipped, &["order_shipped"]);
    check(&["is refunded"], Returned, &["order_refunded Returned"]);
}

#[test]
fn what_nobody_needs_to_know_is_not_told() {
    use OrderState::*;
    for (word, state) in [
        ("starts to pay", Paying),
        ("is deferred", Paying),
        ("is declined", Held),
        ("asks to cancel", CancelRequested),
        ("is delivered", Delivered),
        ("is completed", Completed),
        ("is sent back", ReturnRequested),
        ("is taken back", Returned),
        ("is restocked", Returned),
    ] {
        check(&[word], state, &[]);
    }
}

#[test]
fn the_later_letter_says_the_news_of_the_earlier_one() {
    use OrderState::*;
    check(
        &["is placed", "starts to pay", "is captured"],
        Paid,
        &["order_paid"],
    );
    check(&["is placed", "expires"], Expired, &["order_expired"]);
    check(
        &["is placed", "is cancelled"],
        Cancelled,
        &["order_cancelled refund=false"],
    );
    check(
        &["is captured", "begins a refund"],
        Refunding,
        &["order_cancelled refund=true"],
    );
    check(
        &["begins a refund", "is refunded"],
        Cancelled,
        &["order_refunded Cancelled"],
    );
    check(
        &["expires", "is paid too late", "is refunded"],
        Refunded,
        &["order_refunded TooLate"],
    );
    check(
        &["expires", "is paid too late"],
        PaidUnfulfilled,
        &["payment_returned TooLate"],
    );
    check(&["expires", "is reclaimed"], Paid, &["order_paid"]);
    check(
        &["is taken back", "is refunded"],
        Returned,
        &["order_refunded Returned"],
    );
}

/// The order was paid, say, between its hold and the look at it.
#[test]
fn who_has_gone_on_is_not_told_to_pay() {
    use OrderState::*;
    for state in [CancelRequested, Paid, Cancelled, Expired, Shipped, Returned] {
        check(&["is placed"], state, &[]);
    }
}

#[test]
fn a_cancelled_order_whose_payment_comes_to_an_end_is_cancelled_by_that() {
    use OrderState::*;
    check(
        &["is declined - after a cancel"],
        Cancelled,
        &["order_cancelled refund=false"],
    );
    check(
        &["is paid - after a cancel"],
        Refunding,
        &["order_cancelled refund=true"],
    );
    check(
        &["asks to cancel", "is paid - after a cancel", "is refunded"],
        Cancelled,
        &["order_refunded Cancelled"],
    );
}

#[test]
fn money_that_comes_twice_goes_back_beside_everything_else() {
    use OrderState::*;
    check(&["is paid again"], Paid, &["payment_returned PaidTwice"]);
    check(
        &["is captured", "is paid again"],
        Paid,
        &["order_paid", "payment_returned PaidTwice"],
    );
    check(
        &["is paid again", "is refunded", "is shipped"],
        Shipped,
        &["order_refunded PaidTwice", "order_shipped"],
    );
    check(
        &["is paid again"],
        Cancelled,
        &["payment_returned Cancelled"],
    );
    check(
        &["is paid again"],
        Returned,
        &["payment_returned PaidTwice"],
    );
    // Two sums, two letters.
    check(
        &[
            "is paid again",
            "begins a refund",
            "is refunded",
            "is refunded",
        ],
        Cancelled,
        &["order_refunded Cancelled", "order_refunded Cancelled"],
    );
}

fn on_waitlist(number: u64, change: WaitlistChange) -> (Position, Event) {
    let event = Event::WaitlistChanged {
        product: LAMP,
        at: START,
        change,
        postings: Vec::new(),
    };
    (Position::new(number), event)
}

fn offered(number: u64, units: u32) -> (Position, Event) {
    let units = Quantity::new(units).expect("a quantity");
    let change = WaitlistChange::Offered {
        offers: vec![(KIM, units), (BuyerId::new(8), units)],
        deadline: PAY_BY,
    };
    on_waitlist(number, change)
}

/// Of a batch that begins with an offer to Kim and to somebody without an account.
#[track_caller]
fn check_offers(rest: Vec<(Position, Event)>, told: &[u32]) {
    let mut batch = vec![offered(1, 2)];
    batch.extend(rest);
    let calendar = ShopCalendar::default();
    let drafts = facts(OrderState::Paid).letters(&Tales::of(&batch), &calendar, START);
    let offers = drafts.iter().filter_map(|draft| match &draft.letter {
        Letter::WaitlistOffer {
            product,
            quantity,
            accept_by,
        } => {
            assert_eq!((draft.to, draft.ends_at), (KIM, PAY_BY));
            assert_eq!((product.as_str(), accept_by.minute()), ("Desk lamp", 35));
            Some(*quantity)
        }
        _ => None,
    });
    assert_eq!(offers.collect::<Vec<_>>(), told);
}

#[test]
fn whose_turn_it_is_is_told_while_it_is() {
    let buyer = KIM;
    check_offers(Vec::new(), &[2]);
    check_offers(vec![offered(2, 1)], &[1]);
    check_offers(vec![on_waitlist(2, WaitlistChange::Lapsed { buyer })], &[]);
    check_offers(vec![on_waitlist(2, WaitlistChange::Left { buyer })], &[]);
    let other = BuyerId::new(9);
    check_offers(
        vec![on_waitlist(2, WaitlistChange::Left { buyer: other })],
        &[2],
    );
    let taken = OrderPlaced {
        offers: vec![OfferTaken {
            product: LAMP,
            units: Quantity::new(2).expect("a quantity"),
        }],
        ..placed(START)
    };
    check_offers(vec![(Position::new(2), Event::OrderPlaced(taken))], &[]);
}

#[test]
fn a_letter_is_told_with_its_own_record() {
    let drafts = letters(
        &["is placed", "is captured", "is paid again"],
        OrderState::Paid,
        START,
    );
    let positions: Vec<u64> = drafts.iter().map(|draft| draft.position.get()).collect();
    assert_eq!(positions, [2, 3]);
}

#[test]
fn a_letter_that_comes_too_late_is_not_written() {
    let just_before = |end: Timestamp| Timestamp::from_micros(end.as_micros() - 1);
    let told = |word, state, now| letters(&[word], state, now).len();
    assert_eq!(told("is placed", OrderState::Held, just_before(PAY_BY)), 1);
    assert_eq!(told("is placed", OrderState::Held, PAY_BY), 0);
    let end = START.plus(LETTER_LIFE);
    assert_eq!(told("is shipped", OrderState::Shipped, just_before(end)), 1);
    assert_eq!(told("is shipped", OrderState::Shipped, end), 0);
}

#[test]
fn people_without_an_address_are_told_nothing() {
    let calendar = ShopCalendar::in_zone("UTC").expect("a zone");
    let tales = Tales::of(&batch(&["is placed"]));
    let drafts = Facts::default().letters(&tales, &calendar, START);
    assert_eq!(drafts.len(), 0);
}

#[test]
fn a_letter_says_what_was_bought_for_how_much_and_until_when() {
    let drafts = letters(&["is placed"], OrderState::Held, START);
    let [draft] = drafts.as_slice() else {
        panic!("{} letters", drafts.len());
    };
    assert_eq!(draft.ends_at, PAY_BY);
    let Letter::OrderHeld { order, pay_by } = &draft.letter else {
        panic!("{:?}", draft.letter);
    };
    assert_eq!(pay_by.to_string(), "2026-11-25T00:35:00+09:00[Asia/Seoul]");
    assert_eq!(order.id.as_u128(), ORDER.get());
    let said = serde_json::to_value(order).expect("json");
    assert_eq!(
        said["lines"],
        serde_json::json!([
            {"product": "Desk lamp", "quantity": 2, "price": {"amount": 78_000, "currency": "KRW"}}
        ])
    );
    assert_eq!(
        said["total"],
        serde_json::json!({"amount": 78_000, "currency": "KRW"})
    );
}

#[test]
fn the_largest_order_fits_into_what_is_sealed_at_once() {
    let mut facts = facts(OrderState::Paid);
    let longest = "\u{1}💡".repeat(4_000);
    facts.names.insert(LAMP, longest.into());
    let order = facts.orders.get_mut(&ORDER).expect("the order");
    let dearest = line(Quantity::MAX, Money::UNIT_PRICE_MAX);
    order.lines = vec![dearest; Order::LINES_MAX].into();
    let calendar = ShopCalendar::in_zone("UTC").expect("a zone");
    let tales = Tales::of(&batch(&["is captured"]));
    let drafts = facts.letters(&tales, &calendar, START);
    let Letter::OrderPaid { order } = &drafts[0].letter else {
        panic!("{:?}", drafts[0].letter);
    };
    assert_eq!(order.lines.len(), OrderSummary::LINES_MAX);
    assert_eq!(order.lines.len() + order.more_lines, Order::LINES_MAX);
    assert_eq!(order.total.amount, 50 * 10_000 * 1_000_000_000_000);
    let envelope = crate::mail::Envelope {
        to: "x".repeat(254),
        language: crate::mail::Language::Korean,
        letter: drafts[0].letter.clone(),
    };
    let bytes = envelope.to_json().len();
    assert!(bytes < crate::accounts::vault::PLAIN_BYTES_MAX, "{bytes}");
}

#[test]
fn each_state_has_a_reason_for_money_to_go_back() {
    use OrderState::*;
    for (state, reason) in [
        (Expired, RefundReason::TooLate),
        (CancelRequested, RefundReason::Cancelled),
        (Delivered, RefundReason::PaidTwice),
        (Returned, RefundReason::Returned),
    ] {
        let drafts = letters(&["is refunded"], state, START);
        assert_eq!(
            said(&drafts[0].letter),
            format!("order_refunded {reason:?}")
        );
    }
}
