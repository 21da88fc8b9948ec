//! The log of what happens to accounts. Acts of admins and changes of access write their entry together with what they
//! change; everything else is handed over here and written in the background, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::token::Role;
use super::vault::Vault;
use crate::domain::{BuyerId, ProductId, RequestId, Timestamp};
use crate::persistence::database::{AccountEvent, Chain, Database};

/// Events that may wait while the database is away. The next is counted and lost: remembering that somebody knocked is not
/// worth the memory of the shop.
const WAITING_MAX: usize = 10_000;
const BATCH_MAX: usize = 200;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// From where and by which request something was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// Keyed hash of the client's address.
    pub(crate) client: u128,
    pub(crate) request: RequestId,
}

/// What can happen. The words are the API's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    SignedUp,
    EmailVerified,
    SignedIn,
    SignInFailed,
    SignInLimited,
    RefreshReused,
    SignedOut,
    PasswordChanged,
    PasswordReset,
    RoleChanged(Role, Role),
    Suspended,
    Reinstated,
    Erased,
    AccessDenied,
    /// Somebody took the orders of a product away, with the personal data of their buyers.
    OrdersExported(ProductId),
}

impl Act {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SignedUp => "signed_up",
            Self::EmailVerified => "email_verified",
            Self::SignedIn => "signed_in",
            Self::SignInFailed => "sign_in_failed",
            Self::SignInLimited => "sign_in_limited",
            Self::RefreshReused => "refresh_reused",
            Self::SignedOut => "signed_out",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::RoleChanged(..) => "role_changed",
            Self::Suspended => "suspended",
            Self::Reinstated => "reinstated",
            Self::Erased => "erased",
            Self::AccessDenied => "access_denied",
            Self::OrdersExported(_) => "orders_exported",
        }
    }

    fn detail(self) -> Option<Box<str>> {
        match self {
            Self::RoleChanged(before, after) => {
                Some(format!("{} to {}", before.as_str(), after.as_str()).into())
            }
            Self::OrdersExported(product) => Some(format!("product {product}").into()),
            _ => None,
        }
    }
}

/// The entry for an admin that an operator made.
pub(crate) fn admin_created(vault: &Vault, admin: BuyerId, at: Timestamp) -> (Chain, AccountEvent) {
    let event = AccountEvent {
        at,
        act: "admin_created",
        actor: None,
        account: Some(admin),
        client: None,
        request: None,
        detail: Some("by an operator".into()),
    };
    (super::chain(vault), event)
}

/// An entry of the log.
pub(super) fn event(
    act: Act,
    actor: Option<BuyerId>,
    account: Option<BuyerId>,
    origin: Origin,
    at: Timestamp,
) -> AccountEvent {
    AccountEvent {
        at,
        act: act.as_str(),
        actor,
        account,
        client: Some(origin.client),
        request: Some(origin.request),
        detail: act.detail(),
    }
}

/// Where events are handed over; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct EventLog {
    sender: mpsc::Sender<Job>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Job {
    Note(AccountEvent),
    /// Answered when everything before it is written, or given up.
    Flush(oneshot::Sender<()>),
}

impl EventLog {
    /// Starts the writer on the current runtime.
    pub(super) fn start(database: Database, chain: Chain) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(write_all(receiver, database, chain));
        Self {
            sender,
            lost: Arc::default(),
        }
    }

    /// Never waits.
    pub(super) fn note(&self, event: AccountEvent) {
        if self.sender.try_send(Job::Note(event)).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            if lost.is_power_of_two() {
                tracing::error!(
                    lost,
                    "events of accounts are lost: more are waiting than {WAITING_MAX}"
                );
            }
        }
    }

    /// Waits until what was noted before is written, for a moment at most.
    pub(super) async fn flush(&self, within: Duration) {
        let (done, written) = oneshot::channel();
        if self.sender.try_send(Job::Flush(done)).is_ok()
            && tokio::time::timeout(within, written).await.is_err()
        {
            tracing::warn!("events of accounts were not written before the end");
        }
    }
}

async fn write_all(mut receiver: mpsc::Receiver<Job>, database: Database, chain: Chain) {
    let mut jobs = Vec::with_capacity(BATCH_MAX);
    while receiver.recv_many(&mut jobs, BATCH_MAX).await > 0 {
        let mut events = Vec::with_capacity(jobs.len());
        let mut flushed = Vec::new();
        for job in jobs.drain(..) {
            match job {
                Job::Note(event) => events.push(event),
                Job::Flush(done) => flushed.push(done),
            }
        }
        if !events.is_empty() {
            write(&database, &chain, events).await;
        }
        for done in flushed {
            // Whoever asked may have stopped waiting.
            let _gone = done.send(());
        }
    }
}

/// Tries again while the database is away; what it refuses is logged and dropped.
async fn write(database: &Database, chain: &Chain, events: Vec<AccountEvent>) {
    let mut away = false;
    loop {
        let written = database.append_account_events(Arc::clone(chain), events.clone());
        match written.await {
            Ok(()) => return,
            Err(error) if error.heals() => {
                if !away {
                    tracing::warn!(%error, "events of accounts wait for the database");
                }
                away = true;
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Err(error) => {
                tracing::error!(%error, "{} events of accounts are lost", events.len());
                return;
            }
        }
    }
}
