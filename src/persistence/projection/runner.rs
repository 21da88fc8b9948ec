//! The projection as a follower of the journal: which pace, and what to do after a failure.

use std::time::Duration;

use super::projector::{ProjectError, Projector};
use crate::persistence::database::{Database, Error, FollowerName};
use crate::persistence::following::{
    self, Batch, Bookmark, Follow, FollowError, Follower, Options, Progress, ResumeError,
    ResumePoint,
};
use crate::persistence::journal::{Position, View};

/// In a rush SQL works half of the time and leaves the rest to the buyers, for the first million records of it. After them
/// SQL keeps up as well as it can.
pub const PACE: Options = Options {
    batch_records_max: 8_000,
    idle: Duration::from_millis(50),
    batch_timeout: Duration::from_secs(30),
    commit_durably_every: Duration::from_secs(5),
    retry_pause_min: Duration::from_millis(50),
    retry_pause_max: Duration::from_secs(5),
    rush_rest: 1,
    rush_batches_max: 125,
};

/// Why the projection cannot go on.
pub type StopReason = following::StopReason<ProjectError>;

/// Why SQL cannot follow a journal.
#[derive(Debug, thiserror::Error)]
pub enum ResumeProjectionError {
    #[error(transparent)]
    Resume(#[from] ResumeError),
    #[error(transparent)]
    Database(#[from] Error),
}

/// A running projection. Dropping it lets it run on; see [`Projection::stop`].
#[derive(Debug)]
pub struct Projection(Follower<ProjectError>);

impl Projection {
    /// Where SQL stands in this journal. What an earlier release wrote is bound to it once the projection runs.
    pub async fn find(
        database: &Database,
        journal: &View,
    ) -> Result<ResumePoint, ResumeProjectionError> {
        let stored = database.bookmark(FollowerName::Projection).await?;
        Ok(ResumePoint::find(stored, journal)?)
    }

    /// Follows the journal from `point` on, which was found in it and where `progress` stands.
    pub fn start(
        journal: View,
        point: ResumePoint,
        progress: Progress,
        database: Database,
        pace: Options,
    ) -> Result<Self, StopReason> {
        let projecting = Projecting {
            database,
            projector: None,
        };
        Follower::start(journal, point, progress, projecting, pace).map(Self)
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

impl Projecting {
    async fn projector(&mut self) -> Result<&mut Projector, Error> {
        match &mut self.projector {
            Some(projector) => Ok(projector),
            none => Ok(none.insert(Projector::open(&self.database).await?)),
        }
    }
}

impl Follow for Projecting {
    type Error = ProjectError;

    const NAME: &'static str = "projection";
    const LOSS: &'static str = "SQL no longer follows the sale";
    const SKIPS_RELEASED: bool = false;

    fn may_read_through(&self) -> Position {
        Position::new(u64::MAX)
    }

    async fn bookmark(&mut self) -> Result<Bookmark, ProjectError> {
        Ok(self.projector().await?.bookmark().await?)
    }

    async fn settle(&mut self, bookmark: Bookmark) -> Result<(), ProjectError> {
        self.projector().await?.settle(bookmark).await
    }

    fn always_commits_durably(&self) -> bool {
        self.database.dialect().always_commits_durably()
    }

    async fn apply(&mut self, batch: &Batch, durably: bool) -> Result<(), ProjectError> {
        let projector = self.projector().await?;
        projector.commit_durably(durably).await?;
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
