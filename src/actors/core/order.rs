//! The actors that own the life of orders, sharded by buyer.
//!
//! Not one actor an order: a million open holds must be cheap, and a shard keeps the orders, the idempotency keys
//! and the people of one slice of the buyers together, so that each is found by one look-up.
//!
//! A person's orders at rest are kept apart from the open ones: however long the past of an account is, what it does
//! now costs what its open orders cost.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::domain::{
    BuyerId, IdMap, KeyHash, Order, OrderChange, OrderId, OrderState, ProductId, Timestamp,
};

#[derive(Debug, Default)]
pub(crate) struct OrderActor {
    /// Boxed, because a table doubles when it grows: its empty half must not hold room for orders.
    orders: IdMap<OrderId, Box<Order>>,
    /// Which order a request made, for the repeat of the request.
    placed_by_key: IdMap<KeyHash, OrderId>,
    people: IdMap<BuyerId, Person>,
}

/// The orders of one buyer by their sequence, the oldest first.
#[derive(Debug, Default)]
struct Person {
    /// Something happens to them by itself, or a provider owes an answer.
    open: SmallVec<[(u64, OrderId); 1]>,
    at_rest: VecDeque<(u64, OrderId)>,
}

/// What a change of an order moved in time, for the timers and for the products concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) buyer: BuyerId,
    pub(crate) hold_end_before: Option<Timestamp>,
    pub(crate) hold_end_after: Option<Timestamp>,
    pub(crate) due_before: Option<Timestamp>,
    pub(crate) due_after: Option<Timestamp>,
    pub(crate) is_at_rest: bool,
}

impl OrderActor {
    pub(crate) fn get(&self, id: OrderId) -> Option<&Order> {
        self.orders.get(&id).map(Box::as_ref)
    }

    pub(crate) fn placed_by(&self, key: KeyHash) -> Option<&Order> {
        self.get(*self.placed_by_key.get(&key)?)
    }

    /// The open orders of a buyer, the oldest first.
    pub(crate) fn open_of(&self, buyer: BuyerId) -> impl Iterator<Item = &Order> {
        let open = self.people.get(&buyer).map(|person| &*person.open);
        let ids = open.unwrap_or_default().iter();
        ids.filter_map(|(_, id)| self.get(*id))
    }

    /// The orders of a buyer that were placed before a record, open or at rest, the newest first.
    pub(crate) fn newest_of(&self, buyer: BuyerId, before: u64) -> impl Iterator<Item = &Order> {
        let person = self.people.get(&buyer).into_iter();
        let ids = person.flat_map(move |person| person.newest_before(before));
        ids.filter_map(|id| self.get(id))
    }

    /// When the `nth` of a buyer's holds, counted back from the newest order, ended unpaid since an instant. Looks no
    /// further back than orders whose holds can have lasted until then.
    pub(crate) fn nth_ended_hold_of(
        &self,
        buyer: BuyerId,
        since: Timestamp,
        nth: usize,
    ) -> Option<Timestamp> {
        let placed_since = since.minus(Order::HOLD_MAX);
        let ended = |order: &&Order| {
            let is_over = matches!(order.state, OrderState::Cancelled | OrderState::Expired);
            is_over && order.captured_attempts() == 0 && order.changed_at > since
        };
        let person = self.people.get(&buyer).into_iter();
        let newest = person.flat_map(|person| person.at_rest.iter().rev());
        newest
            .filter_map(|(_, id)| self.get(*id))
            .take_while(|order| order.placed_at >= placed_since)
            .filter(ended)
            .nth(nth.checked_sub(1)?)
            .map(|order| order.changed_at)
    }

    /// The order with units of the product that the buyer can resume: one that is held before one that is paying,
    /// the oldest first. One that is being cancelled still holds its units, but nobody can go on with it.
    pub(crate) fn live_order(&self, buyer: BuyerId, product: ProductId) -> Option<OrderId> {
        self.open_of(buyer)
            .filter(|order| matches!(order.state, OrderState::Held | OrderState::Paying))
            .filter(|order| order.lines.iter().any(|line| line.product == product))
            .min_by_key(|order| (order.state, order.sequence))
            .map(|order| order.id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Order> {
        self.orders.values().map(Box::as_ref)
    }

    pub(crate) fn insert(&mut self, order: Order) {
        self.placed_by_key.insert(order.key, order.id);
        let person = self.people.entry(order.buyer).or_default();
        person.insert(order.sequence, order.id, order.is_at_rest());
        self.orders.insert(order.id, Box::new(order));
    }

    /// Applies a change of an order that must be here: replay and decisions know no other.
    pub(crate) fn apply(&mut self, id: OrderId, change: &OrderChange, at: Timestamp) -> Moved {
        let order = self
            .orders
            .get_mut(&id)
            .expect("an order changed that was never placed");
        let (hold_end_before, due_before) = (order.hold_end(), order.next_due());
        let was_at_rest = order.is_at_rest();
        order.apply(change, at);
        let is_at_rest = order.is_at_rest();
        if was_at_rest != is_at_rest
            && let Some(person) = self.people.get_mut(&order.buyer)
        {
            person.remove(order.sequence, was_at_rest);
            person.insert(order.sequence, id, is_at_rest);
        }
        Moved {
            buyer: order.buyer,
            hold_end_before,
            hold_end_after: order.hold_end(),
            due_before,
            due_after: order.next_due(),
            is_at_rest,
        }
    }

    pub(crate) fn remove(&mut self, id: OrderId) {
        let Some(order) = self.orders.remove(&id) else {
            return;
        };
        self.placed_by_key.remove(&order.key);
        if let Some(person) = self.people.get_mut(&order.buyer) {
            person.remove(order.sequence, order.is_at_rest());
            if person.is_empty() {
                self.people.remove(&order.buyer);
            }
        }
    }
}

impl Person {
    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.at_rest.is_empty()
    }

    fn newest_before(&self, sequence: u64) -> impl Iterator<Item = OrderId> {
        let placed_before = |placed: &(u64, OrderId)| placed.0 < sequence;
        let open = &self.open[..self.open.partition_point(placed_before)];
        let at_rest = self.at_rest.partition_point(placed_before);
        let mut open = open.iter().rev().peekable();
        let mut at_rest = self.at_rest.range(..at_rest).rev().peekable();
        std::iter::from_fn(move || {
            let is_open = open.peek().map(|it| it.0) >= at_rest.peek().map(|it| it.0);
            let newest = if is_open { open.next() } else { at_rest.next() };
            newest.map(|(_, id)| *id)
        })
    }

    /// Mostly at the end: who was placed last comes to rest about last, too.
    fn insert(&mut self, sequence: u64, id: OrderId, at_rest: bool) {
        let entry = (sequence, id);
        if at_rest {
            let place = self.at_rest.partition_point(|it| *it < entry);
            self.at_rest.insert(place, entry);
        } else {
            let place = self.open.partition_point(|it| *it < entry);
            self.open.insert(place, entry);
        }
    }

    fn remove(&mut self, sequence: u64, at_rest: bool) {
        if at_rest {
            let found = self.at_rest.binary_search_by_key(&sequence, |it| it.0);
            found.ok().map(|place| self.at_rest.remove(place));
        } else {
            let found = self.open.binary_search_by_key(&sequence, |it| it.0);
            found.ok().map(|place| self.open.remove(place));
        }
    }
}
