//! The circuit breaker before the payment provider, as a state machine that is told what time it is.
//!
//! While the provider gives no answers of its own, more attempts would only be holds that nobody can settle: new ones are
//! refused at once, and buyers keep their holds. What is under way goes on being looked up; one answer, a refusal too, is
//! enough to let buyers pay again, and after each pause one of them may try.
//!
//! **Invariant:** it decides about new attempts alone. Look-ups and refunds are never held up by it.

use crate::domain::{Span, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerOptions {
    /// Calls in a row without an answer of the provider's own; the last of them opens the breaker.
    pub unclear_max: u32,
    /// How long nobody may try once it is open.
    pub pause: Span,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    options: BreakerOptions,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// New attempts may start.
    Closed { unclear_in_a_row: u32 },
    /// None may until then; at that instant a single one may.
    Open { until: Timestamp },
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            unclear_max: 10,
            pause: Span::from_secs(5),
        }
    }
}

impl Breaker {
    pub(crate) fn new(options: BreakerOptions) -> Self {
        Self {
            options,
            state: State::Closed {
                unclear_in_a_row: 0,
            },
        }
    }

    /// Whether one more attempt may start now; if not, how long it is until one may. After a pause the first that
    /// asks is let through, and everybody else waits for what becomes of it, or for the next pause to end.
    pub(crate) fn admit(&mut self, now: Timestamp) -> Result<(), Span> {
        let State::Open { until } = self.state else {
            return Ok(());
        };
        if now < until {
            return Err(until.since(now));
        }
        self.state = State::Open {
            until: now.plus(self.options.pause),
        };
        Ok(())
    }

    /// A call got an answer. `true` if that let buyers in again.
    pub(crate) fn note_clear(&mut self) -> bool {
        let was_open = matches!(self.state, State::Open { .. });
        self.state = State::Closed {
            unclear_in_a_row: 0,
        };
        was_open
    }

    /// A call got none. `true` if that shut buyers out.
    pub(crate) fn note_unclear(&mut self, now: Timestamp) -> bool {
        let State::Closed { unclear_in_a_row } = self.state else {
            return false;
        };
        let unclear_in_a_row = unclear_in_a_row.saturating_add(1);
        let opens = unclear_in_a_row >= self.options.unclear_max;
        self.state = if opens {
            State::Open {
                until: now.plus(self.options.pause),
            }
        } else {
            State::Closed { unclear_in_a_row }
        };
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_764_000_000_000_000);

    fn after(secs: u32) -> Timestamp {
        START.plus(Span::from_secs(secs))
    }

    fn breaker() -> Breaker {
        Breaker::new(BreakerOptions {
            unclear_max: 3,
            pause: Span::from_secs(5),
        })
    }

    fn open() -> Breaker {
        let mut breaker = breaker();
        let opened = [(); 3].map(|()| breaker.note_unclear(START));
        assert_eq!(opened, [false, false, true]);
        breaker
    }

    #[test]
    fn only_unclear_ends_in_a_row_open_it() {
        let mut breaker = breaker();
        for _ in 0..10 {
            assert!(!breaker.note_unclear(START));
            assert!(!breaker.note_unclear(START));
            assert!(!breaker.note_clear());
            assert_eq!(breaker.admit(START), Ok(()));
        }
    }

    #[test]
    fn an_open_one_says_how_long_it_is_until_the_next_try() {
        let mut breaker = open();
        assert_eq!(breaker.admit(START), Err(Span::from_secs(5)));
        assert_eq!(breaker.admit(after(2)), Err(Span::from_secs(3)));
    }

    #[test]
    fn after_a_pause_one_may_try_and_the_others_wait() {
        let mut breaker = open();
        assert_eq!(breaker.admit(after(5)), Ok(()));
        assert_eq!(breaker.admit(after(5)), Err(Span::from_secs(5)));
        assert!(!breaker.note_unclear(after(6)), "it is open already");
        assert_eq!(breaker.admit(after(9)), Err(Span::from_secs(1)));
        assert_eq!(
            breaker.admit(after(10)),
            Ok(()),
            "a lost try keeps nobody out for ever"
        );
    }

    #[test]
    fn one_clear_answer_closes_it_and_the_count_begins_anew() {
        let mut breaker = open();
        assert!(breaker.note_clear());
        assert_eq!(breaker.admit(after(1)), Ok(()));
        assert_eq!(breaker.admit(after(1)), Ok(()));
        assert!(!breaker.note_unclear(after(1)));
        assert!(!breaker.note_unclear(after(1)));
        assert!(breaker.note_unclear(after(1)));
    }
}
