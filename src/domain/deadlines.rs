//! Instants in their order, each with an item that is due then.
//!
//! They come in blocks of bounded length, as microseconds after the begin of the block: an item of four bytes takes eight,
//! and no step touches more than two blocks, however many items there are. Most holds live equally long, so most
//! deadlines come in their order, and then a block is full before the next one begins.
//!
//! Items due at the same instant are in the order of their rank. It is not kept but asked of the caller, and only when
//! instants are equal.

use std::collections::VecDeque;

use super::{Span, Timestamp};

#[derive(Clone, Debug)]
pub struct Deadlines<T> {
    /// **Invariant:** no item of a block comes before one of an earlier block.
    blocks: VecDeque<Block<T>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Block<T> {
    /// Not after any of the items.
    base: Timestamp,
    /// Microseconds after the base; never empty, and sorted.
    items: Vec<(u32, T)>,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self {
            blocks: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T: Copy + PartialEq> Deadlines<T> {
    const BLOCK_LEN_MAX: usize = 512;
    /// A block that has become as short as this is joined with its neighbour, if that is short too.
    const BLOCK_LEN_SHORT: usize = Self::BLOCK_LEN_MAX / 4;

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn first(&self) -> Option<(Timestamp, T)> {
        self.iter().next()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, T)> {
        self.blocks.iter().flat_map(Block::iter)
    }

    /// `rank` gives the place of an item among those that are due at the same instant.
    pub fn insert(&mut self, at: Timestamp, item: T, rank: impl Fn(T) -> u64) {
        self.len = self.len.saturating_add(1);
        match self.block_of(at, item, &rank) {
            Some(index) => self.insert_into(index, at, item, &rank),
            None => self.insert_first(at, item),
        }
    }

    /// `false`: it is not there.
    pub fn remove(&mut self, at: Timestamp, item: T, rank: impl Fn(T) -> u64) -> bool {
        let index = self.block_of(at, item, &rank);
        let removed = index.is_some_and(|index| {
            let block = self.blocks.get_mut(index);
            block.is_some_and(|block| block.remove(at, item, &rank))
        });
        if let (true, Some(index)) = (removed, index) {
            self.len = self.len.saturating_sub(1);
            self.tidy(index);
        }
        removed
    }

    /// The block where the item is if it is anywhere: the last that does not begin after it.
    fn block_of(&self, at: Timestamp, item: T, rank: &impl Fn(T) -> u64) -> Option<usize> {
        let not_after = |block: &Block<T>| {
            // Items are looked at only in a tie; blocks are many, and their items elsewhere in memory.
            block.base < at || (block.base == at && block.begins_by(at, item, rank))
        };
        self.blocks.partition_point(not_after).checked_sub(1)
    }

    fn insert_into(&mut self, index: usize, at: Timestamp, item: T, rank: &impl Fn(T) -> u64) {
        let next = index.saturating_add(1);
        let Some(block) = self.blocks.get_mut(index) else {
            return;
        };
        let Some(after) = block.after(at) else {
            return self.blocks.insert(next, Block::of(at, item));
        };
        let place = block.place(after, item, rank);
        if block.items.len() < Self::BLOCK_LEN_MAX {
            block.items.insert(place, (after, item));
        } else if place == block.items.len() {
            self.blocks.insert(next, Block::of(at, item));
        } else {
            let half = block.split_off(Self::BLOCK_LEN_MAX / 2);
            self.blocks.insert(next, half);
            let is_in_half = place > Self::BLOCK_LEN_MAX / 2;
            self.insert_into(if is_in_half { next } else { index }, at, item, rank);
        }
    }

    fn insert_first(&mut self, at: Timestamp, item: T) {
        if let Some(block) = self.blocks.front_mut()
            && block.items.len() < Self::BLOCK_LEN_MAX
            && block.move_base(at)
        {
            return block.items.insert(0, (0, item));
        }
        self.blocks.push_front(Block::of(at, item));
    }

    /// Drops a block that is empty, and joins short ones.
    fn tidy(&mut self, index: usize) {
        let len = self.blocks.get(index).map_or(0, |block| block.items.len());
        if len == 0 {
            self.blocks.remove(index);
        } else if len <= Self::BLOCK_LEN_SHORT {
            self.join_with_next(index);
            if let Some(before) = index.checked_sub(1) {
                self.join_with_next(before);
            }
        }
    }

    fn join_with_next(&mut self, index: usize) {
        let next = index.saturating_add(1);
        let (Some(block), Some(after)) = (self.blocks.get(index), self.blocks.get(next)) else {
            return;
        };
        let len = block.items.len().saturating_add(after.items.len());
        let reaches = after
            .iter()
            .last()
            .is_some_and(|(at, _)| block.after(at).is_some());
        if len > Self::BLOCK_LEN_MAX / 2 || !reaches {
            return;
        }
        let after = self.blocks.remove(next);
        if let (Some(block), Some(after)) = (self.blocks.get_mut(index), after) {
            let base = block.base;
            let moved = after.iter().filter_map(|(at, item)| {
                let after = u32::try_from(at.since(base).as_micros()).ok()?;
                Some((after, item))
            });
            block.items.extend(moved);
        }
    }
}

impl<T: Copy + PartialEq> Block<T> {
    fn of(at: Timestamp, item: T) -> Self {
        Self {
            base: at,
            items: vec![(0, item)],
        }
    }

    fn iter(&self) -> impl Iterator<Item = (Timestamp, T)> {
        let base = self.base;
        let items = self.items.iter();
        items.map(move |(after, item)| {
            let after = Span::from_micros_u64(u64::from(*after));
            (base.plus(after), *item)
        })
    }

    /// `None`: too late for this block, or before its base.
    fn after(&self, at: Timestamp) -> Option<u32> {
        let micros = at.as_micros().checked_sub(self.base.as_micros())?;
        u32::try_from(micros).ok()
    }

    fn begins_by(&self, at: Timestamp, item: T, rank: &impl Fn(T) -> u64) -> bool {
        self.iter()
            .next()
            .is_some_and(|(first, known)| first <= at && rank(known) <= rank(item))
    }

    /// Where the item is, or is to be inserted.
    fn place(&self, after: u32, item: T, rank: &impl Fn(T) -> u64) -> usize {
        let comes_before = |(known_after, known): &(u32, T)| {
            *known_after < after || (*known_after == after && rank(*known) < rank(item))
        };
        // Most come last.
        if self.items.last().is_some_and(comes_before) {
            return self.items.len();
        }
        self.items.partition_point(comes_before)
    }

    fn remove(&mut self, at: Timestamp, item: T, rank: &impl Fn(T) -> u64) -> bool {
        let Some(after) = self.after(at) else {
            return false;
        };
        let place = self.place(after, item, rank);
        let is_there = self.items.get(place) == Some(&(after, item));
        if is_there {
            self.items.remove(place);
        }
        is_there
    }

    fn split_off(&mut self, place: usize) -> Self {
        let mut items = self.items.split_off(place);
        let first = items.first().map_or(0, |(after, _)| *after);
        for (after, _) in &mut items {
            *after = after.saturating_sub(first);
        }
        let moved = Span::from_micros_u64(u64::from(first));
        Self {
            base: self.base.plus(moved),
            items,
        }
    }

    /// Makes room for an earlier item; `false` if the last one would be out of reach.
    fn move_base(&mut self, at: Timestamp) -> bool {
        let earlier = u32::try_from(self.base.since(at).as_micros());
        let last = self.items.last().map_or(0, |(after, _)| *after);
        let Some(earlier) = earlier.ok().filter(|it| last.checked_add(*it).is_some()) else {
            return false;
        };
        for (after, _) in &mut self.items {
            *after = after.saturating_add(earlier);
        }
        self.base = at;
        true
    }
}

/// How items fall into blocks depends on the past, and means nothing.
impl<T: Copy + PartialEq> PartialEq for Deadlines<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<T: Copy + Eq> Eq for Deadlines<T> {}
