//! Who has how many units of a product in hand: held, offered or bought. People with none are not kept.

use crate::domain::{BuyerId, HashBuckets, hash_of};

#[derive(Clone, Debug, Default)]
pub struct InHand {
    people: HashBuckets<Entry>,
}

/// Twenty bytes: an id that is a `u128` would be padded to 32 with its count.
#[derive(Clone, Copy, Debug)]
struct Entry {
    buyer: [u8; 16],
    units: u32,
}

impl InHand {
    pub fn of(&self, buyer: BuyerId) -> u64 {
        let bytes = buyer.to_bytes();
        let known = self
            .people
            .find(hash_of(buyer.get()), |entry| entry.buyer == bytes);
        known.map_or(0, |entry| u64::from(entry.units))
    }

    pub fn iter(&self) -> impl Iterator<Item = (BuyerId, u64)> + '_ {
        let entries = self.people.iter();
        entries.map(|entry| (BuyerId::from_bytes(entry.buyer), u64::from(entry.units)))
    }

    pub fn give(&mut self, buyer: BuyerId, units: u64) {
        let units = u32::try_from(units).ok();
        let sum = match self.entry(buyer) {
            Some(known) => {
                let sum = units.and_then(|units| known.units.checked_add(units));
                known.units = sum.unwrap_or(known.units);
                sum
            }
            None => {
                let entry = Entry {
                    buyer: buyer.to_bytes(),
                    units: units.unwrap_or(0),
                };
                self.people.insert(entry.hash(), entry, Entry::hash);
                units
            }
        };
        sum.expect("what a person has in hand overflowed");
    }

    pub fn take(&mut self, buyer: BuyerId, units: u64) {
        let known = self
            .entry(buyer)
            .expect("a unit came back from somebody who had none");
        known.units = u32::try_from(units)
            .ok()
            .and_then(|units| known.units.checked_sub(units))
            .expect("more units came back than a person had");
        if known.units == 0 {
            let bytes = buyer.to_bytes();
            self.people
                .remove(hash_of(buyer.get()), |entry| entry.buyer == bytes);
        }
    }

    fn entry(&mut self, buyer: BuyerId) -> Option<&mut Entry> {
        let bytes = buyer.to_bytes();
        self.people
            .find_mut(hash_of(buyer.get()), |entry| entry.buyer == bytes)
    }
}

impl Entry {
    fn hash(&self) -> u64 {
        hash_of(u128::from_be_bytes(self.buyer))
    }
}

impl PartialEq for InHand {
    fn eq(&self, other: &Self) -> bool {
        self.people.len() == other.people.len()
            && self.iter().all(|(buyer, units)| other.of(buyer) == units)
    }
}

impl Eq for InHand {}

impl FromIterator<(BuyerId, u64)> for InHand {
    fn from_iter<I: IntoIterator<Item = (BuyerId, u64)>>(people: I) -> Self {
        let mut in_hand = Self::default();
        for (buyer, units) in people {
            in_hand.give(buyer, units);
        }
        in_hand
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn buyer(number: u128) -> BuyerId {
        BuyerId::new(number.wrapping_mul(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abd))
    }

    #[test]
    fn people_are_counted_however_many_come_and_go() {
        let mut in_hand = InHand::default();
        let mut model: BTreeMap<BuyerId, u64> = BTreeMap::new();
        for number in 0..20_000 {
            let (person, units) = (buyer(number % 12_000), 1 + u64::from(number % 3 == 0));
            in_hand.give(person, units);
            *model.entry(person).or_default() += units;
        }
        let counted: BTreeMap<_, _> = in_hand.iter().collect();
        assert_eq!(counted, model);
        assert_eq!(in_hand.of(buyer(20_000)), 0);
        for (person, units) in model.iter().skip(10) {
            in_hand.take(*person, units - 1);
            in_hand.take(*person, 1);
        }
        let left: BTreeMap<_, _> = in_hand.iter().collect();
        let expected: BTreeMap<_, _> = model.into_iter().take(10).collect();
        assert_eq!(left, expected);
        let mut few = InHand::default();
        for (person, units) in &left {
            few.give(*person, *units);
        }
        assert_eq!(few, in_hand, "the same people, by another past");
    }

    #[test]
    #[should_panic(expected = "somebody who had none")]
    fn a_unit_that_nobody_has_does_not_come_back() {
        InHand::default().take(buyer(1), 1);
    }

    #[test]
    #[should_panic(expected = "more units came back")]
    fn nobody_gives_back_more_than_they_have() {
        let mut in_hand = InHand::default();
        in_hand.give(buyer(1), 2);
        in_hand.take(buyer(1), 3);
    }
}
