//! Who came first, judged from outside: no knowledge of the server, only what was sent and answered when.
//!
//! An answer that rests on "nothing is left" is wrong if, whatever happened between sending and answering, at least
//! one unit must have been free. Hence every bound below leans to the side of the server: a unit counts as taken from
//! the moment an order for it was sent, as free for certain only after a cancellation was confirmed or a deadline has
//! passed by `EXPIRY_LAG_US`. What is reported is therefore real; what is not reported may still be luck.

use super::history::{End, Order, Refusal, Unanswered, Word};

/// A hold may live so much longer than its deadline before its unit counts as free for certain.
const EXPIRY_LAG_US: i64 = 1_000_000;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Pairs of orders decided against their order of arrival, and holds given to latecomers after a wrong refusal.
    pub(crate) first_come_inversions: u64,
    /// Refused, although a unit was free for certain.
    pub(crate) refused_wrongly: u64,
    /// Told `sold_out`, although not every unit can have been paid for.
    pub(crate) sold_out_too_early: u64,
    /// Told `all_held`, although every unit had been paid for.
    pub(crate) all_held_too_late: u64,
    /// Most units that were certainly out at one moment beyond those that exist.
    pub(crate) units_over: u64,
    pub(crate) resale_us: Vec<u64>,
}

/// Everything about one sale of `units`, each order for one unit.
#[derive(Debug)]
pub(crate) struct Arrivals<'a> {
    pub(crate) units: u64,
    pub(crate) hold_us: u64,
    pub(crate) orders: &'a [Order],
    pub(crate) refusals: &'a [Refusal],
    pub(crate) unanswered: &'a [Unanswered],
}

impl Arrivals<'_> {
    pub(crate) fn judge(&self) -> Findings {
        let wrong = self.wrong_refusals();
        let overtaken = self.overtaken(wrong.answered_us);
        Findings {
            first_come_inversions: self.inverted_pairs() + overtaken,
            refused_wrongly: wrong.although_free,
            sold_out_too_early: wrong.sold_out_too_early,
            all_held_too_late: wrong.all_held_too_late,
            units_over: self.units_over(),
            resale_us: self.resale_us(),
        }
    }

    /// Pairs where the answer to A had arrived before B was sent, and yet A has the higher sequence.
    fn inverted_pairs(&self) -> u64 {
        let mut by_answer: Vec<(u64, u64)> = self
            .orders
            .iter()
            .map(|order| (order.answered_us, order.sequence))
            .collect();
        let mut by_sending: Vec<(u64, u64)> = self
            .orders
            .iter()
            .map(|order| (order.sent_us, order.sequence))
            .collect();
        by_answer.sort_unstable();
        by_sending.sort_unstable();
        let mut answered = Ranks::new(self.orders.iter().map(|order| order.sequence).collect());
        let mut earlier = by_answer.into_iter().peekable();
        let mut pairs = 0;
        for (sent_us, sequence) in by_sending {
            while let Some((_, sequence)) =
                earlier.next_if(|(answered_us, _)| *answered_us < sent_us)
            {
                answered.insert(sequence);
            }
            pairs += answered.count_above(sequence);
        }
        pairs
    }

    /// Each hold whose request was sent after a wrong refusal had arrived took what the refused one should have had;
    /// one wrong refusal explains one such hold.
    fn overtaken(&self, mut wrongly_refused_us: Vec<u64>) -> u64 {
        wrongly_refused_us.sort_unstable();
        let mut sent_us = sorted(self.orders.iter().map(|order| order.sent_us));
        sent_us.reverse();
        let mut overtaken = 0;
        for refused_us in wrongly_refused_us.into_iter().rev() {
            // Latest refusal, latest hold: the pairing that explains most.
            if sent_us
                .get(overtaken)
                .is_some_and(|sent_us| *sent_us > refused_us)
            {
                overtaken += 1;
            }
        }
        overtaken as u64
    }

    fn wrong_refusals(&self) -> WrongRefusals {
        let taken_us = sorted(
            self.orders
                .iter()
                .map(|order| order.sent_us)
                .chain(self.unanswered.iter().map(|lost| lost.sent_us)),
        );
        let freed_us = sorted(self.orders.iter().filter_map(free_for_certain_us));
        let maybe_paid_us = sorted(self.orders.iter().filter_map(paid_at_the_earliest_us));
        let paid_us = sorted(self.orders.iter().filter_map(paid_for_certain_us));
        let mut wrong = WrongRefusals::default();
        for refusal in self.refusals {
            let out_at_most = count_until(&taken_us, refusal.answered_us)
                .saturating_sub(count_until(&freed_us, refusal.sent_us));
            let although_free = out_at_most < self.units;
            let too_early = refusal.word == Word::SoldOut
                && count_until(&maybe_paid_us, refusal.answered_us) < self.units;
            let too_late = refusal.word == Word::AllHeld
                && count_until(&paid_us, refusal.sent_us) >= self.units;
            wrong.all_held_too_late += u64::from(too_late);
            wrong.although_free += u64::from(although_free);
            wrong.sold_out_too_early += u64::from(too_early);
            if although_free || too_early {
                wrong.answered_us.push(refusal.answered_us);
            }
        }
        wrong
    }

    /// At the k-th answered hold at least k - `units` units must have come back before; counts where they cannot have.
    fn units_over(&self) -> u64 {
        let held_us = sorted(self.orders.iter().map(|order| order.answered_us));
        let returns = self
            .orders
            .iter()
            .filter_map(|order| order.free_at_the_earliest_us(self.hold_us));
        // An order that nobody heard of may have come and gone as well.
        let unheard = self
            .unanswered
            .iter()
            .map(|lost| lost.sent_us + self.hold_us);
        let returned_us = sorted(returns.chain(unheard));
        let over = |(index, answered_us): (usize, &u64)| {
            let held = index as u64 + 1;
            held.saturating_sub(self.units + count_until(&returned_us, *answered_us))
        };
        held_us.iter().enumerate().map(over).max().unwrap_or(0)
    }

    /// The first holds take the units there are; each later one is matched with the next unit that became free, in
    /// order of time: at the deadline its buyer was told, or with the answer to the cancellation. The time in between
    /// includes the pause until some buyer looks again, and is 0 where the hold was answered before the cancellation.
    fn resale_us(&self) -> Vec<u64> {
        let held_us = sorted(self.orders.iter().map(|order| order.answered_us));
        let freed_us = sorted(self.orders.iter().filter_map(freed_by_word_us));
        let resold_us = held_us
            .into_iter()
            .skip(usize::try_from(self.units).unwrap_or(usize::MAX));
        resold_us
            .zip(freed_us)
            .map(|(held_us, freed_us)| held_us.saturating_sub(freed_us))
            .collect()
    }
}

#[derive(Default)]
struct WrongRefusals {
    although_free: u64,
    sold_out_too_early: u64,
    all_held_too_late: u64,
    /// When each of the first two kinds arrived.
    answered_us: Vec<u64>,
}

fn free_for_certain_us(order: &Order) -> Option<u64> {
    match order.end {
        End::Paid { .. } | End::Unknown { .. } => None,
        End::Cancelled { answered_us, .. } => Some(answered_us),
        End::Left | End::TooLate => {
            Some(u64::try_from(order.pay_by_us + EXPIRY_LAG_US).unwrap_or(0))
        }
    }
}

fn freed_by_word_us(order: &Order) -> Option<u64> {
    match order.end {
        End::Paid { .. } | End::Unknown { .. } => None,
        End::Cancelled { answered_us, .. } => Some(answered_us),
        End::Left | End::TooLate => Some(u64::try_from(order.pay_by_us).unwrap_or(0)),
    }
}

fn paid_at_the_earliest_us(order: &Order) -> Option<u64> {
    match order.end {
        End::Paid { sent_us, .. } | End::Unknown { sent_us } => Some(sent_us),
        End::Left | End::TooLate | End::Cancelled { .. } => None,
    }
}

fn paid_for_certain_us(order: &Order) -> Option<u64> {
    match order.end {
        End::Paid { answered_us, .. } => Some(answered_us),
        End::Left | End::TooLate | End::Cancelled { .. } | End::Unknown { .. } => None,
    }
}

fn sorted(times_us: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut times_us: Vec<u64> = times_us.collect();
    times_us.sort_unstable();
    times_us
}

fn count_until(sorted_us: &[u64], until_us: u64) -> u64 {
    sorted_us.partition_point(|at_us| *at_us <= until_us) as u64
}

/// Counts inserted numbers above a given one: a Fenwick tree over the ranks of numbers known beforehand.
struct Ranks {
    sorted: Vec<u64>,
    tree: Vec<u64>,
    inserted: u64,
}

impl Ranks {
    fn new(mut numbers: Vec<u64>) -> Self {
        numbers.sort_unstable();
        let tree = vec![0; numbers.len() + 1];
        Self {
            sorted: numbers,
            tree,
            inserted: 0,
        }
    }

    fn insert(&mut self, number: u64) {
        self.inserted += 1;
        let mut at = self.rank(number);
        while at < self.tree.len() {
            self.tree[at] += 1;
            at += at & at.wrapping_neg();
        }
    }

    fn count_above(&self, number: u64) -> u64 {
        let mut at = self.rank(number);
        let mut up_to = 0;
        while at > 0 {
            up_to += self.tree[at];
            at -= at & at.wrapping_neg();
        }
        self.inserted - up_to
    }

    /// From 1; equal numbers share the highest rank among them.
    fn rank(&self, number: u64) -> usize {
        self.sorted.partition_point(|other| *other <= number)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HOLD_US: u64 = 10_000_000;

    fn order(sequence: u64, sent_us: u64, answered_us: u64, end: End) -> Order {
        let pay_by_us = (sent_us + HOLD_US) as i64;
        Order {
            id: Uuid::from_u64_pair(0, sequence),
            buyer: 0,
            sequence,
            sent_us,
            answered_us,
            pay_by_us,
            end,
        }
    }

    fn paid(sequence: u64, sent_us: u64, answered_us: u64) -> Order {
        order(
            sequence,
            sent_us,
            answered_us,
            End::Paid {
                sent_us: answered_us + 1,
                answered_us: answered_us + 2,
            },
        )
    }

    fn refusal(word: Word, sent_us: u64, answered_us: u64) -> Refusal {
        Refusal {
            word,
            sent_us,
            answered_us,
        }
    }

    fn check(units: u64, orders: &[Order], refusals: &[Refusal], expected: Findings) {
        let arrivals = Arrivals {
            units,
            hold_us: HOLD_US,
            orders,
            refusals,
            unanswered: &[],
        };
        assert_eq!(arrivals.judge(), expected);
    }

    #[test]
    fn answers_in_order_of_arrival_are_right() {
        let orders = [paid(1, 0, 10), paid(2, 20, 30), paid(3, 25, 35)];
        check(
            3,
            &orders,
            &[
                refusal(Word::AllHeld, 26, 27),
                refusal(Word::SoldOut, 40, 50),
            ],
            Findings::default(),
        );
    }

    #[test]
    fn requests_in_flight_together_may_be_decided_either_way() {
        check(
            2,
            &[paid(2, 0, 10), paid(1, 5, 15)],
            &[],
            Findings::default(),
        );
    }

    #[test]
    fn every_overtaken_pair_counts() {
        let orders = [paid(9, 0, 10), paid(2, 20, 30), paid(1, 40, 50)];
        check(
            3,
            &orders,
            &[],
            Findings {
                first_come_inversions: 3,
                ..Findings::default()
            },
        );
    }

    #[test]
    fn a_refusal_while_a_unit_is_free_is_wrong_and_the_next_holder_overtook() {
        let orders = [paid(1, 0, 10), paid(2, 100, 110)];
        let expected = Findings {
            refused_wrongly: 1,
            first_come_inversions: 1,
            ..Findings::default()
        };
        check(2, &orders, &[refusal(Word::AllHeld, 50, 60)], expected);
    }

    #[test]
    fn sold_out_is_said_only_when_all_is_paid() {
        let left = order(1, 0, 10, End::Left);
        let resold = paid(2, 10_100_000, 10_200_000);
        let expected = Findings {
            sold_out_too_early: 1,
            first_come_inversions: 1,
            resale_us: vec![200_000],
            ..Findings::default()
        };
        check(
            1,
            &[left.clone(), resold.clone()],
            &[refusal(Word::SoldOut, 50, 60)],
            expected,
        );
        let expected = Findings {
            resale_us: vec![200_000],
            ..Findings::default()
        };
        check(
            1,
            &[left, resold],
            &[refusal(Word::AllHeld, 50, 60)],
            expected,
        );
    }

    #[test]
    fn all_held_is_not_said_once_all_is_paid() {
        let expected = Findings {
            all_held_too_late: 1,
            ..Findings::default()
        };
        check(
            1,
            &[paid(1, 0, 10)],
            &[
                refusal(Word::AllHeld, 12, 20),
                refusal(Word::SoldOut, 12, 20),
            ],
            expected,
        );
        check(
            1,
            &[paid(1, 0, 10)],
            &[refusal(Word::AllHeld, 11, 20)],
            Findings::default(),
        );
    }

    #[test]
    fn a_unit_comes_back_at_the_deadline_or_by_cancellation() {
        let cancelled = order(
            1,
            0,
            10,
            End::Cancelled {
                sent_us: 20,
                answered_us: 30,
            },
        );
        check(
            1,
            &[cancelled, paid(2, 25, 40)],
            &[],
            Findings {
                resale_us: vec![10],
                ..Findings::default()
            },
        );
    }

    #[test]
    fn a_unit_held_twice_at_once_is_over() {
        let left = order(1, 0, 10, End::Left);
        let expected = Findings {
            units_over: 1,
            resale_us: vec![0],
            ..Findings::default()
        };
        check(1, &[left, paid(2, 20, 30)], &[], expected);
    }

    #[test]
    fn a_hold_that_never_came_back_makes_a_late_refusal_wrong() {
        let left = order(1, 0, 10, End::Left);
        let late_us = HOLD_US + EXPIRY_LAG_US as u64 + 1;
        let expected = Findings {
            refused_wrongly: 1,
            ..Findings::default()
        };
        check(
            1,
            std::slice::from_ref(&left),
            &[refusal(Word::AllHeld, late_us, late_us + 5)],
            expected,
        );
        check(
            1,
            &[left],
            &[refusal(Word::AllHeld, HOLD_US, HOLD_US + 5)],
            Findings::default(),
        );
    }

    #[test]
    fn an_unanswered_order_excuses_a_refusal() {
        let arrivals = Arrivals {
            units: 1,
            hold_us: HOLD_US,
            orders: &[],
            refusals: &[refusal(Word::AllHeld, 50, 60)],
            unanswered: &[Unanswered { sent_us: 10 }],
        };
        assert_eq!(arrivals.judge(), Findings::default());
    }
}
