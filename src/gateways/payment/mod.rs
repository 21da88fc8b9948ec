//! Payment providers behind one trait, and what they say by themselves.

#[cfg(test)]
mod conformance;
mod sandbox;
mod signature;
mod stripe;
mod webhook;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::domain::{AttemptId, Money, OrderId, PaymentOutcome};
use crate::secrets::PaymentSecrets;

pub use sandbox::{Sandbox, SandboxPlan};
pub use signature::SignatureError;
pub use stripe::{Stripe, StripeOptions};
pub use webhook::{Unreadable, WebhookDoor, Word};

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
    pub sandbox: SandboxPlan,
}

/// A provider at work, the results that it sends by itself within the process, and the door for its webhooks.
#[derive(Debug)]
pub struct Payments {
    pub provider: Arc<dyn PaymentProvider>,
    pub notices: Option<mpsc::Receiver<Notice>>,
    pub webhooks: WebhookDoor,
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

/// The provider gave no answer that means anything: a time-out, a lost connection, a fault on its side.
/// The money may have been taken or not.
#[derive(Debug, thiserror::Error)]
#[error("the payment provider gave no clear answer: {0}")]
pub struct Unclear(pub String);

/// Takes money and gives it back.
///
/// The contract:
/// - `charge` and `refund` are idempotent by attempt: a repeat gives the first result and moves no money.
/// - `look_up` tells what became of an attempt and takes no money. It may call off an attempt that could still take
///   some, which then is declined for good. `None` means that no charge of it ever arrived, and none that was sent
///   before the look-up will.
/// - `Declined` means that no money was taken, and none will be under this attempt by a call made before.
/// - `Err` says nothing about the money.
/// - A call that is dropped before it has ended may have happened or not, and is looked up like one that failed.
pub trait PaymentProvider: Send + Sync + std::fmt::Debug {
    fn charge(&self, charge: Charge) -> BoxFuture<'_, Result<PaymentOutcome, Unclear>>;

    fn look_up(&self, attempt: AttemptId)
    -> BoxFuture<'_, Result<Option<PaymentOutcome>, Unclear>>;

    fn refund(&self, charge: Charge) -> BoxFuture<'_, Result<(), Unclear>>;
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
    let webhooks = WebhookDoor::new(options.provider, webhooks);
    if options.provider == ProviderKind::Stripe {
        let key = stripe_key.context("Stripe needs a secret key")?;
        let stripe = Stripe::open(&StripeOptions::at(&options.stripe_url), key)?;
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
