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
pub struct WebhookVerifier {
    provider: ProviderKind,
    secrets: WebhookSecrets,
}

/// What a provider has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderWord {
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

impl WebhookVerifier {
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
    /// The body, byte for byte, was not signed with a live secret a moment ago, by any of these clocks.
    pub fn check(
        &self,
        header: &str,
        body: &[u8],
        clocks_secs: &[u64],
    ) -> Result<(), SignatureError> {
        signature::check(header, body, &self.secrets, clocks_secs)
    }

    /// # Errors
    /// Not what this provider sends.
    pub fn read(&self, body: &[u8]) -> Result<ProviderWord, Unreadable> {
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
    fn into_word(self) -> Result<ProviderWord, Unreadable> {
        let currency = Currency::parse(&self.amount.currency);
        let currency = currency.ok_or_else(|| Unreadable("the currency is no code".into()))?;
        Ok(ProviderWord::Outcome {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ORDER: &str = "0190a0a0-0000-7000-8000-000000000001";
    const ATTEMPT: &str = "0190a0a0-0000-7000-8000-000000000002";

    fn read(provider: ProviderKind, body: &Value) -> Result<ProviderWord, Unreadable> {
        let door = WebhookVerifier::new(provider, WebhookSecrets::default());
        door.read(body.to_string().as_bytes())
    }

    fn outcome(outcome: PaymentOutcome, amount: i64, currency: &str) -> ProviderWord {
        let id = |text: &str| Uuid::parse_str(text).expect("an id").as_u128();
        ProviderWord::Outcome {
            order: OrderId::new(id(ORDER)),
            attempt: AttemptId::new(id(ATTEMPT)),
            outcome,
            amount: Money {
                amount,
                currency: Currency::parse(currency).expect("a code"),
            },
        }
    }

    fn stripe(kind: &str, object: Value) -> Value {
        json!({"id": "evt_1", "type": kind, "created": 1, "data": {"object": object}})
    }

    fn intent() -> Value {
        json!({
            "id": "pi_1", "amount": 39_000, "currency": "krw", "status": "succeeded",
            "metadata": {"order_id": ORDER, "attempt_id": ATTEMPT},
        })
    }

    #[test]
    fn the_events_of_an_intent_are_outcomes() {
        for (kind, expected) in [
            ("payment_intent.succeeded", PaymentOutcome::Captured),
            ("payment_intent.payment_failed", PaymentOutcome::Declined),
            ("payment_intent.canceled", PaymentOutcome::Declined),
        ] {
            let word = read(ProviderKind::Stripe, &stripe(kind, intent())).expect("read");
            assert_eq!(word, outcome(expected, 39_000, "KRW"), "{kind}");
        }
    }

    #[test]
    fn what_was_taken_counts_and_not_what_was_to_be_taken() {
        let mut partly = intent();
        partly["amount_received"] = json!(100);
        let event = stripe("payment_intent.succeeded", partly.clone());
        let word = read(ProviderKind::Stripe, &event).expect("read");
        assert_eq!(word, outcome(PaymentOutcome::Captured, 100, "KRW"));
        partly["amount_received"] = json!(0);
        let event = stripe("payment_intent.canceled", partly);
        let word = read(ProviderKind::Stripe, &event).expect("read");
        assert_eq!(word, outcome(PaymentOutcome::Declined, 39_000, "KRW"));
    }

    #[test]
    fn other_events_and_the_intents_of_others_say_nothing() {
        let mut foreign = intent();
        foreign["metadata"] = json!({"shop": "another"});
        let mut half = intent();
        half["metadata"]["attempt_id"] = json!("7");
        let mut bare = intent();
        bare.as_object_mut().expect("an object").remove("metadata");
        for event in [
            stripe("payment_intent.succeeded", foreign),
            stripe("payment_intent.succeeded", half),
            stripe("payment_intent.succeeded", bare),
            stripe("payment_intent.created", intent()),
            stripe("charge.refunded", json!({"id": "ch_1", "amount": "odd"})),
            stripe("a.type.of.the.future", json!([1, 2])),
        ] {
            let word = read(ProviderKind::Stripe, &event).expect("read");
            assert!(
                matches!(word, ProviderWord::Nothing(_)),
                "{event} was {word:?}"
            );
        }
    }

    #[test]
    fn a_refund_that_failed_afterwards_is_news() {
        let event = stripe("refund.failed", json!({"id": "re_1", "status": "failed"}));
        let word = read(ProviderKind::Stripe, &event).expect("read");
        let refund = "re_1".to_owned();
        assert_eq!(word, ProviderWord::RefundFailed { refund });
    }

    #[test]
    fn the_sandbox_says_it_in_our_words() {
        let event = |kind: &str, currency: &str| {
            json!({
                "type": kind, "order_id": ORDER, "attempt_id": ATTEMPT,
                "amount": {"amount": 5, "currency": currency},
            })
        };
        for (kind, expected) in [
            ("captured", PaymentOutcome::Captured),
            ("declined", PaymentOutcome::Declined),
        ] {
            let word = read(ProviderKind::Sandbox, &event(kind, "USD")).expect("read");
            assert_eq!(word, outcome(expected, 5, "USD"));
        }
        for event in [event("refunded", "USD"), event("captured", "usd")] {
            read(ProviderKind::Sandbox, &event).expect_err("not what it sends");
        }
    }

    #[test]
    fn what_a_provider_does_not_send_is_told_by_its_place_alone() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            "hunter2",
            r#"{"type":"hunter2"}"#,
            r#"{"type":"payment_intent.succeeded","data":{"object":{"amount":"hunter2"}}}"#,
        ] {
            for provider in [ProviderKind::Sandbox, ProviderKind::Stripe] {
                let door = WebhookVerifier::new(provider, WebhookSecrets::default());
                let said = door.read(body.as_bytes()).expect_err(body).to_string();
                assert!(!said.contains("hunter2"), "{said}");
            }
        }
    }
}
