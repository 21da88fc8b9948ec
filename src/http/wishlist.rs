//! `/v1/me/wishlist`: what a buyer wants, with price and availability of this moment, and buying all of it in one go.

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, rt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Caller, JsonBody};
use super::idempotency::{Idempotent, Identity};
use super::problem::Problem;
use super::routes::{Declaration, routes};
use super::wire::{Money, Page, PageQuery, PlacedOrder, ProductView, WindowView};
use super::words::{rfc3339, uuid_of};
use super::{ids, orders};
use crate::accounts::{AccountRefusal, Accounts};
use crate::actors::message::PlaceOrder;
use crate::actors::{Engine, Listing};
use crate::domain::{self, BuyerId, Details, Line, Order, OrderId, ProductId, Quantity, Timestamp};
use crate::persistence::database::Wish;

const CHECKOUT_ROUTE: &str = "POST /v1/me/wishlist/checkout";

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WishBody {
    /// 1 to 10,000.
    quantity: u32,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkout {
    /// An entry of the buyer's address book.
    address_id: Option<Uuid>,
}

/// A page of the list, and what all of it would cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WishlistView {
    items: Vec<WishView>,
    /// Give it as `after` to get the next page; `null` at the end.
    next: Option<String>,
    /// What the whole list would cost now, without what is gone; `null` if that is nothing or in several currencies.
    total: Option<Money>,
    server_time: String,
}

/// A line of the list. Of a product that is gone only what it was called and looked like is told.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WishView {
    product_id: Uuid,
    quantity: u32,
    added_at: String,
    /// The product was deleted: it cannot be bought, and neither can a list that it is on.
    gone: bool,
    name: Option<String>,
    image_url: Option<String>,
    /// Of one unit, now.
    price: Option<Money>,
    window: Option<WindowView>,
    /// `available`, `all_held` (may come back) or `sold_out` (final).
    #[schema(example = "available")]
    availability: Option<&'static str>,
    available: u64,
    /// Live holds that may give units back.
    holds: u64,
    /// When the first of them ends.
    earliest_deadline: Option<String>,
}

pub(crate) const ROUTES: &[Declaration] = routes![list, checkout, put, remove];

/// The caller's list, in the order in which it was made.
#[utoipa::path(
    get, path = "/v1/me/wishlist", tag = "wishlist", params(PageQuery),
    responses((status = 200, body = WishlistView)), security(("bearer" = []))
)]
async fn list(
    caller: Caller,
    page: Query<PageQuery>,
    engine: Data<Engine>,
    accounts: Data<Accounts>,
) -> Result<Json<WishlistView>, Problem> {
    let page = page.into_inner().checked()?;
    let wishes = accounts.wishes(caller.id).await?;
    let now = engine.now();
    let total = total(&engine, &wishes);
    let views = after(&wishes, page.after)
        .iter()
        .map(|wish| WishView::view(wish, listing(&engine, wish).as_ref(), now))
        .collect();
    let Page { items, next } = Page::cut(views, page.limit, |view: &WishView| view.product_id);
    Ok(Json(WishlistView {
        items,
        next,
        total,
        server_time: rfc3339(now),
    }))
}

/// Puts a product on the list, or changes how much of it is wanted. Takes no stock.
#[utoipa::path(
    put, path = "/v1/me/wishlist/{product_id}", tag = "wishlist", request_body = WishBody,
    params(("product_id" = Uuid, Path)),
    responses(
        (status = 200, body = WishView, description = "it was on the list"),
        (status = 201, body = WishView),
        (status = 404), (status = 409, description = "wishlist_full"), (status = 422),
    ),
    security(("bearer" = []))
)]
async fn put(
    caller: Caller,
    product: Path<String>,
    body: JsonBody<WishBody>,
    engine: Data<Engine>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let product = ProductId::new(ids::parse(&product, "product")?);
    let quantity = body.0.checked()?;
    let listing = engine
        .board()
        .listing(product)
        .ok_or_else(|| Problem::not_found("product"))?;
    let now = engine.now();
    let (wish, is_new) = accounts.put_wish(caller.id, product, quantity, now).await?;
    let mut response = match is_new {
        true => HttpResponse::Created(),
        false => HttpResponse::Ok(),
    };
    Ok(response.json(WishView::view(&wish, Some(&listing), now)))
}

/// Takes a product off the list, if it is there.
#[utoipa::path(
    delete, path = "/v1/me/wishlist/{product_id}", tag = "wishlist",
    params(("product_id" = Uuid, Path)),
    responses((status = 204)), security(("bearer" = []))
)]
async fn remove(
    caller: Caller,
    product: Path<String>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let product = ProductId::new(ids::parse(&product, "product")?);
    accounts.remove_wish(caller.id, product).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Holds units of everything on the list, or of nothing. What was bought leaves the list.
#[utoipa::path(
    post, path = "/v1/me/wishlist/checkout", tag = "wishlist", request_body = Checkout,
    params(("Idempotency-Key" = String, Header, description = "1 to 255 printable ASCII characters; a repeat gets the first answer again")),
    responses(
        (status = 201, body = PlacedOrder),
        (status = 404, description = "a product on the list is gone"),
        (status = 409, description = "wishlist_empty, sold_out, all_held, insufficient_stock, not_open, paused, closed, limit_reached, currency_mismatch"),
        (status = 422, description = "invalid_values, idempotency_key_reused"),
        (status = 503, description = "repeat it under the same key: the order may have been placed"),
    ),
    security(("bearer" = []))
)]
async fn checkout(
    request: Idempotent<Checkout>,
    engine: Data<Engine>,
    accounts: Data<Accounts>,
) -> Result<HttpResponse, Problem> {
    let identity = request.identity(CHECKOUT_ROUTE)?;
    let address_id = request.body.address_id;
    let command = without_lines(request.caller.id, identity);
    let (engine, accounts) = (Engine::clone(&engine), Accounts::clone(&accounts));
    // A task of its own: a buyer who hangs up must not find on the list what is in an order.
    let bought = rt::spawn(buy_all(engine, accounts, command, address_id)).await;
    let order = bought.map_err(|lost| Problem::unavailable(&lost))??;
    Ok(orders::created(&order))
}

/// What is on the list is no part of what was asked, and neither is it told apart by it.
fn without_lines(buyer: BuyerId, identity: Identity) -> PlaceOrder {
    PlaceOrder {
        order: OrderId::for_buyer(Uuid::now_v7().as_u128(), buyer),
        buyer,
        key: identity.key,
        fingerprint: identity.fingerprint,
        address: None,
        lines: Vec::new(),
    }
}

/// The key decides, not the list: a repeat gets the order of the first request, whatever is on the list by now, and
/// ends the removal that the first one may not have come to.
async fn buy_all(
    engine: Engine,
    accounts: Accounts,
    mut command: PlaceOrder,
    address_id: Option<Uuid>,
) -> Result<Box<Order>, Problem> {
    let wishes = accounts.wishes(command.buyer).await?;
    command.lines = wishes.iter().map(|it| (it.product, it.quantity)).collect();
    let order = if command.lines.is_empty() {
        let before = orders::placed_before(&engine, &command).await?;
        before.ok_or(AccountRefusal::WishlistEmpty)?
    } else {
        orders::place(&engine, &accounts, command, address_id).await?
    };
    accounts.remove_bought(&order).await?;
    Ok(order)
}

/// What comes after the line of a product; nothing, if that is not on the list.
fn after(wishes: &[Wish], product: Option<Uuid>) -> &[Wish] {
    let Some(product) = product else {
        return wishes;
    };
    let product = ProductId::new(product.as_u128());
    let mut from_it = wishes.splitn(2, |it| it.product == product).skip(1);
    from_it.next().unwrap_or_default()
}

/// Also of a product that is gone.
fn listing(engine: &Engine, wish: &Wish) -> Option<Listing> {
    engine.board().listing_or_deleted(wish.product)
}

/// An amount cannot overflow: a list is no longer than an order, whose total is bounded.
fn total(engine: &Engine, wishes: &[Wish]) -> Option<Money> {
    let lines: Vec<Line> = wishes
        .iter()
        .filter_map(|wish| {
            let listing = engine.board().listing(wish.product)?;
            Some(Line {
                product: wish.product,
                quantity: wish.quantity,
                unit_price: listing.details.price,
            })
        })
        .collect();
    let currency = lines.first()?.unit_price.currency;
    let is_one = lines.iter().all(|it| it.unit_price.currency == currency);
    is_one.then(|| {
        Money::view(domain::Money {
            amount: lines.iter().map(Line::amount).sum(),
            currency,
        })
    })
}

impl WishBody {
    fn checked(&self) -> Result<Quantity, Problem> {
        Quantity::new(self.quantity).ok_or_else(|| {
            let detail = format!("{} is not between 1 and {}", self.quantity, Quantity::MAX);
            Problem::field("quantity", detail)
        })
    }
}

impl WishView {
    fn view(wish: &Wish, listing: Option<&Listing>, now: Timestamp) -> Self {
        let gone = Self::gone(wish, listing.map(|it| &*it.details));
        let Some(listing) = listing.filter(|it| !it.snapshot.deleted) else {
            return gone;
        };
        let product = ProductView::view(listing, now);
        Self {
            gone: false,
            price: Some(product.price),
            window: product.window,
            availability: Some(product.availability),
            available: product.available,
            holds: product.holds,
            earliest_deadline: product.earliest_deadline,
            ..gone
        }
    }

    fn gone(wish: &Wish, details: Option<&Details>) -> Self {
        Self {
            product_id: uuid_of(wish.product.get()),
            quantity: wish.quantity.get(),
            added_at: rfc3339(wish.added_at),
            gone: true,
            name: details.map(|it| it.name.to_string()),
            image_url: details.and_then(|it| it.image_url.as_deref().map(Into::into)),
            price: None,
            window: None,
            availability: None,
            available: 0,
            holds: 0,
            earliest_deadline: None,
        }
    }
}
