//! The actor that owns attempts to pay: it calls the provider, waits, asks again, and gives money back.
//!
//! It lives on a thread of its own, so that a slow provider never makes the engine wait. What it is told was durable
//! before it was told; what it finds out goes to the engine as a command, and counts once the journal has that.
//! It keeps nothing over a restart: then the engine tells it again what is unfinished.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `schedule` | the two queues and their order, as a state machine |
//! | `dispatcher` | the calls, what their ends mean, and what the engine is told |
//! | `counters` | what operators are shown |

mod counters;
mod dispatcher;
mod schedule;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, StreamHandler};
use futures_util::stream;
use tokio::sync::mpsc;

use self::dispatcher::Dispatcher;
use crate::actors::core::message::Effect;
use crate::actors::engine::EngineLink;
use crate::gateways::payment::{Notice, PaymentProvider};

pub use counters::PaymentCounters;

/// Work that the journal has made safe to do.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub(crate) struct Effects(pub(crate) Vec<Effect>);

#[derive(Debug, Clone, Copy)]
pub struct PaymentTimes {
    /// How long a buyer waits before being told that the payment is pending, wherever it stands by then.
    pub answer_within: Duration,
    /// How long a call may take, from when it is sent.
    pub call_within: Duration,
    /// The first pause before asking the provider again; each pause is twice the one before, up to the last.
    pub retry_first: Duration,
    pub retry_last: Duration,
    /// The pause after a refund that the provider has refused: it takes a person to change that.
    pub refused_again: Duration,
}

impl Default for PaymentTimes {
    fn default() -> Self {
        Self {
            answer_within: Duration::from_secs(3),
            call_within: Duration::from_secs(30),
            retry_first: Duration::from_secs(1),
            retry_last: Duration::from_secs(60),
            refused_again: Duration::from_secs(3_600),
        }
    }
}

#[derive(Debug)]
pub(crate) struct PaymentActor {
    dispatcher: Rc<Dispatcher>,
    notices: Option<mpsc::Receiver<Notice>>,
}

impl PaymentActor {
    /// Batches of effects waiting; the engine keeps what does not fit and offers it again.
    const MAILBOX: usize = 1_024;

    /// At most `calls_max` charges are under way at once, and as many look-ups and refunds beside them.
    pub(crate) fn new(
        provider: Arc<dyn PaymentProvider>,
        notices: Option<mpsc::Receiver<Notice>>,
        engine: EngineLink,
        times: PaymentTimes,
        calls_max: usize,
    ) -> Self {
        let dispatcher = Dispatcher::new(provider, engine, times, calls_max);
        Self {
            dispatcher: Rc::new(dispatcher),
            notices,
        }
    }
}

impl Actor for PaymentActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(Self::MAILBOX);
        actix::spawn(Rc::clone(&self.dispatcher).run());
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
            self.dispatcher.accept(effect);
        }
    }
}

impl StreamHandler<Notice> for PaymentActor {
    fn handle(&mut self, notice: Notice, _: &mut Self::Context) {
        let Notice {
            order,
            attempt,
            outcome,
        } = notice;
        self.dispatcher.settle(order, attempt, outcome);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}
