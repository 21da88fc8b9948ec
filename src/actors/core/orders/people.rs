//! People and their orders: the open ones and those at rest, each list by the sequence of the orders.
//!
//! Most people have one order, which needs no list. Longer lists are kept apart, so that a person takes 32 bytes.

use std::collections::VecDeque;

use super::index::HandleIndex;
use super::slab::{Handle, Slab};
use crate::domain::{BuyerId, hash_of};

#[derive(Debug, Default)]
pub(super) struct People {
    people: Slab<Person>,
    index: HandleIndex,
    /// Lists of two and more.
    lists: Slab<VecDeque<Handle>>,
}

#[derive(Debug)]
struct Person {
    id: [u8; 16],
    /// Something happens to them by itself, or a provider owes an answer.
    open: List,
    at_rest: List,
}

#[cfg(test)]
pub(super) const BYTES: usize = size_of::<Option<Person>>();

#[derive(Debug, Clone, Copy, Default)]
enum List {
    #[default]
    Empty,
    One(Handle),
    Many(Handle),
}

/// Which list of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Open,
    AtRest,
}

impl Which {
    pub(super) fn of(is_at_rest: bool) -> Self {
        if is_at_rest { Self::AtRest } else { Self::Open }
    }
}

impl People {
    pub(super) fn find(&self, buyer: BuyerId) -> Option<Handle> {
        let id = buyer.to_bytes();
        self.index
            .find(hash_of(buyer.get()), |handle| self.people[handle].id == id)
    }

    pub(super) fn find_or_add(&mut self, buyer: BuyerId) -> Handle {
        self.find(buyer).unwrap_or_else(|| self.add(buyer))
    }

    fn add(&mut self, buyer: BuyerId) -> Handle {
        let Self { people, index, .. } = self;
        let person = people.insert(Person {
            id: buyer.to_bytes(),
            open: List::Empty,
            at_rest: List::Empty,
        });
        index.insert(hash_of(buyer.get()), person, |it| people[it].hash());
        person
    }

    pub(super) fn id(&self, person: Handle) -> BuyerId {
        BuyerId::from_bytes(self.people[person].id)
    }

    /// The orders of one list that come before a sequence, the oldest first. `sequence_of` reads the sequence of an order.
    pub(super) fn orders(
        &self,
        person: Handle,
        which: Which,
        before: u64,
        sequence_of: impl Fn(Handle) -> u64,
    ) -> impl DoubleEndedIterator<Item = Handle> {
        let (one, many) = match *self.people[person].list(which) {
            List::Empty => (None, None),
            List::One(order) => (Some(order).filter(|it| sequence_of(*it) < before), None),
            List::Many(list) => {
                let list = &self.lists[list];
                let end = list.partition_point(|it| sequence_of(*it) < before);
                (None, Some(list.range(..end)))
            }
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }

    pub(super) fn insert(
        &mut self,
        person: Handle,
        which: Which,
        order: Handle,
        sequence_of: impl Fn(Handle) -> u64,
    ) {
        let list = self.people[person].list_mut(which);
        match *list {
            List::Empty => *list = List::One(order),
            List::One(other) => {
                let both = if sequence_of(other) < sequence_of(order) {
                    [other, order]
                } else {
                    [order, other]
                };
                *list = List::Many(self.lists.insert(VecDeque::from(both)));
            }
            List::Many(many) => {
                let many = &mut self.lists[many];
                // Mostly at the end: who was placed last comes to rest about last, too.
                let place = many.partition_point(|it| sequence_of(*it) < sequence_of(order));
                many.insert(place, order);
            }
        }
    }

    /// The person goes with their last order.
    pub(super) fn remove(
        &mut self,
        person: Handle,
        which: Which,
        order: Handle,
        sequence_of: impl Fn(Handle) -> u64,
    ) {
        self.take_out(person, which, order, sequence_of);
        let Self { people, index, .. } = self;
        if let (List::Empty, List::Empty) = (people[person].open, people[person].at_rest) {
            let hash = people[person].hash();
            index.remove(hash, person);
            people.remove(person);
        }
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 2] {
        [self.people.len(), self.lists.len()]
    }

    /// From one list of a person to the other.
    pub(super) fn put(
        &mut self,
        person: Handle,
        into: Which,
        order: Handle,
        sequence_of: impl Fn(Handle) -> u64,
    ) {
        let from = match into {
            Which::Open => Which::AtRest,
            Which::AtRest => Which::Open,
        };
        self.take_out(person, from, order, &sequence_of);
        self.insert(person, into, order, &sequence_of);
    }

    fn take_out(
        &mut self,
        person: Handle,
        which: Which,
        order: Handle,
        sequence_of: impl Fn(Handle) -> u64,
    ) {
        let list = self.people[person].list_mut(which);
        match *list {
            List::One(one) if one == order => *list = List::Empty,
            List::Many(handle) => {
                let many = &mut self.lists[handle];
                let place = many.partition_point(|it| sequence_of(*it) < sequence_of(order));
                assert_eq!(many.remove(place), Some(order), "{NOT_IN_LIST}");
                give_room_back(many);
                if let [last] = *many.make_contiguous() {
                    *list = List::One(last);
                    self.lists.remove(handle);
                }
            }
            List::Empty | List::One(_) => panic!("{NOT_IN_LIST}"),
        }
    }
}

const NOT_IN_LIST: &str = "an order is not in the list of its buyer";

fn give_room_back(list: &mut VecDeque<Handle>) {
    const CAPACITY_MIN: usize = 16;
    let wanted = list.len().saturating_mul(2).max(CAPACITY_MIN);
    if list.capacity() > wanted.saturating_mul(2) {
        list.shrink_to(wanted);
    }
}

impl Person {
    fn hash(&self) -> u64 {
        hash_of(u128::from_be_bytes(self.id))
    }

    fn list(&self, which: Which) -> &List {
        match which {
            Which::Open => &self.open,
            Which::AtRest => &self.at_rest,
        }
    }

    fn list_mut(&mut self, which: Which) -> &mut List {
        match which {
            Which::Open => &mut self.open,
            Which::AtRest => &mut self.at_rest,
        }
    }
}
