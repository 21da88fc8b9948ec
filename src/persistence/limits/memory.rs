//! Buckets and marks in the process.
//!
//! A bucket is one number, the time at which it will be full again (GCRA): a full bucket need not be kept at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Key, Rule, Verdict, micros};
use crate::clock::Clock;

/// Buckets and marks in all. At the bound those that have run out are dropped, and if that is not enough the half that
/// will run out first: who floods the limits with new keys makes them forget, but never fills the memory.
pub(super) const ENTRIES_MAX: usize = 100_000;

#[derive(Debug)]
pub(super) struct MemoryLimits {
    clock: Arc<dyn Clock>,
    entries_max: usize,
    /// When a bucket is full again, or a mark has run out, in microseconds.
    entries: Mutex<HashMap<(&'static str, Key), u64>>,
}

impl MemoryLimits {
    pub(super) fn new(clock: Arc<dyn Clock>, entries_max: usize) -> Self {
        Self {
            clock,
            entries_max,
            entries: Mutex::default(),
        }
    }

    pub(super) fn take(&self, rule: &Rule, key: Key) -> Verdict {
        let now = self.now();
        let mut entries = self.entries.lock();
        let full_at = entries.get(&(rule.name, key)).copied().unwrap_or(now);
        // After the clock went back, nobody waits for longer than an empty bucket takes.
        let full_at = full_at.clamp(now, now.saturating_add(rule.full_after_us()));
        let then = full_at.saturating_add(rule.refill_us());
        let latest = now.saturating_add(rule.full_after_us());
        if then > latest {
            return Verdict::Wait(Duration::from_micros(then - latest));
        }
        self.put(&mut entries, (rule.name, key), then, now);
        Verdict::Pass
    }

    pub(super) fn give_back(&self, rule: &Rule, key: Key) {
        if let Some(full_at) = self.entries.lock().get_mut(&(rule.name, key)) {
            *full_at = full_at.saturating_sub(rule.refill_us());
        }
    }

    pub(super) fn forget(&self, rule: &Rule, key: Key) {
        self.entries.lock().remove(&(rule.name, key));
    }

    pub(super) fn mark(&self, set: &'static str, key: Key, ttl: Duration) {
        let now = self.now();
        let mut entries = self.entries.lock();
        self.put(
            &mut entries,
            (set, key),
            now.saturating_add(micros(ttl)),
            now,
        );
    }

    pub(super) fn is_marked(&self, set: &'static str, key: Key) -> bool {
        let until = self.entries.lock().get(&(set, key)).copied();
        until.is_some_and(|until| until > self.now())
    }

    fn now(&self) -> u64 {
        self.clock.now().as_micros()
    }

    fn put(
        &self,
        entries: &mut HashMap<(&'static str, Key), u64>,
        entry: (&'static str, Key),
        until: u64,
        now: u64,
    ) {
        if entries.len() >= self.entries_max && !entries.contains_key(&entry) {
            make_room(entries, self.entries_max / 2, now);
        }
        entries.insert(entry, until);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.lock().len()
    }
}

fn make_room(entries: &mut HashMap<(&'static str, Key), u64>, kept_max: usize, now: u64) {
    entries.retain(|_, until| *until > now);
    if entries.len() <= kept_max {
        return;
    }
    let mut ends: Vec<u64> = entries.values().copied().collect();
    let nth = ends.len() - kept_max;
    let (_, first_kept, _) = ends.select_nth_unstable(nth);
    let first_kept = *first_kept;
    entries.retain(|_, until| *until > first_kept);
}
