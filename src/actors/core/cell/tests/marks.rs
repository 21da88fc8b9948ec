//! Counters of rare situations: a run that never met one has proved nothing about it.

use std::collections::BTreeMap;

#[derive(Debug, Default, Clone)]
pub(in crate::actors::core) struct Marks(BTreeMap<&'static str, u64>);

impl Marks {
    pub(in crate::actors::core) fn hit(&mut self, situation: &'static str) {
        *self.0.entry(situation).or_insert(0) += 1;
    }

    pub(in crate::actors::core) fn hit_if(&mut self, happened: bool, situation: &'static str) {
        if happened {
            self.hit(situation);
        }
    }

    pub(in crate::actors::core) fn add(&mut self, other: &Self) {
        for (situation, hits) in &other.0 {
            *self.0.entry(situation).or_insert(0) += hits;
        }
    }

    pub(in crate::actors::core) fn hits(&self, situation: &str) -> u64 {
        self.0.get(situation).copied().unwrap_or(0)
    }

    pub(in crate::actors::core) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(situation, hits)| (*situation, *hits))
    }
}
