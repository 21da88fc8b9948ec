//! The table `audit_log`: who changed what in the shop, and what it was before.

use serde_json::{Value, json};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::Error;
use super::bulk::BulkInsert;
use super::columns::{Columns, Values};
use crate::domain::{
    AdminMark, BuyerId, Details, Money, ProductChange, ProductId, RequestId, RestockTo, Timestamp,
    Window, WindowAct,
};
use crate::persistence::journal::Position;

const COLUMNS: [&str; 8] = [
    "position",
    "at",
    "admin",
    "request",
    "act",
    "product",
    "before_json",
    "after_json",
];

/// Descriptions may be long, and a server takes a statement of limited length.
const ROWS_MAX: usize = 64;

/// One thing that an admin did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    pub position: Position,
    pub at: Timestamp,
    pub mark: AdminMark,
    /// `registered`, `edited`, `deleted`, `stock_set`, `window_schedule`, `window_open` and so on.
    pub act: Box<str>,
    pub product: ProductId,
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
            insert: BulkInsert::new("audit_log", &COLUMNS, ""),
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
    pub(crate) fn of(
        position: Position,
        at: Timestamp,
        mark: AdminMark,
        product: ProductId,
        change: &ProductChange,
    ) -> Self {
        let (act, before, after) = describe(change);
        let text = |value: Value| (!value.is_null()).then(|| value.to_string().into());
        Self {
            position,
            at,
            mark,
            act: act.into(),
            product,
            before: text(before),
            after: text(after),
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
        "SELECT position, at, admin, request, act, product, before_json, after_json
         FROM audit_log
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
    values.id(entry.product.get());
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
        product: ProductId::new(columns.id()?),
        before: columns.text_or_null()?.map(Into::into),
        after: columns.text_or_null()?.map(Into::into),
    })
}

// -- words -------------------------------------------------------------------------------------------------------

/// The act, and what was before and after it.
fn describe(change: &ProductChange) -> (&'static str, Value, Value) {
    match change {
        ProductChange::Registered {
            details,
            restock_to,
        } => {
            let mut after = details_json(details);
            after["restock_to"] = restock_json(*restock_to);
            ("registered", Value::Null, after)
        }
        ProductChange::Edited { before, after } => {
            ("edited", details_json(before), details_json(after))
        }
        ProductChange::Deleted => ("deleted", Value::Null, Value::Null),
        ProductChange::StockSet {
            before,
            after,
            withdrawal_pending,
        } => (
            "stock_set",
            json!({ "units": before }),
            json!({ "units": after, "withdrawal_pending": withdrawal_pending }),
        ),
        ProductChange::WindowSet { act, before, after } => (
            act_word(*act),
            before.as_ref().map_or(Value::Null, window_json),
            window_json(after),
        ),
    }
}

const fn act_word(act: WindowAct) -> &'static str {
    match act {
        WindowAct::Schedule => "window_schedule",
        WindowAct::Open => "window_open",
        WindowAct::Pause => "window_pause",
        WindowAct::Resume => "window_resume",
        WindowAct::Close => "window_close",
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
    json!(super::words::restock_word(restock_to))
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
