//! Do the server's books agree with what its clients saw? A pure judgement over collected evidence.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::arrivals::Findings;
use super::history::{Complaints, End, Order, TurnedAway};
use crate::api::{ListedOrder, Stock};

/// Everything known after the last deadline has passed.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) units: u64,
    pub(crate) per_person: u64,
    pub(crate) hold_us: u64,
    /// In the order of `Order::buyer`.
    pub(crate) buyer_ids: Vec<Uuid>,
    pub(crate) orders: Vec<Order>,
    pub(crate) findings: Findings,
    pub(crate) turned_away: TurnedAway,
    pub(crate) complaints: Vec<String>,
    pub(crate) stock: Stock,
    /// The state of each order as its buyer reads it now, in the order of `orders`; `None` if it is not found.
    pub(crate) states: Vec<Option<String>>,
    /// All orders of the product, as the admin reads them.
    pub(crate) listed: Vec<ListedOrder>,
    /// How many seconds the sale was given, if it did not end within them.
    pub(crate) gave_up_after_s: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) oversold: u64,
    pub(crate) undersold: u64,
    pub(crate) leaked: u64,
    pub(crate) first_come_inversions: u64,
    /// One line for each thing that is wrong; empty if the books are right.
    pub(crate) why: Vec<String>,
}

impl Evidence {
    pub(crate) fn judge(&self) -> Verdict {
        let mut verdict = Verdict {
            oversold: self.oversold(),
            undersold: self.undersold(),
            leaked: self.leaked(),
            first_come_inversions: self.findings.first_come_inversions,
            why: Vec::new(),
        };
        let mut why = self.explain(&verdict);
        why.extend(self.check_stock());
        why.extend(self.check_orders());
        why.extend(self.check_list());
        why.extend(self.check_limit());
        why.extend(self.complaints.iter().cloned());
        verdict.why = why;
        verdict
    }

    /// Whoever counts most is believed: the server's number, the buyers' receipts, the list, or the holds of one moment.
    fn oversold(&self) -> u64 {
        let counts = [self.stock.sold, self.paid_by_receipt(), self.paid_by_list()];
        let most = counts.into_iter().max().unwrap_or(0);
        most.saturating_sub(self.units)
            .max(self.findings.units_over)
    }

    /// Units left although buyers who would have paid were turned away.
    fn undersold(&self) -> u64 {
        let left = self.units.saturating_sub(self.stock.sold);
        left.min(self.turned_away.sold_out + self.turned_away.all_held)
    }

    /// After all deadlines nothing may be held any more, and the parts must make up the total.
    fn leaked(&self) -> u64 {
        self.stock.held + self.stock.offered + self.units.abs_diff(self.parts())
    }

    fn parts(&self) -> u64 {
        let Stock {
            total: _,
            available,
            held,
            offered,
            sold,
            returning,
            withdrawn,
        } = self.stock;
        available + held + offered + sold + returning + withdrawn
    }

    fn paid_by_receipt(&self) -> u64 {
        paid_by_receipt(&self.orders.iter().collect::<Vec<_>>())
    }

    fn paid_by_list(&self) -> u64 {
        self.listed
            .iter()
            .filter(|order| is_sold(&order.state))
            .count() as u64
    }

    fn explain(&self, verdict: &Verdict) -> Vec<String> {
        let units = self.units;
        let away = self.turned_away;
        let found = &self.findings;
        [
            (verdict.oversold, format!("{} units too many were held or sold of {units}", verdict.oversold)),
            (
                verdict.undersold,
                format!("{} units were left although {} buyers who would have paid were told sold_out and {} all_held to the end", verdict.undersold, away.sold_out, away.all_held),
            ),
            (verdict.leaked, format!("{} units are held or missing after every deadline has passed", verdict.leaked)),
            (verdict.first_come_inversions, format!("{} times a later request was served before an earlier one", verdict.first_come_inversions)),
            (found.refused_wrongly, format!("{} orders were refused while a unit was certainly free", found.refused_wrongly)),
            (found.sold_out_too_early, format!("{} orders were told sold_out before every unit was paid for", found.sold_out_too_early)),
            (found.all_held_too_late, format!("{} orders were told all_held after every unit was paid for", found.all_held_too_late)),
            (away.no_answer, format!("{} buyers never got an answer", away.no_answer)),
            (self.gave_up_after_s.unwrap_or(0), format!("the sale did not end within {} s; see --time-limit-seconds", self.gave_up_after_s.unwrap_or(0))),
        ]
        .into_iter()
        .filter_map(|(count, line)| (count > 0).then_some(line))
        .collect()
    }

    fn check_stock(&self) -> Vec<String> {
        let mut why = Vec::new();
        let Stock {
            total,
            available,
            held,
            offered,
            sold,
            returning,
            withdrawn,
        } = self.stock;
        if total != self.units {
            why.push(format!(
                "the product has {total} units and was made with {}",
                self.units
            ));
        }
        if total != self.parts() {
            why.push(format!(
                "total {total} is not available {available} + held {held} + offered {offered} + sold {sold} + returning {returning} + withdrawn {withdrawn}"
            ));
        }
        let unknown = self
            .orders
            .iter()
            .filter(|order| matches!(order.end, End::Unknown { .. }))
            .count() as u64;
        let receipts = self.paid_by_receipt();
        if !(receipts..=receipts + unknown).contains(&sold) {
            why.push(format!("{sold} units are sold by the server's count, {receipts} by the receipts of the buyers ({unknown} without an answer)"));
        }
        why
    }

    /// Every order that was answered 201 is found again, in a state that its story allows.
    fn check_orders(&self) -> Vec<String> {
        let mut wrong = Complaints::default();
        let mut sequences = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for (order, state) in self.orders.iter().zip(&self.states) {
            let id = order.id;
            match state {
                None => wrong.add("an order answered 201 is gone", || format!("{id}")),
                Some(state) if !is_legal(order.end, state) => {
                    wrong.add(
                        "an order is in a state that its buyer's story does not allow",
                        || format!("{id} is `{state}` after {:?}", order.end),
                    );
                }
                Some(_) => {}
            }
            if !sequences.insert(order.sequence) {
                wrong.add("a sequence number was given twice", || {
                    format!("{} to {id}", order.sequence)
                });
            }
            if !ids.insert(id) {
                wrong.add("an order id was given twice", || format!("{id}"));
            }
        }
        wrong.lines()
    }

    /// The admin's list has the same orders, each once, each with its buyer, and the same number sold.
    fn check_list(&self) -> Vec<String> {
        let mut wrong = Complaints::default();
        let mut listed = BTreeMap::new();
        for entry in &self.listed {
            if listed.insert(entry.id, entry).is_some() {
                wrong.add("an order is listed twice", || format!("{}", entry.id));
            }
        }
        for order in &self.orders {
            let buyer_id = self.buyer_ids.get(order.buyer);
            match listed.get(&order.id) {
                None => wrong.add("an order answered 201 is not in the admin's list", || {
                    format!("{}", order.id)
                }),
                Some(entry) if entry.buyer_id.is_some() && entry.buyer_id.as_ref() != buyer_id => {
                    wrong.add("an order is listed under another buyer", || {
                        format!("{}", order.id)
                    });
                }
                Some(_) => {}
            }
        }
        let sold = self.paid_by_list();
        if sold != self.stock.sold {
            wrong.add(
                "the sold units differ from the paid orders in the admin's list",
                || format!("{} and {sold}", self.stock.sold),
            );
        }
        wrong.lines()
    }

    /// Of one buyer's orders, those that were certainly alive together, and those that were paid.
    fn check_limit(&self) -> Vec<String> {
        let mut by_buyer: BTreeMap<usize, Vec<&Order>> = BTreeMap::new();
        for order in &self.orders {
            by_buyer.entry(order.buyer).or_default().push(order);
        }
        let mut wrong = Complaints::default();
        for (buyer, orders) in by_buyer {
            let had = self.held_at_once(&orders).max(paid_by_receipt(&orders));
            if had > self.per_person {
                let example = || format!("buyer {buyer} had {had} of {}", self.per_person);
                wrong.add("a buyer was given more than one may have", example);
            }
        }
        wrong.lines()
    }

    /// Most orders that were alive at one moment, whatever happened between sending and answering.
    fn held_at_once(&self, orders: &[&Order]) -> u64 {
        let is_alive = |order: &&&Order, at_us| {
            let is_free = order
                .free_at_the_earliest_us(self.hold_us)
                .is_some_and(|free_us| free_us <= at_us);
            order.answered_us <= at_us && !is_free
        };
        let alive = |at_us| orders.iter().filter(|order| is_alive(order, at_us)).count() as u64;
        orders
            .iter()
            .map(|order| alive(order.answered_us))
            .max()
            .unwrap_or(0)
    }
}

fn paid_by_receipt(orders: &[&Order]) -> u64 {
    orders
        .iter()
        .filter(|order| matches!(order.end, End::Paid { .. }))
        .count() as u64
}

/// Units that will not come back.
pub(crate) fn is_sold(state: &str) -> bool {
    matches!(state, "paid" | "shipped" | "delivered" | "completed")
}

fn is_given_up(state: &str) -> bool {
    matches!(state, "expired" | "cancelled")
}

fn is_legal(end: End, state: &str) -> bool {
    match end {
        End::Paid { .. } => is_sold(state),
        End::Cancelled { .. } => state == "cancelled",
        End::Left | End::TooLate => is_given_up(state),
        End::Unknown { .. } => is_sold(state) || is_given_up(state) || state == "refunded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAID: End = End::Paid {
        sent_us: 20,
        answered_us: 30,
    };

    /// Two units: one sold, one held and left by another buyer, and a third who would have had it went home.
    fn sale() -> Evidence {
        let order = |number: usize, end| Order {
            id: Uuid::from_u64_pair(1, number as u64),
            buyer: number,
            sequence: number as u64,
            sent_us: 0,
            answered_us: 10,
            pay_by_us: 100,
            end,
        };
        let listed = |number: u32, state: &str| ListedOrder {
            id: Uuid::from_u64_pair(1, number.into()),
            state: state.to_owned(),
            buyer_id: Some(Uuid::from_u64_pair(2, number.into())),
        };
        Evidence {
            units: 2,
            per_person: 1,
            hold_us: 100,
            buyer_ids: (0..2)
                .map(|number| Uuid::from_u64_pair(2, number))
                .collect(),
            orders: vec![order(0, PAID), order(1, End::Left)],
            findings: Findings::default(),
            turned_away: TurnedAway::default(),
            complaints: Vec::new(),
            stock: Stock {
                total: 2,
                available: 1,
                sold: 1,
                ..Stock::default()
            },
            states: vec![Some("paid".to_owned()), Some("expired".to_owned())],
            listed: vec![listed(0, "paid"), listed(1, "expired")],
            gave_up_after_s: None,
        }
    }

    /// Spoils a right sale and expects the verdict to name it.
    fn check(spoil: impl FnOnce(&mut Evidence), part: &str) -> Verdict {
        let mut evidence = sale();
        spoil(&mut evidence);
        let verdict = evidence.judge();
        assert!(
            verdict.why.iter().any(|line| line.contains(part)),
            "{part} is not in {:?}",
            verdict.why
        );
        verdict
    }

    #[test]
    fn a_right_sale_is_right() {
        assert_eq!(sale().judge(), Verdict::default());
    }

    #[test]
    fn a_unit_sold_twice_is_oversold_by_every_count() {
        assert_eq!(
            check(|sale| sale.stock.sold = 3, "units too many").oversold,
            1
        );
        assert_eq!(
            check(|sale| sale.findings.units_over = 4, "units too many").oversold,
            4
        );
        let receipts = |sale: &mut Evidence| sale.orders = vec![sale.orders[0].clone(); 3];
        assert_eq!(check(receipts, "units too many").oversold, 1);
        let list = |sale: &mut Evidence| sale.listed = vec![sale.listed[0].clone(); 3];
        assert_eq!(check(list, "is listed twice").oversold, 1);
    }

    #[test]
    fn a_unit_left_and_a_buyer_refused_is_undersold() {
        assert_eq!(
            check(|sale| sale.turned_away.sold_out = 5, "were left").undersold,
            1
        );
        assert_eq!(
            check(|sale| sale.turned_away.all_held = 5, "were left").undersold,
            1
        );
    }

    #[test]
    fn a_unit_held_or_missing_is_leaked() {
        let held = |sale: &mut Evidence| (sale.stock.available, sale.stock.held) = (0, 1);
        assert_eq!(check(held, "held or missing").leaked, 1);
        let offered = |sale: &mut Evidence| (sale.stock.available, sale.stock.offered) = (0, 1);
        assert_eq!(check(offered, "held or missing").leaked, 1);
        assert_eq!(
            check(|sale| sale.stock.available = 0, "total 2 is not").leaked,
            1
        );
    }

    #[test]
    fn what_the_arrivals_show_is_said() {
        assert_eq!(
            check(
                |sale| sale.findings.first_come_inversions = 3,
                "3 times a later"
            )
            .first_come_inversions,
            3
        );
        check(|sale| sale.findings.refused_wrongly = 1, "certainly free");
        check(
            |sale| sale.findings.sold_out_too_early = 1,
            "told sold_out before",
        );
        check(
            |sale| sale.findings.all_held_too_late = 1,
            "told all_held after",
        );
    }

    #[test]
    fn an_order_must_be_found_again_as_it_was_left() {
        check(|sale| sale.states[0] = None, "is gone, first: 00000000");
        check(
            |sale| sale.states[0] = Some("held".to_owned()),
            "is `held` after Paid",
        );
        check(
            |sale| sale.states[1] = Some("paid".to_owned()),
            "is `paid` after Left",
        );
        check(
            |sale| sale.orders[1].sequence = 0,
            "a sequence number was given twice",
        );
        check(
            |sale| sale.orders[1].id = sale.orders[0].id,
            "an order id was given twice",
        );
    }

    #[test]
    fn the_list_must_agree() {
        check(|sale| drop(sale.listed.pop()), "not in the admin's list");
        check(
            |sale| sale.listed[0].buyer_id = Some(Uuid::nil()),
            "under another buyer",
        );
        check(
            |sale| sale.listed[1].state = "paid".to_owned(),
            "the sold units differ",
        );
    }

    #[test]
    fn nobody_has_more_than_one_may_have() {
        check(|sale| sale.orders[1].buyer = 0, "buyer 0 had 2 of 1");
        let mut evidence = sale();
        evidence.orders[1].buyer = 0;
        (evidence.orders[0].end, evidence.states[0]) = (End::Left, Some("expired".to_owned()));
        evidence.orders[1].answered_us = 150;
        evidence.listed[0].state = "expired".to_owned();
        evidence.stock = Stock {
            total: 2,
            available: 2,
            ..Stock::default()
        };
        evidence.listed[1].buyer_id = Some(evidence.buyer_ids[0]);
        assert_eq!(
            evidence.judge(),
            Verdict::default(),
            "the first hold may have ended before"
        );
    }

    #[test]
    fn an_answer_that_never_came_leaves_both_possible() {
        for (state, sold) in [("paid", 2), ("expired", 1)] {
            let mut evidence = sale();
            evidence.orders[1].end = End::Unknown { sent_us: 20 };
            evidence.states[1] = Some(state.to_owned());
            evidence.listed[1].state = state.to_owned();
            evidence.stock = Stock {
                total: 2,
                available: 2 - sold,
                sold,
                ..Stock::default()
            };
            assert_eq!(evidence.judge(), Verdict::default());
        }
    }

    #[test]
    fn a_sale_that_never_ends_is_wrong() {
        check(
            |sale| sale.gave_up_after_s = Some(160),
            "did not end within 160 s",
        );
        check(|sale| sale.turned_away.no_answer = 1, "never got an answer");
        check(
            |sale| sale.complaints = vec!["an answer 500".to_owned()],
            "an answer 500",
        );
    }
}
