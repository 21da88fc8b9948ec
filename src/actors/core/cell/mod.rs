//! A cell: a set of products, the orders on them, and the road that a command takes through their actors.
//!
//! `handle` decides and applies at once, in memory, on the engine's thread; what it decided waits in the [`Turn`]
//! until the journal has it. `apply` is the only way in which state changes, live and in replay alike.
//!
//! Deliberately absent: clocks, threads, the journal's files, HTTP.

mod change;
mod deliver;
mod place;
mod settle;
#[cfg(test)]
mod tests;
mod waitlist;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::actors::core::breaker::{Breaker, BreakerOptions};
use crate::actors::core::message::{
    Answer, Command, Effect, ProviderOrder, Refusal, Reply, ReplyTo, Viewer,
};
use crate::actors::core::order::OrderActor;
use crate::actors::core::product::ProductActor;
use crate::actors::core::turn::Turn;
use smallvec::SmallVec;

use crate::calendar::{Calendar, ShopCalendar};
use crate::domain::{
    Attempt, AttemptId, Bucket, BuyerId, Event, IdMap, KeyHash, Order, OrderChange, OrderId,
    OrderPlaced, Posting, Product, ProductChange, ProductId, RefundState, Rejection, Snapshot,
    Span, Timestamp,
};

const SHARDS: usize = Cell::SHARDS;

#[derive(Debug)]
pub(crate) struct Cell {
    products: IdMap<ProductId, ProductActor>,
    shards: Vec<OrderActor>,
    /// When something happens to an order by itself.
    due: BTreeSet<(Timestamp, OrderId)>,
    /// When something happens on the waitlist of a product by itself.
    waitlists_due: BTreeSet<(Timestamp, ProductId)>,
    /// On which waitlists a person is.
    waits_for: IdMap<BuyerId, SmallVec<[ProductId; 1]>>,
    /// Requests that wait for the first answer to an attempt to pay.
    waiting_for_payment: IdMap<AttemptId, Vec<ReplyTo>>,
    /// Requests that wait for the refund of a cancelled order.
    waiting_for_refund: IdMap<OrderId, Vec<ReplyTo>>,
    /// Actors that crashed in mid-change; they are rebuilt from SQL and journal before they are told anything.
    broken_products: IdMap<ProductId, ()>,
    broken_shards: [bool; SHARDS],
    payments_pending: usize,
    /// Orders that have come to rest, and when: the first to come is the first to be forgotten.
    at_rest: VecDeque<(Timestamp, OrderId)>,
    /// Orders at rest that somebody has asked for again, and when.
    recalled: VecDeque<(Timestamp, OrderId)>,
    /// Attempts whose money is to go back.
    refunds_due: usize,
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
    /// How many buyers' slices there are; the low byte of an order id names one of them.
    pub(crate) const SHARDS: usize = 64;

    pub(crate) fn new(limits: CellLimits) -> Self {
        Self {
            products: IdMap::default(),
            shards: (0..SHARDS).map(|_| OrderActor::default()).collect(),
            due: BTreeSet::new(),
            waitlists_due: BTreeSet::new(),
            waits_for: IdMap::default(),
            waiting_for_payment: IdMap::default(),
            waiting_for_refund: IdMap::default(),
            broken_products: IdMap::default(),
            broken_shards: [false; SHARDS],
            payments_pending: 0,
            at_rest: VecDeque::new(),
            recalled: VecDeque::new(),
            refunds_due: 0,
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
        orders: Vec<Order>,
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
        cell.at_rest.make_contiguous().sort_unstable();
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
                .map(|order| Reply::Order(Box::new(order.clone()))),
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
            let order = self.due.first().copied();
            let waitlist = self.waitlists_due.first().copied();
            let due = order.map(|(due, _)| due);
            match (order, waitlist) {
                (_, Some((at, product))) if at <= turn.now && due.is_none_or(|due| at < due) => {
                    self.settle_first_waitlist(product, turn);
                }
                (Some((at, order)), _) if at <= turn.now => {
                    if self.is_broken(order) {
                        self.due.pop_first();
                        skipped.push((at, order));
                        continue;
                    }
                    self.settle_first_order(at, order, turn);
                }
                _ => break,
            }
            steps += 1;
        }
        self.due.extend(skipped);
    }

    fn settle_first_order(&mut self, due: Timestamp, order: OrderId, turn: &mut Turn) {
        self.settle_order(order, turn);
        // An order that is due again at once would otherwise hold up everything behind it.
        if self.due.first() == Some(&(due, order)) {
            tracing::error!(order.id = %order, "order was due and nothing happened to it");
            self.due.pop_first();
        }
    }

    /// The next instant at which [`Cell::settle_due`] has something to do.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let order = self.due.first().map(|(due, _)| *due);
        let waitlist = self.waitlists_due.first().map(|(due, _)| *due);
        order.into_iter().chain(waitlist).min()
    }

    pub(crate) fn snapshot(&self, product: ProductId) -> Option<(Snapshot, &Product)> {
        let product = self.products.get(&product)?.product();
        Some((product.snapshot(), product))
    }

    pub(crate) fn products(&self) -> impl Iterator<Item = &Product> {
        self.products.values().map(ProductActor::product)
    }

    pub(crate) fn orders(&self) -> impl Iterator<Item = &Order> {
        self.shards.iter().flat_map(OrderActor::iter)
    }

    pub(crate) fn orders_of_shard(&self, shard: usize) -> impl Iterator<Item = &Order> {
        self.shards
            .get(shard)
            .into_iter()
            .flat_map(OrderActor::iter)
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

    /// Orders at rest in memory, those counted twice that have changed at rest.
    pub(crate) fn at_rest_len(&self) -> usize {
        self.at_rest.len()
    }

    pub(crate) fn has_order(&self, id: OrderId) -> bool {
        self.order(id).is_some()
    }

    /// The order, unless it is out of service: its state may be half changed.
    pub(crate) fn sound_order(&self, id: OrderId) -> Option<&Order> {
        self.order(id).filter(|_| !self.is_broken(id))
    }

    pub(crate) fn products_of(&self, order: OrderId) -> Vec<ProductId> {
        let lines = self.order(order).map(|order| &*order.lines);
        lines
            .unwrap_or_default()
            .iter()
            .map(|line| line.product)
            .collect()
    }

    /// What the world outside still owes to orders: unclear payments and unfinished refunds, after a restart.
    pub(crate) fn unfinished_effects(&self) -> Vec<Effect> {
        self.orders().flat_map(unfinished_effects).collect()
    }

    /// The newest stamp of anything that happened: engine time never goes behind it, also over a restart.
    pub(crate) fn latest_stamp(&self) -> Timestamp {
        self.latest_stamp
    }

    /// The order that a command is about, if it is not in memory: only SQL can tell whether there is such an order.
    pub(crate) fn forgotten_order(&self, command: &Command) -> Option<OrderId> {
        let id = command.order()?;
        (self.order(id).is_none() && !self.is_broken(id)).then_some(id)
    }

    /// Takes back an order that had been forgotten, as SQL has it. It stays for a while, or for as long as something
    /// happens to it.
    pub(crate) fn admit(&mut self, order: Order, now: Timestamp) {
        let id = order.id;
        if self.order(id).is_none() && !self.is_broken(id) {
            self.insert(order);
            self.recalled.push_back((now, id));
        }
    }

    /// Forgets orders at rest: those that changed last before `kept_since`, at most `orders_max` of them, and those that
    /// were asked for again and are not needed any more. Only what SQL has is forgotten: changes up to `in_sql_through`.
    /// Says how many.
    pub(crate) fn forget_at_rest(
        &mut self,
        in_sql_through: Timestamp,
        kept_since: Timestamp,
        orders_max: usize,
    ) -> usize {
        let before = in_sql_through.min(kept_since);
        let mut forgotten = 0;
        while let Some((at, id)) = self.at_rest.front().copied().filter(|it| it.0 < before) {
            if forgotten == orders_max {
                break;
            }
            self.at_rest.pop_front();
            // It may have changed since, and then stands in the list once more.
            let is_due = |order: &&Order| order.changed_at == at && order.is_at_rest();
            if self.sound_order(id).filter(is_due).is_some() {
                self.shard_mut(id).remove(id);
                forgotten += 1;
            }
        }
        forgotten
    }

    /// Forgets orders that were asked for again before an instant, if nothing has come of it.
    pub(crate) fn forget_recalled(
        &mut self,
        asked_before: Timestamp,
        kept_since: Timestamp,
    ) -> usize {
        let mut forgotten = 0;
        while let Some((_, id)) = self
            .recalled
            .front()
            .copied()
            .filter(|it| it.0 < asked_before)
        {
            self.recalled.pop_front();
            let is_as_it_was = |order: &&Order| order.changed_at < kept_since && order.is_at_rest();
            if self.sound_order(id).filter(is_as_it_was).is_some() {
                self.shard_mut(id).remove(id);
                forgotten += 1;
            }
        }
        forgotten
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
        let (were_pending, were_due) = self.order(id).map_or((0, 0), open_payments);
        let moved = self.shard_mut(id).apply(id, change, at);
        let (are_pending, are_due) = self.order(id).map_or((0, 0), open_payments);
        self.payments_pending = (self.payments_pending + are_pending).saturating_sub(were_pending);
        self.refunds_due = (self.refunds_due + are_due).saturating_sub(were_due);
        for posting in postings {
            self.product_mut(posting.product)
                .post(posting, Some(moved.buyer));
            self.note_waitlist(posting.product, at);
        }
        if moved.hold_end_before != moved.hold_end_after {
            self.move_hold_end(id, moved.hold_end_before, moved.hold_end_after);
        }
        if let Some(due) = moved.due_before {
            self.due.remove(&(due, id));
        }
        if let Some(due) = moved.due_after {
            self.due.insert((due, id));
        }
        if moved.is_at_rest {
            self.at_rest.push_back((at, id));
        }
    }

    /// Takes in an order, live or not, whose units are already booked.
    fn insert(&mut self, order: Order) {
        let id = order.id;
        if let Some(due) = order.next_due() {
            self.due.insert((due, id));
        }
        if order.is_at_rest() {
            self.at_rest.push_back((order.changed_at, id));
        }
        let hold_end = order.hold_end();
        let (pending, due) = open_payments(&order);
        self.payments_pending += pending;
        self.refunds_due += due;
        if hold_end.is_some() {
            for line in &order.lines {
                self.product_mut(line.product).move_hold_end(None, hold_end);
            }
        }
        self.shard_mut(id).insert(order);
    }

    fn move_hold_end(&mut self, id: OrderId, before: Option<Timestamp>, after: Option<Timestamp>) {
        let Self {
            products, shards, ..
        } = self;
        let lines = shards[shard_of(id)].get(id).map(|order| &*order.lines);
        for line in lines.unwrap_or_default() {
            if let Some(actor) = products.get_mut(&line.product) {
                actor.move_hold_end(before, after);
            }
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
    ) -> Result<&Order, Refusal> {
        if self.is_broken(id) {
            return Err(Refusal::Recovering);
        }
        let known = self
            .order(id)
            .is_some_and(|order| viewer == Viewer::Shop || viewer == Viewer::Buyer(order.buyer));
        if !known {
            return Err(Rejection::NoSuchOrder.into());
        }
        self.settle_order(id, turn);
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
        let newest = self.shard_of_buyer(buyer).newest_of(buyer, before);
        Ok(Reply::Orders(newest.take(limit).cloned().collect()))
    }

    /// Of the orders at rest, those that are not over wait for somebody: to be shipped, or to come back.
    fn read_open_orders(&mut self, buyer: BuyerId, limit: usize, turn: &mut Turn) -> Answer {
        const LOOKED_AT_MAX: usize = 256;
        self.settle_open_of(buyer, turn)?;
        let shard = self.shard_of_buyer(buyer);
        let newest = shard.newest_of(buyer, u64::MAX).take(LOOKED_AT_MAX);
        let waiting = newest.filter(|order| order.is_at_rest() && !order.is_settled());
        let mut orders: Vec<Order> = shard
            .open_of(buyer)
            .chain(waiting)
            .take(limit)
            .cloned()
            .collect();
        orders.sort_unstable_by_key(|order| order.sequence);
        Ok(Reply::Orders(orders))
    }

    fn read_placed(&self, buyer: BuyerId, key: KeyHash) -> Answer {
        if self.is_shard_broken(buyer) {
            return Err(Refusal::Recovering);
        }
        let placed = self.shard_of_buyer(buyer).placed_by(key);
        Ok(Reply::Orders(placed.cloned().into_iter().collect()))
    }

    /// Ends what is due of a buyer's orders.
    fn settle_open_of(&mut self, buyer: BuyerId, turn: &mut Turn) -> Result<(), Refusal> {
        if self.is_shard_broken(buyer) {
            return Err(Refusal::Recovering);
        }
        if self.next_due().is_none_or(|due| turn.now < due) {
            return Ok(());
        }
        let open = self.shard_of_buyer(buyer).open_of(buyer);
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

    fn shard_of_buyer(&self, buyer: BuyerId) -> &OrderActor {
        &self.shards[shard_of(OrderId::for_buyer(0, buyer))]
    }

    fn is_shard_broken(&self, buyer: BuyerId) -> bool {
        self.broken_shards[shard_of(OrderId::for_buyer(0, buyer))]
    }

    fn order(&self, id: OrderId) -> Option<&Order> {
        self.shards[shard_of(id)].get(id)
    }

    fn shard_mut(&mut self, id: OrderId) -> &mut OrderActor {
        &mut self.shards[shard_of(id)]
    }

    fn product_mut(&mut self, id: ProductId) -> &mut ProductActor {
        self.products
            .get_mut(&id)
            .expect("units moved on a product that was never registered")
    }

    // -- crashed actors ------------------------------------------------------------------------------------------

    /// Takes actors out of service whose state may be half changed.
    pub(crate) fn set_broken(&mut self, products: &[ProductId], order: Option<OrderId>) {
        for product in products {
            self.broken_products.insert(*product, ());
        }
        if let Some(order) = order {
            self.broken_shards[shard_of(order)] = true;
        }
    }

    pub(crate) fn broken(&self) -> Broken {
        Broken {
            products: self.broken_products.keys().copied().collect(),
            shards: self.broken_shards,
        }
    }

    pub(crate) fn is_product_broken(&self, id: ProductId) -> bool {
        self.broken_products.contains_key(&id)
    }

    /// Puts actors back in service, taken from a cell that was rebuilt from SQL and journal after they broke. What
    /// broke later stays out of service: the rebuilt cell may be older than its last record.
    pub(crate) fn mend(&mut self, mut rebuilt: Self, broken: &Broken) {
        for product in &broken.products {
            self.broken_products.remove(product);
            match rebuilt.products.remove(product) {
                Some(actor) => self.products.insert(*product, actor),
                None => self.products.remove(product),
            };
        }
        for (shard, _) in broken.shards.iter().enumerate().filter(|(_, it)| **it) {
            self.broken_shards[shard] = false;
            self.shards[shard] = std::mem::take(&mut rebuilt.shards[shard]);
            let at_rest = self.shards[shard].iter().filter(|it| it.is_at_rest());
            self.at_rest
                .extend(at_rest.map(|order| (order.changed_at, order.id)));
        }
        self.at_rest.make_contiguous().sort_unstable();
        self.due = self
            .orders()
            .filter_map(|order| Some((order.next_due()?, order.id)))
            .collect();
        let open = self.orders().map(open_payments);
        (self.payments_pending, self.refunds_due) =
            open.fold((0, 0), |sum, open| (sum.0 + open.0, sum.1 + open.1));
        self.note_waitlists();
    }

    /// What the provider may have answered while the actors could not listen is asked again.
    pub(crate) fn unfinished_effects_of(&self, mended: &Broken) -> Vec<Effect> {
        self.orders()
            .filter(|order| mended.concerns(order))
            .flat_map(unfinished_effects)
            .collect()
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

    /// An order is out of service with its shard or with any of its products.
    fn is_broken(&self, id: OrderId) -> bool {
        self.broken_shards[shard_of(id)]
            || (!self.broken_products.is_empty()
                && self.order(id).is_some_and(|order| {
                    order
                        .lines
                        .iter()
                        .any(|line| self.broken_products.contains_key(&line.product))
                }))
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

/// Which actors are out of service.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    products: Vec<ProductId>,
    shards: [bool; SHARDS],
}

impl Broken {
    pub(crate) fn is_empty(&self) -> bool {
        self.products.is_empty() && !self.shards.contains(&true)
    }

    fn concerns(&self, order: &Order) -> bool {
        self.shards[shard_of(order.id)]
            || order
                .lines
                .iter()
                .any(|line| self.products.contains(&line.product))
    }
}

fn shard_of(order: OrderId) -> usize {
    usize::from(order.shard_byte()) % SHARDS
}

/// How many attempts of the order wait for the provider, and how many refunds.
fn open_payments(order: &Order) -> (usize, usize) {
    let count = |which: fn(&Attempt) -> bool| order.attempts.iter().filter(|it| which(it)).count();
    (
        count(Attempt::is_pending),
        count(|it| it.refund == RefundState::Due),
    )
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

fn unfinished_effects(order: &Order) -> impl Iterator<Item = Effect> + '_ {
    order.attempts.iter().filter_map(|attempt| {
        let known = provider_order(order, attempt.id)?;
        match (attempt.is_pending(), attempt.refund) {
            (true, _) => Some(Effect::LookUp(known)),
            (false, RefundState::Due) => Some(Effect::Refund(known)),
            (false, RefundState::NotDue | RefundState::Done) => None,
        }
    })
}
