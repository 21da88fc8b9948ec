//! The table `notices`: how far letters about orders follow the journal. And the connection of the one who writes them.
//!
//! **Invariant:** letters and position change in one transaction, which moves the position from exactly where its writer
//! thinks it is: each event is told once, over any crash.

use futures_util::FutureExt;
use sqlx::{AnyConnection, ConnectOptions, Connection};

use super::bulk::BulkInsert;
use super::columns::Columns;
use super::mail_outbox::{self, Outbox};
use super::{Account, Database, Engine, Error, accounts, connect, lines, orders, products};
use crate::domain::{BuyerId, Line, Order, OrderId, ProductId};
use crate::persistence::journal::Position;

impl Database {
    /// How far letters are written. `first`: for a database of which nobody has written yet.
    pub async fn begin_notices(&self, first: Position) -> Result<Position, Error> {
        let engine = self.engine();
        self.write(move |connection| {
            async move {
                insert(connection, engine, first).await?;
                read(connection).await
            }
            .boxed()
        })
        .await
    }

    /// Who turns letters on again is not told of what happened while they were off.
    pub async fn forget_notices(&self) -> Result<(), Error> {
        self.write(|connection| forget(connection).boxed()).await
    }
}

/// The connection of the notices: opened on their own thread, never shared, and thrown away after any error, like that of
/// the projection.
#[derive(Debug)]
pub(crate) struct NoticeWriter {
    engine: Engine,
    connection: AnyConnection,
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
        })
    }

    pub(crate) async fn position(&mut self) -> Result<Position, Error> {
        read(&mut self.connection).await
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

    /// Puts in the letters and moves the position, if it is `expected`. Says whether it was.
    pub(crate) async fn tell(
        &mut self,
        expected: Position,
        new: Position,
        letters: &[mail_outbox::NewLetter],
    ) -> Result<bool, Error> {
        let mut transaction = self
            .connection
            .begin_with(self.engine.begin_write())
            .await?;
        if !advance(&mut transaction, expected, new).await? {
            return Ok(false);
        }
        self.insert
            .run(&mut transaction, letters, mail_outbox::put)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }
}

async fn insert(
    connection: &mut AnyConnection,
    engine: Engine,
    first: Position,
) -> Result<(), Error> {
    let statement = format!(
        "INSERT INTO notices (id, position)
         VALUES (1, ?){}",
        engine.keep("id")
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(first.get().cast_signed())
        .execute(connection)
        .await?;
    Ok(())
}

async fn read(connection: &mut AnyConnection) -> Result<Position, Error> {
    let row = sqlx::query(
        "SELECT position
         FROM notices
         WHERE id = 1",
    )
    .fetch_one(connection)
    .await?;
    Columns::of(&row)
        .count("the position of the notices")
        .map(Position::new)
}

async fn advance(
    connection: &mut AnyConnection,
    expected: Position,
    new: Position,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE notices
         SET position = ?
         WHERE id = 1
           AND position = ?",
    )
    .bind(new.get().cast_signed())
    .bind(expected.get().cast_signed())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn forget(connection: &mut AnyConnection) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM notices
         WHERE id = 1",
    )
    .execute(connection)
    .await?;
    Ok(())
}
