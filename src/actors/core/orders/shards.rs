//! All order actors of a cell, and which of them has the order that is due first.

use super::{Due, Moved, OpenPayments, OrderActor, SetAside};
use crate::domain::{BuyerId, Order, OrderChange, OrderId, Timestamp};

#[derive(Debug)]
pub(crate) struct OrderActors {
    actors: Vec<OrderActor>,
    /// When the first order of each actor is due, and its sequence; the end of time if none is.
    due: [(Timestamp, u64); OrderActors::LEN],
    /// The actor with the smallest of these.
    first: usize,
    at_rest_len: usize,
    payments: OpenPayments,
}

const NEVER: (Timestamp, u64) = (Timestamp::MAX, u64::MAX);

impl OrderActors {
    /// How many slices of the buyers there are; the low byte of an order id names one of them.
    pub(crate) const LEN: usize = 64;

    pub(crate) fn new() -> Self {
        Self {
            actors: (0..Self::LEN).map(|_| OrderActor::default()).collect(),
            due: [NEVER; Self::LEN],
            first: 0,
            at_rest_len: 0,
            payments: OpenPayments::default(),
        }
    }

    pub(crate) fn shard_of(order: OrderId) -> usize {
        usize::from(order.shard_byte()) % Self::LEN
    }

    pub(crate) fn shard_of_buyer(buyer: BuyerId) -> usize {
        Self::shard_of(OrderId::for_buyer(0, buyer))
    }

    pub(crate) fn of_order(&self, order: OrderId) -> &OrderActor {
        &self.actors[Self::shard_of(order)]
    }

    pub(crate) fn of_buyer(&self, buyer: BuyerId) -> &OrderActor {
        &self.actors[Self::shard_of_buyer(buyer)]
    }

    pub(crate) fn shard(&self, shard: usize) -> &OrderActor {
        &self.actors[shard]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Order> {
        self.actors.iter().flat_map(OrderActor::iter)
    }

    pub(crate) fn at_rest_len(&self) -> usize {
        self.at_rest_len
    }

    pub(crate) fn open_payments(&self) -> OpenPayments {
        self.payments
    }

    pub(crate) fn first_due(&self) -> Option<Due> {
        self.actors[self.first].first_due()
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let (at, _) = self.due[self.first];
        (self.due[self.first] != NEVER).then_some(at)
    }

    /// Everything that is due, in order.
    #[cfg(test)]
    pub(crate) fn all_due(&self) -> Vec<(Timestamp, OrderId)> {
        let due = self.actors.iter().flat_map(OrderActor::all_due);
        let mut due: Vec<Due> = due.collect();
        due.sort_unstable();
        due.into_iter().map(|due| (due.at, due.order)).collect()
    }

    // -- what has happened ---------------------------------------------------------------------------------------

    pub(crate) fn insert(&mut self, order: Order) {
        self.with(Self::shard_of(order.id), |actor| actor.insert(order));
    }

    pub(crate) fn apply(&mut self, id: OrderId, change: &OrderChange, at: Timestamp) -> Moved {
        self.with(Self::shard_of(id), |actor| actor.apply(id, change, at))
    }

    pub(crate) fn remove(&mut self, id: OrderId) {
        self.with(Self::shard_of(id), |actor| actor.remove(id));
    }

    /// Takes the first that is due out of the list, so that the next is the first.
    pub(crate) fn set_first_due_aside(&mut self) -> Option<SetAside> {
        self.with(self.first, OrderActor::set_first_due_aside)
    }

    pub(crate) fn put_back(&mut self, aside: SetAside) {
        self.with(Self::shard_of(aside.order), |actor| actor.put_back(aside));
    }

    pub(crate) fn replace(&mut self, shard: usize, rebuilt: OrderActor) {
        self.with(shard, |actor| *actor = rebuilt);
    }

    pub(crate) fn take(&mut self, shard: usize) -> OrderActor {
        self.with(shard, std::mem::take)
    }

    /// Whatever changes an actor goes through here, so that what is known of all of them stays true.
    fn with<R>(&mut self, shard: usize, act: impl FnOnce(&mut OrderActor) -> R) -> R {
        let actor = &mut self.actors[shard];
        self.at_rest_len -= actor.at_rest_len();
        self.payments.take(actor.open_payments());
        let result = act(actor);
        self.at_rest_len += actor.at_rest_len();
        self.payments.add(actor.open_payments());
        let due = actor
            .first_due()
            .map_or(NEVER, |due| (due.at, due.sequence));
        self.note_due(shard, due);
        result
    }

    fn note_due(&mut self, shard: usize, due: (Timestamp, u64)) {
        let before = std::mem::replace(&mut self.due[shard], due);
        if due < self.due[self.first] {
            self.first = shard;
        } else if shard == self.first && due > before {
            let shards = 0..Self::LEN;
            self.first = shards.min_by_key(|it| self.due[*it]).unwrap_or(0);
        }
    }
}
