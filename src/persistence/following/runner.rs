//! Following the journal on a thread of its own, through every absence of what is written to.
//!
//! The sale does not notice this thread: it has the lowest claim on the processor, sleeps when there is nothing to do,
//! and gathers records into large batches when there is much.
//!
//! **Invariant:** no record is skipped and none is applied twice. A batch is tried again until it is applied; what cannot
//! be tried again ends the follower, and the reason names the record. Only a follower that says that it can do without
//! is moved past records that the journal has let go.
//!
//! **Invariant:** where SQL stands is said by SQL: on each new connection, and now and then while there is nothing to do. If it has
//! lost what it had, the follower reads again from there; if the journal has no such place, it waits and says so.

use std::error::Error;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, info, warn};

use super::progress::Progress;
use super::{Batch, Bookmark, Mismatch, ResumeError, ResumePoint, Unreadable};
use crate::persistence::journal::{IoFailure, JournalReader, Position, ReadError, Records, View};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Records at a time, at most.
    pub batch_records_max: usize,
    /// How long to sleep when the journal has nothing new, and after a batch that was not full, to let more arrive.
    pub idle: Duration,
    /// After this long without an end, a batch is given up together with its connection, and tried again on another.
    pub batch_timeout: Duration,
    /// The journal lets go of what SQL has durably. Where that costs a sync of its own, it is done so often; one that
    /// catches up commits many times between two of them.
    pub commit_durably_every: Duration,
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

/// SQL may lose what it had, or go away, while there is nothing to write. So it is asked where it stands.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a batch may still take once the follower is asked to stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

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

    /// Where SQL stands now. Opens what it needs if there is nothing open.
    fn bookmark(&mut self) -> impl Future<Output = Result<Bookmark, Self::Error>>;

    /// Writes down which journal is followed; the position stays. Once it returned, this and all that was applied before
    /// survive a power cut.
    fn settle(&mut self, bookmark: Bookmark) -> impl Future<Output = Result<(), Self::Error>>;

    /// Whether everything that it applies survives a power cut, so that it need not be asked to.
    fn always_commits_durably(&self) -> bool;

    /// Applies the records of the batch that it has not applied before. After an error, or if it is dropped in the middle,
    /// some of them may be applied, in order; the same batch is shown again. `durably`: once it returned, this batch and
    /// all before it survive a power cut.
    fn apply(
        &mut self,
        batch: &Batch,
        durably: bool,
    ) -> impl Future<Output = Result<(), Self::Error>>;

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
    #[error("it stopped: {0}")]
    Record(#[from] Unreadable),
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
    /// Goes on from `point`, where `progress` stands too.
    pub(crate) fn start<F: Follow<Error = E>>(
        journal: View,
        point: ResumePoint,
        progress: Progress,
        follow: F,
        options: Options,
    ) -> Result<Self, StopReason<E>> {
        let (shutdown, asked) = watch::channel(false);
        let runner = Runner {
            journal,
            reader: point.reader,
            // What is missing in it is written down first.
            stored: (point.stored == point.bookmark).then_some(point.stored),
            in_hand: None,
            follow,
            retry_pause: options.retry_pause_min,
            options,
            progress: progress.clone(),
            looked_at: None,
            durable_at: None,
            can_read: true,
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
    journal: View,
    reader: Box<dyn JournalReader>,
    /// What SQL said last of where it stands, or was made to say, if the reader goes on from there.
    stored: Option<Bookmark>,
    /// When SQL said so. `None`: it must be asked before anything else.
    looked_at: Option<Instant>,
    /// When all that was applied became durable, the last time.
    durable_at: Option<Instant>,
    /// The disk answered when it was asked last.
    can_read: bool,
    /// Read and not applied yet.
    in_hand: Option<Batch>,
    follow: F,
    options: Options,
    retry_pause: Duration,
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
        let mut idle_turns = 0;
        let mut full_batches = 0;
        while !self.is_asked_to_stop() {
            if !self.knows_where_it_stands().await? {
                self.pause_before_retry().await;
                continue;
            }
            let Some(read) = self.read()? else {
                self.pause(self.options.retry_pause_max).await;
                continue;
            };
            if read > 0 {
                let begun = Instant::now();
                if !self.apply().await? {
                    self.pause_before_retry().await;
                    continue;
                }
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
                if self.has_unsettled_end() && !self.settle().await? {
                    self.pause_before_retry().await;
                    continue;
                }
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

    // -- where SQL stands ----------------------------------------------------------------------------------------

    /// Asks SQL if it is time to. `false`: it does not answer, or what it says is no place to go on from.
    async fn knows_where_it_stands(&mut self) -> Result<bool, StopReason<F::Error>> {
        let is_recent = |looked_at: Instant| looked_at.elapsed() < LOOK_EVERY;
        if self.looked_at.is_some_and(is_recent) {
            return Ok(true);
        }
        let stored = match within(&self.options, &self.shutdown, self.follow.bookmark()).await {
            Ok(stored) => stored,
            Err(error) => return self.failed(error),
        };
        if Some(stored) != self.stored && !self.move_to(stored).await? {
            return Ok(false);
        }
        self.looked_at = Some(Instant::now());
        // What it could not read or apply a moment ago it has still to try.
        if self.can_read && self.in_hand.is_none() {
            self.goes_on();
        }
        Ok(true)
    }

    /// SQL says something else than it did last. `false`: there is nothing there to go on from.
    async fn move_to(&mut self, stored: Bookmark) -> Result<bool, StopReason<F::Error>> {
        // A commit whose end was not known.
        if self.in_hand.as_ref().is_some_and(|it| it.holds(stored)) {
            self.stored = Some(stored);
            self.progress.move_to(stored.position);
            return Ok(true);
        }
        match self.resume_point(stored) {
            Ok(point) => self.resume_at(stored, point).await,
            Err(ResumeError::Mismatch(mismatch)) => {
                self.does_not_fit(mismatch);
                Ok(false)
            }
            Err(ResumeError::Read(ReadError::Io(failure))) => {
                self.cannot_read(&failure);
                Ok(false)
            }
            Err(ResumeError::Read(source)) => Err(StopReason::Journal {
                position: stored.position,
                source,
            }),
        }
    }

    fn resume_point(&self, stored: Bookmark) -> Result<ResumePoint, ResumeError> {
        if F::SKIPS_RELEASED {
            ResumePoint::find_or_skip(stored, &self.journal)
        } else {
            ResumePoint::find(stored, &self.journal)
        }
    }

    async fn resume_at(
        &mut self,
        stored: Bookmark,
        point: ResumePoint,
    ) -> Result<bool, StopReason<F::Error>> {
        if point.bookmark != stored {
            let settling = self.follow.settle(point.bookmark);
            if let Err(error) = within(&self.options, &self.shutdown, settling).await {
                return self.failed(error);
            }
        }
        let (name, from, to) = (F::NAME, self.progress.position(), stored.position);
        if to < from {
            let lost = from.get() - to.get();
            warn!(position = %to, %from, lost, "SQL went back from record {from} to record {to}, as after a fail-over or a restored backup; the {name} follows again from there");
            self.progress.go_back_to(to);
        } else {
            self.progress.move_to(to);
        }
        (self.stored, self.reader, self.in_hand) = (Some(point.bookmark), point.reader, None);
        if point.skipped > 0 {
            self.skipped(point.skipped);
        }
        Ok(true)
    }

    /// Told once. Somebody has to put it right, so it is looked at again and again.
    fn does_not_fit(&mut self, mismatch: Mismatch) {
        let (name, position) = (F::NAME, self.progress.position());
        if self.progress.set_mismatch(Some(mismatch.clone())) {
            error!(%position, "the {name} waits until this is put right; the sale goes on within the journal's budget: {mismatch}");
        }
        self.retry_pause = self.options.retry_pause_max;
        self.looked_at = None;
    }

    // -- reading -------------------------------------------------------------------------------------------------

    /// Takes a batch in hand unless there is one, and says how many records it has. `None`: the disk did not answer,
    /// which may pass.
    fn read(&mut self) -> Result<Option<usize>, StopReason<F::Error>> {
        if let Some(batch) = &self.in_hand {
            return Ok(Some(batch.len()));
        }
        let position = self.reader.position();
        let mut records = Records::new();
        match self
            .reader
            .next_batch(self.readable(position), &mut records)
        {
            Ok(read) => {
                self.can_read = true;
                if read > 0 {
                    self.in_hand = Some(self.decode(&records)?);
                }
                Ok(Some(read))
            }
            Err(ReadError::Io(failure)) => {
                self.cannot_read(&failure);
                Ok(None)
            }
            Err(ReadError::Released { .. }) if F::SKIPS_RELEASED => {
                let skipped = self.reader.skip_released();
                self.skipped(skipped);
                Ok(Some(0))
            }
            Err(ReadError::Released { first, .. }) => {
                self.stored = None;
                self.does_not_fit(Mismatch::RecordsGone { position, first });
                Ok(None)
            }
            Err(source) => Err(StopReason::Journal { position, source }),
        }
    }

    /// A start would be refused by a record that says nothing, however whole it is.
    fn decode(&self, records: &Records) -> Result<Batch, Unreadable> {
        Batch::decode(self.journal.id(), records).inspect_err(|unreadable| {
            self.journal.report_damage(&unreadable.to_string());
        })
    }

    fn readable(&self, position: Position) -> usize {
        let shown = self.follow.may_read_through().get();
        let behind = shown.saturating_sub(position.get());
        usize::try_from(behind)
            .unwrap_or(usize::MAX)
            .min(self.options.batch_records_max)
    }

    fn cannot_read(&mut self, failure: &IoFailure) {
        let (name, position) = (F::NAME, self.progress.position());
        self.can_read = false;
        self.progress.retried();
        if self.progress.set_away(true) {
            warn!(%position, error = %failure, "the {name} cannot read the journal; the sale goes on: {failure}");
        }
    }

    fn skipped(&self, skipped: u64) {
        let (name, position) = (F::NAME, self.reader.position());
        self.progress.skip_to(position, skipped);
        warn!(%position, skipped, "the {name} left out {skipped} records, which the journal had let go; it goes on after record {position}");
    }

    // -- applying ------------------------------------------------------------------------------------------------

    /// Once. `false`: it is to be tried again, when SQL has said where it stands.
    async fn apply(&mut self) -> Result<bool, StopReason<F::Error>> {
        let Some(batch) = self.in_hand.take() else {
            return Ok(true);
        };
        let durably = self.is_durability_due();
        // A commit whose end was not known may have been one: then there is nothing to commit, and nothing is synced.
        let is_new = batch.last() > Some(self.progress.position());
        let applying = self.follow.apply(&batch, durably);
        match within(&self.options, &self.shutdown, applying).await {
            Ok(()) => {
                self.succeeded(&batch);
                if durably && is_new {
                    self.note_durable();
                }
                Ok(true)
            }
            Err(error) => {
                self.in_hand = Some(batch);
                self.failed(error)
            }
        }
    }

    fn is_durability_due(&self) -> bool {
        let is_recent = |at: Instant| at.elapsed() < self.options.commit_durably_every;
        self.follow.always_commits_durably() || !self.durable_at.is_some_and(is_recent)
    }

    /// There is no further batch that would take the last ones to the disk.
    fn has_unsettled_end(&self) -> bool {
        self.progress.durable_position() < self.progress.position() && self.is_durability_due()
    }

    /// `false`: it is to be tried again, when SQL has said where it stands.
    async fn settle(&mut self) -> Result<bool, StopReason<F::Error>> {
        let Some(stored) = self.stored else {
            return Ok(true);
        };
        let settling = self.follow.settle(stored);
        match within(&self.options, &self.shutdown, settling).await {
            Ok(()) => {
                self.note_durable();
                Ok(true)
            }
            Err(error) => self.failed(error),
        }
    }

    fn note_durable(&mut self) {
        self.durable_at = Some(Instant::now());
        self.progress.set_durable(self.progress.position());
    }

    fn succeeded(&mut self, batch: &Batch) {
        if let Some(last) = batch.last() {
            self.progress.advance(last, batch.len() as u64);
            self.stored = Some(batch.bookmark(last));
        }
        self.looked_at = Some(Instant::now());
        self.goes_on();
    }

    /// Told if it was away.
    fn goes_on(&mut self) {
        self.retry_pause = self.options.retry_pause_min;
        let had_mismatch = self.progress.set_mismatch(None);
        let was_away = self.progress.set_away(false);
        if had_mismatch || was_away {
            let (name, position) = (F::NAME, self.progress.position());
            info!(%position, "the {name} goes on after record {position}");
        }
    }

    /// How a transaction ended may be unknown: the next connection says where SQL stands. Told once, however long it lasts:
    /// the counter and the lag show the rest. `Ok(false)`: it may heal.
    fn failed(&mut self, error: F::Error) -> Result<bool, StopReason<F::Error>> {
        self.follow.let_go();
        self.looked_at = None;
        let (name, position) = (F::NAME, self.progress.position());
        if !error.may_heal() {
            let source = error;
            return Err(StopReason::Apply { position, source });
        }
        self.progress.retried();
        if !self.progress.set_away(true) {
            debug!(%position, %error, "the {name} still waits: {error}");
        } else if error.is_refusal() {
            error!(%position, %error, "the {name} is refused the records after {position}, which are tried again: {error}");
        } else {
            warn!(%position, %error, "the {name} waits; the sale goes on, the records after {position} are tried again: {error}");
        }
        Ok(false)
    }

    /// A failure is of no consequence: the next batch meets it too.
    async fn rest(&mut self) {
        if let Err(error) = self.follow.rest().await {
            debug!(%error, "no rest: {error}");
            self.follow.let_go();
            self.looked_at = None;
        }
    }

    // -- time ----------------------------------------------------------------------------------------------------

    fn is_asked_to_stop(&self) -> bool {
        *self.shutdown.borrow()
    }

    async fn pause_before_retry(&mut self) {
        let pause = self.retry_pause;
        self.retry_pause = (pause * 2).min(self.options.retry_pause_max);
        self.pause(pause).await;
    }

    async fn pause(&mut self, length: Duration) {
        // If nobody is left who could ask, there is nothing to listen for.
        let asked = self.shutdown.wait_for(|asked| *asked);
        if let Ok(Err(_)) = timeout(length, asked).await {
            sleep(length).await;
        }
    }
}

/// A server that hangs is left behind with its connection, and its transaction ends with that.
async fn within<T, E: FollowError>(
    options: &Options,
    shutdown: &watch::Receiver<bool>,
    act: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut shutdown = shutdown.clone();
    let limit = options.batch_timeout;
    tokio::select! {
        done = timeout(limit, act) => done.unwrap_or_else(|_| Err(E::timed_out(limit))),
        () = grace_after(&mut shutdown) => Err(E::timed_out(STOP_GRACE)),
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
