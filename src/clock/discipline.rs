//! How engine time follows a wall clock that may jump, as a state machine that is told what the clocks show.
//!
//! Engine time runs with the monotonic clock. From one look at the wall clock to the next it is a straight [`Line`] that is
//! a little steeper or flatter than the monotonic clock until what it lacks is made up for. A line ends its correction by
//! itself, at exactly the amount that it was made for: whoever does not look for an hour finds engine time where it
//! should be and not beyond.
//!
//! **Invariant:** engine time never goes back, and a look never moves it: a new line begins where the old one is.
//!
//! Deliberately absent: clocks, and a guess at how well they run. The kernel slews `CLOCK_BOOTTIME` along with the wall
//! clock, so that the two come apart only if somebody sets the wall clock.

use crate::domain::{Span, Timestamp};

/// How fast engine time is led in parts in a million: as fast as NTP slews a clock at most.
const GENTLE_PPM: u64 = 500;
/// After a wall clock far ahead that has proved steady: holds of five minutes end a second and a half earlier.
const FORWARD_PPM: u64 = 5_000;
/// Back to a wall clock far behind that has proved steady. A restart takes over a wall clock that is ahead and never
/// one that is behind, and a hold that lasts longer breaks no promise to its buyer.
const BACKWARD_PPM: u64 = 50_000;

/// Out of step: further apart than this.
const OUT_OF_STEP_US: u64 = 1_000_000;
/// In step again: no further apart than this. Less, so that a clock at the limit is not told about for ever.
const IN_STEP_US: u64 = 500_000;
/// A wall clock that moves by more than this against the monotonic one has jumped.
const JUMP_US: u64 = 1_000_000;
/// A wall clock that has not jumped for so long is believed enough to be followed fast.
const STEADY_AFTER: Span = Span::from_secs(300);
/// What reading two clocks one after the other may make of their distance.
const TOLERANCE_US: u64 = 1_000;

/// What both clocks show at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) monotonic: Span,
    pub(super) wall: Timestamp,
}

/// A straight piece of engine time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    /// What the monotonic clock shows where it begins.
    from: Span,
    start: Timestamp,
    /// What it makes up for, in microseconds: it runs ahead if positive, and falls behind if negative.
    correction_us: i64,
    rate_ppm: u64,
}

#[derive(Debug)]
pub(super) struct Discipline {
    line: Line,
    /// Since when the wall clock has not jumped.
    steady_since: Reading,
    is_in_step: bool,
}

/// What a look at the wall clock has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// How far the wall clock is ahead of engine time, in microseconds.
    pub(super) offset_us: i64,
    pub(super) is_in_step: bool,
    /// It has jumped since the last look.
    pub(super) has_jumped: bool,
    /// Engine time goes on along another line.
    pub(super) turned: Option<Line>,
}

impl Line {
    pub(super) fn at(&self, monotonic: Span) -> Timestamp {
        let passed = self.start.plus(self.passed(monotonic)).as_micros();
        let led = self.led_us(monotonic);
        Timestamp::from_micros(if self.correction_us > 0 {
            passed.saturating_add(led)
        } else {
            passed.saturating_sub(led)
        })
    }

    fn passed(&self, monotonic: Span) -> Span {
        let passed = monotonic.as_micros().saturating_sub(self.from.as_micros());
        Span::from_micros_u64(passed)
    }

    /// How much of the correction is done.
    fn led_us(&self, monotonic: Span) -> u64 {
        let passed = self.passed(monotonic).as_micros();
        let led = passed.saturating_mul(self.rate_ppm) / 1_000_000;
        led.min(self.correction_us.unsigned_abs())
    }

    /// How much of it is still to be done.
    fn left_us(&self, monotonic: Span) -> i64 {
        let led = i64::try_from(self.led_us(monotonic)).unwrap_or(i64::MAX);
        self.correction_us - led * self.correction_us.signum()
    }
}

impl Discipline {
    /// Begins with the wall clock, but never before `latest`, the last instant that something is known to have happened at.
    pub(super) fn start(reading: Reading, latest: Timestamp) -> Self {
        Self {
            line: Line {
                from: reading.monotonic,
                start: reading.wall.max(latest),
                correction_us: 0,
                rate_ppm: GENTLE_PPM,
            },
            steady_since: reading,
            is_in_step: true,
        }
    }

    pub(super) const fn line(&self) -> Line {
        self.line
    }

    /// Takes in what the clocks show. The monotonic one shows no less than the last time.
    pub(super) fn look(&mut self, reading: Reading) -> Look {
        let has_jumped = self.has_jumped(reading);
        if has_jumped {
            self.steady_since = reading;
        }
        let offset_us = gap_us(reading.wall, self.line.at(reading.monotonic));
        self.is_in_step = match self.is_in_step {
            true => offset_us.unsigned_abs() <= OUT_OF_STEP_US,
            false => offset_us.unsigned_abs() <= IN_STEP_US,
        };
        let turned = self.line_after(reading, offset_us);
        self.line = turned.unwrap_or(self.line);
        Look {
            offset_us,
            is_in_step: self.is_in_step,
            has_jumped,
            turned,
        }
    }

    fn has_jumped(&self, reading: Reading) -> bool {
        let by_wall = gap_us(reading.wall, self.steady_since.wall);
        let moved = by_wall.saturating_sub_unsigned(self.steady_for(reading).as_micros());
        moved.unsigned_abs() > JUMP_US
    }

    fn steady_for(&self, reading: Reading) -> Span {
        let since = self.steady_since.monotonic.as_micros();
        Span::from_micros_u64(reading.monotonic.as_micros().saturating_sub(since))
    }

    /// Another line, if this one does not lead to the wall clock, or not at the right rate.
    fn line_after(&self, reading: Reading, offset_us: i64) -> Option<Line> {
        let rate_ppm = self.rate_ppm(reading, offset_us);
        let missed = offset_us.saturating_sub(self.line.left_us(reading.monotonic));
        let is_right = missed.unsigned_abs() <= TOLERANCE_US;
        let is_there = offset_us.unsigned_abs() <= TOLERANCE_US;
        if is_right && (is_there || rate_ppm == self.line.rate_ppm) {
            return None;
        }
        Some(Line {
            from: reading.monotonic,
            start: self.line.at(reading.monotonic),
            correction_us: offset_us,
            rate_ppm,
        })
    }

    fn rate_ppm(&self, reading: Reading, offset_us: i64) -> u64 {
        if self.is_in_step || self.steady_for(reading) < STEADY_AFTER {
            GENTLE_PPM
        } else if offset_us > 0 {
            FORWARD_PPM
        } else {
            BACKWARD_PPM
        }
    }
}

/// How far `a` is ahead of `b`.
fn gap_us(a: Timestamp, b: Timestamp) -> i64 {
    let span = |later: Timestamp, earlier| {
        i64::try_from(later.since(earlier).as_micros()).unwrap_or(i64::MAX)
    };
    span(a, b) - span(b, a)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEGIN: Timestamp = Timestamp::from_micros(1_764_000_000_000_000);
    const SECOND: i64 = 1_000_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;

    /// A wall clock that somebody sets, a monotonic one, and engine time.
    struct World {
        monotonic_us: u64,
        wall_us: u64,
        discipline: Discipline,
    }

    impl World {
        fn begin() -> Self {
            Self::begin_after(BEGIN)
        }

        fn begin_after(latest: Timestamp) -> Self {
            let reading = Reading {
                monotonic: Span::from_secs(1_000),
                wall: BEGIN,
            };
            Self {
                monotonic_us: reading.monotonic.as_micros(),
                wall_us: reading.wall.as_micros(),
                discipline: Discipline::start(reading, latest),
            }
        }

        fn pass(&mut self, micros: i64) {
            self.monotonic_us += micros.unsigned_abs();
            self.wall_us = self.wall_us.saturating_add(micros.unsigned_abs());
        }

        fn set_wall_by(&mut self, micros: i64) {
            self.wall_us = self.wall_us.saturating_add_signed(micros);
        }

        fn look(&mut self) -> Look {
            self.discipline.look(Reading {
                monotonic: Span::from_micros_u64(self.monotonic_us),
                wall: Timestamp::from_micros(self.wall_us),
            })
        }

        /// Looks every half second, as the engine does.
        fn pass_and_look(&mut self, micros: i64) -> Vec<Look> {
            let mut looks = Vec::new();
            let mut left = micros;
            while left > 0 {
                let step = left.min(SECOND / 2);
                self.pass(step);
                looks.push(self.look());
                left -= step;
            }
            looks
        }

        fn engine_us(&self) -> u64 {
            let monotonic = Span::from_micros_u64(self.monotonic_us);
            self.discipline.line().at(monotonic).as_micros()
        }

        /// By how much engine time has moved more than the monotonic clock, or less.
        fn led_us(&self) -> i64 {
            let begin = BEGIN.as_micros() - Span::from_secs(1_000).as_micros();
            let led = i128::from(self.engine_us()) - i128::from(begin + self.monotonic_us);
            i64::try_from(led).expect("small")
        }
    }

    #[test]
    fn a_wall_clock_that_keeps_time_is_engine_time() {
        let mut world = World::begin();
        for look in world.pass_and_look(HOUR) {
            assert_eq!((look.offset_us, look.turned), (0, None));
        }
        assert_eq!(world.engine_us(), world.wall_us);
    }

    #[test]
    fn an_hour_ahead_for_a_second_moves_engine_time_by_half_a_millisecond() {
        for hour in [HOUR, -HOUR] {
            let mut world = World::begin();
            world.pass_and_look(MINUTE);
            world.set_wall_by(hour);
            let away = world.pass_and_look(SECOND);
            assert!(away.iter().all(|look| !look.is_in_step), "{away:?}");
            assert!(away[0].has_jumped && !away[1].has_jumped, "{away:?}");
            world.set_wall_by(-hour);
            let back = world.pass_and_look(SECOND);
            assert!(back.iter().all(|look| look.is_in_step), "{back:?}");
            assert!(back[0].has_jumped, "{back:?}");
            assert!(world.led_us().abs() <= 500, "{}", world.led_us());
            world.pass_and_look(10 * SECOND);
            assert_eq!(world.engine_us(), world.wall_us);
        }
    }

    #[test]
    fn a_clock_set_back_by_twenty_seconds_makes_a_hold_of_five_no_longer() {
        let mut world = World::begin();
        world.set_wall_by(-20 * SECOND);
        let began = world.engine_us();
        world.pass_and_look(5 * SECOND);
        let lasted = world.engine_us() - began;
        assert!((4_997_500..=5_000_000).contains(&lasted), "{lasted}");
    }

    #[test]
    fn a_start_behind_the_last_stamp_runs_on_from_the_stamp() {
        let latest = BEGIN.plus(Span::from_secs(3_600));
        let mut world = World::begin_after(latest);
        assert_eq!(world.engine_us(), latest.as_micros());
        let look = world.look();
        assert_eq!((look.offset_us, look.is_in_step), (-HOUR, false));
        world.pass_and_look(MINUTE);
        let passed = world.engine_us() - latest.as_micros();
        assert_eq!(passed, 60 * 1_000_000 - 60 * GENTLE_PPM);
    }

    #[test]
    fn only_a_wall_clock_that_has_proved_steady_is_followed_fast() {
        for (jump, rate_ppm) in [(HOUR, FORWARD_PPM), (-HOUR, BACKWARD_PPM)] {
            let mut world = World::begin();
            world.pass_and_look(HOUR);
            world.set_wall_by(jump);
            world.look();
            world.pass_and_look(5 * MINUTE - SECOND);
            assert_eq!(world.discipline.line().rate_ppm, GENTLE_PPM);
            // It jumps about, and must prove itself once more.
            world.set_wall_by(2 * SECOND);
            world.pass_and_look(5 * MINUTE);
            assert_eq!(world.discipline.line().rate_ppm, GENTLE_PPM);
            world.pass_and_look(SECOND);
            assert_eq!(world.discipline.line().rate_ppm, rate_ppm);
        }
    }

    #[test]
    fn small_differences_are_followed_gently_and_not_told() {
        // A leap second, and steps that a time server's client makes.
        for jump in [SECOND, -SECOND, 128_000, -128_000, 2_000] {
            let mut world = World::begin();
            world.set_wall_by(jump);
            for look in world.pass_and_look(jump.abs() * 2_000 + SECOND) {
                assert!(look.is_in_step && !look.has_jumped, "{look:?}");
                assert_eq!(world.discipline.line().rate_ppm, GENTLE_PPM);
            }
            assert_eq!(world.engine_us(), world.wall_us);
        }
    }

    #[test]
    fn moves_that_add_up_to_a_jump_are_one() {
        let mut world = World::begin();
        let mut jumps = 0;
        for _ in 0..10 {
            world.set_wall_by(SECOND * 3 / 10);
            jumps += usize::from(world.look().has_jumped);
        }
        // 0.3 s ten times: after 1.2 s, and after 2.4 s.
        assert_eq!(jumps, 2);
    }

    #[test]
    fn a_distance_at_the_limit_is_told_once() {
        let mut world = World::begin();
        world.set_wall_by(SECOND + 10);
        let looks = world.pass_and_look(HOUR);
        let turns = looks
            .windows(2)
            .filter(|it| it[0].is_in_step != it[1].is_in_step);
        assert_eq!(
            turns.count(),
            1,
            "out of step at the first look, in step once"
        );
        assert!(!looks[0].is_in_step);
    }

    #[test]
    fn whoever_does_not_look_for_days_does_not_overshoot() {
        let mut world = World::begin();
        world.set_wall_by(-20 * SECOND);
        world.look();
        world.pass_and_look(6 * MINUTE);
        world.pass(100 * HOUR);
        assert_eq!(world.engine_us(), world.wall_us);
    }

    #[test]
    fn clocks_at_the_ends_of_time_break_nothing() {
        for wall_us in [0, 1, u64::MAX - 1, u64::MAX] {
            let mut world = World::begin();
            world.wall_us = wall_us;
            let before = world.engine_us();
            let look = world.look();
            assert!(look.has_jumped && !look.is_in_step);
            assert_eq!(world.engine_us(), before);
            world.pass_and_look(10 * MINUTE);
            assert!(world.led_us().abs() <= 10 * MINUTE / 20);
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Move {
        Pass(i64),
        SetWallBy(i64),
        Look,
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let jump = prop_oneof![
            -3_000_i64..3_000,
            -2 * SECOND..2 * SECOND,
            -2 * HOUR..2 * HOUR,
            any::<i64>(),
        ];
        let one = prop_oneof![
            4 => (0..20 * MINUTE).prop_map(Move::Pass),
            4 => (0..2 * SECOND).prop_map(Move::Pass),
            2 => jump.prop_map(Move::SetWallBy),
            6 => Just(Move::Look),
        ];
        prop::collection::vec(one, 1..200)
    }

    proptest! {
        #[test]
        fn engine_time_never_goes_back_never_leaps_and_keeps_to_its_rates(
            moves in moves(),
            ahead_secs in 0_u32..100_000,
        ) {
            let mut world = World::begin_after(BEGIN.plus(Span::from_secs(ahead_secs)));
            for step in moves {
                let before = world.engine_us();
                match step {
                    Move::Pass(micros) => {
                        world.pass(micros);
                        let (passed, micros) = (world.engine_us() - before, micros.unsigned_abs());
                        let least = micros - micros * BACKWARD_PPM / 1_000_000 - u64::from(micros > 0);
                        let most = micros + micros * FORWARD_PPM / 1_000_000 + 1;
                        prop_assert!((least..=most).contains(&passed), "{passed} in {micros}");
                    }
                    Move::SetWallBy(micros) => {
                        world.set_wall_by(micros);
                        prop_assert_eq!(world.engine_us(), before);
                    }
                    Move::Look => {
                        world.look();
                        prop_assert_eq!(world.engine_us(), before);
                    }
                }
            }
        }

        #[test]
        fn for_five_minutes_a_jump_of_any_size_counts_half_a_thousandth(
            moves in moves(),
            jump in prop_oneof![SECOND + 1..i64::MAX, i64::MIN..-SECOND - 1],
            passed in 1..5 * MINUTE,
        ) {
            let mut world = World::begin();
            for step in moves {
                match step {
                    Move::Pass(micros) => world.pass(micros),
                    Move::SetWallBy(micros) => world.set_wall_by(micros),
                    Move::Look => drop(world.look()),
                }
            }
            world.look();
            let wall_us = world.wall_us;
            world.set_wall_by(jump);
            prop_assume!(world.wall_us.abs_diff(wall_us) > JUMP_US * 3);
            prop_assert!(world.look().has_jumped);
            let before = world.led_us();
            world.pass_and_look(passed);
            let led = (world.led_us() - before).unsigned_abs();
            prop_assert!(led <= passed.unsigned_abs() * GENTLE_PPM / 1_000_000 + 1, "{led}");
        }

        #[test]
        fn a_wall_clock_that_is_left_alone_is_reached(
            jumps in prop::collection::vec((-HOUR..HOUR, 0..10 * MINUTE), 0..10),
        ) {
            let mut world = World::begin();
            for (jump, micros) in jumps {
                world.set_wall_by(jump);
                world.look();
                world.pass(micros);
                world.look();
            }
            let mut waited = 0_u64;
            loop {
                let look = world.look();
                if look.offset_us.unsigned_abs() <= TOLERANCE_US {
                    prop_assert!(look.is_in_step);
                    break;
                }
                // Ten hours off at most, at the slower of both rates, and the last second gently.
                prop_assert!(waited < 10 * 3_600 * 200 + 3_600, "{look:?}");
                world.pass(MINUTE);
                waited += 60;
            }
        }
    }
}
