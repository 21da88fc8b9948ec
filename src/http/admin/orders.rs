//! `/v1/admin/orders`: the orders of the shop as SQL has them, a moment behind the engine.

use actix_web::web::{self, Data, Json, Query};
use serde::Deserialize;
use uuid::Uuid;

use crate::domain::{OrderId, ProductId};
use crate::http::extract::Staff;
use crate::http::method_not_allowed;
use crate::http::problem::Problem;
use crate::http::wire::{OrderView, Page, PageQuery};
use crate::persistence::database::Database;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct OrdersQuery {
    /// Only orders with a line of this product.
    product_id: Option<Uuid>,
    /// 1 to 100.
    #[serde(default = "OrdersQuery::limit_default")]
    limit: u32,
    /// The `next` of the page before.
    after: Option<Uuid>,
}

impl OrdersQuery {
    const fn limit_default() -> u32 {
        20
    }
}

pub fn configure(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/v1/admin/orders")
            .route(crate::http::get_or_head().to(list))
            .default_service(method_not_allowed("GET, HEAD")),
    );
}

/// Orders of all buyers, newest first.
#[utoipa::path(
    get, path = "/v1/admin/orders", tag = "admin", params(OrdersQuery),
    responses((status = 200, body = Page<OrderView>)), security(("bearer" = []))
)]
pub async fn list(
    _: Staff,
    query: Query<OrdersQuery>,
    database: Data<Database>,
) -> Result<Json<Page<OrderView>>, Problem> {
    let OrdersQuery {
        product_id,
        limit,
        after,
    } = query.into_inner();
    let page = PageQuery { limit, after }.checked()?;
    let product = product_id.map(|id| ProductId::new(id.as_u128()));
    let after = page.after.map(|id| OrderId::new(id.as_u128()));
    let orders = database
        .orders_for_admin(product, after, page.limit + 1)
        .await
        .map_err(|error| Problem::unavailable(&error))?;
    let views = orders.iter().map(OrderView::view).collect();
    Ok(Json(Page::cut(views, page.limit, |view| view.id)))
}
