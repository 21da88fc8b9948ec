//! Who waits for units of one product, in which order, and who has been offered some.
//!
//! A person has one entry. Units that come free are offered to the head in the turn in which they come free; an offer is
//! a hold of its own, with its own deadline, and is taken up by placing an order. Who lets one lapse goes to the end,
//! and after the second is off the list.

use std::collections::{BTreeSet, VecDeque};

use super::{BuyerId, IdMap, Quantity, Timestamp};

/// One person on the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiter {
    /// The record by which they joined.
    pub sequence: u64,
    pub buyer: BuyerId,
    /// Units wanted. An offer may be for fewer: what has come free.
    pub quantity: Quantity,
    pub joined_at: Timestamp,
    /// Place in the order: the record that put them there, so that the smaller comes first.
    pub ticket: u64,
    /// They have let an offer lapse; the next one that lapses takes them off.
    pub lapsed: bool,
    pub offer: Option<Offer>,
}

/// Units kept for one person until the deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    pub units: Quantity,
    pub deadline: Timestamp,
}

/// What happens on a waitlist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WaitlistChange {
    Joined {
        buyer: BuyerId,
        quantity: Quantity,
    },
    /// By their own wish, or because the limit a person leaves them nothing.
    Left {
        buyer: BuyerId,
    },
    /// Free units went to the head of the list, to each so many.
    Offered {
        offers: Vec<(BuyerId, Quantity)>,
        deadline: Timestamp,
    },
    Lapsed {
        buyer: BuyerId,
    },
    /// The sale is over: everybody who has no offer is off the list.
    Ended,
}

impl Waiter {
    /// At the end of the list, by the record `sequence`.
    pub fn joining(
        sequence: u64,
        buyer: BuyerId,
        quantity: Quantity,
        joined_at: Timestamp,
    ) -> Self {
        Self {
            sequence,
            buyer,
            quantity,
            joined_at,
            ticket: sequence,
            lapsed: false,
            offer: None,
        }
    }

    /// Whether they are on the list afterwards: the first lapse puts them to its end, as of the record `sequence`.
    pub fn lapse(&mut self, sequence: u64) -> bool {
        if self.lapsed {
            return false;
        }
        self.lapsed = true;
        self.ticket = sequence;
        self.offer = None;
        true
    }

    /// Whether some of the offer is left, and they with it.
    pub fn take(&mut self, units: Quantity) -> bool {
        let Some(offer) = &mut self.offer else {
            return false;
        };
        let left = offer.units.get().saturating_sub(units.get());
        match Quantity::new(left) {
            Some(left) => {
                offer.units = left;
                true
            }
            None => false,
        }
    }
}

/// **Invariant:** whoever has an entry is either in the queue or has an offer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Waitlist {
    waiters: IdMap<BuyerId, Waiter>,
    /// Those without an offer.
    queue: Queue,
    /// Who has an offer, the first to end first.
    offers: BTreeSet<(Timestamp, BuyerId)>,
}

impl Waitlist {
    /// People a product keeps a place for; the next is told that the list is full.
    pub const WAITERS_MAX: usize = 100_000;

    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.waiters.len() >= Self::WAITERS_MAX
    }

    /// People without an offer.
    pub fn waiting(&self) -> usize {
        self.queue.len
    }

    /// People with an offer.
    pub fn offered(&self) -> usize {
        self.offers.len()
    }

    pub fn get(&self, buyer: BuyerId) -> Option<&Waiter> {
        self.waiters.get(&buyer)
    }

    /// Everybody, in no particular order.
    pub fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.waiters.values()
    }

    /// 1 for the head; `None` for somebody who is not in the queue.
    pub fn position(&self, buyer: BuyerId) -> Option<u64> {
        let waiter = self.get(buyer).filter(|waiter| waiter.offer.is_none())?;
        self.queue.position(waiter.ticket)
    }

    /// The queue from its head.
    pub fn queue(&self) -> impl Iterator<Item = &Waiter> {
        self.queue.iter().filter_map(|buyer| self.get(buyer))
    }

    /// When the first offer ends.
    pub fn first_deadline(&self) -> Option<Timestamp> {
        self.offers.first().map(|(deadline, _)| *deadline)
    }

    /// Whose offer is over by now, the first to end first.
    pub fn first_lapsed(&self, now: Timestamp) -> Option<&Waiter> {
        let (deadline, buyer) = self.offers.first()?;
        self.get(*buyer).filter(|_| *deadline <= now)
    }

    // -- apply ---------------------------------------------------------------------------------------------------

    /// Puts somebody where their ticket says; tickets must come in their order.
    pub(super) fn insert(&mut self, waiter: Waiter) {
        match waiter.offer {
            Some(offer) => {
                self.offers.insert((offer.deadline, waiter.buyer));
            }
            None => self.queue.push(waiter.ticket, waiter.buyer),
        }
        let known = self.waiters.insert(waiter.buyer, waiter);
        assert!(known.is_none(), "a person was put on a waitlist twice");
    }

    /// Takes somebody off who must be on it.
    pub(super) fn remove(&mut self, buyer: BuyerId) -> Waiter {
        let waiter = self
            .waiters
            .remove(&buyer)
            .expect("a person left a waitlist without being on it");
        match waiter.offer {
            Some(offer) => {
                self.offers.remove(&(offer.deadline, buyer));
            }
            None => self.queue.remove(waiter.ticket),
        }
        waiter
    }

    /// Takes off everybody who has no offer.
    pub(super) fn end_queue(&mut self) {
        for buyer in self.queue.iter() {
            self.waiters.remove(&buyer);
        }
        self.queue = Queue::default();
    }

    pub(super) fn offer(&mut self, buyer: BuyerId, offer: Offer) {
        let waiter = self.remove(buyer);
        assert!(waiter.offer.is_none(), "a person was offered units twice");
        self.insert(Waiter {
            offer: Some(offer),
            ..waiter
        });
    }

    pub(super) fn lapse(&mut self, buyer: BuyerId, sequence: u64) {
        let mut waiter = self.remove(buyer);
        if waiter.lapse(sequence) {
            self.insert(waiter);
        }
    }

    pub(super) fn take(&mut self, buyer: BuyerId, units: Quantity) {
        let mut waiter = self.remove(buyer);
        if waiter.take(units) {
            self.insert(waiter);
        }
    }
}

/// Tickets in their order. They come in blocks of bounded length, so that a position is found by adding up lengths
/// however long the queue is.
#[derive(Clone, Debug, Default)]
struct Queue {
    blocks: VecDeque<Vec<(u64, BuyerId)>>,
    len: usize,
}

impl Queue {
    const BLOCK_LEN_MAX: usize = 512;

    fn push(&mut self, ticket: u64, buyer: BuyerId) {
        let last = self.blocks.back().and_then(|block| block.last());
        assert!(
            last.is_none_or(|(last, _)| *last < ticket),
            "a ticket of a waitlist came out of order"
        );
        match self.blocks.back_mut() {
            Some(block) if block.len() < Self::BLOCK_LEN_MAX => block.push((ticket, buyer)),
            _ => self.blocks.push_back(vec![(ticket, buyer)]),
        }
        self.len = self.len.saturating_add(1);
    }

    fn remove(&mut self, ticket: u64) {
        let at = self.block_of(ticket);
        let block = self.blocks.get_mut(at);
        let place = block
            .as_ref()
            .and_then(|block| place_in(block, ticket))
            .expect("a ticket left a queue in which it was not");
        if let Some(block) = block {
            block.remove(place);
            if block.is_empty() {
                self.blocks.remove(at);
            }
        }
        self.len = self.len.saturating_sub(1);
    }

    fn position(&self, ticket: u64) -> Option<u64> {
        let at = self.block_of(ticket);
        let place = place_in(self.blocks.get(at)?, ticket)?;
        let before = self.blocks.iter().take(at).map(Vec::len);
        let ahead = before.fold(place, usize::saturating_add);
        u64::try_from(ahead).ok()?.checked_add(1)
    }

    fn iter(&self) -> impl Iterator<Item = BuyerId> {
        self.blocks.iter().flatten().map(|(_, buyer)| *buyer)
    }

    /// The block in which a ticket must be, if it is in any.
    fn block_of(&self, ticket: u64) -> usize {
        self.blocks
            .partition_point(|block| block.last().is_some_and(|(last, _)| *last < ticket))
    }
}

fn place_in(block: &[(u64, BuyerId)], ticket: u64) -> Option<usize> {
    block
        .binary_search_by_key(&ticket, |(known, _)| *known)
        .ok()
}

/// How tickets fall into blocks depends on the past of the queue, and means nothing.
impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len
            && self
                .blocks
                .iter()
                .flatten()
                .eq(other.blocks.iter().flatten())
    }
}

impl Eq for Queue {}
