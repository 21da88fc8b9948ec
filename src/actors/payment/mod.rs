//! The actor that owns attempts to pay: it calls the provider, waits, asks again, and gives money back.
//!
//! It lives on a thread of its own, so that a slow provider never makes the engine wait. What it is told was durable
//! before it was told; what it finds out goes to the engine as a command, and counts once the journal has that.
//! It keeps nothing: after a restart the engine tells it again what is unfinished.
//!
//! At most `calls_max` charges are under way at once, and as many look-ups and refunds beside them. The next waits its
//! turn, within its own time: a charge that gets none was never sent, is deferred like one without an answer, and the
//! look-up after it finds that out.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, StreamHandler};
use futures_util::stream;
use tokio::sync::{Semaphore, mpsc};

use crate::actors::core::message::{Command, Effect, ProviderOrder};
use crate::actors::engine::EngineLink;
use crate::domain::PaymentOutcome;
use crate::gateways::payment::{Charge, Notice, PaymentProvider, Unclear};

/// Work that the journal has made safe to do.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub(crate) struct Effects(pub(crate) Vec<Effect>);

#[derive(Debug, Clone, Copy)]
pub struct PaymentTimes {
    /// How long a buyer waits for the provider before being told that the payment is pending.
    pub answer_within: Duration,
    /// How long a look-up or a refund may take, for which nobody waits any more.
    pub errand_within: Duration,
    /// The first pause before asking the provider again; each pause is twice the one before, up to the last.
    pub retry_first: Duration,
    pub retry_last: Duration,
}

impl Default for PaymentTimes {
    fn default() -> Self {
        Self {
            answer_within: Duration::from_secs(3),
            errand_within: Duration::from_secs(30),
            retry_first: Duration::from_secs(1),
            retry_last: Duration::from_secs(60),
        }
    }
}

#[derive(Debug)]
pub(crate) struct PaymentActor {
    desk: Desk,
    notices: Option<mpsc::Receiver<Notice>>,
}

/// What every attempt needs to be seen through.
#[derive(Debug, Clone)]
struct Desk {
    provider: Arc<dyn PaymentProvider>,
    engine: EngineLink,
    times: PaymentTimes,
    charges: Arc<Semaphore>,
    errands: Arc<Semaphore>,
    /// The engine is told of clear answers only when they are news.
    was_unclear: Arc<AtomicBool>,
}

impl PaymentActor {
    /// Batches of effects waiting; the engine keeps what does not fit and offers it again.
    const MAILBOX: usize = 1_024;

    pub(crate) fn new(
        provider: Arc<dyn PaymentProvider>,
        notices: Option<mpsc::Receiver<Notice>>,
        engine: EngineLink,
        times: PaymentTimes,
        calls_max: usize,
    ) -> Self {
        Self {
            desk: Desk {
                provider,
                engine,
                times,
                charges: Arc::new(Semaphore::new(calls_max)),
                errands: Arc::new(Semaphore::new(calls_max)),
                was_unclear: Arc::new(AtomicBool::new(false)),
            },
            notices,
        }
    }
}

impl Actor for PaymentActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(Self::MAILBOX);
        if let Some(notices) = self.notices.take() {
            context.add_stream(stream::unfold(notices, async |mut notices| {
                let notice = notices.recv().await?;
                Some((notice, notices))
            }));
        }
    }
}

impl Handler<Effects> for PaymentActor {
    type Result = ();

    fn handle(&mut self, Effects(effects): Effects, _: &mut Self::Context) {
        for effect in effects {
            let desk = self.desk.clone();
            actix::spawn(async move { desk.see_to(effect).await });
        }
    }
}

impl StreamHandler<Notice> for PaymentActor {
    fn handle(&mut self, notice: Notice, _: &mut Self::Context) {
        self.desk.engine.tell(Command::SettlePayment {
            order: notice.order,
            attempt: notice.attempt,
            outcome: notice.outcome,
            amount: None,
        });
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Desk {
    async fn see_to(&self, effect: Effect) {
        match effect {
            Effect::Charge(order) => self.charge(order).await,
            Effect::LookUp(order) => self.look_up(order).await,
            Effect::Refund(order) => self.refund(order).await,
        }
    }

    /// A time-out is not a decline: the buyer is told that it takes longer, and the provider is asked what became of it.
    async fn charge(&self, order: ProviderOrder) {
        let asked = self.call(&self.charges, || self.provider.charge(charge_of(&order)));
        match within(self.times.answer_within, asked).await {
            Ok(outcome) => self.settle(&order, outcome),
            Err(unclear) => {
                tracing::warn!(attempt.id = %order.attempt, error = %unclear, "payment deferred");
                self.defer(&order);
                self.look_up(order).await;
            }
        }
    }

    /// Asks until there is a clear answer, however long it takes.
    async fn look_up(&self, order: ProviderOrder) {
        let mut pause = self.times.retry_first;
        loop {
            tokio::time::sleep(pause).await;
            let asked = self.call(&self.errands, || self.provider.look_up(order.attempt));
            match self.patiently(asked, || self.defer(&order)).await {
                Ok(Some(outcome)) => return self.settle(&order, outcome),
                Ok(None) => {
                    return self.engine.tell(Command::RepeatCharge {
                        order: order.order,
                        attempt: order.attempt,
                    });
                }
                Err(unclear) => {
                    tracing::debug!(attempt.id = %order.attempt, error = %unclear, "look-up unclear");
                }
            }
            pause = (pause * 2).min(self.times.retry_last);
        }
    }

    /// Tries until the money is back. A buyer who waits is told after a while that it takes longer.
    async fn refund(&self, order: ProviderOrder) {
        let mut pause = self.times.retry_first;
        loop {
            let asked = self.call(&self.errands, || self.provider.refund(charge_of(&order)));
            match self.patiently(asked, || self.defer_refund(&order)).await {
                Ok(()) => {
                    return self.engine.tell(Command::RecordRefund {
                        order: order.order,
                        attempt: order.attempt,
                    });
                }
                Err(unclear) => {
                    tracing::warn!(attempt.id = %order.attempt, error = %unclear, "refund to be repeated");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.times.retry_last);
        }
    }

    /// One call, when it is its turn.
    async fn call<T, Asked>(
        &self,
        turns: &Semaphore,
        ask: impl FnOnce() -> Asked,
    ) -> Result<T, Unclear>
    where
        Asked: Future<Output = Result<T, Unclear>>,
    {
        let Ok(_turn) = turns.acquire().await else {
            return Err(Unclear("nothing is asked any more".into()));
        };
        // A call that is given up has no clear answer either.
        let mut note = CallNote {
            desk: self,
            answered: false,
        };
        let answer = ask().await;
        note.answered = answer.is_ok();
        answer
    }

    /// Gives a call all the time it may need, and says when it takes longer than a buyer should wait, or fails.
    async fn patiently<T>(
        &self,
        asked: impl Future<Output = Result<T, Unclear>>,
        say: impl FnOnce(),
    ) -> Result<T, Unclear> {
        let mut asked = pin!(asked);
        match tokio::time::timeout(self.times.answer_within, &mut asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(unclear)) => {
                say();
                Err(unclear)
            }
            Err(_elapsed) => {
                say();
                within(self.times.errand_within, asked).await
            }
        }
    }

    fn note(&self, answered: bool) {
        let was_unclear = self.was_unclear.swap(!answered, Ordering::Relaxed);
        if !answered || was_unclear {
            self.engine.tell(Command::NoteProvider { answered });
        }
    }

    fn defer_refund(&self, order: &ProviderOrder) {
        self.engine
            .tell(Command::DeferRefund { order: order.order });
    }

    /// Whoever waits for the first answer is told that it takes longer; said twice, it changes nothing.
    fn defer(&self, order: &ProviderOrder) {
        self.engine.tell(Command::DeferPayment {
            order: order.order,
            attempt: order.attempt,
        });
    }

    fn settle(&self, order: &ProviderOrder, outcome: PaymentOutcome) {
        self.engine.tell(Command::SettlePayment {
            order: order.order,
            attempt: order.attempt,
            outcome,
            amount: None,
        });
    }
}

/// Tells the engine how a call has ended, also if it was given up.
struct CallNote<'a> {
    desk: &'a Desk,
    answered: bool,
}

impl Drop for CallNote<'_> {
    fn drop(&mut self) {
        self.desk.note(self.answered);
    }
}

async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = Result<T, Unclear>>,
) -> Result<T, Unclear> {
    match tokio::time::timeout(limit, asked).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(Unclear(format!("no answer within {limit:?}"))),
    }
}

fn charge_of(order: &ProviderOrder) -> Charge {
    Charge {
        order: order.order,
        attempt: order.attempt,
        method: order.method.clone(),
        amount: order.amount,
    }
}
