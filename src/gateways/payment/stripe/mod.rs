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
use zeroize::Zeroizing;

use super::{Charge, PaymentProvider, Unclear};
use crate::domain::{AttemptId, Money, PaymentOutcome};
use client::{Client, Said};
use known::KnownIntents;
use objects::{Intent, IntentId, Page, Refund, Status};

pub use client::StripeOptions;
pub(super) use objects::Event;

#[derive(Debug)]
pub struct Stripe {
    client: Client,
    known: KnownIntents,
    /// Held while the list is read: what one look-up finds there serves all that wait.
    reading: Mutex<()>,
}

/// Stripe's page of a list at its longest.
const PAGE: &str = "100";
/// Pages read for one look-up; beyond them it is unclear. That is 20,000 intents since the attempt.
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
            reading: Mutex::new(()),
        })
    }

    async fn take(&self, charge: Charge) -> Result<PaymentOutcome, Unclear> {
        if charge.amount.amount == 0 {
            return Ok(PaymentOutcome::Captured);
        }
        if !is_counted_alike(charge.amount) {
            let currency = charge.amount.currency.as_str();
            tracing::warn!(attempt.id = %charge.attempt, "Stripe counts {currency} in other units; declined");
            return Ok(PaymentOutcome::Declined);
        }
        let intent = match self.known.get(charge.attempt) {
            Some(id) => self.read(&id).await?,
            None => match self.make(&charge).await? {
                Said::Done(intent) => intent,
                // Nothing can have been taken: making an intent moves no money.
                Said::Declined(fault) | Said::Refused(fault) => {
                    tracing::warn!(attempt.id = %charge.attempt, %fault, "Stripe refused to take a payment");
                    return Ok(PaymentOutcome::Declined);
                }
            },
        };
        if intent.status != Status::RequiresConfirmation {
            return self.conclude(charge.attempt, &intent).await;
        }
        self.confirm(charge.attempt, &intent).await
    }

    async fn make(&self, charge: &Charge) -> Result<Said<Intent>, Unclear> {
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
    ) -> Result<PaymentOutcome, Unclear> {
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
        }
    }

    /// What became of an intent that nobody confirms any more.
    async fn conclude(
        &self,
        attempt: AttemptId,
        intent: &Intent,
    ) -> Result<PaymentOutcome, Unclear> {
        match intent.status {
            Status::Succeeded => Ok(PaymentOutcome::Captured),
            Status::Canceled | Status::RequiresPaymentMethod => Ok(PaymentOutcome::Declined),
            Status::RequiresConfirmation | Status::RequiresAction | Status::RequiresCapture => {
                self.call_off(attempt, intent).await
            }
            Status::Processing | Status::Other => {
                Err(Unclear(format!("the intent is {:?}", intent.status)))
            }
        }
    }

    /// From then on no call that is still on its way can take money. Refused if one was faster: then the next look-up
    /// sees what it did.
    async fn call_off(
        &self,
        attempt: AttemptId,
        intent: &Intent,
    ) -> Result<PaymentOutcome, Unclear> {
        let path = format!("/v1/payment_intents/{}/cancel", intent.id.as_str());
        let key = idempotency_key(attempt, "cancel");
        let called_off = self.client.post::<Intent>(&path, &key, &[]).await?.done()?;
        if called_off.status != Status::Canceled {
            return Err(Unclear("an intent could not be called off".into()));
        }
        tracing::info!(attempt.id = %attempt, was = ?intent.status, "a payment was called off");
        Ok(PaymentOutcome::Declined)
    }

    async fn tell(&self, attempt: AttemptId) -> Result<Option<PaymentOutcome>, Unclear> {
        let Some(id) = self.find(attempt).await? else {
            return Ok(None);
        };
        let intent = self.read(&id).await?;
        self.conclude(attempt, &intent).await.map(Some)
    }

    /// Looks at what is there first: money that went back more than a day ago would go back again.
    async fn give_back(&self, charge: Charge) -> Result<(), Unclear> {
        if charge.amount.amount == 0 {
            return Ok(());
        }
        let Some(id) = self.find(charge.attempt).await? else {
            return Err(Unclear(format!(
                "attempt {} was never captured",
                charge.attempt
            )));
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
        let refund: Refund = self.client.post("/v1/refunds", &key, &form).await?.done()?;
        match refund.status.as_deref() {
            Some("succeeded" | "pending") => Ok(()),
            status => Err(Unclear(format!("refund {} is {status:?}", refund.id))),
        }
    }

    // -- finding the intent of an attempt ------------------------------------------------------------------------

    async fn find(&self, attempt: AttemptId) -> Result<Option<IntentId>, Unclear> {
        if let Some(id) = self.known.get(attempt) {
            return Ok(Some(id));
        }
        let _reading = self.reading.lock().await;
        if let Some(id) = self.known.get(attempt) {
            return Ok(Some(id));
        }
        self.read_list(attempt).await
    }

    /// From the newest back to a while before the attempt was made. Notes whatever of ours it passes.
    ///
    /// The list and not the search, which lags behind by a minute and more.
    async fn read_list(&self, attempt: AttemptId) -> Result<Option<IntentId>, Unclear> {
        let made_at_secs = secs_of(attempt).saturating_sub(SKEW_SECS);
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
            if let Some(id) = self.known.get(attempt) {
                return Ok(Some(id));
            }
            if !page.has_more || page.ends_before(made_at_secs) {
                return Ok(None);
            }
            after = page.data.last().map(|intent| intent.id.clone());
        }
        Err(Unclear(format!(
            "attempt {attempt} is not among the last {PAGES_MAX} pages of intents"
        )))
    }

    async fn read(&self, id: &IntentId) -> Result<Intent, Unclear> {
        let path = format!("/v1/payment_intents/{}", id.as_str());
        let query = [("expand[]", "latest_charge")];
        self.client.get(&path, &query).await?.done()
    }
}

impl PaymentProvider for Stripe {
    fn charge(&self, charge: Charge) -> BoxFuture<'_, Result<PaymentOutcome, Unclear>> {
        self.take(charge).boxed()
    }

    fn look_up(
        &self,
        attempt: AttemptId,
    ) -> BoxFuture<'_, Result<Option<PaymentOutcome>, Unclear>> {
        self.tell(attempt).boxed()
    }

    fn refund(&self, charge: Charge) -> BoxFuture<'_, Result<(), Unclear>> {
        self.give_back(charge).boxed()
    }
}

impl Page {
    /// Whether everything on the pages behind is older. Only a page that shows the order, newest first, tells that.
    fn ends_before(&self, secs: u64) -> bool {
        let (Some(first), Some(last)) = (self.data.first(), self.data.last()) else {
            return false;
        };
        last.created < first.created && last.created < secs
    }
}

fn is_counted_alike(amount: Money) -> bool {
    !OTHER_MINOR_UNITS.contains(&amount.currency.as_str())
}

fn idempotency_key(attempt: AttemptId, act: &str) -> String {
    format!("layby-{attempt}-{act}")
}

/// When the attempt was made: its id is a `UUIDv7`, whose first 48 bits are milliseconds.
fn secs_of(attempt: AttemptId) -> u64 {
    let milliseconds = attempt.get() >> 80;
    u64::try_from(milliseconds / 1_000).unwrap_or(0)
}
