//! Seeds that failed once. A seed names a history only as long as `history` draws as it did; the sentence in
//! `scenarios` that each of them is about stays.

use super::swarm::check_seed;

/// The provider forgot an attempt that it had declined, and it was charged while the next one was under way.
#[test]
fn a_declined_attempt_was_charged_again() {
    check_seed(12, 300);
}

/// A person at the limit was sent to an order that was being cancelled.
#[test]
fn an_order_that_nobody_can_resume_was_named_at_the_limit() {
    check_seed(52, 300);
}

/// Once a return was asked for, the repeat of the delivery was told `not_shipped`.
#[test]
fn the_repeat_of_a_delivery_was_refused() {
    check_seed(8, 300);
}
