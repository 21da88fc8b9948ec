//! `/v1/products`: what is on sale, with live availability, for everybody.

use actix_web::web::{Data, Json, Path, Query};

use super::ids;
use super::problem::Problem;
use super::routes::{Declaration, routes};
use super::wire::{Page, PageQuery, ProductView};
use crate::actors::Engine;
use crate::domain::ProductId;

pub(crate) const ROUTES: &[Declaration] = routes![list, read];

/// Products, oldest first.
#[utoipa::path(
    get, path = "/v1/products", tag = "products", params(PageQuery),
    responses((status = 200, body = Page<ProductView>))
)]
async fn list(
    page: Query<PageQuery>,
    engine: Data<Engine>,
) -> Result<Json<Page<ProductView>>, Problem> {
    let page = page.into_inner().checked()?;
    let after = page.after.map(|id| ProductId::new(id.as_u128()));
    let now = engine.now();
    let views = engine
        .board()
        .listings(after, page.limit + 1)
        .iter()
        .map(|listing| ProductView::view(listing, now))
        .collect();
    Ok(Json(Page::cut(views, page.limit, |view| view.id)))
}

/// One product.
#[utoipa::path(
    get, path = "/v1/products/{id}", tag = "products",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = ProductView), (status = 404))
)]
async fn read(id: Path<String>, engine: Data<Engine>) -> Result<Json<ProductView>, Problem> {
    let id = ProductId::new(ids::parse(&id, "product")?);
    let listing = engine
        .board()
        .listing(id)
        .ok_or_else(|| Problem::not_found("product"))?;
    Ok(Json(ProductView::view(&listing, engine.now())))
}
