//! A second, naive Layby, written from the rules alone: maps, sums and recounts, one command at a time.
//!
//! It predicts every answer, every effect, every state and every counter of the cell. It keeps no counter but the
//! units supplied and withdrawn: what is held, sold or in a buyer's hand is counted anew from the orders each time.
//! Deliberately absent: events, postings, indexes, batches, and every line of `decide` and `apply`.
//!
//! Where the rules leave the order of two refusals open, the model follows the cell.

mod cancel;
mod deliver;
mod pay;
mod place;
mod shop;
mod wait;

use std::collections::BTreeMap;

pub(super) use wait::Told;

use super::marks::Marks;
use crate::actors::core::message::{Command, Refusal, ReplyTo, Viewer};
use crate::domain::{
    AttemptId, AttemptState, BuyerId, Fingerprint, KeyHash, Money, Order, OrderId, OrderState,
    PaymentAnswer, ProductId, RefundState, Rejection, RestockTo, Span, Stock, Timestamp, Window,
};
use wait::Waiting;

const GRACE: Span = Span::from_secs(120);
const ATTEMPTS_MAX: usize = 20;
const TOTAL_MAX: u64 = 1_000_000_000;

/// What the cell must answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    Order {
        id: OrderId,
        state: OrderState,
        pay_by: Timestamp,
        deadline: Timestamp,
    },
    Orders(Vec<OrderId>),
    Payment {
        attempt: AttemptId,
        amount: i64,
        answer: PaymentAnswer,
        deadline: Timestamp,
    },
    Product(ProductId, Stock),
    Joined(Told, bool),
    Places(Vec<Told>),
    Done,
    Refused(Refusal),
}

/// What the world must be told to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Errand {
    /// Not to be sent at the instant given, or later.
    Charge(AttemptId, i64, Timestamp),
    Withdraw(AttemptId),
    Refund(AttemptId, i64),
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now: Timestamp,
    pub(super) shelves: BTreeMap<ProductId, Shelf>,
    pub(super) papers: BTreeMap<OrderId, Paper>,
    pub(super) marks: Marks,
    /// Filled by each command, emptied by the harness.
    pub(super) answers: Vec<(ReplyTo, Expected)>,
    pub(super) errands: Vec<Errand>,
    payments_pending_max: usize,
    offer_ttl: Span,
    placed: u64,
}

#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) price: Money,
    pub(super) window: Option<Window>,
    pub(super) deleted: bool,
    restock_to: RestockTo,
    /// Every unit that was ever brought in.
    supplied: u64,
    withdrawn: u64,
    pending: u64,
    line: Vec<Waiting>,
}

/// What a count of all orders gives for one product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recount {
    pub(super) stock: Stock,
    pub(super) holds: u64,
    pub(super) earliest_deadline: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Paper {
    pub(super) buyer: BuyerId,
    pub(super) state: OrderState,
    pub(super) deadline: Timestamp,
    pub(super) pay_by: Timestamp,
    pub(super) lines: Vec<(ProductId, u64, Money)>,
    pub(super) tries: Vec<Try>,
    pub(super) placed_at: Timestamp,
    pub(super) key: KeyHash,
    fingerprint: Fingerprint,
    number: u64,
    /// Carrier and number.
    pub(super) shipped_by: Option<(Box<str>, Box<str>)>,
    pub(super) return_until: Option<Timestamp>,
    restock_at: Option<Timestamp>,
    restocked: bool,
    cancel_waiters: Vec<ReplyTo>,
}

#[derive(Debug)]
pub(super) struct Try {
    pub(super) id: AttemptId,
    pub(super) state: AttemptState,
    pub(super) refund: RefundState,
    pub(super) told: Option<PaymentAnswer>,
    key: KeyHash,
    fingerprint: Fingerprint,
    waiters: Vec<ReplyTo>,
}

impl Recount {
    /// Before any order is counted everything in the sale is available.
    fn of_empty(shelf: &Shelf) -> Self {
        let stock = Stock {
            available: shelf.supplied - shelf.withdrawn,
            withdrawn: shelf.withdrawn,
            withdrawal_pending: shelf.pending,
            ..Stock::default()
        };
        let mut recount = Self {
            stock,
            holds: 0,
            earliest_deadline: None,
        };
        for (units, deadline) in shelf.line.iter().filter_map(|one| one.offer) {
            recount.stock.offered += units;
            recount.take(units);
            recount.note_end(deadline);
        }
        recount
    }

    fn note_end(&mut self, end: Timestamp) {
        let first = self.earliest_deadline.map_or(end, |first| first.min(end));
        self.earliest_deadline = Some(first);
    }

    fn take(&mut self, units: u64) {
        let left = self.stock.available.checked_sub(units);
        self.stock.available = left.expect("units out of nothing");
    }

    fn add(&mut self, paper: &Paper, units: u64) {
        let stock = &mut self.stock;
        if let Some(end) = paper.ends_at() {
            stock.held += units;
            self.holds += 1;
            self.note_end(end);
        } else if paper.owns() {
            stock.sold += units;
        } else if paper.is_returning() {
            stock.returning += units;
        } else {
            return;
        }
        self.take(units);
    }
}

impl Paper {
    fn cap(&self) -> Timestamp {
        self.pay_by.plus(GRACE)
    }

    /// The instant at which the units come free whatever happens; `None` when nothing is held.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        match self.state {
            OrderState::Held => Some(self.deadline),
            OrderState::Paying | OrderState::CancelRequested => Some(self.cap()),
            _ => None,
        }
    }

    /// When something happens to the order by itself.
    pub(super) fn due_at(&self) -> Option<Timestamp> {
        match self.state {
            OrderState::Delivered => self.return_until,
            OrderState::Returned if !self.restocked => self.restock_at,
            _ => self.ends_at(),
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.ends_at().is_some()
    }

    fn is_returning(&self) -> bool {
        self.state == OrderState::Returned && !self.restocked
    }

    pub(super) fn owns(&self) -> bool {
        matches!(
            self.state,
            OrderState::Paid
                | OrderState::Shipped
                | OrderState::Delivered
                | OrderState::Completed
                | OrderState::ReturnRequested
        )
    }

    /// Nothing is expected to happen to it any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, OrderState::Expired | OrderState::Cancelled) && self.tries.is_empty()
    }

    /// The cell's order says the same.
    pub(super) fn assert_same(&self, order: &Order) {
        assert_eq!(
            (
                order.state,
                order.deadline,
                order.pay_by,
                order.buyer,
                order.placed_at,
                order.total()
            ),
            (
                self.state,
                self.deadline,
                self.pay_by,
                self.buyer,
                self.placed_at,
                self.total()
            ),
            "order {}: the cell's left, the model's right",
            order.id
        );
        let known = order.aftermath.as_deref();
        assert_eq!(
            (
                known.map(|it| (it.carrier.clone(), it.tracking_number.clone())),
                known.and_then(|it| it.return_until),
                known.is_some_and(|it| it.restocked),
            ),
            (self.shipped_by.clone(), self.return_until, self.restocked),
            "after the sale of {}: the cell's left, the model's right",
            order.id
        );
        assert_eq!(
            order.attempts.len(),
            self.tries.len(),
            "attempts of {}",
            order.id
        );
        for (attempt, this) in order.attempts.iter().zip(&self.tries) {
            assert_eq!(
                (attempt.id, attempt.state, attempt.refund, attempt.answer),
                (this.id, this.state, this.refund, this.told),
                "an attempt of {}: the cell's left, the model's right",
                order.id
            );
        }
    }

    fn units_of(&self, product: ProductId) -> u64 {
        self.lines
            .iter()
            .filter(|line| line.0 == product)
            .map(|line| line.1)
            .sum()
    }

    pub(super) fn total(&self) -> i64 {
        self.lines
            .iter()
            .map(|(_, units, price)| i64::try_from(*units).unwrap() * price.amount)
            .sum()
    }
}

impl Model {
    pub(super) fn new(payments_pending_max: usize, offer_ttl: Span) -> Self {
        Self {
            payments_pending_max,
            offer_ttl,
            ..Self::default()
        }
    }

    pub(super) fn handle(&mut self, command: &Command, to: ReplyTo) {
        let answer = match command {
            Command::PlaceOrder(place) => Some(self.place(place)),
            Command::StartPayment(start) => self.start_payment(start, to),
            Command::CancelOrder { order, buyer } => self.cancel(*order, *buyer, to),
            Command::ReadOrder { order, viewer } => Some(self.read(*order, *viewer)),
            Command::ReadOrders { buyer, limit, .. } => Some(self.read_newest(*buyer, *limit)),
            Command::ReadOpenOrders { .. } | Command::ReadPlaced { .. } => {
                unreachable!("no history asks so")
            }
            Command::ChangeProduct { product, act, .. } => Some(self.change(*product, act)),
            Command::JoinWaitlist {
                product,
                buyer,
                quantity,
            } => Some(self.join(*product, *buyer, quantity.get().into())),
            Command::LeaveWaitlist { product, buyer } => Some(self.leave(*product, *buyer)),
            Command::ReadWaitlists { buyer } => Some(self.read_places(*buyer)),
            Command::SettlePayment {
                order,
                attempt,
                outcome,
                amount: _,
            } => Some(self.settle(*order, *attempt, *outcome)),
            Command::DeferPayment { order, attempt } => Some(self.defer(*order, *attempt)),
            Command::RepeatCharge { order, attempt } => Some(self.repeat_charge(*order, *attempt)),
            Command::RecordRefund { order, attempt } => Some(self.record_refund(*order, *attempt)),
            Command::DeferRefund { order } => Some(self.defer_refund(*order)),
            Command::ShipOrder {
                order, shipment, ..
            } => Some(self.ship(*order, shipment)),
            Command::DeliverOrder { order, .. } => Some(self.deliver(*order)),
            Command::RequestReturn { order, buyer, .. } => {
                Some(self.request_return(*order, *buyer))
            }
            Command::AcceptReturn { order, .. } => Some(self.accept_return(*order)),
            Command::NoteProvider { .. } => unreachable!("no history breaks the provider"),
            Command::BreakProduct(_) => unreachable!("no history breaks a product"),
        };
        if let Some(answer) = answer {
            self.answer(to, answer);
        }
    }

    // Counting.

    /// The six counters and the withdrawal that waits, all recounted.
    pub(super) fn stock(&self, product: ProductId) -> Stock {
        self.recount(|other| other == product)[&product].stock
    }

    /// Every product counted anew.
    pub(super) fn recount_all(&self) -> BTreeMap<ProductId, Recount> {
        self.recount(|_| true)
    }

    fn recount(&self, which: impl Fn(ProductId) -> bool) -> BTreeMap<ProductId, Recount> {
        let shelves = self.shelves.iter().filter(|(id, _)| which(**id));
        let mut counts: BTreeMap<ProductId, Recount> = shelves
            .map(|(id, shelf)| (*id, Recount::of_empty(shelf)))
            .collect();
        for paper in self.papers.values() {
            for (product, units, _) in paper.lines.iter().filter(|line| which(line.0)) {
                counts
                    .get_mut(product)
                    .expect("ordered, so registered")
                    .add(paper, *units);
            }
        }
        counts
    }

    fn count(&self, product: ProductId, which: impl Fn(&Paper) -> bool) -> u64 {
        self.papers
            .values()
            .filter(|paper| which(paper))
            .map(|paper| paper.units_of(product))
            .sum()
    }

    /// What the per-person limit counts: live holds and bought, less cancelled and returned.
    pub(super) fn in_hand(&self, product: ProductId, buyer: BuyerId) -> u64 {
        let shelf = self.shelves.get(&product);
        let offered = shelf.and_then(|shelf| shelf.offer_to(buyer));
        let in_orders = self.count(product, |paper| {
            paper.buyer == buyer && (paper.holds() || paper.owns())
        });
        in_orders + offered.map_or(0, |(units, _)| units)
    }

    /// Everybody who is known.
    pub(super) fn everybody(&self) -> impl Iterator<Item = BuyerId> {
        let waiting = self.shelves.values().flat_map(|shelf| &shelf.line);
        let waiting = waiting.map(|one| one.buyer);
        self.papers.values().map(|paper| paper.buyer).chain(waiting)
    }

    // Time.

    /// Does what is due by now, the oldest first; of what is due at the same instant, orders first.
    pub(super) fn sweep(&mut self, steps_max: usize) {
        for _ in 0..steps_max {
            let order = self.orders_due().min().filter(|(at, ..)| *at <= self.now);
            let list = self.waitlists_due().min().filter(|(at, _)| *at <= self.now);
            match (order, list) {
                (Some((_, _, id)), None) => self.touch(id),
                (Some((due, _, id)), Some((at, _))) if due <= at => self.touch(id),
                (_, Some((_, product))) => self.lapse_one(product),
                (None, None) => return,
            }
        }
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let orders = self.orders_due().map(|(at, ..)| at);
        orders.chain(self.waitlists_due().map(|(at, _)| at)).min()
    }

    /// By the time, and of what is due at the same time what was placed first.
    fn orders_due(&self) -> impl Iterator<Item = (Timestamp, u64, OrderId)> {
        let papers = self.papers.iter();
        papers.filter_map(|(id, paper)| Some((paper.due_at()?, paper.number, *id)))
    }

    fn waitlists_due(&self) -> impl Iterator<Item = (Timestamp, ProductId)> {
        let shelves = self.shelves.iter().filter(|(_, it)| !it.line.is_empty());
        shelves.filter_map(|(id, _)| Some((self.waitlist_due(*id)?, *id)))
    }

    /// Whoever looks at an order first does what is due for it, however slow the timer is.
    fn touch(&mut self, id: OrderId) {
        let Some(paper) = self
            .papers
            .get_mut(&id)
            .filter(|p| p.due_at().is_some_and(|at| self.now >= at))
        else {
            return;
        };
        match paper.state {
            OrderState::Delivered => {
                self.marks.hit("a return window ends");
                paper.state = OrderState::Completed;
            }
            OrderState::Returned => {
                self.marks.hit("a return is restocked");
                paper.restocked = true;
                self.free_units(id);
            }
            _ => self.expire(id),
        }
    }

    fn touch_all(&mut self, which: impl Fn(&Paper) -> bool) {
        let found: Vec<OrderId> = self
            .papers
            .iter()
            .filter(|(_, p)| which(p))
            .map(|(id, _)| *id)
            .collect();
        found.into_iter().for_each(|id| self.touch(id));
    }

    fn expire(&mut self, id: OrderId) {
        let state = self.papers[&id].state;
        let end = self.papers[&id].ends_at().expect("only live holds expire");
        self.marks
            .hit_if(self.now == end, "a hold ends exactly at its deadline");
        match state {
            OrderState::CancelRequested => {
                self.marks.hit("the cap passes while a cancel is requested");
                self.end(id, OrderState::Cancelled);
            }
            OrderState::Paying => {
                self.marks.hit("the cap passes while paying");
                self.withdraw(id);
                self.end(id, OrderState::Expired);
            }
            _ => {
                let tried = !self.papers[&id].tries.is_empty();
                self.marks.hit_if(tried, "a declined hold expires");
                self.marks.hit_if(!tried, "an untouched hold expires");
                self.end(id, OrderState::Expired);
            }
        }
    }

    fn end(&mut self, id: OrderId, to: OrderState) {
        let paper = self.papers.get_mut(&id).unwrap();
        assert!(paper.holds() || paper.owns(), "units freed twice");
        paper.state = to;
        self.free_units(id);
    }

    /// Units come free: first to a withdrawal that waits, then to those who wait, and the rest is available again by not
    /// being held.
    fn free_units(&mut self, id: OrderId) {
        let paper = &self.papers[&id];
        let restocked = paper.restocked;
        for (product, units, _) in paper.lines.clone() {
            let shelf = self.shelves.get_mut(&product).unwrap();
            if restocked && shelf.restock_to == RestockTo::Withdrawn {
                self.marks.hit("a return goes to the withdrawn units");
                let swallowed = shelf.pending.min(units);
                shelf.pending -= swallowed;
                shelf.withdrawn += units;
            } else {
                self.give_back(product, units);
            }
        }
    }

    // Reading and answering.

    fn read(&mut self, id: OrderId, viewer: Viewer) -> Expected {
        let may_see = |p: &Paper| viewer == Viewer::Shop || viewer == Viewer::Buyer(p.buyer);
        if !self.papers.get(&id).is_some_and(may_see) {
            return refused(Rejection::NoSuchOrder);
        }
        self.touch(id);
        self.show(id)
    }

    fn read_newest(&mut self, buyer: BuyerId, limit: usize) -> Expected {
        self.touch_all(|paper| paper.buyer == buyer);
        let own = self.papers.iter().filter(|(_, it)| it.buyer == buyer);
        let mut own: Vec<(u64, OrderId)> = own.map(|(id, it)| (it.number, *id)).collect();
        own.sort_unstable();
        let newest = own.iter().rev().take(limit);
        Expected::Orders(newest.map(|(_, id)| *id).collect())
    }

    fn show(&self, id: OrderId) -> Expected {
        let paper = &self.papers[&id];
        Expected::Order {
            id,
            state: paper.state,
            pay_by: paper.pay_by,
            deadline: paper.deadline,
        }
    }

    fn payment(&self, id: OrderId, attempt: AttemptId, answer: PaymentAnswer) -> Expected {
        let paper = &self.papers[&id];
        Expected::Payment {
            attempt,
            amount: paper.total(),
            answer,
            deadline: paper.deadline,
        }
    }

    fn answer(&mut self, to: ReplyTo, expected: Expected) {
        if to != ReplyTo::Nobody {
            self.answers.push((to, expected));
        }
    }
}

fn refused(rejection: Rejection) -> Expected {
    Expected::Refused(Refusal::Rejected(rejection))
}
