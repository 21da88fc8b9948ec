//! Scenarios as sentences: a setting, what people do, and what they are told. The model listens in.
//!
//! | sentence | what happens |
//! | --- | --- |
//! | `A reserves 1`, `A reserves 1 lamp 2 chair` | an order with a new key |
//! | `A repeats`, `A repeats as 2` | the same key again, with the same or another body |
//! | `A pays`, `A pays again` | a new attempt; the request of the last one repeated |
//! | `bank takes A`, `bank declines A` | the outcome of A's last attempt; `A#1` is the first one |
//! | `bank is slow with A`, `bank never heard of A`, `bank refunds A` | what the payment actor reports |
//! | `A cancels`, `B cancels A`, `A looks`, `B looks at A` | of A's last order |
//! | `A waits 1`, `A leaves`, `A asks` | the waitlist of the first goods |
//! | `A returns`, `B returns A`, `shop ships A`, `shop ships A as RR2`, `shop delivers A`, `shop accepts A` | after the sale |
//! | `shop sets 5`, `shop pauses`, `shop wants 10 for lamp`, `shop deletes` | the admin |
//! | `5 s`, `5 us`, `timer` | time passes; nothing is swept until the timer runs |
//! | `shelf` | shows the counters that are not zero |

use std::collections::BTreeMap;

use super::model::{Errand, Expected, Told};
use super::world::World;
use super::{buyer, krw, product};
use crate::actors::core::message::{
    Command, DetailsPatch, PlaceOrder, ProductAct, Refusal, ReplyTo, Shipment, StartPayment, Viewer,
};
use crate::domain::{
    AdminMark, AttemptId, Availability, BuyerId, Details, Fingerprint, KeyHash, OrderId,
    PaymentAnswer, PaymentOutcome, ProductId, Quantity, Rejection, RequestId, RestockTo, Shortage,
    Span, Timestamp, Window, WindowAct,
};

const START: Timestamp = Timestamp::from_micros(1_000_000_000);

/// Plays the steps in the setting and compares every line that somebody is told.
#[track_caller]
pub(super) fn check(setting: &str, steps: &[&str], told: &[&str]) {
    let mut story = Story::set(setting);
    for step in steps {
        story.play(step);
    }
    super::replay::check(&mut story.world);
    assert_eq!(
        story.told, told,
        "in the setting `{setting}` after {steps:#?}"
    );
}

struct Story {
    world: World,
    goods: Vec<String>,
    /// Each person's last order: id, key and lines.
    orders: BTreeMap<String, (OrderId, KeyHash)>,
    attempts: BTreeMap<String, Vec<(OrderId, AttemptId)>>,
    /// Who waits behind a slot.
    asked: Vec<(ReplyTo, String)>,
    told: Vec<String>,
    ids: u128,
}

impl Story {
    /// `lamp 1, chair 2; limit 1, hold 60, opens 10, closes 100, withdraws returns`: goods, then the terms of all of them.
    fn set(setting: &str) -> Self {
        let mut story = Self {
            world: World::new(super::limits(1_000), START),
            goods: Vec::new(),
            orders: BTreeMap::new(),
            attempts: BTreeMap::new(),
            asked: Vec::new(),
            told: Vec::new(),
            ids: 0,
        };
        let (goods, terms) = setting.split_once("; ").unwrap_or((setting, ""));
        let mut window = Window {
            hold_ttl: Span::from_secs(60),
            ..Window::open_from(START)
        };
        let mut restock_to = RestockTo::Available;
        for term in terms.split(", ").filter(|term| !term.is_empty()) {
            match term.split_once(' ').expect("a term and its value") {
                ("limit", units) => window.per_person_limit = Some(number(units)),
                ("hold", secs) => window.hold_ttl = Span::from_secs(number(secs)),
                ("opens", secs) => window.opens_at = START.plus(Span::from_secs(number(secs))),
                ("closes", secs) => {
                    window.closes_at = Some(START.plus(Span::from_secs(number(secs))))
                }
                ("withdraws", "returns") => restock_to = RestockTo::Withdrawn,
                _ => panic!("no such term: {term}"),
            }
        }
        for goods in goods.split(", ") {
            let (name, total) = goods.split_once(' ').expect("a name and a number");
            story.goods.push(name.to_owned());
            let id = story.product(name);
            let details = Details {
                name: name.into(),
                description: "".into(),
                image_url: None,
                price: krw(1_000),
            };
            story.change(
                id,
                ProductAct::Register {
                    details,
                    restock_to,
                    total: number(total).into(),
                },
            );
            story.change(id, ProductAct::Window(WindowAct::Schedule, Some(window)));
        }
        story.told.clear();
        story
    }

    fn play(&mut self, step: &str) {
        let words: Vec<&str> = step.split(' ').collect();
        match words[..] {
            [time, "s"] => self.pass(Span::from_secs(number(time))),
            [time, "us"] => self.pass(Span::from_micros_u64(number(time).into())),
            ["timer"] => self.world.sweep(usize::MAX),
            ["shelf"] => self.show_shelves(),
            ["shop", "ships", whose] => self.ship(whose, "RR1"),
            ["shop", "ships", whose, "as", number] => self.ship(whose, number),
            ["shop", "delivers", whose] => self.deliver(whose),
            ["shop", "accepts", whose] => self.accept(whose),
            [who, "returns"] => self.send_back(who, who),
            [who, "returns", whose] => self.send_back(who, whose),
            ["shop", ref act @ ..] => self.play_shop(act),
            ["bank", ref act @ ..] => self.play_bank(act),
            [who, "reserves", ref lines @ ..] => self.reserve(who, lines),
            [who, "repeats"] => self.repeat(who, 0),
            [who, "repeats", "as", units] => self.repeat(who, number(units)),
            [who, "pays"] => self.pay(who),
            [who, "pays", "again"] => self.pay_again(who),
            [who, "waits", units] => self.wait(who, number(units)),
            [who, "leaves"] => self.leave(who),
            [who, "asks"] => self.tell(who, Command::ReadWaitlists { buyer: person(who) }),
            [who, "cancels"] => self.cancel(who, who),
            [who, "cancels", whose] => self.cancel(who, whose),
            [who, "looks"] => self.look(who, who),
            [who, "looks", "at", whose] => self.look(who, whose),
            _ => panic!("nobody understands `{step}`"),
        }
    }

    fn pass(&mut self, span: Span) {
        let then = self.world.now().plus(span);
        self.world.begin_turn(then);
    }

    // Buyers.

    fn reserve(&mut self, who: &str, lines: &[&str]) {
        let line = |pair: &[&str]| {
            let name = pair.get(1).map_or(self.goods[0].as_str(), |name| *name);
            (self.product(name), Quantity::new(number(pair[0])).unwrap())
        };
        let lines: Vec<_> = lines.chunks(2).map(line).collect();
        let key = KeyHash::new(self.next_id());
        let order = self.place(who, key, 0, lines);
        if self.world.model.papers.contains_key(&order) {
            self.orders.insert(who.to_owned(), (order, key));
        }
    }

    /// The same key; another `body` than 0 is another request.
    fn repeat(&mut self, who: &str, body: u32) {
        let (_, key) = self.orders[who];
        let lines = vec![(self.product(&self.goods[0]), Quantity::new(1).unwrap())];
        self.place(who, key, body.into(), lines);
    }

    fn place(
        &mut self,
        who: &str,
        key: KeyHash,
        body: u64,
        lines: Vec<(ProductId, Quantity)>,
    ) -> OrderId {
        let buyer = person(who);
        let order = OrderId::for_buyer(self.next_id() << 8, buyer);
        let fingerprint = Fingerprint(body);
        self.tell(
            who,
            Command::PlaceOrder(PlaceOrder {
                order,
                buyer,
                key,
                fingerprint,
                address: None,
                lines,
            }),
        );
        order
    }

    fn pay(&mut self, who: &str) {
        let attempt = AttemptId::new(self.next_id());
        self.start_payment(who, attempt, attempt);
        let order = self.orders[who].0;
        if self.world.model.papers[&order]
            .tries
            .iter()
            .any(|this| this.id == attempt)
        {
            self.attempts
                .entry(who.to_owned())
                .or_default()
                .push((order, attempt));
        }
    }

    fn pay_again(&mut self, who: &str) {
        let (first, again) = (self.attempt(who).1, AttemptId::new(self.next_id()));
        self.start_payment(who, again, first);
    }

    fn start_payment(&mut self, who: &str, attempt: AttemptId, keyed: AttemptId) {
        self.tell(
            who,
            Command::StartPayment(StartPayment {
                order: self.orders[who].0,
                buyer: person(who),
                attempt,
                key: KeyHash::new(keyed.get()),
                fingerprint: Fingerprint(0),
                method: "card".into(),
            }),
        );
    }

    fn cancel(&mut self, who: &str, whose: &str) {
        let order = self.orders[whose].0;
        self.tell(
            who,
            Command::CancelOrder {
                order,
                buyer: person(who),
            },
        );
    }

    fn wait(&mut self, who: &str, units: u32) {
        let command = Command::JoinWaitlist {
            product: self.product(&self.goods[0]),
            buyer: person(who),
            quantity: Quantity::new(units).unwrap(),
        };
        self.tell(who, command);
    }

    fn leave(&mut self, who: &str) {
        let command = Command::LeaveWaitlist {
            product: self.product(&self.goods[0]),
            buyer: person(who),
        };
        self.tell(who, command);
    }

    fn look(&mut self, who: &str, whose: &str) {
        let order = self.orders[whose].0;
        self.tell(
            who,
            Command::ReadOrder {
                order,
                viewer: Viewer::Buyer(person(who)),
            },
        );
    }

    // The bank and the shop.

    fn play_bank(&mut self, act: &[&str]) {
        let (order, attempt) = self.attempt(act.last().expect("about somebody"));
        let settle = |outcome| Command::SettlePayment {
            order,
            attempt,
            outcome,
            amount: None,
        };
        let command = match act {
            ["takes", _] => settle(PaymentOutcome::Captured),
            ["declines", _] => settle(PaymentOutcome::Declined),
            ["is", "slow", "with", _] => Command::DeferPayment { order, attempt },
            ["never", "heard", "of", _] => Command::RepeatCharge { order, attempt },
            ["refunds", _] => Command::RecordRefund { order, attempt },
            ["is", "slow", "to", "refund", _] => Command::DeferRefund { order },
            _ => panic!("no bank does that: {act:?}"),
        };
        self.tell("bank", command);
    }

    fn play_shop(&mut self, act: &[&str]) {
        let first = self.product(&self.goods[0]);
        let window = |act| ProductAct::Window(act, None);
        let act = match act {
            ["sets", total] => ProductAct::SetStock(number(total).into()),
            ["pauses"] => window(WindowAct::Pause),
            ["resumes"] => window(WindowAct::Resume),
            ["opens"] => window(WindowAct::Open),
            ["closes"] => window(WindowAct::Close),
            ["deletes"] => ProductAct::Delete,
            ["wants", price] => {
                let price = Some(krw(number(price).into()));
                ProductAct::Edit(DetailsPatch {
                    price,
                    ..DetailsPatch::default()
                })
            }
            _ => panic!("no shop does that: {act:?}"),
        };
        self.change(first, act);
    }

    fn change(&mut self, product: ProductId, act: ProductAct) {
        let mark = self.mark();
        self.tell("shop", Command::ChangeProduct { product, mark, act });
    }

    fn mark(&mut self) -> AdminMark {
        AdminMark {
            admin: BuyerId::new(1),
            request: RequestId::new(self.next_id()),
        }
    }

    // After the sale.

    fn ship(&mut self, whose: &str, number: &str) {
        let shipment = Shipment {
            carrier: "Post".into(),
            tracking_number: number.into(),
        };
        let (order, mark) = (self.orders[whose].0, Some(self.mark()));
        self.tell(
            "shop",
            Command::ShipOrder {
                order,
                shipment,
                mark,
            },
        );
    }

    fn deliver(&mut self, whose: &str) {
        let (order, mark) = (self.orders[whose].0, Some(self.mark()));
        self.tell("shop", Command::DeliverOrder { order, mark });
    }

    fn accept(&mut self, whose: &str) {
        let (order, mark) = (self.orders[whose].0, self.mark());
        self.tell("shop", Command::AcceptReturn { order, mark });
    }

    fn send_back(&mut self, who: &str, whose: &str) {
        let command = Command::RequestReturn {
            order: self.orders[whose].0,
            buyer: person(who),
            reason: "too small".into(),
        };
        self.tell(who, command);
    }

    // Telling and being told.

    fn tell(&mut self, who: &str, command: Command) {
        let slot = ReplyTo::Slot {
            lane: 1,
            slot: u32::try_from(self.asked.len()).unwrap(),
        };
        self.asked.push((slot, who.to_owned()));
        for (to, answer) in self.world.tell_for(command, slot) {
            let asked = self
                .asked
                .iter()
                .find(|(slot, _)| *slot == to)
                .expect("somebody asked");
            let who = asked.1.clone();
            if let Some(line) = self.line(&who, &answer) {
                self.told.push(line);
            }
        }
        for errand in std::mem::take(&mut self.world.errands) {
            let (verb, attempt, amount) = match errand {
                Errand::Charge(attempt, amount, _) => ("charge", attempt, Some(amount)),
                Errand::Withdraw(attempt) => ("withdraw", attempt, None),
                Errand::Refund(attempt, amount) => ("refund", attempt, Some(amount)),
            };
            let whose = self
                .attempts
                .iter()
                .find(|(_, all)| all.iter().any(|(_, known)| *known == attempt));
            let whose = whose.map_or(who, |(whose, _)| whose);
            let amount = amount.map_or_else(String::new, |it| format!(" {it}"));
            self.told.push(format!("{verb} {whose}{amount}"));
        }
    }

    /// `None` for a bank or a shop that is only told that all is well.
    fn line(&self, who: &str, answer: &Expected) -> Option<String> {
        let told = match answer {
            Expected::Done => return None,
            Expected::Product(..) => return None,
            Expected::Joined(told, _) => place(told),
            Expected::Places(places) => match places.as_slice() {
                [told] => place(told),
                _ => format!("on {} lists", places.len()),
            },
            Expected::Orders(orders) => format!("{} orders", orders.len()),
            Expected::Order {
                id,
                state,
                deadline,
                ..
            } => {
                let order = &self.world.model.papers[id];
                let units: u64 = order.lines.iter().map(|line| line.1).sum();
                let left = deadline.since(START).as_micros() / 1_000_000;
                match order.ends_at() {
                    Some(_) => format!("{} {units} until {left}", word(state)),
                    None => format!("{} {units}", word(state)),
                }
            }
            Expected::Payment { answer, .. } => match answer {
                PaymentAnswer::Paid => "paid".to_owned(),
                PaymentAnswer::Pending => "payment pending".to_owned(),
                PaymentAnswer::Declined => "declined".to_owned(),
                PaymentAnswer::Unfulfilled => "paid for nothing".to_owned(),
            },
            Expected::Refused(refusal) => self.refusal(refusal),
        };
        Some(format!("{who} {told}"))
    }

    fn refusal(&self, refusal: &Refusal) -> String {
        match refusal {
            Refusal::Rejected(Rejection::Short(short)) if self.goods.len() == 1 => {
                shortage(&short[0]).to_owned()
            }
            Refusal::Rejected(Rejection::Short(short)) => {
                let each = |it: &Shortage| {
                    format!(
                        "{} {} of {}",
                        self.name(it.product),
                        shortage(it),
                        it.available
                    )
                };
                short.iter().map(each).collect::<Vec<_>>().join(", ")
            }
            Refusal::Rejected(Rejection::LimitReached {
                limit,
                in_hand,
                live_order,
                ..
            }) => {
                let resume = live_order.map(|id| self.world.model.papers[&id].state);
                let resume = resume.map_or("nothing".to_owned(), |state| word(&state));
                format!("at the limit of {limit} with {in_hand}, {resume} to resume")
            }
            Refusal::Rejected(Rejection::NotOpen { .. }) => "not open".to_owned(),
            Refusal::Rejected(Rejection::HoldExpired { .. }) => "hold expired".to_owned(),
            Refusal::Rejected(Rejection::BelowSold { total, sold }) => {
                format!("{total} is below {sold} sold")
            }
            Refusal::Rejected(Rejection::HasCommittedUnits { held, sold, .. }) => {
                format!("{held} held, {sold} sold")
            }
            Refusal::Rejected(Rejection::StillAvailable { available, .. }) => {
                format!("{available} still available")
            }
            Refusal::Rejected(Rejection::AlreadyWaiting { quantity, .. }) => {
                format!("waits for {quantity} already")
            }
            Refusal::Rejected(Rejection::AlreadyShipped {
                tracking_number, ..
            }) => format!("shipped as {tracking_number}"),
            Refusal::Rejected(Rejection::Paused(_)) => "paused".to_owned(),
            Refusal::Rejected(Rejection::Closed(_)) => "closed".to_owned(),
            Refusal::Rejected(Rejection::NoSuchProduct(_)) => "no such product".to_owned(),
            Refusal::Rejected(other) => word(other),
            other => word(other),
        }
    }

    fn show_shelves(&mut self) {
        for name in &self.goods {
            let stock = self.world.model.stock(self.product(name));
            let counters = [
                (stock.available, "available"),
                (stock.held, "held"),
                (stock.offered, "offered"),
                (stock.sold, "sold"),
                (stock.returning, "returning"),
                (stock.withdrawn, "withdrawn"),
                (stock.withdrawal_pending, "to withdraw"),
            ];
            let shown = counters.iter().filter(|(units, _)| *units > 0);
            let shown: Vec<String> = shown
                .map(|(units, bucket)| format!("{units} {bucket}"))
                .collect();
            self.told.push(format!("{name}: {}", shown.join(", ")));
        }
    }

    fn attempt(&self, who: &str) -> (OrderId, AttemptId) {
        let (who, nth) = who.split_once('#').unwrap_or((who, ""));
        let attempts = &self.attempts[who];
        let index = nth.parse().unwrap_or(attempts.len());
        attempts[index - 1]
    }

    fn product(&self, name: &str) -> ProductId {
        let index = self
            .goods
            .iter()
            .position(|known| known == name)
            .expect("goods of the setting");
        product(u64::try_from(index).unwrap())
    }

    fn name(&self, id: ProductId) -> &str {
        self.goods
            .iter()
            .find(|name| self.product(name) == id)
            .expect("goods of the setting")
    }

    fn next_id(&mut self) -> u128 {
        self.ids += 1;
        self.ids
    }
}

fn person(name: &str) -> BuyerId {
    buyer(name.bytes().next().expect("a letter").into())
}

fn number(word: &str) -> u32 {
    word.parse()
        .unwrap_or_else(|_| panic!("`{word}` is no number"))
}

fn place(told: &Told) -> String {
    match (told.position, told.offer) {
        (Some(position), _) => format!("waits at {position} for {}", told.quantity),
        (None, Some((units, until))) => {
            let left = until.since(START).as_micros() / 1_000_000;
            format!("is offered {units} until {left}")
        }
        (None, None) => "does not wait".to_owned(),
    }
}

fn shortage(short: &Shortage) -> &'static str {
    match short.availability {
        Availability::Available => "too few",
        Availability::AllHeld => "all held",
        Availability::SoldOut => "sold out",
    }
}

/// `CancelRequested` as `cancel requested`.
fn word(value: &impl std::fmt::Debug) -> String {
    let mut words = String::new();
    for letter in format!("{value:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}
