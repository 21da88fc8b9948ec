//! A database that follows the journal: in batches, at its own pace, sometimes not at all, and sometimes from an
//! earlier state than it had.
//!
//! It folds events with the domain's own code and forgets nothing. What it gives back is what the real one gives at a
//! start and at a recall, and nothing else.

use anyhow::bail;

use crate::actors::core::cell::tests::as_stored;
use crate::actors::core::cell::{Cell, CellLimits};
use crate::actors::core::recall::StoredOrders;
use crate::actors::core::replay::LiveState;
use crate::domain::{Event, Order, OrderId, Timestamp};
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

    /// What a start reads: every product, and the orders that are not at rest or were placed since then.
    pub(super) fn live_state(&self, keep_since: Timestamp) -> LiveState {
        let is_read = |order: &Order| !order.is_at_rest() || order.placed_at >= keep_since;
        LiveState {
            position: self.position,
            last_stamp: self.cell.latest_stamp(),
            products: self.cell.products().map(as_stored).collect(),
            orders: self.cell.orders().filter(is_read).collect(),
        }
    }

    pub(super) fn orders(&self, wanted: &[OrderId]) -> StoredOrders {
        let orders = wanted.iter().filter_map(|id| self.cell.sound_order(*id));
        StoredOrders {
            position: self.position,
            orders: orders.collect(),
        }
    }

    /// For a replay, which waits for the answer.
    pub(super) fn ask(&self, now: Timestamp, wanted: &[OrderId]) -> anyhow::Result<StoredOrders> {
        if self.is_away(now) {
            bail!("the database is away");
        }
        Ok(self.orders(wanted))
    }
}

fn empty_cell() -> Cell {
    Cell::new(CellLimits::default())
}
