//! The engine's thread as an actix actor: it hosts the product and order actors and owns the journal.
//!
//! A turn takes every command that is ready, lets the actors decide and apply, writes one batch with one fdatasync,
//! and then releases what the batch promised: snapshots, effects, answers. The thread blocks in fdatasync on
//! purpose; what arrives meanwhile is the next batch. There is no timer and no commit delay.
//!
//! **Invariant:** nothing of a turn leaves before the journal has it, refusals included.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::fut::WrapFuture;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle};
use futures_util::future::BoxFuture;
use smallvec::{SmallVec, smallvec};

use super::inbox::{Envelope, Shared, Wake};
use crate::actors::core::cell::{Broken, Cell};
use crate::actors::core::message::{Answer, Command, Effect, Refusal, ReplyTo};
use crate::actors::core::turn::Turn;
use crate::domain::{OrderId, ProductId, Span, Timestamp};
use crate::persistence::journal::{Journal, JournalError, JournalReader, Position};

/// Asks for a last turn and a sealed journal.
#[derive(Message, Debug)]
#[rtype(result = "Result<Position, JournalError>")]
pub(crate) struct Close;

/// Where effects go once they may leave: the payment actors.
pub(crate) type EffectSink = Box<dyn FnMut(Vec<Effect>) -> Result<(), Vec<Effect>> + Send>;

/// Rebuilds a cell from SQL and the journal up to a record, away from the engine's thread.
pub(crate) type Rebuild = Box<
    dyn Fn(Box<dyn JournalReader>, Position) -> BoxFuture<'static, anyhow::Result<Cell>> + Send,
>;

/// How far SQL, or everybody, has followed the journal.
pub(crate) type Projected = Box<dyn Fn() -> Position + Send>;

/// Why the engine stopped for good; the process should end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineFailure {
    #[error("the journal failed while running: {0}")]
    Journal(String),
    #[error("the engine broke one of its own rules and stopped: {0}")]
    Rules(String),
}

/// Told once when the engine stops for good.
pub(crate) type OnFailure = Box<dyn Fn(EngineFailure) + Send>;

#[derive(Debug, Clone, Copy)]
pub(crate) struct HostLimits {
    /// Bytes of journal that SQL may lag behind before new holds are refused.
    pub(crate) journal_budget_bytes: u64,
    /// Due orders ended in one turn.
    pub(crate) due_per_turn_max: usize,
    /// Idempotency keys and settled orders are kept in memory at least this long.
    pub(crate) keep_settled: Span,
}

pub(crate) struct EngineActor {
    shared: Arc<Shared>,
    cell: Cell,
    journal: Box<dyn Journal>,
    turn: Turn,
    commands: Vec<Envelope>,
    /// Answers sorted by lane, to wake each worker once.
    outgoing: Vec<Vec<(u32, Answer)>>,
    /// Effects that the payment actors had no room for yet.
    effects: Vec<Effect>,
    effect_sink: EffectSink,
    rebuild: Rebuild,
    rebuilding: bool,
    projected: Projected,
    projected_durably: Projected,
    followed: Projected,
    on_failure: OnFailure,
    limits: HostLimits,
    alarm: Option<(Timestamp, SpawnHandle)>,
    seal_alarm: Option<SpawnHandle>,
    upkeep: Upkeep,
    failed: bool,
}

/// Where the slow chores stand.
#[derive(Debug, Default)]
struct Upkeep {
    shard: usize,
    /// How far SQL was.
    projected: Position,
    /// Every change up to this instant is in SQL.
    projected_through: Timestamp,
    checkpoint: (Position, Timestamp),
}

/// What the engine is made of besides its actors.
pub(crate) struct HostParts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cell: Cell,
    pub(crate) journal: Box<dyn Journal>,
    pub(crate) effect_sink: EffectSink,
    pub(crate) rebuild: Rebuild,
    pub(crate) projected: Projected,
    pub(crate) projected_durably: Projected,
    pub(crate) followed: Projected,
    pub(crate) on_failure: OnFailure,
    pub(crate) limits: HostLimits,
}

impl std::fmt::Debug for EngineActor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("EngineActor")
            .field("position", &self.journal.position())
            .finish_non_exhaustive()
    }
}

impl EngineActor {
    /// How long the journal waits for more before it marks its last batch as whole.
    const SEAL_AFTER_IDLE: Duration = Duration::from_millis(5);
    /// After so many turns without a pause the thread's other tasks get theirs: timers, upkeep, shutdown.
    const TURNS_AT_ONCE_MAX: u32 = 64;
    const REBUILD_AGAIN_AFTER: Duration = Duration::from_secs(1);
    const LOOK_AT_BROKEN_EVERY: Duration = Duration::from_millis(100);
    const UPKEEP_EVERY: Duration = Duration::from_millis(500);

    pub(crate) fn new(parts: HostParts) -> Self {
        let effects = parts.cell.unfinished_effects();
        parts.shared.stamp(parts.cell.latest_stamp());
        Self {
            shared: parts.shared,
            cell: parts.cell,
            journal: parts.journal,
            turn: Turn::new(),
            commands: Vec::new(),
            outgoing: Vec::new(),
            effects,
            effect_sink: parts.effect_sink,
            rebuild: parts.rebuild,
            rebuilding: false,
            projected: parts.projected,
            projected_durably: parts.projected_durably,
            followed: parts.followed,
            on_failure: parts.on_failure,
            limits: parts.limits,
            alarm: None,
            seal_alarm: None,
            upkeep: Upkeep::default(),
            failed: false,
        }
    }

    /// Turns until there is nothing left to do, then sleeps.
    ///
    /// A panic outside an actor's own turn says that the state breaks a rule: the engine stops rather than go on.
    fn run(&mut self, context: &mut Context<Self>) {
        let turns = catch_unwind(AssertUnwindSafe(|| self.take_turns(context)));
        if let Err(panic) = turns {
            self.fail(EngineFailure::Rules(said_by(panic.as_ref())));
            return;
        }
        self.mend_if_broken(context);
        self.set_alarm(context);
        self.set_seal_alarm(context);
    }

    fn take_turns(&mut self, context: &mut Context<Self>) {
        for turn in 0.. {
            let mut commands = std::mem::take(&mut self.commands);
            self.shared.take_commands(&mut commands);
            let worked = self.take_turn(&mut commands);
            self.commands = commands;
            if !worked && self.shared.fall_asleep() {
                break;
            }
            if turn == Self::TURNS_AT_ONCE_MAX {
                context.notify(Wake);
                break;
            }
        }
    }

    /// One batch. `false` if there was nothing to do.
    fn take_turn(&mut self, commands: &mut Vec<Envelope>) -> bool {
        let now = self.now();
        self.begin_turn(now);
        self.settle_due();
        let mut admitted = 0;
        for envelope in commands.drain(..) {
            admitted += usize::from(envelope.reply_to != ReplyTo::Nobody);
            if self.turn.batch.is_full() {
                self.commit();
                self.begin_turn(now);
            }
            self.handle(envelope);
        }
        let worked = admitted > 0 || !self.turn.batch.is_empty() || !self.turn.answers.is_empty();
        self.commit();
        self.shared.release(admitted);
        worked
    }

    /// After the commands were taken: who watched before they sent one is seen here.
    fn begin_turn(&mut self, now: Timestamp) {
        self.turn.begin(now, self.journal.position());
        self.turn.is_watched = self.shared.watchers.is_anybody();
    }

    fn handle(&mut self, envelope: Envelope) {
        let Envelope { command, reply_to } = envelope;
        if self.failed {
            return self.turn.answer(reply_to, Err(Refusal::JournalFailed));
        }
        if matches!(command, Command::PlaceOrder(_)) && self.is_over_budget() {
            return self.turn.answer(reply_to, Err(Refusal::JournalFull));
        }
        let concerned = Concerned::by(&command);
        let (cell, turn) = (&mut self.cell, &mut self.turn);
        let outcome = catch_unwind(AssertUnwindSafe(|| cell.handle(command, reply_to, turn)));
        if outcome.is_err() {
            self.note_crash(&concerned);
            self.cell.forget_waiter(reply_to);
            self.turn.answer(reply_to, Err(Refusal::Recovering));
        }
    }

    fn settle_due(&mut self) {
        if self.failed {
            return;
        }
        let late_us = self
            .cell
            .next_due()
            .map_or(0, |due| self.turn.now.since(due).as_micros());
        let counters = &self.shared.counters;
        counters
            .holds_expired_late_us_max
            .fetch_max(late_us, Ordering::Relaxed);
        self.cell
            .settle_due(self.limits.due_per_turn_max, &mut self.turn);
    }

    // -- making it durable and letting it out --------------------------------------------------------------------

    fn commit(&mut self) {
        if !self.turn.batch.is_empty() {
            if let Err(error) = self.journal.append(&self.turn.batch) {
                return self.fail(EngineFailure::Journal(error.to_string()));
            }
            let counters = &self.shared.counters;
            let records = u64::try_from(self.turn.batch.len()).unwrap_or(u64::MAX);
            counters.batches.fetch_add(1, Ordering::Relaxed);
            counters.records.fetch_add(records, Ordering::Relaxed);
        }
        self.publish();
        self.release_effects();
        self.deliver();
    }

    fn publish(&mut self) {
        let board = &self.shared.board;
        for placed in self.turn.placed.drain(..) {
            let products = placed.lines.iter().map(|line| line.product);
            board.note_placed(placed.key, placed.buyer, products);
        }
        for (buyer, product) in self.turn.offered.drain(..) {
            board.note_in_hand(buyer, product);
        }
        for (product, ()) in self.turn.touched.drain() {
            // A product that crashed in mid-change shows what was durable until it is rebuilt.
            if self.cell.is_product_broken(product) {
                continue;
            }
            if let Some((_, product)) = self.cell.snapshot(product) {
                board.publish(product);
            }
        }
        self.tell_watchers();
    }

    fn tell_watchers(&mut self) {
        let Turn {
            changed, places, ..
        } = &mut self.turn;
        if changed.is_empty() && places.is_empty() {
            return;
        }
        changed.sort_unstable();
        changed.dedup();
        places.sort_unstable();
        places.dedup();
        let cell = &self.cell;
        let orders = changed.drain(..).filter_map(|id| cell.sound_order(id));
        self.shared.watchers.tell(orders);
        let places = places
            .drain(..)
            .filter(|(it, _)| !cell.is_product_broken(*it));
        let places = places.map(|(product, buyer)| (buyer, product, cell.place_on(product, buyer)));
        self.shared.watchers.tell_places(places);
    }

    fn release_effects(&mut self) {
        self.effects.append(&mut self.turn.effects);
        if self.effects.is_empty() {
            return;
        }
        let effects = std::mem::take(&mut self.effects);
        if let Err(refused) = (self.effect_sink)(effects) {
            self.effects = refused;
        }
    }

    fn deliver(&mut self) {
        for (to, answer) in self.turn.answers.drain(..) {
            let ReplyTo::Slot { lane, slot } = to else {
                continue;
            };
            let lane = lane as usize;
            if self.outgoing.len() <= lane {
                self.outgoing.resize_with(lane + 1, Vec::new);
            }
            self.outgoing[lane].push((slot, answer));
        }
        for (number, answers) in self.outgoing.iter_mut().enumerate() {
            if answers.is_empty() {
                continue;
            }
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            if let Some(lane) = self.shared.lane(number) {
                lane.deliver(answers);
            }
        }
    }

    /// Nothing of this turn is promised, and nothing will be until a restart has read the disk.
    fn fail(&mut self, failure: EngineFailure) {
        tracing::error!(error = %failure, "{failure}; no order is taken until a restart");
        self.failed = true;
        self.shared.fail();
        for (_, answer) in &mut self.turn.answers {
            *answer = Err(Refusal::JournalFailed);
        }
        self.turn.effects.clear();
        self.deliver();
        (self.on_failure)(failure);
    }

    fn is_over_budget(&self) -> bool {
        let behind = self.journal.bytes_after((self.projected)());
        behind > self.limits.journal_budget_bytes
    }

    fn now(&mut self) -> Timestamp {
        self.shared.stamp(Timestamp::ZERO)
    }

    // -- crashed actors ------------------------------------------------------------------------------------------

    /// Whatever the command touched may be half changed; so may what others touched in the same turn, which is rebuilt
    /// with the rest.
    fn note_crash(&mut self, concerned: &Concerned) {
        let counters = &self.shared.counters;
        counters.actor_crashes.fetch_add(1, Ordering::Relaxed);
        let mut products = concerned.products(&self.cell);
        products.extend(self.turn.touched.keys());
        tracing::error!(
            products = ?products,
            order.id = ?concerned.order,
            "an actor crashed; it takes no orders until it is rebuilt from the journal"
        );
        self.cell.set_broken(&products, concerned.order);
    }

    fn mend_if_broken(&mut self, context: &mut Context<Self>) {
        let broken = self.cell.broken();
        if self.rebuilding || self.failed || broken.is_empty() {
            return;
        }
        self.rebuilding = true;
        match self.journal.reader((self.projected)()) {
            Ok(reader) => {
                let rebuilt = (self.rebuild)(reader, self.journal.position()).into_actor(self);
                let mended =
                    rebuilt.map(move |rebuilt, host, context| host.mend(rebuilt, &broken, context));
                context.spawn(mended);
            }
            Err(error) => self.mend(Err(error.into()), &broken, context),
        }
    }

    fn mend(
        &mut self,
        rebuilt: anyhow::Result<Cell>,
        broken: &Broken,
        context: &mut Context<Self>,
    ) {
        self.rebuilding = false;
        if self.failed {
            return;
        }
        match rebuilt {
            Ok(cell) => {
                self.cell.mend(cell, broken);
                self.effects.extend(self.cell.unfinished_effects_of(broken));
                for product in self.cell.products() {
                    self.turn.touched.insert(product.id, ());
                }
                self.publish();
                self.shared.watchers.tell_all_to_read_anew();
                self.release_effects();
                tracing::info!("the crashed actors are back in service");
                self.run(context);
            }
            Err(error) => {
                tracing::error!(error = %error, "rebuilding crashed actors failed; trying again");
                context.run_later(Self::REBUILD_AGAIN_AFTER, |host, context| {
                    host.mend_if_broken(context);
                });
            }
        }
    }

    // -- timers --------------------------------------------------------------------------------------------------

    /// Wakes the engine when the next hold ends, if nothing else does before.
    fn set_alarm(&mut self, context: &mut Context<Self>) {
        let next = self.cell.next_due();
        if self.alarm.as_ref().map(|(due, _)| *due) == next {
            return;
        }
        if let Some((_, alarm)) = self.alarm.take() {
            context.cancel_future(alarm);
        }
        let Some(due) = next else { return };
        let mut wait = Duration::from_micros(due.since(self.shared.now()).as_micros());
        if !self.cell.broken().is_empty() {
            // What is due may be out of service; looking at it all the time would not help.
            wait = wait.max(Self::LOOK_AT_BROKEN_EVERY);
        }
        let alarm = context.run_later(wait, |host, context| {
            host.alarm = None;
            host.run(context);
        });
        self.alarm = Some((due, alarm));
    }

    fn set_seal_alarm(&mut self, context: &mut Context<Self>) {
        if let Some(alarm) = self.seal_alarm.take() {
            context.cancel_future(alarm);
        }
        let alarm = context.run_later(Self::SEAL_AFTER_IDLE, |host, _| {
            host.seal_alarm = None;
            host.seal();
        });
        self.seal_alarm = Some(alarm);
    }

    fn seal(&mut self) {
        if self.failed {
            return;
        }
        if let Err(error) = self.journal.seal() {
            self.fail(EngineFailure::Journal(error.to_string()));
        }
    }

    /// Forgets what SQL has and nobody needs in memory, and lets old segments go; a slice at a time.
    fn upkeep(&mut self) {
        let now = self.now();
        let projected = (self.projected)();
        self.journal.release_through(self.released());
        if projected < self.upkeep.projected {
            // SQL lost what it had: nothing more is forgotten until it has it again.
            self.upkeep.projected_through = Timestamp::ZERO;
        }
        self.upkeep.projected = projected;
        let (position, at) = self.upkeep.checkpoint;
        if projected >= position {
            self.upkeep.projected_through = at;
            self.upkeep.checkpoint = (self.journal.position(), now);
        }
        let kept_since = now
            .as_micros()
            .saturating_sub(self.limits.keep_settled.as_micros());
        let before = self
            .upkeep
            .projected_through
            .min(Timestamp::from_micros(kept_since));
        self.cell.forget_settled(self.upkeep.shard, before);
        self.upkeep.shard = self.upkeep.shard.wrapping_add(1);
    }

    /// Up to where nobody needs the journal any more, not even after a power cut. Whoever follows it behind SQL may hold it up
    /// by the same budget as SQL; from then on it loses what is older than the retention, rather than that the disk fills and
    /// the sale ends.
    fn released(&self) -> Position {
        let projected = (self.projected_durably)();
        let followed = (self.followed)().min(projected);
        let kept = self.journal.bytes_after(followed);
        if kept > self.limits.journal_budget_bytes {
            return projected;
        }
        followed
    }
}

impl Actor for EngineActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.release_effects();
        context.run_interval(Self::UPKEEP_EVERY, |host, context| {
            host.upkeep();
            host.release_effects();
            host.run(context);
        });
        self.run(context);
    }
}

impl Handler<Wake> for EngineActor {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        self.run(context);
    }
}

impl Handler<Close> for EngineActor {
    type Result = Result<Position, JournalError>;

    fn handle(&mut self, _: Close, context: &mut Self::Context) -> Self::Result {
        self.shared.close();
        self.run(context);
        self.journal.seal()?;
        Ok(self.journal.position())
    }
}

/// What a panic said.
pub(crate) fn said_by(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("an assertion failed")
        .to_owned()
}

/// Whose state a command may have half changed if it crashes.
#[derive(Debug)]
struct Concerned {
    order: Option<OrderId>,
    products: SmallVec<[ProductId; 2]>,
}

impl Concerned {
    fn by(command: &Command) -> Self {
        match command {
            Command::PlaceOrder(place) => Self {
                order: Some(place.order),
                products: place.lines.iter().map(|(product, _)| *product).collect(),
            },
            Command::StartPayment(start) => Self::order(start.order),
            Command::CancelOrder { order, .. }
            | Command::ReadOrder { order, .. }
            | Command::SettlePayment { order, .. }
            | Command::DeferPayment { order, .. }
            | Command::RepeatCharge { order, .. }
            | Command::RecordRefund { order, .. }
            | Command::ShipOrder { order, .. }
            | Command::DeliverOrder { order, .. }
            | Command::RequestReturn { order, .. }
            | Command::AcceptReturn { order, .. }
            | Command::DeferRefund { order } => Self::order(*order),
            Command::ReadOrders { buyer } => Self::order(OrderId::for_buyer(0, *buyer)),
            Command::NoteProvider { .. } => Self {
                order: None,
                products: SmallVec::new(),
            },
            Command::ChangeProduct { product, .. }
            | Command::JoinWaitlist { product, .. }
            | Command::LeaveWaitlist { product, .. }
            | Command::BreakProduct(product) => Self {
                order: None,
                products: smallvec![*product],
            },
            Command::ReadWaitlists { .. } => Self {
                order: None,
                products: SmallVec::new(),
            },
        }
    }

    fn order(order: OrderId) -> Self {
        Self {
            order: Some(order),
            products: SmallVec::new(),
        }
    }

    /// The products named by the command, and those of the order it names.
    fn products(&self, cell: &Cell) -> Vec<ProductId> {
        let of_order = self.order.map(|order| cell.products_of(order));
        let named = self.products.iter().copied();
        named.chain(of_order.into_iter().flatten()).collect()
    }
}
