//! The one place where time is read. Everything else is told what time it is.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `mod.rs` | the clocks of the system |
//! | `manual.rs` | one that a test moves by hand |
//! | `discipline.rs` | how engine time is led after a wall clock that may jump; pure |
//! | `engine_time.rs` | engine time, read by every thread and led by the engine's |

mod discipline;
mod engine_time;
#[cfg(any(test, feature = "test-doubles"))]
mod manual;

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, DynamicClockId, clock_gettime, clock_gettime_dynamic};

use crate::domain::{Span, Timestamp};

pub(crate) use engine_time::EngineTime;
pub use engine_time::WallClock;
#[cfg(any(test, feature = "test-doubles"))]
pub use manual::ManualClock;

/// What time it is, and how much of it has passed.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time in UTC. A wall clock may jump, in both directions.
    fn now(&self) -> Timestamp;

    /// The time since some instant in the past. It never goes back, does not notice when somebody sets the wall clock, and
    /// goes on while the machine sleeps.
    fn monotonic(&self) -> Span;
}

/// The wall clock of the machine, and its monotonic clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }

    /// `CLOCK_BOOTTIME`; where there is none `CLOCK_MONOTONIC`, which stands still while the machine sleeps.
    fn monotonic(&self) -> Span {
        let read = clock_gettime_dynamic(DynamicClockId::Boottime)
            .unwrap_or_else(|_absent| clock_gettime(ClockId::Monotonic));
        let [secs, nanos] =
            [read.tv_sec, read.tv_nsec].map(|it| u64::try_from(it).unwrap_or_default());
        Span::from_micros_u64(secs.saturating_mul(1_000_000) + nanos / 1_000)
    }
}
