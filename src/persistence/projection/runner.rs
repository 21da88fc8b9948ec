//! Following the journal on a thread of its own, through every absence of SQL.
//!
//! The sale does not notice this thread: it has the lowest claim on the processor, sleeps when there is nothing to do,
//! and gathers records into large batches when there is much.
//!
//! **Invariant:** no record is skipped and none is projected twice. A batch is tried again until SQL has it; what cannot
//! be tried again ends the projection, and the reason names the record.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, info, warn};

use super::progress::Progress;
use super::projector::{ProjectError, Projector};
use crate::domain::Event;
use crate::persistence::codec::{self, CodecError};
use crate::persistence::database::Database;
use crate::persistence::journal::{JournalReader, Position, ReadError, Records};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Records in one transaction, at most.
    pub batch_records_max: usize,
    /// How long to sleep when the journal has nothing new, and after a batch that was not full, to let more arrive.
    pub idle: Duration,
    /// After this long without an end, a batch is given up together with its connection, and tried again on another.
    pub batch_timeout: Duration,
    /// The pause after the first failure; each further one doubles it.
    pub retry_pause_min: Duration,
    pub retry_pause_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_records_max: 8_000,
            idle: Duration::from_millis(50),
            batch_timeout: Duration::from_secs(30),
            retry_pause_min: Duration::from_millis(50),
            retry_pause_max: Duration::from_secs(5),
        }
    }
}

/// The lowest claim there is, inherited by SQLite's own thread: a rush is for the buyers, and SQL catches up after it.
const NICENESS: i32 = 19;

/// Full batches in a row are a rush: SQL works half of the time and leaves the rest to the buyers. A rush that lasts
/// longer than so many of them, a million records, is the new normal, and SQL keeps up with it as well as it can.
const RUSH_BATCHES_MAX: u32 = 125;

/// The rush is over when the journal had nothing new for so many looks, ten seconds of them.
const REST_AFTER_IDLE_TURNS: u32 = 200;

/// Why the projection cannot go on. Nothing is lost: the journal has it all.
#[derive(Debug, thiserror::Error)]
pub enum StopReason {
    #[error("the projection stopped at {position}: {source}")]
    Journal {
        position: Position,
        source: ReadError,
    },
    #[error("the projection stopped: record {position} cannot be read: {source}")]
    Record {
        position: Position,
        source: CodecError,
    },
    #[error("the projection stopped at {position}: {source}")]
    Project {
        position: Position,
        source: ProjectError,
    },
    #[error("the projection's thread could not be started: {0}")]
    Thread(#[from] io::Error),
    #[error("the projection panicked; see the message above")]
    Panicked,
}

/// A running projection. Dropping it lets it run on; see [`Projection::stop`].
#[derive(Debug)]
pub struct Projection {
    thread: JoinHandle<Result<(), StopReason>>,
    shutdown: watch::Sender<bool>,
    progress: Progress,
}

impl Projection {
    /// Follows `reader`, which must begin where SQL stands (see [`Database::position`]).
    pub fn start(
        reader: Box<dyn JournalReader>,
        database: Database,
        options: Options,
    ) -> Result<Self, StopReason> {
        let progress = Progress::new(reader.position());
        let (shutdown, asked) = watch::channel(false);
        let runner = Runner {
            reader,
            database,
            options,
            progress: progress.clone(),
            shutdown: asked,
            projector: None,
        };
        let thread = thread::Builder::new()
            .name("projection".to_owned())
            .spawn(move || runner.run_thread())?;
        Ok(Self {
            thread,
            shutdown,
            progress,
        })
    }

    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Ends after the batch in hand; blocks until then. Whoever wants more in SQL waits for it first, see
    /// [`Progress::wait_for`]; the next start carries on where this one ends.
    pub fn stop(self) -> Result<(), StopReason> {
        self.shutdown.send_replace(true);
        self.thread.join().unwrap_or(Err(StopReason::Panicked))
    }
}

struct Runner {
    reader: Box<dyn JournalReader>,
    database: Database,
    options: Options,
    progress: Progress,
    shutdown: watch::Receiver<bool>,
    /// `None` until SQL answers, and again after every failure.
    projector: Option<Projector>,
}

type Batch = Vec<(Position, Event)>;

impl Runner {
    fn run_thread(mut self) -> Result<(), StopReason> {
        // The sale comes first. Not being allowed to step back is no reason not to work.
        if let Err(error) = rustix::process::nice(NICENESS) {
            debug!(%error, "the projection keeps its priority");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let progress = self.progress.clone();
        let _ended = EndTold(progress);
        let ended = runtime.block_on(self.run());
        if let Err(reason) = &ended {
            error!(position = %self.progress.position(), error = %reason, "{reason}; SQL no longer follows the sale");
        }
        ended
    }

    async fn run(&mut self) -> Result<(), StopReason> {
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
                self.project(decode(&records)?).await?;
                idle_turns = 0;
                full_batches = match read == self.options.batch_records_max {
                    true => full_batches + 1,
                    false => 0,
                };
                if (1..RUSH_BATCHES_MAX).contains(&full_batches) {
                    self.pause(begun.elapsed()).await;
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
        let Some(projector) = &mut self.projector else {
            return;
        };
        if let Err(error) = projector.rest().await {
            debug!(%error, "no checkpoint: {error}");
            self.projector = None;
        }
    }

    /// `None`: the disk did not answer, which may pass.
    fn read(&mut self, records: &mut Records) -> Result<Option<usize>, StopReason> {
        let position = self.reader.position();
        match self
            .reader
            .next_batch(self.options.batch_records_max, records)
        {
            Ok(read) => Ok(Some(read)),
            Err(ReadError::Io(failure)) => {
                self.progress.retried();
                if self.progress.set_away(true) {
                    warn!(%position, error = %failure, "the journal cannot be read; the sale goes on: {failure}");
                }
                Ok(None)
            }
            Err(source) => Err(StopReason::Journal { position, source }),
        }
    }

    /// Tries until SQL has the batch, or until it is asked to stop.
    async fn project(&mut self, batch: Batch) -> Result<(), StopReason> {
        let mut pause = self.options.retry_pause_min;
        while !self.is_asked_to_stop() {
            let Err(source) = self.attempt(&batch).await else {
                self.succeeded(&batch);
                return Ok(());
            };
            // How a transaction ended may be unknown. The next connection reads how far SQL came.
            self.projector = None;
            if !source.may_heal() {
                let position = self.progress.position();
                return Err(StopReason::Project { position, source });
            }
            self.failed(&source);
            self.pause(pause).await;
            pause = (pause * 2).min(self.options.retry_pause_max);
        }
        Ok(())
    }

    /// Once. A server that hangs is left behind with its connection, and its transaction ends with that.
    async fn attempt(&mut self, batch: &Batch) -> Result<(), ProjectError> {
        let mut shutdown = self.shutdown.clone();
        let limit = self.options.batch_timeout;
        tokio::select! {
            done = timeout(limit, apply(&self.database, &mut self.projector, batch)) => {
                done.unwrap_or(Err(ProjectError::TimedOut { after: limit }))
            }
            () = grace_after(&mut shutdown) => Err(ProjectError::TimedOut { after: STOP_GRACE }),
        }
    }

    fn succeeded(&self, batch: &Batch) {
        if let Some((last, _)) = batch.last() {
            self.progress.advance(*last, batch.len() as u64);
        }
        if self.progress.set_away(false) {
            let position = self.progress.position();
            info!(%position, "SQL is back; the projection goes on after record {position}");
        }
    }

    /// Told once, however long it lasts: the counter and the lag show the rest.
    fn failed(&self, error: &ProjectError) {
        self.progress.retried();
        let position = self.progress.position();
        if !self.progress.set_away(true) {
            debug!(%position, %error, "SQL is still away: {error}");
        } else if error.is_refusal() {
            error!(%position, %error, "SQL refuses the records after {position}, which are tried again: {error}");
        } else {
            warn!(%position, %error, "SQL is away; the sale goes on, the records after {position} wait: {error}");
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

async fn apply(
    database: &Database,
    projector: &mut Option<Projector>,
    batch: &Batch,
) -> Result<(), ProjectError> {
    let projector = match projector {
        Some(projector) => projector,
        None => projector.insert(Projector::open(database).await?),
    };
    projector.apply(batch).await
}

/// Tells the end of the projection, also when it ends by a panic.
struct EndTold(Progress);

impl Drop for EndTold {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// How long a batch may still take once the projection is asked to stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

async fn grace_after(shutdown: &mut watch::Receiver<bool>) {
    // An error says that nobody is left who could ask; then there is no end to the grace.
    if shutdown.wait_for(|asked| *asked).await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep(STOP_GRACE).await;
}

fn decode(records: &Records) -> Result<Batch, StopReason> {
    records
        .iter()
        .map(|(position, record)| match codec::decode(record) {
            Ok(event) => Ok((position, event)),
            Err(source) => Err(StopReason::Record { position, source }),
        })
        .collect()
}
