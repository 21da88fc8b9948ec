//! What the projection writes: the one writer of all rows that follow the journal.

use super::attempts::PlacedAttempt;
use super::follower::{FollowerConnection, FollowerTransaction};
use super::{AuditRow, Database, Dialect, Error, FollowerName, Hand, OrderRow};
use super::{attempts, audit, engine_time, in_hand, lines, orders, products, waitlist};
use crate::domain::{Attempt, BuyerId, IdMap, OrderId, Product, ProductId, Timestamp, Waiter};
use crate::persistence::following::Bookmark;

/// The connection of the projection, and its statements with their texts made once.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) connection: FollowerConnection,
    statements: Statements,
}

#[derive(Debug)]
struct Statements {
    products: products::Statements,
    orders: orders::Statements,
    lines: lines::Statements,
    attempts: attempts::Statements,
    waitlist: waitlist::Statements,
    in_hand: in_hand::Statements,
    audit: audit::Statements,
}

/// Everything done through it becomes visible at once, or not at all if it is dropped.
pub(crate) struct WriteTransaction<'w> {
    transaction: FollowerTransaction<'w>,
    statements: &'w Statements,
}

impl Writer {
    pub(crate) async fn open(database: &Database) -> Result<Self, Error> {
        Ok(Self {
            connection: FollowerConnection::open(database, FollowerName::Projection).await?,
            statements: Statements::new(database.dialect()),
        })
    }

    /// `None`: SQL does not stand where it was thought to.
    pub(crate) async fn begin_at(
        &mut self,
        new: Bookmark,
    ) -> Result<Option<WriteTransaction<'_>>, Error> {
        let begun = self.connection.begin_at(new).await?;
        Ok(begun.map(|transaction| WriteTransaction {
            transaction,
            statements: &self.statements,
        }))
    }
}

impl Statements {
    fn new(dialect: Dialect) -> Self {
        Self {
            products: products::Statements::new(dialect),
            orders: orders::Statements::new(dialect),
            lines: lines::Statements::new(),
            attempts: attempts::Statements::new(dialect),
            waitlist: waitlist::Statements::new(dialect),
            in_hand: in_hand::Statements::new(dialect),
            audit: audit::Statements::new(),
        }
    }
}

impl WriteTransaction<'_> {
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

    /// What these people have of these products, without those who have none.
    pub(crate) async fn hands(
        &mut self,
        keys: &[(ProductId, BuyerId)],
    ) -> Result<Vec<(ProductId, Hand)>, Error> {
        in_hand::find(&mut self.transaction, keys).await
    }

    /// `emptied`: who had units and has none any more.
    pub(crate) async fn write_hands(
        &mut self,
        emptied: &[(ProductId, BuyerId)],
        hands: &[(ProductId, Hand)],
    ) -> Result<(), Error> {
        in_hand::delete(&mut self.transaction, emptied).await?;
        self.statements
            .in_hand
            .insert_or_overwrite(&mut self.transaction, hands)
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
        self.transaction.commit().await
    }
}
