//! The HTTP surface. A handler parses, makes one call, shapes the answer.
//!
//! | file | what lives there |
//! | --- | --- |
//! | one a noun | handlers with the attributes that declare their routes, and the bodies they take and give |
//! | `routes` | what is made of the declarations: routing, 405, the parts of the OpenAPI document |
//! | `problem/` | every refusal that can be answered |
//! | `extract`, `idempotency/` | who asks, with what body, under which key |
//! | `wire`, `words`, `ids` | how values are spelled |
//! | `server` | workers and their limits |
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
mod routes;
mod server;
pub(crate) mod waitlist;
pub(crate) mod webhooks;
pub(crate) mod wire;
pub(crate) mod wishlist;
mod words;

use actix_web::middleware::DefaultHeaders;
use actix_web::web;

pub(crate) use server::{HttpOptions, HttpParts, Serving, serve};

use problem::Problem;

/// Every route.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(
            web::QueryConfig::default()
                .error_handler(|error, _| Problem::field("query", error.to_string()).into()),
        )
        .app_data(
            web::PathConfig::default().error_handler(|_, _| Problem::not_found("path").into()),
        )
        .configure(routes::configure)
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

async fn no_such_route() -> Result<&'static str, Problem> {
    Err(Problem::not_found("path"))
}
