//! Waiting for a server that still works on what it has answered.
//!
//! Layby's database follows behind the sale. A peer that is measured while it does would be measured beside somebody
//! else's work, so a turn begins only when the database has followed to the end.

use std::time::Duration;

use serde::Deserialize;

use crate::clock::Clock;
use crate::http::{Limits, Pool, Request};
use crate::server::Server;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looks in a row that show the same record: nothing is left to do.
const SAME_LOOKS: u32 = 4;
const LOOKS_MAX: u32 = 1_200;
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Readiness {
    projection: Projection,
}

#[derive(Deserialize)]
struct Projection {
    position: u64,
}

/// Returns when the database has not moved for a while, or after two minutes. A server that does not tell is not
/// waited for.
pub(crate) async fn settle(server: &Server) {
    let limits = Limits {
        connections_max: 1,
        answer_timeout: LIMIT,
        give_up_after: LIMIT,
    };
    let pool = Pool::new(server.address.clone(), Clock::start(), limits);
    let request = Request::get(&server.address, "/readyz", &server.admin_token);
    let (mut last, mut same) = (None, 0);
    for _ in 0..LOOKS_MAX {
        let Ok(reply) = pool.ask(&request).await else {
            return;
        };
        let Ok(readiness) = serde_json::from_slice::<Readiness>(&reply.body) else {
            return;
        };
        let position = Some(readiness.projection.position);
        same = if position == last { same + 1 } else { 0 };
        if same >= SAME_LOOKS {
            return;
        }
        last = position;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
