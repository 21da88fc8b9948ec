//! When a product is on sale, decided by engine time and never by a scheduled job.

use super::{Span, Timestamp};

/// The sale window of a product and the conditions under which its units are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    pub opens_at: Timestamp,
    /// `None`: open until an admin closes it.
    pub closes_at: Option<Timestamp>,
    pub paused: bool,
    /// Units a person may have in hand; `None`: as many as there are.
    pub per_person_limit: Option<u32>,
    /// How long a hold lives before a payment starts: 1 s to 30 min.
    pub hold_ttl: Span,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Scheduled,
    Open,
    Paused,
    Closed,
}

/// What an admin does to a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WindowAct {
    Schedule,
    Open,
    Pause,
    Resume,
    Close,
}

impl Window {
    pub const HOLD_TTL_DEFAULT: Span = Span::from_secs(300);

    /// The window of a product that is opened without having been scheduled.
    pub const fn open_from(now: Timestamp) -> Self {
        Self {
            opens_at: now,
            closes_at: None,
            paused: false,
            per_person_limit: None,
            hold_ttl: Self::HOLD_TTL_DEFAULT,
        }
    }

    /// Open is `opens_at <= now < closes_at`, unless paused.
    pub fn phase(&self, now: Timestamp) -> Phase {
        if self.closes_at.is_some_and(|closes_at| now >= closes_at) {
            Phase::Closed
        } else if now < self.opens_at {
            Phase::Scheduled
        } else if self.paused {
            Phase::Paused
        } else {
            Phase::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn the_window_takes_its_first_instant_and_not_its_last() {
        let window = Window {
            closes_at: Some(at(20)),
            ..Window::open_from(at(10))
        };
        let phases = [9, 10, 19, 20].map(|micros| window.phase(at(micros)));
        assert_eq!(
            phases,
            [Phase::Scheduled, Phase::Open, Phase::Open, Phase::Closed]
        );
    }

    #[test]
    fn a_pause_does_not_keep_a_window_from_closing() {
        let window = Window {
            closes_at: Some(at(20)),
            paused: true,
            ..Window::open_from(at(10))
        };
        assert_eq!(window.phase(at(15)), Phase::Paused);
        assert_eq!(window.phase(at(25)), Phase::Closed);
    }
}
