//! The waitlist of a product: joining, leaving, offers, and what time does to them.
//!
//! Whatever frees units calls [`Cell::offer_free_units`] in the same turn, before anybody else can ask for them.

use super::Cell;
use crate::actors::core::message::{Answer, Refusal, Reply, WaitlistPlace};
use crate::actors::core::turn::Turn;
use crate::domain::{
    BuyerId, Event, OrderPlaced, Posting, Product, ProductId, Quantity, Rejection, Timestamp,
    Waitlist, WaitlistChange,
};

/// Waitlists that a person may be on at once.
const WAITLISTS_MAX: usize = 50;

impl Cell {
    pub(super) fn join_waitlist(
        &mut self,
        id: ProductId,
        buyer: BuyerId,
        quantity: Quantity,
        turn: &mut Turn,
    ) -> Answer {
        self.settle_waitlist(id, turn);
        let product = self.waited_for(id)?;
        let change = product.decide_join(buyer, quantity, turn.now)?;
        let is_new = change.is_some();
        if let Some(change) = change {
            self.check_waitlists_of(buyer)?;
            self.change_waitlist(id, change, Vec::new(), turn);
        }
        let place = self.place_on(id, buyer).ok_or(Refusal::Recovering)?;
        Ok(Reply::Joined(Box::new(place), is_new))
    }

    pub(super) fn leave_waitlist(
        &mut self,
        id: ProductId,
        buyer: BuyerId,
        turn: &mut Turn,
    ) -> Answer {
        self.settle_waitlist(id, turn);
        if let Some((change, postings)) = self.waited_for(id)?.decide_leave(buyer) {
            self.change_waitlist(id, change, postings, turn);
        }
        Ok(Reply::Done)
    }

    pub(super) fn read_waitlists(&mut self, buyer: BuyerId, turn: &mut Turn) -> Answer {
        let products = self.waits_for.get(&buyer).cloned().unwrap_or_default();
        for product in products {
            self.settle_waitlist(product, turn);
        }
        let mut products = self.waits_for.get(&buyer).cloned().unwrap_or_default();
        products.sort_unstable();
        let places = products
            .into_iter()
            .filter_map(|product| self.place_on(product, buyer));
        Ok(Reply::Places(places.collect()))
    }

    // -- what happens by itself ----------------------------------------------------------------------------------

    /// Ends offers that are over, and makes those that a sale's opening has let wait.
    ///
    /// What is due beyond the steps of one call is left for the turns after it: until then nobody else may have the
    /// units of offers that are over.
    pub(super) fn settle_waitlist(&mut self, id: ProductId, turn: &mut Turn) {
        const STEPS_MAX: usize = 500;
        for _ in 0..STEPS_MAX {
            if turn.batch.is_full() || !self.is_waitlist_due(id, turn.now) {
                return;
            }
            self.settle_waitlist_once(id, turn);
        }
    }

    /// One step of the waitlist that is the first to be looked at.
    pub(super) fn settle_first_waitlist(&mut self, id: ProductId, turn: &mut Turn) {
        if self.is_product_broken(id) {
            // It is noted again when the product is back.
            self.waitlists_due.pop_first();
            return;
        }
        self.settle_waitlist_once(id, turn);
    }

    fn settle_waitlist_once(&mut self, id: ProductId, turn: &mut Turn) {
        let Some(actor) = self.products.get(&id) else {
            return;
        };
        let product = actor.product();
        if let Some((change, postings)) = product.decide_lapse(turn.now) {
            self.change_waitlist(id, change, postings, turn);
        } else if let Some(change) = product.decide_waitlist_end(turn.now) {
            self.note_leaving(id, turn);
            self.change_waitlist(id, change, Vec::new(), turn);
        } else {
            self.offer_free_units(id, turn);
        }
        // A sale that closed meanwhile has nothing to offer, whatever it was noted for.
        self.note_waitlist(id, turn.now);
    }

    /// Whoever is about to lose their place is told, if somebody watches.
    fn note_leaving(&self, id: ProductId, turn: &mut Turn) {
        let actor = self.products.get(&id).filter(|_| turn.is_watched);
        let waitlist = actor.map(|actor| actor.product().waitlist());
        let leaving = waitlist.into_iter().flat_map(Waitlist::queue);
        turn.places.extend(leaving.map(|waiter| (id, waiter.buyer)));
    }

    fn is_waitlist_due(&self, id: ProductId, now: Timestamp) -> bool {
        let first = self.waitlists_due.first();
        first.is_some_and(|(due, _)| *due <= now)
            && !self.is_product_broken(id)
            && self
                .products
                .get(&id)
                .and_then(|actor| actor.product().next_due(now))
                .is_some_and(|due| due <= now)
    }

    /// Gives what is free to the head of the waitlist, until nothing is free or nobody waits. What does not fit into this
    /// batch is noted as due, and nobody else may have it meanwhile.
    pub(super) fn offer_free_units(&mut self, id: ProductId, turn: &mut Turn) {
        while !turn.batch.is_full() {
            let ttl = self.limits.offer_ttl;
            let product = self.products.get(&id).map(super::ProductActor::product);
            let step = product.and_then(|product| product.next_waitlist_step(turn.now, ttl));
            let Some(change) = step else { return };
            for (buyer, _) in change.offers(id) {
                turn.offered.push((buyer, id));
            }
            self.change_waitlist(id, change, Vec::new(), turn);
        }
    }

    /// Who takes up a part of an offer gives up the rest of it.
    pub(super) fn give_up_rests(&mut self, placed: &OrderPlaced, turn: &mut Turn) {
        for taken in &placed.offers {
            let product = self.products.get(&taken.product);
            let rest = product.and_then(|actor| actor.product().decide_leave(placed.buyer));
            if let Some((change, postings)) = rest {
                self.change_waitlist(taken.product, change, postings, turn);
            }
        }
    }

    fn change_waitlist(
        &mut self,
        product: ProductId,
        change: WaitlistChange,
        postings: Vec<Posting>,
        turn: &mut Turn,
    ) {
        let event = Event::WaitlistChanged {
            product,
            at: turn.now,
            change,
            postings,
        };
        turn.touch(product);
        self.happen(&event, turn);
    }

    // -- what has happened ---------------------------------------------------------------------------------------

    pub(super) fn apply_to_waitlist(
        &mut self,
        sequence: u64,
        id: ProductId,
        at: Timestamp,
        change: &WaitlistChange,
        postings: &[Posting],
    ) {
        if *change == WaitlistChange::Ended {
            self.forget_queue(id);
        }
        self.product_mut(id)
            .apply_to_waitlist(sequence, at, change, postings);
        if let WaitlistChange::Joined { buyer, .. } = change {
            self.waits_for.entry(*buyer).or_default().push(id);
        }
        if let WaitlistChange::Left { buyer } | WaitlistChange::Lapsed { buyer } = change {
            self.forget_unless_waiting(id, *buyer);
        }
        self.note_waitlist(id, at);
    }

    pub(super) fn apply_offers_taken(&mut self, placed: &OrderPlaced) {
        for taken in &placed.offers {
            self.product_mut(taken.product)
                .take_offer(placed.buyer, taken.units);
            self.forget_unless_waiting(taken.product, placed.buyer);
            self.note_waitlist(taken.product, placed.at);
        }
    }

    /// Before the product forgets them itself.
    pub(super) fn forget_waitlist(&mut self, id: ProductId) {
        let product = self.product_mut(id).product();
        let buyers: Vec<BuyerId> = product.waitlist().waiters().map(|it| it.buyer).collect();
        for buyer in buyers {
            self.forget_waiting(id, buyer);
        }
    }

    fn forget_queue(&mut self, id: ProductId) {
        let product = self.product_mut(id).product();
        let buyers: Vec<BuyerId> = product.waitlist().queue().map(|it| it.buyer).collect();
        for buyer in buyers {
            self.forget_waiting(id, buyer);
        }
    }

    fn forget_unless_waiting(&mut self, id: ProductId, buyer: BuyerId) {
        let product = self.product_mut(id).product();
        if product.waitlist().get(buyer).is_none() {
            self.forget_waiting(id, buyer);
        }
    }

    fn forget_waiting(&mut self, id: ProductId, buyer: BuyerId) {
        let Some(products) = self.waits_for.get_mut(&buyer) else {
            return;
        };
        products.retain(|product| *product != id);
        if products.is_empty() {
            self.waits_for.remove(&buyer);
        }
    }

    /// Notes when the waitlist of a product is to be looked at, after anything that may move that.
    pub(super) fn note_waitlist(&mut self, id: ProductId, as_of: Timestamp) {
        let Some([before, after]) = self.product_mut(id).move_due(as_of) else {
            return;
        };
        if let Some(before) = before {
            self.waitlists_due.remove(&(before, id));
        }
        if let Some(after) = after {
            self.waitlists_due.insert((after, id));
        }
    }

    /// Everything that is kept about waitlists beside the products, anew.
    pub(super) fn note_waitlists(&mut self) {
        let Self {
            products,
            waitlists_due,
            waits_for,
            latest_stamp,
            ..
        } = self;
        waitlists_due.clear();
        waits_for.clear();
        for (id, actor) in products {
            actor.move_due(*latest_stamp);
            waitlists_due.extend(actor.due().map(|due| (due, *id)));
            for waiter in actor.product().waitlist().waiters() {
                waits_for.entry(waiter.buyer).or_default().push(*id);
            }
        }
    }

    // -- looking -------------------------------------------------------------------------------------------------

    fn waited_for(&self, id: ProductId) -> Result<&Product, Refusal> {
        if self.is_product_broken(id) {
            return Err(Refusal::Recovering);
        }
        Ok(self.known_product(id)?)
    }

    fn check_waitlists_of(&self, buyer: BuyerId) -> Result<(), Rejection> {
        let waits_for = self.waits_for.get(&buyer);
        if waits_for.is_some_and(|products| products.len() >= WAITLISTS_MAX) {
            return Err(Rejection::TooManyWaitlists {
                waitlists_max: WAITLISTS_MAX,
            });
        }
        Ok(())
    }

    pub(crate) fn place_on(&self, id: ProductId, buyer: BuyerId) -> Option<WaitlistPlace> {
        let waitlist = self.products.get(&id)?.product().waitlist();
        Some(WaitlistPlace {
            product: id,
            waiter: *waitlist.get(buyer)?,
            position: waitlist.position(buyer),
        })
    }
}
