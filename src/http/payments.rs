//! `/v1/orders/{id}/payments`: attempts to pay.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::{NoContext, Uuid};

use super::idempotency::Idempotent;
use super::ids;
use super::problem::{Code, Fact, Problem};
use super::routes::{Declaration, routes};
use super::wire::Money;
use super::words::uuid_of;
use crate::actors::Engine;
use crate::actors::message::{PaymentReply, StartPayment};
use crate::clock::{Clock, SystemClock};
use crate::domain::{AttemptId, OrderId, PaymentAnswer};

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPayment {
    /// What the provider calls the means of payment, 1 to 64 characters: with Stripe the id of a payment method. The
    /// sandbox takes any name, and lets
    /// `card_declined`, `card_late`, `card_timeout`, `card_duplicate`, `card_out_of_order` and `card_no_refund` behave as
    /// they say.
    #[schema(example = "card")]
    method: String,
}

/// An attempt to pay, as first answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PaymentAnswered {
    /// The attempt.
    id: Uuid,
    order_id: Uuid,
    /// `paid`, or `pending` while there is no result.
    #[schema(example = "paid")]
    state: &'static str,
    method: String,
    amount: Money,
}

const METHOD_CHARS_MAX: usize = 64;

pub(crate) const ROUTES: &[Declaration] = routes![create];

/// Pays a held order.
#[utoipa::path(
    post, path = "/v1/orders/{id}/payments", tag = "orders", request_body = NewPayment,
    params(
        ("id" = Uuid, Path),
        ("Idempotency-Key" = String, Header, description = "1 to 255 printable ASCII characters; a repeat gets the first answer again"),
    ),
    responses(
        (status = 201, body = PaymentAnswered, description = "paid"),
        (status = 202, body = PaymentAnswered, description = "pending: others are before it, or the provider takes its time; look at the order"),
        (status = 402, description = "payment_declined: the hold lives on, try again"),
        (status = 404),
        (status = 409, description = "hold_expired, already_paid, payment_in_progress, order_cancelled, payment_returned, too_many_attempts"),
        (status = 422, description = "invalid_values, idempotency_key_reused"),
        (status = 503, description = "payments_unavailable, payments_busy, and the like: no attempt was made"),
    ),
    security(("bearer" = []))
)]
async fn create(
    id: Path<String>,
    request: Idempotent<NewPayment>,
    engine: Data<Engine>,
) -> Result<HttpResponse, Problem> {
    let order = OrderId::new(ids::parse(&id, "order")?);
    let identity = request.identity(&format!("POST /v1/orders/{order}/payments"))?;
    let start = StartPayment {
        order,
        buyer: request.caller.id,
        attempt: new_attempt(&engine),
        key: identity.key,
        fingerprint: identity.fingerprint,
        method: checked_method(request.body.method)?.into(),
    };
    answer(&*engine.start_payment(start).await?)
}

/// Its id bears the earlier of what our clocks show. A provider's list is read back to there, and an id from the
/// provider's future would end the search before the payment.
fn new_attempt(engine: &Engine) -> AttemptId {
    let made_at = SystemClock.now().min(engine.now()).as_micros();
    let nanos = u32::try_from(made_at % 1_000_000 * 1_000).unwrap_or_default();
    let made_at = uuid::Timestamp::from_unix(NoContext, made_at / 1_000_000, nanos);
    AttemptId::new(Uuid::new_v7(made_at).as_u128())
}

fn answer(reply: &PaymentReply) -> Result<HttpResponse, Problem> {
    let attempt = uuid_of(reply.attempt.get());
    match reply.answer {
        PaymentAnswer::Paid => Ok(HttpResponse::Created().json(view(reply, "paid"))),
        PaymentAnswer::Pending => Ok(HttpResponse::Accepted().json(view(reply, "pending"))),
        PaymentAnswer::Declined => Err(Problem::of(
            Code::PaymentDeclined,
            "no money was taken; try again or by another method before the hold ends",
        )
        .under_request(attempt)
        .with("payment_id", Fact::Id(reply.attempt.get()))
        .with("pay_by", reply.deadline)),
        PaymentAnswer::Unfulfilled => Err(Problem::of(
            Code::PaymentReturned,
            "the units were no longer yours when the money came; it is refunded in full",
        )
        .under_request(attempt)
        .with("payment_id", Fact::Id(reply.attempt.get()))),
    }
}

fn view(reply: &PaymentReply, state: &'static str) -> PaymentAnswered {
    PaymentAnswered {
        id: uuid_of(reply.attempt.get()),
        order_id: uuid_of(reply.order.get()),
        state,
        method: reply.method.to_string(),
        amount: Money::view(reply.amount),
    }
}

fn checked_method(method: String) -> Result<String, Problem> {
    let characters = method.chars().count();
    if (1..=METHOD_CHARS_MAX).contains(&characters) && !method.chars().any(char::is_control) {
        return Ok(method);
    }
    Err(Problem::field(
        "method",
        format!("give 1 to {METHOD_CHARS_MAX} characters and no control characters"),
    ))
}
