//! The table `audit_entries`: who changed what in the shop, and what it was before.

use serde_json::{Value, json};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::bulk::BulkInsert;
use super::columns::{Columns, Values};
use super::{Error, words};
use crate::domain::{
    AdminMark, BuyerId, Details, Money, Order, OrderChange, OrderId, OrderState, ProductChange,
    ProductId, RequestId, RestockTo, Timestamp, Window,
};
use crate::persistence::acts;
use crate::persistence::journal::Position;

const COLUMNS: [&str; 9] = [
    "position",
    "at",
    "admin",
    "request",
    "act",
    "product",
    "order_id",
    "before_json",
    "after_json",
];

/// Descriptions may be long, and a server takes a statement of limited length.
const ROWS_MAX: usize = 64;

/// One thing that somebody of the shop did, to a product or to an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    pub position: Position,
    pub at: Timestamp,
    pub mark: AdminMark,
    /// `registered`, `edited`, `deleted`, `stock_set`, `order_shipped` and so on.
    pub act: Box<str>,
    pub product: Option<ProductId>,
    pub order: Option<OrderId>,
    /// JSON, if there was something before.
    pub before: Option<Box<str>>,
    /// JSON, if there is something after.
    pub after: Option<Box<str>>,
}

/// An entry to be written.
pub(crate) type AuditRow = AuditEntry;

#[derive(Debug)]
pub(super) struct Statements {
    insert: BulkInsert,
}

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            insert: BulkInsert::new("audit_entries", &COLUMNS, ""),
        }
    }

    pub(super) async fn insert(
        &self,
        connection: &mut AnyConnection,
        rows: &[AuditRow],
    ) -> Result<(), Error> {
        for chunk in rows.chunks(ROWS_MAX) {
            self.insert.run(connection, chunk, put).await?;
        }
        Ok(())
    }
}

impl AuditEntry {
    pub(crate) fn of_product(
        position: Position,
        at: Timestamp,
        mark: AdminMark,
        product: ProductId,
        change: &ProductChange,
    ) -> Self {
        let (before, after) = describe(change);
        Self {
            position,
            at,
            mark,
            act: acts::of_product(change).into(),
            product: Some(product),
            order: None,
            before: text(before),
            after: text(after),
        }
    }

    /// `order` is the order after the change, and was in the state `before`.
    pub(crate) fn of_order(
        position: Position,
        at: Timestamp,
        mark: AdminMark,
        before: OrderState,
        order: &Order,
        change: &OrderChange,
    ) -> Self {
        Self {
            position,
            at,
            mark,
            act: acts::of_order(change).into(),
            product: None,
            order: Some(order.id),
            before: text(json!({ "state": words::state_word(before) })),
            after: text(describe_order(order.state, change)),
        }
    }
}

/// Entries before `before`, the newest first.
pub(super) async fn newest(
    connection: &mut AnyConnection,
    before: Position,
    limit: u32,
) -> Result<Vec<AuditEntry>, Error> {
    let rows = sqlx::query(
        "SELECT position, at, admin, request, act, product, order_id, before_json, after_json
         FROM audit_entries
         WHERE position < ?
         ORDER BY position DESC
         LIMIT ?",
    )
    .bind(i64::try_from(before.get()).unwrap_or(i64::MAX))
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

fn put(values: &mut Values, entry: &AuditEntry) {
    values.count(entry.position.get());
    values.time(entry.at);
    values.id(entry.mark.admin.get());
    values.id(entry.mark.request.get());
    values.text(&entry.act);
    values.id_or_null(entry.product.map(ProductId::get));
    values.id_or_null(entry.order.map(OrderId::get));
    values.text_or_null(entry.before.as_deref());
    values.text_or_null(entry.after.as_deref());
}

fn read(row: &AnyRow) -> Result<AuditEntry, Error> {
    let mut columns = Columns::of(row);
    Ok(AuditEntry {
        position: Position::new(columns.count("the position of an audit entry")?),
        at: columns.time()?,
        mark: AdminMark {
            admin: BuyerId::new(columns.id()?),
            request: RequestId::new(columns.id()?),
        },
        act: columns.text()?.into(),
        product: columns.id_or_null()?.map(ProductId::new),
        order: columns.id_or_null()?.map(OrderId::new),
        before: columns.text_or_null()?.map(Into::into),
        after: columns.text_or_null()?.map(Into::into),
    })
}

// -- words -------------------------------------------------------------------------------------------------------

fn text(value: Value) -> Option<Box<str>> {
    (!value.is_null()).then(|| value.to_string().into())
}

/// Where an order has come to, and what was given for it.
fn describe_order(state: OrderState, change: &OrderChange) -> Value {
    let mut after = json!({ "state": words::state_word(state) });
    match change {
        OrderChange::Shipped {
            carrier,
            tracking_number,
        } => {
            after["carrier"] = json!(carrier);
            after["tracking_number"] = json!(tracking_number);
        }
        OrderChange::Delivered { return_until } => {
            after["return_until"] = json!(return_until.as_micros());
        }
        OrderChange::ReturnAccepted { restock_at, .. } => {
            after["restock_at"] = json!(restock_at.as_micros());
        }
        _ => {}
    }
    after
}

/// What was before and after a change of a product.
fn describe(change: &ProductChange) -> (Value, Value) {
    match change {
        ProductChange::Registered {
            details,
            restock_to,
        } => {
            let mut after = details_json(details);
            after["restock_to"] = restock_json(*restock_to);
            (Value::Null, after)
        }
        ProductChange::Edited { before, after } => (details_json(before), details_json(after)),
        ProductChange::Deleted => (Value::Null, Value::Null),
        ProductChange::StockSet {
            before,
            after,
            withdrawal_pending,
        } => (
            json!({ "units": before }),
            json!({ "units": after, "withdrawal_pending": withdrawal_pending }),
        ),
        ProductChange::WindowSet { before, after, .. } => (
            before.as_ref().map_or(Value::Null, window_json),
            window_json(after),
        ),
    }
}

fn details_json(details: &Details) -> Value {
    json!({
        "name": details.name,
        "description": details.description,
        "image_url": details.image_url,
        "price": money_json(details.price),
    })
}

fn money_json(money: Money) -> Value {
    json!({ "amount": money.amount, "currency": money.currency.as_str() })
}

fn restock_json(restock_to: RestockTo) -> Value {
    json!(words::restock_word(restock_to))
}

fn window_json(window: &Window) -> Value {
    json!({
        "opens_at": window.opens_at.as_micros(),
        "closes_at": window.closes_at.map(Timestamp::as_micros),
        "paused": window.paused,
        "per_person_limit": window.per_person_limit,
        "hold_ttl": window.hold_ttl.as_micros(),
    })
}
