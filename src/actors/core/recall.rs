//! What has left memory and is asked for again.
//!
//! An order to which nothing happens by itself leaves memory a day after its last change, once SQL has it; and so does what
//! people have in hand of a product, where no limit counts it. Whoever asks about such an order, or wants something done
//! for which one of them must be known, waits here until SQL has given it back; then the same rules decide as always. So
//! nobody outside needs to know where anything is.
//!
//! **Invariant:** what SQL gives back counts only if SQL stands at least where it stood when it was forgotten: a
//! database that came back older must not bring back an order as it was.
//!
//! SQL is asked for many things at once and once at a time, so a slow database makes the next question larger, not more
//! of them.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use super::message::{Envelope, ReplyTo};
use crate::domain::{IdMap, InHand, Order, OrderId, ProductId};
use crate::persistence::journal::Position;

/// Something that is not in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Missing {
    Order(OrderId),
    /// What everybody has in hand of the product.
    People(ProductId),
}

/// What SQL is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    pub orders: Vec<OrderId>,
    /// Products of which it is asked what everybody has in hand.
    pub people: Vec<ProductId>,
}

/// What SQL has of it, read in one snapshot. What was asked for and is not there does not exist.
#[derive(Debug)]
pub struct Stored {
    /// Where SQL stood.
    pub position: Position,
    pub orders: Vec<Order>,
    pub people: IdMap<ProductId, InHand>,
}

impl Wanted {
    pub(super) fn of(missing: impl IntoIterator<Item = Missing>) -> Self {
        let mut wanted = Self::default();
        for missing in missing {
            match missing {
                Missing::Order(order) => wanted.orders.push(order),
                Missing::People(product) => wanted.people.push(product),
            }
        }
        wanted
    }
}

#[derive(Debug)]
pub(super) struct Recalls {
    /// Commands that wait, in the order in which they came.
    parked: IdMap<Missing, Vec<Envelope>>,
    parked_len: usize,
    /// To be asked for next.
    wanted: Vec<Missing>,
    /// What SQL is being asked for; empty if nothing.
    asked: Vec<Missing>,
    /// Commands for which SQL was asked, whether it had what they are about or not.
    ready: VecDeque<Envelope>,
    /// What the provider told of something that could not be had, to be tried again.
    later: Vec<Envelope>,
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
            later: Vec::new(),
            safe_from,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.parked_len >= Self::PARKED_MAX
    }

    /// Keeps a command until SQL has been asked for what is missing.
    pub(super) fn park(&mut self, missing: Missing, envelope: Envelope) {
        self.parked_len += 1;
        match self.parked.entry(missing) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push(envelope),
            Entry::Vacant(nobody) => {
                nobody.insert(vec![envelope]);
                self.wanted.push(missing);
            }
        }
    }

    /// Orders were forgotten that SQL has since it stood at `position`.
    pub(super) fn note_forgotten(&mut self, position: Position) {
        self.safe_from = self.safe_from.max(position);
    }

    /// What to ask SQL for, unless it is being asked.
    pub(super) fn next(&mut self) -> Option<Wanted> {
        if !self.asked.is_empty() || self.wanted.is_empty() {
            return None;
        }
        let rest = self
            .wanted
            .split_off(self.wanted.len().min(Self::ASKED_AT_ONCE_MAX));
        self.asked = std::mem::replace(&mut self.wanted, rest);
        Some(Wanted::of(self.asked.iter().copied()))
    }

    /// Products of whose people SQL is being asked.
    pub(super) fn asked_people(&self) -> impl Iterator<Item = ProductId> + '_ {
        self.asked.iter().filter_map(|missing| match missing {
            Missing::People(product) => Some(*product),
            Missing::Order(_) => None,
        })
    }

    /// Makes the commands ready that waited for what was asked, and gives what SQL had. `None`: SQL did not answer, or it
    /// is older than what was forgotten, or than `safe_from`; see [`Recalls::take_asked`].
    pub(super) fn returned(
        &mut self,
        stored: Option<Stored>,
        safe_from: Position,
    ) -> Option<Stored> {
        let safe_from = self.safe_from.max(safe_from);
        let stored = stored.filter(|stored| stored.position >= safe_from)?;
        for missing in std::mem::take(&mut self.asked) {
            let waited = self.parked.remove(&missing).unwrap_or_default();
            self.parked_len -= waited.len();
            self.ready.extend(waited);
        }
        Some(stored)
    }

    /// Whether what has come back must stay until those who wait for more of it have been served.
    pub(super) fn needs_what_came_back(&self) -> bool {
        let waits_for_people = |missing: &Missing| matches!(missing, Missing::People(_));
        !self.ready.is_empty() || self.parked.keys().any(waits_for_people)
    }

    /// Keeps what nobody would say again until [`Recalls::take_later`]. As many as there may be payments under way.
    pub(super) fn put_off(&mut self, envelope: Envelope) {
        self.later.push(envelope);
    }

    /// What was put off, to be tried once more.
    pub(super) fn take_later(&mut self) -> Vec<Envelope> {
        std::mem::take(&mut self.later)
    }

    /// Who waited for what was asked, and waits no longer. What the provider told is put off instead.
    pub(super) fn take_asked(&mut self) -> Vec<ReplyTo> {
        let mut waited = Vec::new();
        for missing in std::mem::take(&mut self.asked) {
            let commands = self.parked.remove(&missing).unwrap_or_default();
            self.parked_len -= commands.len();
            for envelope in commands {
                match envelope.reply_to {
                    ReplyTo::Nobody => self.put_off(envelope),
                    reply_to => waited.push(reply_to),
                }
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
        self.later.clear();
        let parked = std::mem::take(&mut self.parked).into_values().flatten();
        let ready = std::mem::take(&mut self.ready);
        parked.chain(ready).map(|it| it.reply_to).collect()
    }
}
