//! What Stripe's API says, as far as it is listened to. Fields that are not named here are skipped.

use serde::Deserialize;
use uuid::Uuid;

use super::super::webhook::ProviderWord;
use crate::domain::{AttemptId, Currency, Money, OrderId, PaymentOutcome};

/// Money that is to be taken, and how far that has got.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Intent {
    pub(super) id: IntentId,
    pub(super) status: Status,
    /// Seconds since 1970.
    pub(super) created: u64,
    #[serde(default)]
    pub(super) metadata: Metadata,
    latest_charge: Option<LatestCharge>,
}

/// An id that is safe in a path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct IntentId(Box<str>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// A card was declined: each of our intents is given its means of payment when it is made.
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    RequiresCapture,
    Processing,
    Succeeded,
    Canceled,
    #[serde(other)]
    Other,
}

/// What we wrote on an intent. Intents of others have none of it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Metadata {
    order_id: Option<String>,
    attempt_id: Option<String>,
}

/// The charge itself if it was asked for, else its id.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum LatestCharge {
    Whole { amount: i64, amount_refunded: i64 },
    Id(#[expect(dead_code, reason = "only that it is there counts")] String),
}

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) data: Vec<Intent>,
    pub(super) has_more: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Refund {
    pub(super) id: String,
    pub(super) status: Option<String>,
}

/// Why something was not done.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Fault {
    pub(super) r#type: Option<String>,
    pub(super) code: Option<String>,
    pub(super) decline_code: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FaultBody {
    pub(super) error: Fault,
}

/// A webhook's body.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Event {
    r#type: String,
    data: EventData,
}

#[derive(Debug, Deserialize)]
struct EventData {
    /// Of another shape for each type, and read only for those that matter.
    object: serde_json::Value,
}

/// An intent as its event tells it.
#[derive(Debug, Deserialize)]
struct ToldIntent {
    amount: i64,
    /// What was taken in the end, which may be less than what was to be taken.
    amount_received: Option<i64>,
    currency: String,
    #[serde(default)]
    metadata: Metadata,
}

impl IntentId {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IntentId {
    type Error = &'static str;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        let is_safe = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
        if id.starts_with("pi_") && id.bytes().all(is_safe) {
            return Ok(Self(id.into()));
        }
        Err("not the id of a payment intent")
    }
}

impl Intent {
    /// Whether all of it went back already; false as well if the charge was not asked for.
    pub(super) fn is_refunded(&self) -> bool {
        match &self.latest_charge {
            Some(LatestCharge::Whole {
                amount,
                amount_refunded,
            }) => amount_refunded >= amount,
            Some(LatestCharge::Id(_)) | None => false,
        }
    }
}

impl Fault {
    /// The key belongs to a call with other parameters, or another call holds the object at this moment.
    pub(super) fn is_about_another_call(&self) -> bool {
        self.r#type.as_deref() == Some("idempotency_error")
            || self.code.as_deref() == Some("lock_timeout")
    }

    pub(super) fn says_refunded_before(&self) -> bool {
        self.code.as_deref() == Some("charge_already_refunded")
    }
}

impl Metadata {
    pub(super) fn attempt(&self) -> Option<AttemptId> {
        uuid_in(self.attempt_id.as_deref()).map(AttemptId::new)
    }

    fn order(&self) -> Option<OrderId> {
        uuid_in(self.order_id.as_deref()).map(OrderId::new)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let or_none = |it: &Option<String>| it.clone().unwrap_or_else(|| "none".into());
        write!(
            out,
            "type {}, code {}",
            or_none(&self.r#type),
            or_none(&self.code)
        )?;
        if let Some(code) = &self.decline_code {
            write!(out, ", declined as {code}")?;
        }
        Ok(())
    }
}

impl Event {
    /// Refunds are told by the answer to their request; only one that fails afterwards is news.
    pub(in super::super) fn into_word(self) -> Result<ProviderWord, serde_json::Error> {
        let (kind, object) = (self.r#type, self.data.object);
        let outcome = match kind.as_str() {
            "payment_intent.succeeded" => PaymentOutcome::Captured,
            "payment_intent.payment_failed" | "payment_intent.canceled" => PaymentOutcome::Declined,
            "refund.failed" => {
                let Refund { id, .. } = serde_json::from_value(object)?;
                return Ok(ProviderWord::RefundFailed { refund: id });
            }
            _ => return Ok(ProviderWord::Nothing(kind)),
        };
        let intent: ToldIntent = serde_json::from_value(object)?;
        let word = intent.into_word(outcome);
        Ok(word.unwrap_or_else(|| {
            ProviderWord::Nothing(format!("{kind} of an intent that is not ours"))
        }))
    }
}

impl ToldIntent {
    fn into_word(self, outcome: PaymentOutcome) -> Option<ProviderWord> {
        let taken = self
            .amount_received
            .filter(|_| outcome == PaymentOutcome::Captured);
        Some(ProviderWord::Outcome {
            order: self.metadata.order()?,
            attempt: self.metadata.attempt()?,
            outcome,
            amount: Money {
                amount: taken.unwrap_or(self.amount),
                currency: Currency::parse(&self.currency.to_ascii_uppercase())?,
            },
        })
    }
}

fn uuid_in(text: Option<&str>) -> Option<u128> {
    Uuid::parse_str(text?).ok().map(|id| id.as_u128())
}
