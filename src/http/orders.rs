//! `/v1/orders`: the flash-sale endpoint, and what a buyer does with an order.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Path, Query};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::addresses::AddressView;
use super::extract::{Caller, Object};
use super::idempotency::{Idempotent, Identity};
use super::ids;
use super::problem::{FieldError, Problem};
use super::routes::{Declaration, routes};
use super::wire::{OrderView, Page, PageQuery, PlacedOrder};
use super::words::uuid_of;
use crate::accounts::{self, Accounts};
use crate::actors::Engine;
use crate::actors::message::{PlaceOrder, Refusal, Viewer};
use crate::domain::{
    AddressId, BuyerId, Order, OrderId, OrderState, ProductId, Quantity, Rejection,
};
use crate::persistence::database::Database;

const ROUTE: &str = "POST /v1/orders";

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOrder {
    /// 1 to 50 lines, each of another product; all of them are held, or none.
    #[schema(value_type = Vec<NewLine>)]
    lines: Vec<Object<NewLine>>,
    /// An entry of the buyer's address book.
    address_id: Option<Uuid>,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLine {
    product_id: Uuid,
    /// 1 to 10,000.
    quantity: u32,
}

pub(crate) const ROUTES: &[Declaration] = routes![create, list, read, cancel];

/// Holds units of every line, or of none.
#[utoipa::path(
    post, path = "/v1/orders", tag = "orders", request_body = NewOrder,
    params(("Idempotency-Key" = String, Header, description = "1 to 255 printable ASCII characters; a repeat gets the first answer again")),
    responses(
        (status = 201, body = PlacedOrder),
        (status = 404, description = "no such product"),
        (status = 409, description = "sold_out, all_held, insufficient_stock, not_open, paused, closed, limit_reached, currency_mismatch"),
        (status = 422, description = "invalid_values, idempotency_key_reused"),
        (status = 503, description = "overloaded, database_behind, disk_full, journal_failed, recovering"),
    ),
    security(("bearer" = []))
)]
async fn create(
    request: Idempotent<NewOrder>,
    engine: Data<Engine>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let identity = request.identity(ROUTE)?;
    let address_id = request.body.address_id;
    let command = request.body.into_command(request.caller.id, identity)?;
    let order = place(&engine, &accounts, command, address_id).await?;
    Ok(created(&order))
}

/// The buyer's orders, newest first.
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders", params(PageQuery),
    responses((status = 200, body = Page<OrderView>)), security(("bearer" = []))
)]
async fn list(
    caller: Caller,
    page: Query<PageQuery>,
    engine: Data<Engine>,
    database: Data<Database>,
    accounts: Data<Accounts>,
) -> Result<Json<Page<OrderView>>, Problem> {
    let page = page.into_inner().checked()?;
    let after = page.after.map(|id| OrderId::new(id.as_u128()));
    let orders = orders_of(&engine, &database, caller.id, after, page.limit + 1).await?;
    let views = views(&accounts, caller.id, &orders).await?;
    Ok(Json(Page::cut(views, page.limit, |view| view.id)))
}

/// One order of the buyer; somebody else's answers like one that does not exist.
#[utoipa::path(
    get, path = "/v1/orders/{id}", tag = "orders",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = OrderView), (status = 404)), security(("bearer" = []))
)]
async fn read(
    caller: Caller,
    id: Path<String>,
    engine: Data<Engine>,
    accounts: Data<Accounts>,
) -> Result<Json<OrderView>, Problem> {
    let id = OrderId::new(ids::parse(&id, "order")?);
    let order = engine.order(id, Viewer::Buyer(caller.id)).await?;
    Ok(Json(view(&accounts, &order).await?))
}

/// Cancels an order that is not shipped. 202 while a payment or a refund is still under way.
#[utoipa::path(
    post, path = "/v1/orders/{id}/cancel", tag = "orders",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = OrderView, description = "cancelled"),
        (status = 202, body = OrderView, description = "a payment or a refund is still to be settled"),
        (status = 404), (status = 409, description = "too_late_to_cancel, hold_expired"),
    ),
    security(("bearer" = []))
)]
async fn cancel(
    caller: Caller,
    id: Path<String>,
    engine: Data<Engine>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let id = OrderId::new(ids::parse(&id, "order")?);
    let order = engine.cancel_order(id, caller.id).await?;
    let mut response = match order.state {
        OrderState::Cancelled => HttpResponse::Ok(),
        _ => HttpResponse::Accepted(),
    };
    Ok(response.json(view(&accounts, &order).await?))
}

/// The answer to a request that placed an order, and to each repeat of it.
pub(super) fn created(order: &Order) -> HttpResponse {
    HttpResponse::Created()
        .insert_header((
            "Location",
            format!("/v1/orders/{}", uuid_of(order.id.get())),
        ))
        .json(PlacedOrder::view(order))
}

/// An order with the address that it was placed with.
pub(super) async fn view(accounts: &Accounts, order: &Order) -> Result<OrderView, Problem> {
    let mut views = views(accounts, order.buyer, std::slice::from_ref(order)).await?;
    Ok(views.pop().unwrap_or_else(|| OrderView::view(order)))
}

/// Orders of one buyer, in their order. While SQL is away they are shown without their addresses.
async fn views(
    accounts: &Accounts,
    buyer: BuyerId,
    orders: &[Order],
) -> Result<Vec<OrderView>, Problem> {
    let mut versions: Vec<AddressId> = orders.iter().filter_map(|order| order.address).collect();
    versions.sort_unstable();
    versions.dedup();
    let frozen = match accounts.frozen_addresses(buyer, versions).await {
        Err(accounts::AccountRefusal::Database(error)) if error.heals() => {
            tracing::warn!(%error, "orders are shown without their addresses");
            Vec::new()
        }
        other => other?,
    };
    let frozen: Vec<(AddressId, AddressView)> = frozen
        .into_iter()
        .map(|(version, address)| (version, address.into()))
        .collect();
    let view = |order: &Order| {
        let found = frozen
            .iter()
            .find(|(version, _)| Some(*version) == order.address);
        OrderView::view(order).with_address(found.map(|(_, address)| address.clone()))
    };
    Ok(orders.iter().map(view).collect())
}

/// The one road to an order. An order with an address is placed with what the address says now.
pub(super) async fn place(
    engine: &Engine,
    accounts: &Accounts,
    mut command: PlaceOrder,
    address_id: Option<Uuid>,
) -> Result<Box<Order>, Problem> {
    if let Some(id) = address_id {
        engine.refuse_at_once(&command)?;
        match accounts.freeze_address(command.buyer, id.as_u128()).await {
            Ok(version) => command.address = Some(version),
            // Found in the book when it was first asked: the answer to a repeat does not change with the book.
            Err(refusal) => {
                return placed_before(engine, &command)
                    .await?
                    .ok_or_else(|| refusal.into());
            }
        }
    }
    Ok(engine.place_order(command).await?)
}

/// The order that this very request has made before, if it has.
pub(super) async fn placed_before(
    engine: &Engine,
    command: &PlaceOrder,
) -> Result<Option<Box<Order>>, Problem> {
    let Some(order) = engine.placed(command.buyer, command.key).await? else {
        return Ok(None);
    };
    if order.fingerprint != command.fingerprint {
        return Err(Rejection::KeyReused.into());
    }
    Ok(Some(Box::new(order)))
}

/// What SQL has, overlaid by what the engine knows better, newest first.
async fn orders_of(
    engine: &Engine,
    database: &Database,
    buyer: BuyerId,
    after: Option<OrderId>,
    limit: u32,
) -> Result<Vec<Order>, Problem> {
    let Some(before) = sequence_of(engine, buyer, after).await? else {
        return Ok(Vec::new());
    };
    // No order on the page is newer in memory than these: whatever SQL has of another is as it is.
    let live = engine.orders(buyer, before, limit as usize).await?;
    let mut orders = match database.orders_of_before(buyer, before, limit).await {
        Ok(stored) => stored,
        Err(error) => {
            tracing::warn!(error = %error, "the list of orders is answered from memory alone");
            Vec::new()
        }
    };
    orders.retain(|stored| live.iter().all(|known| known.id != stored.id));
    orders.extend(live);
    orders.sort_unstable_by_key(|order| std::cmp::Reverse(order.sequence));
    orders.truncate(limit as usize);
    Ok(orders)
}

/// Where a page begins. `None`: the buyer has no such order, so nothing comes after it.
async fn sequence_of(
    engine: &Engine,
    buyer: BuyerId,
    after: Option<OrderId>,
) -> Result<Option<u64>, Problem> {
    let Some(after) = after else {
        return Ok(Some(u64::MAX));
    };
    match engine.order(after, Viewer::Buyer(buyer)).await {
        Ok(order) => Ok(Some(order.sequence)),
        Err(Refusal::Rejected(Rejection::NoSuchOrder)) => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

impl NewOrder {
    /// Without its address, which is yet to be looked up.
    fn into_command(self, buyer: BuyerId, identity: Identity) -> Result<PlaceOrder, Problem> {
        Ok(PlaceOrder {
            order: OrderId::for_buyer(Uuid::now_v7().as_u128(), buyer),
            buyer,
            key: identity.key,
            fingerprint: identity.fingerprint,
            address: None,
            lines: checked_lines(&self.lines)?,
        })
    }
}

fn checked_lines(lines: &[Object<NewLine>]) -> Result<Vec<(ProductId, Quantity)>, Problem> {
    let mut errors = Vec::new();
    if lines.is_empty() || lines.len() > Order::LINES_MAX {
        errors.push(FieldError {
            field: "lines".into(),
            detail: format!("{} lines; give 1 to {}", lines.len(), Order::LINES_MAX),
        });
        return Err(Problem::invalid(errors));
    }
    let mut checked = Vec::with_capacity(lines.len());
    for (index, Object(line)) in lines.iter().enumerate() {
        let product = ProductId::new(line.product_id.as_u128());
        if checked.iter().any(|(known, _)| *known == product) {
            errors.push(FieldError {
                field: format!("lines[{index}].product_id"),
                detail: format!("{} is in another line already", uuid_of(product.get())),
            });
        }
        match Quantity::new(line.quantity) {
            Some(quantity) => checked.push((product, quantity)),
            None => errors.push(FieldError {
                field: format!("lines[{index}].quantity"),
                detail: format!("{} is not between 1 and {}", line.quantity, Quantity::MAX),
            }),
        }
    }
    if errors.is_empty() {
        Ok(checked)
    } else {
        Err(Problem::invalid(errors))
    }
}
