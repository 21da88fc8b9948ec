//! The HTTP surface. A handler parses, makes one call, shapes the answer.
//!
//! **Invariant:** nothing here knows where the engine runs; it is spoken to through [`crate::actors::Engine`] alone.

pub(crate) mod addresses;
pub(crate) mod admin;
pub(crate) mod auth;
pub(crate) mod client_address;
pub(crate) mod docs;
pub(crate) mod extract;
pub(crate) mod health;
pub(crate) mod idempotency;
mod ids;
pub(crate) mod live;
pub(crate) mod me;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod orders;
pub(crate) mod payments;
pub(crate) mod problem;
pub(crate) mod products;
pub(crate) mod returns;
mod server;
pub(crate) mod waitlist;
pub(crate) mod webhooks;
pub(crate) mod wire;
pub(crate) mod wishlist;
mod words;

use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::DefaultHeaders;
use actix_web::{HttpRequest, Resource, ResponseError, Route, guard, web};

pub(crate) use server::{HttpOptions, HttpParts, Serving, serve};

use problem::{Code, Problem};

/// Every route.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(
            web::QueryConfig::default()
                .error_handler(|error, _| Problem::field("query", error.to_string()).into()),
        )
        // Paths are tried in this order: those of a sale come first.
        .configure(orders::configure)
        .configure(payments::configure)
        .configure(returns::configure)
        .configure(products::configure)
        .configure(waitlist::configure)
        .configure(live::configure)
        .configure(auth::configure)
        .configure(me::configure)
        .configure(addresses::configure)
        .configure(wishlist::configure)
        .configure(admin::configure)
        .configure(webhooks::configure)
        .configure(health::configure)
        .configure(metrics::configure)
        .configure(docs::configure)
        .configure(openapi::configure)
        .default_service(web::route().to(no_such_route));
}

/// Headers of every answer, errors included.
pub fn default_headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add(("X-Content-Type-Options", "nosniff"))
        .add((
            "Content-Security-Policy",
            "default-src 'none'; frame-ancestors 'none'",
        ))
        .add(("Referrer-Policy", "no-referrer"))
        .add(("Cache-Control", "no-store"))
        // Heeded only behind a proxy that speaks TLS, which is where it belongs.
        .add((
            "Strict-Transport-Security",
            "max-age=31536000; includeSubDomains",
        ))
}

/// Reading, or asking what reading would answer.
fn get_or_head() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A resource that takes nothing but POST.
fn post(path: &'static str) -> Resource {
    web::resource(path).default_service(method_not_allowed("POST"))
}

/// Bodies with passwords and the like show nothing of themselves.
macro_rules! hide_in_logs {
    ($($name:ident),+) => {
        $(
            impl std::fmt::Debug for $name {
                fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    out.write_str(stringify!($name))
                }
            }
        )+
    };
}
pub(crate) use hide_in_logs;

/// For every resource: a known path, another method than those in `allow`.
fn method_not_allowed(allow: &'static str) -> Route {
    web::route().to(move |request: HttpRequest| async move {
        let problem = Problem::of(
            Code::MethodNotAllowed,
            format!(
                "{} is not for this path; it takes {allow}",
                request.method()
            ),
        );
        let mut response = problem.error_response();
        let allow = HeaderValue::from_static(allow);
        response.headers_mut().insert(header::ALLOW, allow);
        response
    })
}

async fn no_such_route() -> Result<&'static str, Problem> {
    Err(Problem::not_found("path"))
}
