//! One product: its description, its window, its stock, and what each person has in hand of it.
//!
//! Knows no other product and no order: an order of several products asks each in turn, and only then is anything
//! applied.

mod in_hand;
mod waiting;

pub use self::in_hand::InHand;
use super::{
    Availability, Bucket, BuyerId, Deadlines, Handover, Money, Phase, Posting, ProductChange,
    ProductId, Quantity, Rejection, Shortage, Span, Stock, Timestamp, Waiter, Waitlist, Window,
    WindowAct,
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Details {
    pub name: Box<str>,
    pub description: Box<str>,
    pub image_url: Option<Box<str>>,
    pub price: Money,
}

/// Where the units of an accepted return go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestockTo {
    Available,
    Withdrawn,
}

/// What a shopper may know of a product: enough to refuse an order without asking its actor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot {
    pub id: ProductId,
    pub window: Option<Window>,
    pub stock: Stock,
    /// Live holds.
    pub holds: u64,
    /// When the first hold or offer ends.
    pub earliest_deadline: Option<Timestamp>,
    /// People on the waitlist who have no offer yet: as long as there are any, nothing is free for others.
    pub waiting: u64,
    /// People on the waitlist who have one.
    pub offers: u64,
    pub deleted: bool,
}

/// On what terms somebody may hold units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    pub hold_ttl: Span,
    /// So many of the units had been offered to them.
    pub offered: Option<Quantity>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Product {
    pub id: ProductId,
    pub details: Details,
    pub restock_to: RestockTo,
    pub registered_at: Timestamp,
    pub window: Option<Window>,
    pub stock: Stock,
    pub deleted: bool,
    /// Units held, offered or bought by each person. `None`: not known here, see [`Product::forget_people`].
    in_hand: Option<InHand>,
    /// When live holds end.
    hold_ends: Deadlines<()>,
    waitlist: Waitlist,
}

impl Snapshot {
    /// Units that anybody may take: none while somebody waits for them.
    pub const fn free_units(&self) -> u64 {
        match self.waiting {
            0 => self.stock.available,
            _ => 0,
        }
    }

    pub fn availability(&self) -> Availability {
        match self.stock.availability() {
            Availability::Available if self.waiting > 0 => Availability::AllHeld,
            other => other,
        }
    }

    pub fn phase(&self, now: Timestamp) -> Phase {
        self.window
            .map_or(Phase::Scheduled, |window| window.phase(now))
    }

    /// The window, if holds may be taken now.
    pub fn open_window(&self, now: Timestamp) -> Result<Window, Rejection> {
        let product = self.id;
        if self.deleted {
            return Err(Rejection::NoSuchProduct(product));
        }
        let Some(window) = self.window else {
            return Err(Rejection::NotOpen {
                product,
                opens_at: None,
                now,
            });
        };
        match window.phase(now) {
            Phase::Open => Ok(window),
            Phase::Scheduled => Err(Rejection::NotOpen {
                product,
                opens_at: Some(window.opens_at),
                now,
            }),
            Phase::Paused => Err(Rejection::Paused(product)),
            Phase::Closed => Err(Rejection::Closed(product)),
        }
    }

    /// Are there enough units for somebody who has been `offered` so many?
    pub fn check_stock(&self, requested: Quantity, offered: u32) -> Result<(), Rejection> {
        let within_reach = self.free_units().saturating_add(u64::from(offered));
        if within_reach < u64::from(requested.get()) {
            return Err(Rejection::Short(vec![Shortage {
                product: self.id,
                requested: requested.get(),
                available: within_reach,
                availability: self.availability(),
                holds: self.holds,
                earliest_deadline: self.earliest_deadline,
            }]));
        }
        Ok(())
    }
}

impl Product {
    /// The most units a product can have; far below where sums of money or stock could overflow.
    pub const TOTAL_MAX: u64 = 1_000_000_000;

    pub fn new(
        id: ProductId,
        details: Details,
        restock_to: RestockTo,
        registered_at: Timestamp,
    ) -> Self {
        Self {
            id,
            details,
            restock_to,
            registered_at,
            window: None,
            stock: Stock::default(),
            deleted: false,
            in_hand: Some(InHand::default()),
            hold_ends: Deadlines::default(),
            waitlist: Waitlist::default(),
        }
    }

    /// The product with its waitlist: the last step of reading it back, but for [`Product::recall_people`] and
    /// [`Product::forget_people`]. When holds end is noted by [`Product::move_hold_end`] for each order.
    #[must_use]
    pub fn restore(mut self, mut waiters: Vec<Waiter>) -> Self {
        waiters.sort_unstable_by_key(|waiter| waiter.ticket);
        for waiter in waiters {
            self.waitlist.insert(waiter);
        }
        self
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            id: self.id,
            window: self.window,
            stock: self.stock,
            holds: count(self.hold_ends.len()),
            earliest_deadline: earlier(
                self.hold_ends.first().map(|(end, ())| end),
                self.waitlist.first_deadline(),
            ),
            waiting: count(self.waitlist.waiting()),
            offers: count(self.waitlist.offered()),
            deleted: self.deleted,
        }
    }

    pub fn waitlist(&self) -> &Waitlist {
        &self.waitlist
    }

    // -- what people have in hand --------------------------------------------------------------------------------

    /// Only where [`Product::knows_people`].
    pub fn in_hand(&self, buyer: BuyerId) -> u64 {
        let in_hand = self.in_hand.as_ref();
        let in_hand = in_hand.expect("a limit counts what people have, and it is not known here");
        in_hand.of(buyer)
    }

    /// Every person with units in hand, if that is known here.
    pub fn people(&self) -> Option<impl Iterator<Item = (BuyerId, u64)> + '_> {
        Some(self.in_hand.as_ref()?.iter())
    }

    pub fn knows_people(&self) -> bool {
        self.in_hand.is_some()
    }

    /// Whether anybody may have to know what people have in hand, as long as no window is set anew: there is a limit a
    /// person, and the sale is not over by `as_of`. A late payment may ask all the same, see [`Product::can_reclaim`].
    pub fn counts_people(&self, as_of: Timestamp) -> bool {
        let counts = |window: &Window| {
            window.per_person_limit.is_some()
                && window.closes_at.is_none_or(|closes_at| as_of < closes_at)
        };
        !self.deleted && self.window.as_ref().is_some_and(counts)
    }

    /// From now on what people have in hand is kept elsewhere; the units themselves are counted as before.
    pub fn forget_people(&mut self) {
        self.in_hand = None;
    }

    /// What each person has in hand, as of now.
    pub fn recall_people(&mut self, people: InHand) {
        self.in_hand = Some(people);
    }

    // -- decide --------------------------------------------------------------------------------------------------

    /// May `buyer` hold `quantity` units now, and on what terms? What was offered to them is theirs to take up, whatever
    /// has become of the sale since.
    pub fn decide_hold(
        &self,
        buyer: BuyerId,
        quantity: Quantity,
        now: Timestamp,
    ) -> Result<Grant, Rejection> {
        let offer = self.live_offer(buyer, now);
        if let (Some(offer), Some(window)) = (offer, self.window)
            && quantity <= offer.units
        {
            return Ok(Grant {
                hold_ttl: window.hold_ttl,
                offered: Some(quantity),
            });
        }
        let snapshot = self.snapshot();
        let window = snapshot.open_window(now)?;
        let offered = offer.map_or(0, |offer| offer.units.get());
        self.check_limit(&window, buyer, offered, quantity)?;
        snapshot.check_stock(quantity, offered)?;
        Ok(Grant {
            hold_ttl: window.hold_ttl,
            offered: offer.map(|offer| offer.units),
        })
    }

    /// May a hold that has ended be paid after all? Only from units that nobody else has or waits for.
    pub fn can_reclaim(&self, buyer: BuyerId, quantity: Quantity) -> bool {
        let limit = self.window.and_then(|window| window.per_person_limit);
        let units = u64::from(quantity.get());
        !self.deleted
            && self.waitlist.waiting() == 0
            && self.stock.available >= units
            && limit
                .is_none_or(|limit| self.in_hand(buyer).saturating_add(units) <= u64::from(limit))
    }

    /// Where freed units go: first to a pending withdrawal, then back to available, from where the waitlist has them
    /// first (see [`Product::next_waitlist_step`]).
    pub fn free(&self, from: Bucket, units: u64) -> impl Iterator<Item = Posting> + use<> {
        let withdrawn = self.stock.owed_to_withdrawal(units);
        let available = units.saturating_sub(withdrawn);
        let product = self.id;
        [
            (Bucket::Withdrawn, withdrawn),
            (Bucket::Available, available),
        ]
        .into_iter()
        .filter(|(_, units)| *units > 0)
        .map(move |(to, units)| Posting {
            product,
            from,
            to,
            units,
        })
    }

    /// Where the units of a return go once their restock is due.
    pub fn restock(&self, units: u64) -> impl Iterator<Item = Posting> + use<> {
        let all_withdrawn = (self.restock_to == RestockTo::Withdrawn).then_some(Posting {
            product: self.id,
            from: Bucket::Returning,
            to: Bucket::Withdrawn,
            units,
        });
        let to_available = if all_withdrawn.is_some() { 0 } else { units };
        all_withdrawn
            .into_iter()
            .chain(self.free(Bucket::Returning, to_available))
    }

    /// Sets the units that are to be in the sale, that is all but the withdrawn ones.
    ///
    /// More: a pending withdrawal is called off first, then withdrawn units come back, then new ones are supplied.
    /// Fewer: free units are withdrawn at once, the rest as holds end; below what is sold it is refused.
    pub fn decide_stock(&self, after: u64) -> Result<(ProductChange, Vec<Posting>), Rejection> {
        if after > Self::TOTAL_MAX {
            return Err(Rejection::StockTooLarge {
                total_max: Self::TOTAL_MAX,
            });
        }
        let stock = &self.stock;
        if after < stock.sold {
            return Err(Rejection::BelowSold {
                total: after,
                sold: stock.sold,
            });
        }
        let in_sale = stock.total().saturating_sub(stock.withdrawn);
        let before = in_sale.saturating_sub(stock.withdrawal_pending);
        let surplus = in_sale.saturating_sub(after);
        let withdrawn_now = surplus.min(stock.available);
        let missing = after.saturating_sub(in_sale);
        let put_back = missing.min(stock.withdrawn);
        let supplied = missing.saturating_sub(put_back);
        let postings = [
            (Bucket::Available, Bucket::Withdrawn, withdrawn_now),
            (Bucket::Withdrawn, Bucket::Available, put_back),
            (Bucket::Outside, Bucket::Available, supplied),
        ]
        .into_iter()
        .filter(|(_, _, units)| *units > 0)
        .map(|(from, to, units)| Posting {
            product: self.id,
            from,
            to,
            units,
        })
        .collect();
        let change = ProductChange::StockSet {
            before,
            after,
            withdrawal_pending: surplus.saturating_sub(withdrawn_now),
        };
        Ok((change, postings))
    }

    /// `scheduled` is the new window when the act is to schedule one; the other acts change the window there is. A
    /// sale that is paused stays so until it is resumed, whatever becomes of its times.
    pub fn decide_window(
        &self,
        act: WindowAct,
        scheduled: Option<Window>,
        now: Timestamp,
    ) -> Result<ProductChange, Rejection> {
        let after = match act {
            WindowAct::Schedule => scheduled
                .unwrap_or(Window::open_from(now))
                .with_pause(self.snapshot().phase(now) == Phase::Paused),
            WindowAct::Open => self.opened(now)?,
            WindowAct::Pause => self.live_window(now)?.with_pause(true),
            WindowAct::Resume => self.live_window(now)?.with_pause(false),
            WindowAct::Close => self.closed(now)?,
        };
        Ok(ProductChange::WindowSet {
            act,
            before: self.window,
            after,
        })
    }

    pub fn decide_edit(&self, after: Details) -> Result<ProductChange, Rejection> {
        if after.price.currency != self.details.price.currency && self.stock.held > 0 {
            return Err(Rejection::CurrencyMismatch);
        }
        Ok(ProductChange::Edited {
            before: self.details.clone(),
            after,
        })
    }

    pub fn decide_delete(&self) -> Result<ProductChange, Rejection> {
        let stock = &self.stock;
        if stock.held > 0 || stock.sold > 0 || stock.offered > 0 || stock.returning > 0 {
            return Err(Rejection::HasCommittedUnits {
                held: stock.held,
                offered: stock.offered,
                sold: stock.sold,
                returning: stock.returning,
            });
        }
        Ok(ProductChange::Deleted)
    }

    fn check_limit(
        &self,
        window: &Window,
        buyer: BuyerId,
        offered: u32,
        quantity: Quantity,
    ) -> Result<(), Rejection> {
        let Some(limit) = window.per_person_limit else {
            return Ok(());
        };
        let in_hand = self.in_hand(buyer).saturating_sub(u64::from(offered));
        if in_hand.saturating_add(u64::from(quantity.get())) > u64::from(limit) {
            return Err(Rejection::LimitReached {
                product: self.id,
                limit,
                in_hand,
                live_order: None,
            });
        }
        Ok(())
    }

    fn opened(&self, now: Timestamp) -> Result<Window, Rejection> {
        let Some(window) = self.window else {
            return Ok(Window::open_from(now));
        };
        match window.phase(now) {
            Phase::Scheduled => Ok(Window {
                opens_at: now,
                ..window
            }),
            Phase::Open | Phase::Paused => Ok(window.with_pause(false)),
            Phase::Closed => Err(Rejection::Closed(self.id)),
        }
    }

    fn closed(&self, now: Timestamp) -> Result<Window, Rejection> {
        let Some(window) = self.window else {
            return Err(Rejection::NotOpen {
                product: self.id,
                opens_at: None,
                now,
            });
        };
        if window.phase(now) == Phase::Closed {
            return Ok(window);
        }
        Ok(Window {
            opens_at: window.opens_at.min(now),
            closes_at: Some(now),
            ..window
        })
    }

    /// The window if it is open or paused.
    fn live_window(&self, now: Timestamp) -> Result<Window, Rejection> {
        match self.snapshot().open_window(now) {
            Err(Rejection::Paused(_)) => self.window.ok_or(Rejection::Closed(self.id)),
            other => other,
        }
    }

    // -- apply ---------------------------------------------------------------------------------------------------

    /// Applies an admin change, after its postings.
    pub fn apply(&mut self, change: &ProductChange) {
        match change {
            ProductChange::Registered { .. } => {}
            ProductChange::Edited { after, .. } => self.details = after.clone(),
            ProductChange::Deleted => {
                self.deleted = true;
                self.waitlist = Waitlist::default();
            }
            ProductChange::StockSet {
                withdrawal_pending, ..
            } => self.stock.withdrawal_pending = *withdrawal_pending,
            ProductChange::WindowSet { after, .. } => self.window = Some(*after),
        }
    }

    /// Books units over, and keeps count of what `buyer` has in hand.
    pub fn post(&mut self, posting: &Posting, buyer: Option<BuyerId>) {
        self.stock.post(posting);
        let (Some(in_hand), Some(buyer)) = (&mut self.in_hand, buyer) else {
            return;
        };
        match posting.handover() {
            Some(Handover::Given) => in_hand.give(buyer, posting.units),
            Some(Handover::TakenBack) => in_hand.take(buyer, posting.units),
            None => {}
        }
    }

    /// Notes that a live hold ends at another instant, begins (`before` absent) or is over (`after` absent).
    pub fn move_hold_end(&mut self, before: Option<Timestamp>, after: Option<Timestamp>) {
        let unranked = |()| 0;
        if let Some(before) = before {
            let was_live = self.hold_ends.remove(before, (), unranked);
            assert!(was_live, "a hold ended that never began");
        }
        if let Some(after) = after {
            self.hold_ends.insert(after, (), unranked);
        }
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

impl Window {
    const fn with_pause(self, paused: bool) -> Self {
        Self { paused, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Currency;

    fn product_with(stock: Stock) -> Product {
        let details = Details {
            name: "Lamp".into(),
            description: "".into(),
            image_url: None,
            price: Money {
                amount: 100,
                currency: Currency::parse("KRW").expect("a code"),
            },
        };
        let mut product = Product::new(
            ProductId::new(1),
            details,
            RestockTo::Available,
            Timestamp::ZERO,
        );
        product.stock = stock;
        product
    }

    fn set_total(product: &mut Product, total: u64) -> Result<(), Rejection> {
        let (change, postings) = product.decide_stock(total)?;
        postings
            .iter()
            .for_each(|posting| product.post(posting, None));
        product.apply(&change);
        Ok(())
    }

    #[test]
    fn a_lowered_stock_takes_free_units_at_once_and_held_ones_when_they_come_free() {
        let mut product = product_with(Stock {
            available: 3,
            held: 5,
            sold: 2,
            ..Stock::default()
        });
        assert_eq!(set_total(&mut product, 4), Ok(()));
        assert_eq!(
            (
                product.stock.available,
                product.stock.withdrawn,
                product.stock.withdrawal_pending
            ),
            (0, 3, 3)
        );
        for posting in product.free(Bucket::Held, 4).collect::<Vec<_>>() {
            product.post(&posting, None);
        }
        assert_eq!(
            (
                product.stock.available,
                product.stock.withdrawn,
                product.stock.withdrawal_pending
            ),
            (1, 6, 0)
        );
    }

    #[test]
    fn a_raised_stock_calls_off_the_withdrawal_before_it_supplies() {
        let mut product = product_with(Stock {
            held: 10,
            withdrawal_pending: 4,
            ..Stock::default()
        });
        assert_eq!(set_total(&mut product, 12), Ok(()));
        assert_eq!(
            (
                product.stock.available,
                product.stock.withdrawal_pending,
                product.stock.total()
            ),
            (2, 0, 12)
        );
    }

    #[test]
    fn a_stock_below_what_is_sold_is_refused_with_the_numbers() {
        let mut product = product_with(Stock {
            available: 1,
            sold: 5,
            ..Stock::default()
        });
        assert_eq!(
            set_total(&mut product, 4),
            Err(Rejection::BelowSold { total: 4, sold: 5 })
        );
    }
}
