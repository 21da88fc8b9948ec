//! What a rate limit is: a bucket of tokens, kept as one number.
//!
//! A bucket is told by the moment at which it would be full again (the "generic cell rate algorithm"): a token taken moves
//! that moment on by the time one token needs. A bucket that nobody touches fills by itself and needs no clean-up.
//! The same sums are written once more in Lua, in `redis.rs`; the conformance tests hold the two together.

use std::time::Duration;

/// At most `burst` at once; after that one every `refill`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Part of the keys in Redis: short, and the same in every release.
    pub name: &'static str,
    /// Zero counts as one.
    pub burst: u32,
    /// How long one token takes to come back. Zero is no limit at all.
    pub refill: Duration,
}

#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Pass,
    /// Too many. A token is there after so long; never zero, and at most one `refill` of the rule.
    Wait(Duration),
}

/// About 35 years: what is longer is cut to it. A moment of today and so much more are exact in Lua's doubles.
const SPAN_MICROS_MAX: u64 = 1 << 50;

impl Rule {
    pub(super) fn refill_micros(&self) -> u64 {
        span_micros(self.refill)
    }

    /// How long an empty bucket takes to be full.
    pub(super) fn bucket_micros(&self) -> u64 {
        let burst = u64::from(self.burst.max(1));
        self.refill_micros()
            .saturating_mul(burst)
            .min(SPAN_MICROS_MAX)
    }

    /// Takes a token from the bucket that would be full at `full_at`. Gives when it is full from now on, or how long to
    /// wait.
    pub(super) fn take(&self, full_at: u64, now: u64) -> Result<u64, Duration> {
        let limit = now.saturating_add(self.bucket_micros());
        let next = self
            .believable(full_at, now)
            .saturating_add(self.refill_micros());
        match next.checked_sub(limit) {
            None | Some(0) => Ok(next),
            Some(wait) => Err(Duration::from_micros(wait)),
        }
    }

    pub(super) fn give_back(&self, full_at: u64, now: u64) -> u64 {
        self.believable(full_at, now)
            .saturating_sub(self.refill_micros())
    }

    /// A bucket cannot be emptier than empty. One that seems so was left by a clock that has since gone back.
    fn believable(&self, full_at: u64, now: u64) -> u64 {
        full_at.clamp(now, now.saturating_add(self.bucket_micros()))
    }
}

pub(super) fn span_micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros())
        .unwrap_or(u64::MAX)
        .min(SPAN_MICROS_MAX)
}
