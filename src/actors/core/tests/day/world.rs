//! The world around the core: what happens next happens, until the end, and then everything is compared.

use std::collections::BTreeMap;

use super::buyers::Visit;
use super::options::{END, HEALED, Options, START};
use super::oracle::Oracle;
use super::payments::{Call, CallId, Provider};
use super::process::{Left, Process};
use super::queue::{EventQueue, SimEvent};
use super::random::{Part, Random};
use super::sql::Sql;
use super::staff::Job;
use crate::actors::core::message::{Answer, Command, ReplyTo};
use crate::domain::{KeyHash, OrderState, Phase, Span, Timestamp};
use crate::persistence::journal::{FaultPlan, Position, ReadError, SimDisk};

pub(super) struct World {
    pub(super) options: Options,
    pub(super) random: Sources,
    pub(super) events: EventQueue,
    pub(super) oracle: Oracle,
    pub(super) trace: Option<Vec<String>>,

    pub(super) disk: SimDisk,
    pub(super) process: Option<Process>,
    /// Counts the ends of the process.
    pub(super) life: u64,
    pub(super) left: Left,

    pub(super) sql: Sql,
    sql_is_planned: bool,

    pub(super) provider: Provider,
    pub(super) calls: BTreeMap<CallId, Call>,
    pub(super) last_call: CallId,

    pub(super) visits: Vec<Visit>,
    pub(super) jobs: Vec<Job>,
    waiting: BTreeMap<u32, Asker>,
    slots: u32,
    ids: u128,
    pub(super) commands: u64,
}

/// One source of chance for each part of the world.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) engine: Random,
    pub(super) sql: Random,
    pub(super) provider: Random,
    pub(super) buyers: Random,
    pub(super) staff: Random,
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asker {
    Visit(usize),
    /// The same request of a visit once more.
    Echo(KeyHash),
    Job(usize),
    /// The provider, with a webhook.
    Provider(usize),
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let options = Options::draw(seed);
        let mut world = Self {
            random: Sources {
                engine: Random::new(seed, Part::Engine),
                sql: Random::new(seed, Part::Sql),
                provider: Random::new(seed, Part::Provider),
                buyers: Random::new(seed, Part::Buyers),
                staff: Random::new(seed, Part::Staff),
            },
            events: EventQueue::new(START, Random::new(seed, Part::Events)),
            oracle: Oracle::new(options.late_max()),
            trace: None,
            disk: SimDisk::new(Random::new(seed, Part::Disk).number()),
            process: None,
            life: 0,
            left: Left::default(),
            sql: Sql::new(),
            sql_is_planned: false,
            provider: Provider::default(),
            calls: BTreeMap::new(),
            last_call: 0,
            visits: Vec::new(),
            jobs: Vec::new(),
            waiting: BTreeMap::new(),
            slots: 0,
            ids: 0x1000,
            commands: 0,
            options,
        };
        world.plan();
        world
    }

    fn plan(&mut self) {
        self.plan_jobs();
        self.plan_visits();
        let Options {
            crashes,
            sql_outages,
            sql_fall_backs,
            provider_outages,
            ..
        } = self.options.clone();
        let events = &mut self.events;
        for (at, crash) in crashes {
            events.at(at, SimEvent::Crash(crash));
        }
        for (at, span) in sql_outages {
            events.at(at, SimEvent::SqlGoesAway(span));
        }
        for at in sql_fall_backs {
            events.at(at, SimEvent::SqlFallsBack);
        }
        for (at, span) in provider_outages {
            events.at(at, SimEvent::ProviderGoesAway(span));
        }
        events.at(HEALED, SimEvent::Heal);
        events.at(END, SimEvent::End);
        events.at(START, SimEvent::Restart);
    }

    pub(super) fn run(&mut self) {
        while let Some(event) = self.events.pop(self.life) {
            if let SimEvent::End = event {
                return self.check_end();
            }
            self.note(|| format!("{event:?}"));
            self.happen(event);
        }
    }

    fn happen(&mut self, event: SimEvent) {
        match event {
            SimEvent::Turn => self.turn(),
            SimEvent::Seal { turns } => self.seal(turns),
            SimEvent::Upkeep => self.upkeep(),
            SimEvent::Recalled { wanted, read } => self.recalled(&wanted, read),
            SimEvent::Mended => self.mend(),
            SimEvent::Crash(crash) => self.crash(crash),
            SimEvent::Restart => self.start(),
            SimEvent::SqlReads => self.sql_reads(),
            SimEvent::SqlGoesAway(span) => self.sql.away_until = self.now().plus(span),
            SimEvent::SqlFallsBack => self.sql_falls_back(),
            SimEvent::Visit(number) => self.visit(number),
            SimEvent::Job(number) => self.job(number),
            SimEvent::Round(round) => self.go_round(round),
            SimEvent::ProviderGoesAway(span) => self.provider.away_until = self.now().plus(span),
            SimEvent::CallArrives(id, errand, order) => self.call_arrives(id, errand, &order),
            SimEvent::CallReturns(id, returned) => self.call_returns(id, returned),
            SimEvent::CallIsLate(id) => self.call_is_late(id),
            SimEvent::CallTimesOut(id) => self.call_times_out(id),
            SimEvent::CallAgain(errand, order, pause) => self.call(errand, order, pause),
            SimEvent::Webhook(number) => self.webhook(number),
            SimEvent::Heal => self.heal(),
            SimEvent::End => unreachable!("handled before"),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.events.now
    }

    /// For whoever reads a failure.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        let since = self.now().since(START).as_micros();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{since:>12} {}", what()));
        }
    }

    pub(super) fn fresh(&mut self) -> u128 {
        self.ids += 1;
        self.ids
    }

    // -- asking and hearing --------------------------------------------------------------------------------------

    /// `false`: nobody took the request.
    pub(super) fn ask(&mut self, asker: Asker, command: Command) -> bool {
        self.slots += 1;
        let slot = self.slots;
        self.note(|| format!("    {slot} {asker:?} {command:?}"));
        if !self.send(command, ReplyTo::Slot { lane: 0, slot }) {
            return false;
        }
        self.commands += 1;
        self.waiting.insert(slot, asker);
        true
    }

    pub(super) fn hear(&mut self, slot: u32, answer: Answer) {
        self.note(|| format!("    {slot} is answered {answer:?}"));
        let asker = self.waiting.remove(&slot);
        match asker.expect("an answer that nobody waits for") {
            Asker::Visit(number) => self.visit_hears(number, answer),
            Asker::Echo(key) => self.echo_answered(key, &answer),
            Asker::Job(number) => self.job_answered(number, &answer),
            Asker::Provider(number) => self.webhook_answered(number, &answer),
        }
    }

    /// The process is gone: whoever waits for an answer will ask again.
    pub(super) fn hang_up(&mut self) {
        for asker in std::mem::take(&mut self.waiting).into_values() {
            match asker {
                Asker::Visit(number) => self.try_again(number),
                Asker::Job(number) => self.do_again(number),
                Asker::Echo(_) | Asker::Provider(_) => {}
            }
        }
    }

    // -- SQL -----------------------------------------------------------------------------------------------------

    pub(super) fn plan_sql(&mut self, now: Timestamp) {
        if self.sql_is_planned {
            return;
        }
        self.sql_is_planned = true;
        let (shortest, longest) = self.options.sql_pause;
        let pause = self.random.sql.span(shortest, longest);
        let at = now.plus(pause).max(self.sql.away_until);
        self.events.at(at, SimEvent::SqlReads);
    }

    fn sql_reads(&mut self) {
        self.sql_is_planned = false;
        let now = self.now();
        let records_max = self.options.sql_records_max;
        let Some(process) = &self.process else { return };
        if self.sql.is_away(now) {
            return self.plan_sql(now);
        }
        let reader = process.journal.reader(self.sql.position);
        let read = reader.and_then(|mut it| self.sql.follow(it.as_mut(), records_max));
        match read {
            Ok(0) => {}
            Ok(_) => self.plan_sql(now),
            // The power is off; the next turn meets it.
            Err(ReadError::Io(_)) => {}
            Err(error) => panic!("SQL cannot follow: {error}"),
        }
    }

    /// As far as the journal lets it catch up again.
    fn sql_falls_back(&mut self) {
        let Some(process) = &self.process else { return };
        let wanted = self.sql.position.get() / 100 * self.random.sql.between(80, 100);
        let is_kept = |at: u64| process.journal.reader(Position::new(at)).is_ok();
        let Some(to) = (wanted..self.sql.position.get()).find(|at| is_kept(*at)) else {
            return;
        };
        self.sql.fall_back(Position::new(to), &self.oracle.events);
        self.oracle.marks.hit("SQL comes back older");
        self.plan_sql(self.now());
    }

    // -- the end -------------------------------------------------------------------------------------------------

    fn heal(&mut self) {
        self.disk.plan(FaultPlan::default());
        self.sql.away_until = self.now();
        self.provider.away_until = self.now();
        self.options.provider.unanswered = 0;
        self.options.provider.lost = 0;
        self.options.no_room = 0;
        self.options.sql_pause = (Span::from_millis(5), Span::from_millis(50));
    }

    fn check_end(&mut self) {
        self.check_visits();
        self.check_jobs();
        self.check_ledger();
        let now = self.now();
        let process = self.process.as_ref().expect("the process runs");
        let live = process.core.cell();
        self.oracle.check_cell(live, now);
        self.oracle.recount();
        for order in self.oracle.cell.orders() {
            let is_live = matches!(
                order.state,
                OrderState::Held | OrderState::Paying | OrderState::CancelRequested
            );
            assert!(!is_live, "a hold never ended: {order:?}");
        }
        for product in live.products() {
            let snapshot = product.snapshot();
            assert_eq!(snapshot.phase(now), Phase::Closed);
            assert_eq!(
                (snapshot.waiting, snapshot.offers),
                (0, 0),
                "who waits in vain"
            );
        }
        assert_eq!(
            self.sql.position, self.oracle.position,
            "SQL has everything"
        );
        self.check_sql();
    }

    fn check_sql(&self) {
        let (sql, oracle) = (&self.sql.cell, &self.oracle.cell);
        assert_eq!(sql.orders().count(), oracle.orders().count());
        assert_eq!(sql.products().count(), oracle.products().count());
        for order in sql.orders() {
            assert_eq!(oracle.sound_order(order.id), Some(order));
        }
        for product in sql.products() {
            assert_eq!(Some(product), oracle.snapshot(product.id).map(|it| it.1));
        }
    }
}
