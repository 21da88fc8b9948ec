//! Hashing passwords on threads of its own: each hash takes 19 MiB and tens of milliseconds of a core, and a storm of
//! sign-ins must slow down neither the sale nor the workers that answer.
//!
//! The threads have the lowest claim on the processor, half of the cores at most, and a bounded queue. Who gives up waiting
//! is not hashed for. A name that nobody has costs the same hash as one that somebody has.
//!
//! Deliberately absent: a limit on who may ask how often (see [`crate::persistence::limits`]). And as long as hashes of
//! cheaper parameters are stored, verifying against one of them is faster than against the dummy.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use tracing::{debug, error};

use super::hasher::{Damaged, HashOptions, Hasher, TooCheap};
use super::policy::{self, Password};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolOptions {
    /// Zero counts as one.
    pub(crate) threads: usize,
    /// Passwords that wait for a thread, at most; the next is [`Busy`].
    pub(crate) queue_max: usize,
    pub(crate) hash: HashOptions,
}

impl Default for PoolOptions {
    /// Half of the cores.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads: (cores / 2).max(1),
            queue_max: 256,
            hash: HashOptions::default(),
        }
    }
}

/// The threads. Dropping it ends them after the hash in hand; whoever waits is told [`Busy`].
pub(crate) struct PasswordPool {
    shared: Arc<SharedPool>,
    /// What a password is compared with if there is no account: nobody knows the password of this hash.
    dummy: Arc<str>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Options(#[from] TooCheap),
    #[error("a thread to hash passwords could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// More passwords are waiting than the queue takes: try again in a second. Also said if the pool is at its end, or if
/// hashing failed by a bug of ours, which is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are waiting to be hashed; try again in a second")]
pub(crate) struct Busy;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VerifyError {
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Verified {
    No,
    Yes {
        /// The same password with the parameters of today, if the stored hash was made with less. To be stored in its
        /// place.
        rehash: Option<String>,
    },
}

/// They grow for ever, but for `waiting`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PoolCounters {
    /// Hashes made, also those to verify a password.
    pub(crate) hashes: u64,
    /// Refused because the queue was full.
    pub(crate) refused: u64,
    /// Not hashed because nobody waited any more.
    pub(crate) skipped: u64,
    /// Ended by a panic.
    pub(crate) panics: u64,
    pub(crate) waiting: usize,
}

struct SharedPool {
    queue: Mutex<Queue>,
    /// Something is in the queue, or it is closed.
    wake: Condvar,
    queue_max: usize,
    hashes: Arc<AtomicU64>,
    refused: AtomicU64,
    skipped: AtomicU64,
    panics: AtomicU64,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    is_closed: bool,
}

impl PasswordPool {
    /// Blocks for as long as one hash takes.
    pub(crate) fn start(options: PoolOptions) -> Result<Self, StartError> {
        let hash = options.hash.checked()?;
        let hashes = Arc::new(AtomicU64::new(0));
        let nobody_knows: [u8; 32] = rand::random();
        let dummy = Hasher::new(hash, Arc::default()).hash(&nobody_knows);
        let pool = Self {
            shared: Arc::new(SharedPool {
                queue: Mutex::default(),
                wake: Condvar::new(),
                queue_max: options.queue_max,
                hashes: Arc::clone(&hashes),
                refused: AtomicU64::new(0),
                skipped: AtomicU64::new(0),
                panics: AtomicU64::new(0),
            }),
            dummy: dummy.into(),
        };
        for number in 0..options.threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            let hasher = Hasher::new(hash, Arc::clone(&hashes));
            thread::Builder::new()
                .name(format!("passwords-{number}"))
                .spawn(move || shared.run_thread(hasher))?;
        }
        Ok(pool)
    }

    /// A PHC string to be stored.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, Busy> {
        self.run(move |hasher| hasher.hash(password.as_bytes()))
            .await
    }

    /// Is it the password of the stored PHC string? Without one (there is no such account) the answer is no, after as much
    /// work.
    pub(crate) async fn verify(
        &self,
        password: Password,
        stored: Option<String>,
    ) -> Result<Verified, VerifyError> {
        let dummy = Arc::clone(&self.dummy);
        let verified = self.run(move |hasher| {
            let is_known = stored.is_some();
            let phc = stored.as_deref().unwrap_or(&dummy);
            let is_right = hasher.verify(password.as_bytes(), phc)? & is_known;
            Ok(match is_right {
                false => Verified::No,
                true => Verified::Yes {
                    rehash: hasher
                        .is_outdated(phc)
                        .then(|| hasher.hash(password.as_bytes())),
                },
            })
        });
        verified.await?.map_err(VerifyError::Damaged)
    }

    pub(crate) fn counters(&self) -> PoolCounters {
        let count = |it: &AtomicU64| it.load(Ordering::Relaxed);
        PoolCounters {
            hashes: count(&self.shared.hashes),
            refused: count(&self.shared.refused),
            skipped: count(&self.shared.skipped),
            panics: count(&self.shared.panics),
            waiting: self.shared.queue.lock().jobs.len(),
        }
    }

    #[cfg(test)]
    pub(super) fn dummy(&self) -> &str {
        &self.dummy
    }

    /// Gone when the threads are.
    #[cfg(test)]
    pub(super) fn watch(&self) -> std::sync::Weak<impl Sized + use<>> {
        Arc::downgrade(&self.shared)
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Hasher) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let (answer, answered) = oneshot::channel();
        self.shared.put(Box::new(Asked { work, answer }))?;
        // Without an answer the pool has ended, or the work has panicked.
        answered.await.map_err(|_dropped| Busy)
    }
}

impl Drop for PasswordPool {
    fn drop(&mut self) {
        let left = {
            let mut queue = self.shared.queue.lock();
            queue.is_closed = true;
            std::mem::take(&mut queue.jobs)
        };
        self.shared.wake.notify_all();
        drop(left);
    }
}

impl SharedPool {
    fn put(&self, job: Box<dyn Job>) -> Result<(), Busy> {
        let mut queue = self.queue.lock();
        if queue.jobs.len() >= self.queue_max {
            self.drop_unwanted(&mut queue);
        }
        if queue.jobs.len() >= self.queue_max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Busy);
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// Those who gave up must not keep out those who come.
    fn drop_unwanted(&self, queue: &mut Queue) {
        let before = queue.jobs.len();
        queue.jobs.retain(|job| job.is_wanted());
        let dropped = before - queue.jobs.len();
        self.skipped.fetch_add(dropped as u64, Ordering::Relaxed);
    }

    fn run_thread(&self, mut hasher: Hasher) {
        // The sale comes first. Not being allowed to step back is no reason not to work.
        if let Err(error) = rustix::process::nice(NICENESS) {
            debug!(%error, "the threads that hash passwords keep their priority");
        }
        policy::read_lists();
        while let Some(job) = self.next() {
            if !job.is_wanted() {
                self.skipped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            // The hasher's memory is overwritten by each hash, so nothing of what went wrong stays.
            if catch_unwind(AssertUnwindSafe(|| job.run(&mut hasher))).is_err() {
                self.panics.fetch_add(1, Ordering::Relaxed);
                error!(
                    "hashing a password panicked, see the message above; the next one is hashed all the same"
                );
            }
        }
    }

    /// `None`: the pool is at its end.
    fn next(&self) -> Option<Box<dyn Job>> {
        let mut queue = self.queue.lock();
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            self.wake.wait(&mut queue);
        }
    }
}

/// The lowest claim there is.
const NICENESS: i32 = 19;

trait Job: Send {
    /// Does anybody still wait for it?
    fn is_wanted(&self) -> bool;
    fn run(self: Box<Self>, hasher: &mut Hasher);
}

struct Asked<T, Work> {
    work: Work,
    answer: oneshot::Sender<T>,
}

impl<T: Send, Work: FnOnce(&mut Hasher) -> T + Send> Job for Asked<T, Work> {
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    fn run(self: Box<Self>, hasher: &mut Hasher) {
        let Self { work, answer } = *self;
        // An error says that nobody waits any more.
        drop(answer.send(work(hasher)));
    }
}

impl fmt::Debug for PasswordPool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PasswordPool")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

/// Without the hash: it does not belong into a log.
impl fmt::Debug for Verified {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => out.write_str("No"),
            Self::Yes { rehash: None } => out.write_str("Yes"),
            Self::Yes { rehash: Some(_) } => out.write_str("Yes(outdated)"),
        }
    }
}
