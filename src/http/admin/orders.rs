//! `/v1/admin/orders`: the orders of the shop, and what the shop does once they are paid.
//!
//! The list is what SQL has, a moment behind the engine; a single order is shown as it is now.

use actix_web::web::{Data, Json, Path, Query};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::accounts::fields::one_line;
use crate::accounts::token::Role;
use crate::actors::Engine;
use crate::actors::message::{Shipment, Viewer};
use crate::domain::{BuyerId, Order, OrderId, ProductId};
use crate::http::extract::{JsonBody, Staff};
use crate::http::problem::{Fields, Problem};
use crate::http::routes::{Declaration, routes};
use crate::http::wire::{OrderView, Page, PageQuery};
use crate::http::words::parse_state;
use crate::http::{ids, orders};
use crate::persistence::database::{Database, OrderFilter};

const CARRIER_CHARS_MAX: usize = 64;
const TRACKING_NUMBER_CHARS_MAX: usize = 128;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrdersQuery {
    /// Only orders with a line of this product.
    product_id: Option<Uuid>,
    /// Only orders of this buyer.
    buyer_id: Option<Uuid>,
    /// Only orders in this state, such as `paid`: what is to be shipped.
    state: Option<String>,
    /// 1 to 100.
    #[serde(default = "OrdersQuery::limit_default")]
    limit: u32,
    /// The `next` of the page before.
    after: Option<Uuid>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewShipment {
    /// 1 to 64 characters on one line.
    #[schema(example = "Korea Post")]
    carrier: String,
    /// 1 to 128 characters on one line.
    tracking_number: String,
}

impl OrdersQuery {
    const fn limit_default() -> u32 {
        20
    }

    fn filter(&self) -> Result<OrderFilter, Problem> {
        let state = match &self.state {
            None => None,
            Some(word) => Some(
                parse_state(word)
                    .ok_or_else(|| Problem::field("state", "it is no state of an order"))?,
            ),
        };
        Ok(OrderFilter {
            product: self.product_id.map(|id| ProductId::new(id.as_u128())),
            buyer: self.buyer_id.map(|id| BuyerId::new(id.as_u128())),
            state,
        })
    }
}

pub(crate) const ROUTES: &[Declaration] = routes![list, read, ship, deliver, accept_return];

/// Orders of all buyers, newest first.
#[utoipa::path(
    get, path = "/v1/admin/orders", tag = "admin", params(OrdersQuery),
    responses((status = 200, body = Page<OrderView>)), security(("bearer" = []))
)]
async fn list(
    _: Staff,
    query: Query<OrdersQuery>,
    database: Data<Database>,
) -> Result<Json<Page<OrderView>>, Problem> {
    let query = query.into_inner();
    let filter = query.filter()?;
    let page = PageQuery {
        limit: query.limit,
        after: query.after,
    };
    let page = page.checked()?;
    let after = page.after.map(|id| OrderId::new(id.as_u128()));
    let orders = database
        .orders_for_admin(filter, after, page.limit + 1)
        .await?;
    let views = orders.iter().map(OrderView::view).collect();
    Ok(Json(Page::cut(views, page.limit, |view| view.id)))
}

/// One order as it stands. Admins also see where it goes.
#[utoipa::path(
    get, path = "/v1/admin/orders/{id}", tag = "admin", params(("id" = Uuid, Path)),
    responses((status = 200, body = OrderView), (status = 404)), security(("bearer" = []))
)]
async fn read(
    staff: Staff,
    id: Path<String>,
    engine: Data<Engine>,
    accounts: Data<Accounts>,
) -> Result<Json<OrderView>, Problem> {
    let order = engine.order(order_id(&id)?, Viewer::Shop).await?;
    view(staff, &accounts, &order).await
}

/// The order is on its way. Saying it again in the same words changes nothing.
#[utoipa::path(
    post, path = "/v1/admin/orders/{id}/shipment", tag = "admin", params(("id" = Uuid, Path)),
    request_body = NewShipment,
    responses(
        (status = 200, body = OrderView), (status = 404),
        (status = 409, description = "not_paid, already_shipped"), (status = 422),
    ),
    security(("bearer" = []))
)]
async fn ship(
    staff: Staff,
    id: Path<String>,
    body: JsonBody<NewShipment>,
    engine: Data<Engine>,
    accounts: Data<Accounts>,
) -> Result<Json<OrderView>, Problem> {
    let id = order_id(&id)?;
    let shipment = body.0.checked()?;
    let order = engine
        .ship_order(id, shipment, Some(super::mark_of(staff)))
        .await?;
    view(staff, &accounts, &order).await
}

/// The order has arrived: from now until the end of the next day of the shop it may be sent back.
#[utoipa::path(
    post, path = "/v1/admin/orders/{id}/delivered", tag = "admin", params(("id" = Uuid, Path)),
    responses((status = 200, body = OrderView), (status = 404), (status = 409, description = "not_shipped")),
    security(("bearer" = []))
)]
async fn deliver(
    staff: Staff,
    id: Path<String>,
    engine: Data<Engine>,
    accounts: Data<Accounts>,
) -> Result<Json<OrderView>, Problem> {
    let id = order_id(&id)?;
    let order = engine
        .deliver_order(id, Some(super::mark_of(staff)))
        .await?;
    view(staff, &accounts, &order).await
}

/// The goods are back: the money goes back at once, the units a day after the return was asked for.
#[utoipa::path(
    post, path = "/v1/admin/orders/{id}/return/accept", tag = "admin", params(("id" = Uuid, Path)),
    responses((status = 200, body = OrderView), (status = 404), (status = 409, description = "return_not_requested")),
    security(("bearer" = []))
)]
async fn accept_return(
    staff: Staff,
    id: Path<String>,
    engine: Data<Engine>,
    accounts: Data<Accounts>,
) -> Result<Json<OrderView>, Problem> {
    let id = order_id(&id)?;
    let order = engine.accept_return(id, super::mark_of(staff)).await?;
    view(staff, &accounts, &order).await
}

/// Where an order goes is personal: sellers are not shown it.
async fn view(
    staff: Staff,
    accounts: &Accounts,
    order: &Order,
) -> Result<Json<OrderView>, Problem> {
    let view = match staff.role {
        Role::Admin => orders::view(accounts, order).await?,
        Role::Buyer | Role::Seller => OrderView::view(order),
    };
    Ok(Json(view))
}

fn order_id(text: &str) -> Result<OrderId, Problem> {
    Ok(OrderId::new(ids::parse(text, "order")?))
}

impl NewShipment {
    fn checked(self) -> Result<Shipment, Problem> {
        let mut fields = Fields::default();
        let mut take = |field, text: &str, chars_max| {
            let line = one_line(text, 1, chars_max);
            fields.take(field, line.map(|it| Box::from(it.as_str())))
        };
        let carrier = take("carrier", &self.carrier, CARRIER_CHARS_MAX);
        let tracking_number = take(
            "tracking_number",
            &self.tracking_number,
            TRACKING_NUMBER_CHARS_MAX,
        );
        let shipment = carrier.zip(tracking_number);
        fields.done(shipment.map(|(carrier, tracking_number)| Shipment {
            carrier,
            tracking_number,
        }))
    }
}
