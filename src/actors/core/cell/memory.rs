//! Which orders are in memory: those at rest leave it after a while, and come back when they are asked for.

use super::{Cell, SHARDS};
use crate::actors::core::message::Command;
use crate::domain::{Order, OrderId, Timestamp};

impl Cell {
    /// Orders at rest in memory.
    pub(crate) fn at_rest_len(&self) -> usize {
        self.orders.at_rest_len()
    }

    pub(crate) fn has_order(&self, id: OrderId) -> bool {
        self.orders.of_order(id).contains(id)
    }

    /// The order that a command is about, if it is not in memory: only SQL can tell whether there is such an order.
    pub(crate) fn forgotten_order(&self, command: &Command) -> Option<OrderId> {
        let id = command.order()?;
        (!self.has_order(id) && !self.is_broken(id)).then_some(id)
    }

    /// Takes back an order that had been forgotten, as SQL has it. It stays for a while, or for as long as something
    /// happens to it.
    pub(crate) fn admit(&mut self, order: Order, now: Timestamp) {
        let id = order.id;
        if !self.has_order(id) && !self.is_broken(id) {
            self.insert(order);
            self.recalled.push_back((now, id));
        }
    }

    /// Forgets orders at rest: those that changed last before `kept_since`, at most `orders_max` of them, and those that
    /// were asked for again and are not needed any more. Only what SQL has is forgotten: changes up to `in_sql_through`.
    /// Says how many.
    pub(crate) fn forget_at_rest(
        &mut self,
        in_sql_through: Timestamp,
        kept_since: Timestamp,
        orders_max: usize,
    ) -> usize {
        let before = in_sql_through.min(kept_since);
        let mut forgotten = 0;
        for _ in 0..SHARDS {
            let shard = self.forget_next;
            forgotten += self.forget_at_rest_of(shard, before, orders_max - forgotten);
            if forgotten == orders_max {
                break;
            }
            self.forget_next = (shard + 1) % SHARDS;
        }
        forgotten
    }

    fn forget_at_rest_of(&mut self, shard: usize, before: Timestamp, orders_max: usize) -> usize {
        let mut forgotten = 0;
        while let Some((at, id)) = self.orders.shard(shard).first_at_rest()
            && at < before
            && forgotten < orders_max
            && !self.is_broken(id)
        {
            self.orders.remove(id);
            forgotten += 1;
        }
        forgotten
    }

    /// Forgets orders that were asked for again before an instant, if nothing has come of it.
    pub(crate) fn forget_recalled(
        &mut self,
        asked_before: Timestamp,
        kept_since: Timestamp,
    ) -> usize {
        let mut forgotten = 0;
        while let Some((_, id)) = self
            .recalled
            .front()
            .copied()
            .filter(|it| it.0 < asked_before)
        {
            self.recalled.pop_front();
            let is_as_it_was = |order: &Order| order.changed_at < kept_since && order.is_at_rest();
            if self.sound_order(id).filter(is_as_it_was).is_some() {
                self.orders.remove(id);
                forgotten += 1;
            }
        }
        forgotten
    }
}
