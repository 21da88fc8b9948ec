//! The projection as a follower of the journal: which pace, and what to do after a failure.

use std::time::Duration;

use super::projector::{ProjectError, Projector};
use crate::persistence::database::{Database, Error};
use crate::persistence::following::{
    self, Batch, Follow, FollowError, Follower, Options, Progress,
};
use crate::persistence::journal::{JournalReader, Position};

/// In a rush SQL works half of the time and leaves the rest to the buyers, for the first million records of it. After them
/// SQL keeps up as well as it can.
pub const PACE: Options = Options {
    batch_records_max: 8_000,
    idle: Duration::from_millis(50),
    batch_timeout: Duration::from_secs(30),
    retry_pause_min: Duration::from_millis(50),
    retry_pause_max: Duration::from_secs(5),
    rush_rest: 1,
    rush_batches_max: 125,
};

/// Why the projection cannot go on.
pub type StopReason = following::StopReason<ProjectError>;

/// A running projection. Dropping it lets it run on; see [`Projection::stop`].
#[derive(Debug)]
pub struct Projection(Follower<ProjectError>);

impl Projection {
    /// Follows `reader`, which must begin where `progress` and SQL stand (see [`Database::position`]).
    pub fn start(
        reader: Box<dyn JournalReader>,
        progress: Progress,
        database: Database,
        pace: Options,
    ) -> Result<Self, StopReason> {
        let projecting = Projecting {
            database,
            projector: None,
        };
        Follower::start(reader, progress, projecting, pace).map(Self)
    }

    pub fn progress(&self) -> &Progress {
        self.0.progress()
    }

    /// Ends after the batch in hand; blocks until then. Whoever wants more in SQL waits for it first, see
    /// [`Progress::wait_for`]; the next start carries on where this one ends.
    pub fn stop(self) -> Result<(), StopReason> {
        self.0.stop()
    }
}

struct Projecting {
    database: Database,
    /// `None` until SQL answers, and again after every failure.
    projector: Option<Projector>,
}

impl Follow for Projecting {
    type Error = ProjectError;

    const NAME: &'static str = "projection";
    const LOSS: &'static str = "SQL no longer follows the sale";
    const SKIPS_RELEASED: bool = false;

    fn may_read_through(&self) -> Position {
        Position::new(u64::MAX)
    }

    async fn apply(&mut self, batch: &Batch) -> Result<(), ProjectError> {
        let projector = match &mut self.projector {
            Some(projector) => projector,
            None => self
                .projector
                .insert(Projector::open(&self.database).await?),
        };
        projector.apply(batch).await
    }

    async fn rest(&mut self) -> Result<(), ProjectError> {
        match &mut self.projector {
            Some(projector) => Ok(projector.rest().await?),
            None => Ok(()),
        }
    }

    fn let_go(&mut self) {
        self.projector = None;
    }
}

impl FollowError for ProjectError {
    fn may_heal(&self) -> bool {
        match self {
            Self::Database(error) => error.may_be_put_right(),
            Self::Moved { .. } | Self::TimedOut { .. } => true,
            Self::Gap { .. } | Self::Disagreement(_) => false,
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::Database(Error::Refused(_)))
    }

    fn timed_out(after: Duration) -> Self {
        Self::TimedOut { after }
    }
}
