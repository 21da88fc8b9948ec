//! `/healthz`, `/readyz`: for operators and their tools.

use std::sync::Arc;

use actix_web::web::{self, Data, Json};
use actix_web::{HttpResponse, Responder};
use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::Engine;
use crate::clock::WallClock;

/// How far SQL has followed; shared with the projection.
pub(crate) type Lag = Arc<dyn Fn() -> ProjectionHealth + Send + Sync>;

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct ProjectionHealth {
    /// Records of the journal that SQL has.
    pub(crate) position: u64,
    /// The database answered the last time it was asked.
    pub(crate) connected: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ready`, `degraded` (sells, but SQL is behind) or `failed`.
    status: &'static str,
    journal: &'static str,
    projection: ProjectionHealth,
    clock: ClockHealth,
    actor_crashes: u64,
}

/// How the wall clock of the machine stands to engine time, by which holds end and sales open.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct ClockHealth {
    /// How far the wall clock is ahead of engine time; negative: behind.
    offset_ms: i64,
    /// No further apart than a second. Out of step it is sold all the same.
    in_step: bool,
}

impl From<WallClock> for ClockHealth {
    fn from(clock: WallClock) -> Self {
        Self {
            offset_ms: clock.offset_us / 1_000,
            in_step: clock.is_in_step,
        }
    }
}

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/healthz")
                .route(super::get_or_head().to(healthz))
                .default_service(super::method_not_allowed("GET, HEAD")),
        )
        .service(
            web::resource("/readyz")
                .route(super::get_or_head().to(readyz))
                .default_service(super::method_not_allowed("GET, HEAD")),
        );
}

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200)))]
pub(crate) async fn healthz() -> impl Responder {
    Json(serde_json::json!({"status": "ok"}))
}

/// Orders can be taken. 503 once the journal has failed.
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness))
)]
pub(crate) async fn readyz(engine: Data<Engine>, lag: Data<Lag>) -> HttpResponse {
    let projection = lag();
    let link = engine.link();
    let failed = link.has_failed();
    let readiness = Readiness {
        status: match (failed, projection.connected) {
            (true, _) => "failed",
            (false, true) => "ready",
            (false, false) => "degraded",
        },
        journal: if failed { "failed" } else { "ok" },
        projection,
        clock: link.wall_clock().into(),
        actor_crashes: link
            .counters()
            .actor_crashes
            .load(std::sync::atomic::Ordering::Relaxed),
    };
    let mut response = if failed {
        HttpResponse::ServiceUnavailable()
    } else {
        HttpResponse::Ok()
    };
    response.json(readiness)
}
