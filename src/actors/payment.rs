//! The actor that owns attempts to pay: it calls the provider, waits, asks again, and gives money back.
//!
//! It lives on a thread of its own, so that a slow provider never makes the engine wait. What it is told was durable
//! before it was told; what it finds out goes to the engine as a command, and counts once the journal has that.
//! It keeps nothing: after a restart the engine tells it again what is unfinished.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, StreamHandler};
use futures_util::stream;
use tokio::sync::mpsc;

use super::engine::EngineLink;
use super::message::{Command, Effect, ProviderOrder};
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
    /// The first pause before asking the provider again; each pause is twice the one before, up to the last.
    pub retry_first: Duration,
    pub retry_last: Duration,
}

impl Default for PaymentTimes {
    fn default() -> Self {
        Self {
            answer_within: Duration::from_secs(3),
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
}

impl PaymentActor {
    /// Batches of effects waiting; the engine keeps what does not fit and offers it again.
    const MAILBOX: usize = 1_024;

    pub(crate) fn new(
        provider: Arc<dyn PaymentProvider>,
        notices: Option<mpsc::Receiver<Notice>>,
        engine: EngineLink,
        times: PaymentTimes,
    ) -> Self {
        Self {
            desk: Desk {
                provider,
                engine,
                times,
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
        let asked = self.provider.charge(charge_of(&order));
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
            let asked = self.provider.look_up(order.attempt);
            match within(self.times.answer_within, asked).await {
                Ok(Some(outcome)) => return self.settle(&order, outcome),
                Ok(None) => {
                    return self.engine.tell(Command::RepeatCharge {
                        order: order.order,
                        attempt: order.attempt,
                    });
                }
                Err(unclear) => {
                    tracing::debug!(attempt.id = %order.attempt, error = %unclear, "look-up unclear");
                    self.defer(&order);
                }
            }
            pause = (pause * 2).min(self.times.retry_last);
        }
    }

    /// Tries until the money is back. A buyer who waits is told after a while that it takes longer.
    async fn refund(&self, order: ProviderOrder) {
        let mut pause = self.times.retry_first;
        loop {
            let asked = self.provider.refund(charge_of(&order));
            match within(self.times.answer_within, asked).await {
                Ok(()) => {
                    return self.engine.tell(Command::RecordRefund {
                        order: order.order,
                        attempt: order.attempt,
                    });
                }
                Err(unclear) => {
                    tracing::warn!(attempt.id = %order.attempt, error = %unclear, "refund to be repeated");
                    self.engine
                        .tell(Command::DeferRefund { order: order.order });
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.times.retry_last);
        }
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
        });
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
