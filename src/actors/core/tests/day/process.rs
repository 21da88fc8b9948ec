//! The process in which the core lives: its inbox and its thread, how it dies, and how it is started again.
//!
//! What the shells around the core do in `actors/engine` is done here by hand, step for step.

use super::options::Options;
use super::oracle::Oracle;
use super::queue::SimEvent;
use super::sql::Sql;
use super::world::World;
use crate::actors::core::cell::{Broken, Cell};
use crate::actors::core::machine::{Core, EngineFailure, Moment, Outlet};
use crate::actors::core::message::{Answer, Command, Effect, Envelope, Refusal, ReplyTo};
use crate::actors::core::recall::{Stored, Wanted};
use crate::actors::core::replay::{ReplayError, replay};
use crate::actors::core::turn::Turn;
use crate::domain::{Span, Timestamp};
use crate::persistence::journal::{
    Disk, FaultPlan, FileJournal, Journal, OpenError, Position, ReadError, Recovery, View,
};

/// How the process ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Crash {
    /// Between two turns; what was written stays in the page cache.
    Killed,
    /// Between two turns, and the machine with it.
    PowerLost,
    /// In the next turn that has something to let out, after the append.
    BeforePublishing,
    BeforePerforming,
    BeforeAnswering,
    /// The disk fails in one of its next calls.
    DiskFails(FaultPlan),
}

impl Crash {
    fn is_same_place(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

pub(super) struct Process {
    pub(super) core: Core,
    pub(super) journal: View,
    pub(super) inbox: Vec<Envelope>,
    pub(super) turns: u64,
    /// The next turn, if one is planned.
    turn_at: Option<Timestamp>,
    /// The disk is busy until then.
    free_at: Timestamp,
    /// The next upkeep.
    upkeep_at: Timestamp,
    /// The last turn in which something happened.
    worked_at: Timestamp,
    /// Where in its next turn the process is to die.
    dies: Option<Crash>,
    mending: Option<(Broken, Position, Position)>,
    /// How far a second follower is, behind SQL.
    followed: Position,
    segment: String,
}

/// What left the core, for the world to deal with.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) effects: Vec<Effect>,
    pub(super) answers: Vec<(u32, Answer)>,
}

/// Holds what leaves against the journal, and cuts it off where the process is to die.
struct SimOutlet<'a> {
    oracle: &'a mut Oracle,
    left: &'a mut Left,
    is_watched: bool,
    has_room: bool,
    dies: Option<Crash>,
    is_dead: bool,
    is_published: bool,
}

impl SimOutlet<'_> {
    fn check_published(&self, cell: &Cell, turn: &Turn) {
        self.oracle.check_turn(turn.next_sequence() - 1);
        let sound = turn
            .touched
            .keys()
            .filter(|it| !cell.is_product_broken(**it));
        for (snapshot, _) in sound.filter_map(|it| cell.snapshot(*it)) {
            self.oracle.check_product(snapshot);
        }
    }

    /// Whether the process has ended, here if that is planned. From then on nobody sees anything of it.
    fn is_dead_at(&mut self, here: Crash, situation: &'static str) -> bool {
        let is_planned = self.dies.is_some_and(|it| it.is_same_place(here));
        if is_planned && !self.is_dead {
            self.is_dead = true;
            self.oracle.marks.hit(situation);
        }
        self.is_dead
    }
}

impl Outlet for SimOutlet<'_> {
    fn is_watched(&self) -> bool {
        self.is_watched
    }

    fn publish(&mut self, cell: &Cell, turn: &mut Turn) {
        self.is_published = true;
        if self.oracle.read_on().is_err() {
            self.is_dead = true;
        }
        let situation = "a crash after the append, before anything left";
        let has_records = !turn.batch.is_empty();
        if !(self.is_dead || has_records && self.is_dead_at(Crash::BeforePublishing, situation)) {
            self.check_published(cell, turn);
        }
        turn.touched.clear();
        turn.placed.clear();
        turn.offered.clear();
        turn.changed.clear();
        turn.places.clear();
    }

    fn perform(&mut self, effects: &mut Vec<Effect>) {
        if self.is_dead_at(Crash::BeforePerforming, "a crash before effects leave") {
            return effects.clear();
        }
        if !self.has_room {
            return self.oracle.marks.hit("there is no room for effects");
        }
        for effect in effects.iter() {
            self.oracle.check_effect(effect);
        }
        self.left.effects.append(effects);
    }

    fn fail(&mut self) {}

    fn answer(&mut self, answers: &mut Vec<(ReplyTo, Answer)>) {
        let situation = "a crash before answers leave";
        if !answers.is_empty() && self.is_dead_at(Crash::BeforeAnswering, situation) {
            return answers.clear();
        }
        for (reply_to, answer) in answers.drain(..) {
            let rests_on_nothing = matches!(
                answer,
                Err(Refusal::JournalFailed | Refusal::OrdersUnavailable)
            );
            assert!(
                self.is_published || rests_on_nothing,
                "answered before the turn was published: {answer:?}"
            );
            self.oracle.check_answer(&answer);
            if let ReplyTo::Slot { slot, .. } = reply_to {
                self.left.answers.push((slot, answer));
            }
        }
        self.is_published = false;
        self.oracle.end_of_turn();
    }
}

impl Process {
    fn new(core: Core, journal: View, now: Timestamp) -> Self {
        Self {
            core,
            journal,
            inbox: Vec::new(),
            turns: 0,
            turn_at: None,
            free_at: now,
            upkeep_at: now,
            worked_at: now,
            dies: None,
            mending: None,
            followed: Position::ZERO,
            segment: String::new(),
        }
    }
}

/// Commands in flight; the next is refused, as the engine's inbox does it.
const IN_FLIGHT_MAX: usize = 100;
const SEAL_AFTER_IDLE: Span = Span::from_millis(5);
const UPKEEP_EVERY: Span = Span::from_millis(500);
/// While nothing happens, upkeep has nothing to do but to see time pass.
const BUSY_FOR: Span = Span::from_secs(3);
const IDLE_UPKEEP_EVERY: Span = Span::from_secs(60);

impl World {
    // -- telling and asking --------------------------------------------------------------------------------------

    /// `false`: there is nobody who would listen, or no room.
    pub(super) fn send(&mut self, command: Command, reply_to: ReplyTo) -> bool {
        let Some(process) = &mut self.process else {
            return false;
        };
        if reply_to != ReplyTo::Nobody && process.inbox.len() >= IN_FLIGHT_MAX {
            self.oracle.marks.hit("too many commands are in flight");
            return false;
        }
        process.inbox.push(Envelope { command, reply_to });
        self.plan_turn(self.now());
        true
    }

    fn plan_turn(&mut self, at: Timestamp) {
        let (life, now) = (self.life, self.now());
        let Some(process) = &mut self.process else {
            return;
        };
        let at = at.max(process.free_at).max(now);
        if process.turn_at.is_none_or(|planned| at < planned) {
            process.turn_at = Some(at);
            self.events.in_life(life, at, SimEvent::Turn);
        }
    }

    fn plan_upkeep(&mut self, at: Timestamp) {
        let life = self.life;
        if let Some(process) = &mut self.process {
            process.upkeep_at = at;
            self.events.in_life(life, at, SimEvent::Upkeep);
        }
    }

    fn moment(&self) -> Moment {
        let followed = self.process.as_ref().map(|it| it.followed);
        Moment {
            now: self.now(),
            projected: self.sql.position,
            projected_durably: self.sql.position,
            followed: followed.unwrap_or_default(),
        }
    }

    // -- turns ---------------------------------------------------------------------------------------------------

    pub(super) fn turn(&mut self) {
        let now = self.now();
        let Some(process) = &mut self.process else {
            return;
        };
        if process.turn_at != Some(now) {
            return;
        }
        process.turn_at = None;
        self.take_turn();
    }

    fn take_turn(&mut self) {
        let moment = self.moment();
        let has_room = !self.random.engine.chance(self.options.no_room);
        let World {
            process,
            oracle,
            left,
            options,
            ..
        } = self;
        let Some(process) = process else { return };
        let mut outlet = SimOutlet {
            oracle,
            left,
            is_watched: options.is_watched,
            has_room,
            dies: process.dies,
            is_dead: false,
            is_published: false,
        };
        let mut commands = std::mem::take(&mut process.inbox);
        let taken = commands.len();
        let turned = process.core.take_turn(moment, &mut commands, &mut outlet);
        let is_dead = outlet.is_dead;
        process.turns += 1;
        match turned {
            Err(EngineFailure::Rules(rule)) => panic!("the engine stopped itself: {rule}"),
            Err(EngineFailure::Journal(failure)) => {
                self.note(|| format!("    {failure}"));
                let marks = &mut self.oracle.marks;
                marks.hit("the disk fails in a turn");
                marks.hit_if(taken > 1, "the disk fails in a turn with several commands");
                self.release();
                self.die();
            }
            Ok(_) if is_dead => {
                let marks = &mut self.oracle.marks;
                marks.hit_if(taken > 1, "a crash in a turn with several commands");
                self.release();
                self.die();
            }
            Ok(turned) => {
                self.note(|| format!("    {taken} commands, {} records", turned.records));
                let busy = match turned.batches {
                    0 => Span::from_millis(1),
                    _ => self
                        .random
                        .engine
                        .span(self.options.sync.0, self.options.sync.1),
                };
                if let Some(process) = &mut self.process {
                    process.free_at = moment.now.plus(busy);
                }
                self.after_turn(turned.worked);
            }
        }
    }

    fn after_turn(&mut self, worked: bool) {
        let (life, now) = (self.life, self.now());
        self.note_switch();
        self.release();
        self.ask_for_recalled();
        self.mend_if_broken();
        let Some(process) = &mut self.process else {
            return;
        };
        let (turns, due) = (process.turns, process.core.next_due());
        let upkeep_at = process.upkeep_at;
        if worked {
            process.worked_at = now;
            let idle_at = now.plus(SEAL_AFTER_IDLE);
            self.events.in_life(life, idle_at, SimEvent::Seal { turns });
        }
        if worked || !process.inbox.is_empty() {
            self.plan_turn(now);
            self.plan_sql(now);
        }
        // Timers are late.
        if let Some(due) = due {
            let at = due.max(now).plus(self.random.engine.millis(0, 100));
            self.plan_turn(at);
        }
        if worked && upkeep_at > now.plus(UPKEEP_EVERY) {
            self.plan_upkeep(now.plus(UPKEEP_EVERY));
        }
    }

    pub(super) fn seal(&mut self, turns: u64) {
        let World {
            process,
            oracle,
            left,
            ..
        } = self;
        let Some(process) = process.as_mut().filter(|it| it.turns <= turns + 1) else {
            return;
        };
        let mut outlet = SimOutlet::open(oracle, left);
        if process.core.seal(&mut outlet).is_err() {
            self.oracle.marks.hit("the disk fails while sealing");
            self.release();
            self.die();
        }
    }

    /// Passes on what left the core.
    fn release(&mut self) {
        let Left { effects, answers } = std::mem::take(&mut self.left);
        for effect in effects {
            self.perform(effect);
        }
        for (slot, answer) in answers {
            self.hear(slot, answer);
        }
    }

    fn note_switch(&mut self) {
        let Ok(mut names) = self.disk.list() else {
            return;
        };
        names.retain(|name| name.starts_with("journal-"));
        let newest = names.iter().max().cloned().unwrap_or_default();
        let Some(process) = &mut self.process else {
            return;
        };
        if process.segment == newest {
            return;
        }
        let content = self.disk.read_file(&newest).unwrap_or_default();
        let is_recycled = content[content.len() / 2..].iter().any(|byte| *byte != 0);
        let marks = &mut self.oracle.marks;
        marks.hit_if(
            !process.segment.is_empty(),
            "the journal goes on in another segment",
        );
        marks.hit_if(is_recycled, "a released segment is used again");
        process.segment = newest;
    }

    // -- upkeep --------------------------------------------------------------------------------------------------

    pub(super) fn upkeep(&mut self) {
        let (now, moment) = (self.now(), self.moment());
        let World {
            process,
            oracle,
            left,
            sql,
            ..
        } = self;
        let Some(process) = process.as_mut().filter(|it| it.upkeep_at == now) else {
            return;
        };
        let at_rest = process.core.cell().at_rest_len();
        process.core.upkeep(moment);
        if process.core.cell().at_rest_len() != at_rest {
            check_forgotten(process.core.cell(), oracle, sql);
        }
        let mut outlet = SimOutlet::open(oracle, left);
        process.core.release_effects(&mut outlet);
        process.followed = process.followed.max(moment.projected);
        let is_busy = now.since(process.worked_at) < BUSY_FOR;
        self.release();
        self.plan_turn(now);
        let pause = if is_busy {
            UPKEEP_EVERY
        } else {
            IDLE_UPKEEP_EVERY
        };
        self.plan_upkeep(now.plus(pause));
    }

    // -- what has left memory ----------------------------------------------------------------------------

    fn ask_for_recalled(&mut self) {
        let (life, now) = (self.life, self.now());
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(wanted) = process.core.next_recall() else {
            return;
        };
        let at = now.plus(self.random.sql.millis(1, 1_500));
        let is_read_at_once = self.random.sql.chance(50) && !self.sql.is_away(now);
        let read = is_read_at_once.then(|| self.sql.recall(&wanted));
        self.events
            .in_life(life, at, SimEvent::Recalled { wanted, read });
    }

    pub(super) fn recalled(&mut self, wanted: &Wanted, read: Option<Stored>) {
        let now = self.now();
        let World {
            process,
            oracle,
            left,
            sql,
            ..
        } = self;
        let Some(process) = process else { return };
        let stored = read.or_else(|| sql.ask(now, wanted).ok());
        let marks = &mut oracle.marks;
        match &stored {
            None => marks.hit("a recall finds SQL away"),
            Some(stored) => {
                marks.hit_if(
                    stored.orders.len() < wanted.orders.len(),
                    "an unknown order is recalled",
                );
                marks.hit_if(!stored.orders.is_empty(), "an order is recalled");
                marks.hit_if(!wanted.people.is_empty(), "people are recalled");
                marks.hit_if(stored.position < sql.highest, "a recall finds SQL older");
            }
        }
        let mut outlet = SimOutlet::open(oracle, left);
        process.core.recalled(stored, &mut outlet);
        self.take_turn();
    }

    // -- crashed actors ------------------------------------------------------------------------------------------

    fn mend_if_broken(&mut self) {
        let (life, now) = (self.life, self.now());
        let from = self.sql.position;
        let Some(process) = &mut self.process else {
            return;
        };
        let broken = process.core.broken();
        if process.mending.is_some() || broken.is_empty() {
            return;
        }
        process.mending = Some((broken, from, process.core.position()));
        let at = now.plus(self.random.sql.millis(1, 3_000));
        self.events.in_life(life, at, SimEvent::Mended);
    }

    pub(super) fn mend(&mut self) {
        let now = self.now();
        let Some(process) = &mut self.process else {
            return;
        };
        let Some((broken, from, through)) = process.mending.take() else {
            return;
        };
        let rebuilt = match process.core.reader(from) {
            Ok(_) if self.sql.is_away(now) => None,
            Ok(mut reader) => {
                let live = self.sql.live_state(keep_since(&self.options, now));
                let sql = &self.sql;
                let mut ask = |wanted: Wanted| sql.ask(now, &wanted);
                replay(live, reader.as_mut(), through, self.options.cell, &mut ask).ok()
            }
            Err(_) => None,
        };
        let Some(rebuilt) = rebuilt else {
            return self.mend_if_broken();
        };
        let mut outlet = SimOutlet::open(&mut self.oracle, &mut self.left);
        process.core.mend(rebuilt, &broken, &mut outlet);
        self.oracle.marks.hit("crashed actors are rebuilt");
        self.oracle.in_service_since = now;
        self.release();
        self.plan_turn(now);
    }

    // -- dying and starting --------------------------------------------------------------------------------------

    pub(super) fn crash(&mut self, crash: Crash) {
        let Some(process) = &mut self.process else {
            return;
        };
        match crash {
            Crash::Killed => self.die(),
            Crash::PowerLost => {
                self.die();
                self.disk = self.disk.crash();
            }
            Crash::BeforePublishing | Crash::BeforePerforming | Crash::BeforeAnswering => {
                process.dies = Some(crash);
            }
            Crash::DiskFails(plan) => self.disk.plan(plan),
        }
    }

    /// Everything in memory is gone, and half of the time the machine stops too.
    fn die(&mut self) {
        self.life += 1;
        self.process = None;
        self.left = Left::default();
        self.calls.clear();
        self.oracle.marks.hit("the process ends");
        let is_off = self.disk.list().is_err();
        if is_off || self.random.engine.chance(50) {
            self.disk = self.disk.crash();
        }
        self.disk.plan(FaultPlan::default());
        self.hang_up();
        let (shortest, longest) = self.options.down;
        let down = self.random.engine.span(shortest, longest);
        self.events.after(down, SimEvent::Restart);
    }

    pub(super) fn start(&mut self) {
        let now = self.now();
        if self.sql.is_away(now) {
            self.oracle.marks.hit("a start waits for SQL");
            let pause = self.random.engine.secs(1, 30);
            return self.events.after(pause, SimEvent::Restart);
        }
        let is_faulty = now < super::options::HEALED
            && self
                .random
                .engine
                .chance(self.options.faults_while_starting);
        if is_faulty {
            let nth = self.random.engine.between(1, 60);
            self.disk.plan(FaultPlan {
                power_cut: Some(nth),
                ..FaultPlan::default()
            });
        }
        match self.try_to_start() {
            Ok(recovery) => self.started(&recovery),
            Err(StartFailure::Disk) => {
                self.oracle.marks.hit("the disk fails in a start");
                self.die();
            }
        }
        if is_faulty && self.process.is_some() {
            self.disk.plan(FaultPlan::default());
        }
    }

    fn try_to_start(&mut self) -> Result<Recovery, StartFailure> {
        let now = self.now();
        let (journal, recovery) = FileJournal::open(self.disk.clone(), self.options.journal())?;
        let view = journal.view();
        let known = self.oracle.position;
        assert!(recovery.last >= known, "records that were durable are gone");
        self.oracle.follow(view.reader(known)?);
        self.oracle.read_on()?;
        self.note(|| format!("    {recovery:?}"));
        let marks = &mut self.oracle.marks;
        marks.hit_if(recovery.last > known, "the batch in flight was kept");
        marks.hit_if(recovery.torn_tail.is_some(), "a torn tail");
        assert!(
            self.sql.position <= recovery.last,
            "SQL is ahead of the journal"
        );

        let loaded_at = self.sql.position;
        let live = self.sql.live_state(keep_since(&self.options, now));
        let mut reader = view.reader(loaded_at)?;
        let mut asked = 0;
        let sql = &self.sql;
        let mut ask = |wanted: Wanted| {
            asked += wanted.orders.len();
            sql.ask(now, &wanted)
        };
        let limits = self.options.cell;
        let cell = replay(live, reader.as_mut(), recovery.last, limits, &mut ask)?;
        let marks = &mut self.oracle.marks;
        marks.hit_if(asked > 0, "a replay asks for orders");
        marks.hit_if(loaded_at < self.sql.highest, "a start finds SQL older");
        self.oracle.check_cell(&cell, now);
        self.oracle.recount();
        let core = Core::new(cell, Box::new(journal), loaded_at, self.options.core);
        self.process = Some(Process::new(core, view, now));
        Ok(recovery)
    }

    fn started(&mut self, _: &Recovery) {
        let now = self.now();
        self.oracle.in_service_since = now;
        let World {
            process,
            oracle,
            left,
            ..
        } = self;
        let Some(process) = process else { return };
        let unfinished = process.core.cell().unfinished_effects();
        let (look_ups, refunds): (Vec<_>, Vec<_>) = unfinished
            .iter()
            .partition(|effect| matches!(effect, Effect::LookUp(_)));
        let marks = &mut oracle.marks;
        marks.hit_if(!look_ups.is_empty(), "a payment over a crash is looked up");
        marks.hit_if(!refunds.is_empty(), "a refund over a crash is repeated");
        let mut outlet = SimOutlet::open(oracle, left);
        process.core.release_effects(&mut outlet);
        self.release();
        self.plan_turn(now);
        self.plan_upkeep(now.plus(UPKEEP_EVERY));
        self.plan_sql(now);
    }
}

impl<'a> SimOutlet<'a> {
    /// For what the core lets out between turns.
    fn open(oracle: &'a mut Oracle, left: &'a mut Left) -> Self {
        Self {
            oracle,
            left,
            is_watched: false,
            has_room: true,
            dies: None,
            is_dead: false,
            is_published: false,
        }
    }
}

/// Orders that leave memory are in SQL as they are, or were there before it came back older.
fn check_forgotten(cell: &Cell, oracle: &mut Oracle, sql: &Sql) {
    for order in oracle.cell.orders().filter(|it| !cell.has_order(it.id)) {
        let last = oracle.last_change(order.id);
        assert!(
            last <= sql.highest,
            "{} left memory before SQL had it",
            order.id
        );
    }
    let is_any = oracle.cell.orders().any(|it| !cell.has_order(it.id));
    oracle.marks.hit_if(is_any, "orders leave memory");
}

/// As a start reads it: those at rest that were placed within twice the time that memory keeps them.
fn keep_since(options: &Options, now: Timestamp) -> Timestamp {
    let kept = options.core.keep_settled;
    now.minus(kept).minus(kept)
}

/// Whatever else keeps a start from succeeding is a fault of the program.
enum StartFailure {
    Disk,
}

impl From<OpenError> for StartFailure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(_) => Self::Disk,
            other => panic!("the journal does not open: {other}"),
        }
    }
}

impl From<ReadError> for StartFailure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(_) => Self::Disk,
            other => panic!("the journal cannot be read: {other}"),
        }
    }
}

impl From<ReplayError> for StartFailure {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Read(error) => error.into(),
            other => panic!("a start is refused: {other}"),
        }
    }
}
