//! The connection of the one who writes letters about orders, and where they begin.
//!
//! **Invariant:** letters and position change in one transaction, which moves the position from exactly where its writer
//! thinks it is: each event is told once, over any crash.

use futures_util::FutureExt;
use sqlx::{AnyConnection, ConnectOptions, Connection};

use super::bulk::BulkInsert;
use super::mail_outbox::{self, Outbox};
use super::{
    Account, Database, Engine, Error, FollowerName, accounts, connect, lines, orders, position,
    products,
};
use crate::domain::{BuyerId, Line, Order, OrderId, ProductId};
use crate::persistence::following::Bookmark;
use crate::persistence::journal::Position;

impl Database {
    /// How far letters are written. `first`: for a database of which nobody has written yet.
    pub async fn begin_notices(&self, first: Position) -> Result<Bookmark, Error> {
        let engine = self.engine();
        self.write(move |connection| {
            async move {
                position::insert(connection, engine, FollowerName::Notices, first).await?;
                position::bookmark(connection, FollowerName::Notices).await
            }
            .boxed()
        })
        .await
    }

    /// Who turns letters on again is not told of what happened while they were off.
    pub async fn forget_notices(&self) -> Result<(), Error> {
        self.write(|connection| position::forget(connection, FollowerName::Notices).boxed())
            .await
    }
}

/// The connection of the notices: opened on their own thread, never shared, and thrown away after any error, like that of
/// the projection.
#[derive(Debug)]
pub(crate) struct NoticeWriter {
    engine: Engine,
    connection: AnyConnection,
    commits_durably: bool,
    insert: BulkInsert,
}

impl NoticeWriter {
    pub(crate) async fn open(database: &Database) -> Result<Self, Error> {
        let engine = database.engine();
        let mut connection = database.shared.connect.connect().await?;
        connect::prepare_session(engine, &mut connection).await?;
        // Whoever commits may come to checkpoint what the projection has written.
        connect::prepare_writing(engine, &mut connection).await?;
        Ok(Self {
            engine,
            connection,
            insert: mail_outbox::insert_into(Outbox::Orders),
            commits_durably: false,
        })
    }

    /// Where letters stand now.
    pub(crate) async fn bookmark(&mut self) -> Result<Bookmark, Error> {
        position::bookmark(&mut self.connection, FollowerName::Notices).await
    }

    /// Whether a commit waits for the disk. With MySQL each one does.
    pub(crate) async fn commit_durably(&mut self, durably: bool) -> Result<(), Error> {
        if self.engine == Engine::Sqlite && self.commits_durably != durably {
            connect::commit_durably(&mut self.connection, durably).await?;
            self.commits_durably = durably;
        }
        Ok(())
    }

    /// Writes down which journal is followed. The position stays.
    pub(crate) async fn bind(&mut self, bookmark: Bookmark) -> Result<(), Error> {
        position::bind(&mut self.connection, FollowerName::Notices, bookmark).await
    }

    /// Letters about orders that are not sent yet.
    pub(crate) async fn waiting(&mut self) -> Result<u64, Error> {
        mail_outbox::count(&mut self.connection, Outbox::Orders).await
    }

    /// Those of these accounts that letters can be written to.
    pub(crate) async fn addressable(&mut self, ids: &[BuyerId]) -> Result<Vec<Account>, Error> {
        accounts::addressable(&mut self.connection, ids).await
    }

    /// Orders as they are now, without lines and attempts.
    pub(crate) async fn orders(&mut self, ids: &[OrderId]) -> Result<Vec<Order>, Error> {
        let rows = orders::find(&mut self.connection, ids).await?;
        Ok(rows.into_iter().map(|row| row.order).collect())
    }

    /// Each line with the sequence of its order.
    pub(crate) async fn lines(&mut self, sequences: &[u64]) -> Result<Vec<(u64, Line)>, Error> {
        lines::find(&mut self.connection, sequences).await
    }

    pub(crate) async fn product_names(
        &mut self,
        ids: &[ProductId],
    ) -> Result<Vec<(ProductId, Box<str>)>, Error> {
        products::names(&mut self.connection, ids).await
    }

    /// Puts in the letters and moves the bookmark, if it is `expected`. Says whether it was.
    pub(crate) async fn tell(
        &mut self,
        expected: Bookmark,
        new: Bookmark,
        letters: &[mail_outbox::NewLetter],
    ) -> Result<bool, Error> {
        let mut transaction = self
            .connection
            .begin_with(self.engine.begin_write())
            .await?;
        if !position::advance(&mut transaction, FollowerName::Notices, expected, new).await? {
            return Ok(false);
        }
        self.insert
            .run(&mut transaction, letters, mail_outbox::put)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }
}
