//! Redis as it is in life: killed, held up, emptied, full, and with other things under our keys.

use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Instant;

use super::server::Redis;
use super::*;
use crate::persistence::limits::{ANSWER_WITHIN, Limiter, Verdict};

#[test]
fn servers_share_their_limits() {
    let server = Redis::start();
    run(async {
        let (here, there) = (in_redis(&server).await, in_redis(&server).await);
        pass(&here, 2).await;
        pass(&there, 1).await;
        refused(&here).await;
        refused(&there).await;
        there.mark("known", key(1), MINUTE).await;
        assert!(here.is_marked("known", key(1)).await);
    });
}

#[test]
fn nothing_waits_when_redis_is_killed_and_it_is_used_again_when_it_is_back() {
    let mut server = Redis::start();
    run(async {
        let limiter = in_redis(&server).await;
        pass(&limiter, 3).await;
        refused(&limiter).await;

        server.kill();
        pass(&limiter, 3).await;
        refused(&limiter).await;
        let away = limiter.counters();
        assert_eq!(away.is_redis_away, Some(true));
        assert_eq!((away.fallbacks, away.redis_errors), (4, 1));

        server.start_again();
        assert!(limiter.wait_for_redis(PATIENCE).await);
        // It has forgotten everything, and that is all.
        pass(&limiter, 3).await;
        refused(&limiter).await;
        assert_eq!(limiter.counters().fallbacks, 4);

        // What this process counted in the meantime still counts when it is on its own again.
        server.kill();
        refused(&limiter).await;
    });
}

#[test]
fn a_redis_that_hangs_is_waited_for_once() {
    let server = Redis::start();
    run(async {
        let limiter = in_redis(&server).await;
        server.pause();
        let began = Instant::now();
        for number in 0..1_000 {
            assert_eq!(limiter.take(&THREE, key(number)).await, Verdict::Pass);
        }
        let took = began.elapsed();
        assert!(took >= ANSWER_WITHIN, "{took:?}: it did not hang");
        assert!(took < ANSWER_WITHIN * 100, "{took:?}: more than one waited");
        let counters = limiter.counters();
        assert_eq!((counters.fallbacks, counters.redis_errors), (1_000, 1));

        server.resume();
        assert!(limiter.wait_for_redis(PATIENCE).await);
        pass(&limiter, 2).await;
        assert_eq!(limiter.counters().fallbacks, 1_000);
    });
}

#[test]
fn a_redis_that_is_absent_at_the_start_is_found_later() {
    let mut server = Redis::start();
    server.kill();
    run(async {
        let limiter =
            Limiter::open(Some(&server.url()), Arc::new(SystemClock)).expect("an address");
        pass(&limiter, 3).await;
        refused(&limiter).await;
        server.start_again();
        assert!(limiter.wait_for_redis(PATIENCE).await);
        pass(&limiter, 3).await;
        assert_eq!(limiter.counters().is_redis_away, Some(false));
    });
}

#[test]
fn a_limiter_outlives_the_runtime_that_it_was_opened_on() {
    let mut server = Redis::start();
    let limiter = Limiter::open(Some(&server.url()), Arc::new(SystemClock)).expect("an address");
    run(async {
        assert!(limiter.wait_for_redis(PATIENCE).await);
        pass(&limiter, 3).await;
        refused(&limiter).await;
    });
    // The connection went with its runtime; limits are kept all the same.
    run(async { pass(&limiter, 3).await });
    server.kill();
    run(async { refused(&limiter).await });
}

#[test]
fn emptying_redis_gives_everybody_a_new_start_and_breaks_nothing() {
    let server = Redis::start();
    run(async {
        let limiter = in_redis(&server).await;
        pass(&limiter, 3).await;
        refused(&limiter).await;
        limiter.mark("known", key(1), MINUTE).await;
        server.flush();
        server.command(&["SCRIPT", "FLUSH"]);
        assert!(!limiter.is_marked("known", key(1)).await);
        limiter.give_back(&THREE, key(1)).await;
        pass(&limiter, 3).await;
        refused(&limiter).await;
        assert_eq!(limiter.counters().fallbacks, 0);
    });
}

#[test]
fn a_key_that_is_something_else_counts_as_none() {
    let server = Redis::start();
    run(async {
        let limiter = in_redis(&server).await;
        limiter.mark("known", key(1), MINUTE).await;
        pass(&limiter, 1).await;
        let keys: Vec<_> = server.keys();
        let bucket = keys
            .iter()
            .find(|it| it.contains("limit:three"))
            .expect("a bucket");
        let mark = keys
            .iter()
            .find(|it| it.contains("mark:known"))
            .expect("a mark");

        server.command(&["DEL", mark]);
        server.command(&["LPUSH", mark, "1"]);
        assert!(!limiter.is_marked("known", key(1)).await);
        limiter.mark("known", key(1), MINUTE).await;
        assert!(limiter.is_marked("known", key(1)).await);

        for strange in ["", "words", "nan", "-1", "1e400", "99999999999999999999"] {
            server.command(&["SET", bucket, strange]);
            let first = limiter.take(&THREE, key(1)).await;
            // At worst the bucket is empty, and that ends with it.
            if let Verdict::Wait(wait) = first {
                assert!(wait <= MINUTE, "{strange}: {wait:?}");
            }
            limiter.give_back(&THREE, key(1)).await;
        }
        for verb in 0..2 {
            server.command(&["DEL", bucket]);
            server.command(&["HSET", bucket, "a", "b"]);
            if verb == 1 {
                limiter.give_back(&THREE, key(1)).await;
            }
            pass(&limiter, 3).await;
            refused(&limiter).await;
        }
        assert_eq!(limiter.counters().fallbacks, 0);
    });
}

#[test]
fn a_redis_without_memory_counts_as_gone_until_it_can_write_again() {
    let server = Redis::start();
    run(async {
        let limiter = in_redis(&server).await;
        server.config("maxmemory-policy", "noeviction");
        server.config("maxmemory", "1");
        pass(&limiter, 3).await;
        refused(&limiter).await;
        assert_eq!(limiter.counters().redis_errors, 1);
        // It answers, but a server that cannot write is of no use.
        assert!(!limiter.wait_for_redis(ANSWER_WITHIN * 15).await);
        assert_eq!(limiter.counters().redis_errors, 1);

        server.config("maxmemory", "0");
        assert!(limiter.wait_for_redis(PATIENCE).await);
        pass(&limiter, 3).await;
    });
}

#[test]
fn a_replica_that_takes_no_writes_counts_as_gone() {
    let server = Redis::start();
    run(async {
        let limiter = in_redis(&server).await;
        server.command(&["REPLICAOF", "127.0.0.1", "1"]);
        pass(&limiter, 3).await;
        refused(&limiter).await;
        assert_eq!(limiter.counters().is_redis_away, Some(true));
        server.command(&["REPLICAOF", "NO", "ONE"]);
        assert!(limiter.wait_for_redis(PATIENCE).await);
    });
}

#[test]
fn somebody_who_talks_no_redis_counts_as_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (call, calls) = mpsc::channel();
    // It ends when the test has.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a caller");
            // A caller may hang up first.
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
            if call.send(()).is_err() {
                return;
            }
        }
    });
    for scheme in ["redis", "rediss"] {
        run(async {
            let url = format!("{scheme}://127.0.0.1:{port}/");
            let limiter = Limiter::open(Some(&url), Arc::new(SystemClock)).expect("an address");
            assert!(!limiter.wait_for_redis(ANSWER_WITHIN * 5).await);
            pass(&limiter, 3).await;
            refused(&limiter).await;
            let away = limiter.counters();
            assert_eq!((away.is_redis_away, away.redis_errors), (Some(true), 0));
        });
        calls.recv_timeout(PATIENCE).expect(scheme);
    }
}

#[test]
fn a_crowd_takes_no_more_than_there_is() {
    let server = Redis::start();
    run(async {
        let limiter = in_redis(&server).await;
        let takers = (0..64).map(|_| limiter.take(&THREE, key(1)));
        let verdicts = futures_util::future::join_all(takers).await;
        let passed = verdicts.iter().filter(|it| **it == Verdict::Pass).count();
        assert_eq!((passed, limiter.counters().fallbacks), (3, 0));
    });
}

#[test]
fn every_key_says_what_it_is_and_holds_nothing_but_numbers() {
    let server = Redis::start();
    run(async {
        let limiter = in_redis(&server).await;
        pass(&limiter, 1).await;
        limiter.mark("known", key(1), MINUTE).await;
        let dump = String::from_utf8(server.dump()).expect("text");
        let mut lines: Vec<_> = dump.lines().filter(|it| it.contains(':')).collect();
        lines.sort_unstable();
        let hex = format!("{:032x}", u128::from_be_bytes(key(1)));
        let names = [
            format!("layby:limit:three:{hex}"),
            format!("layby:mark:known:{hex}"),
        ];
        assert_eq!(
            lines
                .iter()
                .filter(|it| **it != "layby:probe")
                .collect::<Vec<_>>(),
            names.iter().collect::<Vec<_>>()
        );
        let values = dump.lines().filter(|it| !it.contains(':'));
        assert!(
            values.flat_map(str::chars).all(|it| it.is_ascii_digit()),
            "{dump}"
        );
    });
}

async fn pass(limiter: &Limiter, times: u32) {
    for time in 0..times {
        let verdict = limiter.take(&THREE, key(1)).await;
        assert_eq!(verdict, Verdict::Pass, "time {time}");
    }
}

async fn refused(limiter: &Limiter) {
    assert_ne!(limiter.take(&THREE, key(1)).await, Verdict::Pass);
}
