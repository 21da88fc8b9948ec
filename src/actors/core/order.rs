//! The actors that own the life of orders, sharded by buyer.
//!
//! Not one actor an order: a million open holds must be cheap, and a shard keeps the orders, the idempotency keys
//! and the people of one slice of the buyers together, so that each is found by one look-up.

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
    by_buyer: IdMap<BuyerId, SmallVec<[OrderId; 1]>>,
}

/// What a change of an order moved in time, for the timers and for the products concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) buyer: BuyerId,
    pub(crate) hold_end_before: Option<Timestamp>,
    pub(crate) hold_end_after: Option<Timestamp>,
    pub(crate) due_before: Option<Timestamp>,
    pub(crate) due_after: Option<Timestamp>,
}

impl OrderActor {
    pub(crate) fn get(&self, id: OrderId) -> Option<&Order> {
        self.orders.get(&id).map(Box::as_ref)
    }

    pub(crate) fn placed_by(&self, key: KeyHash) -> Option<&Order> {
        self.get(*self.placed_by_key.get(&key)?)
    }

    pub(crate) fn of_buyer(&self, buyer: BuyerId) -> impl Iterator<Item = &Order> {
        self.by_buyer
            .get(&buyer)
            .into_iter()
            .flatten()
            .filter_map(|id| self.get(*id))
    }

    /// The order with units of the product that the buyer can resume: one that is held before one that is paying,
    /// the oldest first. One that is being cancelled still holds its units, but nobody can go on with it.
    pub(crate) fn live_order(&self, buyer: BuyerId, product: ProductId) -> Option<OrderId> {
        self.of_buyer(buyer)
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
        self.by_buyer.entry(order.buyer).or_default().push(order.id);
        self.orders.insert(order.id, Box::new(order));
    }

    /// Applies a change of an order that must be here: replay and decisions know no other.
    pub(crate) fn apply(&mut self, id: OrderId, change: &OrderChange, at: Timestamp) -> Moved {
        let order = self
            .orders
            .get_mut(&id)
            .expect("an order changed that was never placed");
        let (hold_end_before, due_before) = (order.hold_end(), order.next_due());
        order.apply(change, at);
        Moved {
            buyer: order.buyer,
            hold_end_before,
            hold_end_after: order.hold_end(),
            due_before,
            due_after: order.next_due(),
        }
    }

    /// Forgets orders that can never change again and whose last change is older than `before`: SQL has them, and
    /// their idempotency keys need not be kept any longer.
    pub(crate) fn forget_settled(&mut self, before: Timestamp) {
        let Self {
            orders,
            placed_by_key,
            by_buyer,
        } = self;
        orders.retain(|id, order| {
            let keep = order.changed_at >= before || !order.is_settled();
            if !keep {
                placed_by_key.remove(&order.key);
                forget_of_buyer(by_buyer, order.buyer, *id);
            }
            keep
        });
    }
}

fn forget_of_buyer(
    by_buyer: &mut IdMap<BuyerId, SmallVec<[OrderId; 1]>>,
    buyer: BuyerId,
    order: OrderId,
) {
    let Some(ids) = by_buyer.get_mut(&buyer) else {
        return;
    };
    ids.retain(|id| *id != order);
    if ids.is_empty() {
        by_buyer.remove(&buyer);
    }
}
