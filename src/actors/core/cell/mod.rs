//! A cell: a set of products, the orders on them, and the road that a command takes through their actors.
//!
//! `handle` decides and applies at once, in memory, on the engine's thread; what it decided waits in the [`Turn`]
//! until the journal has it. `apply` is the only way in which state changes, live and in replay alike.
//!
//! Deliberately absent: clocks, threads, the journal's files, HTTP.

mod change;
mod crashed;
mod deliver;
mod memory;
mod people;
mod place;
mod settle;
#[cfg(test)]
pub(super) mod tests;
mod waitlist;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

pub(crate) use crashed::Broken;

use crate::actors::core::breaker::{Breaker, BreakerOptions};
use crate::actors::core::message::{
    Answer, Command, Effect, ProviderOrder, Refusal, Reply, ReplyTo, Viewer,
};
use crate::actors::core::orders::{Due, OrderActors};
use crate::actors::core::product::ProductActor;
use crate::actors::core::turn::Turn;
use smallvec::SmallVec;

use crate::calendar::{Calendar, ShopCalendar};
use crate::domain::{
    AttemptId, Bucket, BuyerId, Event, IdMap, KeyHash, Lines, Order, OrderChange, OrderId,
    OrderPlaced, Posting, Product, ProductChange, ProductId, RefundState, Rejection, Snapshot,
    Span, Timestamp,
};

const SHARDS: usize = Cell::SHARDS;

#[derive(Debug)]
pub(crate) struct Cell {
    products: IdMap<ProductId, ProductActor>,
    orders: OrderActors,
    /// When something happens on the waitlist of a product by itself.
    waitlists_due: BTreeSet<(Timestamp, ProductId)>,
    people_elsewhere: people::PeopleElsewhere,
    /// On which waitlists a person is.
    waits_for: IdMap<BuyerId, SmallVec<[ProductId; 1]>>,
    /// Requests that wait for the first answer to an attempt to pay.
    waiting_for_payment: IdMap<AttemptId, Vec<ReplyTo>>,
    /// Requests that wait for the refund of a cancelled order.
    waiting_for_refund: IdMap<OrderId, Vec<ReplyTo>>,
    /// Actors that crashed in mid-change; they are rebuilt from SQL and journal before they are told anything.
    broken_products: IdMap<ProductId, ()>,
    broken_shards: [bool; SHARDS],
    /// The shard whose orders at rest are forgotten next.
    forget_next: usize,
    /// Orders at rest that somebody has asked for again, and when.
    recalled: VecDeque<(Timestamp, OrderId)>,
    limits: CellLimits,
    /// Not part of the state that the journal keeps: after a restart the provider is given a chance.
    breaker: Breaker,
    latest_stamp: Timestamp,
    calendar: Arc<dyn Calendar>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CellLimits {
    /// Attempts to pay under way at once, and refunds due at once; the next one is refused as [`Refusal::PaymentsBusy`].
    pub(crate) payments_pending_max: usize,
    /// How long units are kept for somebody on the waitlist.
    pub(crate) offer_ttl: Span,
    pub(crate) person: PersonLimits,
}

/// What one person may do, so that nobody ties up a sale; 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PersonLimits {
    /// Orders with a live hold at the same time.
    pub open_orders_max: usize,
    /// Holds that ended unpaid within an hour, cancelled or expired.
    pub ended_holds_max: usize,
}

impl PersonLimits {
    pub const NONE: Self = Self {
        open_orders_max: 0,
        ended_holds_max: 0,
    };
}

impl Default for PersonLimits {
    fn default() -> Self {
        Self {
            open_orders_max: 50,
            ended_holds_max: 120,
        }
    }
}

impl Cell {
    pub(crate) const SHARDS: usize = OrderActors::LEN;

    pub(crate) fn new(limits: CellLimits) -> Self {
        Self {
            products: IdMap::default(),
            orders: OrderActors::new(),
            waitlists_due: BTreeSet::new(),
            people_elsewhere: people::PeopleElsewhere::default(),
            waits_for: IdMap::default(),
            waiting_for_payment: IdMap::default(),
            waiting_for_refund: IdMap::default(),
            broken_products: IdMap::default(),
            broken_shards: [false; SHARDS],
            forget_next: 0,
            recalled: VecDeque::new(),
            limits,
            breaker: Breaker::new(BreakerOptions::default()),
            latest_stamp: Timestamp::ZERO,
            calendar: Arc::new(ShopCalendar::default()),
        }
    }

    /// With the calendar of the shop, which decides until when a return may be asked for.
    pub(crate) fn with_calendar(mut self, calendar: Arc<dyn Calendar>) -> Self {
        self.calendar = calendar;
        self
    }

    /// A cell as SQL had it, to be brought up to date by applying the journal after it. A database of an earlier release
    /// knows no last stamp: then it is the latest of those that are there for another reason.
    pub(crate) fn restore(
        products: Vec<Product>,
        orders: impl IntoIterator<Item = Order>,
        last_stamp: Timestamp,
        limits: CellLimits,
    ) -> Self {
        let mut cell = Self::new(limits);
        cell.latest_stamp = last_stamp;
        for product in products {
            let joined = product.waitlist().waiters().map(|waiter| waiter.joined_at);
            let known = joined.fold(product.registered_at, Timestamp::max);
            cell.latest_stamp = cell.latest_stamp.max(known);
            cell.products.insert(product.id, ProductActor::new(product));
        }
        for order in orders {
            cell.latest_stamp = cell.latest_stamp.max(order.changed_at);
            cell.insert(order);
        }
        cell.note_waitlists();
        cell
    }

    /// Before the first command.
    pub(crate) fn set_breaker(&mut self, options: BreakerOptions) {
        self.breaker = Breaker::new(options);
    }

    // -- what is asked -------------------------------------------------------------------------------------------

    /// Carries out one command. Its answer, its records and its effects are left in the turn.
    pub(crate) fn handle(&mut self, command: Command, reply_to: ReplyTo, turn: &mut Turn) {
        let answer = match command {
            Command::PlaceOrder(place) => self.place(place, turn),
            Command::StartPayment(start) => {
                return self.start_payment(start, reply_to, turn);
            }
            Command::CancelOrder { order, buyer } => {
                return self.cancel(order, buyer, reply_to, turn);
            }
            Command::ReadOrder { order, viewer } => self
                .touch_order(order, viewer, turn)
                .map(|order| Reply::Order(Box::new(order))),
            Command::ReadOrders {
                buyer,
                before,
                limit,
            } => self.read_orders(buyer, before, limit, turn),
            Command::ReadOpenOrders { buyer, limit } => self.read_open_orders(buyer, limit, turn),
            Command::ReadPlaced { buyer, key } => self.read_placed(buyer, key),
            Command::ChangeProduct { product, mark, act } => {
                self.change_product(product, mark, act, turn)
            }
            Command::JoinWaitlist {
                product,
                buyer,
                quantity,
            } => self.join_waitlist(product, buyer, quantity, turn),
            Command::LeaveWaitlist { product, buyer } => self.leave_waitlist(product, buyer, turn),
            Command::ReadWaitlists { buyer } => self.read_waitlists(buyer, turn),
            Command::SettlePayment {
                order,
                attempt,
                outcome,
                amount,
            } => self
                .check_amount(order, attempt, amount)
                .and_then(|()| self.settle_payment(order, attempt, outcome, turn)),
            Command::DeferPayment { order, attempt } => self.defer_payment(order, attempt, turn),
            Command::RepeatCharge { order, attempt } => self.repeat_charge(order, attempt, turn),
            Command::RecordRefund { order, attempt } => self.record_refund(order, attempt, turn),
            Command::DeferRefund { order } => {
                self.answer_refund_waiters(order, turn);
                Ok(Reply::Done)
            }
            Command::ShipOrder {
                order,
                shipment,
                mark,
            } => self.ship(order, &shipment, mark, turn),
            Command::DeliverOrder { order, mark } => self.deliver(order, mark, turn),
            Command::RequestReturn {
                order,
                buyer,
                reason,
            } => self.request_return(order, buyer, &reason, turn),
            Command::AcceptReturn { order, mark } => self.accept_return(order, mark, turn),
            Command::NoteProvider { answered } => self.note_provider(answered, turn.now),
            Command::BreakProduct(product) => self.break_product(product),
        };
        turn.answer(reply_to, answer);
    }

    /// Ends what is due by now, the oldest first, at most `steps_max` of it: a storm of expiries must not keep buyers
    /// waiting.
    pub(crate) fn settle_due(&mut self, steps_max: usize, turn: &mut Turn) {
        let mut skipped = Vec::new();
        let mut steps = 0;
        while steps < steps_max && !turn.batch.is_full() {
            let order = self.orders.next_due();
            let waitlist = self.waitlists_due.first().copied();
            match (order, waitlist) {
                (_, Some((at, product))) if at <= turn.now && order.is_none_or(|due| at < due) => {
                    self.settle_first_waitlist(product, turn);
                }
                (Some(at), _) if at <= turn.now => {
                    let Some(due) = self.orders.first_due() else {
                        break;
                    };
                    if self.is_broken(due.order) {
                        skipped.extend(self.orders.set_first_due_aside());
                        continue;
                    }
                    self.settle_first_order(due, turn);
                }
                _ => break,
            }
            steps += 1;
        }
        for aside in skipped {
            self.orders.put_back(aside);
        }
    }

    fn settle_first_order(&mut self, due: Due, turn: &mut Turn) {
        self.settle_order(due.order, turn);
        // An order that is due again at once would otherwise hold up everything behind it.
        if self.orders.first_due() == Some(due) {
            tracing::error!(order.id = %due.order, "order was due and nothing happened to it");
            self.orders.set_first_due_aside();
        }
    }

    /// The next instant at which [`Cell::settle_due`] has something to do.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let waitlist = self.waitlists_due.first().map(|(due, _)| *due);
        self.orders.next_due().into_iter().chain(waitlist).min()
    }

    pub(crate) fn snapshot(&self, product: ProductId) -> Option<(Snapshot, &Product)> {
        let product = self.products.get(&product)?.product();
        Some((product.snapshot(), product))
    }

    pub(crate) fn products(&self) -> impl Iterator<Item = &Product> {
        self.products.values().map(ProductActor::product)
    }

    pub(crate) fn orders(&self) -> impl Iterator<Item = Order> {
        self.orders.iter()
    }

    pub(crate) fn orders_of_shard(&self, shard: usize) -> impl Iterator<Item = Order> {
        self.orders.shard(shard).iter()
    }

    /// Who is offered units of what.
    pub(crate) fn offers(&self) -> impl Iterator<Item = (BuyerId, ProductId)> {
        let with_offers = self.products().filter(|it| it.waitlist().offered() > 0);
        with_offers.flat_map(|product| {
            let waiters = product.waitlist().waiters();
            let offered = waiters.filter(|waiter| waiter.offer.is_some());
            offered.map(|waiter| (waiter.buyer, product.id))
        })
    }

    /// The order, unless it is out of service: its state may be half changed.
    pub(crate) fn sound_order(&self, id: OrderId) -> Option<Order> {
        self.order(id).filter(|_| !self.is_broken(id))
    }

    pub(crate) fn products_of(&self, order: OrderId) -> Vec<ProductId> {
        let lines = self.orders.of_order(order).lines(order);
        lines.iter().map(|line| line.product).collect()
    }

    /// What the world outside still owes to orders: unclear payments and unfinished refunds, after a restart.
    pub(crate) fn unfinished_effects(&self) -> Vec<Effect> {
        self.orders()
            .flat_map(|order| unfinished_effects(&order))
            .collect()
    }

    /// The newest stamp of anything that happened: engine time never goes behind it, also over a restart.
    pub(crate) fn latest_stamp(&self) -> Timestamp {
        self.latest_stamp
    }

    // -- what has happened ---------------------------------------------------------------------------------------

    /// Folds an event into the actors. `sequence` is the number of its record.
    pub(crate) fn apply(&mut self, sequence: u64, event: &Event) {
        self.latest_stamp = self.latest_stamp.max(event.at());
        match event {
            Event::ProductChanged {
                product,
                at,
                change,
                postings,
                ..
            } => self.apply_to_product(*product, *at, change, postings),
            Event::OrderPlaced(placed) => self.apply_placed(sequence, placed),
            Event::OrderChanged {
                order,
                at,
                change,
                postings,
                ..
            } => self.apply_to_order(*order, *at, change, postings),
            Event::WaitlistChanged {
                product,
                at,
                change,
                postings,
            } => self.apply_to_waitlist(sequence, *product, *at, change, postings),
        }
        self.note_handovers(sequence, event);
    }

    fn apply_to_product(
        &mut self,
        id: ProductId,
        at: Timestamp,
        change: &ProductChange,
        postings: &[Posting],
    ) {
        if let ProductChange::Registered {
            details,
            restock_to,
        } = change
        {
            let product = Product::new(id, details.clone(), *restock_to, at);
            self.products.insert(id, ProductActor::new(product));
        }
        if *change == ProductChange::Deleted {
            self.forget_waitlist(id);
        }
        let actor = self.product_mut(id);
        for posting in postings {
            actor.post(posting, None);
        }
        actor.apply(change);
        self.note_waitlist(id, at);
    }

    fn apply_placed(&mut self, sequence: u64, placed: &OrderPlaced) {
        for line in &placed.lines {
            let actor = self.product_mut(line.product);
            for posting in placed.postings(line) {
                actor.post(&posting, Some(placed.buyer));
            }
        }
        self.apply_offers_taken(placed);
        self.insert(Order::new(sequence, placed));
    }

    fn apply_to_order(
        &mut self,
        id: OrderId,
        at: Timestamp,
        change: &OrderChange,
        postings: &[Posting],
    ) {
        let moved = self.orders.apply(id, change, at);
        for posting in postings {
            self.product_mut(posting.product)
                .post(posting, Some(moved.buyer));
            self.note_waitlist(posting.product, at);
        }
        if moved.hold_end_before != moved.hold_end_after {
            self.move_hold_ends(&moved.lines, moved.hold_end_before, moved.hold_end_after);
        }
    }

    /// Takes in an order, live or not, whose units are already booked.
    fn insert(&mut self, order: Order) {
        if let Some(hold_end) = order.hold_end() {
            self.move_hold_ends(&order.lines, None, Some(hold_end));
        }
        self.orders.insert(order);
    }

    fn move_hold_ends(
        &mut self,
        lines: &Lines,
        before: Option<Timestamp>,
        after: Option<Timestamp>,
    ) {
        for line in lines {
            self.product_mut(line.product).move_hold_end(before, after);
        }
    }

    // -- steps shared by the commands ----------------------------------------------------------------------------

    /// Records the event and applies it.
    fn happen(&mut self, event: &Event, turn: &mut Turn) {
        let sequence = turn.next_sequence();
        let mut freed: SmallVec<[ProductId; 4]> = SmallVec::new();
        event.for_each_posting(|posting| {
            turn.touch(posting.product);
            if posting.to == Bucket::Available {
                freed.push(posting.product);
            }
        });
        turn.note_change(event);
        self.apply(sequence, event);
        turn.record(event);
        for product in freed {
            self.offer_free_units(product, turn);
        }
    }

    /// The order, after what was due for it: a slow timer never lets a dead hold look alive.
    fn touch_order(
        &mut self,
        id: OrderId,
        viewer: Viewer,
        turn: &mut Turn,
    ) -> Result<Order, Refusal> {
        if self.is_broken(id) {
            return Err(Refusal::Recovering);
        }
        let may_see =
            |order: &Order| viewer == Viewer::Shop || viewer == Viewer::Buyer(order.buyer);
        let known = self.order(id).filter(may_see);
        let order = known.ok_or(Rejection::NoSuchOrder)?;
        let Some((change, release)) = order.decide_due(turn.now) else {
            return Ok(order);
        };
        self.change_order(id, change, release, turn);
        self.order(id).ok_or(Rejection::NoSuchOrder.into())
    }

    fn read_orders(
        &mut self,
        buyer: BuyerId,
        before: u64,
        limit: usize,
        turn: &mut Turn,
    ) -> Answer {
        self.settle_open_of(buyer, turn)?;
        let newest = self.orders.of_buyer(buyer).newest_of(buyer, before);
        Ok(Reply::Orders(newest.take(limit).collect()))
    }

    /// Of the orders at rest, those that are not over wait for somebody: to be shipped, or to come back.
    fn read_open_orders(&mut self, buyer: BuyerId, limit: usize, turn: &mut Turn) -> Answer {
        const LOOKED_AT_MAX: usize = 256;
        self.settle_open_of(buyer, turn)?;
        let actor = self.orders.of_buyer(buyer);
        let newest = actor.newest_of(buyer, u64::MAX).take(LOOKED_AT_MAX);
        let waiting = newest.filter(|order| order.is_at_rest() && !order.is_settled());
        let open = actor.open_of(buyer);
        let mut orders: Vec<Order> = open.chain(waiting).take(limit).collect();
        orders.sort_unstable_by_key(|order| order.sequence);
        Ok(Reply::Orders(orders))
    }

    fn read_placed(&self, buyer: BuyerId, key: KeyHash) -> Answer {
        if self.is_shard_broken(buyer) {
            return Err(Refusal::Recovering);
        }
        let placed = self.orders.of_buyer(buyer).placed_by(key);
        Ok(Reply::Orders(placed.into_iter().collect()))
    }

    /// Ends what is due of a buyer's orders.
    fn settle_open_of(&mut self, buyer: BuyerId, turn: &mut Turn) -> Result<(), Refusal> {
        if self.is_shard_broken(buyer) {
            return Err(Refusal::Recovering);
        }
        if self.next_due().is_none_or(|due| turn.now < due) {
            return Ok(());
        }
        let open = self.orders.of_buyer(buyer).open_of(buyer);
        let due = open.filter(|order| order.next_due().is_some_and(|due| due <= turn.now));
        let due: Vec<OrderId> = due.map(|order| order.id).collect();
        for id in due {
            // So many due at once would not fit into a batch; the next turn ends them.
            if turn.batch.is_full() {
                return Err(Refusal::Overloaded);
            }
            if !self.is_broken(id) {
                self.settle_order(id, turn);
            }
        }
        Ok(())
    }

    fn is_shard_broken(&self, buyer: BuyerId) -> bool {
        self.broken_shards[OrderActors::shard_of_buyer(buyer)]
    }

    fn order(&self, id: OrderId) -> Option<Order> {
        self.orders.of_order(id).get(id)
    }

    fn product_mut(&mut self, id: ProductId) -> &mut ProductActor {
        self.products
            .get_mut(&id)
            .expect("units moved on a product that was never registered")
    }

    /// Everybody who waits for the provider, for an answer that ends it.
    pub(crate) fn take_waiters(&mut self) -> Vec<ReplyTo> {
        let payments = std::mem::take(&mut self.waiting_for_payment).into_values();
        let refunds = std::mem::take(&mut self.waiting_for_refund).into_values();
        payments.chain(refunds).flatten().collect()
    }

    /// Somebody who was answered otherwise waits no longer.
    pub(crate) fn forget_waiter(&mut self, waiter: ReplyTo) {
        let lists = self.waiting_for_payment.values_mut();
        for list in lists.chain(self.waiting_for_refund.values_mut()) {
            list.retain(|waiting| *waiting != waiter);
        }
    }

    fn break_product(&mut self, id: ProductId) -> Answer {
        let posting = Posting {
            product: id,
            from: Bucket::Outside,
            to: Bucket::Available,
            units: 1,
        };
        self.product_mut(id).post(&posting, None);
        panic!("the actor of product {id} was broken on purpose");
    }
}

fn shard_of(order: OrderId) -> usize {
    OrderActors::shard_of(order)
}

/// What a payment provider needs to know of an attempt.
fn provider_order(order: &Order, attempt: AttemptId) -> Option<ProviderOrder> {
    let known = order.attempt(attempt)?;
    Some(ProviderOrder {
        order: order.id,
        attempt,
        method: known.method.clone(),
        amount: order.money(),
    })
}

fn unfinished_effects(order: &Order) -> SmallVec<[Effect; 1]> {
    let unfinished = order.attempts.iter().filter_map(|attempt| {
        let known = provider_order(order, attempt.id)?;
        match (attempt.is_pending(), attempt.refund) {
            (true, _) => Some(Effect::LookUp(known)),
            (false, RefundState::Due) => Some(Effect::Refund(known)),
            (false, RefundState::NotDue | RefundState::Done) => None,
        }
    });
    unfinished.collect()
}
