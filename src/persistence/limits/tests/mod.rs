//! Limits in process, limits in Redis, and one that changes over to the other. Needs a `redis-server` in PATH.

mod conformance;
mod in_memory;
mod with_redis;

#[path = "../../../../tests/layby/support/redis.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use super::{Limiter, Rule};
use crate::clock::{ManualClock, SystemClock};
use crate::domain::{Span, Timestamp};
use server::Redis;

const MINUTE: Duration = Duration::from_secs(60);
/// Three at once, then one a minute: so long that no machine is too slow for the test.
const THREE: Rule = Rule {
    name: "three",
    burst: 3,
    refill: MINUTE,
};
const START: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);
const PATIENCE: Duration = Duration::from_secs(20);

fn key(number: u128) -> [u8; 16] {
    // Spread like the hashes that keys are.
    number
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        .to_be_bytes()
}

fn span(length: Duration) -> Span {
    Span::from_micros_u64(length.as_micros() as u64)
}

fn in_memory(clock: &ManualClock) -> Limiter {
    Limiter::open(None, Arc::new(clock.clone())).expect("no address, no error")
}

/// Connected.
async fn in_redis(server: &Redis) -> Limiter {
    let limiter = Limiter::open(Some(&server.url()), Arc::new(SystemClock)).expect("an address");
    assert!(limiter.wait_for_redis(PATIENCE).await);
    limiter
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}
