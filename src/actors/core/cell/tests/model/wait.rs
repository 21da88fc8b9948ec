//! Waiting for units that come back.

use super::{Expected, Model, Shelf, refused};
use crate::domain::{BuyerId, ProductId, Rejection, Timestamp};

/// Somebody on the list of a shelf. Those without an offer stand in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) buyer: BuyerId,
    pub(super) quantity: u64,
    pub(super) lapsed: bool,
    /// Units, and until when they are kept.
    pub(super) offer: Option<(u64, Timestamp)>,
}

/// What somebody is told of their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::actors::core::cell::tests) struct Told {
    pub(in crate::actors::core::cell::tests) product: ProductId,
    pub(in crate::actors::core::cell::tests) quantity: u64,
    pub(in crate::actors::core::cell::tests) position: Option<u64>,
    pub(in crate::actors::core::cell::tests) offer: Option<(u64, Timestamp)>,
}

impl Shelf {
    pub(super) fn first_waiting(&self) -> Option<usize> {
        self.line.iter().position(|one| one.offer.is_none())
    }

    pub(super) fn waiting(&self) -> u64 {
        self.line.iter().filter(|one| one.offer.is_none()).count() as u64
    }

    pub(super) fn offer_to(&self, buyer: BuyerId) -> Option<(u64, Timestamp)> {
        self.line.iter().find(|one| one.buyer == buyer)?.offer
    }

    fn first_to_lapse(&self) -> Option<(Timestamp, BuyerId)> {
        let offers = self
            .line
            .iter()
            .filter_map(|one| Some((one.offer?.1, one.buyer)));
        offers.min()
    }
}

impl Model {
    pub(super) fn join(&mut self, id: ProductId, buyer: BuyerId, quantity: u64) -> Expected {
        self.lapse_all(id);
        match self.try_join(id, buyer, quantity) {
            Ok(is_new) => Expected::Joined(self.place_of(id, buyer).unwrap(), is_new),
            Err(rejection) => refused(rejection),
        }
    }

    fn try_join(
        &mut self,
        product: ProductId,
        buyer: BuyerId,
        quantity: u64,
    ) -> Result<bool, Rejection> {
        let shelf = self.shelf_on_sale(product)?;
        if let Some(known) = shelf.line.iter().find(|one| one.buyer == buyer) {
            let (wanted, again) = (known.quantity, known.quantity == quantity);
            self.marks.hit_if(again, "a join is repeated");
            self.marks
                .hit_if(!again, "a join is repeated for another number");
            let quantity = u32::try_from(wanted).unwrap();
            return again
                .then_some(false)
                .ok_or(Rejection::AlreadyWaiting { product, quantity });
        }
        match self.check_window_quietly(product) {
            Err(Rejection::Paused(_)) => self.marks.hit("somebody joins while paused"),
            other => other?,
        }
        let available = self.free(product);
        if available > 0 {
            self.marks.hit("there is nothing to wait for");
            return Err(Rejection::StillAvailable { product, available });
        }
        let limit = self.shelves[&product].window.unwrap().per_person_limit;
        let in_hand = self.in_hand(product, buyer);
        if let Some(limit) = limit.filter(|limit| in_hand + quantity > u64::from(*limit)) {
            self.marks.hit("a join is over the limit");
            return Err(Rejection::LimitReached {
                product,
                limit,
                in_hand,
                live_order: None,
            });
        }
        self.marks.hit("somebody joins a waitlist");
        self.shelves.get_mut(&product).unwrap().line.push(Waiting {
            buyer,
            quantity,
            lapsed: false,
            offer: None,
        });
        Ok(true)
    }

    pub(super) fn leave(&mut self, id: ProductId, buyer: BuyerId) -> Expected {
        self.lapse_all(id);
        if let Err(rejection) = self.shelf_on_sale(id) {
            return refused(rejection);
        }
        self.strike(id, buyer);
        Expected::Done
    }

    pub(super) fn read_places(&mut self, buyer: BuyerId) -> Expected {
        let on: Vec<ProductId> = self
            .shelves
            .iter()
            .filter(|(_, shelf)| shelf.line.iter().any(|one| one.buyer == buyer))
            .map(|(id, _)| *id)
            .collect();
        on.iter().for_each(|id| self.lapse_all(*id));
        let places = on.iter().filter_map(|id| self.place_of(*id, buyer));
        Expected::Places(places.collect())
    }

    /// Takes somebody off, and gives their offer to the next.
    pub(super) fn strike(&mut self, id: ProductId, buyer: BuyerId) {
        let shelf = self.shelves.get_mut(&id).unwrap();
        let Some(at) = shelf.line.iter().position(|one| one.buyer == buyer) else {
            return;
        };
        let units = shelf.line.remove(at).offer.map_or(0, |(units, _)| units);
        self.marks
            .hit_if(units > 0, "somebody leaves with an offer");
        self.give_back(id, units);
    }

    /// Units that nobody has any more: first to a withdrawal that waits, then to those who wait.
    pub(super) fn give_back(&mut self, id: ProductId, units: u64) {
        let shelf = self.shelves.get_mut(&id).unwrap();
        let swallowed = shelf.pending.min(units);
        self.marks
            .hit_if(swallowed > 0, "a withdrawal swallows a freed unit");
        self.marks.hit_if(
            swallowed > 0 && swallowed < units,
            "a withdrawal swallows part of what is freed",
        );
        shelf.pending -= swallowed;
        shelf.withdrawn += swallowed;
        self.serve(id);
    }

    /// Free units go to those who wait, the first first, as long as the sale is open.
    pub(super) fn serve(&mut self, id: ProductId) {
        while self.check_window_quietly(id).is_ok() {
            let available = self.stock(id).available;
            let shelf = &self.shelves[&id];
            let Some(at) = shelf.first_waiting().filter(|_| available > 0) else {
                return;
            };
            let Waiting {
                buyer, quantity, ..
            } = shelf.line[at];
            let limit = shelf.window.unwrap().per_person_limit;
            let allowed = limit.map_or(u64::MAX, u64::from);
            let allowed = allowed.saturating_sub(self.in_hand(id, buyer));
            if allowed == 0 {
                self.marks
                    .hit("the limit leaves somebody who waits nothing");
                self.shelves.get_mut(&id).unwrap().line.remove(at);
                continue;
            }
            let units = quantity.min(available).min(allowed);
            self.marks.hit("units are offered");
            self.marks
                .hit_if(units < quantity, "an offer is for fewer units than wanted");
            let until = self.now.plus(self.offer_ttl);
            let shelf = self.shelves.get_mut(&id).unwrap();
            shelf.line[at].offer = Some((units, until));
        }
    }

    /// Ends offers that are over, and serves those whom an opening sale has let wait.
    pub(super) fn lapse_all(&mut self, id: ProductId) {
        while self.waitlist_due(id).is_some_and(|due| due <= self.now) {
            self.lapse_one(id);
        }
    }

    pub(super) fn lapse_one(&mut self, id: ProductId) {
        let first = self.shelves[&id].first_to_lapse();
        let Some((_, buyer)) = first.filter(|(deadline, _)| *deadline <= self.now) else {
            if self
                .closes_on_waiting(id)
                .is_some_and(|end| end <= self.now)
            {
                self.marks.hit("a sale closes on those who wait");
                let shelf = self.shelves.get_mut(&id).unwrap();
                return shelf.line.retain(|one| one.offer.is_some());
            }
            self.marks.hit("a sale opens with units for those who wait");
            return self.serve(id);
        };
        let shelf = self.shelves.get_mut(&id).unwrap();
        let at = shelf
            .line
            .iter()
            .position(|one| one.buyer == buyer)
            .unwrap();
        let mut one = shelf.line.remove(at);
        let (units, _) = one.offer.take().unwrap();
        self.marks.hit_if(!one.lapsed, "an offer lapses");
        self.marks
            .hit_if(one.lapsed, "an offer lapses for the second time");
        if !one.lapsed {
            one.lapsed = true;
            shelf.line.push(one);
        }
        self.give_back(id, units);
    }

    /// When something happens on the list by itself.
    pub(super) fn waitlist_due(&self, id: ProductId) -> Option<Timestamp> {
        let shelf = self.shelves.get(&id)?;
        let lapse = shelf.first_to_lapse().map(|(deadline, _)| deadline);
        let owed = shelf.waiting() > 0 && self.stock(id).available > 0;
        let opens = shelf.window.filter(|window| {
            let closes = window.closes_at.unwrap_or(Timestamp::MAX);
            owed && !window.paused && closes > self.now && closes > window.opens_at
        });
        let opens = opens.map(|it| it.opens_at);
        let closes = self.closes_on_waiting(id);
        lapse.into_iter().chain(opens).chain(closes).min()
    }

    fn closes_on_waiting(&self, id: ProductId) -> Option<Timestamp> {
        let shelf = &self.shelves[&id];
        shelf.window?.closes_at.filter(|_| shelf.waiting() > 0)
    }

    /// Everybody on a list.
    pub(in crate::actors::core::cell::tests) fn waiting_people(&self) -> Vec<(ProductId, BuyerId)> {
        let shelves = self.shelves.iter();
        let people = shelves.flat_map(|(id, shelf)| shelf.line.iter().map(|one| (*id, one.buyer)));
        people.collect()
    }

    /// Everybody who has an offer, and of how many units.
    pub(in crate::actors::core::cell::tests) fn offers(&self) -> Vec<(ProductId, BuyerId, u64)> {
        let shelves = self.shelves.iter();
        let offers = shelves.flat_map(|(id, shelf)| {
            let offered = shelf.line.iter();
            offered.filter_map(|one| Some((*id, one.buyer, one.offer?.0)))
        });
        offers.collect()
    }

    pub(in crate::actors::core::cell::tests) fn offer_ends(
        &self,
    ) -> impl Iterator<Item = Timestamp> {
        let lines = self.shelves.values().flat_map(|shelf| &shelf.line);
        lines.filter_map(|one| Some(one.offer?.1))
    }

    /// People without an offer, and with one.
    pub(in crate::actors::core::cell::tests) fn waiting(&self, id: ProductId) -> (u64, u64) {
        let shelf = &self.shelves[&id];
        let waiting = shelf.waiting();
        (waiting, shelf.line.len() as u64 - waiting)
    }

    /// Units that anybody may have.
    pub(super) fn free(&self, id: ProductId) -> u64 {
        match self.shelves[&id].waiting() {
            0 => self.stock(id).available,
            _ => 0,
        }
    }

    fn shelf_on_sale(&self, id: ProductId) -> Result<&Shelf, Rejection> {
        let shelf = self.shelves.get(&id).filter(|shelf| !shelf.deleted);
        shelf.ok_or(Rejection::NoSuchProduct(id))
    }

    fn place_of(&self, id: ProductId, buyer: BuyerId) -> Option<Told> {
        let line = &self.shelves[&id].line;
        let one = line.iter().find(|one| one.buyer == buyer)?;
        let waiting = line.iter().filter(|one| one.offer.is_none());
        let ahead = waiting.take_while(|other| other.buyer != buyer).count() as u64;
        Some(Told {
            product: id,
            quantity: one.quantity,
            position: one.offer.is_none().then_some(ahead + 1),
            offer: one.offer,
        })
    }
}
