//! The time of a run: microseconds since its start, on a clock that never jumps.
//!
//! The only place that asks the system for the time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep_until};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    start_wall: Timestamp,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            start_wall: Timestamp::now(),
        }
    }

    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) async fn sleep_until_us(&self, at_us: u64) {
        sleep_until(self.start + Duration::from_micros(at_us)).await;
    }

    /// The wall time of a moment of this run, for dates that go into a request.
    pub(crate) fn wall(&self, at_us: u64) -> Timestamp {
        let offset = i64::try_from(at_us).unwrap_or(i64::MAX);
        self.start_wall
            .saturating_add(SignedDuration::from_micros(offset))
            .unwrap_or(Timestamp::MAX)
    }

    /// When a wall time falls in this run; negative for one before its start.
    pub(crate) fn run_us_of(&self, at: Timestamp) -> i64 {
        i64::try_from(at.duration_since(self.start_wall).as_micros()).unwrap_or(i64::MAX)
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_and_run_time_convert_both_ways() {
        let clock = Clock::start();
        assert_eq!(clock.run_us_of(clock.wall(1_500_000)), 1_500_000);
        let before = clock.wall(0) - SignedDuration::from_secs(2);
        assert_eq!(clock.run_us_of(before), -2_000_000);
    }
}
