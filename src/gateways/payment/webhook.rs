//! What a provider says by itself over HTTP: believed if it is signed, and read into a word about an attempt.
//!
//! Deliberately absent: HTTP and the engine. What a word does is not decided here.

use serde::Deserialize;
use uuid::Uuid;

use super::ProviderKind;
use super::signature::{self, SignatureError};
use super::stripe::Event;
use crate::domain::{AttemptId, Currency, Money, OrderId, PaymentOutcome};
use crate::secrets::WebhookSecrets;

/// Where the webhooks of the configured provider come in.
#[derive(Debug, Clone)]
pub struct WebhookDoor {
    provider: ProviderKind,
    secrets: WebhookSecrets,
}

/// What a provider has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Outcome {
        order: OrderId,
        attempt: AttemptId,
        outcome: PaymentOutcome,
        /// What was taken, or was to be taken.
        amount: Money,
    },
    /// Money that was said to be on its way back did not arrive there.
    RefundFailed { refund: String },
    /// Nothing about an attempt of ours; says what it was about.
    Nothing(String),
}

/// It is signed, but it is not what the provider sends.
#[derive(Debug, thiserror::Error)]
#[error("the body is not an event of the provider: {0}")]
pub struct Unreadable(String);

/// What the sandbox sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SandboxEvent {
    r#type: SandboxOutcome,
    order_id: Uuid,
    attempt_id: Uuid,
    amount: SandboxAmount,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SandboxOutcome {
    Captured,
    Declined,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SandboxAmount {
    amount: i64,
    currency: String,
}

impl WebhookDoor {
    pub const fn new(provider: ProviderKind, secrets: WebhookSecrets) -> Self {
        Self { provider, secrets }
    }

    /// Whether webhooks of this name are taken at all.
    pub fn is_for(&self, provider: &str) -> bool {
        self.provider.name() == provider
    }

    /// The header with the signature.
    pub const fn header(&self) -> &'static str {
        match self.provider {
            ProviderKind::Sandbox => "Layby-Signature",
            ProviderKind::Stripe => "Stripe-Signature",
        }
    }

    /// # Errors
    /// The body, byte for byte, was not signed with a live secret a moment ago.
    pub fn check(&self, header: &str, body: &[u8], now_secs: u64) -> Result<(), SignatureError> {
        signature::check(header, body, &self.secrets, now_secs)
    }

    /// # Errors
    /// Not what this provider sends.
    pub fn read(&self, body: &[u8]) -> Result<Word, Unreadable> {
        match self.provider {
            ProviderKind::Sandbox => {
                let event: SandboxEvent = serde_json::from_slice(body)?;
                event.into_word()
            }
            ProviderKind::Stripe => Ok(serde_json::from_slice::<Event>(body)?.into_word()?),
        }
    }
}

impl SandboxEvent {
    fn into_word(self) -> Result<Word, Unreadable> {
        let currency = Currency::parse(&self.amount.currency);
        let currency = currency.ok_or_else(|| Unreadable("the currency is no code".into()))?;
        Ok(Word::Outcome {
            order: OrderId::new(self.order_id.as_u128()),
            attempt: AttemptId::new(self.attempt_id.as_u128()),
            outcome: match self.r#type {
                SandboxOutcome::Captured => PaymentOutcome::Captured,
                SandboxOutcome::Declined => PaymentOutcome::Declined,
            },
            amount: Money {
                amount: self.amount.amount,
                currency,
            },
        })
    }
}

impl From<serde_json::Error> for Unreadable {
    /// The place, and not what stands there: it may be personal.
    fn from(error: serde_json::Error) -> Self {
        Self(format!("line {}, column {}", error.line(), error.column()))
    }
}
