//! `/v1/products/{id}/waitlist` and `/v1/me/waitlist`: waiting for units that come back. An offer is taken up by placing an
//! order, like any other.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, Responder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{BodyIfAny, Caller};
use super::ids;
use super::problem::Problem;
use super::routes::{Declaration, routes};
use super::wire::{Page, PageQuery};
use super::words::{rfc3339, uuid_of};
use crate::actors::Engine;
use crate::actors::message::WaitlistPlace;
use crate::domain::{Offer, ProductId, Quantity};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWaiter {
    /// Units wanted, 1 to 10,000; 1 if left out. An offer may be for fewer: what has come free.
    quantity: Option<u32>,
}

/// A place on a waitlist.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlaceView {
    product_id: Uuid,
    /// `waiting`, or `offered` while units are kept for this person.
    #[schema(example = "waiting")]
    state: &'static str,
    quantity: u32,
    /// 1 is the next; `null` while there is an offer.
    position: Option<u64>,
    joined_at: String,
    /// An offer was let lapse; after the next one the place is gone.
    lapsed: bool,
    offer: Option<OfferView>,
}

/// Units kept for a person: order them before it ends.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OfferView {
    quantity: u32,
    expires_at: String,
}

pub(crate) const ROUTES: &[Declaration] = routes![join, leave, list];

/// Joins the end of the waitlist. Asked again for as many units, it tells the place there is.
#[utoipa::path(
    post, path = "/v1/products/{id}/waitlist", tag = "waitlist", request_body = Option<NewWaiter>,
    params(("id" = Uuid, Path)),
    responses(
        (status = 201, body = PlaceView), (status = 200, body = PlaceView, description = "on the list already"),
        (status = 404),
        (status = 409, description = "still_available, already_waiting, limit_reached, not_open, closed, waitlist_full, too_many_waitlists"),
        (status = 422), (status = 503),
    ),
    security(("bearer" = []))
)]
async fn join(
    caller: Caller,
    id: Path<String>,
    body: BodyIfAny<NewWaiter>,
    engine: Data<Engine>,
) -> Result<HttpResponse, Problem> {
    let product = ProductId::new(ids::parse(&id, "product")?);
    let quantity = body.0.and_then(|body| body.quantity).unwrap_or(1);
    let quantity = Quantity::new(quantity).ok_or_else(|| {
        Problem::field(
            "quantity",
            format!("{quantity} is not between 1 and {}", Quantity::MAX),
        )
    })?;
    let (place, is_new) = engine.join_waitlist(product, caller.id, quantity).await?;
    let mut response = match is_new {
        true => HttpResponse::Created(),
        false => HttpResponse::Ok(),
    };
    Ok(response.json(PlaceView::of(&place)))
}

/// Leaves the waitlist, and gives up an offer. The same answer for somebody who was not on it.
#[utoipa::path(
    delete, path = "/v1/products/{id}/waitlist", tag = "waitlist",
    params(("id" = Uuid, Path)),
    responses((status = 204), (status = 404), (status = 503)), security(("bearer" = []))
)]
async fn leave(
    caller: Caller,
    id: Path<String>,
    engine: Data<Engine>,
) -> Result<impl Responder, Problem> {
    let product = ProductId::new(ids::parse(&id, "product")?);
    engine.leave_waitlist(product, caller.id).await?;
    Ok(HttpResponse::NoContent())
}

/// The buyer's places on waitlists, with the offers.
#[utoipa::path(
    get, path = "/v1/me/waitlist", tag = "waitlist", params(PageQuery),
    responses((status = 200, body = Page<PlaceView>)), security(("bearer" = []))
)]
async fn list(
    caller: Caller,
    page: Query<PageQuery>,
    engine: Data<Engine>,
) -> Result<Json<Page<PlaceView>>, Problem> {
    let page = page.into_inner().checked()?;
    let after = page.after.map(|id| ProductId::new(id.as_u128()));
    let places = engine.waitlists(caller.id).await?;
    let wanted = usize::try_from(page.limit + 1).unwrap_or(usize::MAX);
    let views = places
        .iter()
        .filter(|place| after.is_none_or(|after| place.product > after))
        .take(wanted)
        .map(PlaceView::of)
        .collect();
    Ok(Json(Page::cut(views, page.limit, |view| view.product_id)))
}

impl PlaceView {
    pub(crate) fn of(place: &WaitlistPlace) -> Self {
        let waiter = &place.waiter;
        Self {
            product_id: uuid_of(place.product.get()),
            state: match waiter.offer {
                Some(_) => "offered",
                None => "waiting",
            },
            quantity: waiter.quantity.get(),
            position: place.position,
            joined_at: rfc3339(waiter.joined_at),
            lapsed: waiter.lapsed,
            offer: waiter.offer.map(OfferView::of),
        }
    }
}

impl OfferView {
    fn of(offer: Offer) -> Self {
        Self {
            quantity: offer.units.get(),
            expires_at: rfc3339(offer.deadline),
        }
    }
}
