//! Bringing an engine to life: the state as SQL has it, the journal after it, then the threads.

use std::ffi::CStr;
use std::sync::Arc;

use actix::{Actor, Addr, Arbiter};
use futures_util::future::BoxFuture;
use rustix::thread::set_name;
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;

use super::actor::{Close, EngineActor, EngineActorParts, Rebuild, Recall};
use super::board::Board;
use super::handle::EngineLink;
use super::inbox::SharedEngine;
use super::outlet::{EffectSink, EngineOutlet};
use crate::actors::core::breaker::BreakerOptions;
use crate::actors::core::cell::{Cell, CellLimits, PersonLimits};
use crate::actors::core::machine::{Core, CoreLimits, EngineFailure};
use crate::actors::core::recall::{Stored, Wanted};
use crate::actors::core::replay::{LiveState, ReplayBase, ReplayError, replay};
use crate::actors::payment::{Effects, PaymentActor, PaymentTimes};
use crate::calendar::Calendar;
use crate::clock::{Clock, EngineTime};
use crate::domain::Span;
use crate::gateways::payment::{Notice, PaymentProvider};
use crate::persistence::journal::{Journal, JournalError, JournalReader, Position, ReadError};

/// Reads live state from SQL again, to rebuild crashed actors.
pub type Reload = Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<ReplayBase>> + Send + Sync>;

#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// Commands in flight; the next is told 503 and `Retry-After`, never parked.
    pub in_flight_max: usize,
    /// Payments under way; the next is told 503.
    pub payments_pending_max: usize,
    /// Bytes of journal that SQL may lag behind before new holds are refused.
    pub journal_budget_bytes: u64,
    pub keep_settled: Span,
    /// Memory for orders at rest, which are kept for so long; beyond it new holds are refused.
    pub settled_memory_bytes: u64,
    pub person: PersonLimits,
    /// How long units are kept for somebody on the waitlist.
    pub offer_ttl: Span,
    pub payment_times: PaymentTimes,
    /// Calls of the payment provider at once, see [`PaymentActor`].
    pub payment_calls_max: usize,
    pub breaker: BreakerOptions,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            in_flight_max: 16_384,
            payments_pending_max: 65_536,
            journal_budget_bytes: 8 << 30,
            keep_settled: Span::from_secs(86_400),
            settled_memory_bytes: 2 << 30,
            person: PersonLimits::default(),
            offer_ttl: Span::from_secs(120),
            payment_times: PaymentTimes::default(),
            payment_calls_max: 64,
            breaker: BreakerOptions::default(),
        }
    }
}

/// About what an order at rest takes with all that leads to it.
const ORDER_AT_REST_BYTES: u64 = 512;

/// Everything an engine is made of.
pub struct EngineParts {
    pub journal: Box<dyn Journal>,
    pub live: ReplayBase,
    pub clock: Arc<dyn Clock>,
    /// What a day is where the shop stands.
    pub calendar: Arc<dyn Calendar>,
    pub provider: Arc<dyn PaymentProvider>,
    pub notices: Option<mpsc::Receiver<Notice>>,
    pub options: EngineOptions,
    pub reload: Reload,
    /// Reads what has left memory, in one snapshot.
    pub recall: Recall,
    /// How far SQL has followed.
    pub projected: Box<dyn Fn() -> Position + Send>,
    /// How far SQL has followed so that a power cut does not take it back.
    pub projected_durably: Box<dyn Fn() -> Position + Send>,
    /// The same of everybody who needs the journal: SQL, and those behind it.
    pub followed: Box<dyn Fn() -> Position + Send>,
    /// Called once if the engine stops for good.
    pub on_failure: Box<dyn Fn(EngineFailure) + Send>,
}

impl std::fmt::Debug for EngineParts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("EngineParts")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "the database is ahead of the journal: it has followed to record {sql}, but the journal ends at {journal}. \
         Acknowledged orders are missing from the journal; restore the journal that belongs to this database"
    )]
    SqlAhead { sql: Position, journal: Position },
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("the replay of the journal did not come to its end")]
    Interrupted,
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// An engine at work. Dropping it leaves its threads running; [`RunningEngine::close`] ends them in order.
#[derive(Debug)]
pub struct RunningEngine {
    link: EngineLink,
    actor: Addr<EngineActor>,
    arbiters: [Arbiter; 2],
}

impl RunningEngine {
    pub fn link(&self) -> EngineLink {
        self.link.clone()
    }

    /// Finishes what was admitted, seals the journal and ends the threads. Gives the last record.
    pub async fn close(self) -> Result<Position, JournalError> {
        let closed = self.actor.send(Close).await;
        for arbiter in self.arbiters {
            arbiter.stop();
            if tokio::task::spawn_blocking(|| arbiter.join())
                .await
                .is_err()
            {
                tracing::warn!("an engine thread ended by a panic");
            }
        }
        closed.unwrap_or(Err(JournalError::Failed))
    }
}

/// Replays the journal over the live state and starts the engine's threads. SQL must stay as it was when the live state
/// was read, until this returns.
pub async fn start(parts: EngineParts) -> Result<RunningEngine, StartError> {
    let options = parts.options;
    let loaded_at = parts.live.position;
    let reader = reader_after(loaded_at, parts.journal.as_ref())?;
    let journal_end = parts.journal.position();
    let limits = CellLimits {
        payments_pending_max: options.payments_pending_max,
        offer_ttl: options.offer_ttl,
        person: options.person,
    };
    let recall = Arc::clone(&parts.recall);
    let mut cell = replay_elsewhere(parts.live, reader, journal_end, limits, recall)
        .await?
        .with_calendar(parts.calendar);
    cell.set_breaker(options.breaker);

    let time = EngineTime::start(parts.clock, cell.latest_stamp());
    let shared = Arc::new(SharedEngine::new(time, options.in_flight_max));
    fill_board(&shared.board, &cell);
    let link = EngineLink::new(Arc::clone(&shared));
    let (engine_thread, payment_thread) = (thread(c"engine"), thread(c"payments"));
    let payments = start_payments(
        &payment_thread,
        parts.provider,
        parts.notices,
        link.clone(),
        (options.payment_times, options.payment_calls_max),
    );
    let core_limits = CoreLimits {
        journal_budget_bytes: options.journal_budget_bytes,
        due_per_turn_max: 2_000,
        keep_settled: options.keep_settled,
        at_rest_max: usize::try_from(options.settled_memory_bytes / ORDER_AT_REST_BYTES)
            .unwrap_or(usize::MAX),
    };
    let engine = EngineActorParts {
        shared: Arc::clone(&shared),
        core: Core::new(cell, parts.journal, loaded_at, core_limits),
        outlet: EngineOutlet::new(Arc::clone(&shared), effect_sink(payments)),
        rebuild: rebuilder(parts.reload, Arc::clone(&parts.recall), limits),
        recall: parts.recall,
        projected: parts.projected,
        projected_durably: parts.projected_durably,
        followed: parts.followed,
        on_failure: parts.on_failure,
    };
    let actor =
        EngineActor::start_in_arbiter(&engine_thread.handle(), |_| EngineActor::new(engine));
    shared.attach(actor.clone().recipient());
    Ok(RunningEngine {
        link,
        actor,
        arbiters: [engine_thread, payment_thread],
    })
}

/// Before anybody can look at it: an empty board would deny products and repeats that the journal has.
fn fill_board(board: &Board, cell: &Cell) {
    for product in cell.products() {
        board.publish(product);
    }
    for (buyer, product) in cell.offers() {
        board.note_in_hand(buyer, product);
    }
    for order in cell.orders() {
        let products = order.lines.iter().map(|line| line.product);
        board.note_placed(order.key, order.buyer, products);
    }
}

/// Folds the journal into live state, through the record given, for whoever compares it. The reader may be read on from
/// there.
pub fn replay_state(
    live: impl Into<ReplayBase>,
    reader: &mut dyn JournalReader,
    through: Position,
    ask: &mut dyn FnMut(Wanted) -> anyhow::Result<Stored>,
) -> Result<LiveState, ReplayError> {
    let cell = replay(live, reader, through, CellLimits::default(), ask)?;
    Ok(LiveState {
        position: through,
        last_stamp: cell.latest_stamp(),
        products: cell.products().cloned().collect(),
        orders: cell.orders().collect(),
    })
}

fn reader_after(
    sql: Position,
    journal: &dyn Journal,
) -> Result<Box<dyn JournalReader>, StartError> {
    let end = journal.position();
    if sql > end {
        return Err(StartError::SqlAhead { sql, journal: end });
    }
    Ok(journal.reader(sql)?)
}

/// On a thread that may block: a replay works for long, and waits for SQL now and then.
async fn replay_elsewhere(
    live: ReplayBase,
    mut reader: Box<dyn JournalReader>,
    through: Position,
    limits: CellLimits,
    recall: Recall,
) -> Result<Cell, StartError> {
    let runtime = Handle::current();
    let replayed = tokio::task::spawn_blocking(move || {
        let mut ask = |wanted| runtime.block_on(recall(wanted));
        replay(live, reader.as_mut(), through, limits, &mut ask)
    });
    match replayed.await {
        Ok(cell) => Ok(cell?),
        Err(_panic_or_shutdown) => Err(StartError::Interrupted),
    }
}

/// A thread for actors, under a name of at most 15 bytes by which the system shows it.
fn thread(name: &'static CStr) -> Arbiter {
    Arbiter::with_tokio_rt(move || {
        if let Err(error) = set_name(name) {
            tracing::warn!(%error, "a thread stays without its name {name:?}");
        }
        Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime, as every thread of actors has one")
    })
}

fn start_payments(
    thread: &Arbiter,
    provider: Arc<dyn PaymentProvider>,
    notices: Option<mpsc::Receiver<Notice>>,
    link: EngineLink,
    (times, calls_max): (PaymentTimes, usize),
) -> Addr<PaymentActor> {
    PaymentActor::start_in_arbiter(&thread.handle(), move |_| {
        PaymentActor::new(provider, notices, link, times, calls_max)
    })
}

/// What the payment actor has no room for stays with the engine.
fn effect_sink(payments: Addr<PaymentActor>) -> EffectSink {
    Box::new(move |effects| {
        payments
            .try_send(Effects(effects))
            .map_err(|refused| refused.into_inner().0)
    })
}

/// Reads and replays anew; the engine goes on meanwhile.
fn rebuilder(reload: Reload, recall: Recall, limits: CellLimits) -> Rebuild {
    Box::new(move |reader, through| {
        let (reload, recall) = (Arc::clone(&reload), Arc::clone(&recall));
        Box::pin(async move {
            let live = reload().await?;
            Ok(replay_elsewhere(live, reader, through, limits, recall).await?)
        })
    })
}
