//! What operators are shown of payments: how much waits and for how long, and how calls have ended.

use std::sync::atomic::{AtomicU64, Ordering};

use super::schedule::Load;
use crate::domain::{PaymentOutcome, Span, Timestamp};
use crate::gateways::payment::CallError;

/// Written by the payment actor's thread, read by whoever watches.
#[derive(Debug, Default)]
pub struct PaymentCounters {
    pub charges_waiting: AtomicU64,
    pub charges_under_way: AtomicU64,
    /// Look-ups and refunds.
    pub follow_ups_waiting: AtomicU64,
    pub follow_ups_under_way: AtomicU64,
    /// In microseconds of engine time; zero while no charge waits.
    oldest_charge_at_us: AtomicU64,
    ends: [AtomicU64; ENDS.len()],
}

/// Every call of the provider, and every way in which it can end. `unsent` is a charge whose order could no longer be paid
/// when its turn came, `unknown` an attempt that the provider has never heard of.
const ENDS: [(&str, &str); 16] = [
    ("charge", "captured"),
    ("charge", "declined"),
    ("charge", "refused"),
    ("charge", "unsettled"),
    ("charge", "unavailable"),
    ("charge", "unsent"),
    ("look_up", "captured"),
    ("look_up", "declined"),
    ("look_up", "unknown"),
    ("look_up", "refused"),
    ("look_up", "unsettled"),
    ("look_up", "unavailable"),
    ("refund", "done"),
    ("refund", "refused"),
    ("refund", "unsettled"),
    ("refund", "unavailable"),
];

impl PaymentCounters {
    /// How long the first charge in the queue has waited.
    pub fn oldest_charge_age(&self, now: Timestamp) -> Span {
        match self.oldest_charge_at_us.load(Ordering::Relaxed) {
            0 => Span::ZERO,
            at_us => now.since(Timestamp::from_micros(at_us)),
        }
    }

    /// Each call, each of its ends, and how often that has come.
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let counts = self.ends.iter().map(|it| it.load(Ordering::Relaxed));
        ENDS.iter()
            .zip(counts)
            .map(|((call, end), count)| (*call, *end, count))
    }

    pub(super) fn count_charge(&self, end: &Result<PaymentOutcome, CallError>) {
        let end = end.as_ref().map(|outcome| word_for(*outcome));
        self.count("charge", end.unwrap_or_else(word_for_error));
    }

    pub(super) fn count_unsent(&self) {
        self.count("charge", "unsent");
    }

    pub(super) fn count_look_up(&self, end: &Result<Option<PaymentOutcome>, CallError>) {
        let end = end.as_ref().map(|told| told.map_or("unknown", word_for));
        self.count("look_up", end.unwrap_or_else(word_for_error));
    }

    pub(super) fn count_refund(&self, end: &Result<(), CallError>) {
        let end = end.as_ref().map(|()| "done");
        self.count("refund", end.unwrap_or_else(word_for_error));
    }

    pub(super) fn show(&self, load: Load, oldest_charge_at: Option<Timestamp>) {
        let set = |gauge: &AtomicU64, value: usize| {
            gauge.store(u64::try_from(value).unwrap_or(u64::MAX), Ordering::Relaxed);
        };
        set(&self.charges_waiting, load.charges_waiting);
        set(&self.charges_under_way, load.charges_under_way);
        set(&self.follow_ups_waiting, load.follow_ups_waiting);
        set(&self.follow_ups_under_way, load.follow_ups_under_way);
        let at_us = oldest_charge_at.map_or(0, Timestamp::as_micros);
        self.oldest_charge_at_us.store(at_us, Ordering::Relaxed);
    }

    fn count(&self, call: &str, end: &str) {
        let place = ENDS.iter().position(|it| *it == (call, end));
        debug_assert!(place.is_some(), "{call} {end} is not among the ends");
        if let Some(place) = place {
            self.ends[place].fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn word_for(outcome: PaymentOutcome) -> &'static str {
    match outcome {
        PaymentOutcome::Captured => "captured",
        PaymentOutcome::Declined => "declined",
    }
}

fn word_for_error(error: &CallError) -> &'static str {
    match error {
        CallError::Refused(_) => "refused",
        CallError::Unsettled(_) => "unsettled",
        CallError::Unavailable(_) => "unavailable",
    }
}
