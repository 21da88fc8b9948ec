//! A clock for tests.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Clock;
use crate::domain::{Span, Timestamp};

/// A clock that a test moves by hand.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Hands>>);

#[derive(Debug, Clone, Copy)]
struct Hands {
    wall: Timestamp,
    monotonic: Span,
}

impl ManualClock {
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Hands {
            wall: now,
            monotonic: Span::ZERO,
        })))
    }

    /// Lets time pass.
    pub fn advance(&self, span: Span) {
        let mut hands = self.0.lock();
        hands.wall = hands.wall.plus(span);
        let passed = hands.monotonic.as_micros().saturating_add(span.as_micros());
        hands.monotonic = Span::from_micros_u64(passed);
    }

    /// Sets the wall clock, also backwards, in no time at all.
    pub fn set(&self, now: Timestamp) {
        self.0.lock().wall = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().wall
    }

    fn monotonic(&self) -> Span {
        self.0.lock().monotonic
    }
}
