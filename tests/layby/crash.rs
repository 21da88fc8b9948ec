//! Death at any moment, and orderly ends under load: no answer is ever taken back.

use std::time::{Duration, Instant};

use rand::RngExt;
use rustix::process::Signal;

use crate::support::{
    Registry, Sale, Shop, Store, on_each_database, pause, recount, setting, trade,
};

on_each_database! {
    whatever_the_moment_of_death_no_answer_is_taken_back,
    told_to_stop_under_load_it_ends_in_order,
    a_server_that_has_started_denies_nothing_that_it_has,
}

const TRADERS: usize = 8;

/// Holds that live longer than the test.
fn products(shop: &Shop) -> Vec<String> {
    // The first one runs out, so that refusals are among the answers.
    [150, 1_000_000, 1_000_000]
        .map(|stock| Sale {
            hold_seconds: 1_800,
            ..Sale::of(stock)
        })
        .map(|sale| shop.product(sale))
        .to_vec()
}

fn whatever_the_moment_of_death_no_answer_is_taken_back(store: Store) {
    let rounds = setting("LAYBY_TEST_CRASH_ROUNDS").map_or(50, |it| it.parse().expect("a number"));
    // The databases share the rounds.
    let rounds: usize = rounds / 2;
    let mut shop = Shop::open(store);
    let products = products(&shop);
    let mut ended = Vec::new();
    let mut rounds_in_flight = 0;
    for round in 0..rounds {
        let registry = Registry::of(&shop);
        let stories = trade(&registry, &products, TRADERS, || {
            pause(Duration::from_millis(rand::rng().random_range(20..300)));
            shop.kill();
        });
        rounds_in_flight += usize::from(stories.iter().any(|story| story.was_cut_short()));
        // Each of these folds the journal from its first record.
        if round % 5 == 0 {
            shop.prove_books();
        }
        shop.start();
        for story in stories {
            ended.extend(story.resume(shop.url()));
        }
        if round % 5 == 4 {
            recount(&shop, &products, &ended, &shop.provider_books());
        }
    }
    recount(&shop, &products, &ended, &shop.provider_books());
    eprintln!(
        "{rounds} rounds, {rounds_in_flight} with requests in flight, {} orders",
        ended.len()
    );
    assert!(
        rounds_in_flight * 10 >= rounds * 8,
        "the crashes hit nothing: {rounds_in_flight} of {rounds}"
    );
}

fn told_to_stop_under_load_it_ends_in_order(store: Store) {
    let mut shop = Shop::open(store);
    let products = products(&shop);
    let mut ended = Vec::new();
    for _ in 0..3 {
        let registry = Registry::of(&shop);
        let stories = trade(&registry, &products, TRADERS, || {
            pause(Duration::from_millis(300));
            let began = Instant::now();
            shop.process().signal(Signal::TERM);
            pause(Duration::from_millis(20));
            // Somebody is impatient.
            if !shop.process().has_ended() {
                shop.process().signal(Signal::TERM);
            }
            assert_eq!(shop.ends(), Some(0), "the exit code after SIGTERM");
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "{:?}",
                began.elapsed()
            );
        });
        shop.start();
        let opened = shop.process().stderr.all();
        let repaired = |line: &&String| {
            line.contains("the journal is open") && !line.contains("torn_tail=None")
        };
        assert_eq!(
            opened.iter().find(repaired),
            None,
            "nothing is to be repaired"
        );
        for story in stories {
            ended.extend(story.resume(shop.url()));
        }
    }
    recount(&shop, &products, &ended, &shop.provider_books());
}

fn a_server_that_has_started_denies_nothing_that_it_has(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale::of(1_000));
    for _ in 0..10 {
        shop.kill_and_start();
        let seen = shop.visitor().get(&format!("/v1/products/{lamp}"));
        seen.is(200);
    }
}
