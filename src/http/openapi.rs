//! The OpenAPI 3.1 document, gathered from the routes, and the route that serves it.

use actix_web::Responder;
use actix_web::web::{self, Json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Layby",
        description = "A reservation engine for flash sales. Errors are `application/problem+json` with a stable `code`."
    ),
    modifiers(&Bearer),
    paths(
        super::auth::username_available,
        super::auth::sign_up,
        super::auth::verify_email,
        super::auth::resend_code,
        super::auth::sign_in,
        super::auth::refresh,
        super::auth::sign_out,
        super::auth::forgot_password,
        super::auth::reset_password,
        super::me::read,
        super::me::edit,
        super::me::change_password,
        super::me::erase,
        super::live::routes::events,
        super::addresses::list,
        super::addresses::create,
        super::addresses::edit,
        super::addresses::remove,
        super::wishlist::list,
        super::wishlist::put,
        super::wishlist::remove,
        super::wishlist::checkout,
        super::orders::create,
        super::orders::list,
        super::orders::read,
        super::orders::cancel,
        super::returns::request,
        super::payments::create,
        super::products::list,
        super::products::read,
        super::waitlist::join,
        super::waitlist::leave,
        super::waitlist::list,
        super::live::routes::product,
        super::admin::products::create,
        super::admin::products::edit,
        super::admin::products::delete,
        super::admin::products::set_stock,
        super::admin::products::set_window,
        super::admin::products::change_window,
        super::admin::products::sale,
        super::live::routes::sale,
        super::admin::export::sale_orders,
        super::admin::journeys::of_product,
        super::admin::orders::list,
        super::admin::orders::read,
        super::admin::orders::ship,
        super::admin::orders::deliver,
        super::admin::orders::accept_return,
        super::admin::journeys::of_order,
        super::admin::users::role,
        super::admin::users::set_role,
        super::admin::users::suspend,
        super::admin::users::reinstate,
        super::admin::audit::list,
        super::webhooks::receive,
        super::health::healthz,
        super::health::readyz,
        super::metrics::metrics,
        super::docs::docs,
        openapi,
    )
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/openapi.json")
            .route(super::get_or_head().to(openapi))
            .default_service(super::method_not_allowed("GET, HEAD")),
    );
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses((status = 200)))]
pub(crate) async fn openapi() -> impl Responder {
    Json(document())
}

pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
