//! Chance. Each part of the world draws from a source of its own, so that one more draw in one does not shift the others.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::domain::Span;

/// Who draws.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Options,
    Events,
    Disk,
    Engine,
    Sql,
    Provider,
    Buyers,
    Staff,
}

#[derive(Debug)]
pub(super) struct Random(StdRng);

impl Random {
    pub(super) fn new(seed: u64, part: Part) -> Self {
        let number = match part {
            Part::Options => 1,
            Part::Events => 2,
            Part::Disk => 3,
            Part::Engine => 4,
            Part::Sql => 5,
            Part::Provider => 6,
            Part::Buyers => 7,
            Part::Staff => 8,
        };
        Self(StdRng::seed_from_u64(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(number),
        ))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0.random()
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// Both ends included.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0.random_range(least..=most)
    }

    pub(super) fn units(&mut self, least: u32, most: u32) -> u32 {
        self.0.random_range(least..=most)
    }

    pub(super) fn span(&mut self, shortest: Span, longest: Span) -> Span {
        Span::from_micros_u64(self.between(shortest.as_micros(), longest.as_micros()))
    }

    pub(super) fn millis(&mut self, least: u32, most: u32) -> Span {
        self.span(Span::from_millis(least), Span::from_millis(most))
    }

    pub(super) fn secs(&mut self, least: u32, most: u32) -> Span {
        self.span(Span::from_secs(least), Span::from_secs(most))
    }

    pub(super) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.0.random_range(0..of.len())].clone()
    }
}
