//! Accounts: who people are, how they come in, and what is known about them.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `fields.rs`, `passwords/` | what people type, checked and brought into one spelling |
//! | `vault/` | sealing personal data, keyed hashes |
//! | `sign_up.rs`, `recovery.rs` | codes by mail: verifying an address, resetting a password |
//! | `sign_in.rs`, `sessions.rs`, `token.rs` | passwords in, tokens out |
//! | `access.rs` | whether a token is still good, without a look-up |
//! | `me.rs`, `address_book.rs`, `wishlist.rs` | what people see and change of themselves |
//! | `roles.rs`, `contacts.rs` | what admins do to accounts, and read of many |
//! | `letters.rs` | letters to an account, addressed and sealed |
//! | `events.rs`, `rules.rs`, `errands.rs` | the log, the limits, what is done after the answer |
//!
//! **Invariant:** personal data is in the clear in memory only, for as long as a request takes. SQL is the only home of
//! accounts: they do not pass through the journal.

pub(crate) mod access;
mod address_book;
mod contacts;
mod errands;
pub(crate) mod events;
pub(crate) mod fields;
mod letters;
mod me;
pub(crate) mod passwords;
mod profile;
mod recovery;
mod refusal;
mod roles;
mod rules;
mod sessions;
mod sign_in;
mod sign_up;
pub mod token;
pub(crate) mod vault;
mod wishlist;

use std::sync::Arc;
use std::time::Duration;

use access::{AccessBoard, Bar, Gate};
use events::{Act, EventLog, Origin};
use passwords::PasswordPool;
use token::{Role, TokenIssuer, TokenVerifier};
use vault::Vault;

use crate::clock::Clock;
use crate::domain::{BuyerId, RequestId, Timestamp};
use crate::mail::CarrierHandle;
use crate::persistence::database::{Chain, Database, Error};
use crate::persistence::limits::{Limiter, Rule, Verdict};
use crate::secrets::LiveKeys;

pub(crate) use address_book::{Address, AddressDraft, AddressPatch};
pub(crate) use contacts::Contact;
#[cfg(test)]
pub(crate) use letters::account_with_address;
pub(crate) use letters::{LETTER_LIFE, Life, open_letter, order_letter};
pub(crate) use me::{Profile, ProfileChange};
pub(crate) use refusal::AccountRefusal;
pub(crate) use sessions::SignedIn;
pub(crate) use sign_up::NewPerson;
pub(crate) use sign_up::new_account;

/// How long what waits to be written is given when the server stops.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// What the accounts are made of.
pub(crate) struct AccountsParts {
    pub(crate) database: Database,
    pub(crate) vault: Vault,
    pub(crate) passwords: PasswordPool,
    pub(crate) issuer: TokenIssuer,
    pub(crate) verifier: Arc<TokenVerifier>,
    pub(crate) limits: Limiter,
    pub(crate) carrier: CarrierHandle,
    pub(crate) clock: Arc<dyn Clock>,
    /// Looked at now and then, so that a key that was taken out of its file is not used for ever.
    pub(crate) token_keys: Arc<LiveKeys>,
}

/// Everything about accounts; cheap to clone.
#[derive(Clone)]
pub(crate) struct Accounts {
    shared: Arc<SharedAccounts>,
}

struct SharedAccounts {
    database: Database,
    vault: Vault,
    passwords: PasswordPool,
    issuer: TokenIssuer,
    board: Arc<AccessBoard>,
    gate: Gate,
    limits: Limiter,
    carrier: CarrierHandle,
    clock: Arc<dyn Clock>,
    events: EventLog,
    chain: Chain,
    errands: errands::Errands,
    versions: address_book::Versions,
}

impl std::fmt::Debug for AccountsParts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("AccountsParts").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl Accounts {
    /// Reads whose access ended lately and starts what works in the background, on the current runtime.
    pub(crate) async fn start(parts: AccountsParts) -> Result<Self, Error> {
        let board = Arc::new(AccessBoard::new(Arc::clone(&parts.clock)));
        board.load(&parts.database).await?;
        let chain = chain(&parts.vault);
        let events = EventLog::start(parts.database.clone(), Arc::clone(&chain));
        let (errands, waiting) = errands::queue();
        let accounts = Self {
            shared: Arc::new(SharedAccounts {
                gate: Gate::new(parts.verifier, Arc::clone(&board)),
                database: parts.database,
                vault: parts.vault,
                passwords: parts.passwords,
                issuer: parts.issuer,
                board,
                limits: parts.limits,
                carrier: parts.carrier,
                clock: parts.clock,
                events,
                chain,
                errands,
                versions: address_book::Versions::default(),
            }),
        };
        errands::start(&accounts, waiting, parts.token_keys);
        Ok(accounts)
    }

    /// Checks tokens.
    pub(crate) fn gate(&self) -> Gate {
        self.shared.gate.clone()
    }

    /// From where a request comes. `client` is the address, or the net of addresses, that is held responsible.
    pub(crate) fn origin(&self, client: &str) -> Origin {
        Origin {
            client: u128::from_be_bytes(self.shared.vault.client_hash(client)),
            request: RequestId::new(uuid::Uuid::now_v7().as_u128()),
        }
    }

    /// Somebody was not let through.
    pub(crate) fn note_denial(&self, who: BuyerId, origin: Origin) {
        self.note(Act::AccessDenied, Some(who), None, origin);
    }

    /// Writes what is noted.
    pub(crate) async fn close(&self) {
        self.shared.events.flush(FLUSH_WITHIN).await;
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    fn note(&self, act: Act, actor: Option<BuyerId>, account: Option<BuyerId>, origin: Origin) {
        let event = events::event(act, actor, account, origin, self.now());
        self.shared.events.note(event);
    }

    fn raise_bar(&self, account: BuyerId, epoch: u64, change: BarChange) {
        let bar = Bar {
            role: change.role,
            epoch,
            spared: change.spared,
            suspended: change.suspended,
            since: self.now(),
        };
        self.shared.board.raise(account, bar);
    }

    async fn limit(&self, rule: &Rule, key: [u8; 16]) -> Result<(), AccountRefusal> {
        match self.shared.limits.take(rule, key).await {
            Verdict::Pass => Ok(()),
            Verdict::Wait(wait) => Err(AccountRefusal::too_many(wait)),
        }
    }

    /// For what works without a token.
    async fn limit_asking(&self, origin: Origin) -> Result<(), AccountRefusal> {
        self.limit(&rules::ASKING, origin.client.to_be_bytes())
            .await
    }
}

/// What changes at the bar of an account beside its epoch.
struct BarChange {
    role: Role,
    spared: Option<u128>,
    suspended: bool,
}

/// The first half of a hash, as a key of limits.
fn limit_key(hash: &[u8; 32]) -> [u8; 16] {
    let [key, _] = [[0, 16], [16, 32]].map(|[from, to]| {
        let mut half = [0; 16];
        half.copy_from_slice(&hash[from..to]);
        half
    });
    key
}

pub(crate) fn chain(vault: &Vault) -> Chain {
    let vault = vault.clone();
    Arc::new(move |before, row| vault.event_mac(before, row))
}
