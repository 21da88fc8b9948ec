//! The three streams: a product for everybody, its sale for the shop, and a buyer's own news.

use actix_web::http::Method;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::event::Events;
use super::feed::{self, Audience, Feed};
use super::hub::{self, Hub};
use super::stream::{Pass, Plan};
use crate::accounts::token::Role;
use crate::actors::{Engine, Watch};
use crate::domain::{BuyerId, ProductId};
use crate::http::extract::{Caller, Staff, bearer_token};
use crate::http::ids;
use crate::http::problem::Problem;
use crate::http::routes::{Declaration, routes};

const ANYBODY: &[Role] = &[Role::Buyer, Role::Seller, Role::Admin];

pub(crate) const ROUTES: &[Declaration] = routes![product, sale, events];

/// Availability, price and window of a product, now and whenever they change, as events `product`.
#[utoipa::path(
    get, path = "/v1/products/{id}/live", tag = "products",
    params(("id" = uuid::Uuid, Path)),
    responses(
        (status = 200, content_type = "text/event-stream", body = super::super::wire::AvailabilityView, description = "data of the events `product`"),
        (status = 404), (status = 503, description = "too_many_streams, shutting_down"),
    )
)]
async fn product(
    id: Path<String>,
    request: HttpRequest,
    hub: Data<Hub>,
) -> Result<HttpResponse, Problem> {
    show(&hub, &request, &id, Audience::Public, None)
}

/// Where every unit of a product is, now and whenever it changes, as events `sale`.
#[utoipa::path(
    get, path = "/v1/admin/products/{id}/sale/live", tag = "admin",
    params(("id" = uuid::Uuid, Path)),
    responses(
        (status = 200, content_type = "text/event-stream", body = super::super::wire::SaleView, description = "data of the events `sale`"),
        (status = 404), (status = 429, description = "too_many_own_streams"),
        (status = 503, description = "too_many_streams, shutting_down"),
    ),
    security(("bearer" = []))
)]
async fn sale(
    staff: Staff,
    id: Path<String>,
    request: HttpRequest,
    hub: Data<Hub>,
) -> Result<HttpResponse, Problem> {
    let roles = Staff::ROLES;
    show(
        &hub,
        &request,
        &id,
        Audience::Staff,
        Some((staff.id, roles)),
    )
}

/// The buyer's orders to which something can still happen, and each order again when it changes, as events `order`; places
/// on waitlists likewise, as `waitlist`, or `offer` while units are kept for the buyer, and `waitlist_left` at their end.
/// An event `resync`: more has happened than is told; read the lists anew.
#[utoipa::path(
    get, path = "/v1/me/events", tag = "me",
    responses(
        (status = 200, content_type = "text/event-stream", body = super::super::wire::OrderView, description = "data of the events `order`, without the address"),
        (status = 429, description = "too_many_own_streams"),
        (status = 503, description = "too_many_streams, shutting_down"),
    ),
    security(("bearer" = []))
)]
async fn events(
    caller: Caller,
    request: HttpRequest,
    engine: Data<Engine>,
    hub: Data<Hub>,
) -> Result<HttpResponse, Problem> {
    if request.method() == Method::HEAD {
        return Ok(hub::head().finish());
    }
    let permit = hub.admit(Some(caller.id))?;
    // In this order: what happens in between is told twice rather than not at all.
    let watch = engine.watch(caller.id);
    let orders = engine.open_orders(caller.id, Watch::NOTICES_MAX + 1);
    let orders = orders.await?;
    let mut opening = Events::opening();
    feed::push_orders(&mut opening, &orders);
    feed::push_places(&mut opening, &engine.waitlists(caller.id).await?);
    let plan = Plan {
        feed: Feed::Own(watch),
        pass: Some(pass(&request, ANYBODY)?),
        permit,
    };
    hub.open(&request, opening, plan)
}

fn show(
    hub: &Hub,
    request: &HttpRequest,
    id: &str,
    audience: Audience,
    viewer: Option<(BuyerId, &'static [Role])>,
) -> Result<HttpResponse, Problem> {
    let product = ProductId::new(ids::parse(id, "product")?);
    let channel = hub.channel(audience, product)?;
    if request.method() == Method::HEAD {
        return Ok(hub::head().finish());
    }
    let permit = hub.admit(viewer.map(|(account, _)| account))?;
    let pass = viewer.map(|(_, roles)| pass(request, roles)).transpose()?;
    let now = hub.now();
    let mut opening = Events::opening();
    opening.push_bytes(&channel.event(now));
    let feed = Feed::product(channel, now);
    let plan = Plan { feed, pass, permit };
    hub.open(request, opening, plan)
}

/// The token that let somebody in, to be asked again.
fn pass(request: &HttpRequest, roles: &'static [Role]) -> Result<Pass, Problem> {
    Ok(Pass {
        token: bearer_token(request)?.into(),
        roles,
    })
}
