//! What must be true, whatever happens: judged from the durable journal alone, and from what has left the core.
//!
//! It reads every durable record as soon as it can be read, and keeps each version that an order ever had. Whatever the
//! core answers, publishes or asks of the provider must be found there, so nothing can leave before it is durable; and
//! an answer may never show an older version than an answer before it, whatever crashed in between. Where units are is
//! recounted from the states of the orders, not from the postings of the journal.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{self, InTime};
use crate::actors::core::cell::tests::Marks;
use crate::actors::core::cell::{Cell, CellLimits};
use crate::actors::core::message::{
    Answer, Effect, PaymentReply, ProviderOrder, Reply, WaitlistPlace,
};
use crate::domain::{
    AttemptId, AttemptState, Bucket, BuyerId, Event, IdMap, KeyHash, Order, OrderId, PaymentAnswer,
    ProductId, RefundState, Snapshot, Span, Timestamp, WaitlistChange,
};
use crate::persistence::codec;
use crate::persistence::journal::{JournalReader, Position, ReadError, Records};

pub(super) struct Oracle {
    /// The whole history, folded; forgets nothing.
    pub(super) cell: Cell,
    pub(super) events: Vec<Event>,
    pub(super) position: Position,
    pub(super) marks: Marks,
    /// Since when the engine is in service, with all its actors.
    pub(super) in_service_since: Timestamp,
    /// What is due is done that soon after it, if the engine is in service.
    late_max: Span,
    reader: Option<Box<dyn JournalReader>>,
    orders: IdMap<OrderId, History>,
    counts: BTreeMap<ProductId, Count>,
    keys: IdMap<KeyHash, OrderId>,
    joined: BTreeSet<(ProductId, BuyerId, u64)>,
    told: IdMap<AttemptId, PaymentAnswer>,
    /// Of products, since the last publication.
    snapshots: Vec<Snapshot>,
    last_stamp: Timestamp,
}

struct History {
    versions: Vec<Order>,
    /// The record of the last version.
    last: Position,
    /// The newest version that anybody was shown.
    shown: usize,
}

/// Units of one product, by the states of its orders.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    supplied: u64,
    held: u64,
    sold: u64,
    returning: u64,
}

impl Oracle {
    pub(super) fn new(late_max: Span) -> Self {
        Self {
            cell: Cell::new(CellLimits::default()),
            events: Vec::new(),
            position: Position::ZERO,
            marks: Marks::default(),
            in_service_since: Timestamp::ZERO,
            late_max,
            reader: None,
            orders: IdMap::default(),
            counts: BTreeMap::new(),
            keys: IdMap::default(),
            joined: BTreeSet::new(),
            told: IdMap::default(),
            snapshots: Vec::new(),
            last_stamp: Timestamp::ZERO,
        }
    }

    // -- the journal ---------------------------------------------------------------------------------------------

    /// Goes on with this reader, which must begin where the last one ended.
    pub(super) fn follow(&mut self, reader: Box<dyn JournalReader>) {
        self.reader = Some(reader);
    }

    /// Reads everything that is durable. An error: the disk has failed.
    pub(super) fn read_on(&mut self) -> Result<(), ReadError> {
        let mut records = Records::new();
        loop {
            let reader = self.reader.as_mut().expect("a journal to read");
            if reader.next_batch(1_000, &mut records)? == 0 {
                return Ok(());
            }
            for (position, record) in records.iter() {
                assert_eq!(position, self.position.next(), "a record is missing");
                let event = codec::decode(record).expect("what the engine wrote");
                self.position = position;
                self.take(event);
            }
        }
    }

    fn take(&mut self, event: Event) {
        assert!(event.at() >= self.last_stamp, "time went back: {event:?}");
        self.last_stamp = event.at();
        if let Event::OrderPlaced(placed) = &event {
            let other = self.keys.insert(placed.key, placed.order);
            assert_eq!(other, None, "one request made two orders");
        }
        let before = event.order().and_then(|id| self.latest(id).cloned());
        let in_time = InTime {
            since: self.in_service_since,
            late_max: self.late_max,
        };
        rules::check(&event, before.as_ref(), &self.cell, in_time);
        rules::mark(
            &event,
            before.as_ref(),
            &self.cell,
            self.in_service_since,
            &mut self.marks,
        );
        self.cell.apply(self.position.get(), &event);
        self.note_version(&event, before.as_ref());
        self.note_units(&event);
        self.events.push(event);
    }

    fn note_version(&mut self, event: &Event, before: Option<&Order>) {
        let Some(id) = event.order() else { return };
        let order = self.cell.sound_order(id).expect("an order of an event");
        rules::check_transition(before, &order);
        for line in &order.lines {
            let units = u64::from(line.quantity.get());
            let count = self.counts.entry(line.product).or_default();
            count.take_out(before.and_then(Order::bucket), units);
            count.put_in(order.bucket(), units);
        }
        let history = self.orders.entry(id).or_insert_with(|| History {
            versions: Vec::new(),
            last: Position::ZERO,
            shown: 0,
        });
        history.versions.push(order.clone());
        history.last = self.position;
    }

    fn note_units(&mut self, event: &Event) {
        let counts = &mut self.counts;
        let mut touched: BTreeSet<ProductId> = BTreeSet::new();
        event.for_each_posting(|posting| {
            touched.insert(posting.product);
            if posting.from == Bucket::Outside {
                counts.entry(posting.product).or_default().supplied += posting.units;
            }
        });
        match event {
            Event::ProductChanged { product, .. } | Event::WaitlistChanged { product, .. } => {
                touched.insert(*product);
            }
            Event::OrderPlaced(_) | Event::OrderChanged { .. } => {
                let order = event.order().and_then(|id| self.cell.sound_order(id));
                if let Some(order) = &order {
                    touched.extend(order.lines.iter().map(|line| line.product));
                }
            }
        }
        if let Event::WaitlistChanged {
            product,
            change: WaitlistChange::Joined { buyer, .. },
            ..
        } = event
        {
            self.joined.insert((*product, *buyer, self.position.get()));
        }
        for product in touched {
            let snapshot = self.cell.snapshot(product).map(|it| it.0);
            self.snapshots.extend(snapshot);
        }
    }

    // -- what leaves the core ------------------------------------------------------------------------------------

    /// Before anything of a turn leaves; `last` is the last record of the turn.
    pub(super) fn check_turn(&self, last: u64) {
        assert!(
            last <= self.position.get(),
            "record {last} of a turn that leaves is not durable; {} is",
            self.position
        );
    }

    /// What is shown of a product outside is what the journal says of it, and no unit is lost or made.
    pub(super) fn check_product(&self, live: Snapshot) {
        let (known, product) = self.cell.snapshot(live.id).expect("a product of an event");
        assert_eq!(live, known, "{} is not what the journal says", live.id);
        let count = self.counts.get(&live.id).copied().unwrap_or_default();
        let waiters = product.waitlist().waiters();
        let offers = waiters.filter_map(|waiter| waiter.offer);
        let offered: u64 = offers.map(|offer| u64::from(offer.units.get())).sum();
        let stock = live.stock;
        assert_eq!(
            (stock.total(), stock.held, stock.sold, stock.returning),
            (count.supplied, count.held, count.sold, count.returning),
            "all, held, sold and returning units of {}",
            live.id
        );
        assert_eq!(
            stock.offered, offered,
            "units of {} that are offered",
            live.id
        );
    }

    pub(super) fn end_of_turn(&mut self) {
        self.snapshots.clear();
    }

    pub(super) fn check_answer(&mut self, answer: &Answer) {
        match answer {
            Ok(Reply::Order(order)) => self.check_order(order),
            Ok(Reply::Orders(orders)) => orders.iter().for_each(|order| self.check_order(order)),
            Ok(Reply::Payment(payment)) => self.check_payment(payment),
            Ok(Reply::Product(snapshot)) => assert!(
                self.snapshots.contains(snapshot),
                "a product was answered as it never was: {snapshot:?}"
            ),
            Ok(Reply::Joined(place, _)) => self.check_place(place),
            Ok(Reply::Places(places)) => places.iter().for_each(|place| self.check_place(place)),
            Ok(Reply::Done) | Err(_) => {}
        }
    }

    fn check_order(&mut self, order: &Order) {
        let history = self.orders.get_mut(&order.id);
        let history = history.expect("an order was answered that is not in the journal");
        let version = history.versions.iter().rposition(|known| known == order);
        let version = version.expect("an order was answered as the journal never had it");
        assert!(
            version >= history.shown,
            "order {} was shown as {:?}, and now as {:?} again",
            order.id,
            history.versions[history.shown].state,
            order.state
        );
        history.shown = version;
    }

    fn check_payment(&mut self, payment: &PaymentReply) {
        let versions = &self.orders[&payment.order].versions;
        let told = |known: PaymentReply| {
            (known.amount, known.answer, known.deadline)
                == (payment.amount, payment.answer, payment.deadline)
        };
        let mut replies = versions
            .iter()
            .filter_map(|version| PaymentReply::of(version, payment.attempt));
        assert!(
            replies.any(told),
            "a payment was answered as the journal never had it: {payment:?}"
        );
        let first = self.told.entry(payment.attempt).or_insert(payment.answer);
        assert_eq!(*first, payment.answer, "a payment was answered twice");
    }

    fn check_place(&self, place: &WaitlistPlace) {
        let waiter = place.waiter;
        let joined = (place.product, waiter.buyer, waiter.sequence);
        assert!(
            self.joined.contains(&joined),
            "a place was answered that the journal does not have: {place:?}"
        );
    }

    /// Nothing is asked of the provider that the journal does not know.
    pub(super) fn check_effect(&self, effect: &Effect) {
        let (Effect::Charge { order, .. } | Effect::LookUp(order) | Effect::Refund(order)) = effect
        else {
            return;
        };
        let ProviderOrder {
            attempt, amount, ..
        } = order;
        let known = self.latest(order.order);
        let known = known.expect("the provider hears of an order that is not in the journal");
        assert_eq!(*amount, known.money());
        let attempt = known.attempt(*attempt);
        let attempt = attempt.expect("the provider hears of an attempt that is not in the journal");
        if matches!(effect, Effect::Refund(_)) {
            assert_eq!(attempt.state, AttemptState::Captured);
            assert_ne!(
                attempt.refund,
                RefundState::NotDue,
                "money leaves for nothing"
            );
        }
    }

    // -- looking -------------------------------------------------------------------------------------------------

    pub(super) fn latest(&self, id: OrderId) -> Option<&Order> {
        self.orders.get(&id)?.versions.last()
    }

    /// All orders in the order in which they were placed.
    pub(super) fn placed(&self) -> Vec<Order> {
        let mut orders: Vec<Order> = self.cell.orders().collect();
        orders.sort_unstable_by_key(|order| order.sequence);
        orders
    }

    pub(super) fn order_of(&self, key: KeyHash) -> Option<OrderId> {
        self.keys.get(&key).copied()
    }

    /// The record of the last change of an order.
    pub(super) fn last_change(&self, id: OrderId) -> Position {
        self.orders[&id].last
    }

    /// A cell that was brought back, or that runs, is what the journal says.
    pub(super) fn check_cell(&self, live: &Cell, now: Timestamp) {
        for product in live.products().filter(|it| !live.is_product_broken(it.id)) {
            let (_, known) = self.cell.snapshot(product.id).expect("a product");
            let mut known = known.clone();
            if !product.knows_people() {
                known.forget_people();
            }
            assert_eq!(product, &known, "a product is not what the journal says");
            self.check_product(product.snapshot());
        }
        let products = (live.products().count(), self.cell.products().count());
        assert_eq!(products.0, products.1, "products are missing");
        for order in live.orders().filter_map(|it| live.sound_order(it.id)) {
            assert_eq!(
                Some(&order),
                self.latest(order.id),
                "an order is not what the journal says"
            );
        }
        for order in self.cell.orders().filter(|it| !it.is_at_rest()) {
            assert!(
                live.has_order(order.id),
                "{} was forgotten as {:?}",
                order.id,
                order.state
            );
        }
        let due = [live, &self.cell].map(|it| it.next_due().map(|due| due.max(now)));
        assert_eq!(due[0], due[1], "when something happens by itself");
    }

    /// Counts of orders that are kept on the way, against those of all orders as they are.
    pub(super) fn recount(&self) {
        let mut counts: BTreeMap<ProductId, Count> = BTreeMap::new();
        for (product, count) in &self.counts {
            counts.entry(*product).or_default().supplied = count.supplied;
        }
        for order in self.cell.orders() {
            for line in &order.lines {
                let count = counts.entry(line.product).or_default();
                count.put_in(order.bucket(), u64::from(line.quantity.get()));
            }
        }
        assert_eq!(counts, self.counts);
    }
}

impl Count {
    fn bucket(&mut self, bucket: Option<Bucket>) -> Option<&mut u64> {
        match bucket? {
            Bucket::Held => Some(&mut self.held),
            Bucket::Sold => Some(&mut self.sold),
            Bucket::Returning => Some(&mut self.returning),
            Bucket::Outside | Bucket::Available | Bucket::Offered | Bucket::Withdrawn => None,
        }
    }

    fn take_out(&mut self, bucket: Option<Bucket>, units: u64) {
        if let Some(count) = self.bucket(bucket) {
            *count -= units;
        }
    }

    fn put_in(&mut self, bucket: Option<Bucket>, units: u64) {
        if let Some(count) = self.bucket(bucket) {
            *count += units;
        }
    }
}
