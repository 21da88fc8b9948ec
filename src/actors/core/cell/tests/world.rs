//! The real cell and the model side by side: every command goes to both, and then everything is compared.

use std::collections::BTreeMap;

use super::model::{Errand, Expected, Model, Recount, Told};
use super::replay::Cut;
use crate::actors::core::cell::{Cell, CellLimits};
use crate::actors::core::message::{Answer, Command, Effect, Reply, ReplyTo, WaitlistPlace};
use crate::actors::core::turn::Turn;
use crate::domain::{BuyerId, ProductId, Snapshot, Timestamp};
use crate::persistence::journal::{Journal, MemoryJournal};

#[derive(Debug)]
pub(super) struct World {
    pub(super) cell: Cell,
    pub(super) model: Model,
    pub(super) journal: MemoryJournal,
    pub(super) cuts: Vec<Cut>,
    pub(super) commands: u64,
    /// What the last command made the world outside do.
    pub(super) errands: Vec<Errand>,
    /// What was told and answered, for whoever reads a failure; `None` saves the time.
    pub(super) trace: Option<Vec<String>>,
    turn: Turn,
    answers_seen: usize,
    effects_seen: usize,
    snapshots: BTreeMap<ProductId, Snapshot>,
    slots: u32,
}

impl World {
    pub(super) fn new(limits: CellLimits, start: Timestamp) -> Self {
        let mut world = Self {
            cell: Cell::new(limits),
            model: Model::new(limits.payments_pending_max, limits.offer_ttl),
            journal: MemoryJournal::new(),
            cuts: Vec::new(),
            commands: 0,
            errands: Vec::new(),
            trace: None,
            turn: Turn::new(),
            answers_seen: 0,
            effects_seen: 0,
            snapshots: BTreeMap::new(),
            slots: 0,
        };
        world.begin_turn(start);
        world
    }

    pub(super) fn now(&self) -> Timestamp {
        self.model.now
    }

    /// Commits what was decided and starts the next turn, at `now`.
    pub(super) fn begin_turn(&mut self, now: Timestamp) {
        assert!(now >= self.turn.now, "engine time never goes back");
        self.journal
            .append(&self.turn.batch)
            .expect("memory does not fail");
        self.turn.begin(now, self.journal.position());
        self.model.now = now;
        self.answers_seen = 0;
        self.effects_seen = 0;
    }

    /// Remembers the state as it is, to be compared with what the journal gives.
    pub(super) fn cut(&mut self) {
        self.begin_turn(self.turn.now);
        self.cuts.push(Cut::of(&self.cell, self.journal.position()));
    }

    /// Tells both the same; gives what was answered at once and later, to whom.
    pub(super) fn tell(&mut self, command: Command) -> Vec<(ReplyTo, Expected)> {
        self.slots += 1;
        self.tell_for(
            command,
            ReplyTo::Slot {
                lane: 0,
                slot: self.slots,
            },
        )
    }

    pub(super) fn tell_for(&mut self, command: Command, to: ReplyTo) -> Vec<(ReplyTo, Expected)> {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {to:?} {command:?}", self.turn.now));
        }
        self.model.handle(&command, to);
        self.cell.handle(command, to, &mut self.turn);
        self.compare()
    }

    /// The timer: ends what is due, at most `orders_max` of it.
    pub(super) fn sweep(&mut self, orders_max: usize) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} sweep {orders_max}", self.turn.now));
        }
        self.model.sweep(orders_max);
        self.cell.settle_due(orders_max, &mut self.turn);
        self.compare();
    }

    fn compare(&mut self) -> Vec<(ReplyTo, Expected)> {
        self.commands += 1;
        let answers = self.compare_answers();
        self.compare_effects();
        for (id, recount) in self.model.recount_all() {
            self.compare_product(id, recount);
        }
        let all = self.commands.is_multiple_of(32);
        for (id, paper) in self
            .model
            .papers
            .iter()
            .filter(|(_, paper)| all || !paper.is_over())
        {
            paper.assert_same(
                &self
                    .cell
                    .order(*id)
                    .expect("an order that was placed is known"),
            );
        }
        assert_eq!(
            self.cell.next_due(),
            self.model.next_due(),
            "the next thing to happen by itself"
        );
        if all {
            self.compare_people();
        }
        answers
    }

    fn compare_answers(&mut self) -> Vec<(ReplyTo, Expected)> {
        let fresh = &self.turn.answers[self.answers_seen..];
        let mut given: Vec<_> = fresh
            .iter()
            .map(|(to, answer)| (*to, observed(answer)))
            .collect();
        let mut predicted = std::mem::take(&mut self.model.answers);
        self.answers_seen = self.turn.answers.len();
        given.sort_by_key(|(to, _)| slot(*to));
        predicted.sort_by_key(|(to, _)| slot(*to));
        if let Some(trace) = &mut self.trace {
            trace.push(format!("    {given:?}"));
        }
        assert_eq!(
            given, predicted,
            "answers: the cell's left, the model's right"
        );
        given
    }

    fn compare_effects(&mut self) {
        let mut given: Vec<_> = self.turn.effects[self.effects_seen..]
            .iter()
            .map(errand)
            .collect();
        let mut predicted = std::mem::take(&mut self.model.errands);
        self.effects_seen = self.turn.effects.len();
        given.sort_unstable();
        predicted.sort_unstable();
        assert_eq!(
            given, predicted,
            "effects: the cell's left, the model's right"
        );
        self.errands = given;
    }

    fn compare_product(&mut self, id: ProductId, recount: Recount) {
        let (snapshot, product) = self
            .cell
            .snapshot(id)
            .expect("a product that was registered is known");
        let shelf = &self.model.shelves[&id];
        assert_eq!(snapshot.stock, recount.stock, "the stock of {id}");
        assert_eq!(
            (snapshot.holds, snapshot.earliest_deadline),
            (recount.holds, recount.earliest_deadline),
            "the holds of {id}"
        );
        let waiting = self.model.waiting(id);
        assert_eq!(
            (snapshot.waiting, snapshot.offers),
            waiting,
            "who waits for {id}, and who has an offer"
        );
        assert_eq!(
            (snapshot.window, snapshot.deleted, product.details.price),
            (shelf.window, shelf.deleted, shelf.price),
            "what an admin set for {id}"
        );
        if self.snapshots.insert(id, snapshot) != Some(snapshot) {
            assert!(
                self.turn.touched.contains_key(&id),
                "{id} changed, and nobody would be shown"
            );
        }
    }

    /// What each person has in hand is what a recount of the orders says, and nobody else has anything.
    pub(super) fn compare_people(&self) {
        for product in self.cell.products() {
            let mut recount: BTreeMap<BuyerId, u64> = BTreeMap::new();
            for buyer in self.model.everybody() {
                recount.insert(buyer, self.model.in_hand(product.id, buyer));
            }
            recount.retain(|_, units| *units > 0);
            let kept: BTreeMap<BuyerId, u64> = product.people().expect("known").collect();
            assert_eq!(kept, recount, "who has how many of {}", product.id);
        }
    }
}

fn observed(answer: &Answer) -> Expected {
    match answer {
        Ok(Reply::Order(order)) => Expected::Order {
            id: order.id,
            state: order.state,
            pay_by: order.pay_by,
            deadline: order.deadline,
        },
        Ok(Reply::Orders(orders)) => {
            Expected::Orders(orders.iter().map(|order| order.id).collect())
        }
        Ok(Reply::Payment(payment)) => Expected::Payment {
            attempt: payment.attempt,
            amount: payment.amount.amount,
            answer: payment.answer,
            deadline: payment.deadline,
        },
        Ok(Reply::Product(snapshot)) => Expected::Product(snapshot.id, snapshot.stock),
        Ok(Reply::Joined(place, is_new)) => Expected::Joined(told(place), *is_new),
        Ok(Reply::Places(places)) => Expected::Places(places.iter().map(told).collect()),
        Ok(Reply::Done) => Expected::Done,
        Err(refusal) => Expected::Refused(refusal.clone()),
    }
}

fn told(place: &WaitlistPlace) -> Told {
    let offer = place.waiter.offer;
    Told {
        product: place.product,
        quantity: place.waiter.quantity.get().into(),
        position: place.position,
        offer: offer.map(|offer| (offer.units.get().into(), offer.deadline)),
    }
}

fn errand(effect: &Effect) -> Errand {
    match effect {
        Effect::Charge { order, send_by } => {
            Errand::Charge(order.attempt, order.amount.amount, *send_by)
        }
        Effect::Withdraw { attempt, .. } => Errand::Withdraw(*attempt),
        Effect::Refund(order) => Errand::Refund(order.attempt, order.amount.amount),
        Effect::LookUp(order) => unreachable!("only a restart looks {} up", order.attempt),
    }
}

fn slot(to: ReplyTo) -> u32 {
    match to {
        ReplyTo::Slot { slot, .. } => slot,
        ReplyTo::Nobody => unreachable!("nobody is answered"),
    }
}
