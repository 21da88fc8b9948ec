//! Following the journal on a thread of its own, through every absence of what is written to.
//!
//! The sale does not notice this thread: it has the lowest claim on the processor, sleeps when there is nothing to do,
//! and gathers records into large batches when there is much.
//!
//! **Invariant:** no record is skipped and none is applied twice. A batch is tried again until it is applied; what cannot
//! be tried again ends the follower, and the reason names the record. Only a follower that says that it can do without
//! is moved past records that the journal has let go.

use std::error::Error;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, info, warn};

use super::progress::Progress;
use crate::domain::Event;
use crate::persistence::codec::{self, CodecError};
use crate::persistence::journal::{JournalReader, Position, ReadError, Records};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Records at a time, at most.
    pub batch_records_max: usize,
    /// How long to sleep when the journal has nothing new, and after a batch that was not full, to let more arrive.
    pub idle: Duration,
    /// After this long without an end, a batch is given up together with its connection, and tried again on another.
    pub batch_timeout: Duration,
    /// The pause after the first failure; each further one doubles it.
    pub retry_pause_min: Duration,
    pub retry_pause_max: Duration,
    /// Full batches in a row are a rush: after each the follower rests so many times as long as the batch took.
    pub rush_rest: u32,
    /// A rush that lasts for more batches than this is the new normal, and there is no rest any more.
    pub rush_batches_max: u32,
}

/// The lowest claim there is, inherited by SQLite's own thread: a rush is for the buyers, and we catch up after it.
const NICENESS: i32 = 19;

/// The rush is over when the journal had nothing new for so many looks; with the projection's options ten seconds of them.
const REST_AFTER_IDLE_TURNS: u32 = 200;

/// How long a batch may still take once the follower is asked to stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

pub(crate) type Batch = [(Position, Event)];

/// What a follower makes of the records.
pub(crate) trait Follow: Send + 'static {
    type Error: FollowError;

    /// Who it is: in logs, and as the name of the thread.
    const NAME: &'static str;
    /// What it means for the shop when it ends by itself.
    const LOSS: &'static str;
    /// Whether it can do without records that the journal has let go.
    const SKIPS_RELEASED: bool;

    /// Records behind this one are not shown to it yet.
    fn may_read_through(&self) -> Position;

    /// Applies the records of the batch that it has not applied before. After an error, or if it is dropped in the middle,
    /// some of them may be applied, in order; the same batch is shown again.
    fn apply(&mut self, batch: &Batch) -> impl Future<Output = Result<(), Self::Error>>;

    /// For a time when nothing else is to be done.
    fn rest(&mut self) -> impl Future<Output = Result<(), Self::Error>>;

    /// A failure, or no end in time: whatever is open is in an unknown state and must be opened anew.
    fn let_go(&mut self);
}

/// Why a batch was not applied.
pub(crate) trait FollowError: Error + Send + Sync + 'static {
    /// May the same batch be applied later?
    fn may_heal(&self) -> bool;

    /// There is an answer, and somebody has to do something about it.
    fn is_refusal(&self) -> bool;

    /// The end is not known.
    fn timed_out(after: Duration) -> Self;
}

/// Why a follower cannot go on. Nothing is lost: the journal has it all.
#[derive(Debug, thiserror::Error)]
pub enum StopReason<E> {
    #[error("it stopped at {position}: {source}")]
    Journal {
        position: Position,
        source: ReadError,
    },
    #[error("it stopped: record {position} cannot be read: {source}")]
    Record {
        position: Position,
        source: CodecError,
    },
    #[error("it stopped at {position}: {source}")]
    Apply { position: Position, source: E },
    #[error("its thread could not be started: {0}")]
    Thread(#[from] io::Error),
    #[error("it panicked; see the message above")]
    Panicked,
}

/// A running follower. Dropping it lets it run on; see [`Follower::stop`].
#[derive(Debug)]
pub(crate) struct Follower<E> {
    thread: JoinHandle<Result<(), StopReason<E>>>,
    shutdown: watch::Sender<bool>,
    progress: Progress,
}

impl<E: FollowError> Follower<E> {
    /// Follows `reader`, which must begin where `progress` and `follow` stand.
    pub(crate) fn start<F: Follow<Error = E>>(
        reader: Box<dyn JournalReader>,
        progress: Progress,
        follow: F,
        options: Options,
    ) -> Result<Self, StopReason<E>> {
        let (shutdown, asked) = watch::channel(false);
        let runner = Runner {
            reader,
            follow,
            options,
            progress: progress.clone(),
            shutdown: asked,
        };
        let thread = thread::Builder::new()
            .name(F::NAME.to_owned())
            .spawn(move || runner.run_thread())?;
        Ok(Self {
            thread,
            shutdown,
            progress,
        })
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Ends after the batch in hand; blocks until then. The next start carries on where this one ends.
    pub(crate) fn stop(self) -> Result<(), StopReason<E>> {
        self.shutdown.send_replace(true);
        self.thread.join().unwrap_or(Err(StopReason::Panicked))
    }
}

struct Runner<F> {
    reader: Box<dyn JournalReader>,
    follow: F,
    options: Options,
    progress: Progress,
    shutdown: watch::Receiver<bool>,
}

impl<F: Follow> Runner<F> {
    fn run_thread(mut self) -> Result<(), StopReason<F::Error>> {
        let name = F::NAME;
        // The sale comes first. Not being allowed to step back is no reason not to work.
        if let Err(error) = rustix::process::nice(NICENESS) {
            debug!(%error, "the {name} keeps its priority");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let progress = self.progress.clone();
        let _ended = EndTold(progress);
        let ended = runtime.block_on(self.run());
        if let Err(reason) = &ended {
            let loss = F::LOSS;
            error!(position = %self.progress.position(), error = %reason, "the {name} ended, so {loss}: {reason}");
        }
        ended
    }

    async fn run(&mut self) -> Result<(), StopReason<F::Error>> {
        let mut records = Records::new();
        let mut idle_turns = 0;
        let mut full_batches = 0;
        while !self.is_asked_to_stop() {
            let Some(read) = self.read(&mut records)? else {
                self.pause(self.options.retry_pause_max).await;
                continue;
            };
            if read > 0 {
                let begun = Instant::now();
                self.apply(&decode(&records)?).await?;
                idle_turns = 0;
                full_batches = match read == self.options.batch_records_max {
                    true => full_batches + 1,
                    false => 0,
                };
                if (1..self.options.rush_batches_max).contains(&full_batches) {
                    self.pause(begun.elapsed() * self.options.rush_rest).await;
                }
            } else {
                idle_turns += 1;
            }
            if idle_turns == REST_AFTER_IDLE_TURNS {
                self.rest().await;
            }
            if read < self.options.batch_records_max {
                self.pause(self.options.idle).await;
            }
        }
        Ok(())
    }

    /// A failure is of no consequence: the next batch meets it too.
    async fn rest(&mut self) {
        if let Err(error) = self.follow.rest().await {
            debug!(%error, "no rest: {error}");
            self.follow.let_go();
        }
    }

    /// `None`: the disk did not answer, which may pass.
    fn read(&mut self, records: &mut Records) -> Result<Option<usize>, StopReason<F::Error>> {
        let name = F::NAME;
        let position = self.reader.position();
        match self.reader.next_batch(self.readable(position), records) {
            Ok(read) => Ok(Some(read)),
            Err(ReadError::Io(failure)) => {
                self.progress.retried();
                if self.progress.set_away(true) {
                    warn!(%position, error = %failure, "the {name} cannot read the journal; the sale goes on: {failure}");
                }
                Ok(None)
            }
            Err(ReadError::Released { .. }) if F::SKIPS_RELEASED => {
                self.skip_released();
                Ok(Some(0))
            }
            Err(source) => Err(StopReason::Journal { position, source }),
        }
    }

    fn readable(&self, position: Position) -> usize {
        let shown = self.follow.may_read_through().get();
        let behind = shown.saturating_sub(position.get());
        usize::try_from(behind)
            .unwrap_or(usize::MAX)
            .min(self.options.batch_records_max)
    }

    fn skip_released(&mut self) {
        let name = F::NAME;
        let skipped = self.reader.skip_released();
        let position = self.reader.position();
        self.progress.skip_to(position, skipped);
        warn!(%position, skipped, "the {name} left out {skipped} records, which the journal had let go; it goes on after record {position}");
    }

    /// Tries until the batch is applied, or until it is asked to stop.
    async fn apply(&mut self, batch: &Batch) -> Result<(), StopReason<F::Error>> {
        let mut pause = self.options.retry_pause_min;
        while !self.is_asked_to_stop() {
            let Err(source) = self.attempt(batch).await else {
                self.succeeded(batch);
                return Ok(());
            };
            // How a transaction ended may be unknown. The next connection reads how far it came.
            self.follow.let_go();
            if !source.may_heal() {
                let position = self.progress.position();
                return Err(StopReason::Apply { position, source });
            }
            self.failed(&source);
            self.pause(pause).await;
            pause = (pause * 2).min(self.options.retry_pause_max);
        }
        Ok(())
    }

    /// Once. A server that hangs is left behind with its connection, and its transaction ends with that.
    async fn attempt(&mut self, batch: &Batch) -> Result<(), F::Error> {
        let mut shutdown = self.shutdown.clone();
        let limit = self.options.batch_timeout;
        tokio::select! {
            done = timeout(limit, self.follow.apply(batch)) => {
                done.unwrap_or_else(|_| Err(F::Error::timed_out(limit)))
            }
            () = grace_after(&mut shutdown) => Err(F::Error::timed_out(STOP_GRACE)),
        }
    }

    fn succeeded(&self, batch: &Batch) {
        if let Some((last, _)) = batch.last() {
            self.progress.advance(*last, batch.len() as u64);
        }
        if self.progress.set_away(false) {
            let (name, position) = (F::NAME, self.progress.position());
            info!(%position, "the {name} goes on after record {position}");
        }
    }

    /// Told once, however long it lasts: the counter and the lag show the rest.
    fn failed(&self, error: &F::Error) {
        self.progress.retried();
        let (name, position) = (F::NAME, self.progress.position());
        if !self.progress.set_away(true) {
            debug!(%position, %error, "the {name} still waits: {error}");
        } else if error.is_refusal() {
            error!(%position, %error, "the {name} is refused the records after {position}, which are tried again: {error}");
        } else {
            warn!(%position, %error, "the {name} waits; the sale goes on, the records after {position} are tried again: {error}");
        }
    }

    fn is_asked_to_stop(&self) -> bool {
        *self.shutdown.borrow()
    }

    async fn pause(&mut self, length: Duration) {
        // If nobody is left who could ask, there is nothing to listen for.
        let asked = self.shutdown.wait_for(|asked| *asked);
        if let Ok(Err(_)) = timeout(length, asked).await {
            sleep(length).await;
        }
    }
}

/// Tells the end of the follower, also when it ends by a panic.
struct EndTold(Progress);

impl Drop for EndTold {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn grace_after(shutdown: &mut watch::Receiver<bool>) {
    // An error says that nobody is left who could ask; then there is no end to the grace.
    if shutdown.wait_for(|asked| *asked).await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep(STOP_GRACE).await;
}

fn decode<E>(records: &Records) -> Result<Vec<(Position, Event)>, StopReason<E>> {
    records
        .iter()
        .map(|(position, record)| match codec::decode(record) {
            Ok(event) => Ok((position, event)),
            Err(source) => Err(StopReason::Record { position, source }),
        })
        .collect()
}
