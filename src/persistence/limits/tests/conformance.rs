//! What every implementation must do. Time passes by a function of the implementation: a clock that is moved in process,
//! and in Redis, whose clock nobody moves, everything that it remembers grows older.

use std::time::Duration;

use super::server::{Redis, Reply};
use super::*;
use crate::persistence::limits::{Limiter, Verdict};

/// As much may pass while a test runs.
const TOLERANCE: Duration = Duration::from_secs(20);

#[test]
fn the_limits_of_one_process_conform() {
    let clock = ManualClock::at(START);
    let limiter = in_memory(&clock);
    run(conforms(&limiter, |length| clock.advance(span(length))));
    assert_eq!(limiter.counters().is_redis_away, None);
}

#[test]
fn the_limits_in_redis_conform() {
    let server = Redis::start();
    run(async {
        let limiter = in_redis(&server).await;
        conforms(&limiter, |length| grow_older(&server, length)).await;
        let counters = limiter.counters();
        assert_eq!((counters.fallbacks, counters.redis_errors), (0, 0));
        assert_eq!((counters.buckets, counters.marks), (0, 0));
    });
}

async fn conforms(limiter: &Limiter, pass: impl Fn(Duration)) {
    a_bucket_gives_its_burst_and_then_says_how_long_to_wait(limiter).await;
    a_token_comes_back_in_its_time(limiter, &pass).await;
    a_full_bucket_gets_no_fuller(limiter, &pass).await;
    refusals_cost_nothing(limiter).await;
    a_token_given_back_can_be_taken_again(limiter).await;
    what_is_forgotten_is_full(limiter).await;
    keys_and_rules_have_buckets_of_their_own(limiter).await;
    rules_at_the_edge(limiter).await;
    marks_end(limiter, &pass).await;
    marks_are_of_a_key_in_a_set(limiter).await;
}

async fn a_bucket_gives_its_burst_and_then_says_how_long_to_wait(limiter: &Limiter) {
    empty(limiter, 1).await;
    refused(limiter, 1, MINUTE).await;
}

async fn a_token_comes_back_in_its_time(limiter: &Limiter, pass: &impl Fn(Duration)) {
    empty(limiter, 2).await;
    pass(MINUTE / 2);
    refused(limiter, 2, MINUTE / 2).await;
    pass(MINUTE / 2);
    assert_eq!(limiter.take(&THREE, key(2)).await, Verdict::Pass);
    refused(limiter, 2, MINUTE).await;
}

async fn a_full_bucket_gets_no_fuller(limiter: &Limiter, pass: &impl Fn(Duration)) {
    assert_eq!(limiter.take(&THREE, key(3)).await, Verdict::Pass);
    pass(MINUTE * 1_000);
    empty(limiter, 3).await;
    refused(limiter, 3, MINUTE).await;
}

async fn refusals_cost_nothing(limiter: &Limiter) {
    empty(limiter, 4).await;
    for _ in 0..50 {
        refused(limiter, 4, MINUTE).await;
    }
}

async fn a_token_given_back_can_be_taken_again(limiter: &Limiter) {
    empty(limiter, 5).await;
    limiter.give_back(&THREE, key(5)).await;
    assert_eq!(limiter.take(&THREE, key(5)).await, Verdict::Pass);
    refused(limiter, 5, MINUTE).await;
    // More than there is room for.
    for _ in 0..10 {
        limiter.give_back(&THREE, key(5)).await;
    }
    empty(limiter, 5).await;
    refused(limiter, 5, MINUTE).await;
}

async fn what_is_forgotten_is_full(limiter: &Limiter) {
    limiter.forget(&THREE, key(6)).await;
    empty(limiter, 6).await;
    limiter.forget(&THREE, key(6)).await;
    empty(limiter, 6).await;
}

async fn keys_and_rules_have_buckets_of_their_own(limiter: &Limiter) {
    let other = Rule {
        name: "other",
        ..THREE
    };
    empty(limiter, 7).await;
    assert_eq!(limiter.take(&other, key(7)).await, Verdict::Pass);
    empty(limiter, 8).await;
}

async fn rules_at_the_edge(limiter: &Limiter) {
    let rule = |name, burst, refill| Rule {
        name,
        burst,
        refill,
    };
    let no_burst = rule("no_burst", 0, MINUTE);
    assert_eq!(limiter.take(&no_burst, key(9)).await, Verdict::Pass);
    assert_ne!(limiter.take(&no_burst, key(9)).await, Verdict::Pass);

    let no_limit = rule("no_limit", 1, Duration::ZERO);
    for _ in 0..20 {
        assert_eq!(limiter.take(&no_limit, key(9)).await, Verdict::Pass);
        limiter.give_back(&no_limit, key(9)).await;
    }

    let for_ever = rule("for_ever", u32::MAX, Duration::MAX);
    assert_eq!(limiter.take(&for_ever, key(9)).await, Verdict::Pass);
    let Verdict::Wait(wait) = limiter.take(&for_ever, key(9)).await else {
        panic!("one token fills the longest span there is");
    };
    assert!(wait > Duration::from_secs(86_400 * 365 * 30), "{wait:?}");
    limiter.forget(&for_ever, key(9)).await;
}

async fn marks_end(limiter: &Limiter, pass: &impl Fn(Duration)) {
    assert!(!limiter.is_marked("known", key(10)).await);
    limiter.mark("known", key(10), MINUTE * 2).await;
    pass(MINUTE);
    assert!(limiter.is_marked("known", key(10)).await);
    pass(MINUTE);
    assert!(!limiter.is_marked("known", key(10)).await);
    // The last word counts.
    limiter.mark("known", key(10), MINUTE * 100).await;
    limiter.mark("known", key(10), MINUTE).await;
    pass(MINUTE);
    assert!(!limiter.is_marked("known", key(10)).await);
    limiter.mark("known", key(10), MINUTE).await;
    limiter.mark("known", key(10), Duration::ZERO).await;
    assert!(!limiter.is_marked("known", key(10)).await);
}

async fn marks_are_of_a_key_in_a_set(limiter: &Limiter) {
    limiter.mark("known", key(11), Duration::MAX).await;
    assert!(limiter.is_marked("known", key(11)).await);
    assert!(!limiter.is_marked("failed", key(11)).await);
    assert!(!limiter.is_marked("known", key(12)).await);
    // A bucket of the same name and key is something else.
    let known = Rule {
        name: "known",
        ..THREE
    };
    limiter.forget(&known, key(11)).await;
    assert!(limiter.is_marked("known", key(11)).await);
    limiter.mark("known", key(11), Duration::ZERO).await;
}

async fn empty(limiter: &Limiter, number: u128) {
    for token in 0..THREE.burst {
        let verdict = limiter.take(&THREE, key(number)).await;
        assert_eq!(verdict, Verdict::Pass, "token {token} of key {number}");
    }
}

async fn refused(limiter: &Limiter, number: u128, wait: Duration) {
    let verdict = limiter.take(&THREE, key(number)).await;
    let Verdict::Wait(told) = verdict else {
        panic!("key {number} passed instead of waiting for {wait:?}");
    };
    assert!(
        told <= wait && told + TOLERANCE > wait,
        "{told:?}, not {wait:?}"
    );
}

/// Moves all that Redis remembers back in time, and checks that it will not remember anything for ever.
fn grow_older(server: &Redis, length: Duration) {
    const SCRIPT: &str = "
        local older = tonumber(ARGV[1])
        for _, key in ipairs(redis.call('KEYS', 'layby:*')) do
          local left = redis.call('PTTL', key)
          if left < 0 then return redis.error_reply(key .. ' has no end') end
          if left <= older then
            redis.call('DEL', key)
          else
            local moment = tonumber(redis.call('GET', key))
            if moment > 1 then
              redis.call('SET', key, string.format('%.0f', moment - older * 1000))
            end
            redis.call('PEXPIRE', key, left - older)
          end
        end
        return 'OK'";
    let older = length.as_millis().to_string();
    let reply = server.command(&["EVAL", SCRIPT, "0", &older]);
    assert_eq!(reply, Reply::Bytes(b"OK".to_vec()));
}
