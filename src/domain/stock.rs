//! The stock of one product as double-entry books: every unit is in exactly one bucket, every change is a posting
//! from one bucket to another, so conservation holds by construction and is asserted all the same.

use super::ProductId;

/// Where a unit can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Not in the books: new supply comes from here.
    Outside,
    Available,
    /// Live holds, paying ones included.
    Held,
    /// Offered to somebody on the waitlist.
    Offered,
    /// Paid and later.
    Sold,
    /// Return accepted, restock not yet due.
    Returning,
    /// Taken out by an admin.
    Withdrawn,
}

/// A number of units of one product going from one bucket to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Posting {
    pub product: ProductId,
    pub from: Bucket,
    pub to: Bucket,
    pub units: u64,
}

/// What a posting means for the person whose units they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handover {
    Given,
    TakenBack,
}

/// What a shopper is told; only `SoldOut` is final.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Availability {
    Available,
    AllHeld,
    SoldOut,
}

/// Units by bucket, and how many more an admin wants out as soon as they come free.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stock {
    pub available: u64,
    pub held: u64,
    pub offered: u64,
    pub sold: u64,
    pub returning: u64,
    pub withdrawn: u64,
    pub withdrawal_pending: u64,
}

impl Bucket {
    /// A person's limit counts these: what they hold, are offered, or have bought.
    pub const fn is_in_hand(self) -> bool {
        matches!(self, Self::Held | Self::Offered | Self::Sold)
    }
}

impl Posting {
    /// `None`: what the person has in hand stays as it is.
    pub const fn handover(&self) -> Option<Handover> {
        match (self.from.is_in_hand(), self.to.is_in_hand()) {
            (false, true) => Some(Handover::Given),
            (true, false) => Some(Handover::TakenBack),
            (true, true) | (false, false) => None,
        }
    }
}

impl Stock {
    /// Units that people have in hand.
    pub const fn in_hand(&self) -> u64 {
        self.held
            .saturating_add(self.offered)
            .saturating_add(self.sold)
    }

    /// Every unit in the books, withdrawn ones included.
    pub fn total(&self) -> u64 {
        [
            self.available,
            self.held,
            self.offered,
            self.sold,
            self.returning,
            self.withdrawn,
        ]
        .iter()
        .try_fold(0_u64, |sum, units| sum.checked_add(*units))
        .expect("the stock of a product overflowed")
    }

    /// Units in a bucket; there is no end to what is outside.
    pub const fn units(&self, bucket: Bucket) -> u64 {
        match bucket {
            Bucket::Outside => u64::MAX,
            Bucket::Available => self.available,
            Bucket::Held => self.held,
            Bucket::Offered => self.offered,
            Bucket::Sold => self.sold,
            Bucket::Returning => self.returning,
            Bucket::Withdrawn => self.withdrawn,
        }
    }

    pub fn availability(&self) -> Availability {
        if self.available > 0 {
            Availability::Available
        } else if self.may_come_back() > self.withdrawal_pending {
            Availability::AllHeld
        } else {
            Availability::SoldOut
        }
    }

    /// How many of `freed` units go to a pending withdrawal before anybody else gets them.
    pub fn owed_to_withdrawal(&self, freed: u64) -> u64 {
        self.withdrawal_pending.min(freed)
    }

    /// Books the units over. Panics rather than wrap: a unit that is not there must stop the engine.
    pub fn post(&mut self, posting: &Posting) {
        let total_before = self.total();
        if let Some(source) = self.bucket(posting.from) {
            *source = source.checked_sub(posting.units).unwrap_or_else(|| {
                panic!("a unit was taken out of an empty bucket by {posting:?}")
            });
        }
        if let Some(target) = self.bucket(posting.to) {
            *target = target
                .checked_add(posting.units)
                .expect("the stock of a product overflowed");
        }
        if posting.to == Bucket::Withdrawn {
            self.withdrawal_pending = self.withdrawal_pending.saturating_sub(posting.units);
        }
        self.assert_conserved(total_before, posting);
    }

    fn assert_conserved(&self, total_before: u64, posting: &Posting) {
        let supplied = match (posting.from, posting.to) {
            (Bucket::Outside, _) => posting.units,
            _ => 0,
        };
        assert_eq!(
            Some(self.total()),
            total_before.checked_add(supplied),
            "a unit was lost or made twice by {posting:?}"
        );
    }

    fn may_come_back(&self) -> u64 {
        self.held
            .saturating_add(self.offered)
            .saturating_add(self.returning)
    }

    fn bucket(&mut self, bucket: Bucket) -> Option<&mut u64> {
        match bucket {
            Bucket::Outside => None,
            Bucket::Available => Some(&mut self.available),
            Bucket::Held => Some(&mut self.held),
            Bucket::Offered => Some(&mut self.offered),
            Bucket::Sold => Some(&mut self.sold),
            Bucket::Returning => Some(&mut self.returning),
            Bucket::Withdrawn => Some(&mut self.withdrawn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posting(from: Bucket, to: Bucket, units: u64) -> Posting {
        Posting {
            product: ProductId::new(1),
            from,
            to,
            units,
        }
    }

    #[test]
    fn units_only_ever_change_buckets() {
        let mut stock = Stock::default();
        stock.post(&posting(Bucket::Outside, Bucket::Available, 10));
        stock.post(&posting(Bucket::Available, Bucket::Held, 4));
        stock.post(&posting(Bucket::Held, Bucket::Sold, 1));
        assert_eq!((stock.available, stock.held, stock.sold), (6, 3, 1));
        assert_eq!(stock.total(), 10);
    }

    #[test]
    #[should_panic(expected = "empty bucket")]
    fn a_unit_that_is_not_there_stops_the_engine() {
        Stock::default().post(&posting(Bucket::Available, Bucket::Held, 1));
    }

    #[test]
    fn held_units_that_a_withdrawal_claims_do_not_come_back() {
        let stock = Stock {
            held: 2,
            sold: 1,
            withdrawal_pending: 2,
            ..Stock::default()
        };
        assert_eq!(stock.availability(), Availability::SoldOut);
    }
}
