//! Deadlines beside a sorted set.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::domain::{Deadlines, Timestamp};

/// Later items come first among equals, so that the rank is seen to matter.
fn rank(item: u32) -> u64 {
    u64::from(u32::MAX - item)
}

#[derive(Default)]
struct Pair {
    deadlines: Deadlines<u32>,
    model: BTreeSet<(Timestamp, u64, u32)>,
    items: u32,
}

impl Pair {
    fn insert(&mut self, at: u64) {
        let (at, item) = (Timestamp::from_micros(at), self.items);
        self.items += 1;
        self.deadlines.insert(at, item, rank);
        self.model.insert((at, rank(item), item));
    }

    fn remove(&mut self, (at, rank_of_item, item): (Timestamp, u64, u32)) {
        assert!(self.model.remove(&(at, rank_of_item, item)));
        assert!(self.deadlines.remove(at, item, rank));
    }

    fn assert_same(&self) {
        let model = self.model.iter().map(|(at, _, item)| (*at, *item));
        assert!(self.deadlines.iter().eq(model), "another order");
        assert_eq!(self.deadlines.len(), self.model.len());
        let first = self.model.first().map(|(at, _, item)| (*at, *item));
        assert_eq!(self.deadlines.first(), first);
    }
}

/// Near each other, many at the same instant, hours apart, or weeks.
const SPREADS: [u64; 4] = [100, 1_000_000, 10_000_000_000, 2_000_000_000_000];

#[test]
fn deadlines_are_in_the_order_of_a_sorted_set_whatever_comes_and_goes() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut pair = Pair::default();
        let spread = SPREADS[random.random_range(0..SPREADS.len())];
        for step in 0..6_000_u64 {
            let grows = (step / 2_000).is_multiple_of(2);
            if random.random_bool(if grows { 0.9 } else { 0.1 }) {
                let in_order = random.random_bool(0.5).then_some(step * spread / 1_000);
                pair.insert(in_order.unwrap_or_else(|| random.random_range(0..spread)));
            } else if let Some(first) = pair.model.first().copied() {
                let from = Timestamp::from_micros(random.random_range(0..spread));
                let some = pair.model.range((from, 0, 0)..).next().copied();
                pair.remove(some.filter(|_| random.random_bool(0.5)).unwrap_or(first));
            }
            if step.is_multiple_of(500) {
                pair.assert_same();
            }
        }
        pair.assert_same();
        while let Some(first) = pair.model.first().copied() {
            pair.remove(first);
        }
        pair.assert_same();
    }
}

#[test]
fn what_is_not_there_is_not_removed() {
    let mut deadlines = Deadlines::default();
    deadlines.insert(Timestamp::from_micros(5), 1, rank);
    for (at, item) in [(4, 1), (5, 2), (5, 0), (6, 1), (u64::MAX, 1)] {
        assert!(!deadlines.remove(Timestamp::from_micros(at), item, rank));
    }
    assert_eq!(deadlines.len(), 1);
}

#[test]
fn equal_instants_without_a_rank_are_only_counted() {
    let mut ends = Deadlines::default();
    let at = |n: u64| Timestamp::from_micros(n / 2_000);
    (0..10_000).for_each(|n| ends.insert(at(n), (), |()| 0));
    (0..9_999).for_each(|n| assert!(ends.remove(at(n), (), |()| 0)));
    assert_eq!(ends.iter().collect::<Vec<_>>(), [(at(9_999), ())]);
}
