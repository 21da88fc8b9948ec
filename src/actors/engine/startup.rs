//! Bringing an engine to life: the state as SQL has it, the journal after it, then the threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use actix::{Actor, Addr, Arbiter};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::actor::{
    Close, EffectSink, EngineActor, EngineFailure, HostLimits, HostParts, Rebuild, said_by,
};
use super::board::Board;
use super::handle::EngineLink;
use super::inbox::Shared;
use crate::actors::core::breaker::BreakerOptions;
use crate::actors::core::cell::{Cell, CellLimits};
use crate::actors::payment::{Effects, PaymentActor, PaymentTimes};
use crate::calendar::Calendar;
use crate::clock::Clock;
use crate::domain::{Order, Product, Span};
use crate::gateways::payment::{Notice, PaymentProvider};
use crate::persistence::codec::{self, CodecError};
use crate::persistence::journal::{
    Journal, JournalError, JournalReader, Position, ReadError, Records,
};

/// Live state as of a position of the journal.
#[derive(Debug)]
pub struct LiveState {
    pub position: Position,
    pub products: Vec<Product>,
    pub orders: Vec<Order>,
}

/// Reads live state from SQL again, to rebuild crashed actors.
pub type Reload = Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<LiveState>> + Send + Sync>;

#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// Commands in flight; the next is told 503 and `Retry-After`, never parked.
    pub in_flight_max: usize,
    /// Payments under way; the next is told 503.
    pub payments_pending_max: usize,
    /// Bytes of journal that SQL may lag behind before new holds are refused.
    pub journal_budget_bytes: u64,
    pub keep_settled: Span,
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
            offer_ttl: Span::from_secs(120),
            payment_times: PaymentTimes::default(),
            payment_calls_max: 64,
            breaker: BreakerOptions::default(),
        }
    }
}

/// Everything an engine is made of.
pub struct EngineParts {
    pub journal: Box<dyn Journal>,
    pub live: LiveState,
    pub clock: Arc<dyn Clock>,
    /// What a day is where the shop stands.
    pub calendar: Arc<dyn Calendar>,
    pub provider: Arc<dyn PaymentProvider>,
    pub notices: Option<mpsc::Receiver<Notice>>,
    pub options: EngineOptions,
    pub reload: Reload,
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
    #[error(
        "the database went back to record {sql} while it was read; the records before {next} are missing"
    )]
    SqlWentBack { sql: Position, next: Position },
    #[error("record {position} of the journal cannot be read: {source}")]
    Codec {
        position: Position,
        source: CodecError,
    },
    /// The checksum is right, so an earlier release wrote it, or somebody did by hand.
    #[error("record {position} of the journal breaks the rules: {rule}")]
    Impossible { position: Position, rule: String },
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

/// Replays the journal over the live state and starts the engine's threads.
pub fn start(parts: EngineParts) -> Result<RunningEngine, StartError> {
    let options = parts.options;
    let mut reader = reader_after(parts.live.position, parts.journal.as_ref())?;
    let journal_end = parts.journal.position();
    let limits = CellLimits {
        payments_pending_max: options.payments_pending_max,
        offer_ttl: options.offer_ttl,
    };
    let mut cell =
        replay(parts.live, reader.as_mut(), journal_end, limits)?.with_calendar(parts.calendar);
    cell.set_breaker(options.breaker);

    let shared = Arc::new(Shared::new(parts.clock, options.in_flight_max));
    fill_board(&shared.board, &cell);
    let link = EngineLink::new(Arc::clone(&shared));
    let (engine_thread, payment_thread) = (Arbiter::new(), Arbiter::new());
    let payments = start_payments(
        &payment_thread,
        parts.provider,
        parts.notices,
        link.clone(),
        (options.payment_times, options.payment_calls_max),
    );
    let host = HostParts {
        shared: Arc::clone(&shared),
        cell,
        journal: parts.journal,
        effect_sink: effect_sink(payments),
        rebuild: rebuilder(parts.reload, limits),
        projected: parts.projected,
        projected_durably: parts.projected_durably,
        followed: parts.followed,
        on_failure: parts.on_failure,
        limits: HostLimits {
            journal_budget_bytes: options.journal_budget_bytes,
            due_per_turn_max: 2_000,
            keep_settled: options.keep_settled,
        },
    };
    let actor = EngineActor::start_in_arbiter(&engine_thread.handle(), |_| EngineActor::new(host));
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
        for waiter in product.waitlist().waiters() {
            if waiter.offer.is_some() {
                board.note_in_hand(waiter.buyer, product.id);
            }
        }
    }
    for order in cell.orders() {
        let products = order.lines.iter().map(|line| line.product);
        board.note_placed(order.key, order.buyer, products);
    }
}

/// Folds the journal into live state, through the record given, and gives it back for whoever compares it.
pub fn replay_state(
    live: LiveState,
    reader: &mut dyn JournalReader,
    through: Position,
) -> Result<LiveState, StartError> {
    let cell = replay(live, reader, through, CellLimits::default())?;
    Ok(LiveState {
        position: through,
        products: cell.products().cloned().collect(),
        orders: cell.orders().cloned().collect(),
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

/// Records that the live state has already are skipped.
fn replay(
    live: LiveState,
    reader: &mut dyn JournalReader,
    through: Position,
    limits: CellLimits,
) -> Result<Cell, StartError> {
    const RECORDS_AT_ONCE: usize = 10_000;
    let base = live.position;
    if reader.position() > base {
        let (sql, next) = (base, reader.position().next());
        return Err(StartError::SqlWentBack { sql, next });
    }
    let mut cell = Cell::restore(live.products, live.orders, limits);
    let mut records = Records::new();
    // Not a record past `through` is taken from the reader: it may be read on from there.
    while reader.position() < through {
        let wanted = through.get() - reader.position().get();
        let records_max =
            usize::try_from(wanted).map_or(RECORDS_AT_ONCE, |it| it.min(RECORDS_AT_ONCE));
        if reader.next_batch(records_max, &mut records)? == 0 {
            break;
        }
        for (position, record) in records.iter().filter(|(position, _)| *position > base) {
            let event =
                codec::decode(record).map_err(|source| StartError::Codec { position, source })?;
            let applied = catch_unwind(AssertUnwindSafe(|| cell.apply(position.get(), &event)));
            applied.map_err(|panic| StartError::Impossible {
                position,
                rule: said_by(panic.as_ref()),
            })?;
        }
    }
    Ok(cell)
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

/// Reads and replays on a thread that may block; the engine goes on meanwhile.
fn rebuilder(reload: Reload, limits: CellLimits) -> Rebuild {
    Box::new(move |mut reader, through| {
        let reload = Arc::clone(&reload);
        Box::pin(async move {
            let live = reload().await?;
            let cell =
                tokio::task::spawn_blocking(move || replay(live, reader.as_mut(), through, limits));
            Ok(cell.await??)
        })
    })
}
