//! A database that follows the journal: in batches, at its own pace, sometimes not at all, and sometimes from an
//! earlier state than it had.
//!
//! It folds events with the domain's own code and forgets nothing. What it gives back is what the real one gives at a
//! start and at a recall, and nothing else.

use anyhow::bail;

use crate::actors::core::cell::tests::as_stored;
use crate::actors::core::cell::{Cell, CellLimits};
use crate::actors::core::recall::{Stored, Wanted};
use crate::actors::core::replay::LiveState;
use crate::domain::{Event, Order, Product, Timestamp};
use crate::persistence::codec;
use crate::persistence::journal::{JournalReader, Position, ReadError, Records};

#[derive(Debug)]
pub(super) struct Sql {
    pub(super) cell: Cell,
    pub(super) position: Position,
    /// The furthest that it ever stood.
    pub(super) highest: Position,
    pub(super) away_until: Timestamp,
}

impl Sql {
    pub(super) fn new() -> Self {
        Self {
            cell: empty_cell(),
            position: Position::ZERO,
            highest: Position::ZERO,
            away_until: Timestamp::ZERO,
        }
    }

    pub(super) fn is_away(&self, now: Timestamp) -> bool {
        now < self.away_until
    }

    /// Applies the next records, at most so many, as one transaction.
    pub(super) fn follow(
        &mut self,
        reader: &mut dyn JournalReader,
        records_max: usize,
    ) -> Result<usize, ReadError> {
        let mut records = Records::new();
        let read = reader.next_batch(records_max, &mut records)?;
        for (position, record) in records.iter() {
            assert_eq!(position, self.position.next(), "a record was left out");
            let event = codec::decode(record).expect("what the engine wrote");
            self.cell.apply(position.get(), &event);
            self.position = position;
        }
        self.highest = self.highest.max(self.position);
        Ok(read)
    }

    /// Comes back as it was after that record.
    pub(super) fn fall_back(&mut self, to: Position, history: &[Event]) {
        self.cell = empty_cell();
        self.position = to;
        for (sequence, event) in (1..=to.get()).zip(history) {
            self.cell.apply(sequence, event);
        }
    }

    /// What a start reads: every product, the orders that are not at rest or were placed since then, and the people of
    /// sales with a limit that were not over by then.
    pub(super) fn live_state(&self, keep_since: Timestamp) -> LiveState {
        let is_read = |order: &Order| !order.is_at_rest() || order.placed_at >= keep_since;
        let read = |product: &Product| {
            let mut product = as_stored(product);
            if product.stock.in_hand() > 0 && !product.counts_people(keep_since) {
                product.forget_people();
            }
            product
        };
        LiveState {
            position: self.position,
            last_stamp: self.cell.latest_stamp(),
            products: self.cell.products().map(read).collect(),
            orders: self.cell.orders().filter(is_read).collect(),
        }
    }

    pub(super) fn recall(&self, wanted: &Wanted) -> Stored {
        let orders = wanted.orders.iter();
        let people = wanted.people.iter().filter_map(|id| {
            let (_, product) = self.cell.snapshot(*id)?;
            Some((*id, product.people()?.collect()))
        });
        Stored {
            position: self.position,
            orders: orders.filter_map(|id| self.cell.sound_order(*id)).collect(),
            people: people.collect(),
        }
    }

    /// For a replay, which waits for the answer.
    pub(super) fn ask(&self, now: Timestamp, wanted: &Wanted) -> anyhow::Result<Stored> {
        if self.is_away(now) {
            bail!("the database is away");
        }
        Ok(self.recall(wanted))
    }
}

fn empty_cell() -> Cell {
    Cell::new(CellLimits::default())
}
