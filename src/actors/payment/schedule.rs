//! What the provider is to be asked, in which order, and who waits to hear of it: a state machine that is told what time
//! it is.
//!
//! Two queues. Charges are sent in the order in which they came. Look-ups and refunds are sent in the order in which they
//! are due, beside the charges, so that neither keeps the other waiting. Of each at most `calls_max` are under way.
//!
//! **Invariant:** an attempt is charged or looked up, never both, and never twice at once: a look-up may call off what
//! could still take money, and must not do that to a charge that waits or is under way. Whichever comes second is left out,
//! because the end of the first says what is to be done next.
//!
//! The queues have no bound of their own. The engine admits at most `payments_pending_max` attempts that wait for the
//! provider and as many refunds (late payments that go back come on top of them, and are attempts before), and each of
//! them is here once at most.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::actors::core::message::ProviderOrder;
use crate::domain::{AttemptId, OrderId, Timestamp};

#[derive(Debug)]
pub(super) struct Schedule {
    calls_max: usize,
    charges: Queue,
    follow_ups: Queue,
    /// All jobs, and where those are that wait.
    jobs: BTreeMap<JobId, Option<WaitlistPlace>>,
    /// Jobs of which somebody may wait to hear, by when they are to be told that it takes longer.
    unheard: BTreeMap<(Instant, JobId), OrderId>,
    numbers: u64,
}

/// Jobs that wait for a call, and how many have one.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<WaitlistPlace, Job>,
    under_way: usize,
}

/// By when it is due, and among those due at the same instant by when it came.
type WaitlistPlace = (Instant, u64);

/// Something to be asked of the provider, until it has said how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) act: Act,
    pub(super) order: ProviderOrder,
    /// Since when there is something to be asked. No charge of the attempt has been sent since then.
    pub(super) since: Instant,
    /// Until when whoever waits for it should have heard something, as long as they have not.
    pub(super) answer_by: Option<Instant>,
    /// How long to wait before the next try.
    pub(super) pause: Duration,
    /// What the provider said when it refused the last time.
    pub(super) refusal: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Charge { send_by: Timestamp },
    LookUp,
    Refund,
}

/// The money of an attempt on its way in, or on its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobId {
    attempt: AttemptId,
    is_refund: bool,
}

/// Whoever waits for this is to be told that it takes longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overdue {
    pub(super) order: OrderId,
    pub(super) attempt: AttemptId,
    pub(super) is_refund: bool,
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Load {
    pub(super) charges_waiting: usize,
    pub(super) charges_under_way: usize,
    pub(super) follow_ups_waiting: usize,
    pub(super) follow_ups_under_way: usize,
    pub(super) oldest_charge_since: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(calls_max: usize) -> Self {
        Self {
            calls_max,
            charges: Queue::default(),
            follow_ups: Queue::default(),
            jobs: BTreeMap::new(),
            unheard: BTreeMap::new(),
            numbers: 0,
        }
    }

    /// `false`: there is a job about this money already, and this one is left out.
    pub(super) fn add(&mut self, job: Job, due: Instant) -> bool {
        let id = job.id();
        if self.jobs.contains_key(&id) {
            return false;
        }
        self.numbers += 1;
        let place = (due, self.numbers);
        self.jobs.insert(id, Some(place));
        if let Some(answer_by) = job.answer_by {
            self.unheard.insert((answer_by, id), job.order.order);
        }
        self.queue_of(job.act).waiting.insert(place, job);
        true
    }

    /// The next job that is due and may have a call now. It stays known until [`Schedule::finish`].
    pub(super) fn take(&mut self, now: Instant) -> Option<Job> {
        let calls_max = self.calls_max;
        let charge = self.charges.take(now, calls_max);
        let job = charge.or_else(|| self.follow_ups.take(now, calls_max))?;
        self.jobs.insert(job.id(), None);
        Some(job)
    }

    /// The call of the job is over.
    pub(super) fn finish(&mut self, job: &Job) {
        self.queue_of(job.act).under_way -= 1;
        self.forget(job);
    }

    /// Takes a charge out of the queue, unless it was sent, or is none.
    pub(super) fn withdraw(&mut self, attempt: AttemptId) -> Option<Job> {
        let id = JobId {
            attempt,
            is_refund: false,
        };
        let place = self.jobs.get(&id).copied().flatten()?;
        let job = self.charges.waiting.remove(&place)?;
        self.forget(&job);
        Some(job)
    }

    /// Whoever waits for the job is told now, so that it is not overdue any more.
    pub(super) fn hear(&mut self, job: &mut Job) -> Overdue {
        let id = job.id();
        if let Some(answer_by) = job.answer_by.take() {
            self.unheard.remove(&(answer_by, id));
        }
        Overdue {
            order: job.order.order,
            attempt: id.attempt,
            is_refund: id.is_refund,
        }
    }

    /// The next job whose time to answer is over.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<Overdue> {
        let first = self.unheard.first_entry()?;
        let (answer_by, id) = *first.key();
        if answer_by > now {
            return None;
        }
        Some(Overdue {
            order: first.remove(),
            attempt: id.attempt,
            is_refund: id.is_refund,
        })
    }

    /// When there is something to do next, unless something changes before.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let queues = [&self.charges, &self.follow_ups];
        let due = queues.map(|queue| queue.next_due(self.calls_max));
        let overdue = self.unheard.keys().next().map(|(at, _)| *at);
        due.into_iter().flatten().chain(overdue).min()
    }

    pub(super) fn load(&self) -> Load {
        let oldest = self.charges.waiting.values().next();
        Load {
            charges_waiting: self.charges.waiting.len(),
            charges_under_way: self.charges.under_way,
            follow_ups_waiting: self.follow_ups.waiting.len(),
            follow_ups_under_way: self.follow_ups.under_way,
            oldest_charge_since: oldest.map(|job| job.since),
        }
    }

    fn forget(&mut self, job: &Job) {
        self.jobs.remove(&job.id());
        if let Some(answer_by) = job.answer_by {
            self.unheard.remove(&(answer_by, job.id()));
        }
    }

    fn queue_of(&mut self, act: Act) -> &mut Queue {
        match act {
            Act::Charge { .. } => &mut self.charges,
            Act::LookUp | Act::Refund => &mut self.follow_ups,
        }
    }
}

impl Queue {
    fn take(&mut self, now: Instant, calls_max: usize) -> Option<Job> {
        if self.next_due(calls_max)? > now {
            return None;
        }
        let (_, job) = self.waiting.pop_first()?;
        self.under_way += 1;
        Some(job)
    }

    /// `None` while there is no call to be had: the end of one is a change.
    fn next_due(&self, calls_max: usize) -> Option<Instant> {
        let (due, _) = *self.waiting.keys().next()?;
        (self.under_way < calls_max).then_some(due)
    }
}

impl Job {
    fn id(&self) -> JobId {
        JobId {
            attempt: self.order.attempt,
            is_refund: self.act == Act::Refund,
        }
    }
}
