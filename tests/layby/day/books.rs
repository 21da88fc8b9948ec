//! The end of the day: what an order shows explains its state, and everybody's books say the same.

use std::collections::HashMap;

use serde_json::Value;

use super::LIMIT;
use super::buyer::{Buyer, Deed, units};
use crate::support::{Booked, text};

/// Where the money of an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Money {
    NeverTaken,
    Kept,
    GivenBack,
}

/// Where its units are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parcel {
    NotSent,
    OnItsWay,
    Delivered,
    ToComeBack,
    TakenBack,
}

/// An order at the end of the day, found legal.
#[derive(Debug)]
pub(super) struct Explained {
    pub(super) order: Value,
    pub(super) money: Money,
    pub(super) state: &'static str,
}

/// Whatever is not in this table needs an explanation that nobody has.
const EXPLANATIONS: [(Deed, &str, Money, Parcel); 8] = [
    (Deed::Left, "expired", Money::NeverTaken, Parcel::NotSent),
    (
        Deed::GaveUp,
        "cancelled",
        Money::NeverTaken,
        Parcel::NotSent,
    ),
    (
        Deed::Regretted,
        "cancelled",
        Money::GivenBack,
        Parcel::NotSent,
    ),
    (Deed::Bought, "paid", Money::Kept, Parcel::NotSent),
    (Deed::Bought, "shipped", Money::Kept, Parcel::OnItsWay),
    (Deed::Bought, "delivered", Money::Kept, Parcel::Delivered),
    (
        Deed::SentBack,
        "return_requested",
        Money::Kept,
        Parcel::ToComeBack,
    ),
    (
        Deed::SentBack,
        "returned",
        Money::GivenBack,
        Parcel::TakenBack,
    ),
];

/// Every order of a buyer, as the buyer sees it, explained by what the buyer did. None is missing, none is too many.
pub(super) fn explain(buyer: &Buyer) -> Vec<Explained> {
    let mut listed = buyer.caller.all("/v1/orders");
    listed.reverse();
    let ids = |orders: &mut dyn Iterator<Item = &Value>| -> Vec<String> {
        orders.map(|it| text(it, "id")).collect()
    };
    assert_eq!(
        ids(&mut listed.iter()),
        ids(&mut buyer.orders.iter().map(|it| &it.order)),
        "the orders of a buyer, the oldest first"
    );
    let pairs = listed.into_iter().zip(&buyer.orders);
    pairs
        .map(|(order, known)| {
            for fixed in ["lines", "total", "placed_at", "sequence"] {
                assert_eq!(order[fixed], known.order[fixed], "{fixed} of {order}");
            }
            explain_order(order, known.deed)
        })
        .collect()
}

fn explain_order(order: Value, deed: Deed) -> Explained {
    let shown = (deed, order["state"].as_str(), money(&order), parcel(&order));
    let found = EXPLANATIONS
        .iter()
        .find(|(deed, state, money, parcel)| (*deed, Some(*state), *money, *parcel) == shown);
    let Some((_, state, money, _)) = found else {
        panic!("{shown:?} explains nothing: {order}");
    };
    happened_in_turn(&order);
    Explained {
        money: *money,
        state,
        order,
    }
}

/// Taken at most once, and what is owed is given back.
fn money(order: &Value) -> Money {
    let attempts = order["payments"].as_array().expect("attempts");
    let mut money = Money::NeverTaken;
    for attempt in attempts {
        let words = ["state", "refund"].map(|it| attempt[it].as_str().unwrap_or_default());
        money = match (words, money) {
            (["declined", "not_due"], _) => money,
            (["captured", "not_due"], Money::NeverTaken) => Money::Kept,
            (["captured", "done"], Money::NeverTaken) => Money::GivenBack,
            _ => panic!("{words:?} after {money:?}: {order}"),
        };
    }
    money
}

fn parcel(order: &Value) -> Parcel {
    let (shipment, back) = (&order["shipment"], &order["return"]);
    let facts = [
        &shipment["shipped_at"],
        &shipment["delivered_at"],
        &shipment["return_until"],
        &back["requested_at"],
        &back["restock_at"],
    ];
    match facts.map(Value::is_string) {
        [false, false, false, false, false] => Parcel::NotSent,
        [true, false, false, false, false] => Parcel::OnItsWay,
        [true, true, true, false, false] => Parcel::Delivered,
        [true, true, true, true, false] => Parcel::ToComeBack,
        [true, true, true, true, true] => Parcel::TakenBack,
        other => panic!("{other:?}: {order}"),
    }
}

fn happened_in_turn(order: &Value) {
    let attempts = order["payments"].as_array().expect("attempts");
    let steps = std::iter::once(&order["placed_at"])
        .chain(attempts.iter().map(|it| &it["started_at"]))
        .chain(["shipped_at", "delivered_at"].map(|it| &order["shipment"][it]))
        .chain(["requested_at", "restock_at"].map(|it| &order["return"][it]));
    let times: Vec<&str> = steps.filter_map(Value::as_str).collect();
    assert!(times.is_sorted(), "{order}");
}

// -- everybody's books -------------------------------------------------------------------------------------------

pub(super) fn amount(order: &Value) -> i64 {
    order["total"]["amount"].as_i64().expect("an amount")
}

/// What the shop has earned, by a list of orders.
pub(super) fn earned<'a>(orders: impl Iterator<Item = &'a Value>) -> i64 {
    let kept = orders.filter(|order| money(order) == Money::Kept);
    kept.map(amount).sum()
}

/// Nobody has more of a limited product than is allowed.
pub(super) fn within_the_limit(orders: &[Explained], product: &str) {
    let kept = orders.iter().filter(|it| it.money == Money::Kept);
    let units = kept.map(|it| units(&it.order, product)).sum::<u32>();
    assert!(units <= LIMIT, "{units} units: {orders:#?}");
}

/// Stripe has taken the price of an order once, and given all of it back or nothing.
pub(super) fn stripe_says_the_same(booked: &[Booked], orders: &[Explained]) {
    let mut taken: HashMap<&str, (i64, i64)> = HashMap::new();
    for intent in booked.iter().filter(|it| it.captured > 0) {
        let sums = (intent.captured, intent.refunded);
        let before = taken.insert(&intent.order, sums);
        assert_eq!(before, None, "{} was paid twice", intent.order);
    }
    for Explained { order, money, .. } in orders {
        let price = amount(order);
        let sums = taken.remove(text(order, "id").as_str());
        let expected = match money {
            Money::NeverTaken => None,
            Money::Kept => Some((price, 0)),
            Money::GivenBack => Some((price, price)),
        };
        assert_eq!(sums, expected, "{order}");
    }
    assert!(taken.is_empty(), "nobody knows of {taken:?}");
}

/// Each way to end has been gone by somebody. Gives how often.
pub(super) fn census(orders: &[Explained]) -> Vec<(&'static str, Money, usize)> {
    let count = |state: &str, money: Money| {
        let alike = orders
            .iter()
            .filter(|it| it.state == state && it.money == money);
        alike.count()
    };
    let rows = EXPLANATIONS.iter();
    rows.map(|&(_, state, money, _)| (state, money, count(state, money)))
        .inspect(|(state, money, count)| assert!(*count > 0, "none was {state} with {money:?}"))
        .collect()
}
