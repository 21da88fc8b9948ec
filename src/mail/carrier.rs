//! Takes letters out of the outbox and sends them, again and again if need be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::stream;
use lettre::message::Mailbox;
use tokio::sync::{Notify, watch};

use super::{Envelope, render};
use crate::clock::Clock;
use crate::domain::{Span, Timestamp};
use crate::gateways::mail::{MailTransport, SendError};
use crate::persistence::database::{Database, DueLetter, Error};

/// Letters under way at once.
const PARALLEL_MAX: usize = 4;
/// Letters looked at in one turn.
const TURN_MAX: u32 = 64;
/// When a letter has its next turn, by how often it was tried; the last one again and again.
const BACK_OFF_SECS: [u32; 6] = [1, 5, 30, 120, 600, 3_600];
/// Somebody may have put a letter in without ringing: another process, or one that crashed.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long the letters in hand are given at the end.
const STOPS_WITHIN: Duration = Duration::from_secs(2);

/// Opens a sealed letter; the fault is for the log and tells nothing personal.
pub type Open = Arc<dyn Fn(&DueLetter) -> Result<Envelope, String> + Send + Sync>;

/// What the carrier needs.
pub struct CarrierParts {
    pub database: Database,
    pub transport: Arc<dyn MailTransport>,
    /// `Name <address>`
    pub from: String,
    pub clock: Arc<dyn Clock>,
    pub open: Open,
}

/// Counts of this process.
#[derive(Debug, Default)]
pub struct CarrierCounters {
    pub sent: AtomicU64,
    /// Tries that may be repeated.
    pub failed: AtomicU64,
    /// Letters that were given up.
    pub dropped: AtomicU64,
}

/// Rings for the carrier and stops it; cheap to clone.
#[derive(Debug, Clone)]
pub struct CarrierHandle {
    bell: Arc<Notify>,
    stop: watch::Sender<bool>,
    counters: Arc<CarrierCounters>,
}

/// The worker itself.
pub struct Carrier {
    parts: CarrierParts,
    from: Mailbox,
    bell: Arc<Notify>,
    stop: watch::Receiver<bool>,
    counters: Arc<CarrierCounters>,
    /// So that a server that is away is one line in the log.
    is_away: AtomicBool,
}

impl std::fmt::Debug for CarrierParts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("CarrierParts").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Carrier {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Carrier").finish_non_exhaustive()
    }
}

impl CarrierHandle {
    /// A letter was put in.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    pub fn counters(&self) -> &CarrierCounters {
        &self.counters
    }

    /// Waits a moment for the letters in hand. The others wait in the outbox.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let gone = self.stop.closed();
        if tokio::time::timeout(STOPS_WITHIN, gone).await.is_err() {
            tracing::warn!("a letter was still under way; it is sent again after the next start");
        }
    }
}

impl Carrier {
    /// Starts on the current runtime.
    pub fn start(parts: CarrierParts) -> anyhow::Result<CarrierHandle> {
        let from = parts.from.parse();
        let from = from.with_context(|| format!("mail_from = `{}` is no address", parts.from))?;
        let (stop, stopped) = watch::channel(false);
        let handle = CarrierHandle {
            bell: Arc::default(),
            stop,
            counters: Arc::default(),
        };
        let carrier = Self {
            parts,
            from,
            bell: Arc::clone(&handle.bell),
            stop: stopped,
            counters: Arc::clone(&handle.counters),
            is_away: AtomicBool::new(false),
        };
        tokio::spawn(carrier.run());
        Ok(handle)
    }

    async fn run(self) {
        let mut stop = self.stop.clone();
        while !*stop.borrow() {
            let pause = match self.turn().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(%error, "the outbox cannot be read; mail waits");
                    LOOK_EVERY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.bell.notified() => {}
                stopped = stop.wait_for(|stop| *stop) => drop(stopped),
            }
        }
    }

    /// Sends what is due. Gives how long nothing more is.
    async fn turn(&self) -> Result<Duration, Error> {
        let database = &self.parts.database;
        let due = database.due_letters(self.now(), TURN_MAX).await?;
        let results: Vec<Result<(), Error>> = stream::iter(due)
            .map(|letter| self.carry(letter))
            .buffer_unordered(PARALLEL_MAX)
            .collect()
            .await;
        results.into_iter().collect::<Result<(), Error>>()?;
        let next = database.next_letter_at().await?;
        let pause = next.map(|next| Duration::from_micros(next.since(self.now()).as_micros()));
        Ok(pause.map_or(LOOK_EVERY, |pause| pause.min(LOOK_EVERY)))
    }

    async fn carry(&self, letter: DueLetter) -> Result<(), Error> {
        // Those that did not begin before the end stay in the outbox.
        if *self.stop.borrow() {
            return Ok(());
        }
        if letter.expires_at <= self.now() {
            return self.give_up(letter.id, "its time is over").await;
        }
        let next_at = self.now().plus(back_off(letter.tries));
        let database = &self.parts.database;
        if !database
            .claim_letter(letter.id, letter.tries, next_at)
            .await?
        {
            return Ok(());
        }
        let envelope = match (self.parts.open)(&letter) {
            Ok(envelope) => envelope,
            Err(fault) => return self.give_up(letter.id, &fault).await,
        };
        let message = match render(&envelope, &self.from) {
            Ok(message) => message,
            Err(fault) => return self.give_up(letter.id, &fault.to_string()).await,
        };
        match self.parts.transport.send(message).await {
            Ok(()) => self.arrived(letter.id).await,
            Err(SendError::Permanent(fault)) => self.give_up(letter.id, &fault).await,
            Err(SendError::Temporary(fault)) => {
                self.failed(&fault);
                Ok(())
            }
        }
    }

    async fn arrived(&self, id: u128) -> Result<(), Error> {
        self.counters.sent.fetch_add(1, Ordering::Relaxed);
        if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!("mail goes out again");
        }
        self.parts.database.delete_letter(id).await
    }

    fn failed(&self, fault: &str) {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        if !self.is_away.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                error = fault,
                "mail cannot be sent; it waits in the outbox and is tried again"
            );
        }
    }

    async fn give_up(&self, id: u128, fault: &str) -> Result<(), Error> {
        self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            letter.id = format_args!("{id:032x}"),
            error = fault,
            "a letter was given up"
        );
        self.parts.database.delete_letter(id).await
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }
}

fn back_off(tries: u64) -> Span {
    let last = BACK_OFF_SECS[BACK_OFF_SECS.len() - 1];
    let secs = usize::try_from(tries)
        .ok()
        .and_then(|tries| BACK_OFF_SECS.get(tries));
    Span::from_secs(secs.copied().unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_and_then_stays() {
        let secs = |tries| back_off(tries).as_secs_ceil();
        assert_eq!((secs(0), secs(1), secs(5)), (1, 5, 3_600));
        assert_eq!(secs(u64::MAX), 3_600);
    }
}
