//! When a letter is tried again, and when it is given up.

use crate::domain::{Span, Timestamp};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The pause after the first try that failed, the second, and so on; the last one is repeated. Never empty.
    pauses: Vec<Span>,
    /// A letter older than this is news to nobody, whatever its own end.
    age_max: Span,
}

impl Default for Schedule {
    fn default() -> Self {
        let secs = [1, 5, 30, 2 * 60, 10 * 60, 60 * 60];
        Self::new(
            secs.map(Span::from_secs).into(),
            Span::from_secs(3 * 24 * 60 * 60),
        )
    }
}

impl Schedule {
    pub fn new(pauses: Vec<Span>, age_max: Span) -> Self {
        assert!(!pauses.is_empty(), "a schedule has a pause");
        Self { pauses, age_max }
    }

    /// How long to wait after `tries` tries, all of which failed.
    pub(super) fn pause_after(&self, tries: u64) -> Span {
        let index = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
        self.pauses[index.min(self.pauses.len() - 1)]
    }

    /// From when on a letter is not sent any more.
    pub(super) fn end_of(&self, created_at: Timestamp, expires_at: Timestamp) -> Timestamp {
        expires_at.min(created_at.plus(self.age_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour() {
        let schedule = Schedule::default();
        let secs = |tries| schedule.pause_after(tries).as_secs_ceil();
        let told: Vec<u64> = (1..=8).map(secs).collect();
        assert_eq!(told, [1, 5, 30, 120, 600, 3_600, 3_600, 3_600]);
        assert_eq!((secs(0), secs(u64::MAX)), (1, 3_600));
    }

    #[test]
    fn a_letter_ends_with_its_code_and_after_three_days_at_the_latest() {
        let schedule = Schedule::default();
        let created = Timestamp::from_micros(1_000_000);
        let soon = created.plus(Span::from_secs(600));
        assert_eq!(schedule.end_of(created, soon), soon);
        let three_days = created.plus(Span::from_secs(259_200));
        assert_eq!(schedule.end_of(created, Timestamp::MAX), three_days);
    }
}
