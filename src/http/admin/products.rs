//! `/v1/admin/products`: register, describe, stock, and the sale window.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpResponse, Responder};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::actors::Engine;
use crate::actors::message::{DetailsPatch, ProductAct};
use crate::domain::{Details, Product, ProductId, RestockTo, Snapshot, Span, Window, WindowAct};
use crate::http::extract::{JsonBody, Object, Staff};
use crate::http::ids;
use crate::http::problem::{FieldError, Problem};
use crate::http::routes::{Declaration, routes};
use crate::http::wire::{Money, ProductView, SaleView};
use crate::http::words::parse_rfc3339;

const NAME_CHARS_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 10_000;
const URL_CHARS_MAX: usize = 2_000;
const HOLD_SECONDS_MAX: u32 = 1_800;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProduct {
    name: String,
    description: String,
    #[schema(value_type = Money)]
    price: Object<Money>,
    /// Units in the sale.
    stock: u64,
    image_url: Option<String>,
    /// Where the units of an accepted return go: `available` or `withdrawn`.
    #[serde(default)]
    restock_to: RestockWord,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RestockWord {
    #[default]
    Available,
    Withdrawn,
}

/// Fields that are left out stay as they are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProductPatch {
    name: Option<String>,
    description: Option<String>,
    #[schema(value_type = Option<Money>)]
    price: Option<Object<Money>>,
    /// `null` takes the image away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    image_url: Option<Option<String>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewStock {
    /// Units that are to be in the sale: all but the withdrawn ones.
    total: u64,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWindow {
    /// RFC 3339.
    opens_at: String,
    /// RFC 3339; `null`: open until it is closed.
    closes_at: Option<String>,
    /// Units that a person may have in hand; `null`: no limit.
    per_person_limit: Option<u32>,
    /// How long a hold lives before a payment starts, 1 to 1,800; 300 if left out.
    hold_seconds: Option<u32>,
}

/// What is done to a window at once.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WindowActWord {
    Open,
    Pause,
    Resume,
    Close,
}

pub(crate) const ROUTES: &[Declaration] = routes![
    create,
    edit,
    delete,
    set_stock,
    set_window,
    change_window,
    sale
];

/// Registers a product; it is not on sale before its window is set or opened.
#[utoipa::path(
    post, path = "/v1/admin/products", tag = "admin", request_body = NewProduct,
    responses((status = 201, body = ProductView), (status = 403), (status = 422)),
    security(("bearer" = []))
)]
async fn create(
    staff: Staff,
    body: JsonBody<NewProduct>,
    engine: Data<Engine>,
) -> Result<impl Responder, Problem> {
    let product = ProductId::new(Uuid::now_v7().as_u128());
    change(&engine, product, staff, body.0.into_act()?).await?;
    let view = listing_view(&engine, product)?;
    Ok(HttpResponse::Created()
        .insert_header(("Location", format!("/v1/products/{product}")))
        .json(view))
}

/// Changes name, description, image or price; live holds keep the price they were taken at.
#[utoipa::path(
    patch, path = "/v1/admin/products/{id}", tag = "admin", request_body = ProductPatch,
    params(("id" = Uuid, Path)),
    responses((status = 200, body = ProductView), (status = 404), (status = 422)),
    security(("bearer" = []))
)]
async fn edit(
    staff: Staff,
    id: Path<String>,
    body: JsonBody<ProductPatch>,
    engine: Data<Engine>,
) -> Result<Json<ProductView>, Problem> {
    let product = product_id(&id)?;
    let patch = body.0.into_patch()?;
    change(&engine, product, staff, ProductAct::Edit(patch)).await?;
    Ok(Json(listing_view(&engine, product)?))
}

/// Deletes a product of which nothing is held or sold.
#[utoipa::path(
    delete, path = "/v1/admin/products/{id}", tag = "admin",
    params(("id" = Uuid, Path)),
    responses((status = 204), (status = 404), (status = 409, description = "has_committed_units")),
    security(("bearer" = []))
)]
async fn delete(
    staff: Staff,
    id: Path<String>,
    engine: Data<Engine>,
) -> Result<HttpResponse, Problem> {
    change(&engine, product_id(&id)?, staff, ProductAct::Delete).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Sets the units in the sale. 202 when some can only be withdrawn once holds end.
#[utoipa::path(
    put, path = "/v1/admin/products/{id}/stock", tag = "admin", request_body = NewStock,
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = SaleView), (status = 202, body = SaleView, description = "a withdrawal is pending"),
        (status = 404), (status = 409, description = "below_sold"), (status = 422),
    ),
    security(("bearer" = []))
)]
async fn set_stock(
    staff: Staff,
    id: Path<String>,
    body: JsonBody<NewStock>,
    engine: Data<Engine>,
) -> Result<HttpResponse, Problem> {
    let act = ProductAct::SetStock(body.0.total);
    let snapshot = change(&engine, product_id(&id)?, staff, act).await?;
    let mut response = match snapshot.stock.withdrawal_pending {
        0 => HttpResponse::Ok(),
        _ => HttpResponse::Accepted(),
    };
    Ok(response.json(SaleView::view(&snapshot, engine.now())))
}

/// Schedules or reschedules the sale; later holds alone are concerned.
#[utoipa::path(
    put, path = "/v1/admin/products/{id}/window", tag = "admin", request_body = NewWindow,
    params(("id" = Uuid, Path)),
    responses((status = 200, body = SaleView), (status = 404), (status = 422)),
    security(("bearer" = []))
)]
async fn set_window(
    staff: Staff,
    id: Path<String>,
    body: JsonBody<NewWindow>,
    engine: Data<Engine>,
) -> Result<Json<SaleView>, Problem> {
    let window = body.0.into_window()?;
    let act = ProductAct::Window(WindowAct::Schedule, Some(window));
    let snapshot = change(&engine, product_id(&id)?, staff, act).await?;
    Ok(Json(SaleView::view(&snapshot, engine.now())))
}

/// Opens, pauses, resumes or closes the sale now.
#[utoipa::path(
    post, path = "/v1/admin/products/{id}/window/{act}", tag = "admin",
    params(("id" = Uuid, Path), ("act" = inline(WindowActWord), Path)),
    responses((status = 200, body = SaleView), (status = 404), (status = 409, description = "not_open, closed")),
    security(("bearer" = []))
)]
async fn change_window(
    staff: Staff,
    path: Path<(String, WindowActWord)>,
    engine: Data<Engine>,
) -> Result<Json<SaleView>, Problem> {
    let (id, act) = path.into_inner();
    let act = ProductAct::Window(act.into(), None);
    let snapshot = change(&engine, product_id(&id)?, staff, act).await?;
    Ok(Json(SaleView::view(&snapshot, engine.now())))
}

/// Where every unit of the product is, now.
#[utoipa::path(
    get, path = "/v1/admin/products/{id}/sale", tag = "admin",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = SaleView), (status = 404)), security(("bearer" = []))
)]
async fn sale(_: Staff, id: Path<String>, engine: Data<Engine>) -> Result<Json<SaleView>, Problem> {
    let snapshot = engine
        .board()
        .snapshot(product_id(&id)?)
        .ok_or_else(|| Problem::not_found("product"))?;
    Ok(Json(SaleView::view(&snapshot, engine.now())))
}

async fn change(
    engine: &Engine,
    product: ProductId,
    staff: Staff,
    act: ProductAct,
) -> Result<Box<Snapshot>, Problem> {
    Ok(engine
        .change_product(product, super::mark_of(staff), act)
        .await?)
}

fn listing_view(engine: &Engine, product: ProductId) -> Result<ProductView, Problem> {
    let listing = engine
        .board()
        .listing(product)
        .ok_or_else(|| Problem::not_found("product"))?;
    Ok(ProductView::view(&listing, engine.now()))
}

fn product_id(text: &str) -> Result<ProductId, Problem> {
    Ok(ProductId::new(ids::parse(text, "product")?))
}

impl From<WindowActWord> for WindowAct {
    fn from(word: WindowActWord) -> Self {
        match word {
            WindowActWord::Open => Self::Open,
            WindowActWord::Pause => Self::Pause,
            WindowActWord::Resume => Self::Resume,
            WindowActWord::Close => Self::Close,
        }
    }
}

impl NewProduct {
    fn into_act(self) -> Result<ProductAct, Problem> {
        let mut errors = Vec::new();
        let price = self.price.0.parse_price(&mut errors);
        check_length(&mut errors, "name", &self.name, 1..=NAME_CHARS_MAX);
        check_length(
            &mut errors,
            "description",
            &self.description,
            0..=DESCRIPTION_CHARS_MAX,
        );
        check_url(&mut errors, self.image_url.as_deref());
        if self.stock > Product::TOTAL_MAX {
            errors.push(FieldError {
                field: "stock".into(),
                detail: format!("{} is over {} units", self.stock, Product::TOTAL_MAX),
            });
        }
        let (Some(price), true) = (price, errors.is_empty()) else {
            return Err(Problem::invalid(errors));
        };
        Ok(ProductAct::Register {
            details: Details {
                name: self.name.into(),
                description: self.description.into(),
                image_url: self.image_url.map(Into::into),
                price,
            },
            restock_to: match self.restock_to {
                RestockWord::Available => RestockTo::Available,
                RestockWord::Withdrawn => RestockTo::Withdrawn,
            },
            total: self.stock,
        })
    }
}

impl ProductPatch {
    fn into_patch(self) -> Result<DetailsPatch, Problem> {
        let mut errors = Vec::new();
        let price = self
            .price
            .and_then(|Object(price)| price.parse_price(&mut errors));
        if let Some(name) = &self.name {
            check_length(&mut errors, "name", name, 1..=NAME_CHARS_MAX);
        }
        if let Some(description) = &self.description {
            check_length(
                &mut errors,
                "description",
                description,
                0..=DESCRIPTION_CHARS_MAX,
            );
        }
        check_url(
            &mut errors,
            self.image_url.as_ref().and_then(|it| it.as_deref()),
        );
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        Ok(DetailsPatch {
            name: self.name.map(Into::into),
            description: self.description.map(Into::into),
            image_url: self.image_url.map(|url| url.map(Into::into)),
            price,
        })
    }
}

impl NewWindow {
    fn into_window(self) -> Result<Window, Problem> {
        let mut errors = Vec::new();
        let opens_at = parse_time(&mut errors, "opens_at", &self.opens_at);
        let closes_at = self
            .closes_at
            .map(|text| parse_time(&mut errors, "closes_at", &text))
            .map(Option::unwrap_or_default);
        if let (Some(opens), Some(closes)) = (opens_at, closes_at)
            && closes <= opens
            && errors.is_empty()
        {
            errors.push(FieldError {
                field: "closes_at".into(),
                detail: "must be after opens_at".into(),
            });
        }
        if self.per_person_limit == Some(0) {
            errors.push(FieldError {
                field: "per_person_limit".into(),
                detail: "0 would let nobody buy; give 1 or more, or null".into(),
            });
        }
        let hold_seconds = self.hold_seconds.unwrap_or(300);
        if !(1..=HOLD_SECONDS_MAX).contains(&hold_seconds) {
            errors.push(FieldError {
                field: "hold_seconds".into(),
                detail: format!("{hold_seconds} is not between 1 and {HOLD_SECONDS_MAX}"),
            });
        }
        let (Some(opens_at), true) = (opens_at, errors.is_empty()) else {
            return Err(Problem::invalid(errors));
        };
        Ok(Window {
            opens_at,
            closes_at,
            paused: false,
            per_person_limit: self.per_person_limit,
            hold_ttl: Span::from_secs(hold_seconds),
        })
    }
}

fn parse_time(
    errors: &mut Vec<FieldError>,
    field: &str,
    text: &str,
) -> Option<crate::domain::Timestamp> {
    let time = parse_rfc3339(text);
    if time.is_none() {
        errors.push(FieldError {
            field: field.into(),
            detail: "not an RFC 3339 time such as 2026-11-22T12:00:00Z".into(),
        });
    }
    time
}

fn check_length(
    errors: &mut Vec<FieldError>,
    field: &str,
    text: &str,
    characters: std::ops::RangeInclusive<usize>,
) {
    let count = text.chars().count();
    if !characters.contains(&count) {
        errors.push(FieldError {
            field: field.into(),
            detail: format!(
                "{count} characters; give {} to {}",
                characters.start(),
                characters.end()
            ),
        });
    }
}

fn check_url(errors: &mut Vec<FieldError>, url: Option<&str>) {
    let Some(url) = url else { return };
    let web = url.starts_with("https://") || url.starts_with("http://") || url.starts_with('/');
    if !web || url.len() > URL_CHARS_MAX || url.chars().any(char::is_control) {
        errors.push(FieldError {
            field: "image_url".into(),
            detail: format!("not an http(s) URL or path of at most {URL_CHARS_MAX} characters"),
        });
    }
}

/// Tells a field that is `null` from one that is left out.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}
