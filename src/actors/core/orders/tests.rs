//! The packed store beside a map of whole orders.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::record::Record;
use super::{Due, OpenPayments, OrderActor};
use crate::domain::{
    AddressId, AttemptId, AttemptState, BuyerId, Currency, Fingerprint, KeyHash, Line, Money,
    Order, OrderChange, OrderId, OrderPlaced, OrderState, ProductId, Quantity, Span, Timestamp,
};

const START: Timestamp = Timestamp::from_micros(1_764_000_000_000_000);

fn buyer(number: u64) -> BuyerId {
    BuyerId::new(u128::from(number).wrapping_mul(0x0192_0000_7000_8000_1234_5678_9abc_def1))
}

fn line(product: u64, quantity: u32, price: i64) -> Line {
    Line {
        product: ProductId::new(u128::from(product)),
        quantity: Quantity::new(quantity).unwrap(),
        unit_price: Money {
            amount: price,
            currency: Currency::parse("KRW").unwrap(),
        },
    }
}

struct Shop {
    random: StdRng,
    actor: OrderActor,
    model: BTreeMap<OrderId, Order>,
    now: Timestamp,
    sequence: u64,
    keys_used_again: Vec<KeyHash>,
}

impl Shop {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            actor: OrderActor::default(),
            model: BTreeMap::new(),
            now: START,
            sequence: 0,
            keys_used_again: Vec::new(),
        }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.random_ratio(1, n)
    }

    fn step(&mut self) {
        let micros = self.random.random_range(0..3_000_000);
        self.now = self.now.plus(Span::from_micros_u64(micros));
        match self.random.random_range(0..10) {
            0..=4 => self.place(),
            5..=8 => self.change(),
            _ => self.remove(),
        }
    }

    fn place(&mut self) {
        self.sequence += 1;
        let order = self.some_order();
        self.actor.insert(order.clone());
        self.model.insert(order.id, order);
    }

    fn some_order(&mut self) -> Order {
        let buyer = buyer(self.random.random_range(0..30));
        let lines = match self.random.random_range(0..8) {
            0 => (1..=3).map(|it| line(it, it as u32, 10)).collect(),
            _ => vec![line(
                self.random.random_range(1..4),
                self.random.random_range(1..=Quantity::MAX),
                self.random.random_range(1..3),
            )],
        };
        let ttl = if self.one_in(20) {
            86_400 * 30
        } else {
            self.random.random_range(1..1_800)
        };
        let key = if self.one_in(20) {
            self.keys_used_again.pop()
        } else {
            None
        };
        let placed = OrderPlaced {
            order: OrderId::for_buyer(self.random.random(), buyer),
            buyer,
            key: key.unwrap_or_else(|| KeyHash::new(self.random.random())),
            fingerprint: Fingerprint(self.random.random()),
            address: self.one_in(3).then(|| AddressId::new(self.random.random())),
            at: self.now,
            deadline: self.now.plus(Span::from_secs(ttl)),
            lines,
            offers: Vec::new(),
        };
        Order::new(self.sequence, &placed)
    }

    fn some_known(&mut self) -> Option<OrderId> {
        let from = OrderId::new(self.random.random());
        let known = self
            .model
            .range(from..)
            .next()
            .or(self.model.first_key_value());
        known.map(|(id, _)| *id)
    }

    /// Whatever may become of an order, and much that never does: the store has no rules of its own.
    fn change(&mut self) {
        let Some(id) = self.some_known() else { return };
        let change = self.some_change(&self.model[&id].clone());
        let order = self.model.get_mut(&id).unwrap();
        let hold_end = order.hold_end();
        order.apply(&change, self.now);
        let moved = self.actor.apply(id, &change, self.now);
        assert_eq!((moved.buyer, &moved.lines), (order.buyer, &order.lines));
        assert_eq!(
            (moved.hold_end_before, moved.hold_end_after),
            (hold_end, order.hold_end())
        );
    }

    fn some_change(&mut self, order: &Order) -> OrderChange {
        let new = AttemptId::new(self.random.random());
        let attempt = order.attempts.last().map_or(new, |it| it.id);
        let later = self
            .now
            .plus(Span::from_secs(self.random.random_range(1..200_000)));
        match self.random.random_range(0..14) {
            0 => OrderChange::Cancelled,
            1 => OrderChange::CancelRequested,
            2 => OrderChange::Expired,
            3 | 4 => OrderChange::PaymentStarted {
                attempt: new,
                key: KeyHash::new(self.random.random()),
                fingerprint: Fingerprint(1),
                method: "card".into(),
                deadline: later,
            },
            5 => OrderChange::PaymentDeclined { attempt },
            6 => OrderChange::PaymentCaptured { attempt },
            7 => OrderChange::PaymentUnfulfilled { attempt },
            8 => OrderChange::Refunded { attempt },
            9 => OrderChange::Shipped {
                carrier: "Post".into(),
                tracking_number: "1".into(),
            },
            10 => OrderChange::Delivered {
                return_until: later,
            },
            11 => OrderChange::ReturnAccepted {
                attempt,
                restock_at: later,
            },
            12 => OrderChange::Restocked,
            _ => OrderChange::Completed,
        }
    }

    fn remove(&mut self) {
        let Some(id) = self.some_known() else { return };
        self.actor.remove(id);
        let order = self.model.remove(&id).unwrap();
        self.keys_used_again.push(order.key);
    }

    fn of(&self, buyer: BuyerId) -> impl Iterator<Item = &Order> {
        let mut orders: Vec<_> = self.model.values().filter(|it| it.buyer == buyer).collect();
        orders.sort_by_key(|it| it.sequence);
        orders.into_iter()
    }

    fn compare(&mut self) {
        assert_eq!(self.actor.len(), self.model.len());
        assert_eq!(self.actor.iter().count(), self.model.len());
        let mut payments = OpenPayments::default();
        self.model
            .values()
            .for_each(|it| payments.add(OpenPayments::of(it)));
        assert_eq!(self.actor.open_payments(), payments);
        for (id, order) in &self.model {
            assert_eq!(self.actor.get(*id).as_ref(), Some(order));
            let by_key = self.actor.placed_by(order.key).expect("its key is known");
            assert_eq!(by_key.key, order.key);
            assert!(
                by_key.sequence >= order.sequence,
                "a later order has the key"
            );
        }
        (0..31).for_each(|number| self.compare_person(buyer(number)));
        self.compare_times();
    }

    fn compare_person(&self, buyer: BuyerId) {
        let open: Vec<Order> = self
            .of(buyer)
            .filter(|it| !it.is_at_rest())
            .cloned()
            .collect();
        assert_eq!(self.actor.open_of(buyer).collect::<Vec<_>>(), open);
        for before in [u64::MAX, self.sequence / 2] {
            let mut newest: Vec<Order> = self
                .of(buyer)
                .filter(|it| it.sequence < before)
                .cloned()
                .collect();
            newest.reverse();
            assert_eq!(
                self.actor.newest_of(buyer, before).collect::<Vec<_>>(),
                newest
            );
        }
        let since = self.now.minus(Span::from_secs(3_600));
        let ended = self.of(buyer).filter(|order| {
            let over = matches!(order.state, OrderState::Cancelled | OrderState::Expired);
            let captured = order
                .attempts
                .iter()
                .any(|it| it.state == AttemptState::Captured);
            over && !captured
                && order.is_at_rest()
                && order.changed_at > since
                && order.placed_at >= since.minus(Order::HOLD_MAX)
        });
        let mut ended: Vec<Timestamp> = ended.map(|it| it.changed_at).collect();
        ended.reverse();
        for nth in 0..4_usize {
            let expected = nth.checked_sub(1).and_then(|it| ended.get(it));
            assert_eq!(
                self.actor.nth_ended_hold_of(buyer, since, nth),
                expected.copied()
            );
        }
    }

    /// Empties both lists in their order, and fills them again.
    fn compare_times(&mut self) {
        let mut due: Vec<(Timestamp, u64, OrderId)> = self
            .model
            .values()
            .filter_map(|it| Some((it.next_due()?, it.sequence, it.id)))
            .collect();
        due.sort_unstable();
        let mut aside = Vec::new();
        for (at, sequence, order) in due {
            assert_eq!(
                self.actor.first_due(),
                Some(Due {
                    at,
                    sequence,
                    order
                })
            );
            aside.extend(self.actor.set_first_due_aside());
        }
        assert_eq!(self.actor.first_due(), None);
        aside
            .into_iter()
            .rev()
            .for_each(|it| self.actor.put_back(it));
        let at_rest = self.model.values().filter(|it| it.is_at_rest());
        let first = at_rest
            .clone()
            .map(|it| (it.changed_at, it.sequence, it.id))
            .min();
        assert_eq!(self.actor.at_rest_len(), at_rest.count());
        assert_eq!(
            self.actor.first_at_rest(),
            first.map(|(at, _, id)| (at, id))
        );
    }
}

#[test]
fn a_packed_order_is_the_order_whatever_becomes_of_it() {
    for seed in 0..20 {
        let mut shop = Shop::new(seed);
        for step in 0..1_500 {
            shop.step();
            if step % 100 == 0 {
                shop.compare();
            }
        }
        shop.compare();
        while let Some(id) = shop.some_known() {
            shop.actor.remove(id);
            shop.model.remove(&id);
        }
        shop.compare();
        assert_eq!(shop.actor.records.sizes(), [0; 4], "nothing is left behind");
        assert_eq!(shop.actor.people.sizes(), [0; 2]);
    }
}

#[test]
fn an_order_of_one_line_takes_88_bytes_and_a_person_32() {
    assert_eq!(size_of::<Option<Record>>(), 88);
    assert_eq!(super::people::BYTES, 32);
}

#[test]
#[should_panic(expected = "placed twice")]
fn an_order_is_placed_once() {
    let mut shop = Shop::new(1);
    shop.place();
    let (_, order) = shop.model.pop_first().unwrap();
    shop.actor.insert(order);
}
