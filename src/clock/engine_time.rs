//! Engine time, as all threads read it.
//!
//! A line is published whole and seldom changes (see `discipline.rs`), so whoever asks reads it without a lock and adds what
//! the monotonic clock shows. Only the engine stamps, and only the engine looks at the wall clock, twice a second: a look
//! that comes late changes nothing but when engine time begins to follow.
//!
//! **Invariant:** nobody is told a time before the last stamp.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::Clock;
use super::discipline::{Discipline, Line, Look, Reading};
use crate::domain::{Span, Timestamp};

/// Two clocks that were read further apart are not compared: the thread was held up in between.
const READ_WITHIN: Span = Span::from_millis(10);

#[derive(Debug)]
pub(crate) struct EngineTime {
    clock: Arc<dyn Clock>,
    line: ArcSwap<Line>,
    /// The last stamp, in microseconds.
    stamped_us: AtomicU64,
    discipline: Mutex<Discipline>,
    /// As of the last look.
    offset_us: AtomicI64,
    is_in_step: AtomicBool,
    jumps: AtomicU64,
}

/// How the wall clock stands to engine time, as of a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallClock {
    /// How far it is ahead of engine time, in microseconds.
    pub offset_us: i64,
    /// It is near enough for nobody to notice.
    pub is_in_step: bool,
    /// How often it has jumped by more than a second since the start.
    pub jumps: u64,
}

impl EngineTime {
    /// Begins with the wall clock, or with `latest` if that is later: the last stamp that is known.
    pub(crate) fn start(clock: Arc<dyn Clock>, latest: Timestamp) -> Self {
        let reading = Reading {
            monotonic: clock.monotonic(),
            wall: clock.now(),
        };
        let discipline = Discipline::start(reading, latest);
        let time = Self {
            clock,
            line: ArcSwap::from_pointee(discipline.line()),
            stamped_us: AtomicU64::new(latest.as_micros()),
            discipline: Mutex::new(discipline),
            offset_us: AtomicI64::new(0),
            is_in_step: AtomicBool::new(true),
            jumps: AtomicU64::new(0),
        };
        time.take_in(reading);
        time
    }

    /// What is stamped next has happened after everything that was stamped before.
    pub(crate) fn stamp(&self) -> Timestamp {
        let now = self.now();
        self.stamped_us.store(now.as_micros(), Ordering::Relaxed);
        now
    }

    /// Looks at the wall clock, and follows it from now on.
    pub(crate) fn look(&self) {
        let before = self.clock.monotonic();
        let wall = self.clock.now();
        let monotonic = self.clock.monotonic();
        let between = monotonic.as_micros().saturating_sub(before.as_micros());
        if between <= READ_WITHIN.as_micros() {
            self.take_in(Reading { monotonic, wall });
        }
    }

    pub(crate) fn wall_clock(&self) -> WallClock {
        WallClock {
            offset_us: self.offset_us.load(Ordering::Relaxed),
            is_in_step: self.is_in_step.load(Ordering::Relaxed),
            jumps: self.jumps.load(Ordering::Relaxed),
        }
    }

    fn take_in(&self, reading: Reading) {
        let look = self.discipline.lock().look(reading);
        if let Some(line) = look.turned {
            self.line.store(Arc::new(line));
        }
        self.offset_us.store(look.offset_us, Ordering::Relaxed);
        self.jumps
            .fetch_add(u64::from(look.has_jumped), Ordering::Relaxed);
        let was_in_step = self.is_in_step.swap(look.is_in_step, Ordering::Relaxed);
        if was_in_step != look.is_in_step {
            tell(look);
        }
    }
}

/// Once when the wall clock is out of step, and once when it is back.
#[expect(
    clippy::cast_precision_loss,
    reason = "seconds for people, with one digit behind the point"
)]
fn tell(look: Look) {
    let secs = look.offset_us.unsigned_abs() as f64 / 1_000_000.0;
    let way = if look.offset_us > 0 {
        "ahead of"
    } else {
        "behind"
    };
    let offset_ms = look.offset_us / 1_000;
    if look.is_in_step {
        tracing::info!(
            offset_ms,
            "the wall clock is in step with engine time again"
        );
    } else {
        tracing::warn!(
            offset_ms,
            "the wall clock is {secs:.1} s {way} engine time; holds and sales go on by the monotonic clock, and engine time \
             follows the wall clock slowly"
        );
    }
}

/// The clock for whatever must not end early or twice because somebody sets the wall clock.
impl Clock for EngineTime {
    fn now(&self) -> Timestamp {
        let line = self.line.load();
        let stamped = Timestamp::from_micros(self.stamped_us.load(Ordering::Relaxed));
        line.at(self.clock.monotonic()).max(stamped)
    }

    fn monotonic(&self) -> Span {
        self.clock.monotonic()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const BEGIN: Timestamp = Timestamp::from_micros(1_764_000_000_000_000);
    const HOUR: Span = Span::from_secs(3_600);

    fn started(latest: Timestamp) -> (ManualClock, EngineTime) {
        let clock = ManualClock::at(BEGIN);
        let time = EngineTime::start(Arc::new(clock.clone()), latest);
        (clock, time)
    }

    #[test]
    fn it_runs_with_the_monotonic_clock_and_does_not_see_the_wall_clock_jump() {
        let (clock, time) = started(Timestamp::ZERO);
        assert_eq!(time.stamp(), BEGIN);
        for wall in [BEGIN.plus(HOUR), Timestamp::ZERO, BEGIN] {
            clock.set(wall);
            time.look();
        }
        clock.advance(Span::from_secs(5));
        time.look();
        assert_eq!(time.stamp(), BEGIN.plus(Span::from_secs(5)));
        assert_eq!(time.wall_clock().jumps, 3);
    }

    #[test]
    fn after_a_start_behind_the_last_stamp_it_runs_and_says_how_far_it_is_ahead() {
        let latest = BEGIN.plus(HOUR);
        let (clock, time) = started(latest);
        let wall_clock = WallClock {
            offset_us: -3_600_000_000,
            is_in_step: false,
            jumps: 0,
        };
        assert_eq!(time.wall_clock(), wall_clock);
        assert_eq!(time.stamp(), latest);
        clock.advance(Span::from_secs(10));
        assert_eq!(time.stamp(), latest.plus(Span::from_micros_u64(9_995_000)));
    }

    #[test]
    fn a_thread_that_was_held_up_between_two_clocks_does_not_compare_them() {
        /// Every look at the wall clock takes a minute.
        #[derive(Debug)]
        struct Slow(ManualClock);
        impl Clock for Slow {
            fn now(&self) -> Timestamp {
                let now = self.0.now();
                self.0.advance(Span::from_secs(60));
                now
            }
            fn monotonic(&self) -> Span {
                self.0.monotonic()
            }
        }
        let time = EngineTime::start(Arc::new(Slow(ManualClock::at(BEGIN))), Timestamp::ZERO);
        time.look();
        assert!(time.wall_clock().is_in_step, "{:?}", time.wall_clock());
    }

    #[test]
    fn nobody_is_told_a_time_before_the_last_stamp() {
        const STAMPS: u64 = 20_000;
        let (clock, time) = started(Timestamp::ZERO);
        let last = AtomicU64::new(0);
        let told = AtomicU64::new(0);
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while last.load(Ordering::Acquire) < u64::MAX {
                        let stamped = last.load(Ordering::Acquire);
                        let now = time.now().as_micros();
                        assert!(now >= stamped || stamped == u64::MAX, "{now} < {stamped}");
                        told.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            // On a busy machine the stamps would be over before a reader had its first turn.
            while told.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            let mut before = Timestamp::ZERO;
            for stamp in 0..STAMPS {
                clock.advance(Span::from_micros_u64(stamp % 1_000));
                if stamp % 7 == 0 {
                    let far = Span::from_micros_u64(stamp * 997);
                    clock.set(if stamp % 2 == 0 {
                        BEGIN.plus(far)
                    } else {
                        BEGIN
                    });
                    time.look();
                }
                let now = time.stamp();
                assert!(now >= before, "time went back");
                before = now;
                last.store(now.as_micros(), Ordering::Release);
            }
            last.store(u64::MAX, Ordering::Release);
        });
        assert!(told.into_inner() > 0);
    }
}
