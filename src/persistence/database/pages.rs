//! Orders and audit entries for people to read, a page at a time.

use futures_util::FutureExt;
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::columns::{Columns, Values};
use super::load::begin_snapshot;
use super::{AuditEntry, Database, Dialect, Error, attempts, audit, lines, orders, words};
use crate::domain::{BuyerId, IdMap, Order, OrderId, OrderState, ProductId};
use crate::persistence::journal::Position;

/// Rows on a page, at most; who asks for more gets this many.
pub const PAGE_ROWS_MAX: u32 = 500;

/// Which orders are wanted: those that are everything it says.
#[derive(Clone, Copy, Debug, Default)]
pub struct OrderFilter {
    pub product: Option<ProductId>,
    pub buyer: Option<BuyerId>,
    pub state: Option<OrderState>,
}

impl OrderFilter {
    fn of(buyer: BuyerId) -> Self {
        Self {
            buyer: Some(buyer),
            ..Self::default()
        }
    }

    const fn is_product_alone(&self) -> bool {
        self.product.is_some() && self.buyer.is_none() && self.state.is_none()
    }
}

impl Database {
    pub async fn order(&self, id: OrderId) -> Result<Option<Order>, Error> {
        let dialect = self.dialect();
        self.read(move |connection| {
            async move {
                let mut snapshot = begin_snapshot(connection, dialect).await?;
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
        self.orders(OrderFilter::of(buyer), after, limit).await
    }

    /// The orders of a buyer placed before a record, the newest first: for a cursor that SQL may not have yet.
    pub async fn orders_of_before(
        &self,
        buyer: BuyerId,
        sequence: u64,
        limit: u32,
    ) -> Result<Vec<Order>, Error> {
        let dialect = self.dialect();
        let limit = limit.min(PAGE_ROWS_MAX);
        let before = i64::try_from(sequence).unwrap_or(i64::MAX);
        self.read(move |connection| {
            page_before(connection, dialect, OrderFilter::of(buyer), before, limit).boxed()
        })
        .await
    }

    /// The orders that pass the filter, the newest first, from the one after `after`.
    pub async fn orders_for_admin(
        &self,
        filter: OrderFilter,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<Order>, Error> {
        self.orders(filter, after, limit).await
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
        filter: OrderFilter,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<Order>, Error> {
        let dialect = self.dialect();
        let limit = limit.min(PAGE_ROWS_MAX);
        self.read(move |connection| page(connection, dialect, filter, after, limit).boxed())
            .await
    }
}

async fn page(
    connection: &mut AnyConnection,
    dialect: Dialect,
    filter: OrderFilter,
    after: Option<OrderId>,
    limit: u32,
) -> Result<Vec<Order>, Error> {
    let mut snapshot = begin_snapshot(connection, dialect).await?;
    let before = match after {
        None => Some(i64::MAX),
        Some(after) => sequence_of(&mut snapshot, after, filter).await?,
    };
    let Some(before) = before else {
        return Ok(Vec::new());
    };
    let page = page_of(&mut snapshot, filter, before, limit).await?;
    snapshot.rollback().await?;
    Ok(page)
}

async fn page_before(
    connection: &mut AnyConnection,
    dialect: Dialect,
    filter: OrderFilter,
    before: i64,
    limit: u32,
) -> Result<Vec<Order>, Error> {
    let mut snapshot = begin_snapshot(connection, dialect).await?;
    let page = page_of(&mut snapshot, filter, before, limit).await?;
    snapshot.rollback().await?;
    Ok(page)
}

async fn page_of(
    snapshot: &mut AnyConnection,
    filter: OrderFilter,
    before: i64,
    limit: u32,
) -> Result<Vec<Order>, Error> {
    let rows = newest(snapshot, filter, before, limit).await?;
    complete(snapshot, &rows).await
}

/// Somebody else's order is like none at all.
async fn sequence_of(
    connection: &mut AnyConnection,
    id: OrderId,
    filter: OrderFilter,
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
    let allowed = filter.buyer.is_none_or(|buyer| buyer == owner);
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
    filter: OrderFilter,
    before: i64,
    limit: u32,
) -> Result<Vec<AnyRow>, Error> {
    let mut statement = orders::select();
    let mut values = Values::default();
    if let Some(product) = filter.product {
        statement += with_product(filter);
        values.id(product.get());
        values.number(before);
        if filter.is_product_alone() {
            values.number(i64::from(limit));
        }
    }
    statement += " WHERE o.sequence < ?";
    values.number(before);
    if let Some(buyer) = filter.buyer {
        statement += " AND o.buyer = ?";
        values.id(buyer.get());
    }
    if let Some(state) = filter.state {
        statement += " AND o.state = ?";
        values.text(words::state_word(state));
        // Few orders are not over, and there is an index for them.
        if !state.is_final() {
            statement += " AND o.standing IN (0, 3)";
        }
    }
    statement += " ORDER BY o.sequence DESC LIMIT ?";
    values.number(i64::from(limit));
    Ok(sqlx::query_with(AssertSqlSafe(statement), values.finish()?)
        .fetch_all(connection)
        .await?)
}

/// An order with two lines of the product is one order. Without another filter no more of them than wanted are found.
const fn with_product(filter: OrderFilter) -> &'static str {
    if filter.is_product_alone() {
        " JOIN (
             SELECT DISTINCT l.sequence
             FROM order_lines l
             WHERE l.product = ?
               AND l.sequence < ?
             ORDER BY l.sequence DESC
             LIMIT ?
         ) wanted ON wanted.sequence = o.sequence"
    } else {
        " JOIN (
             SELECT DISTINCT l.sequence
             FROM order_lines l
             WHERE l.product = ?
               AND l.sequence < ?
         ) wanted ON wanted.sequence = o.sequence"
    }
}

/// Adds lines and attempts to the orders of a page.
pub(super) async fn complete(
    connection: &mut AnyConnection,
    rows: &[AnyRow],
) -> Result<Vec<Order>, Error> {
    let mut page = Vec::with_capacity(rows.len());
    for row in rows {
        page.push(orders::read(row)?.order);
    }
    add_parts(connection, page).await
}

pub(super) async fn add_parts(
    connection: &mut AnyConnection,
    mut page: Vec<Order>,
) -> Result<Vec<Order>, Error> {
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
