//! Sends what is due to the provider, and tells the engine how it ended.
//!
//! One task looks at the schedule whenever something has changed or is due; each call has a task of its own, and there are
//! only so many calls. A charge that waits has not been sent, so nobody asks what became of it; one that was sent has
//! `call_within`, counted from then.

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::PaymentTimes;
use super::counters::PaymentCounters;
use super::schedule::{Act, Job, Overdue, Schedule};
use crate::actors::core::message::{Command, Effect, ProviderOrder};
use crate::actors::engine::EngineLink;
use crate::domain::{AttemptId, OrderId, PaymentOutcome, Span, Timestamp};
use crate::gateways::payment::{CallError, Charge, PaymentProvider};

#[derive(Debug)]
pub(super) struct Dispatcher {
    provider: Arc<dyn PaymentProvider>,
    engine: EngineLink,
    times: PaymentTimes,
    schedule: RefCell<Schedule>,
    changed: Notify,
    /// The engine is told that the provider answers only when it is news.
    was_away: Cell<bool>,
}

impl Dispatcher {
    pub(super) fn new(
        provider: Arc<dyn PaymentProvider>,
        engine: EngineLink,
        times: PaymentTimes,
        calls_max: usize,
    ) -> Self {
        Self {
            provider,
            engine,
            times,
            schedule: RefCell::new(Schedule::new(calls_max)),
            changed: Notify::new(),
            was_away: Cell::new(false),
        }
    }

    pub(super) fn accept(&self, effect: Effect) {
        match effect {
            Effect::Charge { order, send_by } => self.add(Act::Charge { send_by }, order),
            Effect::Withdraw { attempt, .. } => self.withdraw(attempt),
            // The call whose end is not known may still be on its way.
            Effect::LookUp(order) => self.try_again(self.job(Act::LookUp, order)),
            Effect::Refund(order) => self.add(Act::Refund, order),
        }
        self.changed.notify_one();
    }

    /// A result that the provider has sent by itself.
    pub(super) fn settle(&self, order: OrderId, attempt: AttemptId, outcome: PaymentOutcome) {
        self.engine.tell(Command::SettlePayment {
            order,
            attempt,
            outcome,
            amount: None,
        });
    }

    /// Must be called within a local runtime. Never ends.
    pub(super) async fn run(self: Rc<Self>) {
        loop {
            let now = Instant::now();
            while let Some(job) = self.next_due(now) {
                Self::begin(&self, job);
            }
            while let Some(overdue) = self.next_overdue(now) {
                self.defer(overdue);
            }
            self.show_load(now);
            let next_wake = self.schedule.borrow().next_wake();
            tokio::select! {
                () = self.changed.notified() => {}
                () = until(next_wake) => {}
            }
        }
    }

    fn add(&self, act: Act, order: ProviderOrder) {
        let job = self.job(act, order);
        let due = job.since;
        self.schedule.borrow_mut().add(job, due);
    }

    fn job(&self, act: Act, order: ProviderOrder) -> Job {
        let now = Instant::now();
        Job {
            act,
            order,
            since: now,
            answer_by: Some(now + self.times.answer_within),
            pause: self.times.retry_first,
            refusal: None,
        }
    }

    fn next_due(&self, now: Instant) -> Option<Job> {
        self.schedule.borrow_mut().take(now)
    }

    fn next_overdue(&self, now: Instant) -> Option<Overdue> {
        self.schedule.borrow_mut().take_overdue(now)
    }

    // -- calls ---------------------------------------------------------------------------------------------------

    fn begin(this: &Rc<Self>, job: Job) {
        if let Act::Charge { send_by } = job.act
            && this.engine.now() >= send_by
        {
            this.schedule.borrow_mut().finish(&job);
            return this.settle_unsent(&job.order);
        }
        tokio::task::spawn_local(Rc::clone(this).call(job));
    }

    async fn call(self: Rc<Self>, job: Job) {
        match job.act {
            Act::Charge { .. } => {
                let charged = self.provider.charge(charge_of(&job.order));
                let end = self.ask(charged).await;
                self.end_charge(job, end);
            }
            Act::LookUp => {
                let looked_up = self.provider.look_up(job.order.attempt, job.since);
                let end = self.ask(looked_up).await;
                self.end_look_up(job, end);
            }
            Act::Refund => {
                let refunded = self.provider.refund(charge_of(&job.order));
                let end = self.ask(refunded).await;
                self.end_refund(job, end);
            }
        }
        self.changed.notify_one();
    }

    /// A client that panics has given no answer, and must not keep its place for ever.
    async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let limit = self.times.call_within;
        let call = AssertUnwindSafe(call).catch_unwind();
        let answer = match tokio::time::timeout(limit, call).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_panic)) => Err(CallError::Unavailable("its client crashed".into())),
            Err(_elapsed) => Err(CallError::Unavailable(format!(
                "no answer within {limit:?}"
            ))),
        };
        self.note_health(answer.as_ref().err().is_none_or(CallError::is_answer));
        answer
    }

    fn note_health(&self, answered: bool) {
        let was_away = self.was_away.replace(!answered);
        if !answered || was_away {
            self.engine.tell(Command::NoteProvider { answered });
        }
    }

    // -- how they end --------------------------------------------------------------------------------------------

    fn end_charge(&self, mut job: Job, end: Result<PaymentOutcome, CallError>) {
        let ProviderOrder { order, attempt, .. } = job.order;
        self.counters().count_charge(&end);
        match end {
            Ok(outcome) => {
                self.schedule.borrow_mut().finish(&job);
                self.settle(order, attempt, outcome);
            }
            Err(CallError::Refused(words)) => {
                tracing::warn!(
                    order.id = %order, attempt.id = %attempt,
                    "the payment provider refused a charge, which is declined: {words}"
                );
                self.schedule.borrow_mut().finish(&job);
                self.settle(order, attempt, PaymentOutcome::Declined);
            }
            Err(error @ (CallError::Unsettled(_) | CallError::Unavailable(_))) => {
                tracing::warn!(attempt.id = %attempt, %error, "payment deferred");
                self.say_it_takes_longer(&mut job);
                self.schedule.borrow_mut().finish(&job);
                self.try_again(Job {
                    act: Act::LookUp,
                    since: Instant::now(),
                    ..job
                });
            }
        }
    }

    /// Asks until there is an answer, however long it takes.
    fn end_look_up(&self, mut job: Job, end: Result<Option<PaymentOutcome>, CallError>) {
        let ProviderOrder { order, attempt, .. } = job.order;
        self.counters().count_look_up(&end);
        match end {
            Ok(Some(outcome)) => {
                self.schedule.borrow_mut().finish(&job);
                self.settle(order, attempt, outcome);
            }
            Ok(None) => {
                self.schedule.borrow_mut().finish(&job);
                self.engine.tell(Command::RepeatCharge { order, attempt });
            }
            Err(error) => {
                tracing::debug!(attempt.id = %attempt, %error, "look-up without an answer");
                self.say_it_takes_longer(&mut job);
                self.schedule.borrow_mut().finish(&job);
                self.try_again(job);
            }
        }
    }

    /// Tries until the money is back; rarely, if the provider has said in its own words that it will not give it.
    fn end_refund(&self, mut job: Job, end: Result<(), CallError>) {
        let ProviderOrder { order, attempt, .. } = job.order;
        self.counters().count_refund(&end);
        let Err(error) = end else {
            self.schedule.borrow_mut().finish(&job);
            return self.engine.tell(Command::RecordRefund { order, attempt });
        };
        self.say_it_takes_longer(&mut job);
        self.schedule.borrow_mut().finish(&job);
        match error {
            CallError::Refused(words) => {
                if job.refusal.as_ref() != Some(&words) {
                    tracing::error!(
                        order.id = %order, attempt.id = %attempt,
                        "the payment provider refuses to give money back, which stays due: {words}"
                    );
                }
                job.refusal = Some(words);
                let due = Instant::now() + self.times.refused_again;
                self.schedule.borrow_mut().add(job, due);
            }
            CallError::Unsettled(_) | CallError::Unavailable(_) => {
                tracing::warn!(attempt.id = %attempt, %error, "refund to be repeated");
                self.try_again(job);
            }
        }
    }

    /// After the pause, and the next time after twice as long.
    fn try_again(&self, mut job: Job) {
        let due = Instant::now() + job.pause;
        job.pause = (job.pause * 2).min(self.times.retry_last);
        self.schedule.borrow_mut().add(job, due);
    }

    // -- what the engine is told ---------------------------------------------------------------------------------

    /// The order can no longer be paid: nothing is sent, so nothing is taken.
    fn withdraw(&self, attempt: AttemptId) {
        let withdrawn = self.schedule.borrow_mut().withdraw(attempt);
        if let Some(job) = withdrawn {
            self.settle_unsent(&job.order);
        }
    }

    fn settle_unsent(&self, order: &ProviderOrder) {
        self.counters().count_unsent();
        tracing::debug!(
            order.id = %order.order, attempt.id = %order.attempt,
            "a charge was not sent: its order can no longer be paid"
        );
        self.settle(order.order, order.attempt, PaymentOutcome::Declined);
    }

    /// Said twice, it changes nothing.
    fn say_it_takes_longer(&self, job: &mut Job) {
        let overdue = self.schedule.borrow_mut().hear(job);
        self.defer(overdue);
    }

    fn defer(&self, overdue: Overdue) {
        let Overdue {
            order,
            attempt,
            is_refund,
        } = overdue;
        self.engine.tell(if is_refund {
            Command::DeferRefund { order }
        } else {
            Command::DeferPayment { order, attempt }
        });
    }

    // -- what operators are shown --------------------------------------------------------------------------------

    fn counters(&self) -> &PaymentCounters {
        &self.engine.counters().payments
    }

    fn show_load(&self, now: Instant) {
        let load = self.schedule.borrow().load();
        let age = load.oldest_charge_since.map(|since| now - since);
        let oldest = age.map(|age| before(self.engine.now(), age));
        self.counters().show(load, oldest);
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let age = Span::from_micros_u64(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
    Timestamp::from_micros(now.as_micros().saturating_sub(age.as_micros()))
}

fn charge_of(order: &ProviderOrder) -> Charge {
    Charge {
        order: order.order,
        attempt: order.attempt,
        method: order.method.clone(),
        amount: order.amount,
    }
}
