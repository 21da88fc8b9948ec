//! What the one who writes letters about orders looks up and writes, and where letters begin.

use futures_util::FutureExt;

use super::bulk::BulkInsert;
use super::follower::FollowerConnection;
use super::mail_outbox::{self, Outbox};
use super::{Account, Database, Error, FollowerName, accounts, lines, orders, position, products};
use crate::domain::{BuyerId, Line, Order, OrderId, ProductId};
use crate::persistence::following::Bookmark;
use crate::persistence::journal::Position;

impl Database {
    /// How far letters are written. `first`: for a database of which nobody has written yet.
    pub async fn begin_notices(&self, first: Position) -> Result<Bookmark, Error> {
        let dialect = self.dialect();
        self.write(move |connection| {
            async move {
                position::insert(connection, dialect, FollowerName::Notices, first).await?;
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

/// The connection of the notices, and what they look up and write.
#[derive(Debug)]
pub(crate) struct NoticeWriter {
    pub(crate) connection: FollowerConnection,
    insert: BulkInsert,
}

impl NoticeWriter {
    pub(crate) async fn open(database: &Database) -> Result<Self, Error> {
        Ok(Self {
            connection: FollowerConnection::open(database, FollowerName::Notices).await?,
            insert: mail_outbox::insert_into(Outbox::Orders),
        })
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

    /// Puts in the letters and moves the bookmark. Says whether SQL stood where it was thought to.
    pub(crate) async fn tell(
        &mut self,
        new: Bookmark,
        letters: &[mail_outbox::NewLetter],
    ) -> Result<bool, Error> {
        let Some(mut transaction) = self.connection.begin_at(new).await? else {
            return Ok(false);
        };
        self.insert
            .run(&mut transaction, letters, mail_outbox::put)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }
}
