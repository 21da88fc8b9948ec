//! One turn of the engine: what a batch of commands decided, kept back until the journal has it.

use smallvec::SmallVec;

use super::message::{Answer, Effect, ReplyTo};
use crate::domain::{BuyerId, Event, IdMap, OrderId, OrderPlaced, ProductId, Timestamp};
use crate::persistence::codec;
use crate::persistence::journal::{Batch, Position};

/// Collects records, answers, effects and touched products. Nothing of it leaves before the batch is durable.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) now: Timestamp,
    pub(crate) batch: Batch,
    pub(crate) answers: Vec<(ReplyTo, Answer)>,
    pub(crate) effects: Vec<Effect>,
    /// Products whose published snapshot is stale.
    pub(crate) touched: IdMap<ProductId, ()>,
    /// Products that the command in hand has touched.
    pub(crate) touched_by_command: SmallVec<[ProductId; 4]>,
    /// What was placed, so that repeats and people with units in hand are recognised without asking an actor.
    pub(crate) placed: Vec<OrderPlaced>,
    /// Who was offered units of what, for the same reason.
    pub(crate) offered: Vec<(BuyerId, ProductId)>,
    /// Somebody watches buyers: note which orders change.
    pub(crate) is_watched: bool,
    /// Orders that changed; a watched turn alone notes them.
    pub(crate) changed: Vec<OrderId>,
    /// Places on waitlists that changed, likewise.
    pub(crate) places: Vec<(ProductId, BuyerId)>,
    last: Position,
}

impl Turn {
    pub(crate) fn new() -> Self {
        Self {
            now: Timestamp::ZERO,
            batch: Batch::new(),
            answers: Vec::new(),
            effects: Vec::new(),
            touched: IdMap::default(),
            touched_by_command: SmallVec::new(),
            placed: Vec::new(),
            offered: Vec::new(),
            is_watched: false,
            changed: Vec::new(),
            places: Vec::new(),
            last: Position::ZERO,
        }
    }

    /// Starts over after the record `last`, keeping the buffers.
    pub(crate) fn begin(&mut self, now: Timestamp, last: Position) {
        self.now = now;
        self.last = last;
        self.batch.clear();
        self.answers.clear();
        self.effects.clear();
        self.touched.clear();
        self.placed.clear();
        self.offered.clear();
        self.changed.clear();
        self.places.clear();
    }

    /// The sequence number that the next record will have.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.last
            .get()
            .saturating_add(u64::try_from(self.batch.len()).unwrap_or(u64::MAX))
            .saturating_add(1)
    }

    pub(crate) fn record(&mut self, event: &Event) {
        self.batch
            .push_with(|buffer| codec::encode(event, buffer))
            .expect("a record is bounded by what HTTP lets in, and a full batch takes no command");
    }

    pub(crate) fn note_change(&mut self, event: &Event) {
        if self.is_watched {
            self.changed.extend(event.order());
            event.for_each_place(|product, buyer| self.places.push((product, buyer)));
        }
    }

    pub(crate) fn begin_command(&mut self) {
        self.touched_by_command.clear();
    }

    pub(crate) fn touch(&mut self, product: ProductId) {
        self.touched.insert(product, ());
        self.touched_by_command.push(product);
    }

    pub(crate) fn answer(&mut self, to: ReplyTo, answer: Answer) {
        if to != ReplyTo::Nobody {
            self.answers.push((to, answer));
        }
    }
}
