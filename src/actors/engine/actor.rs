//! The engine's thread as an actix actor: a thin shell around the [`Core`].
//!
//! A turn takes every command that is ready, and the thread blocks in the journal's fdatasync on purpose; what arrives
//! meanwhile is the next batch. There is no commit delay. What the shell adds to the core is what the core must not
//! know: when it is woken, what time it is, and who reads SQL.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::fut::WrapFuture;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle};
use futures_util::future::BoxFuture;

use super::inbox::{SharedEngine, Wake};
use super::outlet::EngineOutlet;
use crate::actors::core::cell::{Broken, Cell};
use crate::actors::core::machine::{Core, EngineFailure, Moment, Turned};
use crate::actors::core::message::Envelope;
use crate::actors::core::recall::{Stored, Wanted};
use crate::domain::Timestamp;
use crate::persistence::journal::{JournalError, JournalReader, Position};

/// Asks for a last turn and a sealed journal.
#[derive(Message, Debug)]
#[rtype(result = "Result<Position, JournalError>")]
pub(crate) struct Close;

/// Rebuilds a cell from SQL and the journal up to a record, away from the engine's thread.
pub(crate) type Rebuild = Box<
    dyn Fn(Box<dyn JournalReader>, Position) -> BoxFuture<'static, anyhow::Result<Cell>> + Send,
>;

/// Reads from SQL what has left memory, away from the engine's thread.
pub type Recall = Arc<dyn Fn(Wanted) -> BoxFuture<'static, anyhow::Result<Stored>> + Send + Sync>;

/// How far SQL, or everybody, has followed the journal.
pub(crate) type Projected = Box<dyn Fn() -> Position + Send>;

/// Told once when the engine stops for good.
pub(crate) type OnFailure = Box<dyn Fn(EngineFailure) + Send>;

pub(crate) struct EngineActor {
    shared: Arc<SharedEngine>,
    core: Core,
    outlet: EngineOutlet,
    commands: Vec<Envelope>,
    rebuild: Rebuild,
    rebuilding: bool,
    recall: Recall,
    projected: Projected,
    projected_durably: Projected,
    followed: Projected,
    on_failure: OnFailure,
    alarm: Option<(Timestamp, SpawnHandle)>,
    seal_alarm: Option<SpawnHandle>,
}

/// What the engine is made of besides its core.
pub(crate) struct EngineActorParts {
    pub(crate) shared: Arc<SharedEngine>,
    pub(crate) core: Core,
    pub(crate) outlet: EngineOutlet,
    pub(crate) rebuild: Rebuild,
    pub(crate) recall: Recall,
    pub(crate) projected: Projected,
    pub(crate) projected_durably: Projected,
    pub(crate) followed: Projected,
    pub(crate) on_failure: OnFailure,
}

impl std::fmt::Debug for EngineActor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("EngineActor")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

impl EngineActor {
    /// How long the journal waits for more before it marks its last batch as whole.
    const SEAL_AFTER_IDLE: Duration = Duration::from_millis(5);
    /// After so many turns without a pause the thread's other tasks get theirs: timers, upkeep, shutdown.
    const TURNS_AT_ONCE_MAX: u32 = 64;
    const REBUILD_AGAIN_AFTER: Duration = Duration::from_secs(1);
    const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(1);
    const LOOK_AT_BROKEN_EVERY: Duration = Duration::from_millis(100);
    const UPKEEP_EVERY: Duration = Duration::from_millis(500);

    pub(crate) fn new(parts: EngineActorParts) -> Self {
        Self {
            shared: parts.shared,
            core: parts.core,
            outlet: parts.outlet,
            commands: Vec::new(),
            rebuild: parts.rebuild,
            rebuilding: false,
            recall: parts.recall,
            projected: parts.projected,
            projected_durably: parts.projected_durably,
            followed: parts.followed,
            on_failure: parts.on_failure,
            alarm: None,
            seal_alarm: None,
        }
    }

    /// Turns until there is nothing left to do, then sleeps.
    fn run(&mut self, context: &mut Context<Self>) {
        if let Err(failure) = self.take_turns(context) {
            return self.fail(failure);
        }
        self.recall(context);
        self.mend_if_broken(context);
        self.set_alarm(context);
        self.set_seal_alarm(context);
    }

    fn take_turns(&mut self, context: &mut Context<Self>) -> Result<(), EngineFailure> {
        for turn in 0.. {
            self.shared.take_commands(&mut self.commands);
            let moment = self.moment();
            let turned = self
                .core
                .take_turn(moment, &mut self.commands, &mut self.outlet)?;
            self.count(turned);
            self.shared.note_room(self.core.has_room());
            if !turned.worked && self.shared.fall_asleep() {
                break;
            }
            if turn == Self::TURNS_AT_ONCE_MAX {
                context.notify(Wake);
                break;
            }
        }
        Ok(())
    }

    fn moment(&self) -> Moment {
        Moment {
            now: self.shared.time.stamp(),
            projected: (self.projected)(),
            projected_durably: (self.projected_durably)(),
            followed: (self.followed)(),
        }
    }

    fn count(&self, turned: Turned) {
        self.shared.release(turned.admitted);
        let counters = &self.shared.counters;
        counters
            .batches
            .fetch_add(turned.batches, Ordering::Relaxed);
        counters
            .records
            .fetch_add(turned.records, Ordering::Relaxed);
        counters
            .actor_crashes
            .fetch_add(turned.crashes, Ordering::Relaxed);
        counters
            .holds_expired_late_us_max
            .fetch_max(turned.late.as_micros(), Ordering::Relaxed);
    }

    /// The core promises nothing any more; everybody else is told.
    fn fail(&self, failure: EngineFailure) {
        tracing::error!(error = %failure, "{failure}; no order is taken until a restart");
        (self.on_failure)(failure);
    }

    // -- what SQL is asked for -----------------------------------------------------------------------------------

    /// Asks for what somebody waits for and is not in memory.
    fn recall(&mut self, context: &mut Context<Self>) {
        let Some(wanted) = self.core.next_recall() else {
            return;
        };
        let asked = (self.recall)(wanted).into_actor(self);
        context.spawn(asked.map(|stored, host, context| {
            if let Err(error) = &stored {
                tracing::warn!(%error, "what has left memory cannot be read: {error:#}");
            }
            host.core.recalled(stored.ok(), &mut host.outlet);
            host.run(context);
        }));
    }

    fn mend_if_broken(&mut self, context: &mut Context<Self>) {
        let broken = self.core.broken();
        if self.rebuilding || self.core.has_failed() || broken.is_empty() {
            return;
        }
        self.rebuilding = true;
        match self.core.reader((self.projected)()) {
            Ok(reader) => {
                let rebuilt = (self.rebuild)(reader, self.core.position()).into_actor(self);
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
        if self.core.has_failed() {
            return;
        }
        match rebuilt {
            Ok(cell) => {
                self.core.mend(cell, broken, &mut self.outlet);
                self.shared.watchers.tell_all_to_read_anew();
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

    /// Wakes the engine when the next hold ends, if nothing else does before; and before that once in a while, because
    /// timers do not know how fast engine time runs, nor that the machine was asleep.
    fn set_alarm(&mut self, context: &mut Context<Self>) {
        let next = self.core.next_due();
        if self.alarm.as_ref().map(|(due, _)| *due) == next {
            return;
        }
        if let Some((_, alarm)) = self.alarm.take() {
            context.cancel_future(alarm);
        }
        let Some(due) = next else { return };
        let mut wait = Duration::from_micros(due.since(self.shared.now()).as_micros());
        wait = wait.min(Self::LOOK_AT_CLOCK_EVERY);
        if !self.core.broken().is_empty() {
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
            if let Err(failure) = host.core.seal(&mut host.outlet) {
                host.fail(failure);
            }
        });
        self.seal_alarm = Some(alarm);
    }
}

impl Actor for EngineActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.core.release_effects(&mut self.outlet);
        context.run_interval(Self::UPKEEP_EVERY, |host, context| {
            host.shared.time.look();
            let moment = host.moment();
            host.core.upkeep(moment);
            host.core.release_effects(&mut host.outlet);
            host.outlet.renew_board(host.core.cell());
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
        self.core.close()
    }
}
