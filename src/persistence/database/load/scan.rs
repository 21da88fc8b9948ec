//! Reading many orders in few passes.
//!
//! Each value that a driver hands over costs more than the database needs to find it, so the pass over the orders asks
//! for two values a row: the ids, one behind the other, and the rest as words. It also joins the lines, because most
//! orders have one. What few orders have is read in passes of its own, in the same order, and added here.

use futures_util::TryStreamExt;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use crate::domain::{
    AddressId, BuyerId, Currency, Fingerprint, KeyHash, Line, Lines, Money, Order, OrderId,
    ProductId, Quantity, Timestamp,
};
use crate::persistence::database::columns::Columns;
use crate::persistence::database::words::{self, Standing};
use crate::persistence::database::{Engine, Error, attempts, orders};

/// The same orders in the same order, whatever is read of them.
const CONDITIONS_AND_ORDER: &str = "o.standing = ?
               AND o.placed_at >= ?
             ORDER BY o.placed_at, o.sequence";

/// Which orders: those that stand so, and were placed since.
pub(super) struct Scan {
    engine: Engine,
    standing: Standing,
    since: Timestamp,
}

impl Scan {
    pub(super) fn new(engine: Engine, standing: Standing, since: Timestamp) -> Self {
        Self {
            engine,
            standing,
            since,
        }
    }

    pub(super) async fn orders(&self, connection: &mut AnyConnection) -> Result<Vec<Order>, Error> {
        let mut orders = self.orders_with_lines(connection).await?;
        self.add_attempts(connection, &mut orders).await?;
        self.add_aftermath(connection, &mut orders).await?;
        Ok(orders)
    }

    async fn orders_with_lines(&self, connection: &mut AnyConnection) -> Result<Vec<Order>, Error> {
        let ids = self.engine.joined_bytes(&[
            "o.id",
            "o.buyer",
            "o.key_hash",
            "COALESCE(l.product, o.id)",
            "COALESCE(o.address, X'')",
        ]);
        let statement = format!(
            "SELECT {ids},
                    CONCAT_WS(' ', o.sequence, o.fingerprint, o.placed_at, o.pay_by, o.deadline, o.changed_at,
                              o.state, l.ordinal, l.quantity, l.unit_amount, l.unit_currency)
             FROM orders o
             LEFT JOIN order_lines l ON l.sequence = o.sequence
             WHERE {CONDITIONS_AND_ORDER}",
        );
        let mut gathering = Gathering::default();
        self.each(connection, statement, |row| gathering.add(row))
            .await?;
        Ok(gathering.finish())
    }

    async fn add_attempts(
        &self,
        connection: &mut AnyConnection,
        orders: &mut [Order],
    ) -> Result<(), Error> {
        let statement = format!(
            "{}
             JOIN orders o ON o.sequence = a.sequence
             WHERE {CONDITIONS_AND_ORDER}, a.ordinal",
            attempts::select(),
        );
        let mut cursor = Cursor::over(orders);
        self.each(connection, statement, |row| {
            let (sequence, attempt) = attempts::read(row)?;
            cursor.find(sequence)?.attempts.push(attempt);
            Ok(())
        })
        .await
    }

    async fn add_aftermath(
        &self,
        connection: &mut AnyConnection,
        orders: &mut [Order],
    ) -> Result<(), Error> {
        let statement = format!(
            "SELECT o.sequence, o.{}
             FROM orders o
             WHERE o.shipped_at IS NOT NULL
               AND {CONDITIONS_AND_ORDER}",
            orders::AFTERMATH_COLUMNS.join(", o."),
        );
        let mut cursor = Cursor::over(orders);
        self.each(connection, statement, |row| {
            let mut columns = Columns::of(row);
            let sequence = columns.count("the sequence of an order")?;
            let aftermath = orders::read_aftermath(&mut columns)?;
            cursor.find(sequence)?.aftermath = aftermath.map(Box::new);
            Ok(())
        })
        .await
    }

    async fn each(
        &self,
        connection: &mut AnyConnection,
        statement: String,
        mut show: impl FnMut(&AnyRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut rows = sqlx::query(AssertSqlSafe(statement))
            .bind(self.standing.number())
            .bind(i64::try_from(self.since.as_micros()).unwrap_or(i64::MAX))
            .fetch(connection);
        while let Some(row) = rows.try_next().await? {
            show(&row)?;
        }
        Ok(())
    }
}

/// Makes orders of rows that have one line each.
#[derive(Default)]
struct Gathering {
    orders: Vec<Order>,
    /// The lines of the last order, as far as they have come, and their places. The database is not asked to sort them:
    /// MariaDB would sort all orders again.
    lines: Vec<(i64, Line)>,
}

impl Gathering {
    fn add(&mut self, row: &AnyRow) -> Result<(), Error> {
        let mut columns = Columns::of(row);
        let mut ids = Ids(columns.bytes()?);
        let mut words = columns.text()?.split(' ');
        let order = read_order(&mut ids, &mut words)?;
        let product = ProductId::new(ids.next()?);
        if self
            .orders
            .last()
            .is_none_or(|last| last.sequence != order.sequence)
        {
            self.complete_last();
            let address = ids.next_if_any()?.map(AddressId::new);
            self.orders.push(Order { address, ..order });
        }
        if let Some(line) = read_line(product, &mut words)? {
            self.lines.push(line);
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<Order> {
        self.complete_last();
        self.orders
    }

    fn complete_last(&mut self) {
        if let Some(last) = self.orders.last_mut() {
            self.lines.sort_unstable_by_key(|(ordinal, _)| *ordinal);
            last.lines = self.lines.drain(..).map(|(_, line)| line).collect();
        }
    }
}

type Words<'r> = std::str::Split<'r, char>;

fn read_order(ids: &mut Ids<'_>, words: &mut Words<'_>) -> Result<Order, Error> {
    Ok(Order {
        id: OrderId::new(ids.next()?),
        buyer: BuyerId::new(ids.next()?),
        key: KeyHash::new(ids.next()?),
        sequence: number(words)?.cast_unsigned(),
        fingerprint: Fingerprint(number(words)?.cast_unsigned()),
        placed_at: time(words)?,
        pay_by: time(words)?,
        deadline: time(words)?,
        changed_at: time(words)?,
        state: words::state(words.next().unwrap_or_default())?,
        address: None,
        lines: Lines::default(),
        attempts: Vec::new(),
        aftermath: None,
    })
}

/// An order without lines has nothing there.
fn read_line(product: ProductId, words: &mut Words<'_>) -> Result<Option<(i64, Line)>, Error> {
    let Some(ordinal) = words.next() else {
        return Ok(None);
    };
    let ordinal = ordinal
        .parse()
        .or(Err(Error::Damaged { what: "a number" }))?;
    let units = words
        .next()
        .and_then(|word| word.parse().ok())
        .and_then(Quantity::new);
    let amount = number(words)?;
    let currency = words.next().and_then(Currency::parse);
    let line = Line {
        product,
        quantity: units.ok_or(Error::Damaged { what: "a quantity" })?,
        unit_price: Money {
            amount,
            currency: currency.ok_or(Error::Damaged { what: "a currency" })?,
        },
    };
    Ok(Some((ordinal, line)))
}

fn time(words: &mut Words<'_>) -> Result<Timestamp, Error> {
    Ok(Timestamp::from_micros(number(words)?.cast_unsigned()))
}

fn number(words: &mut Words<'_>) -> Result<i64, Error> {
    let number = words.next().and_then(|word| word.parse().ok());
    number.ok_or(Error::Damaged { what: "a number" })
}

/// Ids, one behind the other.
struct Ids<'r>(&'r [u8]);

impl Ids<'_> {
    fn next(&mut self) -> Result<u128, Error> {
        self.next_if_any()?.ok_or(Error::Damaged { what: "an id" })
    }

    fn next_if_any(&mut self) -> Result<Option<u128>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let Some((id, rest)) = self.0.split_first_chunk() else {
            return Err(Error::Damaged { what: "an id" });
        };
        self.0 = rest;
        Ok(Some(u128::from_be_bytes(*id)))
    }
}

/// Finds orders by sequence, going forward only: rows come in the order of the orders.
struct Cursor<'o> {
    orders: std::slice::IterMut<'o, Order>,
    current: Option<&'o mut Order>,
}

impl<'o> Cursor<'o> {
    fn over(orders: &'o mut [Order]) -> Self {
        let mut orders = orders.iter_mut();
        Self {
            current: orders.next(),
            orders,
        }
    }

    fn find(&mut self, sequence: u64) -> Result<&mut Order, Error> {
        while self
            .current
            .as_ref()
            .is_some_and(|order| order.sequence != sequence)
        {
            self.current = self.orders.next();
        }
        self.current.as_deref_mut().ok_or(Error::Damaged {
            what: "a part of an order",
        })
    }
}
