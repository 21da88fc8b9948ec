//! Random histories of a shop, each drawn from one seed: sizes, rates, times, and then every command.
//!
//! Each seed draws its own rates, many of them zero (a swarm): what is rare in the average history is common in some.

use super::model::{Model, Paper, Try};
use super::world::World;
use super::{buyer, krw, product, usd};
use crate::actors::core::message::{
    Command, DetailsPatch, PlaceOrder, ProductAct, ReplyTo, Shipment, StartPayment, Viewer,
};
use crate::domain::{
    AdminMark, AttemptId, AttemptState, BuyerId, Details, Fingerprint, KeyHash, Money, OrderId,
    OrderState, PaymentOutcome, ProductId, Quantity, RefundState, RequestId, RestockTo, Span,
    Timestamp, Window, WindowAct,
};

const DAY_US: u64 = 86_400_000_000;

/// The `SplitMix64` generator: a seed means the same history for ever, whatever becomes of the `rand` crate.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    pub(super) fn pick_any<T>(&mut self, from: impl Iterator<Item = T>) -> Option<T> {
        let mut all: Vec<T> = from.collect();
        (!all.is_empty())
            .then(|| all.swap_remove(usize::try_from(self.below(all.len() as u64)).unwrap()))
    }
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    WaitlistPlace,
    RepeatPlace,
    Pay,
    RepeatPay,
    Settle,
    Defer,
    RepeatCharge,
    Cancel,
    RecordRefund,
    DeferRefund,
    Read,
    ReadAll,
    SetStock,
    Window,
    Edit,
    Delete,
    AfterSale,
    Join,
    Leave,
    ReadPlaces,
}

/// How often each deed happens when a seed does not say otherwise.
const USUAL: [(Deed, u64); 20] = [
    (Deed::WaitlistPlace, 30),
    (Deed::RepeatPlace, 4),
    (Deed::Pay, 22),
    (Deed::RepeatPay, 3),
    (Deed::Settle, 20),
    (Deed::Defer, 3),
    (Deed::RepeatCharge, 3),
    (Deed::Cancel, 8),
    (Deed::RecordRefund, 5),
    (Deed::DeferRefund, 2),
    (Deed::Read, 2),
    (Deed::ReadAll, 1),
    (Deed::SetStock, 4),
    (Deed::Window, 4),
    (Deed::Edit, 1),
    (Deed::Delete, 1),
    (Deed::AfterSale, 8),
    (Deed::Join, 12),
    (Deed::Leave, 2),
    (Deed::ReadPlaces, 1),
];

/// What one seed draws before its first command.
#[derive(Debug)]
pub(super) struct Options {
    products: u64,
    buyers: u64,
    stock_max: u64,
    limit_max: Option<u64>,
    hold_max_us: u64,
    lines_max: u64,
    quantity_max: u64,
    commands_per_turn: u64,
    payments_pending_max: usize,
    /// Chance that the timer runs at the start of a turn; at 0 it never does.
    sweep_percent: u64,
    decline_percent: u64,
    /// Chance that a turn begins at a later instant than the one before.
    pace_percent: u64,
    /// The timer ends at most so many orders at once.
    sweep_max: usize,
    second_currency: bool,
    rates: Vec<(Deed, u64)>,
}

impl Options {
    fn draw(dice: &mut Dice) -> Self {
        let rates = USUAL.map(|(deed, usual)| {
            let factor = if matches!(deed, Deed::WaitlistPlace | Deed::Pay | Deed::Settle) {
                [1, 1, 2]
            } else {
                [0, 1, 3]
            };
            (deed, usual * dice.pick(&factor))
        });
        let hold_us: [u64; 5] = [1_000_000, 5_000_000, 60_000_000, 300_000_000, 1_800_000_000];
        Self {
            products: dice.between(1, 8),
            buyers: dice.between(1, 30),
            stock_max: dice.pick(&[1, 3, 8, 30]),
            limit_max: dice.pick(&[None, Some(1), Some(2), Some(4)]),
            hold_max_us: dice.pick(&hold_us),
            lines_max: dice.pick(&[1, 1, 2, 4]),
            quantity_max: dice.pick(&[1, 2, 4]),
            commands_per_turn: dice.pick(&[1, 1, 4, 20]),
            payments_pending_max: dice.pick(&[1, 3, 1_000, 1_000]),
            sweep_percent: dice.pick(&[0, 50, 100, 100]),
            decline_percent: dice.pick(&[0, 20, 50, 80]),
            pace_percent: dice.pick(&[20, 50, 80]),
            sweep_max: dice.pick(&[1, 1_000]),
            second_currency: dice.percent(20),
            rates: rates.into(),
        }
    }
}

#[derive(Debug)]
pub(super) struct History {
    pub(super) world: World,
    pub(super) options: Options,
    dice: Dice,
    ids: u128,
    products: u64,
    left_in_turn: u64,
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let options = Options::draw(&mut dice);
        let world = World::new(
            super::limits(options.payments_pending_max),
            Timestamp::from_micros(1_750_000_000_000_000),
        );
        Self {
            world,
            options,
            dice,
            ids: 0,
            products: 0,
            left_in_turn: 0,
        }
    }

    pub(super) fn run(&mut self, commands: u64) {
        for _ in 0..self.options.products {
            self.register();
        }
        let cuts = [self.dice.below(commands), self.dice.below(commands)];
        for number in 0..commands {
            if cuts.contains(&number) {
                self.world.cut();
            }
            self.advance();
            self.act();
        }
        self.settle_everything();
    }

    // Time.

    fn advance(&mut self) {
        if self.left_in_turn > 0 {
            self.left_in_turn -= 1;
            return;
        }
        self.left_in_turn = self.dice.below(self.options.commands_per_turn);
        let later = self.dice.percent(self.options.pace_percent);
        let now = if later {
            self.later()
        } else {
            self.world.now()
        };
        self.world.begin_turn(now);
        if self.dice.percent(self.options.sweep_percent) {
            self.world.sweep(self.options.sweep_max);
        }
    }

    fn later(&mut self) -> Timestamp {
        let now = self.world.now().as_micros();
        let then = match self.dice.below(10) {
            0..4 => now + self.dice.below(2_000_000),
            4 => now + self.dice.below(self.options.hold_max_us),
            5 => now + self.dice.below(130_000_000),
            _ => self
                .edge()
                .map_or(now, |edge| edge.as_micros() + self.dice.below(3) - 1),
        };
        Timestamp::from_micros(then.max(now))
    }

    /// An instant at which something changes, now or later.
    fn edge(&mut self) -> Option<Timestamp> {
        let model = &self.world.model;
        let now = model.now;
        let orders = model
            .papers
            .values()
            .flat_map(|paper| [paper.due_at(), paper.ends_at().map(|_| paper.deadline)]);
        let windows = model.shelves.values().filter_map(|shelf| shelf.window);
        let offers = model.offer_ends().map(Some);
        let edges = windows.flat_map(|window| [Some(window.opens_at), window.closes_at]);
        // A return window or a restock is days away: most histories stay within the hour.
        let near = now.plus(Span::from_secs(if self.dice.percent(20) {
            200_000
        } else {
            4_000
        }));
        self.dice.pick_any(
            orders
                .chain(offers)
                .chain(edges)
                .flatten()
                .filter(|edge| *edge >= now && *edge <= near),
        )
    }

    // Deeds.

    fn act(&mut self) {
        let sum: u64 = self.options.rates.iter().map(|(_, rate)| rate).sum();
        let mut drawn = self.dice.below(sum);
        let rates = &self.options.rates;
        let (deed, _) = rates
            .iter()
            .find(|(_, rate)| drawn.checked_sub(*rate).map(|rest| drawn = rest).is_none())
            .expect("less than the sum");
        match deed {
            Deed::WaitlistPlace => self.place(),
            Deed::RepeatPlace => self.repeat_place(),
            Deed::Pay => self.pay(),
            Deed::RepeatPay => self.repeat_pay(),
            Deed::Settle => self.settle(),
            Deed::Defer => {
                self.tell_of_attempt(|order, attempt| Command::DeferPayment { order, attempt })
            }
            Deed::RepeatCharge => {
                self.tell_of_attempt(|order, attempt| Command::RepeatCharge { order, attempt })
            }
            Deed::Cancel => self.cancel(),
            Deed::RecordRefund => self.record_refund(),
            Deed::DeferRefund => self.defer_refund(),
            Deed::Read => self.read(),
            Deed::ReadAll => self.read_all(),
            Deed::SetStock => self.set_stock(),
            Deed::Window => self.change_window(),
            Deed::Edit => self.edit(),
            Deed::Delete => self.delete(),
            Deed::AfterSale => self.after_sale(),
            Deed::Join => self.join(),
            Deed::Leave => self.leave(),
            Deed::ReadPlaces => {
                let buyer = self.some_buyer();
                self.tell(Command::ReadWaitlists { buyer });
            }
        }
    }

    fn place(&mut self) {
        // Who has an offer is in more of a hurry than the others.
        let offers = self.world.model.offers();
        let offer = self.dice.pick_any(offers.into_iter());
        let offer = offer.filter(|_| self.dice.percent(30));
        if let Some((product, buyer, units)) = offer {
            let units = match self.dice.below(4) {
                0 => units + 1,
                1 => self.dice.between(1, units),
                _ => units,
            };
            let quantity = Quantity::new(u32::try_from(units).unwrap()).unwrap();
            return self.place_lines(buyer, vec![(product, quantity)]);
        }
        let buyer = self.some_buyer();
        let mut lines: Vec<(ProductId, Quantity)> = Vec::new();
        for _ in 0..self.dice.between(1, self.options.lines_max) {
            let id = if self.dice.percent(60) {
                self.product_on_sale()
            } else {
                self.some_product()
            };
            let units = u32::try_from(self.dice.between(1, self.options.quantity_max)).unwrap();
            if lines.iter().all(|(other, _)| *other != id) {
                lines.push((id, Quantity::new(units).unwrap()));
            }
        }
        self.place_lines(buyer, lines);
    }

    fn place_lines(&mut self, buyer: BuyerId, lines: Vec<(ProductId, Quantity)>) {
        let number = self.next_id();
        let (key, fingerprint) = (KeyHash::new(number), Fingerprint(1));
        let order = OrderId::for_buyer(number << 8, buyer);
        self.tell(Command::PlaceOrder(PlaceOrder {
            order,
            buyer,
            key,
            fingerprint,
            address: None,
            lines,
        }));
    }

    fn join(&mut self) {
        let has_some = self.some_order(&[OrderState::Held, OrderState::Paid]);
        let has_some = has_some.filter(|_| self.dice.percent(40));
        let buyer = match has_some {
            Some(order) => self.world.model.papers[&order].buyer,
            None => self.some_buyer(),
        };
        let product = match self.dice.percent(80) {
            true => self.product_without_units(),
            false => self.some_product(),
        };
        let units = u32::try_from(self.dice.between(1, self.options.quantity_max)).unwrap();
        self.tell(Command::JoinWaitlist {
            product,
            buyer,
            quantity: Quantity::new(units).unwrap(),
        });
    }

    fn leave(&mut self) {
        let waiting = self.world.model.waiting_people();
        let some = self.dice.pick_any(waiting.into_iter());
        let (product, buyer) = match some.filter(|_| self.dice.percent(90)) {
            Some(pair) => pair,
            None => (self.some_product(), self.some_buyer()),
        };
        self.tell(Command::LeaveWaitlist { product, buyer });
    }

    fn repeat_place(&mut self) {
        let Some(first) = self.some_order(&[]) else {
            return;
        };
        let paper = &self.world.model.papers[&first];
        let (buyer, key) = (paper.buyer, paper.key);
        let line = |(product, units, _): &(ProductId, u64, Money)| {
            (
                *product,
                Quantity::new(u32::try_from(*units).unwrap()).unwrap(),
            )
        };
        let lines = paper.lines.iter().map(line).collect();
        let fingerprint = Fingerprint(if self.dice.percent(15) { 2 } else { 1 });
        let order = OrderId::for_buyer(self.next_id() << 8, buyer);
        self.tell(Command::PlaceOrder(PlaceOrder {
            order,
            buyer,
            key,
            fingerprint,
            address: None,
            lines,
        }));
    }

    fn pay(&mut self) {
        let Some(order) = self.some_order(&[OrderState::Held]) else {
            return;
        };
        let buyer = self.buyer_or_stranger(order);
        let number = self.next_id();
        self.tell(Command::StartPayment(StartPayment {
            order,
            buyer,
            attempt: AttemptId::new(number),
            key: KeyHash::new(number),
            fingerprint: Fingerprint(1),
            method: "card".into(),
        }));
    }

    fn repeat_pay(&mut self) {
        let Some((order, attempt)) = self.some_attempt(|_| true) else {
            return;
        };
        let buyer = self.buyer_or_stranger(order);
        let fingerprint = Fingerprint(if self.dice.percent(15) { 2 } else { 1 });
        let (key, method) = (KeyHash::new(attempt.get()), "card".into());
        let attempt = AttemptId::new(self.next_id());
        self.tell(Command::StartPayment(StartPayment {
            order,
            buyer,
            attempt,
            key,
            fingerprint,
            method,
        }));
    }

    /// Mostly the first word on an attempt; at times late, repeated, contradicting, or on one that nobody made.
    fn settle(&mut self) {
        let some = if self.dice.percent(30) {
            self.second_payment()
        } else {
            None
        };
        let pending = self.dice.percent(75);
        let some =
            some.or_else(|| self.some_attempt(|state| pending == (state == AttemptState::Pending)));
        let Some((order, mut attempt)) = some else {
            return;
        };
        if self.dice.percent(2) {
            attempt = AttemptId::new(self.next_id());
        }
        let declined = self.dice.percent(self.options.decline_percent);
        let outcome = if declined {
            PaymentOutcome::Declined
        } else {
            PaymentOutcome::Captured
        };
        let order = if self.dice.percent(1) {
            OrderId::new(self.next_id() << 8)
        } else {
            order
        };
        self.tell(Command::SettlePayment {
            order,
            attempt,
            outcome,
            amount: None,
        });
    }

    /// An attempt that is not captured, of an order that another one has paid.
    fn second_payment(&mut self) -> Option<(OrderId, AttemptId)> {
        let is_captured = |this: &Try| this.state == AttemptState::Captured;
        let only = self.dice.pick(&[Some(OrderState::PaidUnfulfilled), None]);
        let is_meant = |paper: &Paper| only.is_none_or(|state| paper.state == state);
        let papers = self
            .world
            .model
            .papers
            .iter()
            .filter(|(_, paper)| is_meant(paper));
        let paid = papers.filter(|(_, paper)| paper.tries.iter().any(is_captured));
        let others = paid.flat_map(|(id, paper)| paper.tries.iter().map(|this| (*id, this)));
        let others = others.filter(|(_, this)| !is_captured(this));
        self.dice.pick_any(others.map(|(id, this)| (id, this.id)))
    }

    fn tell_of_attempt(&mut self, command: fn(OrderId, AttemptId) -> Command) {
        let Some((order, attempt)) = self.some_attempt(|_| true) else {
            return;
        };
        let attempt = if self.dice.percent(3) {
            AttemptId::new(self.next_id())
        } else {
            attempt
        };
        self.tell(command(order, attempt));
    }

    fn cancel(&mut self) {
        let likely = [OrderState::Held, OrderState::Paying, OrderState::Paid];
        let preferred = self.dice.pick(&[&likely[..], &[OrderState::Paying], &[]]);
        let Some(order) = self.some_order(preferred) else {
            return;
        };
        let buyer = self.buyer_or_stranger(order);
        self.tell(Command::CancelOrder { order, buyer });
    }

    fn record_refund(&mut self) {
        let due = due_refunds(&self.world.model);
        let some = if self.dice.percent(85) {
            self.dice.pick_any(due.into_iter())
        } else {
            self.some_attempt(|_| true)
        };
        let Some((order, attempt)) = some else { return };
        self.tell(Command::RecordRefund { order, attempt });
    }

    fn defer_refund(&mut self) {
        let Some(order) = self.some_order(&[OrderState::Refunding]) else {
            return;
        };
        self.tell(Command::DeferRefund { order });
    }

    fn read(&mut self) {
        let Some(order) = self.some_order(&[]) else {
            return;
        };
        let buyer = Viewer::Buyer(self.buyer_or_stranger(order));
        let viewer = self.dice.pick(&[buyer, buyer, Viewer::Shop]);
        self.tell(Command::ReadOrder { order, viewer });
    }

    fn read_all(&mut self) {
        let buyer = self.some_buyer();
        let limit = self.dice.pick(&[usize::MAX, 1, 3]);
        self.tell(Command::ReadOrders {
            buyer,
            before: u64::MAX,
            limit,
        });
    }

    // The shop.

    fn register(&mut self) {
        self.products += 1;
        let id = product(self.products);
        let price = Money {
            amount: 1_000 + i64::try_from(self.products).unwrap(),
            ..self.some_currency()
        };
        let details = Details {
            name: "Lamp".into(),
            description: "".into(),
            image_url: None,
            price,
        };
        let restock_to = self
            .dice
            .pick(&[RestockTo::Available, RestockTo::Withdrawn]);
        let total = self.dice.below(self.options.stock_max + 1);
        self.change(
            id,
            ProductAct::Register {
                details,
                restock_to,
                total,
            },
        );
        if self.dice.percent(90) {
            let window = self.some_window();
            self.change(id, ProductAct::Window(WindowAct::Schedule, Some(window)));
        }
    }

    fn set_stock(&mut self) {
        let id = self.some_product();
        let total = match self.dice.below(8) {
            0 => 1_000_000_000 + self.dice.below(2),
            1 => 0,
            2..5 => self.below_what_is_held(id),
            _ => self.dice.below(self.options.stock_max + 1),
        };
        self.change(id, ProductAct::SetStock(total));
    }

    /// A total that makes a withdrawal wait for held units.
    fn below_what_is_held(&mut self, id: ProductId) -> u64 {
        let known = self.world.model.shelves.contains_key(&id);
        let (held, sold) = if known {
            let stock = self.world.model.stock(id);
            (stock.held, stock.sold)
        } else {
            (0, 0)
        };
        sold + self.dice.below(held + 1)
    }

    fn change_window(&mut self) {
        let model = &self.world.model;
        let waiting = model.waiting_people().into_iter();
        let greedy = waiting.filter(|(id, buyer)| model.in_hand(*id, *buyer) > 0);
        if let Some((id, _)) = self.dice.pick_any(greedy)
            && self.dice.percent(30)
        {
            return self.lower_the_limit(id);
        }
        let waited_for = self.world.model.waiting_people();
        if let Some((id, _)) = self.dice.pick_any(waited_for.into_iter())
            && self.dice.percent(40)
        {
            let window = self.some_window_for_those_who_wait();
            return self.change(id, ProductAct::Window(WindowAct::Schedule, Some(window)));
        }
        let id = self.some_product();
        let shelf = self.world.model.shelves.get(&id);
        let now = self.world.now();
        let closed = shelf
            .and_then(|shelf| shelf.window)
            .is_some_and(|w| w.closes_at.is_some_and(|end| end <= now));
        if closed && self.dice.percent(70) {
            let window = self.some_window();
            return self.change(id, ProductAct::Window(WindowAct::Schedule, Some(window)));
        }
        let act = self.dice.pick(&[
            WindowAct::Schedule,
            WindowAct::Open,
            WindowAct::Pause,
            WindowAct::Resume,
            WindowAct::Resume,
            WindowAct::Close,
        ]);
        let window = (act == WindowAct::Schedule).then(|| self.some_window());
        self.change(id, ProductAct::Window(act, window));
    }

    fn edit(&mut self) {
        let id = self.some_product();
        let price = Money {
            amount: 1 + i64::try_from(self.dice.below(5_000)).unwrap(),
            ..self.some_currency()
        };
        let price = self.dice.percent(70).then_some(price);
        self.change(
            id,
            ProductAct::Edit(DetailsPatch {
                price,
                ..DetailsPatch::default()
            }),
        );
    }

    fn delete(&mut self) {
        let id = self.some_product();
        self.change(id, ProductAct::Delete);
        if self
            .world
            .model
            .shelves
            .get(&id)
            .is_some_and(|shelf| shelf.deleted)
        {
            self.register();
        }
    }

    fn change(&mut self, product: ProductId, act: ProductAct) {
        let mark = self.mark();
        self.tell(Command::ChangeProduct { product, mark, act });
    }

    fn mark(&mut self) -> AdminMark {
        AdminMark {
            admin: BuyerId::new(1),
            request: RequestId::new(self.next_id()),
        }
    }

    fn after_sale(&mut self) {
        use OrderState::{Delivered, Paid, ReturnRequested, Shipped};
        let Some(order) = self.some_order(&[Paid, Shipped, Delivered, ReturnRequested]) else {
            return;
        };
        let usual = match self.world.model.papers[&order].state {
            Paid => 0,
            Shipped => 1,
            Delivered => 2,
            _ => 3,
        };
        let step = if self.dice.percent(80) {
            usual
        } else {
            self.dice.below(4)
        };
        let mark = self.mark();
        let by_hand = self.dice.percent(70).then_some(mark);
        let command = match step {
            0 => Command::ShipOrder {
                order,
                shipment: self.some_shipment(),
                mark: by_hand,
            },
            1 => Command::DeliverOrder {
                order,
                mark: by_hand,
            },
            2 => Command::RequestReturn {
                order,
                buyer: self.buyer_or_stranger(order),
                reason: "too small".into(),
            },
            _ => Command::AcceptReturn { order, mark },
        };
        self.tell(command);
    }

    /// Mostly the same one, so that a repeat is one.
    fn some_shipment(&mut self) -> Shipment {
        let number = if self.dice.percent(80) { "RR1" } else { "RR2" };
        Shipment {
            carrier: "Post".into(),
            tracking_number: number.into(),
        }
    }

    // The end: the world calms down, and then nothing may be left open.

    fn settle_everything(&mut self) {
        let pending =
            tries(&self.world.model).filter(|(_, this)| this.state == AttemptState::Pending);
        let pending: Vec<_> = pending.map(|(order, this)| (order, this.id)).collect();
        for (order, attempt) in pending {
            let outcome = self
                .dice
                .pick(&[PaymentOutcome::Captured, PaymentOutcome::Declined]);
            self.tell(Command::SettlePayment {
                order,
                attempt,
                outcome,
                amount: None,
            });
        }
        let long_after = self.world.now().plus(Span::from_micros_u64(4 * DAY_US));
        self.world.begin_turn(long_after);
        self.world.sweep(usize::MAX);
        let due = due_refunds(&self.world.model);
        for (order, attempt) in due {
            self.tell(Command::RecordRefund { order, attempt });
        }
        self.world.compare_people();
        assert_settled(&self.world.model);
    }

    // Drawing.

    fn tell(&mut self, command: Command) {
        if self.dice.percent(3) {
            self.world.tell_for(command, ReplyTo::Nobody);
        } else {
            self.world.tell(command);
        }
    }

    fn next_id(&mut self) -> u128 {
        self.ids += 1;
        self.ids
    }

    fn some_buyer(&mut self) -> BuyerId {
        buyer(self.dice.below(self.options.buyers))
    }

    fn some_product(&mut self) -> ProductId {
        // The last few: earlier ones may be deleted. At times one that never was.
        let last = self.products + u64::from(self.dice.percent(2));
        let first = (self.products + 1)
            .saturating_sub(self.options.products)
            .max(1);
        product(self.dice.between(first, last))
    }

    fn product_without_units(&mut self) -> ProductId {
        let all = self.world.model.shelves.keys().copied();
        let held = all.filter(|id| self.world.model.stock(*id).available == 0);
        let some = self.dice.pick_any(held);
        some.unwrap_or_else(|| self.some_product())
    }

    fn product_on_sale(&mut self) -> ProductId {
        let now = self.world.now();
        let is_open = |window: &Window| {
            window.opens_at <= now && window.closes_at.is_none_or(|end| now < end)
        };
        let shelves = self.world.model.shelves.iter();
        let on_sale = shelves
            .filter(|(_, shelf)| !shelf.deleted && shelf.window.as_ref().is_some_and(is_open));
        self.dice
            .pick_any(on_sale.map(|(id, _)| *id))
            .unwrap_or_else(|| product(self.products))
    }

    fn some_currency(&mut self) -> Money {
        if self.options.second_currency && self.dice.percent(30) {
            usd(1)
        } else {
            krw(1)
        }
    }

    fn some_window(&mut self) -> Window {
        let now = self.world.now().as_micros();
        let opens_at = if self.dice.percent(70) {
            now
        } else {
            now + self.dice.below(10_000_000)
        };
        let closes_at = self
            .dice
            .percent(40)
            .then(|| opens_at + 1 + self.dice.below(2 * self.options.hold_max_us));
        let limit = self.options.limit_max.filter(|_| self.dice.percent(90));
        Window {
            opens_at: Timestamp::from_micros(opens_at),
            closes_at: closes_at.map(Timestamp::from_micros),
            paused: false,
            per_person_limit: limit
                .map(|limit| u32::try_from(self.dice.between(1, limit)).unwrap()),
            hold_ttl: Span::from_micros_u64(self.dice.between(1_000_000, self.options.hold_max_us)),
        }
    }

    /// While people wait who have as many as that already, and units come in.
    fn lower_the_limit(&mut self, id: ProductId) {
        let window = Window {
            per_person_limit: Some(1),
            ..Window::open_from(self.world.now())
        };
        self.change(id, ProductAct::Window(WindowAct::Schedule, Some(window)));
        let stock = self.world.model.stock(id);
        let total = stock.total() - stock.withdrawn + 1;
        self.change(id, ProductAct::SetStock(total));
    }

    /// One that opens again later, or under a limit that some have reached.
    fn some_window_for_those_who_wait(&mut self) -> Window {
        let now = self.world.now();
        let wait = Span::from_micros_u64(self.dice.below(5_000_000));
        let window = self.some_window();
        match self.dice.percent(50) {
            true => Window {
                opens_at: now.plus(wait),
                closes_at: None,
                ..window
            },
            false => Window {
                opens_at: now,
                per_person_limit: Some(1),
                ..window
            },
        }
    }

    /// Mostly one in a state that matters, at times any.
    fn some_order(&mut self, preferred: &[OrderState]) -> Option<OrderId> {
        let papers = &self.world.model.papers;
        let is_preferred = |paper: &Paper| preferred.contains(&paper.state);
        let matching = papers
            .iter()
            .filter(|(_, paper)| is_preferred(paper))
            .map(|(id, _)| *id);
        let matching: Vec<OrderId> = matching.collect();
        if !matching.is_empty() && self.dice.percent(85) {
            return self.dice.pick_any(matching.into_iter());
        }
        let any = preferred.is_empty() || self.dice.percent(40);
        self.dice.pick_any(papers.keys().copied().filter(|_| any))
    }

    fn some_attempt(
        &mut self,
        which: impl Fn(AttemptState) -> bool,
    ) -> Option<(OrderId, AttemptId)> {
        let matching = tries(&self.world.model).filter(|(_, this)| which(this.state));
        self.dice
            .pick_any(matching.map(|(order, this)| (order, this.id)))
    }

    fn buyer_or_stranger(&mut self, order: OrderId) -> BuyerId {
        let owner = self.world.model.papers[&order].buyer;
        if self.dice.percent(3) {
            BuyerId::new(owner.get() + 1)
        } else {
            owner
        }
    }
}

fn tries(model: &Model) -> impl Iterator<Item = (OrderId, &Try)> {
    model
        .papers
        .iter()
        .flat_map(|(id, paper)| paper.tries.iter().map(move |this| (*id, this)))
}

fn due_refunds(model: &Model) -> Vec<(OrderId, AttemptId)> {
    let due = tries(model).filter(|(_, this)| this.refund == RefundState::Due);
    due.map(|(order, this)| (order, this.id)).collect()
}

/// No hold is left, and the shop keeps exactly the money of what is sold.
fn assert_settled(model: &Model) {
    for (id, paper) in &model.papers {
        assert!(!paper.holds(), "{id} is still {:?} after days", paper.state);
        let captured = paper
            .tries
            .iter()
            .filter(|this| this.state == AttemptState::Captured);
        let kept = captured
            .filter(|this| this.refund == RefundState::NotDue)
            .count();
        assert_eq!(
            kept,
            usize::from(paper.owns()),
            "{id} is {:?} with {kept} payments kept",
            paper.state
        );
        let due = paper
            .tries
            .iter()
            .filter(|this| this.refund == RefundState::Due)
            .count();
        assert_eq!(due, 0, "{id} waits for a refund after all were made");
    }
}
