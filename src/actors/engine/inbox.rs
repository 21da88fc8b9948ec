//! What the engine's thread and its clients share: the inbox with its bound, the lanes back, the board, the counters.
//!
//! **Invariant:** a command that was admitted is either taken by the engine or refused by it; nothing waits unseen. The
//! engine says that it sleeps before it looks at the inbox for the last time, and whoever puts something in looks
//! whether it sleeps afterwards.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use actix::{Message, Recipient};
use parking_lot::Mutex;

use super::board::Board;
use super::lane::Lane;
use super::watch::Watchers;
use crate::actors::core::message::{Envelope, Refusal};
use crate::actors::payment::PaymentCounters;
use crate::clock::{Clock, EngineTime};
use crate::domain::Timestamp;

/// Says that the inbox has something. One is enough, however much there is.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub(crate) struct Wake;

/// What the engine's thread and its clients share.
#[derive(Debug)]
pub(crate) struct SharedEngine {
    inbox: Mutex<Vec<Envelope>>,
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// The engine has nothing to do and must be woken.
    asleep: AtomicBool,
    /// Once set, nothing is promised any more.
    failed: AtomicBool,
    /// The disk of the journal is full: no new holds.
    full: AtomicBool,
    closing: AtomicBool,
    in_flight: AtomicUsize,
    in_flight_max: usize,
    engine: OnceLock<Recipient<Wake>>,
    pub(crate) board: Board,
    pub(crate) watchers: Arc<Watchers>,
    /// Stamped and led by the engine alone.
    pub(crate) time: Arc<EngineTime>,
    pub(crate) counters: Counters,
}

/// Counted by the engine and its clients, read by whoever watches.
#[derive(Debug, Default)]
pub struct Counters {
    pub batches: AtomicU64,
    pub records: AtomicU64,
    pub refused_on_the_board: AtomicU64,
    pub refused_overloaded: AtomicU64,
    pub actor_crashes: AtomicU64,
    pub holds_expired_late_us_max: AtomicU64,
    pub payments: PaymentCounters,
}

impl SharedEngine {
    /// `in_flight_max`: commands admitted at once; the next is refused as [`Refusal::Overloaded`], never parked.
    pub(crate) fn new(time: EngineTime, in_flight_max: usize) -> Self {
        Self {
            inbox: Mutex::new(Vec::new()),
            lanes: Mutex::new(Vec::new()),
            asleep: AtomicBool::new(true),
            failed: AtomicBool::new(false),
            full: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            in_flight_max,
            engine: OnceLock::new(),
            board: Board::new(),
            watchers: Arc::default(),
            time: Arc::new(time),
            counters: Counters::default(),
        }
    }

    pub(crate) fn attach(&self, engine: Recipient<Wake>) {
        if self.engine.set(engine).is_err() {
            tracing::error!("a second engine was attached; it is ignored");
        }
    }

    /// Swaps the commands that are ready for an empty list.
    pub(crate) fn take_commands(&self, into: &mut Vec<Envelope>) {
        std::mem::swap(into, &mut *self.inbox.lock());
    }

    /// Says that the engine goes to sleep; `false` if something came in meanwhile and it must not.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        if self.inbox.lock().is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::SeqCst);
        false
    }

    pub(crate) fn lane(&self, number: u32) -> Option<Arc<Lane>> {
        self.lanes.lock().get(number as usize).cloned()
    }

    /// Engine time, never before anything that has happened.
    pub(crate) fn now(&self) -> Timestamp {
        self.time.now()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(crate) fn has_room(&self) -> bool {
        !self.full.load(Ordering::Relaxed)
    }

    pub(crate) fn note_room(&self, has_room: bool) {
        self.full.store(!has_room, Ordering::Relaxed);
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(crate) fn add_lane(&self, lane: Arc<Lane>) -> u32 {
        let mut lanes = self.lanes.lock();
        lanes.push(lane);
        u32::try_from(lanes.len() - 1).unwrap_or(u32::MAX)
    }

    /// Says that the engine is done with this many admitted commands.
    pub(crate) fn release(&self, commands: usize) {
        self.in_flight.fetch_sub(commands, Ordering::AcqRel);
    }

    pub(crate) fn admit(&self) -> Result<(), Refusal> {
        if self.failed.load(Ordering::Acquire) {
            return Err(Refusal::JournalFailed);
        }
        if self.closing.load(Ordering::Acquire) {
            return Err(Refusal::ShuttingDown);
        }
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= self.in_flight_max {
            self.release(1);
            self.counters
                .refused_overloaded
                .fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::Overloaded);
        }
        Ok(())
    }

    pub(crate) fn push(&self, envelope: Envelope) {
        self.inbox.lock().push(envelope);
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    pub(crate) fn wake(&self) {
        // A full mailbox already holds a wake-up, and one is enough.
        if let Some(engine) = self.engine.get() {
            engine.try_send(Wake).ok();
        }
    }
}
