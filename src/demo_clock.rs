//! The demo clock: paid orders are shipped a day later and delivered the day after, by themselves, so that a demo can be
//! watched to its end. A day is as long as the settings say.
//!
//! It looks for them in SQL and moves them through the engine like anybody else; whatever an admin or a buyer did first
//! stands. Nothing it does carries an audit mark, for nobody did it.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::actors::message::{Refusal, Shipment};
use crate::actors::{Engine, EngineLink};
use crate::domain::{OrderId, OrderState, Span, Timestamp};
use crate::persistence::database::{Database, Error};

const CARRIER: &str = "Demo Post";
/// Orders that are moved before the next look.
const BATCH_MAX: u32 = 100;
/// It looks ten times a day, within these bounds.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(100);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(60);

/// A running demo clock, or none.
#[derive(Debug)]
pub(crate) struct DemoClock {
    task: Option<JoinHandle<()>>,
}

struct Hand {
    engine: Engine,
    database: Database,
    day: Span,
    /// SQL did not answer the last time.
    is_away: bool,
}

impl DemoClock {
    /// Must be called within an actix or tokio local runtime. A day of no length starts nothing.
    pub(crate) fn start(day: Span, link: &EngineLink, database: &Database) -> Self {
        if day == Span::ZERO {
            return Self { task: None };
        }
        tracing::info!(
            day_secs = day.as_secs_ceil(),
            "the demo clock ships and delivers"
        );
        let hand = Hand {
            engine: link.connect(),
            database: database.clone(),
            day,
            is_away: false,
        };
        Self {
            task: Some(tokio::task::spawn_local(hand.run())),
        }
    }

    /// What was told to the engine is done; nothing more is.
    pub(crate) async fn stop(self) {
        let Some(task) = self.task else { return };
        task.abort();
        if let Err(error) = task.await
            && error.is_panic()
        {
            tracing::error!("the demo clock had ended by a panic");
        }
    }
}

impl Hand {
    async fn run(mut self) {
        let tenth = Duration::from_micros(self.day.as_micros() / 10);
        let every = tenth.clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX);
        loop {
            tokio::time::sleep(every).await;
            let looked = self.look().await;
            self.note(looked);
        }
    }

    /// Delivers first: what was shipped a moment ago is to be on its way for a day.
    async fn look(&self) -> Result<(), Error> {
        let now = self.engine.now().as_micros();
        let yesterday = Timestamp::from_micros(now.saturating_sub(self.day.as_micros()));
        for state in [OrderState::Shipped, OrderState::Paid] {
            let orders = self
                .database
                .orders_waiting_in(state, yesterday, BATCH_MAX)
                .await?;
            for order in orders {
                self.advance(order, state).await;
            }
        }
        Ok(())
    }

    async fn advance(&self, order: OrderId, state: OrderState) {
        let advanced = match state {
            OrderState::Paid => self.engine.ship_order(order, shipment(order), None).await,
            _ => self.engine.deliver_order(order, None).await,
        };
        match advanced {
            Ok(_) => {}
            // Somebody was faster, and SQL has not heard of it yet.
            Err(Refusal::Rejected(rejection)) => {
                tracing::debug!(order.id = %order, ?rejection, "the demo clock leaves an order alone");
            }
            Err(refusal) => {
                tracing::warn!(order.id = %order, ?refusal, "the demo clock could not move an order")
            }
        }
    }

    /// Says once that SQL is away.
    fn note(&mut self, looked: Result<(), Error>) {
        match looked {
            Ok(()) => self.is_away = false,
            Err(error) if !self.is_away => {
                tracing::warn!(%error, "the demo clock waits for the database");
                self.is_away = true;
            }
            Err(_still_away) => {}
        }
    }
}

fn shipment(order: OrderId) -> Shipment {
    let id = order.to_string();
    let unique = id.rsplit('-').next().unwrap_or_default();
    Shipment {
        carrier: CARRIER.into(),
        tracking_number: format!("DEMO-{unique}").into(),
    }
}
