//! What is going to happen, and when. The only thing that moves virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::payments::{CallId, Errand, Returned};
use super::process::Crash;
use super::random::Random;
use crate::actors::core::message::ProviderOrder;
use crate::actors::core::recall::{Stored, Wanted};
use crate::domain::{Span, Timestamp};

/// Something that happens at an instant.
#[derive(Debug)]
pub(super) enum SimEvent {
    /// The engine's thread takes a turn.
    Turn,
    /// The journal has been idle since so many turns.
    Seal {
        turns: u64,
    },
    Upkeep,
    /// SQL is asked for what has left memory; what it says may have been read a while ago.
    Recalled {
        wanted: Wanted,
        read: Option<Stored>,
    },
    /// What was rebuilt of crashed actors is to be put back.
    Mended,
    Crash(Crash),
    Restart,

    SqlReads,
    SqlGoesAway(Span),
    /// The database comes back older than it was.
    SqlFallsBack,

    /// A buyer goes on with a visit.
    Visit(usize),
    /// The shop goes on with a job.
    Job(usize),
    /// The shop looks for orders to go on with.
    Round(super::staff::Round),

    ProviderGoesAway(Span),
    CallArrives(CallId, Errand, ProviderOrder),
    CallReturns(CallId, Returned),
    /// A buyer has waited for the provider for long enough.
    CallIsLate(CallId),
    CallTimesOut(CallId),
    CallAgain(Errand, ProviderOrder, Span),
    Webhook(usize),

    /// No more faults.
    Heal,
    End,
}

/// By instant; what happens in the same instant, in an order that the seed draws.
#[derive(Debug)]
pub(super) struct EventQueue {
    pub(super) now: Timestamp,
    entries: BinaryHeap<Reverse<Entry>>,
    random: Random,
    pushed: u64,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    tie_break: u64,
    number: u64,
    /// Only in this life of the process, if it is about one: what a process meant to do ends with it.
    life: Option<u64>,
    event: SimEvent,
}

impl EventQueue {
    pub(super) fn new(start: Timestamp, random: Random) -> Self {
        Self {
            now: start,
            entries: BinaryHeap::new(),
            random,
            pushed: 0,
        }
    }

    pub(super) fn at(&mut self, at: Timestamp, event: SimEvent) {
        self.push(at, None, event);
    }

    pub(super) fn after(&mut self, span: Span, event: SimEvent) {
        self.push(self.now.plus(span), None, event);
    }

    /// Happens only if the process still lives the same life.
    pub(super) fn in_life(&mut self, life: u64, at: Timestamp, event: SimEvent) {
        self.push(at, Some(life), event);
    }

    fn push(&mut self, at: Timestamp, life: Option<u64>, event: SimEvent) {
        self.pushed += 1;
        self.entries.push(Reverse(Entry {
            at: at.max(self.now),
            tie_break: self.random.number(),
            number: self.pushed,
            life,
            event,
        }));
    }

    /// The next thing that happens while the process lives this life.
    pub(super) fn pop(&mut self, life: u64) -> Option<SimEvent> {
        loop {
            let Reverse(entry) = self.entries.pop()?;
            if entry.life.is_none_or(|it| it == life) {
                self.now = entry.at;
                return Some(entry.event);
            }
        }
    }
}

impl Entry {
    fn key(&self) -> (Timestamp, u64, u64) {
        (self.at, self.tie_break, self.number)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
