//! One product's orders and counters, for the export of a sale, for journeys, and for the demo clock.

use futures_util::FutureExt;
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::columns::Columns;
use super::load::begin_snapshot;
use super::pages::{PAGE_ROWS_MAX, complete};
use super::{Database, Error, orders, position, products, words};
use crate::domain::{Order, OrderId, OrderState, ProductId, Stock, Timestamp};
use crate::persistence::journal::Position;

impl Database {
    /// Orders with a line of the product, the oldest first, from the one after `after`.
    pub async fn orders_with(
        &self,
        product: ProductId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Order>, Error> {
        let dialect = self.dialect();
        let limit = limit.min(PAGE_ROWS_MAX);
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.read(move |connection| {
            async move {
                let mut snapshot = begin_snapshot(connection, dialect).await?;
                let rows = oldest_with(&mut snapshot, product, after, limit).await?;
                let page = complete(&mut snapshot, &rows).await?;
                snapshot.rollback().await?;
                Ok(page)
            }
            .boxed()
        })
        .await
    }

    /// Where the units of a product are, and after which record. `None`: SQL has no such product yet.
    pub async fn stock_at(&self, product: ProductId) -> Result<Option<(Position, Stock)>, Error> {
        let dialect = self.dialect();
        self.read(move |connection| {
            async move {
                let mut snapshot = begin_snapshot(connection, dialect).await?;
                let position = position::read(&mut snapshot).await?;
                let found = products::find(&mut snapshot, &[product]).await?;
                snapshot.rollback().await?;
                Ok(found.first().map(|product| (position, product.stock)))
            }
            .boxed()
        })
        .await
    }

    /// Orders that have been in a state since `since` or longer, those placed first in front. For states that are not
    /// the end of an order.
    pub async fn orders_waiting_in(
        &self,
        state: OrderState,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<OrderId>, Error> {
        self.read(move |connection| waiting_in(connection, state, since, limit).boxed())
            .await
    }
}

async fn oldest_with(
    connection: &mut AnyConnection,
    product: ProductId,
    after: i64,
    limit: u32,
) -> Result<Vec<AnyRow>, Error> {
    let statement = format!(
        "{}
         JOIN (
             SELECT DISTINCT l.sequence
             FROM order_lines l
             WHERE l.product = ?
               AND l.sequence > ?
             ORDER BY l.sequence
             LIMIT ?
         ) wanted ON wanted.sequence = o.sequence
         ORDER BY o.sequence",
        orders::select()
    );
    Ok(sqlx::query(AssertSqlSafe(statement))
        .bind(product.to_bytes().to_vec())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?)
}

async fn waiting_in(
    connection: &mut AnyConnection,
    state: OrderState,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<OrderId>, Error> {
    let rows = sqlx::query(
        "SELECT id
         FROM orders
         WHERE standing IN (0, 3)
           AND state = ?
           AND changed_at <= ?
         ORDER BY placed_at
         LIMIT ?",
    )
    .bind(words::state_word(state))
    .bind(since.as_micros().cast_signed())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok(OrderId::new(Columns::of(row).id()?)))
        .collect()
}
