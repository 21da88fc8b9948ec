//! The table `waitlist`: who waits for a product, or has been offered units of it.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::bulk::{BulkInsert, delete_by_keys, select_by_keys};
use super::columns::{Columns, Values};
use super::{Dialect, Error};
use crate::domain::{BuyerId, Offer, ProductId, Quantity, Waiter};

/// In the order in which `read` and `put` go through them.
const COLUMNS: [&str; 9] = [
    "sequence",
    "product",
    "buyer",
    "quantity",
    "joined_at",
    "ticket",
    "lapsed",
    "offer_units",
    "offer_deadline",
];

/// What can change while somebody is on the list.
const CHANGING: [&str; 4] = ["ticket", "lapsed", "offer_units", "offer_deadline"];

#[derive(Debug)]
pub(super) struct Statements {
    insert_or_overwrite: BulkInsert,
}

impl Statements {
    pub(super) fn new(dialect: Dialect) -> Self {
        let tail = dialect.overwrite("sequence", &CHANGING);
        Self {
            insert_or_overwrite: BulkInsert::new("waitlist", &COLUMNS, &tail),
        }
    }

    pub(super) async fn insert_or_overwrite(
        &self,
        connection: &mut AnyConnection,
        rows: &[(ProductId, Waiter)],
    ) -> Result<(), Error> {
        self.insert_or_overwrite.run(connection, rows, put).await
    }
}

pub(super) async fn delete(connection: &mut AnyConnection, sequences: &[u64]) -> Result<(), Error> {
    let head = "DELETE FROM waitlist WHERE sequence IN";
    let put_sequence = |values: &mut Values, sequence: &u64| values.count(*sequence);
    delete_by_keys(connection, head, sequences, put_sequence).await
}

/// Everybody on the waitlists of these products.
pub(super) async fn find_of(
    connection: &mut AnyConnection,
    products: &[ProductId],
) -> Result<Vec<(ProductId, Waiter)>, Error> {
    let put_id = |values: &mut Values, id: &ProductId| values.id(id.get());
    find_where(connection, "product", products, put_id).await
}

/// The places of these people on all waitlists.
pub(super) async fn find_people(
    connection: &mut AnyConnection,
    people: &[BuyerId],
) -> Result<Vec<(ProductId, Waiter)>, Error> {
    let put_id = |values: &mut Values, id: &BuyerId| values.id(id.get());
    find_where(connection, "buyer", people, put_id).await
}

async fn find_where<T>(
    connection: &mut AnyConnection,
    column: &str,
    keys: &[T],
    put: impl Fn(&mut Values, &T),
) -> Result<Vec<(ProductId, Waiter)>, Error> {
    let head = format!("{} WHERE {column} IN", select());
    let mut found = Vec::new();
    select_by_keys(connection, &head, keys, "", put, |row| {
        found.push(read(row)?);
        Ok(())
    })
    .await?;
    Ok(found)
}

pub(super) async fn all(connection: &mut AnyConnection) -> Result<Vec<(ProductId, Waiter)>, Error> {
    let rows = sqlx::query(AssertSqlSafe(select()))
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

fn select() -> String {
    format!("SELECT {} FROM waitlist", COLUMNS.join(", "))
}

fn put(values: &mut Values, (product, waiter): &(ProductId, Waiter)) {
    values.count(waiter.sequence);
    values.id(product.get());
    values.id(waiter.buyer.get());
    values.number(i64::from(waiter.quantity.get()));
    values.time(waiter.joined_at);
    values.count(waiter.ticket);
    values.flag(waiter.lapsed);
    values.number_or_null(waiter.offer.map(|offer| i64::from(offer.units.get())));
    values.time_or_null(waiter.offer.map(|offer| offer.deadline));
}

fn read(row: &AnyRow) -> Result<(ProductId, Waiter), Error> {
    let mut columns = Columns::of(row);
    let sequence = columns.count("the sequence of a waiter")?;
    let product = ProductId::new(columns.id()?);
    let mut waiter = Waiter {
        sequence,
        buyer: BuyerId::new(columns.id()?),
        quantity: quantity(columns.number()?)?,
        joined_at: columns.time()?,
        ticket: columns.count("the ticket of a waiter")?,
        lapsed: columns.flag()?,
        offer: None,
    };
    let units = columns.number_or_null()?.map(quantity).transpose()?;
    let deadline = columns.time_or_null()?;
    waiter.offer = units
        .zip(deadline)
        .map(|(units, deadline)| Offer { units, deadline });
    Ok((product, waiter))
}

fn quantity(units: i64) -> Result<Quantity, Error> {
    let units = u32::try_from(units).ok().and_then(Quantity::new);
    units.ok_or(Error::Damaged { what: "a quantity" })
}
