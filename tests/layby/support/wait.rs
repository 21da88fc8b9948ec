//! Waiting for a condition, with a limit.

use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// The first `Some`, asked for again and again; fails by naming what never came.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "in {PATIENCE:?} never: {what}");
        pause(Duration::from_millis(10));
    }
}

/// Lets time pass: between two looks, or because the passing of time is what the test is about.
#[expect(clippy::disallowed_methods, reason = "the one place where tests sleep")]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}
