//! Payment providers behind one trait, and what they say by themselves.

#[cfg(test)]
mod conformance;
mod sandbox;
mod signature;
mod stripe;
mod webhook;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::domain::{AttemptId, Money, OrderId, PaymentOutcome};
use crate::secrets::PaymentSecrets;

pub use sandbox::{Sandbox, SandboxPlan};
pub use signature::SignatureError;
pub use stripe::{Stripe, StripeOptions};
pub use webhook::{ProviderWord, Unreadable, WebhookVerifier};

/// Who takes the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProviderKind {
    #[default]
    Sandbox,
    Stripe,
}

#[derive(Debug, Clone)]
pub struct PaymentOptions {
    pub provider: ProviderKind,
    pub stripe_url: String,
    /// How long one call may take.
    pub call_within: Duration,
    pub sandbox: SandboxPlan,
}

/// A provider at work, the results that it sends by itself within the process, and the door for its webhooks.
#[derive(Debug)]
pub struct Payments {
    pub provider: Arc<dyn PaymentProvider>,
    pub notices: Option<mpsc::Receiver<Notice>>,
    pub webhooks: WebhookVerifier,
}

/// What a provider is asked to take. The attempt's id is its idempotency key: asking twice takes the money once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub order: OrderId,
    pub attempt: AttemptId,
    pub method: Box<str>,
    pub amount: Money,
}

/// A result that a provider sends by itself: late, twice, or in the wrong order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    pub order: OrderId,
    pub attempt: AttemptId,
    pub outcome: PaymentOutcome,
}

/// Why a call did not do what it was asked to. What it says of the money and what it says of the provider's health are two
/// questions, so whoever makes a call has to tell all three apart; see `docs/decisions/0013`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It said no, in its own words: this call moved no money and will move none.
    #[error("the payment provider refuses: {0}")]
    Refused(String),
    /// It answered, but that settles nothing: it is at work on the attempt, or another call of ours is.
    #[error("the payment provider has not settled it: {0}")]
    Unsettled(String),
    /// No answer of its own: a time-out, a lost connection, a fault on its side, a limit on calls, a key that it does not
    /// take. The money may have moved or not.
    #[error("the payment provider is not available: {0}")]
    Unavailable(String),
}

/// Takes money and gives it back.
///
/// The contract:
/// - `charge` and `refund` are idempotent by attempt: a repeat gives the first result and moves no money.
/// - `look_up` tells what became of an attempt and takes no money. It may call off an attempt that could still take
///   some, which then is declined for good. `None` means that no charge of it ever arrived, and none that was sent
///   before `quiet_since` will; whoever asks has sent none since then.
/// - `Declined`, and a charge that is `Refused`, mean that no money was taken, and none will be under this attempt by a
///   call made before. A refund that is refused gave nothing back. A look-up that is refused says nothing about the money.
/// - Any other error says nothing about the money.
/// - A call that is dropped before it has ended may have happened or not, and is looked up like one that failed.
pub trait PaymentProvider: Send + Sync + std::fmt::Debug {
    fn charge(&self, charge: Charge) -> BoxFuture<'_, Result<PaymentOutcome, CallError>>;

    fn look_up(
        &self,
        attempt: AttemptId,
        quiet_since: Instant,
    ) -> BoxFuture<'_, Result<Option<PaymentOutcome>, CallError>>;

    fn refund(&self, charge: Charge) -> BoxFuture<'_, Result<(), CallError>>;
}

impl CallError {
    /// Whether the provider is there and speaks for itself. Only its absence counts against its health.
    pub const fn is_answer(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Unsettled(_) => true,
            Self::Unavailable(_) => false,
        }
    }
}

impl ProviderKind {
    pub const NAMES: [&'static str; 2] = ["sandbox", "stripe"];

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "sandbox" => Some(Self::Sandbox),
            "stripe" => Some(Self::Stripe),
            _ => None,
        }
    }

    /// The last part of the path of its webhooks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sandbox => Self::NAMES[0],
            Self::Stripe => Self::NAMES[1],
        }
    }
}

/// Opens the provider that was chosen. The sandbox keeps its books in the data directory.
///
/// # Errors
/// Names the setting, the secret or the file that is missing or not usable.
pub fn open(
    options: &PaymentOptions,
    data_dir: &Path,
    secrets: PaymentSecrets,
) -> anyhow::Result<Payments> {
    let PaymentSecrets {
        stripe_key,
        webhooks,
    } = secrets;
    let webhooks = WebhookVerifier::new(options.provider, webhooks);
    if options.provider == ProviderKind::Stripe {
        let key = stripe_key.context("Stripe needs a secret key")?;
        let stripe = Stripe::open(
            &StripeOptions {
                call_within: options.call_within,
                ..StripeOptions::at(&options.stripe_url)
            },
            key,
        )?;
        return Ok(Payments {
            provider: Arc::new(stripe),
            notices: None,
            webhooks,
        });
    }
    let books = data_dir.join("sandbox-books.log");
    let (sandbox, notices) = Sandbox::open(options.sandbox, Some(&books))
        .with_context(|| format!("cannot open the sandbox's books `{}`", books.display()))?;
    Ok(Payments {
        provider: Arc::new(sandbox),
        notices: Some(notices),
        webhooks,
    })
}

/// There is nothing to give back, and a repeat changes nothing about that.
fn never_captured(attempt: AttemptId) -> CallError {
    CallError::Refused(format!("attempt {attempt} was never captured"))
}
