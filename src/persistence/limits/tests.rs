//! What both kinds of buckets promise, and what happens when Redis comes and goes.

use super::*;
use crate::clock::ManualClock;
use crate::domain::{Span, Timestamp};

const RULE: Rule = Rule {
    name: "test",
    burst: 3,
    refill: Duration::from_secs(10),
};
const KIM: Key = [7; 16];
const LEE: Key = [8; 16];

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_micros(1_000_000_000_000))
}

fn in_process(clock: &ManualClock) -> Limiter {
    Limiter::open(None, Arc::new(clock.clone())).expect("no address, no fault")
}

async fn take_all(limiter: &Limiter, key: Key) {
    for _ in 0..RULE.burst {
        assert_eq!(limiter.take(&RULE, key).await, Verdict::Pass);
    }
}

async fn is_empty(limiter: &Limiter, key: Key) -> bool {
    matches!(limiter.take(&RULE, key).await, Verdict::Wait(_))
}

/// What any implementation must do.
async fn conforms(limiter: &Limiter) {
    take_all(limiter, KIM).await;
    let Verdict::Wait(wait) = limiter.take(&RULE, KIM).await else {
        panic!("the bucket is empty");
    };
    assert!(
        wait <= RULE.refill && wait > Duration::from_secs(8),
        "{wait:?}"
    );
    assert!(!is_empty(limiter, LEE).await, "buckets are apart");
    let other = Rule {
        name: "other",
        ..RULE
    };
    assert_eq!(
        limiter.take(&other, KIM).await,
        Verdict::Pass,
        "rules are apart"
    );

    limiter.give_back(&RULE, KIM).await;
    assert_eq!(limiter.take(&RULE, KIM).await, Verdict::Pass);
    assert!(is_empty(limiter, KIM).await);

    limiter.forget(&RULE, KIM).await;
    take_all(limiter, KIM).await;
    assert!(is_empty(limiter, KIM).await);

    limiter.give_back(&RULE, [9; 16]).await;
    take_all(limiter, [9; 16]).await;
    assert!(
        is_empty(limiter, [9; 16]).await,
        "a full bucket does not overflow"
    );

    assert!(!limiter.is_marked("seen", KIM).await);
    limiter.mark("seen", KIM, Duration::from_secs(60)).await;
    assert!(limiter.is_marked("seen", KIM).await);
    assert!(!limiter.is_marked("seen", LEE).await);
    assert!(!limiter.is_marked("heard", KIM).await);
}

#[tokio::test]
async fn the_process_keeps_the_promise() {
    conforms(&in_process(&clock())).await;
}

#[tokio::test]
async fn a_token_comes_back_after_its_time() {
    let clock = clock();
    let limiter = in_process(&clock);
    take_all(&limiter, KIM).await;
    clock.advance(Span::from_millis(9_999));
    assert!(is_empty(&limiter, KIM).await);
    clock.advance(Span::from_millis(1));
    assert_eq!(limiter.take(&RULE, KIM).await, Verdict::Pass);
    assert!(is_empty(&limiter, KIM).await);
    clock.advance(Span::from_secs(3_600));
    take_all(&limiter, KIM).await;
    assert!(is_empty(&limiter, KIM).await, "no more than the burst");
}

#[tokio::test]
async fn a_clock_that_goes_back_locks_nobody_out() {
    let clock = clock();
    let limiter = in_process(&clock);
    take_all(&limiter, KIM).await;
    clock.set(Timestamp::from_micros(1_000_000));
    let Verdict::Wait(wait) = limiter.take(&RULE, KIM).await else {
        panic!("still empty");
    };
    assert!(wait <= RULE.refill, "{wait:?}");
}

#[tokio::test]
async fn marks_run_out() {
    let clock = clock();
    let limiter = in_process(&clock);
    limiter.mark("seen", KIM, Duration::from_secs(60)).await;
    clock.advance(Span::from_secs(60));
    assert!(!limiter.is_marked("seen", KIM).await);
}

#[test]
fn a_flood_of_keys_does_not_fill_the_memory() {
    let clock = clock();
    let limits = MemoryLimits::new(Arc::new(clock.clone()), 100);
    for number in 0..10_000_u128 {
        limits.take(&RULE, number.to_be_bytes());
        assert!(limits.len() <= 100);
    }
    // Who took most will be remembered longest.
    for _ in 0..RULE.burst {
        limits.take(&RULE, KIM);
    }
    for number in 0..60_u128 {
        limits.take(&RULE, number.to_be_bytes());
    }
    assert!(matches!(limits.take(&RULE, KIM), Verdict::Wait(_)));
    clock.advance(Span::from_secs(3_600));
    for number in 0..200_u128 {
        limits.take(&RULE, number.to_be_bytes());
    }
    assert!(limits.len() <= 100);
}

#[test]
fn an_address_that_is_none_is_refused_without_showing_it() {
    let refused = RedisLimits::open("http://kim:secret@host").expect_err("no Redis");
    assert!(!refused.to_string().contains("secret"), "{refused}");
}

#[tokio::test]
async fn without_redis_the_process_decides_and_counts_it() {
    // A port that nobody listens on.
    let limiter =
        Limiter::open(Some("redis://127.0.0.1:1"), Arc::new(clock())).expect("an address");
    conforms(&limiter).await;
    assert!(limiter.fallbacks() > 0);
}
