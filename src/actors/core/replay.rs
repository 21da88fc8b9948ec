//! The journal folded into a cell that was read from SQL: at a start, when crashed actors are rebuilt, and by whoever
//! compares.
//!
//! SQL is read without the orders at rest that are older than what memory keeps. If a record speaks of one of them, it is
//! asked for before the record is applied, so that a replay knows every order that the live engine knew.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::cell::{Cell, CellLimits};
use super::recall::{Stored, Wanted};
use crate::domain::{Event, IdMap, Order, OrderId, Product, Timestamp};
use crate::panics::said_by;
use crate::persistence::codec::{self, CodecError};
use crate::persistence::journal::{JournalReader, Position, ReadError, Records};

/// Live state as of a position of the journal.
#[derive(Debug)]
pub struct LiveState {
    pub position: Position,
    /// The last stamp up to there, as far as it is known.
    pub last_stamp: Timestamp,
    pub products: Vec<Product>,
    pub orders: Vec<Order>,
}

/// Live state that a replay goes on from. Its orders may still be on their way.
pub struct ReplayBase {
    pub position: Position,
    pub last_stamp: Timestamp,
    pub products: Vec<Product>,
    /// May block.
    pub orders: Box<dyn Iterator<Item = anyhow::Result<Order>> + Send>,
}

impl std::fmt::Debug for ReplayBase {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ReplayBase")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl From<LiveState> for ReplayBase {
    fn from(live: LiveState) -> Self {
        Self {
            position: live.position,
            last_stamp: live.last_stamp,
            products: live.products,
            orders: Box::new(live.orders.into_iter().map(Ok)),
        }
    }
}

/// Asks SQL for what has left memory, and waits for the answer.
pub(crate) type Ask<'a> = &'a mut dyn FnMut(Wanted) -> anyhow::Result<Stored>;

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("record {position} of the journal cannot be read: {source}")]
    Codec {
        position: Position,
        source: CodecError,
    },
    /// The checksum is right, so an earlier release wrote it, or somebody did by hand.
    #[error("record {position} of the journal breaks the rules: {rule}")]
    Impossible { position: Position, rule: String },
    #[error("the orders cannot be read from the database: {0:#}")]
    Orders(anyhow::Error),
    #[error("what the journal speaks of cannot be read from the database: {0:#}")]
    Recall(anyhow::Error),
    /// What it gives now is not what the records are to be applied to.
    #[error("the database went on from record {base} to {found} during the replay")]
    Moved { base: Position, found: Position },
    #[error(
        "the database went back to record {sql} while it was read; the records before {next} are missing"
    )]
    WentBack { sql: Position, next: Position },
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Applies the records behind the live state, up to `through`.
pub(crate) fn replay(
    base: impl Into<ReplayBase>,
    reader: &mut dyn JournalReader,
    through: Position,
    limits: CellLimits,
    ask: Ask<'_>,
) -> Result<Cell, ReplayError> {
    const RECORDS_AT_ONCE: usize = 10_000;
    let state = base.into();
    let base = state.position;
    if reader.position() > base {
        return Err(ReplayError::WentBack {
            sql: base,
            next: reader.position().next(),
        });
    }
    let mut cell = restore(state, limits)?;
    cell.note_people_elsewhere(base);
    let mut records = Records::new();
    // Not a record past `through` is taken from the reader: it may be read on from there.
    while reader.position() < through {
        let wanted = through.get() - reader.position().get();
        let records_max =
            usize::try_from(wanted).map_or(RECORDS_AT_ONCE, |it| it.min(RECORDS_AT_ONCE));
        if reader.next_batch(records_max, &mut records)? == 0 {
            break;
        }
        let events = decode_after(base, &records)?;
        bring_back(&mut cell, &events, base, ask)?;
        for (position, event) in &events {
            let applied = catch_unwind(AssertUnwindSafe(|| cell.apply(position.get(), event)));
            applied.map_err(|panic| ReplayError::Impossible {
                position: *position,
                rule: said_by(panic.as_ref()),
            })?;
        }
    }
    bring_back_people(&mut cell, base, ask)?;
    Ok(cell)
}

fn restore(state: ReplayBase, limits: CellLimits) -> Result<Cell, ReplayError> {
    let mut failure = None;
    let orders = state
        .orders
        .map_while(|order| order.map_err(|error| failure = Some(error)).ok());
    let cell = Cell::restore(state.products, orders, state.last_stamp, limits);
    failure.map_or(Ok(cell), |failure| Err(ReplayError::Orders(failure)))
}

/// Records that the live state has already are left out.
fn decode_after(base: Position, records: &Records) -> Result<Vec<(Position, Event)>, ReplayError> {
    records
        .iter()
        .filter(|(position, _)| *position > base)
        .map(|(position, record)| match codec::decode(record) {
            Ok(event) => Ok((position, event)),
            Err(source) => Err(ReplayError::Codec { position, source }),
        })
        .collect()
}

/// Puts into the cell the orders that the events change and the cell does not have.
fn bring_back(
    cell: &mut Cell,
    events: &[(Position, Event)],
    base: Position,
    ask: Ask<'_>,
) -> Result<(), ReplayError> {
    let wanted = Wanted {
        orders: missing_orders(cell, events),
        ..Wanted::default()
    };
    if wanted.orders.is_empty() {
        return Ok(());
    }
    for order in ask_at(base, wanted, ask)?.orders {
        let at = order.changed_at;
        cell.admit(order, at);
    }
    Ok(())
}

/// What people have in hand of products that count it now and did not before.
fn bring_back_people(cell: &mut Cell, base: Position, ask: Ask<'_>) -> Result<(), ReplayError> {
    let products = cell.products_without_people();
    if products.is_empty() {
        return Ok(());
    }
    let wanted = Wanted {
        people: products.clone(),
        ..Wanted::default()
    };
    let mut stored = ask_at(base, wanted, ask)?;
    for product in products {
        let people = stored.people.remove(&product).unwrap_or_default();
        cell.recall_people(product, people, base);
    }
    Ok(())
}

fn ask_at(base: Position, wanted: Wanted, ask: Ask<'_>) -> Result<Stored, ReplayError> {
    let stored = ask(wanted).map_err(ReplayError::Recall)?;
    match stored.position == base {
        true => Ok(stored),
        false => Err(ReplayError::Moved {
            base,
            found: stored.position,
        }),
    }
}

fn missing_orders(cell: &Cell, events: &[(Position, Event)]) -> Vec<OrderId> {
    let mut known: IdMap<OrderId, ()> = IdMap::default();
    let mut missing = Vec::new();
    for (_, event) in events {
        let Some(order) = event.order() else { continue };
        let is_news = known.insert(order, ()).is_none();
        if is_news && !matches!(event, Event::OrderPlaced(_)) && !cell.has_order(order) {
            missing.push(order);
        }
    }
    missing
}
