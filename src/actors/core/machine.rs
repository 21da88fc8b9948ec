//! One turn after the other: take what is ready, decide and apply it, append it, and let it out.
//!
//! A plain object. The thread, the timers and the clock belong to whoever drives it: a [`Moment`] comes in with the
//! commands, and what a turn promised leaves through an [`Outlet`]. So the same turn runs under actix, in a simulation
//! and in a test that invents the time.
//!
//! **Invariant:** nothing of a turn leaves before the journal has it, refusals included. What leaves goes in one order:
//! first the published state, then effects, then answers, so that whoever is answered sees what was answered.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::cell::{Broken, Cell};
use super::crash::Concerned;
use super::message::{Answer, Command, Effect, Envelope, Refusal, ReplyTo};
use super::recall::{Missing, Recalls, Stored, Wanted};
use super::turn::Turn;
use crate::domain::{ProductId, Span, Timestamp};
use crate::panics::said_by;
use crate::persistence::journal::{Journal, JournalError, JournalReader, Position, ReadError};

/// Where the results of a turn go, once the journal has them. Called in the order in which the methods stand.
pub(crate) trait Outlet {
    /// Somebody watches buyers: turns note whose orders change.
    fn is_watched(&self) -> bool;

    /// Shows outside what the turn has changed, and empties the lists that say so.
    fn publish(&mut self, cell: &Cell, turn: &mut Turn);

    /// Hands over work for the world outside. What there is no room for stays in the list and is offered again.
    fn perform(&mut self, effects: &mut Vec<Effect>);

    /// Shows outside that nothing is promised any more. Comes before the answers that say so.
    fn fail(&mut self);

    /// Answers those who asked, and empties the list.
    fn answer(&mut self, answers: &mut Vec<(ReplyTo, Answer)>);
}

/// What the core is told of the world before a turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Engine time, never before that of an earlier turn.
    pub(crate) now: Timestamp,
    /// How far SQL has followed the journal.
    pub(crate) projected: Position,
    /// The same, so that a power cut does not take it back.
    pub(crate) projected_durably: Position,
    /// How far everybody has followed it for good who needs it.
    pub(crate) followed: Position,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct CoreLimits {
    /// Bytes of journal that SQL may lag behind before new holds are refused.
    pub(crate) journal_budget_bytes: u64,
    /// Due orders ended in one turn.
    pub(crate) due_per_turn_max: usize,
    /// Idempotency keys, and orders at rest, are kept in memory at least this long.
    pub(crate) keep_settled: Span,
    /// Orders at rest in memory; beyond them new holds are refused.
    pub(crate) at_rest_max: usize,
}

/// Why the engine stopped for good; the process should end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineFailure {
    #[error("the journal failed while running: {0}")]
    Journal(String),
    #[error("the engine broke one of its own rules and stopped: {0}")]
    Rules(String),
}

/// What came of a turn, for its driver and for whoever counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Turned {
    /// Something was asked, decided or answered: there may be more.
    pub(crate) worked: bool,
    /// Admitted commands that were taken.
    pub(crate) admitted: usize,
    pub(crate) batches: u64,
    pub(crate) records: u64,
    pub(crate) crashes: u64,
    /// How late the oldest thing was ended that was due.
    pub(crate) late: Span,
}

pub(crate) struct Core {
    cell: Cell,
    journal: Box<dyn Journal>,
    turn: Turn,
    turned: Turned,
    /// Effects that nobody had room for yet.
    effects: Vec<Effect>,
    recalls: Recalls,
    /// What the provider told and could not be carried out, to be tried in the next turn.
    put_off: Vec<Envelope>,
    limits: CoreLimits,
    upkeep: Upkeep,
    /// As the journal said at the beginning of the turn.
    has_room: bool,
    has_failed: bool,
}

/// How far memory may forget.
#[derive(Debug, Default)]
struct Upkeep {
    /// Where SQL stood the last time.
    projected: Position,
    /// Every change up to this instant is in SQL, which stands at that record or behind it.
    projected_through: (Timestamp, Position),
    /// The next such pair, once SQL has come that far.
    checkpoint: (Timestamp, Position),
}

impl std::fmt::Debug for Core {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Core")
            .field("position", &self.journal.position())
            .finish_non_exhaustive()
    }
}

impl Core {
    /// Orders at rest forgotten in one go.
    const FORGOTTEN_AT_ONCE_MAX: usize = 2_000;
    /// How long an order at rest stays that somebody has asked for again.
    const RECALLED_KEPT: Span = Span::from_secs(60);

    /// `loaded_at`: where SQL stood when the cell was read from it. What is not in the cell is there.
    pub(crate) fn new(
        cell: Cell,
        journal: Box<dyn Journal>,
        loaded_at: Position,
        limits: CoreLimits,
    ) -> Self {
        Self {
            effects: cell.unfinished_effects(),
            cell,
            journal,
            turn: Turn::new(),
            turned: Turned::default(),
            recalls: Recalls::new(loaded_at),
            put_off: Vec::new(),
            limits,
            upkeep: Upkeep::default(),
            has_room: true,
            has_failed: false,
        }
    }

    pub(crate) fn cell(&self) -> &Cell {
        &self.cell
    }

    pub(crate) fn position(&self) -> Position {
        self.journal.position()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// `false`: no new holds are taken, for the disk of the journal is full.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room
    }

    /// When something happens by itself: the driver takes a turn then, if not before.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.cell.next_due()
    }

    /// Takes the commands that are ready, ends what is due, and lets out what came of it.
    ///
    /// A panic outside an actor's own work says that the state breaks a rule: nothing is promised any more.
    pub(crate) fn take_turn(
        &mut self,
        moment: Moment,
        commands: &mut Vec<Envelope>,
        outlet: &mut impl Outlet,
    ) -> Result<Turned, EngineFailure> {
        self.turned = Turned::default();
        let turned = AssertUnwindSafe(|| self.work_through(moment, commands, outlet));
        let outcome = catch_unwind(turned)
            .unwrap_or_else(|panic| Err(EngineFailure::Rules(said_by(panic.as_ref()))));
        match outcome {
            Ok(()) => Ok(self.turned),
            Err(failure) => {
                self.fail(commands, outlet);
                Err(failure)
            }
        }
    }

    fn work_through(
        &mut self,
        moment: Moment,
        commands: &mut Vec<Envelope>,
        outlet: &mut impl Outlet,
    ) -> Result<(), EngineFailure> {
        self.begin(moment, outlet);
        self.settle_due();
        while let Some(envelope) = self.recalls.pop_ready() {
            self.make_room(moment, outlet)?;
            // An order that SQL does not have either does not exist; what people have in hand it always tells.
            let missing = self.cell.missing_people(&envelope.command, moment.now);
            if let Some(envelope) = self.park_if(missing.map(Missing::People), envelope) {
                self.handle(envelope, moment);
            }
        }
        for envelope in std::mem::take(&mut self.put_off) {
            self.make_room(moment, outlet)?;
            self.handle_or_park(envelope, moment);
        }
        // Taken one by one from the end: what is left if the turn fails is answered all the same.
        commands.reverse();
        while let Some(envelope) = commands.pop() {
            self.turned.admitted += usize::from(envelope.reply_to != ReplyTo::Nobody);
            self.make_room(moment, outlet)?;
            self.handle_or_park(envelope, moment);
        }
        self.turned.worked |= self.turned.admitted > 0
            || !self.turn.batch.is_empty()
            || !self.turn.answers.is_empty();
        self.commit(outlet)
    }

    fn begin(&mut self, moment: Moment, outlet: &impl Outlet) {
        self.turn.begin(moment.now, self.journal.position());
        self.has_room = self.journal.has_room();
        // After the commands were taken: who watched before they sent one is seen here.
        self.turn.is_watched = outlet.is_watched();
    }

    fn make_room(&mut self, moment: Moment, outlet: &mut impl Outlet) -> Result<(), EngineFailure> {
        if self.turn.batch.is_full() {
            self.turned.worked = true;
            self.commit(outlet)?;
            self.begin(moment, outlet);
        }
        Ok(())
    }

    fn settle_due(&mut self) {
        if self.has_failed {
            return;
        }
        let due = self.cell.next_due();
        self.turned.late = due.map_or(Span::ZERO, |due| self.turn.now.since(due));
        self.cell
            .settle_due(self.limits.due_per_turn_max, &mut self.turn);
    }

    fn handle(&mut self, envelope: Envelope, moment: Moment) {
        let Envelope { command, reply_to } = envelope;
        if self.has_failed {
            return self.turn.answer(reply_to, Err(Refusal::JournalFailed));
        }
        if matches!(command, Command::PlaceOrder(_))
            && let Some(refusal) = self.refuses_holds(moment)
        {
            return self.turn.answer(reply_to, Err(refusal));
        }
        let concerned = Concerned::by(&command);
        let (cell, turn) = (&mut self.cell, &mut self.turn);
        turn.begin_command();
        let outcome = catch_unwind(AssertUnwindSafe(|| cell.handle(command, reply_to, turn)));
        if outcome.is_err() {
            self.note_crash(&concerned);
            self.cell.forget_waiter(reply_to);
            self.turn.answer(reply_to, Err(Refusal::Recovering));
        }
    }

    /// Why no new holds are taken, if they are not. What is held may be paid all the same.
    fn refuses_holds(&self, moment: Moment) -> Option<Refusal> {
        let behind = self.journal.bytes_after(moment.projected);
        if behind > self.limits.journal_budget_bytes {
            return Some(Refusal::JournalFull);
        }
        if !self.has_room {
            return Some(Refusal::DiskFull);
        }
        (self.cell.at_rest_len() >= self.limits.at_rest_max).then_some(Refusal::MemoryFull)
    }

    // -- making it durable and letting it out --------------------------------------------------------------------

    fn commit(&mut self, outlet: &mut impl Outlet) -> Result<(), EngineFailure> {
        if !self.turn.batch.is_empty() {
            self.journal
                .append(&self.turn.batch)
                .map_err(|error| EngineFailure::Journal(error.to_string()))?;
            self.turned.batches += 1;
            self.turned.records += u64::try_from(self.turn.batch.len()).unwrap_or(u64::MAX);
        }
        outlet.publish(&self.cell, &mut self.turn);
        self.release_effects(outlet);
        outlet.answer(&mut self.turn.answers);
        Ok(())
    }

    /// Also what there was no room for the last time.
    pub(crate) fn release_effects(&mut self, outlet: &mut impl Outlet) {
        self.effects.append(&mut self.turn.effects);
        if !self.effects.is_empty() {
            outlet.perform(&mut self.effects);
        }
    }

    /// Nothing of this turn is promised, and nothing will be until a restart has read the disk.
    fn fail(&mut self, untaken: &mut Vec<Envelope>, outlet: &mut impl Outlet) {
        self.has_failed = true;
        outlet.fail();
        let refused = || Err(Refusal::JournalFailed);
        for (_, answer) in &mut self.turn.answers {
            *answer = refused();
        }
        self.turn.effects.clear();
        let waiting = self.cell.take_waiters();
        let parked = self.recalls.take_all();
        let untaken = untaken.drain(..).map(|envelope| envelope.reply_to);
        for reply_to in waiting.into_iter().chain(parked).chain(untaken) {
            self.turn.answer(reply_to, refused());
        }
        outlet.answer(&mut self.turn.answers);
    }

    // -- what has left memory ------------------------------------------------------------------------------------

    fn handle_or_park(&mut self, envelope: Envelope, moment: Moment) {
        let missing = self.missing(&envelope.command, moment.now);
        if let Some(envelope) = self.park_if(missing, envelope) {
            self.handle(envelope, moment);
        }
    }

    fn missing(&self, command: &Command, now: Timestamp) -> Option<Missing> {
        let order = self.cell.forgotten_order(command).map(Missing::Order);
        order.or_else(|| {
            let people = self.cell.missing_people(command, now);
            people.map(Missing::People)
        })
    }

    /// A command for which something is missing waits until SQL has been asked for it. Gives back what can be carried out
    /// at once.
    fn park_if(&mut self, missing: Option<Missing>, envelope: Envelope) -> Option<Envelope> {
        let Some(missing) = missing.filter(|_| !self.has_failed) else {
            return Some(envelope);
        };
        match envelope.reply_to {
            ReplyTo::Nobody if self.recalls.is_full() => self.recalls.put_off(envelope),
            reply_to if self.recalls.is_full() => {
                self.turn.answer(reply_to, Err(Refusal::RecallsBusy));
            }
            _ => self.recalls.park(missing, envelope),
        }
        None
    }

    /// What SQL is to be asked for now; `None` while it is still being asked for something else.
    pub(crate) fn next_recall(&mut self) -> Option<Wanted> {
        self.recalls.next()
    }

    /// What SQL said to the last [`Core::next_recall`]; the commands that waited are carried out in the next turn.
    /// `None`: it did not answer.
    pub(crate) fn recalled(&mut self, stored: Option<Stored>, outlet: &mut impl Outlet) {
        let products: Vec<ProductId> = self.recalls.asked_people().collect();
        let safe_from = self.cell.people_known_since(products.iter().copied());
        let Some(mut stored) = self.recalls.returned(stored, safe_from) else {
            self.refuse_recalled(outlet);
            return;
        };
        for order in stored.orders {
            self.cell.admit(order, self.turn.now);
        }
        for product in products {
            let people = stored.people.remove(&product).unwrap_or_default();
            self.cell.recall_people(product, people, stored.position);
        }
    }

    fn refuse_recalled(&mut self, outlet: &mut impl Outlet) {
        let refused = self.recalls.take_asked().into_iter();
        let mut answers = refused
            .map(|reply_to| (reply_to, Err(Refusal::OrdersUnavailable)))
            .collect();
        outlet.answer(&mut answers);
    }

    // -- crashed actors ------------------------------------------------------------------------------------------

    /// Whatever the command touched may be half changed. What others touched in the same turn is as they left it.
    fn note_crash(&mut self, concerned: &Concerned) {
        self.turned.crashes += 1;
        let mut products = concerned.products(&self.cell);
        products.extend(self.turn.touched_by_command.iter().copied());
        tracing::error!(
            products = ?products,
            order.id = ?concerned.order(),
            "an actor crashed; it takes no orders until it is rebuilt from the journal"
        );
        self.cell.set_broken(&products, concerned.order());
    }

    pub(crate) fn broken(&self) -> Broken {
        self.cell.broken()
    }

    /// Reads the journal behind a record, to rebuild what is broken.
    pub(crate) fn reader(&self, after: Position) -> Result<Box<dyn JournalReader>, ReadError> {
        self.journal.reader(after)
    }

    /// Puts crashed actors back in service, taken from a cell that was rebuilt after they broke.
    pub(crate) fn mend(&mut self, rebuilt: Cell, broken: &Broken, outlet: &mut impl Outlet) {
        self.cell.mend(rebuilt, broken);
        self.effects.extend(self.cell.unfinished_effects_of(broken));
        for product in self.cell.products() {
            self.turn.touched.insert(product.id, ());
        }
        outlet.publish(&self.cell, &mut self.turn);
        self.release_effects(outlet);
    }

    // -- chores --------------------------------------------------------------------------------------------------

    /// Forgets what SQL has and nobody needs in memory, and lets old segments go; a slice at a time.
    pub(crate) fn upkeep(&mut self, moment: Moment) {
        self.journal.release_through(self.released(moment));
        self.put_off.append(&mut self.recalls.take_later());
        let Upkeep {
            projected,
            projected_through,
            checkpoint,
        } = &mut self.upkeep;
        if moment.projected < *projected {
            // SQL lost what it had: nothing more is forgotten until it has it again.
            projected_through.0 = Timestamp::ZERO;
        }
        *projected = moment.projected;
        if moment.projected >= checkpoint.1 {
            *projected_through = *checkpoint;
            *checkpoint = (moment.now, self.journal.position());
        }
        // Or it would be forgotten before it was of use, and asked for again and again.
        if self.recalls.needs_what_came_back() {
            return;
        }
        let (in_sql_through, sql_position) = *projected_through;
        let kept_since = moment.now.minus(self.limits.keep_settled);
        let forgotten =
            self.cell
                .forget_at_rest(in_sql_through, kept_since, Self::FORGOTTEN_AT_ONCE_MAX);
        if forgotten > 0 {
            self.recalls.note_forgotten(sql_position);
        }
        self.cell
            .forget_people(self.journal.position(), moment.projected, kept_since);
        self.cell.forget_recalled(
            moment.now.minus(Self::RECALLED_KEPT),
            in_sql_through.min(kept_since),
        );
    }

    /// Up to where nobody needs the journal any more. Whoever follows it behind SQL may hold it up by the same budget as
    /// SQL; from then on it loses what is older than the retention, rather than that the disk fills and the sale ends.
    fn released(&self, moment: Moment) -> Position {
        let followed = moment.followed.min(moment.projected_durably);
        if self.journal.bytes_after(followed) > self.limits.journal_budget_bytes {
            return moment.projected_durably;
        }
        followed
    }

    /// Marks the last batch as whole.
    pub(crate) fn seal(&mut self, outlet: &mut impl Outlet) -> Result<(), EngineFailure> {
        if self.has_failed {
            return Ok(());
        }
        self.journal.seal().map_err(|error| {
            self.fail(&mut Vec::new(), outlet);
            EngineFailure::Journal(error.to_string())
        })
    }

    /// After the last turn.
    pub(crate) fn close(&mut self) -> Result<Position, JournalError> {
        self.journal.seal()?;
        Ok(self.journal.position())
    }
}
