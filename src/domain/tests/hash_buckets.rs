//! The table beside a map, as it grows and shrinks.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::domain::{HashBuckets, hash_of};

type Entry = (u32, u64);

fn hash((key, _): &Entry) -> u64 {
    hash_of(u128::from(*key).wrapping_mul(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abd))
}

struct Pair {
    table: HashBuckets<Entry>,
    model: BTreeMap<u32, u64>,
}

impl Pair {
    fn insert(&mut self, key: u32, value: u64) {
        if self.model.insert(key, value).is_some() {
            let known = self.table.find_mut(hash(&(key, 0)), |it| it.0 == key);
            *known.unwrap() = (key, value);
        } else {
            self.table.insert(hash(&(key, 0)), (key, value), hash);
        }
    }

    fn remove(&mut self, key: u32) {
        let removed = self.table.remove(hash(&(key, 0)), |it| it.0 == key);
        assert_eq!(removed.map(|it| it.1), self.model.remove(&key));
    }

    fn assert_same(&self) {
        let entries: BTreeMap<u32, u64> = self.table.iter().copied().collect();
        assert_eq!(entries, self.model);
        assert_eq!(self.table.len(), self.model.len());
        for (key, value) in &self.model {
            let found = self.table.find(hash(&(*key, 0)), |it| it.0 == *key);
            assert_eq!(found, Some(&(*key, *value)));
        }
    }
}

#[test]
fn a_table_is_a_map_while_it_grows_and_while_it_shrinks() {
    for seed in 0..10 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut pair = Pair {
            table: HashBuckets::default(),
            model: BTreeMap::new(),
        };
        for step in 0..30_000_u64 {
            let key = random.random_range(0..8_000);
            let grows = (step / 6_000).is_multiple_of(2);
            if random.random_bool(if grows { 0.9 } else { 0.1 }) {
                pair.insert(key, step);
            } else {
                pair.remove(key);
            }
            if step.is_multiple_of(3_000) {
                pair.assert_same();
            }
        }
        for key in 0..8_000 {
            pair.remove(key);
        }
        assert!(pair.table.is_empty());
        pair.insert(1, 1);
        pair.assert_same();
    }
}

#[test]
fn an_insertion_moves_one_bucket_at_most() {
    let mut table = HashBuckets::default();
    let moved = std::cell::Cell::new(0);
    let mut moved_max = 0;
    for key in 0..200_000 {
        moved.set(0);
        let entry = (key, 0);
        table.insert(hash(&entry), entry, |it| {
            moved.set(moved.get() + 1);
            hash(it)
        });
        moved_max = moved_max.max(moved.get());
    }
    assert!(
        (24..100).contains(&moved_max),
        "{moved_max} entries at once"
    );
}
