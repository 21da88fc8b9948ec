//! Orders and audit entries for people to read, a page at a time.

use futures_util::FutureExt;
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::columns::Columns;
use super::load::begin_snapshot;
use super::{AuditEntry, Database, Engine, Error, attempts, audit, lines, orders};
use crate::domain::{BuyerId, IdMap, Order, OrderId, ProductId};
use crate::persistence::journal::Position;

/// Rows on a page, at most; who asks for more gets this many.
pub const PAGE_ROWS_MAX: u32 = 500;

/// Whose orders are wanted.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    All,
    Of(BuyerId),
    With(ProductId),
}

impl Database {
    pub async fn order(&self, id: OrderId) -> Result<Option<Order>, Error> {
        let engine = self.engine();
        self.read(move |connection| {
            async move {
                let mut snapshot = begin_snapshot(connection, engine).await?;
                let row = one(&mut snapshot, id).await?;
                let mut page = complete(&mut snapshot, row.as_slice()).await?;
                snapshot.rollback().await?;
                Ok(page.pop())
            }
            .boxed()
        })
        .await
    }

    /// The orders of a buyer, the newest first, from the one after `after`. Nothing if the buyer has no such order.
    pub async fn orders_of(
        &self,
        buyer: BuyerId,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<Order>, Error> {
        self.orders(Wanted::Of(buyer), after, limit).await
    }

    /// The orders of a buyer placed before a record, the newest first: for a cursor that SQL may not have yet.
    pub async fn orders_of_before(
        &self,
        buyer: BuyerId,
        sequence: u64,
        limit: u32,
    ) -> Result<Vec<Order>, Error> {
        let engine = self.engine();
        let limit = limit.min(PAGE_ROWS_MAX);
        let before = i64::try_from(sequence).unwrap_or(i64::MAX);
        self.read(move |connection| {
            page_before(connection, engine, Wanted::Of(buyer), before, limit).boxed()
        })
        .await
    }

    /// All orders, or those with a product, the newest first, from the one after `after`.
    pub async fn orders_for_admin(
        &self,
        product: Option<ProductId>,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<Order>, Error> {
        let wanted = product.map_or(Wanted::All, Wanted::With);
        self.orders(wanted, after, limit).await
    }

    /// What admins did before the record `before`, the latest first.
    pub async fn audit(&self, before: u64, limit: u32) -> Result<Vec<AuditEntry>, Error> {
        let limit = limit.min(PAGE_ROWS_MAX);
        let before = Position::new(before);
        self.read(move |connection| audit::newest(connection, before, limit).boxed())
            .await
    }

    async fn orders(
        &self,
        wanted: Wanted,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<Order>, Error> {
        let engine = self.engine();
        let limit = limit.min(PAGE_ROWS_MAX);
        self.read(move |connection| page(connection, engine, wanted, after, limit).boxed())
            .await
    }
}

async fn page(
    connection: &mut AnyConnection,
    engine: Engine,
    wanted: Wanted,
    after: Option<OrderId>,
    limit: u32,
) -> Result<Vec<Order>, Error> {
    let mut snapshot = begin_snapshot(connection, engine).await?;
    let before = match after {
        None => Some(i64::MAX),
        Some(after) => sequence_of(&mut snapshot, after, wanted).await?,
    };
    let Some(before) = before else {
        return Ok(Vec::new());
    };
    let page = page_of(&mut snapshot, wanted, before, limit).await?;
    snapshot.rollback().await?;
    Ok(page)
}

async fn page_before(
    connection: &mut AnyConnection,
    engine: Engine,
    wanted: Wanted,
    before: i64,
    limit: u32,
) -> Result<Vec<Order>, Error> {
    let mut snapshot = begin_snapshot(connection, engine).await?;
    let page = page_of(&mut snapshot, wanted, before, limit).await?;
    snapshot.rollback().await?;
    Ok(page)
}

async fn page_of(
    snapshot: &mut AnyConnection,
    wanted: Wanted,
    before: i64,
    limit: u32,
) -> Result<Vec<Order>, Error> {
    let rows = match wanted {
        Wanted::All => newest(snapshot, before, limit).await?,
        Wanted::Of(buyer) => newest_of(snapshot, buyer, before, limit).await?,
        Wanted::With(product) => newest_with(snapshot, product, before, limit).await?,
    };
    complete(snapshot, &rows).await
}

/// Somebody else's order is like none at all.
async fn sequence_of(
    connection: &mut AnyConnection,
    id: OrderId,
    wanted: Wanted,
) -> Result<Option<i64>, Error> {
    let row = sqlx::query(
        "SELECT sequence, buyer
         FROM orders
         WHERE id = ?",
    )
    .bind(id.to_bytes().to_vec())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut columns = Columns::of(&row);
    let sequence = columns.number()?;
    let owner = BuyerId::new(columns.id()?);
    let allowed = match wanted {
        Wanted::Of(buyer) => buyer == owner,
        Wanted::All | Wanted::With(_) => true,
    };
    Ok(allowed.then_some(sequence))
}

async fn one(connection: &mut AnyConnection, id: OrderId) -> Result<Option<AnyRow>, Error> {
    let statement = format!(
        "{}
         WHERE o.id = ?",
        orders::select()
    );
    Ok(sqlx::query(AssertSqlSafe(statement))
        .bind(id.to_bytes().to_vec())
        .fetch_optional(connection)
        .await?)
}

async fn newest(
    connection: &mut AnyConnection,
    before: i64,
    limit: u32,
) -> Result<Vec<AnyRow>, Error> {
    let statement = format!(
        "{}
         WHERE o.sequence < ?
         ORDER BY o.sequence DESC
         LIMIT ?",
        orders::select()
    );
    Ok(sqlx::query(AssertSqlSafe(statement))
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?)
}

async fn newest_of(
    connection: &mut AnyConnection,
    buyer: BuyerId,
    before: i64,
    limit: u32,
) -> Result<Vec<AnyRow>, Error> {
    let statement = format!(
        "{}
         WHERE o.buyer = ?
           AND o.sequence < ?
         ORDER BY o.sequence DESC
         LIMIT ?",
        orders::select()
    );
    Ok(sqlx::query(AssertSqlSafe(statement))
        .bind(buyer.to_bytes().to_vec())
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?)
}

/// An order with two lines of the product is one order.
async fn newest_with(
    connection: &mut AnyConnection,
    product: ProductId,
    before: i64,
    limit: u32,
) -> Result<Vec<AnyRow>, Error> {
    let statement = format!(
        "{}
         JOIN (
             SELECT DISTINCT l.sequence
             FROM order_lines l
             WHERE l.product = ?
               AND l.sequence < ?
             ORDER BY l.sequence DESC
             LIMIT ?
         ) wanted ON wanted.sequence = o.sequence
         ORDER BY o.sequence DESC",
        orders::select()
    );
    Ok(sqlx::query(AssertSqlSafe(statement))
        .bind(product.to_bytes().to_vec())
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?)
}

/// Adds lines and attempts to the orders of a page.
async fn complete(connection: &mut AnyConnection, rows: &[AnyRow]) -> Result<Vec<Order>, Error> {
    let mut page = Vec::with_capacity(rows.len());
    for row in rows {
        page.push(orders::read(row)?.order);
    }
    let sequences: Vec<u64> = page.iter().map(|order| order.sequence).collect();
    let mut lines: IdMap<u64, Vec<_>> = IdMap::default();
    for (sequence, line) in lines::find(connection, &sequences).await? {
        lines.entry(sequence).or_default().push(line);
    }
    let mut attempts: IdMap<u64, Vec<_>> = IdMap::default();
    for (sequence, attempt) in attempts::find(connection, &sequences).await? {
        attempts.entry(sequence).or_default().push(attempt);
    }
    for order in &mut page {
        order.lines = lines.remove(&order.sequence).unwrap_or_default().into();
        order.attempts = attempts.remove(&order.sequence).unwrap_or_default();
    }
    Ok(page)
}
