//! Reading back what the engine had in memory: every product, and every order to which something may still happen.
//!
//! Position and rows come from one snapshot. Orders, lines, attempts and the rest are read in one pass each, in the same
//! order, and joined here: a million open orders in a few seconds.

use futures_util::{FutureExt, TryStreamExt};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Connection};

use super::columns::Columns;
use super::words::Standing;
use super::{Database, Engine, Error, attempts, lines, orders, position, products};
use crate::domain::{BuyerId, IdMap, Order, OrderId, Product, ProductId, Timestamp};
use crate::persistence::journal::Position;

/// The state of the shop after the record at `position`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loaded {
    pub position: Position,
    /// With what each person has in hand, but without when their holds end.
    pub products: Vec<Product>,
    pub orders: Vec<Order>,
}

/// Which part of the shop to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    All,
    /// These products, and the orders that have one of them: what a product actor is made from.
    Products(Vec<ProductId>),
    /// The orders of the buyers with these shard bytes, and no products: what an order actor is made from.
    Shards(Vec<u8>),
}

impl Database {
    /// All products, and the orders that are not settled or were placed since `keep_since`.
    pub async fn load_live(&self, keep_since: Timestamp) -> Result<Loaded, Error> {
        self.load_where(Part::All, keep_since).await
    }

    pub async fn load_where(&self, part: Part, keep_since: Timestamp) -> Result<Loaded, Error> {
        let engine = self.engine();
        self.read(move |connection| {
            async move { load(connection, engine, &part, keep_since).await }.boxed()
        })
        .await
    }
}

/// Begins a transaction in which all reads see the rows of the same instant.
pub(super) async fn begin_snapshot(
    connection: &mut AnyConnection,
    engine: Engine,
) -> Result<sqlx::Transaction<'_, sqlx::Any>, Error> {
    if engine == Engine::MySql {
        // For the next transaction alone: READ COMMITTED would take a new snapshot for each statement.
        sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            .execute(&mut *connection)
            .await?;
    }
    Ok(connection.begin_with(engine.begin_snapshot()).await?)
}

async fn load(
    connection: &mut AnyConnection,
    engine: Engine,
    part: &Part,
    keep_since: Timestamp,
) -> Result<Loaded, Error> {
    let mut snapshot = begin_snapshot(connection, engine).await?;
    let position = position::read(&mut snapshot).await?;
    let mut live = live_orders(&mut snapshot, part, Standing::Open, Timestamp::ZERO).await?;
    let people = people(&mut snapshot, part, &live).await?;
    let products = products_of(&mut snapshot, part, people).await?;
    for standing in [Standing::Settled, Standing::SettledInHand] {
        live.append(&mut live_orders(&mut snapshot, part, standing, keep_since).await?);
    }
    snapshot.rollback().await?;
    Ok(Loaded {
        position,
        products,
        orders: live,
    })
}

// -- orders ------------------------------------------------------------------------------------------------------

async fn live_orders(
    connection: &mut AnyConnection,
    part: &Part,
    standing: Standing,
    since: Timestamp,
) -> Result<Vec<Order>, Error> {
    let scan = Scan {
        condition: condition(part),
        standing,
        since,
    };
    let mut orders = Vec::new();
    let select = order_statement(&scan);
    scan.each(connection, select, |row| {
        orders.push(orders::read_core(&mut Columns::of(row))?);
        Ok(())
    })
    .await?;
    add_lines(connection, &scan, &mut orders).await?;
    add_attempts(connection, &scan, &mut orders).await?;
    add_aftermath(connection, &scan, &mut orders).await?;
    Ok(orders)
}

/// The same orders in the same order, whatever is read of them.
struct Scan {
    condition: String,
    standing: Standing,
    since: Timestamp,
}

impl Scan {
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

fn order_statement(scan: &Scan) -> String {
    let columns = orders::COLUMNS
        .get(..orders::CORE_COLUMNS)
        .unwrap_or_default();
    format!(
        "SELECT o.{}
         FROM orders o
         WHERE o.standing = ?
           AND o.placed_at >= ?
           {}
         ORDER BY o.placed_at, o.sequence",
        columns.join(", o."),
        scan.condition,
    )
}

/// `select` names the columns and the table, whose alias is `alias`.
fn joined_statement(scan: &Scan, select: &str, alias: &str) -> String {
    format!(
        "{select}
         JOIN orders o ON o.sequence = {alias}.sequence
         WHERE o.standing = ?
           AND o.placed_at >= ?
           {}
         ORDER BY o.placed_at, o.sequence, {alias}.ordinal",
        scan.condition,
    )
}

async fn add_lines(
    connection: &mut AnyConnection,
    scan: &Scan,
    orders: &mut [Order],
) -> Result<(), Error> {
    let statement = joined_statement(scan, &lines::select(), "l");
    let mut cursor = Cursor::over(orders);
    let mut gathered = Vec::new();
    let mut owner = None;
    scan.each(connection, statement, |row| {
        let (sequence, line) = lines::read(row)?;
        if owner != Some(sequence) {
            cursor.give_lines(owner, &mut gathered)?;
            owner = Some(sequence);
        }
        gathered.push(line);
        Ok(())
    })
    .await?;
    cursor.give_lines(owner, &mut gathered)
}

async fn add_attempts(
    connection: &mut AnyConnection,
    scan: &Scan,
    orders: &mut [Order],
) -> Result<(), Error> {
    let statement = joined_statement(scan, &attempts::select(), "a");
    let mut cursor = Cursor::over(orders);
    scan.each(connection, statement, |row| {
        let (sequence, attempt) = attempts::read(row)?;
        cursor.find(sequence)?.attempts.push(attempt);
        Ok(())
    })
    .await
}

async fn add_aftermath(
    connection: &mut AnyConnection,
    scan: &Scan,
    orders: &mut [Order],
) -> Result<(), Error> {
    let statement = format!(
        "SELECT o.sequence, o.{}
         FROM orders o
         WHERE o.standing = ?
           AND o.placed_at >= ?
           AND o.shipped_at IS NOT NULL
           {}
         ORDER BY o.placed_at, o.sequence",
        orders::AFTERMATH_COLUMNS.join(", o."),
        scan.condition,
    );
    let mut cursor = Cursor::over(orders);
    scan.each(connection, statement, |row| {
        let mut columns = Columns::of(row);
        let sequence = columns.count("the sequence of an order")?;
        let aftermath = orders::read_aftermath(&mut columns)?;
        cursor.find(sequence)?.aftermath = aftermath.map(Box::new);
        Ok(())
    })
    .await
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

    /// Gives the lines that were gathered to their order, exactly as many as there are: most have one.
    fn give_lines(
        &mut self,
        owner: Option<u64>,
        gathered: &mut Vec<crate::domain::Line>,
    ) -> Result<(), Error> {
        if let Some(owner) = owner {
            self.find(owner)?.lines = gathered.as_slice().into();
            gathered.clear();
        }
        Ok(())
    }
}

// -- products ----------------------------------------------------------------------------------------------------

type People = IdMap<ProductId, IdMap<BuyerId, u64>>;

async fn products_of(
    connection: &mut AnyConnection,
    part: &Part,
    mut people: People,
) -> Result<Vec<Product>, Error> {
    let products = match part {
        Part::All => products::all(connection).await?,
        Part::Products(ids) => products::find(connection, ids).await?,
        Part::Shards(_) => Vec::new(),
    };
    let restored = products.into_iter().map(|product| {
        let people = people.remove(&product.id).unwrap_or_default();
        product.restore(people)
    });
    Ok(restored.collect())
}

/// Who has how many units in hand: of open orders, which are in memory, and of settled ones, which SQL adds up.
async fn people(
    connection: &mut AnyConnection,
    part: &Part,
    open: &[Order],
) -> Result<People, Error> {
    let mut people = People::default();
    if matches!(part, Part::Shards(_)) {
        return Ok(people);
    }
    for order in open {
        if order.bucket().is_some_and(|bucket| bucket.is_in_hand()) {
            for line in &order.lines {
                let units = u64::from(line.quantity.get());
                *people
                    .entry(line.product)
                    .or_default()
                    .entry(order.buyer)
                    .or_default() += units;
            }
        }
    }
    add_settled(connection, part, &mut people).await?;
    Ok(people)
}

async fn add_settled(
    connection: &mut AnyConnection,
    part: &Part,
    people: &mut People,
) -> Result<(), Error> {
    let of_products = match part {
        Part::Products(ids) => format!("AND l.product IN ({})", literals(ids)),
        Part::All | Part::Shards(_) => String::new(),
    };
    let statement = format!(
        "SELECT l.product, o.buyer, CAST(SUM(l.quantity) AS SIGNED INTEGER)
         FROM orders o
         JOIN order_lines l ON l.sequence = o.sequence
         WHERE o.standing = ?
           {of_products}
         GROUP BY l.product, o.buyer",
    );
    let mut rows = sqlx::query(AssertSqlSafe(statement))
        .bind(Standing::SettledInHand.number())
        .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let mut columns = Columns::of(&row);
        let product = ProductId::new(columns.id()?);
        let buyer = BuyerId::new(columns.id()?);
        let units = columns.count("units in hand")?;
        *people.entry(product).or_default().entry(buyer).or_default() += units;
    }
    Ok(())
}

// -- conditions --------------------------------------------------------------------------------------------------

/// What restricts the orders `o` to a part of the shop. Ids are numbers of ours, so they may stand in the text.
fn condition(part: &Part) -> String {
    match part {
        Part::All => String::new(),
        Part::Products(ids) => format!(
            "AND EXISTS (
                SELECT 1
                FROM order_lines wanted
                WHERE wanted.sequence = o.sequence
                  AND wanted.product IN ({})
            )",
            literals(ids)
        ),
        Part::Shards(bytes) => {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("'{byte:02X}'")).collect();
            format!(
                "AND HEX(SUBSTR(o.id, {}, 1)) IN ({})",
                size_of::<OrderId>(),
                or_none(bytes)
            )
        }
    }
}

fn literals(ids: &[ProductId]) -> String {
    or_none(
        ids.iter()
            .map(|id| format!("X'{:032x}'", id.get()))
            .collect(),
    )
}

/// An empty list is a syntax error on `MySQL`; nothing equals NULL.
fn or_none(literals: Vec<String>) -> String {
    if literals.is_empty() {
        return "NULL".to_owned();
    }
    literals.join(", ")
}
