//! Orders that have left memory and are asked for again.
//!
//! An order to which nothing happens by itself leaves memory a day after its last change, once SQL has it. Whoever asks
//! about such an order, or wants something done with it, waits here until SQL has given it back; then the same rules
//! decide as for every other order. So nobody outside needs to know where an order is.
//!
//! **Invariant:** what SQL gives back counts only if SQL stands at least where it stood when the order was forgotten: a
//! database that came back older must not bring back an order as it was.
//!
//! SQL is asked for many orders at once and once at a time, so a slow database makes the next question larger, not more
//! of them.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use super::message::{Envelope, ReplyTo};
use crate::domain::{IdMap, Order, OrderId};
use crate::persistence::journal::Position;

/// Orders as SQL has them, read in one snapshot. What was asked for and is not among them does not exist.
#[derive(Debug)]
pub struct StoredOrders {
    /// Where SQL stood.
    pub position: Position,
    pub orders: Vec<Order>,
}

#[derive(Debug)]
pub(super) struct Recalls {
    /// Commands that wait for an order, in the order in which they came.
    parked: IdMap<OrderId, Vec<Envelope>>,
    parked_len: usize,
    /// To be asked for next.
    wanted: Vec<OrderId>,
    /// What SQL is being asked for; empty if nothing.
    asked: Vec<OrderId>,
    /// Commands whose orders were asked for, whether SQL had them or not.
    ready: VecDeque<Envelope>,
    /// SQL had everything that was forgotten when it stood here.
    safe_from: Position,
}

impl Recalls {
    /// Commands that wait; the next is refused as [`Refusal::RecallsBusy`](super::message::Refusal::RecallsBusy).
    pub(super) const PARKED_MAX: usize = 4_096;
    const ASKED_AT_ONCE_MAX: usize = 256;

    pub(super) fn new(safe_from: Position) -> Self {
        Self {
            parked: IdMap::default(),
            parked_len: 0,
            wanted: Vec::new(),
            asked: Vec::new(),
            ready: VecDeque::new(),
            safe_from,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.parked_len >= Self::PARKED_MAX
    }

    /// Keeps a command until SQL has been asked for its order.
    pub(super) fn park(&mut self, order: OrderId, envelope: Envelope) {
        self.parked_len += 1;
        match self.parked.entry(order) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push(envelope),
            Entry::Vacant(nobody) => {
                nobody.insert(vec![envelope]);
                self.wanted.push(order);
            }
        }
    }

    /// Orders were forgotten that SQL has since it stood at `position`.
    pub(super) fn note_forgotten(&mut self, position: Position) {
        self.safe_from = self.safe_from.max(position);
    }

    /// What to ask SQL for, unless it is being asked.
    pub(super) fn next(&mut self) -> Option<Vec<OrderId>> {
        if !self.asked.is_empty() || self.wanted.is_empty() {
            return None;
        }
        let rest = self
            .wanted
            .split_off(self.wanted.len().min(Self::ASKED_AT_ONCE_MAX));
        self.asked = std::mem::replace(&mut self.wanted, rest);
        Some(self.asked.clone())
    }

    /// Makes the commands ready that waited for what was asked, and gives the orders. `None`: SQL did not answer, or it
    /// is older than what was forgotten; see [`Recalls::take_asked`].
    pub(super) fn returned(&mut self, stored: Option<StoredOrders>) -> Option<Vec<Order>> {
        let stored = stored.filter(|stored| stored.position >= self.safe_from)?;
        for order in std::mem::take(&mut self.asked) {
            let waited = self.parked.remove(&order).unwrap_or_default();
            self.parked_len -= waited.len();
            self.ready.extend(waited);
        }
        Some(stored.orders)
    }

    /// Who waited for what was asked, and waits no longer.
    pub(super) fn take_asked(&mut self) -> Vec<ReplyTo> {
        let mut waited = Vec::new();
        for order in std::mem::take(&mut self.asked) {
            let commands = self.parked.remove(&order).unwrap_or_default();
            self.parked_len -= commands.len();
            for envelope in commands {
                if envelope.reply_to == ReplyTo::Nobody {
                    tracing::warn!(order.id = %order, "what was told about an order that has left memory was not heard, for the database is away");
                }
                waited.push(envelope.reply_to);
            }
        }
        waited
    }

    /// The next command that waits no longer.
    pub(super) fn pop_ready(&mut self) -> Option<Envelope> {
        self.ready.pop_front()
    }

    /// Everybody who waits, for an answer that ends it.
    pub(super) fn take_all(&mut self) -> Vec<ReplyTo> {
        self.parked_len = 0;
        self.wanted.clear();
        self.asked.clear();
        let parked = std::mem::take(&mut self.parked).into_values().flatten();
        let ready = std::mem::take(&mut self.ready);
        parked.chain(ready).map(|it| it.reply_to).collect()
    }
}
