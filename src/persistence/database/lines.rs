//! The table `order_lines`. Lines never change.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::Error;
use super::bulk::{BulkInsert, select_by_keys};
use super::columns::{Columns, Values};
use crate::domain::{Line, Order, ProductId, Quantity};

/// In the order in which `read` and `put` go through them.
const COLUMNS: [&str; 6] = [
    "sequence",
    "product",
    "quantity",
    "unit_amount",
    "unit_currency",
    "ordinal",
];

/// A line and the sequence of its order.
pub(super) type LineRow = (u64, Line);

#[derive(Debug)]
pub(super) struct Statements {
    insert: BulkInsert,
}

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            insert: BulkInsert::new("order_lines", &COLUMNS, ""),
        }
    }

    pub(super) async fn insert(
        &self,
        connection: &mut AnyConnection,
        orders: impl Iterator<Item = &Order>,
    ) -> Result<(), Error> {
        let rows: Vec<(u64, i64, &Line)> = orders
            .flat_map(|order| {
                (0..)
                    .zip(&order.lines)
                    .map(|(ordinal, line)| (order.sequence, ordinal, line))
            })
            .collect();
        self.insert.run(connection, &rows, put).await
    }
}

pub(super) async fn find(
    connection: &mut AnyConnection,
    sequences: &[u64],
) -> Result<Vec<LineRow>, Error> {
    let head = format!("{} WHERE l.sequence IN", select());
    let tail = " ORDER BY l.sequence, l.ordinal";
    let put_sequence = |values: &mut Values, sequence: &u64| values.count(*sequence);
    let mut lines = Vec::with_capacity(sequences.len());
    select_by_keys(connection, &head, sequences, tail, put_sequence, |row| {
        lines.push(read(row)?);
        Ok(())
    })
    .await?;
    Ok(lines)
}

/// The columns of a line, to be followed by conditions on `l`.
pub(super) fn select() -> String {
    format!("SELECT l.{} FROM order_lines l", COLUMNS.join(", l."))
}

fn put(values: &mut Values, (sequence, ordinal, line): &(u64, i64, &Line)) {
    values.count(*sequence);
    values.id(line.product.get());
    values.number(i64::from(line.quantity.get()));
    values.money(line.unit_price);
    values.number(*ordinal);
}

pub(super) fn read(row: &AnyRow) -> Result<LineRow, Error> {
    let mut columns = Columns::of(row);
    let sequence = columns.count("the sequence of a line")?;
    let product = ProductId::new(columns.id()?);
    let units = u32::try_from(columns.number()?)
        .ok()
        .and_then(Quantity::new);
    let line = Line {
        product,
        quantity: units.ok_or(Error::Damaged { what: "a quantity" })?,
        unit_price: columns.money()?,
    };
    Ok((sequence, line))
}
