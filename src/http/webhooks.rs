//! `/v1/webhooks/payments/{provider}`: what the payment provider says by itself.
//!
//! **Invariant:** nothing is done for a body whose signature does not fit, and 2xx is answered only once the effect is
//! durable. Everything else makes the provider say it again.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, Responder};
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::RawBody;
use super::problem::Problem;
use super::routes::{Declaration, routes};
use crate::actors::Engine;
use crate::actors::message::Refusal;
use crate::clock::{Clock, SystemClock};
use crate::domain::{AttemptId, Money, OrderId, PaymentOutcome, Rejection};
use crate::gateways::payment::{ProviderWord, SignatureError, WebhookVerifier};

/// What came of an event; said again, it comes to the same.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Received {
    /// `settled`: what it says is durable. `ignored`: it says nothing about a payment of ours.
    #[schema(example = "settled")]
    result: &'static str,
}

const SETTLED: Received = Received { result: "settled" };
const IGNORED: Received = Received { result: "ignored" };

pub(crate) const ROUTES: &[Declaration] = routes![receive];

/// Takes a signed event of the configured provider: `stripe` under `Stripe-Signature`, or `sandbox` under
/// `Layby-Signature`, both as `t=SECONDS,v1=HEX` with HMAC-SHA-256 over `SECONDS.BODY`.
#[utoipa::path(
    post, path = "/v1/webhooks/payments/{provider}", tag = "webhooks",
    request_body(content = String, content_type = "application/json", description = "the provider's event, byte for byte"),
    params(("provider" = String, Path, description = "stripe or sandbox, whichever is configured")),
    responses(
        (status = 200, body = Received, description = "durable, now or before"),
        (status = 400, description = "signature_invalid, malformed_request"),
        (status = 404, description = "not the configured provider"),
        (status = 408), (status = 413),
        (status = 422, description = "payment_mismatch: another amount or currency than the order's"),
        (status = 503),
    )
)]
async fn receive(
    provider: Path<String>,
    request: HttpRequest,
    body: RawBody,
    door: Data<WebhookVerifier>,
    engine: Data<Engine>,
) -> Result<impl Responder, Problem> {
    if !door.is_for(&provider) {
        return Err(Problem::not_found("payment provider"));
    }
    let body = body.0;
    // The provider signs by a wall clock. Ours may be wrong for a while, which engine time is not taken in by; and engine
    // time may still be on its way to a wall clock that has been put right.
    let clocks = [SystemClock.now(), engine.now()].map(|now| now.as_micros() / 1_000_000);
    the_one_header(&request, door.header())
        .and_then(|header| door.check(header, &body, &clocks))
        .map_err(signature_invalid)?;
    let word = door.read(&body)?;
    let told = match word {
        ProviderWord::Outcome {
            order,
            attempt,
            outcome,
            amount,
        } => Told {
            order,
            attempt,
            outcome,
            amount,
        },
        ProviderWord::RefundFailed { refund } => {
            tracing::error!(%refund, "refund `{refund}` failed at the provider after it was made; give the money back by hand");
            return Ok(Json(IGNORED));
        }
        ProviderWord::Nothing(what) => {
            tracing::debug!("a webhook about {what} was ignored");
            return Ok(Json(IGNORED));
        }
    };
    settle(told, &engine).await.map(Json)
}

/// A provider's word about an attempt that may be ours.
#[derive(Debug, Clone, Copy)]
struct Told {
    order: OrderId,
    attempt: AttemptId,
    outcome: PaymentOutcome,
    amount: Money,
}

async fn settle(told: Told, engine: &Engine) -> Result<Received, Problem> {
    let Told {
        order,
        attempt,
        outcome,
        amount,
    } = told;
    match engine.settle_payment(order, attempt, outcome, amount).await {
        Ok(()) => Ok(SETTLED),
        Err(Refusal::Rejected(Rejection::NoSuchOrder)) => {
            tracing::warn!(
                order.id = %order,
                attempt.id = %attempt,
                "a webhook about an attempt that nobody made was ignored"
            );
            Ok(IGNORED)
        }
        Err(refusal) => Err(refused(told, refusal)),
    }
}

/// A wrong sum is somebody's mistake or crime and must be looked at; the rest passes by itself.
fn refused(told: Told, refusal: Refusal) -> Problem {
    if let Refusal::Rejected(Rejection::PaymentMismatch { .. }) = refusal {
        tracing::error!(
            order.id = %told.order,
            attempt.id = %told.attempt,
            amount = ?told.amount,
            "a webhook speaks of another sum than the order's; nothing was settled"
        );
    }
    refusal.into()
}

fn the_one_header<'a>(request: &'a HttpRequest, name: &str) -> Result<&'a str, SignatureError> {
    let mut values = request.headers().get_all(name);
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(SignatureError::Missing);
    };
    value.to_str().or(Err(SignatureError::Unreadable))
}

fn signature_invalid(error: SignatureError) -> Problem {
    tracing::warn!(%error, "a webhook was not believed");
    error.into()
}
