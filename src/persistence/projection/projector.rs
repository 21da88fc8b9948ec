//! One batch of events, one transaction: rows and position move together or not at all.
//!
//! **Invariant:** a transaction moves the position from exactly where it stands to the last record of the batch. So a
//! batch that is applied twice changes nothing the second time, and a batch that is missing is noticed.

use std::time::Duration;

use super::fold::{Disagreement, Fold, Needs, Stored};
use crate::domain::{Event, Timestamp};
use crate::persistence::database::{Database, Error, Writer};
use crate::persistence::following::{Batch, Bookmark};
use crate::persistence::journal::Position;

/// Why a batch was not projected. SQL is as it was, or, if the end of the transaction is unknown, as it is to be:
/// open another projector and look at its position.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error(transparent)]
    Database(#[from] Error),
    /// The caller left something out.
    #[error("the projection stands at {position} and cannot go on with record {first}")]
    Gap { position: Position, first: Position },
    /// Somebody else moves the position too.
    #[error(
        "the projection no longer stands at {expected} of this journal: the database went back, or another process projects \
         into it"
    )]
    Moved { expected: Position },
    /// The end of the transaction is not known.
    #[error("no answer within {after:?}")]
    TimedOut { after: Duration },
    #[error("{0}; this database was changed by hand")]
    Disagreement(#[from] Disagreement),
}

/// The writer of the projection, on a connection of its own.
#[derive(Debug)]
pub(crate) struct Projector(Writer);

impl Projector {
    /// Must be used on the runtime on which it was opened.
    pub(crate) async fn open(database: &Database) -> Result<Self, Error> {
        Ok(Self(Writer::open(database).await?))
    }

    /// Asks SQL where it stands now.
    pub(super) async fn bookmark(&mut self) -> Result<Bookmark, Error> {
        self.0.connection.bookmark().await
    }

    /// Writes down which journal is followed, and takes to the disk all that was applied.
    pub(super) async fn settle(&mut self, bookmark: Bookmark) -> Result<(), ProjectError> {
        let settled = self.0.connection.settle(bookmark).await?;
        if settled { Ok(()) } else { Err(self.moved()) }
    }

    /// Whether what is applied from now on survives a power cut, and with it everything before.
    pub(super) async fn commit_durably(&mut self, durably: bool) -> Result<(), Error> {
        self.0.connection.commit_durably(durably).await
    }

    /// For a time when nothing else is to be done.
    pub(super) async fn rest(&mut self) -> Result<(), Error> {
        self.0.connection.checkpoint().await
    }

    fn moved(&self) -> ProjectError {
        ProjectError::Moved {
            expected: self.position(),
        }
    }

    /// The last record that SQL has.
    pub(crate) fn position(&self) -> Position {
        self.0.connection.stored().position
    }

    /// Projects the records of `batch` that SQL does not have yet. After an error the projector is of no more use.
    pub(crate) async fn apply(&mut self, batch: &Batch) -> Result<(), ProjectError> {
        let new = batch.after(self.position());
        let (Some((first, _)), Some((last, _))) = (new.first(), new.last()) else {
            return Ok(());
        };
        self.check_dense(new, *first)?;
        self.apply_new(new, batch.bookmark(*last)).await
    }

    /// The same with records of no journal in particular.
    #[cfg(test)]
    pub(crate) async fn apply_events(
        &mut self,
        events: &[(Position, Event)],
    ) -> Result<(), ProjectError> {
        self.apply(&Batch::of(events)).await
    }

    fn check_dense(
        &self,
        batch: &[(Position, Event)],
        first: Position,
    ) -> Result<(), ProjectError> {
        let mut position = self.position();
        for (next, _) in batch {
            if *next != position.next() {
                return Err(ProjectError::Gap {
                    position,
                    first: *next,
                });
            }
            position = *next;
        }
        assert_eq!(first, self.position().next());
        Ok(())
    }

    async fn apply_new(
        &mut self,
        batch: &[(Position, Event)],
        end: Bookmark,
    ) -> Result<(), ProjectError> {
        let needs = Needs::of(batch);
        let moved = self.moved();
        let mut transaction = self.0.begin_at(end).await?.ok_or(moved)?;
        transaction.note_stamp(last_stamp_of(batch)).await?;
        let orders = transaction.orders(&needs.orders).await?;
        let mut fold = Fold::of(Stored {
            products: transaction.products(&needs.products).await?,
            waiters: transaction.waiters(&needs.people, &needs.emptied).await?,
            hands: transaction.hands(&Needs::hands(batch, &orders)).await?,
            orders,
        });
        for (position, event) in batch {
            fold.apply(*position, event)?;
        }
        transaction.write_products(&fold.products()).await?;
        transaction.insert_orders(&fold.new_orders()).await?;
        transaction.overwrite_orders(&fold.changed_orders()).await?;
        transaction.write_attempts(&fold.attempts()).await?;
        let waiters = fold.waiters();
        transaction
            .write_waitlist(&waiters.gone, &waiters.kept)
            .await?;
        let hands = fold.hands();
        transaction.write_hands(&hands.gone, &hands.kept).await?;
        transaction.insert_audit(fold.audit()).await?;
        Ok(transaction.commit().await?)
    }
}

fn last_stamp_of(batch: &[(Position, Event)]) -> Timestamp {
    let stamps = batch.iter().map(|(_, event)| event.at());
    stamps.max().unwrap_or_default()
}
