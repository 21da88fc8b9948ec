//! The journal: the one thing that Layby remembers for certain.
//!
//! A journal is a log of opaque records. A batch of records is durable before `append` returns, so an
//! answer that waits for `append` is a promise that a power cut cannot take back. Everything else (SQL,
//! caches, live views) follows by reading the log.
//!
//! Where to look:
//!
//! | file | what it knows |
//! | --- | --- |
//! | `batch.rs`, `records.rs` | records on their way in and on their way out |
//! | `format.rs` | the bytes of a segment; no I/O |
//! | `disk.rs`, `sim_disk/` | the fsync seam: a real directory, and one that crashes on request |
//! | `retained.rs` | what writer and readers share: the durable position and the segments still kept |
//! | `soundness.rs` | whether anybody has found damage, which fails the journal for everybody |
//! | `spares.rs` | segments prepared ahead, so that a switch never waits for 64 MiB of zeros |
//! | `file.rs` | the writer |
//! | `scan.rs`, `recovery.rs` | what is on the disk, and what may be done about it |
//! | `check.rs` | what a start did not read, checked behind it |
//! | `reader.rs` | following the log from another thread |
//! | `memory.rs` | the same contract without a disk, for tests of the engine |
//!
//! **Invariant:** there is at most one frame in flight. The next batch is written only after the previous
//! one is durable, so a valid later frame proves that an invalid earlier one was damaged, not torn.
//!
//! **Invariant:** no call is retried. After the first failure the writer refuses everything; the truth is
//! found by opening the journal again.
//!
//! **Invariant:** damage is everybody's. Whoever finds some, the writer or any reader, fails the journal: from then on
//! nothing is appended, because a start that reads the same bytes would be refused, with all that came after them.
//!
//! Deliberately absent: what a record means, timers (the caller's batch is whatever is ready), repair of
//! damage (a single machine can notice it, not undo it), and removal of records that nobody released.

mod batch;
mod check;
mod disk;
mod file;
mod format;
#[cfg(any(test, feature = "test-doubles"))]
mod memory;
mod reader;
mod records;
mod recovery;
mod retained;
mod scan;
#[cfg(any(test, feature = "test-doubles"))]
mod sim_disk;
mod soundness;
mod spares;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;

use std::{fmt, io, sync::Arc};

pub use self::batch::{BATCH_BYTES_MAX, Batch, BatchError, RECORD_BYTES_MAX};
pub use self::check::{CheckOutcome, RestCheck, RunningCheck};
pub use self::disk::{Disk, DiskFile, RealDisk};
pub use self::file::{FileJournal, LockedJournal, Options, SparePreparation};
pub use self::format::Flaw;
#[cfg(any(test, feature = "test-doubles"))]
pub use self::memory::{AppendFault, MemoryJournal};
pub use self::records::{Frames, Records};
pub use self::recovery::{Inspection, OpenError, Recovery, TornTail};
#[cfg(any(test, feature = "test-doubles"))]
pub use self::sim_disk::{FaultPlan, FaultsFired, SimDisk, SimFile, SimLock, WriteFault};

/// The sequence number of a record: dense, from 1. `ZERO` is the place before the first record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// Before the first record.
    pub const ZERO: Self = Self(0);

    pub const fn new(sequence: u64) -> Self {
        Self(sequence)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one.
    ///
    /// # Panics
    /// After 2^64 - 1 records; at a million a second that is in half a million years.
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    pub(crate) const fn plus(self, records: u64) -> Self {
        match self.0.checked_add(records) {
            Some(sequence) => Self(sequence),
            None => panic!("the journal ran out of sequence numbers"),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a journal, drawn at random when it is made. It stands in every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JournalId(u64);

impl JournalId {
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A durable, ordered log with one writer.
///
/// The contract, proved for every implementation by `conformance.rs`:
/// - When `append` returns `Ok(position)`, every record of the batch survives a power cut, and `position` is
///   that of its last record. The order of records is the order of calls and of pushes.
/// - A batch whose `append` returned `Err` is indeterminate: after a restart it is there as a whole or not at all.
/// - After the first `Err` of `append` or `seal`, every later one fails with [`JournalError::Failed`], and nothing is
///   retried: a second fsync may report success without the data.
/// - Once damage is known ([`JournalView::report_damage`]), `append` and `seal` fail, `seal` also where it has nothing
///   to write: a writer that is idle notices by it.
/// - An empty batch is `Ok` and changes nothing.
/// - A reader sees every durable record exactly once and in order, and never one that is not durable.
/// - What was not released through [`Journal::release_through`] stays readable.
pub trait Journal: Send {
    /// Makes the batch durable, after everything appended before.
    fn append(&mut self, batch: &Batch) -> Result<Position, JournalError>;

    /// Makes a marker durable behind the last batch, so that later damage to that batch is told from a tail
    /// torn by a power cut. Does nothing if the marker is already there. Worth its fsync when the journal falls idle
    /// and before a shutdown.
    fn seal(&mut self) -> Result<(), JournalError>;

    /// The last durable record, or `ZERO`.
    fn position(&self) -> Position;

    /// Says that nobody needs the records below `position` any more. They disappear when their segment is also older than
    /// the configured retention. The record at `position` stays, for whoever stands there and compares its frame. A lower
    /// position than before keeps what is still there: SQL may have lost what it had.
    fn release_through(&mut self, position: Position);

    /// Whether there is more room ahead than in the last file. Otherwise what there is should be kept for those who have
    /// something in hand: when it is used up, the journal fails.
    fn has_room(&mut self) -> bool;

    /// About how many bytes of journal lie behind `position`: what a projection that stands there has still to read.
    fn bytes_after(&self, position: Position) -> u64;

    /// A reader whose first record is the one after `after`.
    fn reader(&self, after: Position) -> Result<Box<dyn JournalReader>, ReadError> {
        self.view().reader(after)
    }

    /// For whoever reads beside the writer.
    fn view(&self) -> View;
}

/// A journal as everybody sees it but its writer.
pub type View = Arc<dyn JournalView>;

/// May be used from any thread, for as long as anybody wants to.
pub trait JournalView: fmt::Debug + Send + Sync {
    fn id(&self) -> JournalId;

    /// The last durable record, or `ZERO`.
    fn last(&self) -> Position;

    /// A reader whose first record is the one after `after`.
    fn reader(&self, after: Position) -> Result<Box<dyn JournalReader>, ReadError>;

    /// The checksum of the frame that holds the record at `position`. By the chain it covers everything before the
    /// frame, so two journals that agree on it have the same past. 0 for `ZERO`, which is in no frame.
    ///
    /// Reads one segment, from its start to that frame.
    fn frame_at(&self, position: Position) -> Result<u32, ReadError>;

    /// Fails the journal for everybody, now. The first reason is kept; readers that find damage report it by themselves.
    fn report_damage(&self, reason: &str);

    /// The damage that was reported.
    fn damage(&self) -> Option<Arc<str>>;

    /// Segments that were not read when the journal was opened and are still to be checked.
    fn unchecked_segments(&self) -> usize;

    /// Calls `tell` once damage is reported, at once if that has happened already.
    fn on_damage(&self, tell: Box<dyn Fn() + Send + Sync>);
}

/// Follows a journal, usually on another thread than the writer's.
pub trait JournalReader: Send {
    /// Replaces what is in `records` by the next durable ones, at most `records_max`, and says how many.
    /// Zero means that the reader has caught up. Reads the disk, but never waits for the writer.
    ///
    /// After an error the reader stays where it was; the same call fails in the same way.
    fn next_batch(&mut self, records_max: usize, records: &mut Records)
    -> Result<usize, ReadError>;

    /// The last record handed out, or where the reader started.
    fn position(&self) -> Position;

    /// For who was told [`ReadError::Released`] and can do without: goes on with the oldest record that is kept. Says how
    /// many were left out; none, if the next one is still there.
    fn skip_released(&mut self) -> u64;
}

/// What the disk refused.
#[derive(Debug, thiserror::Error)]
#[error("journal: cannot {action} `{file}`: {source}")]
pub struct IoFailure {
    pub action: &'static str,
    pub file: String,
    pub source: io::Error,
}

/// For `map_err`: names the act and the file that an I/O error belongs to.
fn io_failure<E: From<IoFailure>>(
    action: &'static str,
    file: impl fmt::Display,
) -> impl FnOnce(io::Error) -> E {
    move |source| {
        IoFailure {
            action,
            file: file.to_string(),
            source,
        }
        .into()
    }
}

/// Why the writer stopped. Every one of them is final.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(transparent)]
    Io(#[from] IoFailure),
    #[error(
        "journal: a batch of {batch_bytes} bytes does not fit in a segment, which takes {batch_bytes_max}"
    )]
    BatchTooLarge {
        batch_bytes: u64,
        batch_bytes_max: u64,
    },
    /// Somebody found what cannot be read, so whatever is appended behind it would be lost with the next start.
    #[error("journal: it is damaged: {reason}")]
    Damaged { reason: Arc<str> },
    /// An earlier call failed; what is durable is known only after opening the journal again.
    #[error("journal: stopped by an earlier failure; restart to recover from what is on the disk")]
    Failed,
}

/// Why a reader cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The reader fell behind what is kept.
    #[error("journal: record {wanted} was released; the oldest one kept is {first}")]
    Released { wanted: Position, first: Position },
    #[error("journal: there is no record {after} to read after; the last one is {last}")]
    Ahead { after: Position, last: Position },
    #[error("journal: `{segment}` is damaged at byte {offset}: {flaw}")]
    Damaged {
        segment: String,
        offset: u64,
        flaw: Flaw,
    },
    #[error(transparent)]
    Io(#[from] IoFailure),
}
