//! How far a follower is, for everybody who wants to know: metrics, requests that wait for SQL, the journal that
//! may forget what all followers have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Mismatch;
use crate::persistence::journal::Position;

/// A view of a running follower; cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress {
    shared: Arc<SharedProgress>,
}

#[derive(Debug)]
struct SharedProgress {
    position: AtomicU64,
    durable: AtomicU64,
    batches: AtomicU64,
    records: AtomicU64,
    retries: AtomicU64,
    skipped: AtomicU64,
    went_back: AtomicU64,
    away: AtomicBool,
    mismatch: Mutex<Option<Mismatch>>,
    moved: watch::Sender<Standing>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Standing {
    position: Position,
    ended: bool,
}

/// What a follower has done since it was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    pub batches: u64,
    pub records: u64,
    /// Batches that had to be tried again.
    pub retries: u64,
    /// Records that the journal had let go before they were read.
    pub skipped: u64,
    /// How often SQL had lost what it had before.
    pub went_back: u64,
}

/// The follower ended before it came to the position that was waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it ended at {at}, before record {wanted}")]
pub struct Ended {
    pub at: Position,
    pub wanted: Position,
}

impl Progress {
    pub fn new(position: Position) -> Self {
        let standing = Standing {
            position,
            ended: false,
        };
        Self {
            shared: Arc::new(SharedProgress {
                position: AtomicU64::new(position.get()),
                durable: AtomicU64::new(0),
                batches: AtomicU64::new(0),
                records: AtomicU64::new(0),
                retries: AtomicU64::new(0),
                skipped: AtomicU64::new(0),
                went_back: AtomicU64::new(0),
                away: AtomicBool::new(false),
                mismatch: Mutex::new(None),
                moved: watch::Sender::new(standing),
            }),
        }
    }

    /// The last record that it is done with. Costs nothing to ask. Goes back if SQL does, as after a fail-over that lost
    /// commits.
    pub fn position(&self) -> Position {
        Position::new(self.shared.position.load(Ordering::Acquire))
    }

    /// The last record of which SQL has everything even after a power cut, as far as anybody knows. What was there at the
    /// start may be in the memory of the operating system only, so it begins with none.
    pub fn durable_position(&self) -> Position {
        Position::new(self.shared.durable.load(Ordering::Acquire))
    }

    /// Records that are durable and still before it.
    pub fn lag(&self, durable: Position) -> u64 {
        durable.get().saturating_sub(self.position().get())
    }

    /// Something holds it up, as SQL that does not answer, and it waits for that to pass.
    pub fn is_away(&self) -> bool {
        self.shared.away.load(Ordering::Relaxed)
    }

    /// What SQL says does not belong to the journal, or to a part of it that is gone. It goes on once somebody has put
    /// that right.
    pub fn mismatch(&self) -> Option<Mismatch> {
        self.shared.mismatch.lock().clone()
    }

    /// Why it does not follow and will not by itself, in a word for programs.
    pub fn problem(&self) -> Option<&'static str> {
        let mismatch = self.shared.mismatch.lock();
        let mismatch = mismatch.as_ref().map(Mismatch::code);
        mismatch.or_else(|| self.has_ended().then_some("ended"))
    }

    /// It cannot go on by itself; the log says why.
    pub fn has_ended(&self) -> bool {
        self.shared.moved.borrow().ended
    }

    pub fn counters(&self) -> Counters {
        Counters {
            batches: self.shared.batches.load(Ordering::Relaxed),
            records: self.shared.records.load(Ordering::Relaxed),
            retries: self.shared.retries.load(Ordering::Relaxed),
            skipped: self.shared.skipped.load(Ordering::Relaxed),
            went_back: self.shared.went_back.load(Ordering::Relaxed),
        }
    }

    /// Waits until it is done with the record at `wanted`.
    pub async fn wait_for(&self, wanted: Position) -> Result<(), Ended> {
        let mut moved = self.shared.moved.subscribe();
        let arrived = |it: &Standing| it.position >= wanted || it.ended;
        let standing = moved.wait_for(arrived).await.map(|it| *it);
        match standing {
            Ok(standing) if standing.position >= wanted => Ok(()),
            _ => Err(Ended {
                at: self.position(),
                wanted,
            }),
        }
    }

    pub(super) fn advance(&self, position: Position, records: u64) {
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        self.shared.records.fetch_add(records, Ordering::Relaxed);
        self.move_to(position);
    }

    /// Past records that nobody can read any more.
    pub(crate) fn skip_to(&self, position: Position, records: u64) {
        self.shared.skipped.fetch_add(records, Ordering::Relaxed);
        self.move_to(position);
    }

    pub(super) fn go_back_to(&self, position: Position) {
        self.shared.went_back.fetch_add(1, Ordering::Relaxed);
        self.shared
            .durable
            .fetch_min(position.get(), Ordering::AcqRel);
        self.move_to(position);
    }

    pub(super) fn set_durable(&self, position: Position) {
        self.shared.durable.store(position.get(), Ordering::Release);
    }

    pub(super) fn move_to(&self, position: Position) {
        self.shared
            .position
            .store(position.get(), Ordering::Release);
        self.shared.moved.send_modify(|it| it.position = position);
    }

    pub(super) fn retried(&self) {
        self.shared.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Says whether that is news.
    pub(super) fn set_away(&self, away: bool) -> bool {
        self.shared.away.swap(away, Ordering::Relaxed) != away
    }

    /// Says whether that is news.
    pub(super) fn set_mismatch(&self, mismatch: Option<Mismatch>) -> bool {
        let mut known = self.shared.mismatch.lock();
        let is_news = *known != mismatch;
        *known = mismatch;
        is_news
    }

    pub(super) fn end(&self) {
        self.shared.moved.send_modify(|it| it.ended = true);
    }
}
