//! A small shop in memory that lives through random histories by the rules of the domain, and remembers every event.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::*;
use crate::persistence::database::Loaded;
use crate::persistence::journal::Position;

/// Every choice of a history comes from here, so its seed repeats it.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    pub(super) fn id(&mut self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }
}

#[derive(Default)]
pub(super) struct Shop {
    pub(super) events: Vec<Event>,
    pub(super) products: BTreeMap<ProductId, Product>,
    pub(super) orders: BTreeMap<OrderId, Order>,
    placed: Vec<OrderId>,
    now: u64,
}

impl Shop {
    /// A shop after `steps` random steps.
    pub(super) fn after(seed: u64, steps: usize) -> Self {
        let mut shop = Self::default();
        let mut dice = Dice::new(seed);
        for _ in 0..3 {
            shop.register(&mut dice);
        }
        for _ in 0..steps {
            shop.step(&mut dice);
        }
        shop
    }

    pub(super) fn batch(&self) -> Vec<(Position, Event)> {
        (1..)
            .map(Position::new)
            .zip(self.events.iter().cloned())
            .collect()
    }

    /// What has to be loaded at start-up.
    pub(super) fn live(&self, keep_since: Timestamp) -> Loaded {
        let orders = self.orders.values();
        Loaded {
            position: Position::new(self.events.len() as u64),
            last_stamp: self.events.iter().map(Event::at).max().unwrap_or_default(),
            products: self.products.values().cloned().collect(),
            orders: orders
                .filter(|order| !order.is_at_rest() || order.placed_at >= keep_since)
                .cloned()
                .collect(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    /// Folds an event the way the engine does.
    pub(super) fn record(&mut self, event: Event) {
        let sequence = self.events.len() as u64 + 1;
        match &event {
            Event::ProductChanged {
                product,
                at,
                change,
                postings,
                ..
            } => {
                if let ProductChange::Registered {
                    details,
                    restock_to,
                } = change
                {
                    let new = Product::new(*product, details.clone(), *restock_to, *at);
                    self.products.insert(*product, new);
                }
                self.post(postings, None);
                self.product(*product).apply(change);
            }
            Event::OrderPlaced(placed) => {
                let lines = placed.lines.iter();
                let postings: Vec<_> = lines.flat_map(|line| placed.postings(line)).collect();
                self.post(&postings, Some(placed.buyer));
                for taken in &placed.offers {
                    self.product(taken.product)
                        .take_offer(placed.buyer, taken.units);
                }
                self.orders
                    .insert(placed.order, Order::new(sequence, placed));
                self.placed.push(placed.order);
            }
            Event::OrderChanged {
                order,
                at,
                change,
                postings,
                ..
            } => {
                let buyer = self.orders[order].buyer;
                self.post(postings, Some(buyer));
                self.orders
                    .get_mut(order)
                    .expect("an order")
                    .apply(change, *at);
            }
            Event::WaitlistChanged {
                product,
                at,
                change,
                postings,
            } => self
                .product(*product)
                .apply_to_waitlist(sequence, *at, change, postings),
        }
        self.events.push(event);
    }

    fn post(&mut self, postings: &[Posting], buyer: Option<BuyerId>) {
        for posting in postings {
            self.product(posting.product).post(posting, buyer);
        }
    }

    fn product(&mut self, id: ProductId) -> &mut Product {
        self.products.get_mut(&id).expect("a product")
    }

    // -- random steps --------------------------------------------------------------------------------------------

    pub(super) fn step(&mut self, dice: &mut Dice) {
        // Mostly seconds, now and then a day, so that holds are paid in time and restocks fall due.
        self.now += match dice.below(60) {
            0 => 90_000_000_000,
            _ => 1 + dice.below(10_000_000),
        };
        match dice.below(100) {
            0 => self.register(dice),
            1..=9 => self.change_a_product(dice),
            10..=24 => self.place(dice),
            25..=39 => self.change_a_waitlist(dice),
            _ => self.change_an_order(dice),
        }
    }

    pub(super) fn register(&mut self, dice: &mut Dice) {
        let restock_to = match dice.below(2) {
            0 => RestockTo::Available,
            _ => RestockTo::Withdrawn,
        };
        let id = ProductId::new(dice.id());
        let details = details(dice);
        self.change_product(
            id,
            dice,
            ProductChange::Registered {
                details,
                restock_to,
            },
            Vec::new(),
        );
        let (change, postings) = self.products[&id]
            .decide_stock(dice.below(400))
            .expect("a stock");
        self.change_product(id, dice, change, postings);
        let window = Window {
            per_person_limit: (dice.below(2) == 0).then_some(30),
            closes_at: (dice.below(4) == 0).then(|| self.now().plus(Span::from_secs(100_000))),
            ..Window::open_from(self.now())
        };
        let change = self.products[&id]
            .decide_window(WindowAct::Schedule, Some(window), self.now())
            .expect("a window");
        self.change_product(id, dice, change, Vec::new());
    }

    fn change_a_product(&mut self, dice: &mut Dice) {
        let id = self.any_product(dice);
        let now = self.now();
        let product = &self.products[&id];
        if product.deleted {
            return;
        }
        let act = |act| {
            let change = product.decide_window(act, None, now);
            change.map(|change| (change, Vec::new()))
        };
        let decided = match dice.below(12) {
            0..=4 => product.decide_stock(dice.below(600)),
            5 => act(WindowAct::Pause),
            6..=7 => act(WindowAct::Resume),
            8 => act(WindowAct::Open),
            9 if dice.below(20) == 0 => act(WindowAct::Close),
            10 if dice.below(10) == 0 => product.decide_delete().map(|it| (it, Vec::new())),
            _ => product
                .decide_edit(details(dice))
                .map(|it| (it, Vec::new())),
        };
        if let Ok((change, postings)) = decided {
            self.change_product(id, dice, change, postings);
        }
    }

    fn change_product(
        &mut self,
        product: ProductId,
        dice: &mut Dice,
        change: ProductChange,
        postings: Vec<Posting>,
    ) {
        self.record(Event::ProductChanged {
            product,
            at: self.now(),
            mark: mark(dice),
            change,
            postings,
        });
    }

    fn place(&mut self, dice: &mut Dice) {
        let buyer = BuyerId::new(u128::from(dice.below(20)));
        let mut lines: Vec<Line> = Vec::new();
        let mut offers = Vec::new();
        for _ in 0..=dice.below(3) {
            let product = &self.products[&self.any_product(dice)];
            let quantity = Quantity::new(1 + dice.below(3) as u32).expect("a quantity");
            let new = lines.iter().all(|line| line.product != product.id);
            if new && let Ok(grant) = product.decide_hold(buyer, quantity, self.now()) {
                offers.extend(grant.offered.map(|units| OfferTaken {
                    product: product.id,
                    units,
                }));
                lines.push(Line {
                    product: product.id,
                    quantity,
                    unit_price: product.details.price,
                });
            }
        }
        if lines.is_empty() {
            return;
        }
        self.record(Event::OrderPlaced(OrderPlaced {
            order: OrderId::for_buyer(dice.id(), buyer),
            buyer,
            key: KeyHash::new(dice.id()),
            fingerprint: Fingerprint(dice.next()),
            address: (dice.below(2) == 0).then(|| AddressId::new(dice.id())),
            at: self.now(),
            deadline: self.now().plus(Window::HOLD_TTL_DEFAULT),
            lines,
            offers,
        }));
    }

    fn change_a_waitlist(&mut self, dice: &mut Dice) {
        let id = self.any_product(dice);
        let now = self.now();
        let product = &self.products[&id];
        let buyer = BuyerId::new(u128::from(dice.below(20)));
        let quantity = Quantity::new(1 + dice.below(3) as u32).expect("a quantity");
        let some = match dice.below(4) {
            0 => product.decide_leave(buyer),
            1 => product.decide_lapse(now),
            2 => product
                .next_waitlist_step(now, Span::from_secs(5))
                .map(|change| (change, Vec::new())),
            _ => product
                .decide_join(buyer, quantity, now)
                .ok()
                .flatten()
                .map(|change| (change, Vec::new())),
        };
        if let Some((change, postings)) = some {
            self.record(Event::WaitlistChanged {
                product: id,
                at: now,
                change,
                postings,
            });
        }
    }

    fn change_an_order(&mut self, dice: &mut Dice) {
        let Some(id) = self.any_order(dice) else {
            return;
        };
        let order = self.orders[&id].clone();
        let now = self.now();
        if let Some((change, release)) = order.decide_due(now) {
            return self.change_order(&order, None, change, release);
        }
        let attempt = order.attempts.last().map(|it| it.id).unwrap_or_default();
        // Now and then the units of an ended hold are gone.
        let lucky = dice.below(3) > 0;
        let can_reclaim = |order: &Order| {
            lucky
                && order.lines.iter().all(|line| {
                    self.products[&line.product].can_reclaim(order.buyer, line.quantity)
                })
        };
        let outcome = |outcome| order.decide_outcome(attempt, outcome, &can_reclaim);
        let act = match (dice.below(2), order.state) {
            (0, OrderState::Held) => 0,
            (0, OrderState::Paying | OrderState::Expired) => 3,
            (0, OrderState::Refunding | OrderState::PaidUnfulfilled) => 9,
            (0, OrderState::Paid) => 10,
            (0, OrderState::Shipped) => 11,
            (0, OrderState::Delivered) => 12,
            (0, OrderState::ReturnRequested) => 13,
            _ => dice.below(14),
        };
        let decided = match act {
            0..=2 => order
                .decide_payment(
                    AttemptId::new(dice.id()),
                    KeyHash::new(dice.id()),
                    Fingerprint(dice.next()),
                    "카드 💳",
                    now,
                )
                .map(|change| Some((change, Release::Keep))),
            3..=5 => outcome(PaymentOutcome::Captured),
            6 => outcome(PaymentOutcome::Declined),
            7 => order.decide_deferral(attempt),
            8 => order.decide_cancel(),
            9 => order.decide_refunded(attempt),
            10 => order.decide_shipment("Hanjin", "한진-1234"),
            11 => order.decide_delivery(now.plus(Span::from_secs(86_400))),
            12 => order.decide_return_request("너무 작아요"),
            _ => order.decide_return_acceptance(),
        };
        if let Ok(Some((change, release))) = decided {
            let is_of_the_shop = matches!(act, 10 | 11 | 13) && dice.below(4) > 0;
            let mark = is_of_the_shop.then(|| mark(dice));
            self.change_order(&order, mark, change, release);
        }
    }

    pub(super) fn change_order(
        &mut self,
        order: &Order,
        mark: Option<AdminMark>,
        change: OrderChange,
        release: Release,
    ) {
        let mut postings = Vec::new();
        for line in &order.lines {
            let product = &self.products[&line.product];
            let units = u64::from(line.quantity.get());
            let moved = |from, to| Posting {
                product: line.product,
                from,
                to,
                units,
            };
            match release {
                Release::Keep => {}
                Release::FreeHeld => postings.extend(product.free(Bucket::Held, units)),
                Release::FreeSold => postings.extend(product.free(Bucket::Sold, units)),
                Release::Restock => postings.extend(product.restock(units)),
                Release::Sell => postings.push(moved(Bucket::Held, Bucket::Sold)),
                Release::Reclaim => postings.push(moved(Bucket::Available, Bucket::Sold)),
                Release::SendBack => postings.push(moved(Bucket::Sold, Bucket::Returning)),
            }
        }
        self.record(Event::OrderChanged {
            order: order.id,
            at: self.now(),
            mark,
            change,
            postings,
        });
    }

    fn any_product(&self, dice: &mut Dice) -> ProductId {
        let place = dice.below(self.products.len() as u64) as usize;
        *self.products.keys().nth(place).expect("a product")
    }

    /// Mostly one of the last: the old ones have little left to happen to them.
    fn any_order(&self, dice: &mut Dice) -> Option<OrderId> {
        let window = match dice.below(8) {
            0 => self.placed.len(),
            _ => self.placed.len().min(8),
        };
        let back = dice.below(window.max(1) as u64) as usize;
        self.placed.iter().rev().nth(back).copied()
    }

    /// Every state that an order has had on the way here.
    pub(super) fn states(&self) -> BTreeSet<OrderState> {
        let mut replayed = Self::default();
        let mut states = BTreeSet::new();
        for event in &self.events {
            replayed.record(event.clone());
            if let Event::OrderChanged { order, .. } = event {
                states.insert(replayed.orders[order].state);
            }
        }
        states
    }
}

fn mark(dice: &mut Dice) -> AdminMark {
    AdminMark {
        admin: BuyerId::new(dice.id()),
        request: RequestId::new(dice.id()),
    }
}

fn details(dice: &mut Dice) -> Details {
    Details {
        name: format!("램프 {} 💡", dice.below(1_000)).into(),
        description: "Warm light, \"quoted\" and '); DROP TABLE orders; --".into(),
        image_url: (dice.below(2) == 0).then(|| "https://example.test/lamp.webp".into()),
        price: Money {
            amount: 1 + dice.below(1_000_000) as i64,
            currency: Currency::parse("KRW").expect("a currency"),
        },
    }
}
