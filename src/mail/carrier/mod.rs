//! The carrier: brings letters from the outbox to the transport, one try after the other, until they are gone.
//!
//! A letter is claimed before it is sent: its tries are raised and its next turn is set. So a crash at any point leaves a
//! letter that comes to its turn by itself, and one that was sent just before the crash goes out at most once more a turn,
//! with the same `Message-ID`.
//!
//! While nobody answers at the other side, one letter at a time is tried, and the others keep their tries for when somebody
//! does. An absence is told once when it begins and once when it ends, however many letters meet it.
//!
//! **Invariant:** logs name letters and accounts by their ids, never by address, name or code.
//!
//! Deliberately absent: order between letters that go out together, and any promise of exactly once, which mail cannot give.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lettre::Message;
use lettre::message::Mailbox;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::{Envelope, Schedule, message};
use crate::clock::Clock;
use crate::domain::{Span, Timestamp};
use crate::gateways::mail::{MailTransport, SEND_TIMEOUT, SendError};
use crate::persistence::database::{Database, DueLetter, Error, Outbox};

/// Opens what the outbox holds. An error says why it can never be opened, and is logged.
pub type Opener = Arc<dyn Fn(&DueLetter) -> Result<Envelope, String> + Send + Sync>;

/// Letters of one look into the outbox; if there are more, it looks again at once.
const LETTERS_PER_LOOK: u32 = 64;

/// Letters about orders of one look, which are taken only when no other letter is due: a code that is put in meanwhile
/// waits for no more than these.
const ORDER_LETTERS_PER_LOOK: u32 = 16;

const EXPIRED: &str = "it has expired";

/// Until then a letter that was claimed is not tried by anybody else, on top of its pause: longer than a try can take.
const CLAIM: Span = Span::from_secs(15);
const _: () = assert!(CLAIM.as_secs_ceil() > SEND_TIMEOUT.as_secs());

/// What a carrier works with.
#[derive(Clone)]
pub struct CarrierParts {
    pub database: Database,
    pub transport: Arc<dyn MailTransport>,
    pub clock: Arc<dyn Clock>,
    pub open: Opener,
    /// Whose name is on the letters.
    pub from: Mailbox,
    pub options: CarrierOptions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarrierOptions {
    pub schedule: Schedule,
    /// Letters under way at the same time; the others wait for one of them.
    pub parallel_max: usize,
    /// How long to rest when nothing is due and nobody rings, and when the database does not answer.
    pub look_every: Duration,
    /// The rest after the first try that found nobody at the other side; each further one doubles it.
    pub away_pause_min: Duration,
    pub away_pause_max: Duration,
    /// How long the letters in hand may still take after the carrier was asked to stop. Then they are left; they come to
    /// their turn after the next start.
    pub stop_grace: Duration,
}

impl Default for CarrierOptions {
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            parallel_max: 4,
            look_every: Duration::from_secs(1),
            away_pause_min: Duration::from_secs(1),
            away_pause_max: Duration::from_secs(30),
            stop_grace: Duration::from_secs(2),
        }
    }
}

/// What has become of letters since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub sent: u64,
    /// Tries that failed and will be repeated.
    pub failed: u64,
    /// Letters that were given up: refused for good, expired, unreadable, or for nobody.
    pub dropped: u64,
    /// Letters in the outbox at the last look.
    pub waiting: u64,
    /// Looks into the outbox.
    pub looks: u64,
    /// Nobody answers at the other side.
    pub is_away: bool,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Carrier;

impl Carrier {
    /// Begins to carry, on the runtime that this is called on.
    pub fn start(parts: CarrierParts) -> CarrierHandle {
        let shared = Arc::new(SharedCarrier::default());
        let (running, ended) = watch::channel(());
        let worker = Worker {
            parts,
            shared: Arc::clone(&shared),
        };
        tokio::spawn(async move {
            Arc::new(worker).run().await;
            drop(running);
        });
        CarrierHandle { shared, ended }
    }
}

/// A running carrier; cheap to clone. Dropping it lets the carrier run on; see [`CarrierHandle::stop`].
#[derive(Debug, Clone)]
pub struct CarrierHandle {
    shared: Arc<SharedCarrier>,
    ended: watch::Receiver<()>,
}

impl CarrierHandle {
    /// Says that there is a new letter. Never blocks; rings while the carrier is busy come down to one.
    pub fn ring(&self) {
        self.shared.bell.notify_one();
    }

    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// Takes no further letter, finishes those in hand within [`CarrierOptions::stop_grace`], and returns when the carrier
    /// has ended.
    pub async fn stop(&self) {
        self.shared.stop.send_replace(true);
        let mut ended = self.ended.clone();
        // Nothing is ever sent: the end of the channel is the end of the carrier.
        while ended.changed().await.is_ok() {}
    }
}

#[derive(Debug, Default)]
struct SharedCarrier {
    bell: Notify,
    stop: watch::Sender<bool>,
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    waiting: AtomicU64,
    looks: AtomicU64,
    is_away: AtomicBool,
    is_database_away: AtomicBool,
}

impl SharedCarrier {
    fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            sent: read(&self.sent),
            failed: read(&self.failed),
            dropped: read(&self.dropped),
            waiting: read(&self.waiting),
            looks: read(&self.looks),
            is_away: self.is_away(),
        }
    }

    fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    fn is_asked_to_stop(&self) -> bool {
        *self.stop.borrow()
    }

    async fn asked_to_stop(&self) {
        let mut asked = self.stop.subscribe();
        // The sender is in `self`, so the channel outlives the wait.
        drop(asked.wait_for(|asked| *asked).await);
    }
}

struct Worker {
    parts: CarrierParts,
    shared: Arc<SharedCarrier>,
}

/// What a look into the outbox came to.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// There may be more that is due.
    More,
    Done,
    /// Nobody is at the other side.
    Away,
}

impl Worker {
    async fn run(self: Arc<Self>) {
        let options = &self.parts.options;
        let mut away_pause = options.away_pause_min;
        while !self.shared.is_asked_to_stop() {
            let looked = tokio::select! {
                looked = self.look() => looked,
                () = self.grace_is_over() => return,
            };
            match looked {
                Ok(Look::More) => {}
                Ok(Look::Done) => self.rest(options.look_every, true).await,
                Ok(Look::Away) => {
                    self.rest(away_pause, false).await;
                    away_pause = (away_pause * 2).min(options.away_pause_max);
                    continue;
                }
                Err(error) => {
                    self.database_is_away(&error);
                    self.rest(options.look_every, false).await;
                }
            }
            away_pause = options.away_pause_min;
        }
    }

    async fn grace_is_over(&self) {
        self.shared.asked_to_stop().await;
        sleep(self.parts.options.stop_grace).await;
    }

    /// Until the time is over, it is asked to stop, or, where that matters, somebody rings.
    async fn rest(&self, length: Duration, hears_the_bell: bool) {
        tokio::select! {
            () = sleep(length) => {}
            () = self.shared.asked_to_stop() => {}
            () = self.shared.bell.notified(), if hears_the_bell => {}
        }
    }

    async fn look(self: &Arc<Self>) -> Result<Look, Error> {
        let (due, is_full) = self.due().await?;
        let has_left_some = self.carry_all(due).await?;
        let waiting = self.count().await?;
        self.shared.waiting.store(waiting, Ordering::Relaxed);
        self.shared.looks.fetch_add(1, Ordering::Relaxed);
        self.database_is_back();
        Ok(match (self.shared.is_away(), is_full || has_left_some) {
            (true, _) => Look::Away,
            (false, true) => Look::More,
            (false, false) => Look::Done,
        })
    }

    /// What is to be carried now, and whether there may be more of it.
    async fn due(&self) -> Result<(Vec<DueLetter>, bool), Error> {
        for (outbox, limit) in [
            (Outbox::Accounts, LETTERS_PER_LOOK),
            (Outbox::Orders, ORDER_LETTERS_PER_LOOK),
        ] {
            let due = self.parts.database.due_letters(outbox, self.now(), limit);
            let due = due.await?;
            if !due.is_empty() {
                // Behind letters of accounts there may be some about orders.
                let is_full = outbox == Outbox::Accounts || due.len() == limit as usize;
                return Ok((due, is_full));
            }
        }
        Ok((Vec::new(), false))
    }

    async fn count(&self) -> Result<u64, Error> {
        let mut waiting = 0;
        for outbox in Outbox::ALL {
            waiting += self.parts.database.count_letters(outbox).await?;
        }
        Ok(waiting)
    }

    /// Says whether it left letters because nobody is at the other side.
    async fn carry_all(self: &Arc<Self>, due: Vec<DueLetter>) -> Result<bool, Error> {
        let mut under_way = JoinSet::new();
        let mut failure = None;
        let mut has_tried = false;
        let mut has_left_some = false;
        for letter in due {
            while under_way.len() >= self.parts.options.parallel_max {
                self.note(under_way.join_next().await, &mut failure);
            }
            if failure.is_some() || self.shared.is_asked_to_stop() {
                break;
            }
            if self.why_hopeless(&letter).is_none() {
                if has_tried && self.shared.is_away() {
                    has_left_some = true;
                    continue;
                }
                has_tried = true;
            }
            let worker = Arc::clone(self);
            under_way.spawn(async move { worker.carry(letter).await });
        }
        while let Some(carried) = under_way.join_next().await {
            self.note(Some(carried), &mut failure);
        }
        failure.map_or(Ok(has_left_some), Err)
    }

    /// A letter that makes us panic has been claimed and comes to its next turn; the others go on.
    fn note(
        &self,
        carried: Option<Result<Result<(), Error>, JoinError>>,
        failure: &mut Option<Error>,
    ) {
        match carried {
            None | Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => *failure = Some(error),
            Some(Err(panic)) => {
                self.shared.failed.fetch_add(1, Ordering::Relaxed);
                error!(error = %panic, "a letter could not be carried because of a bug; it is tried again later");
            }
        }
    }

    async fn carry(&self, letter: DueLetter) -> Result<(), Error> {
        if let Some(reason) = self.why_hopeless(&letter) {
            return self.give_up(&letter, reason).await;
        }
        let tries = letter.tries.saturating_add(1);
        let pause = self.parts.options.schedule.pause_after(tries);
        let claimed_until = self.now().plus(CLAIM).plus(pause);
        let claimed =
            self.parts
                .database
                .claim_letter(letter.outbox, letter.id, letter.tries, claimed_until);
        if !claimed.await? {
            return Ok(());
        }
        let message = match self.write(&letter) {
            Ok(message) => message,
            Err(reason) => return self.give_up(&letter, &reason).await,
        };
        match self.parts.transport.send(message).await {
            Ok(()) => self.sent(&letter).await,
            Err(SendError::Permanent(reason)) => {
                self.somebody_is_there();
                self.give_up(&letter, &reason).await
            }
            Err(SendError::Temporary(reason)) => {
                self.somebody_is_there();
                self.put_off(&letter, tries, pause, &reason).await
            }
            Err(SendError::Away(reason)) => {
                self.nobody_is_there(&reason);
                self.put_off(&letter, tries, pause, &reason).await
            }
        }
    }

    /// Why a letter is not worth a try.
    fn why_hopeless(&self, letter: &DueLetter) -> Option<&'static str> {
        if letter.data_key.is_none() {
            return Some("its account is gone");
        }
        (self.end_of(letter) <= self.now()).then_some(EXPIRED)
    }

    fn write(&self, letter: &DueLetter) -> Result<Message, String> {
        let envelope =
            (self.parts.open)(letter).map_err(|reason| format!("it cannot be opened: {reason}"))?;
        let made = message(&envelope, &self.parts.from, letter.id, self.now());
        made.map_err(|reason| format!("no mail can be made of it: {reason}"))
    }

    /// Nothing but a delete that succeeds keeps a letter that was sent from going out again.
    async fn sent(&self, letter: &DueLetter) -> Result<(), Error> {
        self.shared.sent.fetch_add(1, Ordering::Relaxed);
        self.somebody_is_there();
        debug!(letter.id = %Uuid::from_u128(letter.id), account.id = %letter.account, "a letter is sent");
        while let Err(error) = self
            .parts
            .database
            .delete_letter(letter.outbox, letter.id)
            .await
        {
            self.database_is_away(&error);
            if self.shared.is_asked_to_stop() {
                return Err(error);
            }
            self.rest(self.parts.options.look_every, false).await;
        }
        Ok(())
    }

    /// Not later than the end of the letter, so that it is cleared away then.
    async fn put_off(
        &self,
        letter: &DueLetter,
        tries: u64,
        pause: Span,
        reason: &str,
    ) -> Result<(), Error> {
        self.shared.failed.fetch_add(1, Ordering::Relaxed);
        debug!(letter.id = %Uuid::from_u128(letter.id), account.id = %letter.account, tries, "a letter has to wait: {reason}");
        let next_at = self.now().plus(pause).min(self.end_of(letter));
        let put_off = self
            .parts
            .database
            .put_off_letter(letter.outbox, letter.id, tries, next_at);
        put_off.await.map(|_| ())
    }

    async fn give_up(&self, letter: &DueLetter, reason: &str) -> Result<(), Error> {
        // Of several carriers, the one that deletes tells.
        if !self
            .parts
            .database
            .delete_letter(letter.outbox, letter.id)
            .await?
        {
            return Ok(());
        }
        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        if letter.outbox == Outbox::Orders && reason == EXPIRED {
            // In a rush thousands of holds are over before their letters' turn; letters about what became of them follow.
            debug!(letter.id = %Uuid::from_u128(letter.id), account.id = %letter.account, letter.tries, "a letter about an order is given up: {reason}");
        } else {
            warn!(letter.id = %Uuid::from_u128(letter.id), account.id = %letter.account, letter.tries, "a letter is given up: {reason}");
        }
        Ok(())
    }

    fn somebody_is_there(&self) {
        if self.shared.is_away.swap(false, Ordering::Relaxed) {
            let place = self.parts.transport.place();
            info!(place, "{place} takes letters again");
        }
    }

    fn nobody_is_there(&self, reason: &str) {
        if !self.shared.is_away.swap(true, Ordering::Relaxed) {
            let place = self.parts.transport.place();
            warn!(
                place,
                "no letter goes out for now, all of them wait: {reason}"
            );
        }
    }

    fn database_is_back(&self) {
        if self.shared.is_database_away.swap(false, Ordering::Relaxed) {
            info!("the outbox can be read again; letters go on");
        }
    }

    fn database_is_away(&self, error: &Error) {
        if self.shared.is_database_away.swap(true, Ordering::Relaxed) {
            debug!(%error, "the outbox is still away: {error}");
        } else if error.heals() {
            warn!(%error, "the outbox cannot be read, letters wait: {error}");
        } else {
            error!(%error, "the database refuses the outbox, which is tried again: {error}");
        }
    }

    fn end_of(&self, letter: &DueLetter) -> Timestamp {
        let schedule = &self.parts.options.schedule;
        schedule.end_of(letter.created_at, letter.expires_at)
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }
}

/// Not derived: a function has nothing to show.
impl std::fmt::Debug for CarrierParts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("CarrierParts")
            .field("transport", &self.transport)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
