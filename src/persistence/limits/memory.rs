//! Limits and marks of this process alone: the only ones without Redis, and those that take over while it is away.
//!
//! **Invariant:** memory is bounded, whatever comes. Buckets and marks have room of their own, so that marks, which last
//! long, never push out the limits. Nothing here is written down: a restart begins with full buckets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::rule::{Rule, Verdict, span_micros};
use crate::clock::Clock;

pub(super) struct Memory {
    buckets: Table,
    marks: Table,
    clock: Arc<dyn Clock>,
}

impl Memory {
    /// At most so many buckets, and as many marks; see [`Table::make_room`].
    pub(super) fn new(entries_max: usize, clock: Arc<dyn Clock>) -> Self {
        Self::with_shards(SHARDS, entries_max, clock)
    }

    pub(super) fn with_shards(shards: usize, entries_max: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            buckets: Table::new(shards, entries_max),
            marks: Table::new(shards, entries_max),
            clock,
        }
    }

    pub(super) fn take(&self, rule: &Rule, key: [u8; 16]) -> Verdict {
        let now = self.now();
        self.buckets.change((rule.name, key), now, |found| {
            let full_at = found.map_or(now, |it| it.until);
            match rule.take(full_at, now) {
                Ok(next) => (Some(bucket(rule, next)), Verdict::Pass),
                Err(wait) => (found, Verdict::Wait(wait)),
            }
        })
    }

    pub(super) fn give_back(&self, rule: &Rule, key: [u8; 16]) {
        let now = self.now();
        self.buckets.change((rule.name, key), now, |found| {
            let fuller = found.map(|it| bucket(rule, rule.give_back(it.until, now)));
            (fuller, ())
        });
    }

    pub(super) fn forget(&self, rule: &Rule, key: [u8; 16]) {
        let change = |_: Option<Entry>| (None, ());
        self.buckets.change((rule.name, key), self.now(), change);
    }

    pub(super) fn mark(&self, set: &'static str, key: [u8; 16], ttl: Duration) {
        let (now, span) = (self.now(), span_micros(ttl));
        let mark = Entry {
            until: now.saturating_add(span),
            span,
        };
        self.marks.change((set, key), now, |_| (Some(mark), ()));
    }

    pub(super) fn is_marked(&self, set: &'static str, key: [u8; 16]) -> bool {
        self.marks
            .change((set, key), self.now(), |found| (found, found.is_some()))
    }

    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    pub(super) fn marks(&self) -> usize {
        self.marks.len()
    }

    fn now(&self) -> u64 {
        self.clock.now().as_micros()
    }
}

fn bucket(rule: &Rule, until: u64) -> Entry {
    Entry {
        until,
        span: rule.bucket_micros(),
    }
}

/// So many locks; keys are hashes, so nobody can choose to meet at one.
const SHARDS: usize = 16;

type Key = (&'static str, [u8; 16]);
type Shard = HashMap<Key, Entry>;

#[derive(Clone, Copy)]
struct Entry {
    /// Of no meaning from then on: the bucket is full, the mark has expired. Microseconds of the clock.
    until: u64,
    /// `until` is never further away than this, unless the clock went back.
    span: u64,
}

impl Entry {
    /// How long it still means something; counted anew from the whole span if the clock went back behind its beginning.
    fn left(self, now: u64) -> u64 {
        self.until.saturating_sub(now).min(self.span)
    }
}

struct Table {
    shards: Box<[Mutex<Shard>]>,
    shard_entries_max: usize,
}

impl Table {
    fn new(shards: usize, entries_max: usize) -> Self {
        let shards = shards.max(1);
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            shard_entries_max: (entries_max / shards).max(1),
        }
    }

    /// What `change` makes of the entry is kept, as long as it means anything.
    fn change<T>(
        &self,
        key: Key,
        now: u64,
        change: impl FnOnce(Option<Entry>) -> (Option<Entry>, T),
    ) -> T {
        let mut shard = self.shard(&key).lock();
        let found = shard.get(&key).copied().filter(|it| it.left(now) > 0);
        let (next, answer) = change(found);
        match next.filter(|it| it.left(now) > 0) {
            None => {
                shard.remove(&key);
            }
            Some(entry) => {
                if found.is_none() && shard.len() >= self.shard_entries_max {
                    self.make_room(&mut shard, now);
                }
                let until = now.saturating_add(entry.left(now));
                shard.insert(key, Entry { until, ..entry });
            }
        }
        answer
    }

    /// At the bound, what is full again or has expired goes first; if that is not enough, what would be so soonest: that
    /// is, who has taken the least. An eighth goes at once, so that a flood of new keys does not search the shard for
    /// each of them.
    fn make_room(&self, shard: &mut Shard, now: u64) {
        shard.retain(|_, entry| entry.left(now) > 0);
        let kept_max = self.shard_entries_max - self.shard_entries_max.div_ceil(8);
        let Some(excess @ 1..) = shard.len().checked_sub(kept_max) else {
            return;
        };
        let mut soonest: Vec<_> = shard.iter().map(|(key, it)| (it.left(now), *key)).collect();
        if excess < soonest.len() {
            soonest.select_nth_unstable(excess);
        }
        for (_, key) in soonest.iter().take(excess) {
            shard.remove(key);
        }
    }

    fn shard(&self, (_, key): &Key) -> &Mutex<Shard> {
        let [first, ..] = key;
        &self.shards[usize::from(*first) % self.shards.len()]
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|it| it.lock().len()).sum()
    }
}
