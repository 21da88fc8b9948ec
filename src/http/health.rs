//! `/healthz`, `/readyz`: for operators and their tools.

use std::sync::Arc;

use actix_web::web::{Data, Json};
use actix_web::{HttpResponse, Responder};
use serde::Serialize;
use utoipa::ToSchema;

use super::routes::{Declaration, routes};
use crate::actors::Engine;
use crate::clock::WallClock;

/// How far SQL has followed; shared with those who follow.
pub(crate) type Lag = Arc<dyn Fn() -> Health + Send + Sync>;

/// The journal, and everybody who follows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Health {
    /// Segments of the journal that nobody has read since the start.
    pub(crate) unchecked_segments: usize,
    pub(crate) projection: FollowerHealth,
    /// `None`: letters about orders are turned off.
    pub(crate) notices: Option<FollowerHealth>,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct FollowerHealth {
    /// Records of the journal that SQL has.
    pub(crate) position: u64,
    /// The database answered the last time it was asked.
    pub(crate) connected: bool,
    /// Why it does not follow and will not by itself: `other_journal`, `other_past`, `database_ahead`, `records_gone` or `ended`.
    pub(crate) problem: Option<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ready`; `degraded`: lives, but SQL is behind or the disk is full; `not_ready`: sells, but somebody has to put the database right, see `problem`;
    /// `failed`.
    status: &'static str,
    /// `ok`; `full`: takes no new holds for want of room on its disk; `failed`.
    journal: &'static str,
    /// The rows in SQL.
    projection: FollowerHealth,
    /// Letters about orders, unless they are turned off.
    notices: Option<FollowerHealth>,
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

impl Health {
    /// The rows are what the shop is read from. Letters that have ended are missed by their readers, not by buyers at the
    /// till; letters that do not fit the journal say that the database does not.
    fn needs_a_person(&self) -> bool {
        let letters = self.notices.and_then(|it| it.problem);
        self.projection.problem.is_some() || letters.is_some_and(|problem| problem != "ended")
    }

    fn is_connected(&self) -> bool {
        self.projection.connected && self.notices.is_none_or(|it| it.connected)
    }
}

pub(crate) const ROUTES: &[Declaration] = routes![healthz, readyz];

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200)))]
async fn healthz() -> impl Responder {
    Json(serde_json::json!({"status": "ok"}))
}

/// Orders can be taken, and will be found again. 503 once the journal has failed, or when the database does not belong to it.
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness))
)]
async fn readyz(engine: Data<Engine>, lag: Data<Lag>) -> HttpResponse {
    let health = lag();
    let link = engine.link();
    let failed = link.has_failed();
    let status = match failed {
        true => "failed",
        false if health.needs_a_person() => "not_ready",
        false if health.is_connected() && link.has_room() => "ready",
        false => "degraded",
    };
    let journal = match failed {
        true => "failed",
        false if link.has_room() => "ok",
        false => "full",
    };
    let readiness = Readiness {
        status,
        journal,
        projection: health.projection,
        notices: health.notices,
        clock: link.wall_clock().into(),
        actor_crashes: link
            .counters()
            .actor_crashes
            .load(std::sync::atomic::Ordering::Relaxed),
    };
    let mut response = match status {
        "ready" | "degraded" => HttpResponse::Ok(),
        _ => HttpResponse::ServiceUnavailable(),
    };
    response.json(readiness)
}
