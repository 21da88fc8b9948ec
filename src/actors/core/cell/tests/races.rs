//! Six races of a payment, a thousand seeds each, against a bank that keeps books of its own.
//!
//! The bank is honest and its messengers are not: calls wait and travel, answers get lost, webhooks come late, twice and
//! out of order, and the server dies between any two steps. Whatever happens, the bank's books must agree with the orders.

use std::collections::BTreeMap;

use super::buyer;
use super::history::Dice;
use super::till::Till;
use crate::actors::core::message::{Command, Effect, ProviderOrder};
use crate::domain::{
    AttemptId, AttemptState, OrderId, OrderState, PaymentOutcome, RefundState, Span,
};

const SEEDS: u64 = 1_000;
const STEPS: u64 = 70;
/// A race that was run in fewer of its seeds was hardly run.
const RUN_MIN: u64 = 400;

#[test]
fn a_success_that_comes_after_the_hold_buys_the_units_or_goes_back() {
    let seen = race(Race::LateSuccess);
    assert!(
        seen.late_reclaimed >= RUN_MIN && seen.late_refunded >= RUN_MIN,
        "{seen:?}"
    );
}

#[test]
fn webhooks_that_come_twice_and_in_any_order_settle_once() {
    let seen = race(Race::Webhooks);
    assert!(
        seen.repeated >= RUN_MIN && seen.before_the_answer >= RUN_MIN,
        "{seen:?}"
    );
}

#[test]
fn a_cancel_in_mid_payment_ends_with_the_money_where_it_belongs() {
    let seen = race(Race::Cancel);
    assert!(
        seen.cancelled_paying >= RUN_MIN && seen.cancelled_paid >= RUN_MIN,
        "{seen:?}"
    );
}

#[test]
fn a_crash_between_intent_and_call_takes_the_money_once_or_never() {
    let seen = race(Race::CrashBeforeCall);
    assert!(seen.never_arrived >= RUN_MIN, "{seen:?}");
}

#[test]
fn a_crash_between_call_and_result_loses_no_money() {
    let seen = race(Race::CrashBeforeResult);
    assert!(seen.result_lost >= RUN_MIN, "{seen:?}");
}

#[test]
fn a_charge_that_still_waits_when_its_order_cannot_be_paid_moves_no_money() {
    let seen = race(Race::Queue);
    assert!(
        seen.withdrawn >= RUN_MIN && seen.unsent_at_the_cap >= RUN_MIN / 2,
        "{seen:?}"
    );
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Race {
    LateSuccess,
    Webhooks,
    Cancel,
    CrashBeforeCall,
    CrashBeforeResult,
    Queue,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    WaitlistPlace,
    Pay,
    Cancel,
    /// A call reaches the bank.
    Arrive,
    /// An answer of the bank reaches the server, or is lost.
    Answer,
    /// A webhook reaches the server.
    Webhook,
    TimePasses,
    Crash,
}

/// What was met on the way, over all seeds.
#[derive(Debug, Default)]
struct Seen {
    late_reclaimed: u64,
    late_refunded: u64,
    repeated: u64,
    before_the_answer: u64,
    cancelled_paying: u64,
    cancelled_paid: u64,
    /// The bank was asked about a payment that a crash had kept from it.
    never_arrived: u64,
    /// The bank had taken the money, and a crash lost its word.
    result_lost: u64,
    /// A charge was still waiting when its order could not be paid any more.
    withdrawn: u64,
    /// Its turn came before anybody had noticed that.
    unsent_at_the_cap: u64,
}

/// What a provider knows: it takes the money of an attempt once, and gives it back once.
#[derive(Debug, Default)]
struct Bank {
    accounts: BTreeMap<AttemptId, Account>,
}

#[derive(Debug)]
struct Account {
    order: OrderId,
    amount: i64,
    outcome: PaymentOutcome,
    is_refunded: bool,
}

/// A call that waits for its turn, or is on its way to the bank. One that was sent arrives also if its caller has died, and
/// is answered to nobody.
#[derive(Debug)]
struct Call {
    effect: Effect,
    has_caller: bool,
    is_sent: bool,
}

/// The bank's answer on its way back.
#[derive(Debug)]
enum Answer {
    Outcome(ProviderOrder, PaymentOutcome),
    NeverArrived(ProviderOrder),
    Refunded(ProviderOrder),
}

#[derive(Debug)]
struct Scene {
    race: Race,
    dice: Dice,
    till: Till,
    bank: Bank,
    calls: Vec<Call>,
    answers: Vec<Answer>,
    webhooks: Vec<(OrderId, AttemptId, PaymentOutcome)>,
    orders: Vec<(OrderId, u64)>,
    seen: Seen,
}

fn race(race: Race) -> Seen {
    let mut all = Seen::default();
    for seed in 0..SEEDS {
        let run = || Scene::new(race, seed).play();
        match std::panic::catch_unwind(run) {
            Ok(seen) => all.add(&seen),
            Err(cause) => {
                eprintln!("seed {seed} of {race:?} fails");
                std::panic::resume_unwind(cause)
            }
        }
    }
    all
}

impl Scene {
    fn new(race: Race, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let stock = dice.pick(&[1, 2, 4]);
        let hold = dice.pick(&[Span::from_secs(2), Span::from_secs(60)]);
        Self {
            race,
            dice,
            till: Till::open(stock, hold),
            bank: Bank::default(),
            calls: Vec::new(),
            answers: Vec::new(),
            webhooks: Vec::new(),
            orders: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn play(mut self) -> Seen {
        for _ in 0..STEPS {
            self.act();
            self.check_bank();
        }
        self.calm_down();
        self.check_books();
        self.seen
    }

    fn deeds(&self) -> &'static [Deed] {
        use Deed::{Answer, Arrive, Cancel, Crash, Pay, TimePasses, WaitlistPlace, Webhook};
        match self.race {
            Race::LateSuccess => &[
                WaitlistPlace,
                Pay,
                Pay,
                Arrive,
                Answer,
                Webhook,
                TimePasses,
                TimePasses,
            ],
            Race::Webhooks => &[
                WaitlistPlace,
                Pay,
                Arrive,
                Arrive,
                Answer,
                Webhook,
                Webhook,
                Webhook,
                TimePasses,
            ],
            Race::Cancel => &[
                WaitlistPlace,
                Pay,
                Pay,
                Arrive,
                Answer,
                Webhook,
                Cancel,
                TimePasses,
            ],
            Race::Queue => &[
                WaitlistPlace,
                WaitlistPlace,
                Pay,
                Pay,
                Pay,
                Arrive,
                Arrive,
                Arrive,
                Answer,
                Cancel,
                TimePasses,
                TimePasses,
                Crash,
            ],
            Race::CrashBeforeCall => &[WaitlistPlace, Pay, Arrive, Answer, TimePasses, Crash],
            Race::CrashBeforeResult => &[
                WaitlistPlace,
                Pay,
                Arrive,
                Arrive,
                Answer,
                Cancel,
                TimePasses,
                Crash,
            ],
        }
    }

    fn act(&mut self) {
        match self.dice.pick(self.deeds()) {
            Deed::WaitlistPlace => self.place(),
            Deed::Pay => self.pay(),
            Deed::Cancel => self.cancel(),
            Deed::Arrive => self.arrive(),
            Deed::Answer => self.answer(),
            Deed::Webhook => self.webhook(),
            Deed::TimePasses => self.time_passes(),
            Deed::Crash => self.crash(),
        }
    }

    // The buyers.

    fn place(&mut self) {
        let (who, units) = (self.dice.below(4), self.dice.pick(&[1, 1, 2]));
        let placed = self.till.place(who, units);
        self.orders.extend(placed.map(|order| (order, who)));
    }

    fn pay(&mut self) {
        let Some((order, who)) = self.some_order(&[OrderState::Held]) else {
            return;
        };
        let command = self.till.pay_command(order, buyer(who));
        if self.race == Race::CrashBeforeCall && self.dice.below(8) == 0 {
            return self.die_over(command);
        }
        self.tell(command);
    }

    fn cancel(&mut self) {
        let Some((order, who)) = self.some_order(&[OrderState::Paying, OrderState::Paid]) else {
            return;
        };
        match self.till.order(order).state {
            OrderState::Paying => self.seen.cancelled_paying += 1,
            OrderState::Paid => self.seen.cancelled_paid += 1,
            _ => {}
        }
        self.tell(Command::CancelOrder {
            order,
            buyer: buyer(who),
        });
    }

    // The bank and the way to it.

    fn arrive(&mut self) {
        let Some(call) = self.take_some(|scene| &mut scene.calls) else {
            return;
        };
        let Call {
            effect,
            has_caller,
            is_sent,
        } = call;
        let answer = match effect {
            Effect::Withdraw { .. } => unreachable!("it goes to no bank"),
            Effect::Charge { order, send_by } if !is_sent && self.till.now >= send_by => {
                self.seen.unsent_at_the_cap += 1;
                return self.settle(order.order, order.attempt, PaymentOutcome::Declined);
            }
            Effect::Charge { order, .. } => {
                let (outcome, is_new) = self.bank.charge(&order, &mut self.dice);
                if is_new {
                    self.send_webhooks(&order, outcome);
                }
                Answer::Outcome(order, outcome)
            }
            Effect::LookUp(order) => match self.bank.accounts.get(&order.attempt) {
                Some(known) => Answer::Outcome(order, known.outcome),
                None => {
                    self.seen.never_arrived += 1;
                    self.call_off(order.attempt);
                    Answer::NeverArrived(order)
                }
            },
            Effect::Refund(order) => {
                self.bank.refund(&order);
                Answer::Refunded(order)
            }
        };
        if has_caller {
            self.answers.push(answer);
        }
    }

    /// What the contract of a provider promises: a charge that has not arrived by a look-up never will. Whoever waits
    /// for it waits in vain and asks.
    fn call_off(&mut self, attempt: AttemptId) {
        let is_called_off = |call: &Call| matches!(&call.effect, Effect::Charge { order, .. } if order.attempt == attempt);
        self.calls
            .retain(|call| call.has_caller || !is_called_off(call));
        for call in self.calls.iter_mut().filter(|call| is_called_off(call)) {
            if let Effect::Charge { order, .. } = call.effect.clone() {
                call.effect = Effect::LookUp(order);
            }
        }
    }

    fn send_webhooks(&mut self, order: &ProviderOrder, outcome: PaymentOutcome) {
        let copies = match self.race {
            Race::Webhooks => 1 + self.dice.below(4),
            Race::CrashBeforeCall | Race::CrashBeforeResult => 0,
            Race::LateSuccess | Race::Cancel | Race::Queue => self.dice.below(2),
        };
        for _ in 0..copies {
            self.webhooks.push((order.order, order.attempt, outcome));
        }
    }

    fn answer(&mut self) {
        let Some(answer) = self.take_some(|scene| &mut scene.answers) else {
            return;
        };
        if self.dice.below(3) == 0 {
            return self.lose(answer);
        }
        self.deliver(answer);
    }

    fn deliver(&mut self, answer: Answer) {
        match answer {
            Answer::Outcome(order, outcome) => self.settle(order.order, order.attempt, outcome),
            Answer::NeverArrived(ProviderOrder { order, attempt, .. }) => {
                self.tell(Command::RepeatCharge { order, attempt });
            }
            Answer::Refunded(ProviderOrder { order, attempt, .. }) => {
                self.tell(Command::RecordRefund { order, attempt });
            }
        }
    }

    /// The caller waits in vain, and asks again.
    fn lose(&mut self, answer: Answer) {
        let effect = match answer {
            Answer::Outcome(order, _) | Answer::NeverArrived(order) => {
                let (id, attempt) = (order.order, order.attempt);
                self.tell(Command::DeferPayment { order: id, attempt });
                Effect::LookUp(order)
            }
            Answer::Refunded(order) => {
                self.tell(Command::DeferRefund { order: order.order });
                Effect::Refund(order)
            }
        };
        self.calls.push(Call {
            effect,
            has_caller: true,
            is_sent: true,
        });
    }

    fn webhook(&mut self) {
        let Some((order, attempt, outcome)) = self.take_some(|scene| &mut scene.webhooks) else {
            return;
        };
        let known = self.till.order(order);
        let known = known.attempt(attempt).expect("an attempt that was charged");
        let is_answered = known.state != AttemptState::Pending;
        self.seen.repeated += u64::from(is_answered);
        self.seen.before_the_answer += u64::from(!is_answered);
        self.settle(order, attempt, outcome);
    }

    fn settle(&mut self, order: OrderId, attempt: AttemptId, outcome: PaymentOutcome) {
        self.sweep();
        let before = self.till.order(order).state;
        self.tell(Command::SettlePayment {
            order,
            attempt,
            outcome,
            amount: None,
        });
        match (before, self.till.order(order).state) {
            (OrderState::Expired, OrderState::Paid) => self.seen.late_reclaimed += 1,
            (OrderState::Expired, OrderState::PaidUnfulfilled) => self.seen.late_refunded += 1,
            _ => {}
        }
    }

    // The server.

    fn tell(&mut self, command: Command) {
        let (_, effects) = self.till.tell(command);
        self.take_up(effects);
    }

    fn take_up(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Withdraw { order, attempt } => self.withdraw(order, attempt),
                Effect::Charge { .. } | Effect::LookUp(_) | Effect::Refund(_) => {
                    // Elsewhere there is no queue.
                    let is_sent = self.race != Race::Queue || self.dice.below(4) == 0;
                    self.calls.push(Call {
                        effect,
                        has_caller: true,
                        is_sent,
                    });
                }
            }
        }
    }

    /// A charge that waits is taken out of the queue, and the order hears that nothing was taken.
    fn withdraw(&mut self, id: OrderId, attempt: AttemptId) {
        let waits = |call: &Call| {
            !call.is_sent
                && matches!(&call.effect, Effect::Charge { order, .. } if order.attempt == attempt)
        };
        let Some(place) = self.calls.iter().position(waits) else {
            return;
        };
        self.calls.remove(place);
        self.seen.withdrawn += 1;
        self.settle(id, attempt, PaymentOutcome::Declined);
        assert!(
            self.till.order(id).hold_end().is_none(),
            "it could be settled at once"
        );
    }

    fn sweep(&mut self) {
        let effects = self.till.sweep();
        self.take_up(effects);
    }

    fn time_passes(&mut self) {
        let secs: &[u32] = match self.race {
            Race::LateSuccess => &[1, 30, 200],
            Race::Queue => &[1, 200, 200],
            _ => &[1, 5, 60],
        };
        let secs = self.dice.pick(secs);
        self.till.pass(Span::from_secs(secs));
        // In a queue the timer is so late that a charge has its turn before it.
        if self.race != Race::Queue {
            self.sweep();
        }
    }

    fn crash(&mut self) {
        self.till.restart();
        self.come_back();
    }

    fn die_over(&mut self, command: Command) {
        self.till.tell_in_vain(command);
        self.come_back();
    }

    /// Answers find nobody any more; of the calls some were sent already. The server asks about all it does not know.
    fn come_back(&mut self) {
        let is_taken =
            |answer: &Answer| matches!(answer, Answer::Outcome(_, PaymentOutcome::Captured));
        let lost = self.answers.drain(..).filter(is_taken).count();
        self.seen.result_lost += lost as u64;
        let dice = &mut self.dice;
        self.calls.retain(|call| call.is_sent && dice.below(2) == 0);
        self.calls
            .iter_mut()
            .for_each(|call| call.has_caller = false);
        let unfinished = self.till.cell.unfinished_effects();
        self.take_up(unfinished);
    }

    /// Everything on its way arrives, and long after the last deadline still nothing is open.
    fn calm_down(&mut self) {
        for pause in [Span::from_secs(0), Span::from_secs(600), Span::from_secs(0)] {
            self.till.pass(pause);
            self.sweep();
            while !(self.calls.is_empty() && self.answers.is_empty() && self.webhooks.is_empty()) {
                self.arrive();
                self.webhook();
                if let Some(answer) = self.take_some(|scene| &mut scene.answers) {
                    self.deliver(answer);
                }
            }
        }
    }

    // The books.

    /// At every moment, whatever the server knows of it.
    fn check_bank(&self) {
        let mut captured: BTreeMap<OrderId, u64> = BTreeMap::new();
        for account in self.bank.accounts.values() {
            let is_captured = account.outcome == PaymentOutcome::Captured;
            *captured.entry(account.order).or_default() += u64::from(is_captured);
            assert!(
                is_captured || !account.is_refunded,
                "more went back than came"
            );
        }
        for (order, times) in captured {
            assert!(times <= 1, "{order} was captured {times} times");
        }
    }

    fn check_books(&self) {
        self.check_bank();
        let (mut money, mut price, mut sold) = (0, 0, 0);
        for (id, _) in &self.orders {
            let order = self.till.order(*id);
            let attempts = order.attempts.iter();
            assert!(
                attempts
                    .clone()
                    .all(|it| !it.is_pending() && it.refund != RefundState::Due),
                "{order:?} is not settled"
            );
            let kept = self.bank.kept(*id);
            let owns = order.state == OrderState::Paid;
            assert!(owns || order.hold_end().is_none(), "{order:?} still holds");
            assert_eq!(kept, if owns { order.total() } else { 0 }, "{order:?}");
            money += kept;
            price += i64::from(owns) * order.total();
            sold += u64::from(owns)
                * order
                    .lines
                    .iter()
                    .map(|it| u64::from(it.quantity.get()))
                    .sum::<u64>();
            for attempt in attempts {
                let known = self.bank.accounts.get(&attempt.id).map(|it| it.outcome);
                let is_captured = attempt.state == AttemptState::Captured;
                assert_eq!(
                    is_captured,
                    known == Some(PaymentOutcome::Captured),
                    "{attempt:?}"
                );
            }
        }
        assert_eq!(money, price, "the bank's books and the shop's");
        let (lamp, _) = self.till.cell.snapshot(Till::lamp()).expect("on sale");
        assert_eq!((lamp.stock.sold, lamp.stock.held), (sold, 0));
    }

    // Drawing.

    fn some_order(&mut self, states: &[OrderState]) -> Option<(OrderId, u64)> {
        let till = &self.till;
        let matching = self.orders.iter().copied();
        let matching = matching.filter(|(id, _)| states.contains(&till.order(*id).state));
        self.dice.pick_any(matching)
    }

    fn take_some<T>(&mut self, list: impl Fn(&mut Self) -> &mut Vec<T>) -> Option<T> {
        let length = list(self).len() as u64;
        if length == 0 {
            return None;
        }
        let index = usize::try_from(self.dice.below(length)).expect("few");
        Some(list(self).swap_remove(index))
    }
}

impl Bank {
    /// The first answer stands; `true` if this was the first.
    fn charge(&mut self, order: &ProviderOrder, dice: &mut Dice) -> (PaymentOutcome, bool) {
        if let Some(known) = self.accounts.get(&order.attempt) {
            return (known.outcome, false);
        }
        let outcome = if dice.below(4) == 0 {
            PaymentOutcome::Declined
        } else {
            PaymentOutcome::Captured
        };
        let account = Account {
            order: order.order,
            amount: order.amount.amount,
            outcome,
            is_refunded: false,
        };
        self.accounts.insert(order.attempt, account);
        (outcome, true)
    }

    fn refund(&mut self, order: &ProviderOrder) {
        let account = self.accounts.get_mut(&order.attempt);
        let account = account.expect("a refund of what was never asked for");
        assert_eq!(
            account.outcome,
            PaymentOutcome::Captured,
            "a refund of nothing"
        );
        assert_eq!(
            account.amount, order.amount.amount,
            "a refund of another sum"
        );
        account.is_refunded = true;
    }

    fn kept(&self, order: OrderId) -> i64 {
        let accounts = self.accounts.values().filter(|it| it.order == order);
        let kept = accounts.filter(|it| it.outcome == PaymentOutcome::Captured && !it.is_refunded);
        kept.map(|it| it.amount).sum()
    }
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.late_reclaimed += other.late_reclaimed;
        self.late_refunded += other.late_refunded;
        self.repeated += other.repeated;
        self.before_the_answer += other.before_the_answer;
        self.cancelled_paying += other.cancelled_paying;
        self.cancelled_paid += other.cancelled_paid;
        self.never_arrived += other.never_arrived;
        self.result_lost += other.result_lost;
        self.withdrawn += other.withdrawn;
        self.unsent_at_the_cap += other.unsent_at_the_cap;
    }
}
