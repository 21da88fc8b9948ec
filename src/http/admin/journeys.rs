//! `/v1/admin/orders/{id}/journey` and `/v1/admin/products/{id}/journey`: what the journal proves about one order, and
//! about every unit of a product.

use actix_web::web::{Data, Json, Path, Query};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::actors::Engine;
use crate::actors::message::Viewer;
use crate::domain::{OrderId, Posting, ProductId};
use crate::http::extract::Staff;
use crate::http::ids;
use crate::http::problem::Problem;
use crate::http::routes::{Declaration, routes};
use crate::http::words::{bucket_word, rfc3339, uuid_of};
use crate::persistence::journey::{Journeys, Movement, Step, Units};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct MovementsQuery {
    /// 1 to 1,000.
    #[serde(default = "MovementsQuery::limit_default")]
    limit: u32,
    /// The `next` of the page before: the position of its last movement.
    #[serde(default)]
    after: u64,
}

/// The records about an order, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrderJourney {
    order_id: Uuid,
    items: Vec<StepView>,
    /// The record with which reading began.
    from_position: u64,
    /// `false`: older records of the order are no longer kept.
    complete: bool,
}

/// The movements of a product's units, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProductJourney {
    product_id: Uuid,
    items: Vec<MovementView>,
    /// Give it as `after` to get the next page; `null` at the end.
    next: Option<String>,
    /// The record with which reading began.
    from_position: u64,
    /// `false`: older movements are no longer kept; the counts include them all the same.
    complete: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepView {
    /// The number of the record in the journal.
    position: u64,
    at: String,
    #[schema(example = "payment_captured")]
    what: &'static str,
    /// The order whose record it is, if it is one of an order.
    order_id: Option<Uuid>,
    /// Who of the shop did it.
    admin: Option<Uuid>,
    request_id: Option<Uuid>,
    postings: Vec<PostingView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MovementView {
    #[serde(flatten)]
    step: StepView,
    /// After the movement.
    units: UnitsView,
}

/// Units that went from one bucket to another; new supply comes from `outside`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PostingView {
    product_id: Uuid,
    #[schema(example = "held")]
    from: &'static str,
    #[schema(example = "sold")]
    to: &'static str,
    units: u64,
}

/// Where every unit of a product is: `total` is the sum of the others.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct UnitsView {
    total: i64,
    available: i64,
    held: i64,
    offered: i64,
    sold: i64,
    returning: i64,
    withdrawn: i64,
}

impl MovementsQuery {
    const LIMIT_MAX: u32 = 1_000;

    const fn limit_default() -> u32 {
        100
    }

    fn checked_limit(&self) -> Result<usize, Problem> {
        match usize::try_from(self.limit) {
            Ok(limit) if (1..=Self::LIMIT_MAX).contains(&self.limit) => Ok(limit),
            _ => Err(Problem::field(
                "limit",
                format!("{} is not between 1 and {}", self.limit, Self::LIMIT_MAX),
            )),
        }
    }
}

pub(crate) const ROUTES: &[Declaration] = routes![of_order, of_product];

/// Every record about an order, with the units that it moved.
#[utoipa::path(
    get, path = "/v1/admin/orders/{id}/journey", tag = "admin", params(("id" = Uuid, Path)),
    responses((status = 200, body = OrderJourney), (status = 404), (status = 503, description = "busy")),
    security(("bearer" = []))
)]
async fn of_order(
    _: Staff,
    id: Path<String>,
    engine: Data<Engine>,
    journeys: Data<Journeys>,
) -> Result<Json<OrderJourney>, Problem> {
    let id = OrderId::new(ids::parse(&id, "order")?);
    let order = engine.order(id, Viewer::Shop).await?;
    let journey = journeys.of_order(&order).await?;
    Ok(Json(OrderJourney {
        order_id: uuid_of(id.get()),
        items: journey.steps.iter().map(StepView::view).collect(),
        from_position: journey.from_position,
        complete: journey.complete,
    }))
}

/// Every movement of a product's units, with where all of them are after it.
#[utoipa::path(
    get, path = "/v1/admin/products/{id}/journey", tag = "admin", params(("id" = Uuid, Path), MovementsQuery),
    responses((status = 200, body = ProductJourney), (status = 404), (status = 503, description = "busy")),
    security(("bearer" = []))
)]
async fn of_product(
    _: Staff,
    id: Path<String>,
    query: Query<MovementsQuery>,
    engine: Data<Engine>,
    journeys: Data<Journeys>,
) -> Result<Json<ProductJourney>, Problem> {
    let id = ProductId::new(ids::parse(&id, "product")?);
    if engine.board().snapshot(id).is_none() {
        return Err(Problem::not_found("product"));
    }
    let limit = query.checked_limit()?;
    let journey = journeys.of_product(id, query.after, limit).await?;
    let last = journey.steps.last().map(|it| it.step.position.to_string());
    Ok(Json(ProductJourney {
        product_id: uuid_of(id.get()),
        items: journey.steps.iter().map(MovementView::view).collect(),
        next: last.filter(|_| journey.more),
        from_position: journey.from_position,
        complete: journey.complete,
    }))
}

impl StepView {
    fn view(step: &Step) -> Self {
        Self {
            position: step.position,
            at: rfc3339(step.at),
            what: step.act,
            order_id: step.order.map(|id| uuid_of(id.get())),
            admin: step.mark.map(|mark| uuid_of(mark.admin.get())),
            request_id: step.mark.map(|mark| uuid_of(mark.request.get())),
            postings: step.postings.iter().map(PostingView::view).collect(),
        }
    }
}

impl MovementView {
    fn view(movement: &Movement) -> Self {
        Self {
            step: StepView::view(&movement.step),
            units: UnitsView::view(&movement.units),
        }
    }
}

impl PostingView {
    fn view(posting: &Posting) -> Self {
        Self {
            product_id: uuid_of(posting.product.get()),
            from: bucket_word(posting.from),
            to: bucket_word(posting.to),
            units: posting.units,
        }
    }
}

impl UnitsView {
    fn view(units: &Units) -> Self {
        let [available, held, offered, sold, returning, withdrawn] = units.counts();
        Self {
            total: units.counts().iter().sum(),
            available,
            held,
            offered,
            sold,
            returning,
            withdrawn,
        }
    }
}
