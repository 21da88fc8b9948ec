//! Stripe, by its payment intents.
//!
//! An attempt is one intent, made and confirmed in two calls. Making one moves no money, so an answer that is lost there
//! costs nothing; confirming is the one call that does, and by then the intent is in Stripe's list with our ids on it.
//! That is what lets a look-up say "never arrived" and be right: an intent that is not in the list was not confirmed, and
//! one that is made late will not be. An intent that could still be confirmed by a call on its way is called off, which
//! Stripe does or refuses, but never does halfway.
//!
//! Captured at once, not reserved first: the engine settles money that comes too late anyway (it takes the units again or
//! gives the money back), because a provider may always answer late. A reservation would be a third state of the money,
//! with an end of its own, that a crash could leave open on both sides.
//!
//! The attempt's id is in every idempotency key and on the intent; the list, not the keys, is what is trusted after a
//! crash, because Stripe forgets keys after a day.
//!
//! Deliberately absent: means of payment that ask their owner for more (3-D Secure) or that take days. An intent that
//! waits for its owner is called off and counts as declined.

mod client;
mod known;
mod objects;
#[cfg(test)]
mod tests;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{CallError, Charge, PaymentProvider, never_captured};
use crate::domain::{AttemptId, Money, PaymentOutcome};
use client::{Client, Said};
use known::KnownIntents;
use objects::{Fault, Intent, IntentId, Page, Refund, Status};

pub use client::StripeOptions;
pub(super) use objects::Event;

#[derive(Debug)]
pub struct Stripe {
    client: Client,
    known: KnownIntents,
    /// Held while the list is read: what one look-up finds there, or misses, serves all that wait.
    last_reading: Mutex<Option<Reading>>,
}

/// A reading of the list that noted everything of ours on its way.
#[derive(Debug, Clone, Copy)]
struct Reading {
    began: Instant,
    /// Whatever was made since then was on its pages.
    reached_secs: u64,
}

/// Stripe's page of a list at its longest.
const PAGE: &str = "100";
/// Pages read for one look-up; beyond them the answer is not known. That is 20,000 intents since the attempt.
const PAGES_MAX: usize = 200;
/// How far Stripe's clock and the right one of ours may be apart. An attempt's id bears the earlier of our two times.
const SKEW_SECS: u64 = 600;
/// Currencies whose minor unit is another one at Stripe than in ISO 4217: an amount would be a hundred times wrong.
const OTHER_MINOR_UNITS: [&str; 3] = ["ISK", "MGA", "UGX"];

impl Stripe {
    /// # Errors
    /// A URL that is none, or that would send the key in the clear.
    pub fn open(options: &StripeOptions, key: Zeroizing<String>) -> anyhow::Result<Self> {
        Ok(Self {
            client: Client::open(options, key)?,
            known: KnownIntents::default(),
            last_reading: Mutex::new(None),
        })
    }

    async fn take(&self, charge: Charge) -> Result<PaymentOutcome, CallError> {
        if charge.amount.amount == 0 {
            return Ok(PaymentOutcome::Captured);
        }
        if !is_counted_alike(charge.amount) {
            let currency = charge.amount.currency.as_str();
            return Err(CallError::Refused(format!(
                "Stripe counts {currency} in other units"
            )));
        }
        let intent = match self.known.get(charge.attempt) {
            Some(id) => self.read(&id).await.map_err(unsettled)?,
            None => match self.make(&charge).await? {
                Said::Done(intent) => intent,
                // Nothing can have been taken: making an intent moves no money.
                Said::Declined(fault) => {
                    tracing::debug!(attempt.id = %charge.attempt, %fault, "declined");
                    return Ok(PaymentOutcome::Declined);
                }
                Said::Refused(fault) => return Err(CallError::Refused(fault.to_string())),
                Said::NotPermitted(fault) => return Err(not_permitted(&fault)),
            },
        };
        self.see_through(charge.attempt, &intent)
            .await
            .map_err(unsettled)
    }

    async fn see_through(
        &self,
        attempt: AttemptId,
        intent: &Intent,
    ) -> Result<PaymentOutcome, CallError> {
        if intent.status == Status::RequiresConfirmation {
            return self.confirm(attempt, intent).await;
        }
        self.conclude(attempt, intent).await
    }

    async fn make(&self, charge: &Charge) -> Result<Said<Intent>, CallError> {
        let made = self
            .client
            .post(
                "/v1/payment_intents",
                &idempotency_key(charge.attempt, "intent"),
                &[
                    ("amount", &charge.amount.amount.to_string()),
                    (
                        "currency",
                        &charge.amount.currency.as_str().to_ascii_lowercase(),
                    ),
                    ("payment_method", &charge.method),
                    ("payment_method_types[]", "card"),
                    ("capture_method", "automatic"),
                    ("metadata[order_id]", &charge.order.to_string()),
                    ("metadata[attempt_id]", &charge.attempt.to_string()),
                ],
            )
            .await?;
        if let Said::Done(Intent { id, .. }) = &made {
            self.known.note(charge.attempt, id.clone());
        }
        Ok(made)
    }

    /// The one call that takes money.
    async fn confirm(
        &self,
        attempt: AttemptId,
        intent: &Intent,
    ) -> Result<PaymentOutcome, CallError> {
        let path = format!("/v1/payment_intents/{}/confirm", intent.id.as_str());
        let key = idempotency_key(attempt, "confirm");
        match self.client.post::<Intent>(&path, &key, &[]).await? {
            Said::Done(intent) => self.conclude(attempt, &intent).await,
            Said::Declined(fault) => {
                tracing::debug!(attempt.id = %attempt, %fault, "declined");
                Ok(PaymentOutcome::Declined)
            }
            // Confirmed before, called off, or a card that cannot be used any more: the intent itself says which.
            Said::Refused(fault) => {
                tracing::debug!(attempt.id = %attempt, %fault, "Stripe refused to confirm");
                let intent = self.read(&intent.id).await?;
                self.conclude(attempt, &intent).await
            }
            Said::NotPermitted(fault) => Err(not_permitted(&fault)),
        }
    }

    /// What became of an intent that nobody confirms any more.
    async fn conclude(
        &self,
        attempt: AttemptId,
        intent: &Intent,
    ) -> Result<PaymentOutcome, CallError> {
        match intent.status {
            Status::Succeeded => Ok(PaymentOutcome::Captured),
            Status::Canceled | Status::RequiresPaymentMethod => Ok(PaymentOutcome::Declined),
            Status::RequiresConfirmation | Status::RequiresAction | Status::RequiresCapture => {
                self.call_off(attempt, intent).await
            }
            Status::Processing | Status::Other => Err(CallError::Unsettled(format!(
                "the intent is {:?}",
                intent.status
            ))),
        }
    }

    /// From then on no call that is still on its way can take money. Refused if one was faster: then the next look-up
    /// sees what it did.
    async fn call_off(
        &self,
        attempt: AttemptId,
        intent: &Intent,
    ) -> Result<PaymentOutcome, CallError> {
        let path = format!("/v1/payment_intents/{}/cancel", intent.id.as_str());
        let key = idempotency_key(attempt, "cancel");
        let called_off = self.client.post::<Intent>(&path, &key, &[]).await?.done()?;
        if called_off.status != Status::Canceled {
            return Err(CallError::Unsettled(
                "an intent could not be called off".into(),
            ));
        }
        tracing::info!(attempt.id = %attempt, was = ?intent.status, "a payment was called off");
        Ok(PaymentOutcome::Declined)
    }

    async fn tell(
        &self,
        attempt: AttemptId,
        quiet_since: Instant,
    ) -> Result<Option<PaymentOutcome>, CallError> {
        let Some(id) = self.find(attempt, quiet_since).await? else {
            return Ok(None);
        };
        let intent = self.read(&id).await?;
        self.conclude(attempt, &intent).await.map(Some)
    }

    /// Looks at what is there first: money that went back more than a day ago would go back again.
    async fn give_back(&self, charge: Charge) -> Result<(), CallError> {
        if charge.amount.amount == 0 {
            return Ok(());
        }
        let Some(id) = self.find(charge.attempt, Instant::now()).await? else {
            return Err(never_captured(charge.attempt));
        };
        if self.read(&id).await?.is_refunded() {
            return Ok(());
        }
        let form = [
            ("payment_intent", id.as_str()),
            ("metadata[order_id]", &charge.order.to_string()),
            ("metadata[attempt_id]", &charge.attempt.to_string()),
        ];
        let key = idempotency_key(charge.attempt, "refund");
        let refund: Refund = match self.client.post("/v1/refunds", &key, &form).await? {
            Said::Refused(fault) if fault.says_refunded_before() => return Ok(()),
            said => said.done()?,
        };
        let said = format!("refund {} is {:?}", refund.id, refund.status);
        match refund.status.as_deref() {
            Some("succeeded" | "pending") => Ok(()),
            Some("failed" | "canceled") => Err(CallError::Refused(said)),
            _ => Err(CallError::Unsettled(said)),
        }
    }

    // -- finding the intent of an attempt ------------------------------------------------------------------------

    async fn find(
        &self,
        attempt: AttemptId,
        quiet_since: Instant,
    ) -> Result<Option<IntentId>, CallError> {
        if let Some(id) = self.known.get(attempt) {
            return Ok(Some(id));
        }
        let mut last_reading = self.last_reading.lock().await;
        if let Some(id) = self.known.get(attempt) {
            return Ok(Some(id));
        }
        let is_enough =
            |it: &Reading| it.began >= quiet_since && it.reached_secs <= oldest(attempt);
        if last_reading.as_ref().is_some_and(is_enough) {
            return Ok(None);
        }
        let began = Instant::now();
        if let Some(reached_secs) = self.read_list(attempt).await? {
            *last_reading = Some(Reading {
                began,
                reached_secs,
            });
        }
        Ok(self.known.get(attempt))
    }

    /// From the newest back to a while before the attempt was made, or to the attempt. Notes whatever of ours it passes.
    /// Gives what it has reached if it has missed the attempt.
    ///
    /// The list and not the search, which lags behind by a minute and more.
    async fn read_list(&self, attempt: AttemptId) -> Result<Option<u64>, CallError> {
        let mut after: Option<IntentId> = None;
        for _ in 0..PAGES_MAX {
            let mut query = vec![("limit", PAGE)];
            query.extend(after.as_ref().map(|id| ("starting_after", id.as_str())));
            let page: Page = self
                .client
                .get("/v1/payment_intents", &query)
                .await?
                .done()?;
            for intent in &page.data {
                if let Some(ours) = intent.metadata.attempt() {
                    self.known.note(ours, intent.id.clone());
                }
            }
            if self.known.get(attempt).is_some() {
                return Ok(None);
            }
            let reached_secs = page.reached_secs();
            if reached_secs <= oldest(attempt) {
                return Ok(Some(reached_secs));
            }
            after = page.data.last().map(|intent| intent.id.clone());
        }
        Err(CallError::Refused(format!(
            "attempt {attempt} is not among the last {PAGES_MAX} pages of intents"
        )))
    }

    async fn read(&self, id: &IntentId) -> Result<Intent, CallError> {
        let path = format!("/v1/payment_intents/{}", id.as_str());
        let query = [("expand[]", "latest_charge")];
        self.client.get(&path, &query).await?.done()
    }
}

impl PaymentProvider for Stripe {
    fn charge(&self, charge: Charge) -> BoxFuture<'_, Result<PaymentOutcome, CallError>> {
        self.take(charge).boxed()
    }

    fn look_up(
        &self,
        attempt: AttemptId,
        quiet_since: Instant,
    ) -> BoxFuture<'_, Result<Option<PaymentOutcome>, CallError>> {
        self.tell(attempt, quiet_since).boxed()
    }

    fn refund(&self, charge: Charge) -> BoxFuture<'_, Result<(), CallError>> {
        self.give_back(charge).boxed()
    }
}

impl Page {
    /// Everything made since then is on this page or before it; only the last one, or one that shows the order, newest
    /// first, tells that.
    fn reached_secs(&self) -> u64 {
        match (self.data.first(), self.data.last()) {
            _ if !self.has_more => 0,
            (Some(first), Some(last)) if last.created < first.created => last.created + 1,
            _ => u64::MAX,
        }
    }
}

/// From here on a confirmation may be on its way: what Stripe refuses now does not say that none was faster.
fn unsettled(error: CallError) -> CallError {
    match error {
        CallError::Refused(words) => CallError::Unsettled(words),
        CallError::Unsettled(_) | CallError::Unavailable(_) => error,
    }
}

/// With this key nobody's money can be taken, whatever the card.
fn not_permitted(fault: &Fault) -> CallError {
    CallError::Unavailable(format!("the secret key may not take payments: {fault}"))
}

fn is_counted_alike(amount: Money) -> bool {
    !OTHER_MINOR_UNITS.contains(&amount.currency.as_str())
}

fn idempotency_key(attempt: AttemptId, act: &str) -> String {
    format!("layby-{attempt}-{act}")
}

/// No intent of the attempt is older, by Stripe's clock: its id is a `UUIDv7`, whose first 48 bits are the milliseconds
/// at which it was made.
fn oldest(attempt: AttemptId) -> u64 {
    let milliseconds = attempt.get() >> 80;
    let made_at_secs = u64::try_from(milliseconds / 1_000).unwrap_or(0);
    made_at_secs.saturating_sub(SKEW_SECS)
}
