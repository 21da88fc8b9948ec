//! Notices: letters to people about what became of their orders. They follow the journal, like the projection, and behind it.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `fold.rs` | which events of a batch are worth a letter, and which letters say each other's news; pure |
//! | `letters.rs` | from what is told and what SQL knows to letters; pure |
//! | `teller.rs` | one batch: looking up, sealing, and writing letters and position in one transaction |
//!
//! Whoever waits for a product gets one when it is their turn. An order gets a letter when it is held, paid, expired, cancelled, shipped, when money goes back, and when it is back. If
//! one thing follows the other before its letter was written, the later letter is enough: an order that was paid already is
//! not told to be held.
//!
//! **Invariant:** letters and the position in the journal change in one transaction. So each event is told into the outbox
//! once, over any crash; how a letter goes on from there is the carrier's business.
//!
//! **Invariant:** no purchase waits for a letter. The thread has the lowest claim on the processor, and works a quarter of
//! the time in a rush. When too many letters wait to be sent, it waits too, and the journal keeps what it has not read, up
//! to the budget that SQL has as well.
//!
//! Deliberately absent: order between people, and letters to those who have no address with us.

mod fold;
mod letters;
mod teller;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::accounts::vault::Vault;
use crate::calendar::ShopCalendar;
use crate::clock::Clock;
use crate::mail::CarrierHandle;
use crate::persistence::database::{Database, Error};
use crate::persistence::following::{self, Follower, Options, Progress, ResumeError, ResumePoint};
use crate::persistence::journal::{Position, View};

pub use teller::TellError;
use teller::Teller;

/// Half a second is soon enough for a letter, and lets one say what two would have said.
pub const PACE: Options = Options {
    batch_records_max: 4_000,
    idle: Duration::from_millis(500),
    batch_timeout: Duration::from_secs(30),
    commit_durably_every: Duration::from_secs(5),
    retry_pause_min: Duration::from_millis(100),
    retry_pause_max: Duration::from_secs(5),
    rush_rest: 3,
    rush_batches_max: u32::MAX,
};

/// Why the notices cannot go on.
pub type StopReason = following::StopReason<TellError>;

/// What letters are made with.
#[derive(Debug, Clone)]
pub struct NoticesParts {
    pub database: Database,
    pub(crate) vault: Vault,
    pub carrier: CarrierHandle,
    pub clock: Arc<dyn Clock>,
    /// Deadlines are told on its clock.
    pub calendar: ShopCalendar,
    /// How far the rows follow: letters are made from them.
    pub projected: Progress,
    /// Letters about orders that may wait to be sent; further ones are not written until there is room.
    pub waiting_max: u64,
}

impl NoticesParts {
    pub const WAITING_MAX: u64 = 10_000;
}

/// Where letters go on: found before the journal belongs to the engine, used once the keys of accounts are there. From the
/// first moment on the journal keeps what lies behind it.
pub struct LettersPlace {
    journal: View,
    point: ResumePoint,
    progress: Progress,
}

/// Why there is no place to go on from.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error(transparent)]
    Database(#[from] Error),
    #[error("letters about orders cannot go on: {0}")]
    Resume(#[from] ResumeError),
}

impl LettersPlace {
    /// Behind the last letter that was written; in a database of which nobody has written yet, where SQL stands: the past is
    /// not told.
    pub async fn find(
        database: &Database,
        journal: View,
        projected: Position,
    ) -> Result<Self, PlaceError> {
        let stored = database.begin_notices(projected).await?;
        let point = ResumePoint::find_or_skip(stored, &journal)?;
        let progress = Progress::new(stored.position);
        let (skipped, before_first) = (point.skipped, point.reader.position());
        if skipped > 0 {
            progress.skip_to(before_first, skipped);
            tracing::warn!(
                skipped,
                "the journal has let go {skipped} records of which no letters were written; letters go on after record {before_first}"
            );
        }
        Ok(Self {
            journal,
            point,
            progress,
        })
    }

    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl std::fmt::Debug for LettersPlace {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "LettersPlace({})", self.progress.position())
    }
}

/// Running notices. Dropping them lets them run on; see [`Notices::stop`].
#[derive(Debug)]
pub struct Notices(Follower<TellError>);

impl Notices {
    pub fn start(
        place: LettersPlace,
        parts: NoticesParts,
        pace: Options,
    ) -> Result<Self, StopReason> {
        let LettersPlace {
            journal,
            point,
            progress,
        } = place;
        Follower::start(journal, point, progress, Teller::new(parts), pace).map(Self)
    }

    pub fn progress(&self) -> &Progress {
        self.0.progress()
    }

    /// Ends after the batch in hand; blocks until then. What is left is told after the next start.
    pub fn stop(self) -> Result<(), StopReason> {
        self.0.stop()
    }
}
