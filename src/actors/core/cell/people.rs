//! What people have in hand, where no limit counts it: in SQL, and not in memory.
//!
//! As long as a sale goes on that has a limit a person, its product knows who has how much. Otherwise that is forgotten,
//! however many people there are. What has changed since SQL was read, or may be read again, is noted here, so that
//! memory has it all again by asking SQL once: when a limit is set, and when late money asks for units of such a sale.
//!
//! **Invariant:** a product that counts people knows them. What would make it count them waits until it does.

use std::cell::Cell as Flag;
use std::collections::VecDeque;

use super::Cell;
use crate::actors::core::message::{Command, ProductAct};
use crate::domain::{
    AttemptId, BuyerId, Event, Handover, IdMap, InHand, Order, OrderId, PaymentOutcome, Product,
    ProductId, Timestamp,
};
use crate::persistence::journal::Position;

/// For each product whose people are forgotten, or about to be.
#[derive(Debug, Default)]
pub(super) struct PeopleElsewhere {
    logs: IdMap<ProductId, Log>,
    /// Products that are to be looked at before any other is again.
    round: Vec<ProductId>,
}

/// Every change behind a record. With it, what SQL has at that record or a later one can be brought up to now.
#[derive(Debug)]
struct Log {
    since: Position,
    changes: VecDeque<Change>,
}

#[derive(Debug)]
struct Change {
    position: Position,
    buyer: BuyerId,
    handover: Handover,
    units: u64,
}

impl Log {
    const KEPT_LEN: usize = 1_024;
    /// Records that SQL may be behind when a log is begun.
    const BEGUN_BEHIND_MAX: u64 = 10_000;

    fn since(position: Position) -> Self {
        Self {
            since: position,
            changes: VecDeque::new(),
        }
    }

    fn drop_through(&mut self, position: Position) {
        let dropped = self.changes.partition_point(|it| it.position <= position);
        if dropped == 0 {
            return;
        }
        self.changes.drain(..dropped);
        self.changes
            .shrink_to(Self::KEPT_LEN.max(self.changes.len() * 2));
        self.since = self.since.max(position);
    }

    /// What SQL had at a record, brought up to now.
    fn add_to(self, people: &mut InHand, position: Position) {
        let news = self.changes.into_iter();
        for change in news.filter(|it| it.position > position) {
            match change.handover {
                Handover::Given => people.give(change.buyer, change.units),
                Handover::TakenBack => people.take(change.buyer, change.units),
            }
        }
    }
}

impl Cell {
    // -- forgetting ----------------------------------------------------------------------------------------------

    /// Forgets the people of products where no limit counts them in a sale that was not over by `kept_since`, as soon as
    /// they can be had again from SQL, which stands at `projected`. `last` is the last record that was applied.
    pub(crate) fn forget_people(
        &mut self,
        last: Position,
        projected: Position,
        kept_since: Timestamp,
    ) {
        // In a rush a log would grow as the people themselves do.
        let is_far_behind = last.get().saturating_sub(projected.get()) > Log::BEGUN_BEHIND_MAX;
        for id in self.next_of_round() {
            let Some(actor) = self.products.get_mut(&id) else {
                continue;
            };
            let product = actor.product();
            if product.knows_people() && !is_forgettable(product, kept_since) {
                self.people_elsewhere.logs.remove(&id);
                continue;
            }
            let logs = &mut self.people_elsewhere.logs;
            if product.knows_people() && is_far_behind && !logs.contains_key(&id) {
                continue;
            }
            let log = logs.entry(id).or_insert_with(|| Log::since(last));
            log.drop_through(projected);
            if product.knows_people() && log.since <= projected {
                actor.forget_people();
            }
        }
    }

    /// Each product once, some at a time: there may be very many.
    fn next_of_round(&mut self) -> Vec<ProductId> {
        const PRODUCTS_AT_ONCE_MAX: usize = 4_096;
        let round = &mut self.people_elsewhere.round;
        if round.is_empty() {
            round.extend(self.products.keys());
        }
        round.split_off(round.len().saturating_sub(PRODUCTS_AT_ONCE_MAX))
    }

    /// Before a record is applied to what was read from SQL, which stood at `position`.
    pub(crate) fn note_people_elsewhere(&mut self, position: Position) {
        let unknown = self.products().filter(|it| !it.knows_people());
        let logs = unknown.map(|product| (product.id, Log::since(position)));
        self.people_elsewhere.logs = logs.collect();
    }

    /// After the event was applied.
    pub(super) fn note_handovers(&mut self, sequence: u64, event: &Event) {
        if self.people_elsewhere.logs.is_empty() {
            return;
        }
        let orders = &self.orders;
        let owner_of = |id: OrderId| orders.of_order(id).buyer(id);
        let logs = &mut self.people_elsewhere.logs;
        event.for_each_handover(owner_of, |buyer, handover, posting| {
            if let Some(log) = logs.get_mut(&posting.product) {
                log.changes.push_back(Change {
                    position: Position::new(sequence),
                    buyer,
                    handover,
                    units: posting.units,
                });
            }
        });
    }

    // -- having them again ---------------------------------------------------------------------------------------

    /// A product whose people must be known before the command can be carried out.
    pub(crate) fn missing_people(&self, command: &Command, now: Timestamp) -> Option<ProductId> {
        if self.people_elsewhere.logs.is_empty() {
            return None;
        }
        match command {
            Command::ChangeProduct {
                product,
                act: ProductAct::Window(_, Some(window)),
                ..
            } if window.per_person_limit.is_some() => {
                Some(*product).filter(|id| self.lacks_people(*id))
            }
            Command::SettlePayment {
                order,
                attempt,
                outcome,
                ..
            } => {
                let order = self.sound_order(*order)?;
                let is_counted = |id: &ProductId| {
                    let window = self.products.get(id).and_then(|it| it.product().window);
                    window.is_some_and(|window| window.per_person_limit.is_some())
                };
                let products = order.lines.iter().map(|line| line.product);
                let missing = products
                    .filter(is_counted)
                    .find(|id| self.lacks_people(*id))?;
                asks_for_units(&order, *attempt, *outcome, now).then_some(missing)
            }
            _ => None,
        }
    }

    /// Products that count people and do not know them: after a replay, if a limit was set in what was replayed.
    pub(crate) fn products_without_people(&self) -> Vec<ProductId> {
        let counting = self
            .products()
            .filter(|it| !it.knows_people() && it.counts_people(self.latest_stamp));
        counting.map(|product| product.id).collect()
    }

    /// Where SQL must stand at least to tell what people have in hand of these products.
    pub(crate) fn people_known_since(&self, products: impl Iterator<Item = ProductId>) -> Position {
        let logs = products.filter_map(|id| self.people_elsewhere.logs.get(&id));
        logs.map(|log| log.since).max().unwrap_or(Position::ZERO)
    }

    /// What everybody has in hand of a product, as SQL had it at a record.
    pub(crate) fn recall_people(&mut self, id: ProductId, mut people: InHand, position: Position) {
        if !self.lacks_people(id) {
            return;
        }
        if let Some(log) = self.people_elsewhere.logs.remove(&id) {
            log.add_to(&mut people, position);
        }
        self.product_mut(id).recall_people(people);
    }

    /// Takes over what another cell knows of a product that comes from there.
    pub(super) fn take_over_people(&mut self, id: ProductId, other: &mut Self) {
        let log = other.people_elsewhere.logs.remove(&id);
        let logs = &mut self.people_elsewhere.logs;
        match log {
            Some(log) => logs.insert(id, log),
            None => logs.remove(&id),
        };
    }

    /// A product that is out of service is told nothing until it is back.
    fn lacks_people(&self, id: ProductId) -> bool {
        let actor = self.products.get(&id);
        actor.is_some_and(|actor| !actor.product().knows_people()) && !self.is_product_broken(id)
    }
}

/// Where nobody has anything there is nothing to forget.
fn is_forgettable(product: &Product, kept_since: Timestamp) -> bool {
    product.stock.in_hand() > 0 && !product.counts_people(kept_since)
}

/// Whether a result would ask for the units of a hold that has ended.
fn asks_for_units(
    order: &Order,
    attempt: AttemptId,
    outcome: PaymentOutcome,
    now: Timestamp,
) -> bool {
    let mut order = order.clone();
    if let Some((change, _)) = order.decide_due(now) {
        order.apply(&change, now);
    }
    let asked = Flag::new(false);
    let ask = |_: &Order| {
        asked.set(true);
        false
    };
    order.decide_outcome(attempt, outcome, &ask).is_ok() && asked.get()
}
