//! Actors that crashed in mid-change: out of service until they are rebuilt, and back again.

use super::{Cell, SHARDS, shard_of, unfinished_effects};
use crate::actors::core::message::Effect;
use crate::domain::{Line, Order, OrderId, ProductId};

/// Which actors are out of service.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    products: Vec<ProductId>,
    shards: [bool; SHARDS],
}

impl Broken {
    pub(crate) fn is_empty(&self) -> bool {
        self.products.is_empty() && !self.shards.contains(&true)
    }

    fn concerns(&self, order: &Order) -> bool {
        self.shards[shard_of(order.id)]
            || order
                .lines
                .iter()
                .any(|line| self.products.contains(&line.product))
    }
}

impl Cell {
    /// Takes actors out of service whose state may be half changed.
    pub(crate) fn set_broken(&mut self, products: &[ProductId], order: Option<OrderId>) {
        for product in products {
            self.broken_products.insert(*product, ());
        }
        if let Some(order) = order {
            self.broken_shards[shard_of(order)] = true;
        }
    }

    pub(crate) fn broken(&self) -> Broken {
        Broken {
            products: self.broken_products.keys().copied().collect(),
            shards: self.broken_shards,
        }
    }

    pub(crate) fn is_product_broken(&self, id: ProductId) -> bool {
        self.broken_products.contains_key(&id)
    }

    /// Puts actors back in service, taken from a cell that was rebuilt from SQL and journal after they broke. What
    /// broke later stays out of service: the rebuilt cell may be older than its last record.
    pub(crate) fn mend(&mut self, mut rebuilt: Self, broken: &Broken) {
        for product in &broken.products {
            self.broken_products.remove(product);
            self.take_over_people(*product, &mut rebuilt);
            match rebuilt.products.remove(product) {
                Some(actor) => self.products.insert(*product, actor),
                None => self.products.remove(product),
            };
        }
        for (shard, _) in broken.shards.iter().enumerate().filter(|(_, it)| **it) {
            self.broken_shards[shard] = false;
            self.orders.replace(shard, rebuilt.orders.take(shard));
        }
        self.note_waitlists();
    }

    /// What the provider may have answered while the actors could not listen is asked again.
    pub(crate) fn unfinished_effects_of(&self, mended: &Broken) -> Vec<Effect> {
        self.orders()
            .filter(|order| mended.concerns(order))
            .flat_map(|order| unfinished_effects(&order))
            .collect()
    }

    /// An order is out of service with its shard or with any of its products.
    pub(super) fn is_broken(&self, id: OrderId) -> bool {
        let is_product_broken = |line: &Line| self.broken_products.contains_key(&line.product);
        self.broken_shards[shard_of(id)]
            || (!self.broken_products.is_empty()
                && self
                    .orders
                    .of_order(id)
                    .lines(id)
                    .iter()
                    .any(is_product_broken))
    }
}
