//! Placing an order: the flash-sale path. All lines or none, one record.

use smallvec::SmallVec;

use super::{Cell, PersonLimits, shard_of};
use crate::actors::core::message::{Answer, PlaceOrder, Refusal, Reply};
use crate::actors::core::turn::Turn;
use crate::domain::{
    BuyerId, Event, KeyHash, Line, OfferTaken, Order, OrderId, OrderPlaced, ProductId, Rejection,
    Shortage, Span, Timestamp,
};

const HOUR: Span = Span::from_secs(3_600);

impl Cell {
    pub(super) fn place(&mut self, place: PlaceOrder, turn: &mut Turn) -> Answer {
        if self.cannot_place(&place) {
            return Err(Refusal::Recovering);
        }
        if let Some(answer) = self.repeat_of(place.key, &place) {
            return answer;
        }
        self.settle_due_holds_of(&place, turn);
        self.check_person(place.buyer, turn.now)?;
        let placed = self.decide_place(place, turn)?;
        let id = placed.order;
        let event = Event::OrderPlaced(placed);
        self.happen(&event, turn);
        if let Event::OrderPlaced(placed) = event {
            self.give_up_rests(&placed, turn);
            turn.placed.push(placed);
        }
        self.order(id)
            .map(|order| Reply::Order(Box::new(order)))
            .ok_or(Refusal::Recovering)
    }

    /// The first answer again, if this request has been here before.
    fn repeat_of(&self, key: KeyHash, place: &PlaceOrder) -> Option<Answer> {
        let order = self.orders.of_order(place.order).placed_by(key)?;
        if order.fingerprint != place.fingerprint {
            return Some(Err(Rejection::KeyReused.into()));
        }
        Some(Ok(Reply::Order(Box::new(order))))
    }

    /// Whoever takes holds and lets them go again and again is slowed down: units that nobody can buy are no sale.
    fn check_person(&self, buyer: BuyerId, now: Timestamp) -> Result<(), Rejection> {
        let PersonLimits {
            open_orders_max,
            ended_holds_max,
        } = self.limits.person;
        let actor = self.orders.of_buyer(buyer);
        if open_orders_max > 0 {
            let mut ends: SmallVec<[Timestamp; 4]> = actor
                .open_of(buyer)
                .filter_map(|it| it.hold_end())
                .collect();
            ends.sort_unstable();
            if ends.len() >= open_orders_max {
                let first_end = ends.first().copied().unwrap_or(now);
                return Err(Rejection::TooManyOpenOrders {
                    orders_max: open_orders_max,
                    retry_after: first_end.since(now),
                });
            }
        }
        let since = now.minus(HOUR);
        match actor.nth_ended_hold_of(buyer, since, ended_holds_max) {
            None => Ok(()),
            Some(ended) => Err(Rejection::TooManyEndedHolds {
                holds_max: ended_holds_max,
                retry_after: ended.since(since),
            }),
        }
    }

    /// Every product says yes before any is changed.
    fn decide_place(&self, place: PlaceOrder, turn: &Turn) -> Result<OrderPlaced, Rejection> {
        let mut lines = Vec::with_capacity(place.lines.len());
        let mut offers = Vec::new();
        let mut shortages: Vec<Shortage> = Vec::new();
        let mut hold_ttl = Span::from_micros_u64(u64::MAX);
        for (product, quantity) in &place.lines {
            let Some(actor) = self.products.get(product) else {
                return Err(Rejection::NoSuchProduct(*product));
            };
            let state = actor.product();
            match state.decide_hold(place.buyer, *quantity, turn.now) {
                Ok(grant) => {
                    hold_ttl = hold_ttl.min(grant.hold_ttl);
                    offers.extend(grant.offered.map(|units| OfferTaken {
                        product: *product,
                        units,
                    }));
                }
                Err(Rejection::Short(short)) => shortages.extend(short),
                Err(rejection) => return Err(self.name_live_order(rejection, &place)),
            }
            lines.push(Line {
                product: *product,
                quantity: *quantity,
                unit_price: state.details.price,
            });
        }
        if !shortages.is_empty() {
            return Err(Rejection::Short(shortages));
        }
        check_currency(&lines)?;
        Ok(OrderPlaced {
            order: place.order,
            buyer: place.buyer,
            key: place.key,
            fingerprint: place.fingerprint,
            address: place.address,
            at: turn.now,
            deadline: turn.now.plus(hold_ttl),
            lines,
            offers,
        })
    }

    /// A person at the limit is told which order to resume.
    fn name_live_order(&self, rejection: Rejection, place: &PlaceOrder) -> Rejection {
        match rejection {
            Rejection::LimitReached {
                product,
                limit,
                in_hand,
                ..
            } => Rejection::LimitReached {
                product,
                limit,
                in_hand,
                live_order: self
                    .orders
                    .of_buyer(place.buyer)
                    .live_order(place.buyer, product),
            },
            other => other,
        }
    }

    /// Holds and offers that are over by now must neither count against a person nor keep a unit from the next.
    fn settle_due_holds_of(&mut self, place: &PlaceOrder, turn: &mut Turn) {
        let any_due = self.next_due().is_some_and(|due| due <= turn.now);
        if any_due {
            for (product, _) in &place.lines {
                self.settle_waitlist(*product, turn);
                self.settle_due_of(*product, place.buyer, turn);
            }
        }
    }

    fn settle_due_of(&mut self, product: ProductId, buyer: BuyerId, turn: &mut Turn) {
        let actor = self.orders.of_buyer(buyer);
        let stale: Vec<OrderId> = actor
            .open_of(buyer)
            .filter(|order| {
                order.next_due().is_some_and(|due| due <= turn.now)
                    && !self.is_broken(order.id)
                    && order.lines.iter().any(|line| line.product == product)
            })
            .map(|order| order.id)
            .collect();
        for order in stale {
            if !turn.batch.is_full() {
                self.settle_order(order, turn);
            }
        }
    }

    fn cannot_place(&self, place: &PlaceOrder) -> bool {
        self.broken_shards[shard_of(place.order)]
            || (!self.broken_products.is_empty()
                && place
                    .lines
                    .iter()
                    .any(|(product, _)| self.broken_products.contains_key(product)))
    }
}

fn check_currency(lines: &[Line]) -> Result<(), Rejection> {
    let mut currencies = lines.iter().map(|line| line.unit_price.currency);
    let first = currencies.next();
    if currencies.any(|currency| Some(currency) != first) {
        return Err(Rejection::CurrencyMismatch);
    }
    assert!(lines.len() <= Order::LINES_MAX);
    Ok(())
}
