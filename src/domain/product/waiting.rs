//! The waitlist of a product: who may join, who is offered what, and when.

use super::{Product, earlier};
use crate::domain::{
    Bucket, BuyerId, Offer, Posting, Quantity, Rejection, Span, Timestamp, Waiter, Waitlist,
    WaitlistChange, Window,
};

impl Product {
    /// `None`: on the list already, for as many units.
    pub fn decide_join(
        &self,
        buyer: BuyerId,
        quantity: Quantity,
        now: Timestamp,
    ) -> Result<Option<WaitlistChange>, Rejection> {
        let product = self.id;
        if let Some(known) = self.waitlist.get(buyer) {
            if known.quantity != quantity {
                return Err(Rejection::AlreadyWaiting {
                    product,
                    quantity: known.quantity.get(),
                });
            }
            return Ok(None);
        }
        let window = self.live_window(now)?;
        let snapshot = self.snapshot();
        if snapshot.free_units() > 0 {
            return Err(Rejection::StillAvailable {
                product,
                available: snapshot.free_units(),
            });
        }
        self.check_limit(&window, buyer, 0, quantity)?;
        if self.waitlist.is_full() {
            return Err(Rejection::WaitlistFull {
                product,
                waiters_max: Waitlist::WAITERS_MAX,
            });
        }
        Ok(Some(WaitlistChange::Joined { buyer, quantity }))
    }

    /// `None`: not on the list. Who has an offer gives it up.
    pub fn decide_leave(&self, buyer: BuyerId) -> Option<(WaitlistChange, Vec<Posting>)> {
        let waiter = self.waitlist.get(buyer)?;
        Some((WaitlistChange::Left { buyer }, self.give_up(waiter)))
    }

    /// The first offer that is over by now, if any.
    pub fn decide_lapse(&self, now: Timestamp) -> Option<(WaitlistChange, Vec<Posting>)> {
        let waiter = self.waitlist.first_lapsed(now)?;
        let buyer = waiter.buyer;
        Some((WaitlistChange::Lapsed { buyer }, self.give_up(waiter)))
    }

    /// The end of the list, if the sale is over: nobody who waits can be served any more.
    pub fn decide_waitlist_end(&self, now: Timestamp) -> Option<WaitlistChange> {
        let ends = self.waiting_ends()?;
        (ends <= now).then_some(WaitlistChange::Ended)
    }

    /// What is to happen to the head of the list now that units are free: offers to the first of them, or, if the limit a
    /// person leaves the very first nothing any more, their leave.
    pub fn next_waitlist_step(&self, now: Timestamp, offer_ttl: Span) -> Option<WaitlistChange> {
        const OFFERS_AT_ONCE_MAX: usize = 500;
        if self.stock.available == 0 || self.waitlist.waiting() == 0 {
            return None;
        }
        let window = self.snapshot().open_window(now).ok()?;
        let mut free = self.stock.available;
        let mut offers = Vec::new();
        for waiter in self.waitlist.queue().take(OFFERS_AT_ONCE_MAX) {
            let allowed = self.allowance(&window, waiter.buyer);
            let units = u64::from(waiter.quantity.get()).min(free).min(allowed);
            let Some(units) = u32::try_from(units).ok().and_then(Quantity::new) else {
                break;
            };
            offers.push((waiter.buyer, units));
            free = free.saturating_sub(u64::from(units.get()));
        }
        if offers.is_empty() {
            let head = self.waitlist.queue().next()?;
            return Some(WaitlistChange::Left { buyer: head.buyer });
        }
        Some(WaitlistChange::Offered {
            offers,
            deadline: now.plus(offer_ttl),
        })
    }

    /// When something happens on the waitlist by itself, as seen at `as_of`: an offer ends, a sale opens with units for
    /// those who wait, or it closes on them.
    pub fn next_due(&self, as_of: Timestamp) -> Option<Timestamp> {
        if self.waitlist.is_empty() {
            return None;
        }
        let offers = earlier(self.waitlist.first_deadline(), self.offers_begin(as_of));
        earlier(offers, self.waiting_ends())
    }

    /// When the sale closes on those who wait, if it does.
    fn waiting_ends(&self) -> Option<Timestamp> {
        let closes_at = self.window?.closes_at?;
        (self.waitlist.waiting() > 0).then_some(closes_at)
    }

    fn offers_begin(&self, as_of: Timestamp) -> Option<Timestamp> {
        let window = self.window.filter(|window| !window.paused)?;
        let ends_before = |then| window.closes_at.is_some_and(|closes_at| closes_at <= then);
        let is_owed = self.stock.available > 0 && self.waitlist.waiting() > 0 && !self.deleted;
        (is_owed && !ends_before(as_of) && !ends_before(window.opens_at)).then_some(window.opens_at)
    }

    pub(super) fn live_offer(&self, buyer: BuyerId, now: Timestamp) -> Option<Offer> {
        let waiter = self.waitlist.get(buyer)?;
        waiter.offer.filter(|offer| now < offer.deadline)
    }

    fn give_up(&self, waiter: &Waiter) -> Vec<Posting> {
        let units = waiter.offer.map_or(0, |offer| u64::from(offer.units.get()));
        self.free(Bucket::Offered, units).collect()
    }

    /// Units that a person may still take in hand.
    fn allowance(&self, window: &Window, buyer: BuyerId) -> u64 {
        match window.per_person_limit {
            Some(limit) => u64::from(limit).saturating_sub(self.in_hand(buyer)),
            None => u64::MAX,
        }
    }

    // -- apply ---------------------------------------------------------------------------------------------------

    /// Applies what happens on the waitlist, by the record `sequence`. `postings` are of offers that end.
    pub fn apply_to_waitlist(
        &mut self,
        sequence: u64,
        at: Timestamp,
        change: &WaitlistChange,
        postings: &[Posting],
    ) {
        for (buyer, posting) in change.offers(self.id) {
            self.post(&posting, Some(buyer));
        }
        for posting in postings {
            self.post(posting, change.buyers().next());
        }
        match change {
            WaitlistChange::Joined { buyer, quantity } => {
                let waiter = Waiter::joining(sequence, *buyer, *quantity, at);
                self.waitlist.insert(waiter);
            }
            WaitlistChange::Left { buyer } => {
                self.waitlist.remove(*buyer);
            }
            WaitlistChange::Offered { offers, deadline } => {
                for (buyer, units) in offers {
                    let offer = Offer {
                        units: *units,
                        deadline: *deadline,
                    };
                    self.waitlist.offer(*buyer, offer);
                }
            }
            WaitlistChange::Lapsed { buyer } => self.waitlist.lapse(*buyer, sequence),
            WaitlistChange::Ended => self.waitlist.end_queue(),
        }
    }

    /// An order has taken up so many of the units that its buyer was offered; the order's postings move them.
    pub fn take_offer(&mut self, buyer: BuyerId, units: Quantity) {
        self.waitlist.take(buyer, units);
    }
}
