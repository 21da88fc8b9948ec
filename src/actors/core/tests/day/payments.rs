//! The payment provider with its ledger, and the side of the shop that calls it.
//!
//! The provider is idempotent by attempt. Calls and answers are lost, late or stuck for hours; what it knows it tells by
//! webhooks until somebody acknowledges them. What the shop's side knows of its calls is gone with the process.

use std::collections::BTreeMap;

use super::queue::SimEvent;
use super::world::{Asker, World};
use crate::actors::core::message::{
    Answer, Command, Effect, ProviderOrder, Refusal, Reply, ReplyTo,
};
use crate::domain::{
    AttemptId, AttemptState, Money, OrderId, PaymentOutcome, RefundState, Span, Timestamp,
};

pub(super) type CallId = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    Charge,
    LookUp,
    Refund,
}

/// What the provider said to a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Returned {
    Charged(PaymentOutcome),
    Known(Option<PaymentOutcome>),
    Refunded,
}

/// What the provider keeps.
#[derive(Debug, Default)]
pub(super) struct Provider {
    ledger: BTreeMap<AttemptId, Entry>,
    pub(super) away_until: Timestamp,
    webhooks: Vec<Webhook>,
    /// The last call had no clear answer.
    is_unclear: bool,
}

#[derive(Debug)]
struct Entry {
    order: OrderId,
    amount: Money,
    outcome: PaymentOutcome,
    refunded: bool,
}

#[derive(Debug, Clone, Copy)]
struct Webhook {
    attempt: AttemptId,
    acknowledged: bool,
    tries: u32,
}

/// A call that is under way, as the shop sees it.
#[derive(Debug)]
pub(super) struct Call {
    errand: Errand,
    order: ProviderOrder,
    /// Until the next one, if this one gets no answer.
    pause: Span,
}

const ANSWER_WITHIN: Span = Span::from_secs(3);
const ERRAND_WITHIN: Span = Span::from_secs(30);
const RETRY_FIRST: Span = Span::from_secs(1);
const RETRY_LAST: Span = Span::from_secs(60);

impl Provider {
    fn charge(&mut self, order: &ProviderOrder, drawn: PaymentOutcome) -> (PaymentOutcome, bool) {
        let is_new = !self.ledger.contains_key(&order.attempt);
        let entry = self.ledger.entry(order.attempt).or_insert_with(|| Entry {
            order: order.order,
            amount: order.amount,
            outcome: drawn,
            refunded: false,
        });
        assert_eq!((entry.order, entry.amount), (order.order, order.amount));
        (entry.outcome, is_new)
    }

    fn refund(&mut self, order: &ProviderOrder) {
        let entry = self.ledger.get_mut(&order.attempt);
        let entry = entry.expect("a refund of a payment that the provider never heard of");
        assert_eq!(
            entry.outcome,
            PaymentOutcome::Captured,
            "a refund of nothing"
        );
        assert_eq!(entry.amount, order.amount, "a refund of another sum");
        entry.refunded = true;
    }
}

impl World {
    // -- the shop's side -----------------------------------------------------------------------------------------

    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Charge { order, .. } => self.call(Errand::Charge, order, RETRY_FIRST),
            // The provider of this world is sent everything at once: nothing waits that could be withdrawn.
            Effect::Withdraw { .. } => {}
            Effect::LookUp(order) => self.call_after(RETRY_FIRST, Errand::LookUp, order),
            Effect::Refund(order) => self.call(Errand::Refund, order, RETRY_FIRST),
        }
    }

    fn call_after(&mut self, pause: Span, errand: Errand, order: ProviderOrder) {
        let at = self.now().plus(pause);
        let again = SimEvent::CallAgain(errand, order, pause);
        self.events.in_life(self.life, at, again);
    }

    pub(super) fn call(&mut self, errand: Errand, order: ProviderOrder, pause: Span) {
        let now = self.now();
        self.last_call += 1;
        let id = self.last_call;
        let rates = &self.options.provider;
        let random = &mut self.random.provider;
        let is_healed = now >= super::options::HEALED;
        if is_healed || !random.chance(rates.lost) {
            let is_stuck = !is_healed && errand == Errand::Charge && random.chance(rates.stuck);
            let way = if is_stuck {
                random.secs(10, 20_000)
            } else if random.chance(rates.slow) {
                random.millis(500, 5_000)
            } else {
                random.millis(10, 400)
            };
            let arrives = SimEvent::CallArrives(id, errand, order.clone());
            self.events.at(now.plus(way), arrives);
        }
        let call = Call {
            errand,
            order,
            pause,
        };
        self.calls.insert(id, call);
        let late_at = now.plus(ANSWER_WITHIN);
        self.events
            .in_life(self.life, late_at, SimEvent::CallIsLate(id));
    }

    pub(super) fn call_returns(&mut self, id: CallId, returned: Returned) {
        let Some(Call { order, .. }) = self.calls.remove(&id) else {
            return;
        };
        self.note_call(true);
        let (order, attempt) = (order.order, order.attempt);
        let command = match returned {
            Returned::Charged(outcome) | Returned::Known(Some(outcome)) => Command::SettlePayment {
                order,
                attempt,
                outcome,
                amount: None,
            },
            Returned::Known(None) => {
                self.oracle
                    .marks
                    .hit("the provider never heard of an attempt");
                Command::RepeatCharge { order, attempt }
            }
            Returned::Refunded => Command::RecordRefund { order, attempt },
        };
        self.tell(command);
    }

    /// Whoever waits is told that it takes longer. A charge is given up and looked up from then on.
    pub(super) fn call_is_late(&mut self, id: CallId) {
        let Some(Call { errand, order, .. }) = self.calls.get(&id) else {
            return;
        };
        let (errand, order) = (*errand, order.clone());
        self.tell(match errand {
            Errand::Charge | Errand::LookUp => Command::DeferPayment {
                order: order.order,
                attempt: order.attempt,
            },
            Errand::Refund => Command::DeferRefund { order: order.order },
        });
        if errand == Errand::Charge {
            self.calls.remove(&id);
            self.note_call(false);
            self.call_after(RETRY_FIRST, Errand::LookUp, order);
        } else {
            let at = self.now().plus(ERRAND_WITHIN);
            self.events
                .in_life(self.life, at, SimEvent::CallTimesOut(id));
        }
    }

    pub(super) fn call_times_out(&mut self, id: CallId) {
        let Some(call) = self.calls.remove(&id) else {
            return;
        };
        self.note_call(false);
        let doubled = Span::from_micros_u64(call.pause.as_micros() * 2);
        self.call_after(doubled.min(RETRY_LAST), call.errand, call.order);
    }

    /// Clear answers are told only when they are news.
    fn note_call(&mut self, answered: bool) {
        let was_unclear = std::mem::replace(&mut self.provider.is_unclear, !answered);
        if !answered || was_unclear {
            self.tell(Command::NoteProvider { answered });
        }
    }

    fn tell(&mut self, command: Command) {
        self.send(command, ReplyTo::Nobody);
    }

    // -- the provider's side -------------------------------------------------------------------------------------

    pub(super) fn call_arrives(&mut self, id: CallId, errand: Errand, order: &ProviderOrder) {
        let now = self.now();
        if now < self.provider.away_until {
            return self.oracle.marks.hit("the provider is away");
        }
        let is_healed = now >= super::options::HEALED;
        let returned = match errand {
            Errand::Charge => self.charge(order),
            Errand::LookUp => {
                let entry = self.provider.ledger.get(&order.attempt);
                Returned::Known(entry.map(|it| it.outcome))
            }
            Errand::Refund => {
                self.provider.refund(order);
                Returned::Refunded
            }
        };
        let random = &mut self.random.provider;
        if is_healed || !random.chance(self.options.provider.unanswered) {
            let at = now.plus(random.millis(5, 200));
            let returns = SimEvent::CallReturns(id, returned);
            self.events.in_life(self.life, at, returns);
        }
    }

    fn charge(&mut self, order: &ProviderOrder) -> Returned {
        let random = &mut self.random.provider;
        let rates = &self.options.provider;
        let drawn = match random.chance(rates.declined) {
            true => PaymentOutcome::Declined,
            false => PaymentOutcome::Captured,
        };
        let (outcome, is_new) = self.provider.charge(order, drawn);
        let is_told = outcome == PaymentOutcome::Captured || random.chance(50);
        if is_new && is_told {
            let is_repeated = random.chance(rates.repeated_webhooks);
            for _ in 0..=u8::from(is_repeated) {
                self.plan_webhook(order.attempt);
            }
        }
        Returned::Charged(outcome)
    }

    fn plan_webhook(&mut self, attempt: AttemptId) {
        let random = &mut self.random.provider;
        let is_late = random.chance(self.options.provider.late_webhooks);
        let delay = if is_late {
            random.secs(60, 14 * 3_600)
        } else {
            random.millis(0, 3_000)
        };
        let number = self.provider.webhooks.len();
        self.provider.webhooks.push(Webhook {
            attempt,
            acknowledged: false,
            tries: 0,
        });
        self.events.after(delay, SimEvent::Webhook(number));
    }

    /// The provider tells what it knows, until that is acknowledged.
    pub(super) fn webhook(&mut self, number: usize) {
        let webhook = &mut self.provider.webhooks[number];
        if webhook.acknowledged {
            return;
        }
        webhook.tries += 1;
        let attempt = webhook.attempt;
        let again = self
            .random
            .provider
            .secs(5, 60 + webhook.tries.min(40) * 30);
        self.events.after(again, SimEvent::Webhook(number));
        let entry = &self.provider.ledger[&attempt];
        let order = entry.order;
        let command = Command::SettlePayment {
            order,
            attempt,
            outcome: entry.outcome,
            amount: Some(entry.amount),
        };
        let core = self.process.as_ref().map(|process| &process.core);
        let has_left = core.is_some_and(|core| !core.cell().has_order(order));
        let is_sent = self.ask(Asker::Provider(number), command);
        let marks = &mut self.oracle.marks;
        marks.hit_if(
            is_sent && has_left,
            "a webhook for an order that has left memory",
        );
    }

    pub(super) fn webhook_answered(&mut self, number: usize, answer: &Answer) {
        match answer {
            Ok(Reply::Done) => self.provider.webhooks[number].acknowledged = true,
            Err(Refusal::Rejected(rejection)) => panic!("a webhook was refused: {rejection:?}"),
            Err(_) => {}
            Ok(other) => panic!("a webhook was answered by {other:?}"),
        }
    }

    /// At the end, what the orders say of each attempt is what the provider has.
    pub(super) fn check_ledger(&self) {
        let mut known = BTreeMap::new();
        for order in self.oracle.cell.orders() {
            for attempt in &order.attempts {
                known.insert(attempt.id, (order.money(), attempt.state, attempt.refund));
            }
        }
        for (attempt, (amount, state, refund)) in &known {
            let entry = self.provider.ledger.get(attempt);
            let taken = entry.filter(|it| it.outcome == PaymentOutcome::Captured);
            let expected = match (state, refund) {
                (AttemptState::Declined, _) => None,
                (AttemptState::Captured, RefundState::NotDue) => Some((*amount, false)),
                (AttemptState::Captured, RefundState::Done) => Some((*amount, true)),
                (AttemptState::Pending, _) | (_, RefundState::Due) => {
                    panic!("attempt {attempt} never came to its end: {state:?}, {refund:?}")
                }
            };
            let taken = taken.map(|entry| (entry.amount, entry.refunded));
            assert_eq!(taken, expected, "money of attempt {attempt}");
        }
        for attempt in self.provider.ledger.keys() {
            assert!(
                known.contains_key(attempt),
                "{attempt} is the provider's alone"
            );
        }
    }
}
