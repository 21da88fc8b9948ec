//! The table `products`.

use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::bulk::{BulkInsert, select_by_keys};
use super::columns::{Columns, Values};
use super::words;
use super::{Dialect, Error};
use crate::domain::{Details, Product, ProductId, Span, Stock, Window};

/// In the order in which `read` and `put` go through them.
const COLUMNS: [&str; 21] = [
    "id",
    "name",
    "description",
    "image_url",
    "price_amount",
    "price_currency",
    "restock_to",
    "registered_at",
    "deleted",
    "window_opens_at",
    "window_closes_at",
    "window_paused",
    "window_per_person_limit",
    "window_hold_ttl",
    "stock_available",
    "stock_held",
    "stock_offered",
    "stock_sold",
    "stock_returning",
    "stock_withdrawn",
    "stock_withdrawal_pending",
];

/// Descriptions may be long, and a server takes a statement of limited length.
const ROWS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Statements {
    insert_or_overwrite: BulkInsert,
}

impl Statements {
    pub(super) fn new(dialect: Dialect) -> Self {
        let tail = dialect.overwrite("id", COLUMNS.get(1..).unwrap_or_default());
        Self {
            insert_or_overwrite: BulkInsert::new("products", &COLUMNS, &tail),
        }
    }

    pub(super) async fn insert_or_overwrite(
        &self,
        connection: &mut AnyConnection,
        products: &[&Product],
    ) -> Result<(), Error> {
        for chunk in products.chunks(ROWS_MAX) {
            self.insert_or_overwrite
                .run(connection, chunk, |values, product| put(values, product))
                .await?;
        }
        Ok(())
    }
}

/// Without their waitlists, and as if nobody had anything in hand of them.
pub(super) async fn all(connection: &mut AnyConnection) -> Result<Vec<Product>, Error> {
    let statement = format!("{} ORDER BY id", select());
    let rows = sqlx::query(AssertSqlSafe(statement))
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

/// Without their waitlists, and as if nobody had anything in hand of them.
pub(super) async fn find(
    connection: &mut AnyConnection,
    ids: &[ProductId],
) -> Result<Vec<Product>, Error> {
    let head = format!("{} WHERE id IN", select());
    let put_id = |values: &mut Values, id: &ProductId| values.id(id.get());
    let mut products = Vec::with_capacity(ids.len());
    select_by_keys(connection, &head, ids, "", put_id, |row| {
        products.push(read(row)?);
        Ok(())
    })
    .await?;
    Ok(products)
}

/// What products are called, without the rest of them: descriptions may be long.
pub(super) async fn names(
    connection: &mut AnyConnection,
    ids: &[ProductId],
) -> Result<Vec<(ProductId, Box<str>)>, Error> {
    let head = "SELECT id, name FROM products WHERE id IN";
    let put_id = |values: &mut Values, id: &ProductId| values.id(id.get());
    let mut names = Vec::with_capacity(ids.len());
    select_by_keys(connection, head, ids, "", put_id, |row| {
        let mut columns = Columns::of(row);
        names.push((ProductId::new(columns.id()?), columns.text()?.into()));
        Ok(())
    })
    .await?;
    Ok(names)
}

fn select() -> String {
    format!("SELECT {} FROM products", COLUMNS.join(", "))
}

fn put(values: &mut Values, product: &Product) {
    values.id(product.id.get());
    values.text(&product.details.name);
    values.text(&product.details.description);
    values.text_or_null(product.details.image_url.as_deref());
    values.money(product.details.price);
    values.text(words::restock_word(product.restock_to));
    values.time(product.registered_at);
    values.flag(product.deleted);
    put_window(values, product.window.as_ref());
    put_stock(values, &product.stock);
}

fn put_window(values: &mut Values, window: Option<&Window>) {
    values.time_or_null(window.map(|it| it.opens_at));
    values.time_or_null(window.and_then(|it| it.closes_at));
    values.number_or_null(window.map(|it| i64::from(it.paused)));
    values.number_or_null(window.and_then(|it| it.per_person_limit).map(i64::from));
    values.number_or_null(window.map(|it| it.hold_ttl.as_micros().cast_signed()));
}

fn put_stock(values: &mut Values, stock: &Stock) {
    values.count(stock.available);
    values.count(stock.held);
    values.count(stock.offered);
    values.count(stock.sold);
    values.count(stock.returning);
    values.count(stock.withdrawn);
    values.count(stock.withdrawal_pending);
}

fn read(row: &AnyRow) -> Result<Product, Error> {
    let mut columns = Columns::of(row);
    let id = ProductId::new(columns.id()?);
    let details = Details {
        name: columns.text()?.into(),
        description: columns.text()?.into(),
        image_url: columns.text_or_null()?.map(Into::into),
        price: columns.money()?,
    };
    let restock_to = words::restock_to(columns.text()?)?;
    let registered_at = columns.time()?;
    let deleted = columns.flag()?;
    let window = read_window(&mut columns)?;
    let stock = read_stock(&mut columns)?;

    let mut product = Product::new(id, details, restock_to, registered_at);
    product.deleted = deleted;
    product.window = window;
    product.stock = stock;
    Ok(product)
}

/// A product that was never scheduled has no window: all its columns are null.
fn read_window(columns: &mut Columns<'_>) -> Result<Option<Window>, Error> {
    let opens_at = columns.time_or_null()?;
    let closes_at = columns.time_or_null()?;
    let paused = columns.number_or_null()?;
    let limit = columns.number_or_null()?;
    let hold_ttl = columns.number_or_null()?;
    let (Some(opens_at), Some(hold_ttl)) = (opens_at, hold_ttl) else {
        return Ok(None);
    };
    Ok(Some(Window {
        opens_at,
        closes_at,
        paused: paused.is_some_and(|paused| paused != 0),
        per_person_limit: limit.map(read_limit).transpose()?,
        hold_ttl: Span::from_micros_u64(hold_ttl.cast_unsigned()),
    }))
}

fn read_limit(limit: i64) -> Result<u32, Error> {
    u32::try_from(limit).or(Err(Error::Damaged {
        what: "a limit per person",
    }))
}

fn read_stock(columns: &mut Columns<'_>) -> Result<Stock, Error> {
    Ok(Stock {
        available: columns.count("available units")?,
        held: columns.count("held units")?,
        offered: columns.count("offered units")?,
        sold: columns.count("sold units")?,
        returning: columns.count("returning units")?,
        withdrawn: columns.count("withdrawn units")?,
        withdrawal_pending: columns.count("units to be withdrawn")?,
    })
}
