//! The table `orders`. Lines and attempts have tables of their own.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::bulk::{BulkInsert, select_by_keys};
use super::columns::{Columns, Values};
use super::words::{self, Standing};
use super::{Dialect, Error};
use crate::domain::{
    AddressId, Aftermath, BuyerId, Currency, Fingerprint, KeyHash, Lines, Order, OrderId,
};

/// In the order in which `read` and `put` go through them.
pub(super) const COLUMNS: [&str; 23] = [
    "sequence",
    "id",
    "buyer",
    "key_hash",
    "fingerprint",
    "address",
    "state",
    "placed_at",
    "pay_by",
    "deadline",
    "changed_at",
    "carrier",
    "tracking_number",
    "shipped_at",
    "delivered_at",
    "return_until",
    "return_requested_at",
    "return_reason",
    "restock_at",
    "restocked",
    "currency",
    "total",
    "standing",
];

/// What an order has once it was shipped.
pub(super) const AFTERMATH_COLUMNS: [&str; 9] = [
    "carrier",
    "tracking_number",
    "shipped_at",
    "delivered_at",
    "return_until",
    "return_requested_at",
    "return_reason",
    "restock_at",
    "restocked",
];

/// What a change of an order can change.
const CHANGING: [&str; 13] = [
    "state",
    "deadline",
    "changed_at",
    "carrier",
    "tracking_number",
    "shipped_at",
    "delivered_at",
    "return_until",
    "return_requested_at",
    "return_reason",
    "restock_at",
    "restocked",
    "standing",
];

/// The currency of an order without lines, by ISO 4217.
const NO_CURRENCY: &str = "XXX";

/// An order as its row has it: without lines and attempts, but with the sum that its lines make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OrderRow {
    pub(crate) order: Order,
    pub(crate) currency: Option<Currency>,
    pub(crate) total: i64,
}

#[derive(Debug)]
pub(super) struct Statements {
    insert: BulkInsert,
    overwrite: BulkInsert,
}

impl OrderRow {
    pub(crate) fn of(order: Order) -> Self {
        Self {
            currency: order.lines.first().map(|line| line.unit_price.currency),
            total: order.total(),
            order,
        }
    }
}

impl Statements {
    pub(super) fn new(dialect: Dialect) -> Self {
        let tail = dialect.overwrite("sequence", &CHANGING);
        Self {
            insert: BulkInsert::new("orders", &COLUMNS, ""),
            overwrite: BulkInsert::new("orders", &COLUMNS, &tail),
        }
    }

    pub(super) async fn insert(
        &self,
        connection: &mut AnyConnection,
        rows: &[&OrderRow],
    ) -> Result<(), Error> {
        self.insert
            .run(connection, rows, |values, row| put(values, row))
            .await
    }

    /// For rows that are there: an UPDATE of many rows that each engine understands.
    pub(super) async fn overwrite(
        &self,
        connection: &mut AnyConnection,
        rows: &[&OrderRow],
    ) -> Result<(), Error> {
        self.overwrite
            .run(connection, rows, |values, row| put(values, row))
            .await
    }
}

pub(super) async fn find(
    connection: &mut AnyConnection,
    ids: &[OrderId],
) -> Result<Vec<OrderRow>, Error> {
    let head = format!("{} WHERE o.id IN", select());
    let put_id = |values: &mut Values, id: &OrderId| values.id(id.get());
    let mut orders = Vec::with_capacity(ids.len());
    select_by_keys(connection, &head, ids, "", put_id, |row| {
        orders.push(read(row)?);
        Ok(())
    })
    .await?;
    Ok(orders)
}

/// The columns of an order, to be followed by conditions on `o`.
pub(super) fn select() -> String {
    format!("SELECT o.{} FROM orders o", COLUMNS.join(", o."))
}

fn put(values: &mut Values, row: &OrderRow) {
    let order = &row.order;
    values.count(order.sequence);
    values.id(order.id.get());
    values.id(order.buyer.get());
    values.id(order.key.get());
    values.bits(order.fingerprint.0);
    values.id_or_null(order.address.map(AddressId::get));
    values.text(words::state_word(order.state));
    values.time(order.placed_at);
    values.time(order.pay_by);
    values.time(order.deadline);
    values.time(order.changed_at);
    put_aftermath(values, order.aftermath.as_deref());
    values.text(row.currency.as_ref().map_or(NO_CURRENCY, Currency::as_str));
    values.number(row.total);
    values.number(Standing::of(order).number());
}

fn put_aftermath(values: &mut Values, aftermath: Option<&Aftermath>) {
    values.text_or_null(aftermath.map(|it| &*it.carrier));
    values.text_or_null(aftermath.map(|it| &*it.tracking_number));
    values.time_or_null(aftermath.map(|it| it.shipped_at));
    values.time_or_null(aftermath.and_then(|it| it.delivered_at));
    values.time_or_null(aftermath.and_then(|it| it.return_until));
    values.time_or_null(aftermath.and_then(|it| it.return_requested_at));
    values.text_or_null(aftermath.map(|it| &*it.return_reason));
    values.time_or_null(aftermath.and_then(|it| it.restock_at));
    values.number_or_null(aftermath.map(|it| i64::from(it.restocked)));
}

pub(super) fn read(row: &AnyRow) -> Result<OrderRow, Error> {
    let mut columns = Columns::of(row);
    let mut order = read_core(&mut columns)?;
    order.aftermath = read_aftermath(&mut columns)?.map(Box::new);
    let currency = Currency::parse(columns.text()?);
    let total = columns.number()?;
    Ok(OrderRow {
        order,
        currency: currency.filter(|currency| currency.as_str() != NO_CURRENCY),
        total,
    })
}

/// What every order has.
fn read_core(columns: &mut Columns<'_>) -> Result<Order, Error> {
    Ok(Order {
        sequence: columns.count("the sequence of an order")?,
        id: OrderId::new(columns.id()?),
        buyer: BuyerId::new(columns.id()?),
        key: KeyHash::new(columns.id()?),
        fingerprint: Fingerprint(columns.bits()?),
        address: columns.id_or_null()?.map(AddressId::new),
        state: words::state(columns.text()?)?,
        placed_at: columns.time()?,
        pay_by: columns.time()?,
        deadline: columns.time()?,
        changed_at: columns.time()?,
        lines: Lines::default(),
        attempts: Vec::new(),
        aftermath: None,
    })
}

/// Null as long as the order has not been shipped.
pub(super) fn read_aftermath(columns: &mut Columns<'_>) -> Result<Option<Aftermath>, Error> {
    let carrier = columns.text_or_null()?;
    let tracking_number = columns.text_or_null()?;
    let shipped_at = columns.time_or_null()?;
    let aftermath = Aftermath {
        carrier: carrier.unwrap_or_default().into(),
        tracking_number: tracking_number.unwrap_or_default().into(),
        shipped_at: shipped_at.unwrap_or_default(),
        delivered_at: columns.time_or_null()?,
        return_until: columns.time_or_null()?,
        return_requested_at: columns.time_or_null()?,
        return_reason: columns.text_or_null()?.unwrap_or_default().into(),
        restock_at: columns.time_or_null()?,
        restocked: columns
            .number_or_null()?
            .is_some_and(|restocked| restocked != 0),
    };
    Ok(shipped_at.is_some().then_some(aftermath))
}
