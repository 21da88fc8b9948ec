//! A set of marks in a fixed number of bits, which forgets what is old.
//!
//! It may take a mark for known that is not: that costs one trip to the engine. It must not forget one that counts. So it
//! does not forget by itself: when it is full, a second filter is filled beside the first with what still counts, and
//! then takes its place.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Marks noted by one thread and looked for by all.
#[derive(Debug)]
pub(super) struct TurningFilter {
    filters: [Filter; 2],
    /// Which of them is asked.
    asked: AtomicUsize,
    /// The other one is being filled.
    is_turning: AtomicBool,
    noted: AtomicU64,
}

impl TurningFilter {
    /// A full filter takes one mark in a hundred that it has not seen for known.
    const MARKS_MAX: u64 = 1_500_000;

    pub(super) fn new() -> Self {
        Self {
            filters: [Filter::new(), Filter::new()],
            asked: AtomicUsize::new(0),
            is_turning: AtomicBool::new(false),
            noted: AtomicU64::new(0),
        }
    }

    pub(super) fn insert(&self, mark: u128) {
        self.noted.fetch_add(1, Ordering::Relaxed);
        let asked = self.asked.load(Ordering::Relaxed);
        self.filters[asked].insert(mark);
        if self.is_turning.load(Ordering::Relaxed) {
            self.filters[1 - asked].insert(mark);
        }
    }

    /// May the mark have been noted? `false` is certain.
    pub(super) fn contains(&self, mark: u128) -> bool {
        self.filters[self.asked.load(Ordering::Acquire)].contains(mark)
    }

    /// `true`: it is full. From now on what is noted goes into a new filter, too.
    pub(super) fn begins_turn(&self) -> bool {
        if self.noted.load(Ordering::Relaxed) < Self::MARKS_MAX {
            return false;
        }
        self.filters[1 - self.asked.load(Ordering::Relaxed)].clear();
        self.noted.store(0, Ordering::Relaxed);
        self.is_turning.store(true, Ordering::Relaxed);
        true
    }

    /// Everything that counts has been noted since the turn began.
    pub(super) fn end_turn(&self) {
        let asked = self.asked.load(Ordering::Relaxed);
        self.asked.store(1 - asked, Ordering::Release);
        self.is_turning.store(false, Ordering::Relaxed);
    }
}

/// A Bloom filter: 16 Mi bits and four probes, 0.2 % wrong at a million marks.
#[derive(Debug)]
struct Filter {
    words: Box<[AtomicU64]>,
}

impl Filter {
    const WORDS: usize = 1 << 18;
    const PROBES: u32 = 4;

    fn new() -> Self {
        Self {
            words: (0..Self::WORDS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn insert(&self, mark: u128) {
        for (word, bit) in Self::probes(mark) {
            self.words[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn contains(&self, mark: u128) -> bool {
        Self::probes(mark).all(|(word, bit)| self.words[word].load(Ordering::Relaxed) & bit != 0)
    }

    fn clear(&self) {
        for word in &self.words {
            word.store(0, Ordering::Relaxed);
        }
    }

    fn probes(mark: u128) -> impl Iterator<Item = (usize, u64)> {
        let mixed = mark.wrapping_mul(0x2d35_8dcc_aa6c_78a5_8bb8_4b93_962e_acc9) ^ (mark >> 64);
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = mixed.to_le_bytes();
        let groups = [[a, e, i, m], [b, f, j, n], [c, g, k, o], [d, h, l, p]];
        groups.into_iter().take(Self::PROBES as usize).map(|group| {
            let probe = u32::from_le_bytes(group) as usize;
            ((probe >> 6) % Self::WORDS, 1_u64 << (probe & 63))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> u128 {
        0x0192_0000_0000_7000_8000_0000_0000_0000_u128 + number * 0x1_0001_0003_0007
    }

    fn wrong(filter: &TurningFilter, unseen: std::ops::Range<u128>) -> usize {
        unseen.filter(|number| filter.contains(id(*number))).count()
    }

    #[test]
    fn the_filter_forgets_nothing_and_errs_seldom() {
        let filter = TurningFilter::new();
        (0..100_000).for_each(|number| filter.insert(id(number)));
        assert!((0..100_000).all(|number| filter.contains(id(number))));
        let wrong = wrong(&filter, 100_000..200_000);
        assert!(wrong < 1_000, "{wrong} of 100,000 wrong");
    }

    #[test]
    fn a_filter_that_has_heard_of_millions_still_tells_who_is_known() {
        const MARKS: u128 = 6_000_000;
        const KEPT: u128 = 50_000;
        let filter = TurningFilter::new();
        let mut turns = 0;
        for number in 0..MARKS {
            filter.insert(id(number));
            if filter.begins_turn() {
                turns += 1;
                // Only the newest are still in memory, and another one is noted meanwhile.
                (number - KEPT..=number).for_each(|kept| filter.insert(id(kept)));
                filter.insert(id(MARKS + number));
                filter.end_turn();
                assert!(filter.contains(id(MARKS + number)));
            }
        }
        assert!(turns > 2, "{turns} turns");
        assert!((MARKS - KEPT..MARKS).all(|number| filter.contains(id(number))));
        let wrong = wrong(&filter, 3 * MARKS..3 * MARKS + 10_000);
        assert!(wrong < 300, "{wrong} of 10,000 wrong");
    }
}
