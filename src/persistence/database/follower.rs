//! The connection of one who follows the journal into SQL, and where SQL stands for him.
//!
//! It is opened on the follower's own thread, never shared, and thrown away after any error: a transaction whose end is
//! unknown ends with its connection, and the bookmark in SQL tells what became of it.
//!
//! **Invariant:** what is written through it and the bookmark change in one transaction, which moves the bookmark from
//! exactly where SQL was thought to stand: each record is written once, over any crash.

use std::ops::{Deref, DerefMut};

use sqlx::{Any, AnyConnection, ConnectOptions, Connection, Executor, Transaction};

use super::{Database, Dialect, Error, FollowerName, connect, position};
use crate::persistence::following::Bookmark;

#[derive(Debug)]
pub(crate) struct FollowerConnection {
    name: FollowerName,
    dialect: Dialect,
    connection: AnyConnection,
    commits_durably: bool,
    /// Where SQL stands, as far as is known here.
    stored: Bookmark,
}

/// Everything done through it becomes visible at once, together with the bookmark, or not at all if it is dropped.
pub(crate) struct FollowerTransaction<'c> {
    transaction: Transaction<'c, Any>,
    stored: &'c mut Bookmark,
    new: Bookmark,
}

impl FollowerConnection {
    pub(crate) async fn open(database: &Database, name: FollowerName) -> Result<Self, Error> {
        let dialect = database.dialect();
        let mut connection = database.shared.connect.connect().await?;
        connect::prepare_session(dialect, &mut connection).await?;
        connect::prepare_following(dialect, &mut connection).await?;
        let stored = position::bookmark(&mut connection, name).await?;
        Ok(Self {
            name,
            dialect,
            connection,
            commits_durably: false,
            stored,
        })
    }

    /// Where SQL stood when it was asked or written to last.
    pub(crate) fn stored(&self) -> Bookmark {
        self.stored
    }

    /// Asks SQL where it stands now.
    pub(crate) async fn bookmark(&mut self) -> Result<Bookmark, Error> {
        self.stored = position::bookmark(&mut self.connection, self.name).await?;
        Ok(self.stored)
    }

    /// Whether a commit waits for the disk. With MySQL each one does.
    pub(crate) async fn commit_durably(&mut self, durably: bool) -> Result<(), Error> {
        if self.dialect == Dialect::Sqlite && self.commits_durably != durably {
            connect::commit_durably(&mut self.connection, durably).await?;
            self.commits_durably = durably;
        }
        Ok(())
    }

    /// Writes down which journal is followed, and takes to the disk all that was committed before. Says whether SQL stood
    /// where it was thought to.
    pub(crate) async fn settle(&mut self, bookmark: Bookmark) -> Result<bool, Error> {
        self.commit_durably(true).await?;
        let expected = self.stored;
        let settled =
            position::advance(&mut self.connection, self.name, expected, bookmark).await?;
        if settled {
            self.stored = bookmark;
        }
        Ok(settled)
    }

    /// Moves what SQLite's log has gathered into its file; MySQL sees to that by itself.
    pub(crate) async fn checkpoint(&mut self) -> Result<(), Error> {
        if self.dialect == Dialect::Sqlite {
            self.connection
                .execute("PRAGMA wal_checkpoint(PASSIVE)")
                .await?;
        }
        Ok(())
    }

    /// A transaction that moves the bookmark, which keeps any other writer out until its end. `None`: SQL does not stand
    /// where it was thought to.
    pub(crate) async fn begin_at(
        &mut self,
        new: Bookmark,
    ) -> Result<Option<FollowerTransaction<'_>>, Error> {
        let begin = self.dialect.begin_write();
        let mut transaction = self.connection.begin_with(begin).await?;
        let moved = position::advance(&mut transaction, self.name, self.stored, new).await?;
        Ok(moved.then_some(FollowerTransaction {
            transaction,
            stored: &mut self.stored,
            new,
        }))
    }
}

impl Deref for FollowerConnection {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for FollowerConnection {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}

impl FollowerTransaction<'_> {
    pub(crate) async fn commit(self) -> Result<(), Error> {
        self.transaction.commit().await?;
        *self.stored = self.new;
        Ok(())
    }
}

impl Deref for FollowerTransaction<'_> {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.transaction
    }
}

impl DerefMut for FollowerTransaction<'_> {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }
}
