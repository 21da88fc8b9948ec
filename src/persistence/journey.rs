//! Journeys: what became of one order, and of the units of one product, read from the journal's own files.
//!
//! The journal is the proof; SQL is only asked where the units of a product were before the oldest record that is kept.
//! A record is decoded only if its bytes have the id in them somewhere.
//!
//! **Invariant:** a journey that does not begin at the beginning says so.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::acts;
use super::codec::{self, CodecError};
use super::database::{self, Database};
use super::journal::{JournalReader, Position, ReadError, Records, View};
use crate::domain::{
    AdminMark, Bucket, Event, Order, OrderId, Posting, ProductChange, ProductId, Stock, Timestamp,
};

/// Journeys that are read at once: each may read every segment there is. The next is told to come again.
const AT_ONCE_MAX: usize = 2;
const RECORDS_AT_ONCE: usize = 4_096;
/// So often may the oldest segment be released under a reader before it is given up.
const TRIES_MAX: u32 = 3;

/// Reads journeys; cheap to clone.
#[derive(Clone)]
pub struct Journeys {
    journal: View,
    database: Database,
    permits: Arc<Semaphore>,
}

/// One record of a journey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub position: u64,
    pub at: Timestamp,
    /// `order_placed`, `payment_captured`, `stock_set` and so on.
    pub act: &'static str,
    /// Who of the shop did it.
    pub mark: Option<AdminMark>,
    /// The order whose record it is, if it is one of an order.
    pub order: Option<OrderId>,
    pub postings: Vec<Posting>,
}

/// A movement of units, and where all units of the product are after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// With the postings of this product alone.
    pub step: Step,
    pub units: Units,
}

/// Units by bucket, in the order of [`Units::BUCKETS`].
/// Signed, because while the journal is read only what has moved is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Units([i64; Units::BUCKETS.len()]);

/// What was found, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey<T> {
    pub steps: Vec<T>,
    /// The oldest record that was read.
    pub from_position: u64,
    /// Nothing older is missing.
    pub complete: bool,
    /// There is more after the last step.
    pub more: bool,
}

/// Why a journey is not told.
#[derive(Debug, thiserror::Error)]
pub enum JourneyRefusal {
    #[error("as many journeys are being read as are admitted")]
    Busy,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("record {position} of the journal cannot be read: {source}")]
    Codec {
        position: Position,
        source: CodecError,
    },
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error("the reading of the journal broke off")]
    Stopped,
}

impl std::fmt::Debug for Journeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Journeys").finish_non_exhaustive()
    }
}

impl Units {
    pub const BUCKETS: [Bucket; 6] = [
        Bucket::Available,
        Bucket::Held,
        Bucket::Offered,
        Bucket::Sold,
        Bucket::Returning,
        Bucket::Withdrawn,
    ];

    fn of(stock: &Stock) -> Self {
        Self(Self::BUCKETS.map(|bucket| signed(stock.units(bucket))))
    }

    pub const fn counts(&self) -> [i64; Self::BUCKETS.len()] {
        self.0
    }

    fn post(&mut self, posting: &Posting) {
        let units = signed(posting.units);
        for (bucket, count) in Self::BUCKETS.into_iter().zip(&mut self.0) {
            if bucket == posting.from {
                *count -= units;
            }
            if bucket == posting.to {
                *count += units;
            }
        }
    }

    fn plus(mut self, other: Self) -> Self {
        self.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(it, more)| *it += more);
        self
    }

    fn minus(mut self, other: Self) -> Self {
        self.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(it, less)| *it -= less);
        self
    }
}

impl Journeys {
    pub fn new(journal: View, database: Database) -> Self {
        Self {
            journal,
            database,
            permits: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        }
    }

    /// Every record about the order.
    pub async fn of_order(&self, order: &Order) -> Result<Journey<Step>, JourneyRefusal> {
        let (id, placed) = (order.id, order.sequence);
        let journal = Arc::clone(&self.journal);
        self.read(move || again_if_released(|| order_journey(&journal, id, placed)))
            .await
    }

    /// The movements of the product's units after the record `after`, at most `limit` of them.
    pub async fn of_product(
        &self,
        product: ProductId,
        after: u64,
        limit: usize,
    ) -> Result<Journey<Movement>, JourneyRefusal> {
        let journal = Arc::clone(&self.journal);
        let wanted = Wanted {
            product,
            after,
            limit,
        };
        // Before the journal is read, which then has everything that SQL stands for.
        let known = self.database.stock_at(product).await?;
        self.read(move || again_if_released(|| product_journey(&journal, wanted, known)))
            .await
    }

    /// On a thread that may block. The permit is held until that is done, whether or not anybody still waits.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, JourneyRefusal> + Send + 'static,
    ) -> Result<T, JourneyRefusal> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit: OwnedSemaphorePermit = permit.map_err(|_none_left| JourneyRefusal::Busy)?;
        let reading = tokio::task::spawn_blocking(move || {
            let read = read();
            drop(permit);
            read
        });
        reading.await.unwrap_or(Err(JourneyRefusal::Stopped))
    }
}

/// Segments that SQL has are released at any time, also while they are being read.
fn again_if_released<T>(read: impl Fn() -> Result<T, JourneyRefusal>) -> Result<T, JourneyRefusal> {
    for _ in 1..TRIES_MAX {
        match read() {
            Err(JourneyRefusal::Read(ReadError::Released { .. })) => {}
            other => return other,
        }
    }
    read()
}

fn order_journey(
    journal: &View,
    id: OrderId,
    placed: u64,
) -> Result<Journey<Step>, JourneyRefusal> {
    let mut reader = open(journal, Position::new(placed.saturating_sub(1)))?;
    let from_position = reader.position().get().saturating_add(1);
    let mut steps = Vec::new();
    walk(journal, reader.as_mut(), id.get(), |step, event| {
        if is_about(event, id) {
            steps.push(step);
        }
        true
    })?;
    Ok(Journey {
        steps,
        from_position,
        complete: from_position <= placed,
        more: false,
    })
}

/// Not every record with the id in it is one of the order: the bytes may stand there by chance.
fn is_about(event: &Event, id: OrderId) -> bool {
    match event {
        Event::OrderPlaced(placed) => placed.order == id,
        Event::OrderChanged { order, .. } => *order == id,
        Event::ProductChanged { .. } | Event::WaitlistChanged { .. } => false,
    }
}

#[derive(Clone, Copy)]
struct Wanted {
    product: ProductId,
    after: u64,
    limit: usize,
}

/// Counts from nothing if the journal reaches back that far. Else what was there before is what SQL has at its position,
/// less what moved until then.
fn product_journey(
    journal: &View,
    wanted: Wanted,
    known: Option<(Position, Stock)>,
) -> Result<Journey<Movement>, JourneyRefusal> {
    let mut reader = open(journal, Position::ZERO)?;
    let from_position = reader.position().get().saturating_add(1);
    let mut complete = from_position <= 1;
    let counted_through = known.map_or(0, |(position, _)| position.get());
    let (mut units, mut until_known) = (Units::default(), Units::default());
    let mut steps = Vec::new();
    walk(
        journal,
        reader.as_mut(),
        wanted.product.get(),
        |mut step, event| {
            complete = complete || begins(event, wanted.product);
            step.postings.retain(|it| it.product == wanted.product);
            if step.postings.is_empty() {
                return true;
            }
            step.postings.iter().for_each(|it| units.post(it));
            let position = step.position;
            if position <= counted_through {
                until_known = units;
            }
            if position > wanted.after && steps.len() <= wanted.limit {
                steps.push(Movement { step, units });
            }
            // Beyond the page only what tells where it all began is of interest.
            steps.len() <= wanted.limit || (!complete && position <= counted_through)
        },
    )?;
    let before = match known {
        Some((_, stock)) if !complete => Units::of(&stock).minus(until_known),
        _ => Units::default(),
    };
    let more = steps.len() > wanted.limit;
    steps.truncate(wanted.limit);
    for step in &mut steps {
        step.units = step.units.plus(before);
    }
    Ok(Journey {
        steps,
        from_position,
        complete,
        more,
    })
}

/// Nothing of a product is older than its registration.
fn begins(event: &Event, id: ProductId) -> bool {
    matches!(
        event,
        Event::ProductChanged { product, change: ProductChange::Registered { .. }, .. } if *product == id
    )
}

/// A reader after `after`, or after what is no longer kept.
fn open(journal: &View, after: Position) -> Result<Box<dyn JournalReader>, JourneyRefusal> {
    match journal.reader(after) {
        Err(ReadError::Released { first, .. }) => {
            let before_first = first.get().saturating_sub(1);
            Ok(journal.reader(Position::new(before_first))?)
        }
        other => Ok(other?),
    }
}

/// Shows every record with the id in it, until it is told to stop.
fn walk(
    journal: &View,
    reader: &mut dyn JournalReader,
    id: u128,
    mut show: impl FnMut(Step, &Event) -> bool,
) -> Result<(), JourneyRefusal> {
    let mut records = Records::new();
    while reader.next_batch(RECORDS_AT_ONCE, &mut records)? > 0 {
        let wanted = records.iter().filter(|(_, it)| codec::mentions(it, id));
        for (position, record) in wanted {
            let event = codec::decode(record).map_err(|source| {
                let unreadable = JourneyRefusal::Codec { position, source };
                journal.report_damage(&unreadable.to_string());
                unreadable
            })?;
            if !show(Step::of(position, &event), &event) {
                return Ok(());
            }
        }
    }
    Ok(())
}

impl Step {
    fn of(position: Position, event: &Event) -> Self {
        let (act, mark, order) = match event {
            Event::ProductChanged { mark, change, .. } => {
                (acts::of_product(change), Some(*mark), None)
            }
            Event::OrderPlaced(placed) => (acts::ORDER_PLACED, None, Some(placed.order)),
            Event::OrderChanged {
                order,
                mark,
                change,
                ..
            } => (acts::of_order(change), *mark, Some(*order)),
            Event::WaitlistChanged { change, .. } => (acts::of_waitlist(change), None, None),
        };
        let mut postings = Vec::new();
        event.for_each_posting(|posting| postings.push(*posting));
        Self {
            position: position.get(),
            at: event.at(),
            act,
            mark,
            order,
            postings,
        }
    }
}

fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}
