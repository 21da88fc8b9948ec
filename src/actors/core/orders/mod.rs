//! The actors that own the life of orders, sharded by buyer.
//!
//! Not one actor an order: a million open holds must be cheap, and a shard keeps the orders, the idempotency keys
//! and the people of one slice of the buyers together, so that each is found by one look-up. An order is kept as a small
//! record under a 32-bit handle, and everything that leads to it holds no more than the handle
//! (docs/decisions/0017).
//!
//! A person's orders at rest are kept apart from the open ones: however long the past of an account is, what it does
//! now costs what its open orders cost.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `shards` | all actors of a cell |
//! | `record` | an order as it is kept |
//! | `terms` | products and prices, once for all orders that name them |
//! | `people` | who has which orders |
//! | `index` | from an id to the handle of what has it |
//! | `slab` | from a handle to its value |

mod index;
mod people;
mod record;
mod shards;
mod slab;
mod terms;
#[cfg(test)]
mod tests;

use index::HandleIndex;
use people::{People, Which};
use record::Records;
use slab::Handle;

pub(crate) use shards::OrderActors;

use crate::domain::{
    Attempt, AttemptState, BuyerId, Deadlines, KeyHash, Lines, Order, OrderChange, OrderId,
    OrderState, ProductId, RefundState, Timestamp, hash_of,
};

#[derive(Debug, Default)]
pub(crate) struct OrderActor {
    records: Records,
    by_id: HandleIndex,
    /// Which order a request made, for the repeat of the request.
    by_key: HandleIndex,
    people: People,
    /// When something happens to an order by itself.
    due: Deadlines<Handle>,
    /// When orders at rest last changed: the first to come is the first to be forgotten.
    at_rest: Deadlines<Handle>,
    payments: OpenPayments,
}

/// An order to which something happens by itself: by the time, and then by the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) at: Timestamp,
    sequence: u64,
    pub(crate) order: OrderId,
}

/// An order out of the list of those that are due.
#[derive(Debug)]
pub(crate) struct SetAside {
    order: OrderId,
    at: Timestamp,
    handle: Handle,
}

/// What a change of an order moved in time, for the timers and for the products concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) buyer: BuyerId,
    pub(crate) lines: Lines,
    pub(crate) hold_end_before: Option<Timestamp>,
    pub(crate) hold_end_after: Option<Timestamp>,
}

/// What a payment provider still owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct OpenPayments {
    /// Attempts without a result.
    pub(crate) pending: usize,
    /// Attempts whose money is to go back.
    pub(crate) refunds_due: usize,
}

impl OpenPayments {
    fn of(order: &Order) -> Self {
        let refunds_due = |it: &&Attempt| it.refund == RefundState::Due;
        Self {
            pending: order.attempts.iter().filter(|it| it.is_pending()).count(),
            refunds_due: order.attempts.iter().filter(refunds_due).count(),
        }
    }

    fn add(&mut self, more: Self) {
        self.pending += more.pending;
        self.refunds_due += more.refunds_due;
    }

    fn take(&mut self, less: Self) {
        self.pending -= less.pending;
        self.refunds_due -= less.refunds_due;
    }
}

/// What of an order decides where it is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    due: Option<Timestamp>,
    /// Since when it is.
    at_rest: Option<Timestamp>,
    payments: OpenPayments,
}

impl Standing {
    fn of(order: &Order) -> Self {
        Self {
            due: order.next_due(),
            at_rest: order.is_at_rest().then_some(order.changed_at),
            payments: OpenPayments::of(order),
        }
    }

    fn list(self) -> Which {
        Which::of(self.at_rest.is_some())
    }
}

impl OrderActor {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn contains(&self, id: OrderId) -> bool {
        self.find(id).is_some()
    }

    pub(crate) fn get(&self, id: OrderId) -> Option<Order> {
        self.find(id).map(|handle| self.order(handle))
    }

    pub(crate) fn buyer(&self, id: OrderId) -> Option<BuyerId> {
        self.find(id).map(|handle| self.buyer_of(handle))
    }

    /// None if there is no such order.
    pub(crate) fn lines(&self, id: OrderId) -> Lines {
        let handle = self.find(id);
        handle.map(|it| self.records.lines(it)).unwrap_or_default()
    }

    pub(crate) fn state(&self, id: OrderId) -> Option<OrderState> {
        self.find(id).map(|it| self.records.get(it).state)
    }

    /// None if there is no such order.
    pub(crate) fn attempts(&self, id: OrderId) -> &[Attempt] {
        let handle = self.find(id);
        handle.map_or(&[], |it| self.records.attempts(it))
    }

    pub(crate) fn placed_by(&self, key: KeyHash) -> Option<Order> {
        self.find_by_key(key).map(|handle| self.order(handle))
    }

    /// All orders, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Order> {
        self.records.handles().map(|handle| self.order(handle))
    }

    /// The open orders of a buyer, the oldest first.
    pub(crate) fn open_of(&self, buyer: BuyerId) -> impl Iterator<Item = Order> {
        let open = self.handles_of(buyer, Which::Open, u64::MAX);
        open.map(|handle| self.order(handle))
    }

    /// The orders of a buyer that were placed before a record, open or at rest, the newest first.
    pub(crate) fn newest_of(&self, buyer: BuyerId, before: u64) -> impl Iterator<Item = Order> {
        let mut open = self.handles_of(buyer, Which::Open, before).rev().peekable();
        let mut at_rest = self
            .handles_of(buyer, Which::AtRest, before)
            .rev()
            .peekable();
        std::iter::from_fn(move || {
            let newest_open = open.peek().map(|it| self.sequence(*it));
            let newest_at_rest = at_rest.peek().map(|it| self.sequence(*it));
            let newest = if newest_open >= newest_at_rest {
                open.next()
            } else {
                at_rest.next()
            };
            newest.map(|handle| self.order(handle))
        })
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
        self.handles_of(buyer, Which::AtRest, u64::MAX)
            .rev()
            .take_while(|it| self.records.get(*it).placed_at >= placed_since)
            .filter(|it| self.has_ended_unpaid(*it))
            .map(|it| self.records.changed_at(it))
            .filter(|ended| *ended > since)
            .nth(nth.checked_sub(1)?)
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

    // -- what time does ------------------------------------------------------------------------------------------

    pub(crate) fn first_due(&self) -> Option<Due> {
        self.due.first().map(|(at, handle)| self.due(at, handle))
    }

    #[cfg(test)]
    fn all_due(&self) -> impl Iterator<Item = Due> {
        self.due.iter().map(|(at, handle)| self.due(at, handle))
    }

    fn due(&self, at: Timestamp, handle: Handle) -> Due {
        let record = self.records.get(handle);
        Due {
            at,
            sequence: record.sequence,
            order: OrderId::from_bytes(record.id),
        }
    }

    /// Takes the first that is due out of the list, so that the next is the first. Any change of the order puts it in again.
    pub(crate) fn set_first_due_aside(&mut self) -> Option<SetAside> {
        let Self { records, due, .. } = self;
        let (at, handle) = due.first()?;
        due.remove(at, handle, |it| records.get(it).sequence);
        let order = OrderId::from_bytes(records.get(handle).id);
        Some(SetAside { order, at, handle })
    }

    pub(crate) fn put_back(&mut self, SetAside { at, handle, .. }: SetAside) {
        let Self { records, due, .. } = self;
        due.insert(at, handle, |it| records.get(it).sequence);
    }

    /// The first to be forgotten, and when it last changed.
    pub(crate) fn first_at_rest(&self) -> Option<(Timestamp, OrderId)> {
        let (at, handle) = self.at_rest.first()?;
        Some((at, OrderId::from_bytes(self.records.get(handle).id)))
    }

    pub(crate) fn open_payments(&self) -> OpenPayments {
        self.payments
    }

    pub(crate) fn at_rest_len(&self) -> usize {
        self.at_rest.len()
    }

    // -- what has happened ---------------------------------------------------------------------------------------

    pub(crate) fn insert(&mut self, order: Order) {
        assert!(!self.contains(order.id), "an order was placed twice");
        let (id, key, standing) = (order.id, order.key, Standing::of(&order));
        let person = self.people.find_or_add(order.buyer);
        let handle = self.records.insert(order, person);
        let Self {
            records,
            by_id,
            people,
            ..
        } = self;
        by_id.insert(hash_of(id.get()), handle, |it| records.get(it).hash_of_id());
        people.insert(person, standing.list(), handle, |it| {
            records.get(it).sequence
        });
        self.note_key(key, handle);
        self.note(handle, standing);
    }

    /// Applies a change of an order that must be here: replay and decisions know no other.
    pub(crate) fn apply(&mut self, id: OrderId, change: &OrderChange, at: Timestamp) -> Moved {
        let handle = self
            .find(id)
            .expect("an order changed that was never placed");
        let person = self.records.get(handle).person;
        let buyer = self.people.id(person);
        let (moved, before, after) = self.records.change(handle, buyer, |order| {
            let before = Standing::of(order);
            let hold_end_before = order.hold_end();
            order.apply(change, at);
            let moved = Moved {
                buyer,
                lines: order.lines.clone(),
                hold_end_before,
                hold_end_after: order.hold_end(),
            };
            (moved, before, Standing::of(order))
        });
        if before != after {
            self.forget_standing(handle, before);
            self.note(handle, after);
        }
        if before.list() != after.list() {
            let Self {
                records, people, ..
            } = self;
            people.put(person, after.list(), handle, |it| records.get(it).sequence);
        }
        moved
    }

    pub(crate) fn remove(&mut self, id: OrderId) {
        let Some(handle) = self.find(id) else { return };
        let standing = Standing::of(&self.order(handle));
        self.forget_standing(handle, standing);
        let Self {
            records,
            by_id,
            by_key,
            people,
            ..
        } = self;
        let record = records.get(handle);
        by_id.remove(record.hash_of_id(), handle);
        by_key.remove(record.hash_of_key(), handle);
        people.remove(record.person, standing.list(), handle, |it| {
            records.get(it).sequence
        });
        records.remove(handle);
    }

    fn note(&mut self, handle: Handle, standing: Standing) {
        self.payments.add(standing.payments);
        let Self {
            records,
            due,
            at_rest,
            ..
        } = self;
        let sequence = |it| records.get(it).sequence;
        if let Some(at) = standing.due {
            due.insert(at, handle, sequence);
        }
        if let Some(since) = standing.at_rest {
            at_rest.insert(since, handle, sequence);
        }
    }

    fn forget_standing(&mut self, handle: Handle, standing: Standing) {
        self.payments.take(standing.payments);
        let Self {
            records,
            due,
            at_rest,
            ..
        } = self;
        let sequence = |it| records.get(it).sequence;
        if let Some(at) = standing.due {
            // It is not there if it was set aside for good.
            due.remove(at, handle, sequence);
        }
        if let Some(since) = standing.at_rest {
            let was_at_rest = at_rest.remove(since, handle, sequence);
            assert!(was_at_rest, "an order at rest was lost");
        }
    }

    /// A key that was used again after its first order had been forgotten names the later order.
    fn note_key(&mut self, key: KeyHash, handle: Handle) {
        let known = self.find_by_key(key);
        let Self {
            records, by_key, ..
        } = self;
        let hash_of = |it| records.get(it).hash_of_key();
        if let Some(known) = known {
            if records.get(known).sequence > records.get(handle).sequence {
                return;
            }
            by_key.remove(hash_of(known), known);
        }
        by_key.insert(hash_of(handle), handle, hash_of);
    }

    // -- looking -------------------------------------------------------------------------------------------------

    fn order(&self, handle: Handle) -> Order {
        self.records.order(handle, self.buyer_of(handle))
    }

    fn buyer_of(&self, handle: Handle) -> BuyerId {
        self.people.id(self.records.get(handle).person)
    }

    fn sequence(&self, handle: Handle) -> u64 {
        self.records.get(handle).sequence
    }

    fn find(&self, id: OrderId) -> Option<Handle> {
        let bytes = id.to_bytes();
        let is_it = |handle| self.records.get(handle).id == bytes;
        self.by_id.find(hash_of(id.get()), is_it)
    }

    fn find_by_key(&self, key: KeyHash) -> Option<Handle> {
        let bytes = key.to_bytes();
        let is_it = |handle| self.records.get(handle).key == bytes;
        self.by_key.find(hash_of(key.get()), is_it)
    }

    fn handles_of(
        &self,
        buyer: BuyerId,
        which: Which,
        before: u64,
    ) -> impl DoubleEndedIterator<Item = Handle> {
        let person = self.people.find(buyer).into_iter();
        person.flat_map(move |person| {
            self.people
                .orders(person, which, before, |it| self.sequence(it))
        })
    }

    fn has_ended_unpaid(&self, handle: Handle) -> bool {
        let is_over = matches!(
            self.records.get(handle).state,
            OrderState::Cancelled | OrderState::Expired
        );
        let mut attempts = self.records.attempts(handle).iter();
        is_over && attempts.all(|it| it.state != AttemptState::Captured)
    }
}
