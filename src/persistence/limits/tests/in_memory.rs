//! What only the limits in process have: a bound, and a clock that may go back.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::persistence::limits::memory::Memory;
use crate::persistence::limits::{BadUrl, Verdict};

#[test]
fn a_clock_that_goes_back_locks_nobody_out_for_longer_than_a_whole_bucket() {
    let clock = ManualClock::at(START);
    let limits = memory(1_000, &clock);
    for _ in 0..4 {
        ask(&limits, 1);
    }
    limits.mark("failed", key(1), MINUTE);
    clock.set(Timestamp::ZERO);
    assert_eq!(limits.take(&THREE, key(1)), Verdict::Wait(MINUTE));
    assert!(limits.is_marked("failed", key(1)));

    clock.advance(span(MINUTE));
    assert_eq!(limits.take(&THREE, key(1)), Verdict::Pass);
    assert!(
        !limits.is_marked("failed", key(1)),
        "a mark lasts no longer"
    );
}

#[test]
fn a_refused_caller_is_not_kept_waiting_by_a_clock_that_went_back() {
    let clock = ManualClock::at(START);
    let limits = memory(1_000, &clock);
    for _ in 0..3 {
        ask(&limits, 1);
    }
    clock.set(Timestamp::ZERO);
    // Asking does not begin the wait anew.
    for _ in 0..6 {
        ask(&limits, 1);
        clock.advance(span(MINUTE / 6));
    }
    assert_eq!(limits.take(&THREE, key(1)), Verdict::Pass);
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    let clock = ManualClock::at(Timestamp::MAX);
    let limits = memory(1_000, &clock);
    for now in [Timestamp::MAX, Timestamp::ZERO, Timestamp::MAX] {
        clock.set(now);
        ask(&limits, 1);
        limits.give_back(&THREE, key(1));
        limits.mark("known", key(1), Duration::MAX);
        limits.is_marked("known", key(1));
    }
    assert_eq!(clock.now(), Timestamp::MAX);
}

#[test]
fn what_is_full_again_goes_before_what_is_not() {
    let clock = ManualClock::at(START);
    let limits = memory(8, &clock);
    for number in 0..7 {
        ask(&limits, number);
    }
    clock.advance(span(MINUTE));
    for _ in 0..3 {
        ask(&limits, 100);
    }
    ask(&limits, 101);
    assert_eq!(limits.buckets(), 2);
    assert_ne!(limits.take(&THREE, key(100)), Verdict::Pass);
}

#[test]
fn at_the_bound_those_go_first_that_have_taken_least() {
    let clock = ManualClock::at(START);
    let limits = memory(8, &clock);
    for number in 0..7 {
        for _ in 0..3 {
            ask(&limits, number);
        }
    }
    for newcomer in 100..1_000 {
        assert_eq!(limits.take(&THREE, key(newcomer)), Verdict::Pass);
        assert!(limits.buckets() <= 8, "{}", limits.buckets());
    }
    for number in 0..7 {
        assert_ne!(limits.take(&THREE, key(number)), Verdict::Pass, "{number}");
    }
}

#[test]
fn marks_do_not_push_out_buckets() {
    let clock = ManualClock::at(START);
    let limits = memory(8, &clock);
    for _ in 0..3 {
        ask(&limits, 1);
    }
    for number in 0..100 {
        limits.mark("known", key(number), MINUTE * 1_000);
        assert!(limits.is_marked("known", key(number)));
        assert!(limits.marks() <= 8);
    }
    assert_ne!(limits.take(&THREE, key(1)), Verdict::Pass);
}

#[test]
fn the_bound_is_that_of_all_shards_together() {
    let clock = ManualClock::at(START);
    let limits = Memory::new(1_600, Arc::new(clock));
    for number in 0..5_000 {
        ask(&limits, number);
    }
    let buckets = limits.buckets();
    assert!((1_200..=1_600).contains(&buckets), "{buckets}");
}

#[test]
fn buckets_that_are_full_again_take_no_room() {
    let clock = ManualClock::at(START);
    let limits = memory(8, &clock);
    ask(&limits, 1);
    limits.give_back(&THREE, key(1));
    assert_eq!(limits.buckets(), 0);
    ask(&limits, 1);
    limits.forget(&THREE, key(1));
    assert_eq!(limits.buckets(), 0);
    limits.give_back(&THREE, key(2));
    assert_eq!(limits.buckets(), 0);
}

#[test]
fn a_bad_address_is_refused_without_being_repeated() {
    for url in [
        "redis://:hunter2@host:notaport/",
        "http://:hunter2@host/",
        "redis://:hunter2@host/notadatabase",
        "hunter2",
        "",
    ] {
        let refused = Limiter::open(Some(url), Arc::new(SystemClock)).map(drop);
        assert_eq!(refused, Err(BadUrl), "{url}");
    }
    assert!(!BadUrl.to_string().contains("hunter2"));
}

/// On one shard, so that the bound is exact.
fn memory(entries_max: usize, clock: &ManualClock) -> Memory {
    Memory::with_shards(1, entries_max, Arc::new(clock.clone()))
}

/// Takes a token if there is one.
fn ask(limits: &Memory, number: u128) {
    _ = limits.take(&THREE, key(number));
}
