//! Reading many orders in few rows.
//!
//! Each row that a driver hands over costs more than the database needs to find it, so a row is a page of orders with
//! their lines, as words in a text. What few orders have is read in passes of its own before, and added here.

use futures_util::TryStreamExt;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::stream::{Part, Sender};
use crate::domain::{
    AddressId, Aftermath, Attempt, BuyerId, Currency, Fingerprint, IdMap, KeyHash, Line, Lines,
    Money, Order, OrderId, ProductId, Quantity, Timestamp,
};
use crate::persistence::database::columns::Columns;
use crate::persistence::database::words::{self, Standing};
use crate::persistence::database::{Dialect, Error, attempts, orders};

/// Orders in a row.
const PAGE_ORDERS_MAX: usize = 256;

/// Which orders: those that stand so, and were placed since.
pub(super) struct Scan {
    dialect: Dialect,
    standing: Standing,
    since: Timestamp,
}

/// What is added to orders, by their sequence.
#[derive(Debug, Default)]
pub(super) struct Extras {
    attempts: IdMap<u64, Vec<Attempt>>,
    aftermath: IdMap<u64, Aftermath>,
}

impl Scan {
    pub(super) fn new(dialect: Dialect, standing: Standing, since: Timestamp) -> Self {
        Self {
            dialect,
            standing,
            since,
        }
    }

    /// Sends them in the order in which they were placed, as long as anybody listens.
    pub(super) async fn send(
        &self,
        connection: &mut AnyConnection,
        listener: &Sender,
    ) -> Result<(), Error> {
        let mut extras = Extras::default();
        self.read_attempts(connection, &mut extras).await?;
        self.read_aftermath(connection, &mut extras).await?;
        let mut is_heard = listener.send(Ok(Part::Begin(extras))).await.is_ok();
        let statement = self.page_statement();
        let mut after = (self.since, 0);
        while is_heard {
            let Some(page) = self.page(connection, &statement, after).await? else {
                break;
            };
            after = last_of(&page)?;
            is_heard = listener.send(Ok(Part::Page(page))).await.is_ok();
        }
        Ok(())
    }

    /// NULL is left out between words, but SQLite makes an empty text of it when asked for its bytes.
    fn page_statement(&self) -> String {
        let words = "CONCAT_WS(' ', o.sequence, o.fingerprint, o.placed_at, o.pay_by, o.deadline, o.changed_at, o.state,
                                HEX(o.id), HEX(o.buyer), HEX(o.key_hash), 
                                CASE WHEN o.address IS NULL THEN '-' ELSE HEX(o.address) END,
                                CASE WHEN l.product IS NOT NULL THEN HEX(l.product) END, l.ordinal, l.quantity, l.unit_amount, l.unit_currency)";
        format!(
            "SELECT {}
             FROM (
                 SELECT *
                 FROM orders
                 WHERE standing = ?
                   AND placed_at >= ?
                   AND (placed_at > ? OR sequence > ?)
                 ORDER BY placed_at, sequence
                 LIMIT {PAGE_ORDERS_MAX}
             ) o
             LEFT JOIN order_lines l ON l.sequence = o.sequence",
            self.dialect.joined_lines(words)
        )
    }

    /// The next orders behind the one given by its time and its sequence, for [`read_page`].
    async fn page(
        &self,
        connection: &mut AnyConnection,
        statement: &str,
        (placed_at, sequence): (Timestamp, u64),
    ) -> Result<Option<String>, Error> {
        let placed_at = micros(placed_at);
        let row = sqlx::query(AssertSqlSafe(statement))
            .bind(self.standing.number())
            .bind(placed_at)
            .bind(placed_at)
            .bind(sequence.cast_signed())
            .fetch_one(connection)
            .await?;
        Ok(row.try_get(0)?)
    }

    async fn read_attempts(
        &self,
        connection: &mut AnyConnection,
        extras: &mut Extras,
    ) -> Result<(), Error> {
        let statement = format!(
            "{}
             JOIN orders o ON o.sequence = a.sequence
             WHERE o.standing = ?
               AND o.placed_at >= ?
             ORDER BY o.placed_at, o.sequence, a.ordinal",
            attempts::select(),
        );
        self.each(connection, statement, |row| {
            let (sequence, attempt) = attempts::read(row)?;
            extras.attempts.entry(sequence).or_default().push(attempt);
            Ok(())
        })
        .await
    }

    async fn read_aftermath(
        &self,
        connection: &mut AnyConnection,
        extras: &mut Extras,
    ) -> Result<(), Error> {
        let statement = format!(
            "SELECT o.sequence, o.{}
             FROM orders o
             WHERE o.shipped_at IS NOT NULL
               AND o.standing = ?
               AND o.placed_at >= ?",
            orders::AFTERMATH_COLUMNS.join(", o."),
        );
        self.each(connection, statement, |row| {
            let mut columns = Columns::of(row);
            let sequence = columns.count("the sequence of an order")?;
            if let Some(aftermath) = orders::read_aftermath(&mut columns)? {
                extras.aftermath.insert(sequence, aftermath);
            }
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
            .bind(micros(self.since))
            .fetch(connection);
        while let Some(row) = rows.try_next().await? {
            show(&row)?;
        }
        Ok(())
    }
}

impl Extras {
    pub(super) fn add_to(&mut self, mut order: Order) -> Order {
        order.attempts = self.attempts.remove(&order.sequence).unwrap_or_default();
        order.aftermath = self.aftermath.remove(&order.sequence).map(Box::new);
        order
    }
}

fn micros(time: Timestamp) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

type Words<'r> = std::str::Split<'r, char>;

/// An order and its lines, each with its place.
type Gathered = (Order, Vec<(i64, Line)>);

/// The order behind which the next page begins. Cheaper than to read them all.
fn last_of(page: &str) -> Result<(Timestamp, u64), Error> {
    let mut last = (Timestamp::ZERO, 0);
    for line in page.split('\n') {
        let mut words = line.split(' ');
        let sequence = number(&mut words)?.cast_unsigned();
        let _fingerprint = words.next();
        last = last.max((time(&mut words)?, sequence));
    }
    Ok(last)
}

/// Orders in the order in which they were placed, without what [`Extras`] add. The database may show the lines in any
/// order.
pub(super) fn read_page(lines: &str) -> Result<Vec<Order>, Error> {
    let mut page: Vec<Gathered> = Vec::with_capacity(PAGE_ORDERS_MAX);
    let mut places: IdMap<u64, usize> = IdMap::default();
    for line in lines.split('\n') {
        let mut words = line.split(' ');
        let order = read_order(&mut words)?;
        let place = *places.entry(order.sequence).or_insert(page.len());
        if place == page.len() {
            page.push((order, Vec::with_capacity(1)));
        }
        page[place].1.extend(read_line(&mut words)?);
    }
    page.sort_unstable_by_key(|(order, _)| (order.placed_at, order.sequence));
    Ok(page.into_iter().map(complete).collect())
}

fn complete((mut order, mut lines): Gathered) -> Order {
    lines.sort_unstable_by_key(|(ordinal, _)| *ordinal);
    order.lines = lines.into_iter().map(|(_, line)| line).collect();
    order
}

fn read_order(words: &mut Words<'_>) -> Result<Order, Error> {
    Ok(Order {
        sequence: number(words)?.cast_unsigned(),
        fingerprint: Fingerprint(number(words)?.cast_unsigned()),
        placed_at: time(words)?,
        pay_by: time(words)?,
        deadline: time(words)?,
        changed_at: time(words)?,
        state: words::state(words.next().unwrap_or_default())?,
        id: OrderId::new(id(words.next())?),
        buyer: BuyerId::new(id(words.next())?),
        key: KeyHash::new(id(words.next())?),
        address: match words.next() {
            Some("-") => None,
            address => Some(AddressId::new(id(address)?)),
        },
        lines: Lines::default(),
        attempts: Vec::new(),
        aftermath: None,
    })
}

/// An order without lines has nothing there.
fn read_line(words: &mut Words<'_>) -> Result<Option<(i64, Line)>, Error> {
    let Some(product) = words.next() else {
        return Ok(None);
    };
    let product = ProductId::new(id(Some(product))?);
    let ordinal = number(words)?;
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

/// Thirty-two hexadecimal digits, read as two numbers: several times as fast as one of 128 bits.
fn id(word: Option<&str>) -> Result<u128, Error> {
    let half = |range| u64::from_str_radix(word?.get(range)?, 16).ok();
    let is_whole = word.is_some_and(|word| word.len() == 32);
    match (half(0..16), half(16..32)) {
        (Some(high), Some(low)) if is_whole => Ok(u128::from(high) << 64 | u128::from(low)),
        _ => Err(Error::Damaged { what: "an id" }),
    }
}
