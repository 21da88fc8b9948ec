//! The connection of the projection: the one writer of everything that follows the journal.
//!
//! It is opened on the projection's own thread, never shared, and thrown away after any error: a transaction whose end
//! is unknown ends with its connection, and the position in SQL tells what became of it.

use sqlx::AnyConnection;
use sqlx::{Any, ConnectOptions, Connection, Executor, Transaction};

use super::attempts::PlacedAttempt;
use super::{AuditRow, Database, Engine, Error, FollowerName, OrderRow};
use super::{attempts, audit, connect, engine_time, lines, orders, position, products, waitlist};
use crate::domain::{Attempt, BuyerId, IdMap, OrderId, Product, ProductId, Timestamp, Waiter};
use crate::persistence::following::Bookmark;

/// The statements of the projection, with their texts made once.
#[derive(Debug)]
pub(crate) struct Writer {
    engine: Engine,
    connection: AnyConnection,
    commits_durably: bool,
    statements: Statements,
}

#[derive(Debug)]
struct Statements {
    products: products::Statements,
    orders: orders::Statements,
    lines: lines::Statements,
    attempts: attempts::Statements,
    waitlist: waitlist::Statements,
    audit: audit::Statements,
}

/// Everything done through it becomes visible at once, or not at all if it is dropped.
pub(crate) struct WriteTransaction<'w> {
    transaction: Transaction<'w, Any>,
    statements: &'w Statements,
}

impl Writer {
    pub(crate) async fn open(database: &Database) -> Result<Self, Error> {
        let engine = database.engine();
        let mut connection = database.shared.connect.connect().await?;
        connect::prepare_session(engine, &mut connection).await?;
        connect::prepare_writing(engine, &mut connection).await?;
        Ok(Self {
            engine,
            connection,
            statements: Statements::new(engine),
            commits_durably: false,
        })
    }

    /// Where SQL stands now.
    pub(crate) async fn bookmark(&mut self) -> Result<Bookmark, Error> {
        position::bookmark(&mut self.connection, FollowerName::Projection).await
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
        position::bind(&mut self.connection, FollowerName::Projection, bookmark).await
    }

    /// Moves what SQLite's log has gathered into its file; MySQL sees to that by itself.
    pub(crate) async fn checkpoint(&mut self) -> Result<(), Error> {
        if self.engine == Engine::Sqlite {
            self.connection
                .execute("PRAGMA wal_checkpoint(PASSIVE)")
                .await?;
        }
        Ok(())
    }

    pub(crate) async fn begin(&mut self) -> Result<WriteTransaction<'_>, Error> {
        Ok(WriteTransaction {
            transaction: self
                .connection
                .begin_with(self.engine.begin_write())
                .await?,
            statements: &self.statements,
        })
    }
}

impl Statements {
    fn new(engine: Engine) -> Self {
        Self {
            products: products::Statements::new(engine),
            orders: orders::Statements::new(engine),
            lines: lines::Statements::new(),
            attempts: attempts::Statements::new(engine),
            waitlist: waitlist::Statements::new(engine),
            audit: audit::Statements::new(),
        }
    }
}

impl WriteTransaction<'_> {
    /// Says whether SQL stood where it was expected to. Comes first: it keeps any other writer out until the end.
    pub(crate) async fn advance(
        &mut self,
        expected: Bookmark,
        new: Bookmark,
    ) -> Result<bool, Error> {
        position::advance(
            &mut self.transaction,
            FollowerName::Projection,
            expected,
            new,
        )
        .await
    }

    /// What the rows stand for was stamped no later than this.
    pub(crate) async fn note_stamp(&mut self, last_stamp: Timestamp) -> Result<(), Error> {
        engine_time::note(&mut self.transaction, last_stamp).await
    }

    pub(crate) async fn products(&mut self, ids: &[ProductId]) -> Result<Vec<Product>, Error> {
        products::find(&mut self.transaction, ids).await
    }

    /// Orders with their attempts, but without their lines.
    pub(crate) async fn orders(&mut self, ids: &[OrderId]) -> Result<Vec<OrderRow>, Error> {
        let mut rows = orders::find(&mut self.transaction, ids).await?;
        let sequences: Vec<u64> = rows.iter().map(|row| row.order.sequence).collect();
        let attempts = attempts::find(&mut self.transaction, &sequences).await?;
        let mut by_sequence: IdMap<u64, Vec<Attempt>> = IdMap::default();
        for (sequence, attempt) in attempts {
            by_sequence.entry(sequence).or_default().push(attempt);
        }
        for row in &mut rows {
            row.order.attempts = by_sequence.remove(&row.order.sequence).unwrap_or_default();
        }
        Ok(rows)
    }

    /// The places of these people on all waitlists, and everybody's on the waitlists of these products.
    pub(crate) async fn waiters(
        &mut self,
        people: &[BuyerId],
        products: &[ProductId],
    ) -> Result<Vec<(ProductId, Waiter)>, Error> {
        let mut waiters = waitlist::find_people(&mut self.transaction, people).await?;
        waiters.extend(waitlist::find_of(&mut self.transaction, products).await?);
        Ok(waiters)
    }

    /// Those that are gone first: somebody may have joined again.
    pub(crate) async fn write_waitlist(
        &mut self,
        gone: &[u64],
        waiters: &[(ProductId, Waiter)],
    ) -> Result<(), Error> {
        waitlist::delete(&mut self.transaction, gone).await?;
        self.statements
            .waitlist
            .insert_or_overwrite(&mut self.transaction, waiters)
            .await
    }

    pub(crate) async fn write_products(&mut self, products: &[&Product]) -> Result<(), Error> {
        self.statements
            .products
            .insert_or_overwrite(&mut self.transaction, products)
            .await
    }

    pub(crate) async fn insert_orders(&mut self, rows: &[&OrderRow]) -> Result<(), Error> {
        self.statements
            .orders
            .insert(&mut self.transaction, rows)
            .await?;
        let orders = rows.iter().map(|row| &row.order);
        self.statements
            .lines
            .insert(&mut self.transaction, orders)
            .await
    }

    pub(crate) async fn overwrite_orders(&mut self, rows: &[&OrderRow]) -> Result<(), Error> {
        self.statements
            .orders
            .overwrite(&mut self.transaction, rows)
            .await
    }

    pub(crate) async fn write_attempts(
        &mut self,
        attempts: &[PlacedAttempt<'_>],
    ) -> Result<(), Error> {
        self.statements
            .attempts
            .insert_or_overwrite(&mut self.transaction, attempts)
            .await
    }

    pub(crate) async fn insert_audit(&mut self, rows: &[AuditRow]) -> Result<(), Error> {
        self.statements
            .audit
            .insert(&mut self.transaction, rows)
            .await
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        Ok(self.transaction.commit().await?)
    }
}
