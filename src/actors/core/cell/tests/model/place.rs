//! Who may hold what, and who is told why not.

use super::{Expected, Model, Paper, Recount, refused};
use crate::actors::core::message::PlaceOrder;
use crate::domain::{
    Availability, BuyerId, OrderId, OrderState, ProductId, Rejection, Shortage, Stock,
};

impl Model {
    pub(super) fn place(&mut self, place: &PlaceOrder) -> Expected {
        let by_key = self
            .papers
            .iter()
            .find(|(_, p)| p.buyer == place.buyer && p.key == place.key);
        if let Some((id, paper)) = by_key {
            let (id, state) = (*id, paper.state);
            if paper.fingerprint != place.fingerprint {
                self.marks
                    .hit("an order's key comes back with another body");
                return refused(Rejection::KeyReused);
            }
            self.marks.hit_if(
                state == OrderState::Expired,
                "an order's key repeats after expiry",
            );
            self.marks.hit_if(
                state == OrderState::Cancelled,
                "an order's key repeats after a cancel",
            );
            self.marks.hit_if(
                state == OrderState::Paid,
                "an order's key repeats after payment",
            );
            self.marks.hit_if(
                state == OrderState::Held,
                "an order's key repeats while held",
            );
            return self.show(id);
        }
        for (product, _) in &place.lines {
            self.lapse_all(*product);
            let own = |paper: &Paper| paper.buyer == place.buyer && paper.units_of(*product) > 0;
            let live = self.count_live(own);
            self.touch_all(own);
            self.marks.hit_if(
                self.count_live(own) < live,
                "a person's own dead hold is ended before it counts",
            );
        }
        match self.check_place(place) {
            Err(rejection) => refused(rejection),
            Ok(()) => self.hold(place),
        }
    }

    pub(super) fn check_place(&mut self, place: &PlaceOrder) -> Result<(), Rejection> {
        for (product, quantity) in &place.lines {
            if !self.is_all_offered(place.buyer, *product, quantity.get()) {
                self.check_window(*product)?;
                self.check_limit(place.buyer, *product, quantity.get())?;
            }
        }
        self.check_shortages(place)?;
        let currency = |product| self.shelves[product].price.currency;
        let mixed = place
            .lines
            .iter()
            .any(|(product, _)| currency(product) != currency(&place.lines[0].0));
        self.marks.hit_if(mixed, "an order mixes currencies");
        if mixed {
            Err(Rejection::CurrencyMismatch)
        } else {
            Ok(())
        }
    }

    pub(super) fn check_window(&mut self, product: ProductId) -> Result<(), Rejection> {
        let checked = self.check_window_quietly(product);
        let window = self.shelves.get(&product).and_then(|shelf| shelf.window);
        let Some(window) = window.filter(|_| checked != Err(Rejection::NoSuchProduct(product)))
        else {
            return checked;
        };
        let closes_in = window.closes_at.map(|end| end.since(self.now).as_micros());
        let marks = &mut self.marks;
        match checked {
            Err(Rejection::Closed(_)) => marks.hit("an order comes after closing"),
            Err(Rejection::Paused(_)) => marks.hit("an order comes while paused"),
            Err(_) => marks.hit("an order comes before opening"),
            Ok(()) => marks.hit_if(
                self.now == window.opens_at,
                "an order comes at the instant of opening",
            ),
        }
        marks.hit_if(
            window.closes_at == Some(self.now),
            "an order comes at the instant of closing",
        );
        marks.hit_if(
            closes_in == Some(1),
            "an order comes in the last microsecond before closing",
        );
        checked
    }

    pub(super) fn check_window_quietly(&self, product: ProductId) -> Result<(), Rejection> {
        let shelf = self.shelves.get(&product).filter(|shelf| !shelf.deleted);
        let window = shelf.ok_or(Rejection::NoSuchProduct(product))?.window;
        let now = self.now;
        let not_open = |opens_at| Rejection::NotOpen {
            product,
            opens_at,
            now,
        };
        let window = window.ok_or(not_open(None))?;
        if window.closes_at.is_some_and(|end| self.now >= end) {
            return Err(Rejection::Closed(product));
        }
        if self.now < window.opens_at {
            return Err(not_open(Some(window.opens_at)));
        }
        if window.paused {
            return Err(Rejection::Paused(product));
        }
        Ok(())
    }

    fn count_live(&self, own: impl Fn(&Paper) -> bool) -> usize {
        let papers = self.papers.values();
        papers.filter(|paper| own(paper) && paper.holds()).count()
    }

    /// Units that are kept for the buyer.
    fn offered(&self, buyer: BuyerId, product: ProductId) -> u64 {
        let shelf = self.shelves.get(&product);
        let offer = shelf.and_then(|shelf| shelf.offer_to(buyer));
        offer.map_or(0, |(units, _)| units)
    }

    fn is_all_offered(&self, buyer: BuyerId, product: ProductId, quantity: u32) -> bool {
        u64::from(quantity) <= self.offered(buyer, product)
    }

    pub(super) fn check_limit(
        &mut self,
        buyer: BuyerId,
        product: ProductId,
        quantity: u32,
    ) -> Result<(), Rejection> {
        let Some(limit) = self.shelves[&product]
            .window
            .and_then(|window| window.per_person_limit)
        else {
            return Ok(());
        };
        let in_hand = self.in_hand(product, buyer) - self.offered(buyer, product);
        if in_hand + u64::from(quantity) <= u64::from(limit) {
            self.marks
                .hit_if(in_hand > 0, "a person orders again within the limit");
            return Ok(());
        }
        let live_order = self.live_order(buyer, product);
        self.marks
            .hit_if(live_order.is_some(), "the limit names the live order");
        self.marks.hit_if(
            in_hand > 0 && live_order.is_none(),
            "the limit counts what is bought",
        );
        let paying = live_order.is_some_and(|id| self.papers[&id].state == OrderState::Paying);
        self.marks
            .hit_if(paying, "the limit counts a hold that is paying");
        Err(Rejection::LimitReached {
            product,
            limit,
            in_hand,
            live_order,
        })
    }

    /// The order that the buyer can resume: one that is held before one that is paying, the oldest first.
    pub(super) fn live_order(&self, buyer: BuyerId, product: ProductId) -> Option<OrderId> {
        let resumable = [OrderState::Held, OrderState::Paying];
        let rank = |paper: &Paper| resumable.iter().position(|state| *state == paper.state);
        self.papers
            .iter()
            .filter(|(_, p)| p.buyer == buyer && p.units_of(product) > 0)
            .filter_map(|(id, p)| Some((rank(p)?, p.number, *id)))
            .min()
            .map(|(_, _, id)| id)
    }

    pub(super) fn check_shortages(&mut self, place: &PlaceOrder) -> Result<(), Rejection> {
        let short: Vec<Shortage> = place
            .lines
            .iter()
            .filter(|(product, quantity)| {
                let within_reach = self.free(*product) + self.offered(place.buyer, *product);
                within_reach < u64::from(quantity.get())
            })
            .map(|(product, quantity)| self.shortage(place.buyer, *product, quantity.get()))
            .collect();
        if short.is_empty() {
            return Ok(());
        }
        self.marks
            .hit_if(short.len() > 1, "a refusal names several short products");
        self.marks.hit_if(
            short.len() < place.lines.len(),
            "one short product refuses the whole order",
        );
        for shortage in &short {
            self.marks.hit(match shortage.availability {
                Availability::Available => "more is asked than is available",
                Availability::AllHeld => "everything is held",
                Availability::SoldOut => "everything is sold",
            });
        }
        Err(Rejection::Short(short))
    }

    pub(super) fn shortage(&self, buyer: BuyerId, product: ProductId, requested: u32) -> Shortage {
        let Recount {
            stock,
            holds,
            earliest_deadline,
        } = self.recount(|other| other == product)[&product];
        Shortage {
            product,
            requested,
            available: self.free(product) + self.offered(buyer, product),
            availability: match (self.free(product), stock.available) {
                (0, 1..) => Availability::AllHeld,
                _ => availability(&stock),
            },
            holds,
            earliest_deadline,
        }
    }

    pub(super) fn hold(&mut self, place: &PlaceOrder) -> Expected {
        let ttl = place
            .lines
            .iter()
            .filter_map(|(p, _)| self.shelves[p].window.map(|w| w.hold_ttl))
            .min()
            .unwrap();
        let pay_by = self.now.plus(ttl);
        let lines: Vec<_> = place
            .lines
            .iter()
            .map(|(p, q)| (*p, u64::from(q.get()), self.shelves[p].price))
            .collect();
        let last = lines
            .iter()
            .any(|(p, units, _)| self.stock(*p).available == *units);
        self.marks.hit_if(last, "somebody takes the last unit");
        self.marks
            .hit_if(lines.len() > 1, "an order of several products is held");
        self.placed += 1;
        let paper = Paper {
            buyer: place.buyer,
            state: OrderState::Held,
            deadline: pay_by,
            pay_by,
            lines,
            tries: Vec::new(),
            placed_at: self.now,
            key: place.key,
            fingerprint: place.fingerprint,
            number: self.placed,
            shipped_by: None,
            return_until: None,
            restock_at: None,
            restocked: false,
            cancel_waiters: Vec::new(),
        };
        self.papers.insert(place.order, paper);
        for (product, quantity) in &place.lines {
            self.take_up_offer(place.buyer, *product, quantity.get().into());
        }
        self.show(place.order)
    }

    /// What was offered is part of the order now; what is left of it goes to the next.
    fn take_up_offer(&mut self, buyer: BuyerId, product: ProductId, quantity: u64) {
        let offered = self.offered(buyer, product);
        if offered == 0 {
            return;
        }
        let closed = self.check_window_quietly(product).is_err();
        self.marks.hit("an offer is taken up");
        self.marks
            .hit_if(closed, "an offer is taken up while paused or closed");
        self.marks
            .hit_if(quantity < offered, "a part of an offer is taken up");
        self.marks
            .hit_if(quantity > offered, "an offer is taken up with free units");
        let shelf = self.shelves.get_mut(&product).unwrap();
        shelf.line.retain(|one| one.buyer != buyer);
        if quantity < offered {
            self.give_back(product, offered - quantity);
        }
    }
}

/// The three words. Held units that a withdrawal will swallow do not come back.
fn availability(stock: &Stock) -> Availability {
    let may_come_back = stock.held + stock.returning + stock.offered;
    match stock.available {
        1.. => Availability::Available,
        0 if may_come_back > stock.withdrawal_pending => Availability::AllHeld,
        0 => Availability::SoldOut,
    }
}
