//! `/v1/orders/{id}/return`: a buyer sends an order back.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::{Caller, JsonBody};
use super::problem::{Fields, Problem};
use super::routes::{Declaration, routes};
use super::wire::OrderView;
use super::{ids, orders};
use crate::accounts::Accounts;
use crate::actors::Engine;
use crate::domain::{OrderId, OrderState};

const REASON_CHARS_MAX: usize = 1_000;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReturn {
    /// Why, in 1 to 1,000 characters. It is kept in the books for good, also after the account is erased, and read by
    /// the shop: nothing personal belongs here.
    reason: String,
}

pub(crate) const ROUTES: &[Declaration] = routes![request];

/// Asks to send a delivered order back, until the end of the day after its delivery. The first reason stands.
#[utoipa::path(
    post, path = "/v1/orders/{id}/return", tag = "orders", params(("id" = Uuid, Path)), request_body = NewReturn,
    responses(
        (status = 200, body = OrderView, description = "the shop has accepted it"),
        (status = 202, body = OrderView, description = "asked for; the shop is yet to accept it"),
        (status = 404), (status = 409, description = "not_delivered, return_window_closed"), (status = 422),
    ),
    security(("bearer" = []))
)]
async fn request(
    caller: Caller,
    id: Path<String>,
    body: JsonBody<NewReturn>,
    engine: Data<Engine>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let id = OrderId::new(ids::parse(&id, "order")?);
    let reason = body.0.checked()?;
    let order = engine
        .request_return(id, caller.id, reason.as_str().into())
        .await?;
    let mut response = match order.state {
        OrderState::Returned => HttpResponse::Ok(),
        _ => HttpResponse::Accepted(),
    };
    Ok(response.json(orders::view(&accounts, &order).await?))
}

impl NewReturn {
    fn checked(self) -> Result<String, Problem> {
        let mut fields = Fields::default();
        let reason = fields.take("reason", check_reason(&self.reason));
        fields.done(reason)
    }
}

/// Lines and tabs are fine, other control characters are not.
fn check_reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text
        .chars()
        .any(|it| it.is_control() && it != '\n' && it != '\t' && it != '\r')
    {
        return Err("it has a control character".into());
    }
    let length = text.chars().count();
    if (1..=REASON_CHARS_MAX).contains(&length) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "it has {length} characters; give 1 to {REASON_CHARS_MAX}"
    ))
}
