//! The pool: its bound, those who give up, panics, its end. Work is counted, not timed.

use std::sync::Arc;
use std::sync::mpsc;

use futures_util::FutureExt;

use super::*;
use crate::accounts::passwords::hasher::Damaged;
use crate::accounts::passwords::pool::{Busy, PoolCounters};
use crate::accounts::passwords::{Verified, VerifyError};

const RIGHT: Verified = Verified::Yes { rehash: None };

#[test]
fn every_spelling_of_a_password_is_the_same_password() {
    run(async {
        let pool = pool();
        for spellings in [
            [
                "Z\u{fc}rich-k7#",
                "Zu\u{308}rich-k7#",
                "\u{ff3a}\u{fc}rich-k7\u{ff03}",
            ],
            [
                "비밀번호열쇠통함",
                "\u{1107}\u{1175}밀번호열쇠통함",
                "비밀번호열쇠통함",
            ],
        ] {
            let stored = pool.hash(choice(spellings[0])).await.expect("room");
            for spelling in spellings {
                let verified = pool.verify(password(spelling), Some(stored.clone())).await;
                assert_eq!(verified, Ok(RIGHT), "{spelling}");
            }
        }
    });
}

#[test]
fn capitals_and_spaces_make_another_password() {
    run(async {
        let pool = pool();
        let stored = pool.hash(choice("k7#Qz2vX")).await.expect("room");
        for other in ["k7#qz2vx", "k7#Qz2vX ", " k7#Qz2vX", ""] {
            let verified = pool.verify(password(other), Some(stored.clone())).await;
            assert_eq!(verified, Ok(Verified::No), "{other}");
        }
    });
}

#[test]
fn a_name_that_nobody_has_costs_the_same_hash_as_a_wrong_password() {
    run(async {
        let pool = pool();
        let stored = pool.hash(choice("k7#Qz2vX")).await.expect("room");
        let mut costs = Vec::new();
        for account in [Some(stored), None] {
            let before = pool.counters().hashes;
            let verified = pool.verify(password("k7#Qz2vY"), account).await;
            assert_eq!(verified, Ok(Verified::No));
            costs.push(pool.counters().hashes - before);
        }
        assert_eq!(costs, [1, 1]);
    });
}

#[test]
fn the_dummy_is_made_with_the_parameters_in_use() {
    let hash = HashOptions {
        memory_kib: 24,
        passes: 3,
        lanes: 1,
    };
    let pool = PasswordPool::start(PoolOptions { hash, ..SMALL }).expect("a pool");
    let dummy = run(pool.hash(choice("k7#Qz2vX"))).expect("room");
    let parameters = |phc: &str| phc.split('$').nth(3).map(str::to_owned);
    assert_eq!(parameters(pool.dummy()), parameters(&dummy));
}

#[test]
fn a_hash_is_made_anew_when_parameters_have_risen_and_the_password_is_right() {
    run(async {
        let old = pool().hash(choice("k7#Qz2vX")).await.expect("room");
        let hash = HashOptions {
            passes: 2,
            ..HashOptions::TINY
        };
        let risen = PasswordPool::start(PoolOptions { hash, ..SMALL }).expect("a pool");
        let wrong = risen.verify(password("k7#Qz2vY"), Some(old.clone())).await;
        assert_eq!(wrong, Ok(Verified::No));
        let right = risen.verify(password("k7#Qz2vX"), Some(old)).await;
        let Ok(Verified::Yes { rehash: Some(new) }) = right else {
            panic!("no new hash: {right:?}");
        };
        assert!(new.contains("t=2"), "{new}");
        assert_eq!(
            risen.verify(password("k7#Qz2vX"), Some(new)).await,
            Ok(RIGHT)
        );
    });
}

#[test]
fn a_damaged_row_is_told_and_the_next_one_is_verified() {
    run(async {
        let pool = pool();
        let told = pool
            .verify(password("k7#Qz2vX"), Some("rubbish".into()))
            .await;
        assert_eq!(told, Err(VerifyError::Damaged(Damaged)));
        assert_eq!(
            pool.verify(password("k7#Qz2vX"), None).await,
            Ok(Verified::No)
        );
    });
}

#[test]
fn the_queue_has_a_bound_and_the_next_is_told_so() {
    run(async {
        let pool = pool();
        let (held, release) = hold(&pool).await;
        let mut waiting: Vec<_> = (0..SMALL.queue_max)
            .map(|_| Box::pin(pool.hash(choice("k7#Qz2vX"))))
            .collect();
        for hash in &mut waiting {
            assert!(hash.as_mut().now_or_never().is_none(), "it waits");
        }
        assert_eq!(pool.counters().waiting, SMALL.queue_max);
        assert_eq!(pool.hash(choice("k7#Qz2vX")).await, Err(Busy));
        let refused = pool.verify(password("k7#Qz2vX"), None).await;
        assert_eq!(refused, Err(VerifyError::Busy(Busy)));
        assert_eq!(pool.counters().refused, 2);

        release.send(()).expect("it is held");
        assert_eq!(held.await, Ok(()));
        for hash in waiting {
            hash.await.expect("it had its place");
        }
        pool.hash(choice("k7#Qz2vX")).await.expect("room again");
    });
}

#[test]
fn nobody_is_hashed_for_who_gave_up() {
    run(async {
        let pool = pool();
        let (held, release) = hold(&pool).await;
        let mut impatient = Box::pin(pool.hash(choice("k7#Qz2vX")));
        assert!(impatient.as_mut().now_or_never().is_none(), "it waits");
        drop(impatient);
        release.send(()).expect("it is held");
        assert_eq!(held.await, Ok(()));
        pool.hash(choice("k7#Qz2vX")).await.expect("room");
        let PoolCounters {
            hashes, skipped, ..
        } = pool.counters();
        assert_eq!((hashes, skipped), (1, 1));
    });
}

#[test]
fn those_who_gave_up_do_not_keep_out_those_who_come() {
    run(async {
        let pool = pool();
        let (held, release) = hold(&pool).await;
        for _ in 0..10 * SMALL.queue_max {
            let impatient = pool.hash(choice("k7#Qz2vX"));
            assert!(impatient.now_or_never().is_none(), "it waits");
        }
        assert_eq!(pool.counters().refused, 0);
        release.send(()).expect("it is held");
        assert_eq!(held.await, Ok(()));
        pool.hash(choice("k7#Qz2vX")).await.expect("room");
        assert_eq!(pool.counters().hashes, 1);
    });
}

#[test]
fn a_panic_costs_one_answer_and_no_thread() {
    run(async {
        let pool = pool();
        for _ in 0..3 {
            let answer = pool.run(|_| panic!("a panic of the test")).await;
            assert_eq!(answer, Err::<(), _>(Busy));
        }
        pool.hash(choice("k7#Qz2vX")).await.expect("a thread");
        assert_eq!(pool.counters().panics, 3);
    });
}

#[test]
fn the_end_of_the_pool_ends_its_threads_and_tells_who_waits() {
    run(async {
        let pool = pool();
        let (_, release) = hold(&pool).await;
        let (answered, answer) = tokio::sync::oneshot::channel();
        let waits = pool.run(move |_| answered.send(()));
        assert!(waits.now_or_never().is_none(), "it waits");
        let thread = pool.watch();
        drop(pool);
        assert!(answer.await.is_err(), "what it would have done is gone");
        release.send(()).expect("it is held");
        // The thread lets go of what it shared as it ends.
        while thread.strong_count() > 0 {
            std::thread::yield_now();
        }
    });
}

#[test]
fn options_below_the_least_start_nothing() {
    let hash = HashOptions {
        memory_kib: 7,
        ..HashOptions::TINY
    };
    assert!(PasswordPool::start(PoolOptions { hash, ..SMALL }).is_err());
}

#[test]
fn no_threads_and_no_queue_are_one_thread_and_no_queue() {
    let options = PoolOptions {
        threads: 0,
        queue_max: 0,
        ..SMALL
    };
    let pool = PasswordPool::start(options).expect("a pool");
    assert_eq!(run(pool.hash(choice("k7#Qz2vX"))), Err(Busy));
}

#[test]
fn nothing_prints_a_hash() {
    let rehash = Some("$argon2id$...".to_owned());
    let printed = format!("{:?}", Verified::Yes { rehash });
    assert_eq!(printed, "Yes(outdated)");
}

#[test]
fn many_threads_share_the_work() {
    let pool = Arc::new(
        PasswordPool::start(PoolOptions {
            threads: 3,
            ..SMALL
        })
        .expect("a pool"),
    );
    run(async {
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(hold(&pool).await);
        }
        assert_eq!(pool.counters().waiting, 0, "each has a thread");
        for (held, release) in held {
            release.send(()).expect("it is held");
            assert_eq!(held.await, Ok(()));
        }
    });
}

/// Work that holds its thread until it is released; begun when this returns.
async fn hold(
    pool: &PasswordPool,
) -> (
    std::pin::Pin<Box<dyn Future<Output = Result<(), Busy>> + '_>>,
    mpsc::Sender<()>,
) {
    let (release, released) = mpsc::channel::<()>();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let mut held = Box::pin(pool.run(move |_| {
        begin.send(()).expect("it is awaited");
        // An error is a release too.
        released.recv().unwrap_or_default();
    }));
    assert!(held.as_mut().now_or_never().is_none(), "it is held");
    begun.await.expect("it begins");
    (held, release)
}

fn choice(text: &str) -> Password {
    Password::new_choice(text, &[]).expect("a good one")
}
