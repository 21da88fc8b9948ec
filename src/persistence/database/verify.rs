//! Checking the books: do the counters of each product say what its orders say, and do two states agree?
//!
//! For people, so the result is sentences. Reads whole tables; not for the sale.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};

use futures_util::{FutureExt, TryStreamExt};
use sqlx::{AnyConnection, AssertSqlSafe};

use super::columns::Columns;
use super::load::begin_snapshot;
use super::{Database, Dialect, Error, Loaded, waitlist, words};
use crate::domain::{Bucket, BuyerId, Order, OrderId, OrderState, Product, ProductId};

/// Faults that are told one by one; beyond that their number must do.
const FAULTS_TOLD_MAX: usize = 1_000;

/// Everything in the tables that does not add up, product by product and order by order; empty: the books are right.
pub async fn verify_books(database: &Database) -> Result<Vec<String>, Error> {
    let dialect = database.dialect();
    database
        .read(move |connection| verify(connection, dialect).boxed())
        .await
}

async fn verify(connection: &mut AnyConnection, dialect: Dialect) -> Result<Vec<String>, Error> {
    let mut snapshot = begin_snapshot(connection, dialect).await?;
    let counted = counters(&mut snapshot).await?;
    let recounted = recount(&mut snapshot).await?;
    let mut faults = Vec::new();
    compare_books(&counted, &recounted, &mut faults);
    wrong_totals(&mut snapshot, &mut faults).await?;
    wrong_hands(&mut snapshot, &mut faults).await?;
    lost_lines(&mut snapshot, &mut faults).await?;
    lost_attempts(&mut snapshot, &mut faults).await?;
    snapshot.rollback().await?;
    Ok(faults)
}

// -- products ----------------------------------------------------------------------------------------------------

/// The counters of a product, as they are: a negative one is a fault to be told, not an error.
#[derive(Clone, Copy, Debug, Default)]
struct Books {
    held: i64,
    sold: i64,
    returning: i64,
    offered: i64,
    /// Those that nothing accounts for.
    others: [(&'static str, i64); 3],
    deleted: bool,
}

async fn counters(connection: &mut AnyConnection) -> Result<BTreeMap<ProductId, Books>, Error> {
    let rows = sqlx::query(
        "SELECT id, stock_held, stock_sold, stock_returning, stock_offered,
                stock_available, stock_withdrawn, stock_withdrawal_pending, deleted
         FROM products",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            let id = ProductId::new(columns.id()?);
            let books = Books {
                held: columns.number()?,
                sold: columns.number()?,
                returning: columns.number()?,
                offered: columns.number()?,
                others: [
                    ("available", columns.number()?),
                    ("withdrawn", columns.number()?),
                    ("withdrawal_pending", columns.number()?),
                ],
                deleted: columns.flag()?,
            };
            Ok((id, books))
        })
        .collect()
}

/// The units of each product by where its orders and its waitlist say that they are.
async fn recount(
    connection: &mut AnyConnection,
) -> Result<BTreeMap<ProductId, BTreeMap<Bucket, i64>>, Error> {
    let rows = sqlx::query(
        "SELECT l.product, o.state, COALESCE(o.restocked, 0),
                CAST(SUM(l.quantity) AS SIGNED INTEGER)
         FROM order_lines l
         JOIN orders o ON o.sequence = l.sequence
         GROUP BY l.product, o.state, COALESCE(o.restocked, 0)",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut products: BTreeMap<ProductId, BTreeMap<Bucket, i64>> = BTreeMap::new();
    for row in &rows {
        let mut columns = Columns::of(row);
        let product = ProductId::new(columns.id()?);
        let state = words::state(columns.text()?)?;
        let restocked = columns.flag()?;
        let units = columns.number()?;
        let buckets = products.entry(product).or_default();
        if let Some(bucket) = state.bucket(restocked) {
            *buckets.entry(bucket).or_default() += units;
        }
    }
    for (product, waiter) in waitlist::all(connection).await? {
        if let Some(offer) = waiter.offer {
            let buckets = products.entry(product).or_default();
            *buckets.entry(Bucket::Offered).or_default() += i64::from(offer.units.get());
        }
    }
    Ok(products)
}

fn compare_books(
    counted: &BTreeMap<ProductId, Books>,
    recounted: &BTreeMap<ProductId, BTreeMap<Bucket, i64>>,
    faults: &mut Vec<String>,
) {
    for product in recounted.keys().filter(|id| !counted.contains_key(*id)) {
        faults.push(format!(
            "product {product}: orders or a waitlist name it, but there is no such product"
        ));
    }
    for (product, books) in counted {
        let units = |bucket| {
            let buckets = recounted.get(product)?;
            buckets.get(&bucket).copied()
        };
        let checks = [
            ("held", books.held, Bucket::Held),
            ("sold", books.sold, Bucket::Sold),
            ("returning", books.returning, Bucket::Returning),
            ("offered", books.offered, Bucket::Offered),
        ];
        for (name, counter, bucket) in checks {
            let in_orders = units(bucket).unwrap_or(0);
            if counter != in_orders {
                faults.push(format!(
                    "product {product}: {name} is {counter}, but its orders and its waitlist make {in_orders}"
                ));
            }
            if books.deleted && in_orders != 0 {
                faults.push(format!(
                    "product {product}: deleted with {in_orders} units {name}"
                ));
            }
        }
        for (name, counter) in books.others.iter().filter(|(_, counter)| *counter < 0) {
            faults.push(format!(
                "product {product}: {name} is {counter}, below zero"
            ));
        }
    }
}

// -- people ------------------------------------------------------------------------------------------------------

/// Who has another number of units in hand than their orders and their place on the waitlist make.
async fn wrong_hands(
    connection: &mut AnyConnection,
    faults: &mut Vec<String>,
) -> Result<(), Error> {
    let statement = format!(
        "SELECT product, buyer,
                CAST(SUM(kept) AS SIGNED INTEGER), CAST(SUM(counted) AS SIGNED INTEGER)
         FROM (
             SELECT product, buyer, units AS kept, 0 AS counted
             FROM in_hand
             UNION ALL
             SELECT l.product, o.buyer, 0, l.quantity
             FROM orders o
             JOIN order_lines l ON l.sequence = o.sequence
             WHERE o.state IN ({})
             UNION ALL
             SELECT product, buyer, 0, offer_units
             FROM waitlist
             WHERE offer_units IS NOT NULL
         ) hands
         GROUP BY product, buyer
         HAVING SUM(kept) <> SUM(counted)",
        states_in_hand()
    );
    let mut rows = sqlx::query(AssertSqlSafe(statement)).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let mut columns = Columns::of(&row);
        let product = ProductId::new(columns.id()?);
        let buyer = BuyerId::new(columns.id()?);
        let (kept, counted) = (columns.number()?, columns.number()?);
        tell(faults, || {
            format!(
                "product {product}: {buyer} has {kept} in hand, but the orders and the waitlist make {counted}"
            )
        });
    }
    Ok(())
}

/// As a list of SQL.
fn states_in_hand() -> String {
    let in_hand = |state: &OrderState| state.bucket(false).is_some_and(Bucket::is_in_hand);
    let states = OrderState::ALL.into_iter().filter(in_hand);
    let words: Vec<String> = states
        .map(|state| format!("'{}'", words::state_word(state)))
        .collect();
    words.join(", ")
}

// -- orders ------------------------------------------------------------------------------------------------------

async fn wrong_totals(
    connection: &mut AnyConnection,
    faults: &mut Vec<String>,
) -> Result<(), Error> {
    let mut rows = sqlx::query(
        "SELECT o.id, o.total, COALESCE(l.amount, 0)
         FROM orders o
         LEFT JOIN (
             SELECT sequence, CAST(SUM(quantity * unit_amount) AS SIGNED INTEGER) AS amount
             FROM order_lines
             GROUP BY sequence
         ) l ON l.sequence = o.sequence
         WHERE o.total <> COALESCE(l.amount, 0)",
    )
    .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let mut columns = Columns::of(&row);
        let order = OrderId::new(columns.id()?);
        let total = columns.number()?;
        let lines = columns.number()?;
        tell(faults, || {
            format!("order {order}: its total is {total}, but its lines make {lines}")
        });
    }
    Ok(())
}

async fn lost_lines(connection: &mut AnyConnection, faults: &mut Vec<String>) -> Result<(), Error> {
    let mut rows = sqlx::query(
        "SELECT l.sequence, l.product
         FROM order_lines l
         LEFT JOIN orders o ON o.sequence = l.sequence
         WHERE o.sequence IS NULL",
    )
    .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let mut columns = Columns::of(&row);
        let sequence = columns.number()?;
        let product = ProductId::new(columns.id()?);
        tell(faults, || {
            format!("product {product}: a line belongs to record {sequence}, which is no order")
        });
    }
    Ok(())
}

async fn lost_attempts(
    connection: &mut AnyConnection,
    faults: &mut Vec<String>,
) -> Result<(), Error> {
    let mut rows = sqlx::query(
        "SELECT a.sequence
         FROM payment_attempts a
         LEFT JOIN orders o ON o.sequence = a.sequence
         WHERE o.sequence IS NULL",
    )
    .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let sequence = Columns::of(&row).number()?;
        tell(faults, || {
            format!("a payment attempt belongs to record {sequence}, which is no order")
        });
    }
    Ok(())
}

// -- two states --------------------------------------------------------------------------------------------------

/// Where two states of the shop differ, such as the one read from SQL and the one folded from the journal.
/// When holds end is left out: a product read from SQL does not know it yet. What people have in hand is compared where
/// both know it.
pub fn diff(left: &Loaded, right: &Loaded) -> Vec<String> {
    let mut faults = Vec::new();
    if left.position != right.position {
        faults.push(format!(
            "position: {} and {}",
            left.position, right.position
        ));
    }
    let products = |state: &Loaded| -> BTreeMap<ProductId, Product> {
        state
            .products
            .iter()
            .map(|it| (it.id, it.clone()))
            .collect()
    };
    diff_maps(
        "product",
        &products(left),
        &products(right),
        &mut faults,
        diff_product,
    );
    let orders = |state: &Loaded| -> BTreeMap<OrderId, Order> {
        state.orders.iter().map(|it| (it.id, it.clone())).collect()
    };
    diff_maps(
        "order",
        &orders(left),
        &orders(right),
        &mut faults,
        diff_order,
    );
    faults
}

fn diff_maps<K: Ord + Copy + fmt::Display, V>(
    what: &str,
    left: &BTreeMap<K, V>,
    right: &BTreeMap<K, V>,
    faults: &mut Vec<String>,
    differences: impl Fn(&V, &V) -> Vec<String>,
) {
    let ids: BTreeSet<K> = left.keys().chain(right.keys()).copied().collect();
    for id in ids {
        match (left.get(&id), right.get(&id)) {
            (Some(left), Some(right)) => {
                for difference in differences(left, right) {
                    tell(faults, || format!("{what} {id}: {difference}"));
                }
            }
            (Some(_), None) => tell(faults, || format!("{what} {id}: only in the first")),
            (None, _) => tell(faults, || format!("{what} {id}: only in the second")),
        }
    }
}

fn diff_product(left: &Product, right: &Product) -> Vec<String> {
    let mut found = Vec::new();
    differ("details", &left.details, &right.details, &mut found);
    differ(
        "restock_to",
        &left.restock_to,
        &right.restock_to,
        &mut found,
    );
    differ(
        "registered_at",
        &left.registered_at,
        &right.registered_at,
        &mut found,
    );
    differ("window", &left.window, &right.window, &mut found);
    differ("stock", &left.stock, &right.stock, &mut found);
    differ("deleted", &left.deleted, &right.deleted, &mut found);
    if let (Some(left), Some(right)) = (left.people(), right.people()) {
        let (left, right): (BTreeMap<_, _>, BTreeMap<_, _>) = (left.collect(), right.collect());
        differ("in hand", &left, &right, &mut found);
    }
    if left.waitlist() != right.waitlist() {
        found.push("the waitlist is another one in the second".to_owned());
    }
    found
}

fn diff_order(left: &Order, right: &Order) -> Vec<String> {
    let mut found = Vec::new();
    differ("state", &left.state, &right.state, &mut found);
    differ("lines", &left.lines, &right.lines, &mut found);
    differ("attempts", &left.attempts, &right.attempts, &mut found);
    differ("aftermath", &left.aftermath, &right.aftermath, &mut found);
    if found.is_empty() {
        differ("order", left, right, &mut found);
    }
    found
}

fn differ<T: PartialEq + Debug>(what: &str, left: &T, right: &T, found: &mut Vec<String>) {
    if left != right {
        found.push(format!(
            "{what} is {left:?} in the first and {right:?} in the second"
        ));
    }
}

fn tell(faults: &mut Vec<String>, fault: impl FnOnce() -> String) {
    match faults.len() {
        FAULTS_TOLD_MAX => faults.push("and more".to_owned()),
        told if told < FAULTS_TOLD_MAX => faults.push(fault()),
        _ => {}
    }
}
