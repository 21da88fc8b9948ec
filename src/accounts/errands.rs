//! What is done after the answer, so that the time to answer tells nothing: looking up whether an address is known, and
//! writing to it. And sweeping up what is over.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use super::fields::Email;
use super::{AccountRefusal, Accounts, SharedAccounts};
use crate::domain::{Span, Timestamp};
use crate::persistence::database::{Account, Purpose};
use crate::secrets::LiveKeys;

/// Letters that may wait to be written; who asks for the next is told 503.
const WAITING_MAX: usize = 1_000;
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// A session that ended is of no use after the last access token that came with it.
const ENDED_SESSION_KEPT: Span = super::access::TOKEN_LIFE_MAX;

/// Somebody asked for a letter.
#[derive(Debug)]
pub(super) enum Errand {
    Verify(Email),
    Reset(Email),
}

#[derive(Debug, Clone)]
pub(super) struct Errands(mpsc::Sender<Errand>);

impl Errands {
    pub(super) fn put(&self, errand: Errand) -> Result<(), AccountRefusal> {
        self.0
            .try_send(errand)
            .map_err(|_full| AccountRefusal::Busy)
    }
}

pub(super) fn queue() -> (Errands, mpsc::Receiver<Errand>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Errands(sender), receiver)
}

/// Both tasks end with the last handle to the accounts.
pub(super) fn start(
    accounts: &Accounts,
    waiting: mpsc::Receiver<Errand>,
    token_keys: Arc<LiveKeys>,
) {
    let shared = Arc::downgrade(&accounts.shared);
    tokio::spawn(run(shared.clone(), waiting));
    tokio::spawn(sweep(shared, token_keys));
}

async fn run(shared: Weak<SharedAccounts>, mut waiting: mpsc::Receiver<Errand>) {
    while let Some(errand) = waiting.recv().await {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let accounts = Accounts { shared };
        if let Err(refusal) = accounts.carry_out(errand).await {
            tracing::warn!(error = %refusal, "a letter that was asked for was not written");
        }
    }
}

async fn sweep(shared: Weak<SharedAccounts>, token_keys: Arc<LiveKeys>) {
    let mut turn = tokio::time::interval(SWEEP_EVERY);
    loop {
        turn.tick().await;
        token_keys.look();
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let accounts = Accounts { shared };
        if let Err(error) = accounts.sweep().await {
            tracing::warn!(%error, "what is over was not swept up; tried again later");
        }
    }
}

impl Accounts {
    async fn carry_out(&self, errand: Errand) -> Result<(), AccountRefusal> {
        let (email, purpose) = match errand {
            Errand::Verify(email) => (email, Purpose::Verify),
            Errand::Reset(email) => (email, Purpose::Reset),
        };
        let Some(account) = self.account_of(&email).await? else {
            return Ok(());
        };
        if is_wanted(&account, purpose) {
            self.mail_code(&account, purpose).await?;
        }
        Ok(())
    }

    async fn sweep(&self) -> Result<(), AccountRefusal> {
        let database = &self.shared.database;
        let now = self.now();
        let ended_before = now
            .as_micros()
            .saturating_sub(ENDED_SESSION_KEPT.as_micros());
        database.remove_stale_sign_ups(self.stale_before()).await?;
        database.remove_expired_codes(now).await?;
        database
            .remove_ended_sessions(Timestamp::from_micros(ended_before))
            .await?;
        Ok(())
    }
}

/// Who is verified needs no code for it; who never was has no password to reset yet.
fn is_wanted(account: &Account, purpose: Purpose) -> bool {
    match purpose {
        Purpose::Verify => account.verified_at.is_none(),
        Purpose::Reset => account.verified_at.is_some(),
    }
}
