//! Reading back what the engine had in memory: every product, and every order to which something happens by itself.
//!
//! Position and rows come from one snapshot. `scan.rs` reads the orders, `people.rs` finds out who has what in hand.

mod people;
mod scan;

use futures_util::FutureExt;
use sqlx::{AnyConnection, Connection};

use self::people::{People, people};
use self::scan::Scan;
use super::words::Standing;
use super::{Database, Engine, Error, engine_time, position, products, waitlist};
use crate::domain::{IdMap, Order, Product, ProductId, Timestamp, Waiter};
use crate::persistence::journal::Position;

/// The state of the shop after the record at `position`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loaded {
    pub position: Position,
    /// The last stamp of the records up to there. Zero: not known.
    pub last_stamp: Timestamp,
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
    /// All products, and the orders that are not at rest or were placed since `keep_since`.
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
    let last_stamp = engine_time::read(&mut snapshot).await?;
    let mut live = Scan::new(engine, part, Standing::Open, Timestamp::ZERO)
        .orders(&mut snapshot)
        .await?;
    let people = people(&mut snapshot, part, &live).await?;
    let products = products_of(&mut snapshot, part, people).await?;
    for standing in [
        Standing::Settled,
        Standing::SettledInHand,
        Standing::Resting,
    ] {
        let scan = Scan::new(engine, part, standing, keep_since);
        live.append(&mut scan.orders(&mut snapshot).await?);
    }
    snapshot.rollback().await?;
    Ok(Loaded {
        position,
        last_stamp,
        products,
        orders: live,
    })
}

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
    let mut waiters = waiters_of(connection, part).await?;
    let restored = products.into_iter().map(|product| {
        let people = people.remove(&product.id).unwrap_or_default();
        let waiters = waiters.remove(&product.id).unwrap_or_default();
        product.restore(people, waiters)
    });
    Ok(restored.collect())
}

async fn waiters_of(
    connection: &mut AnyConnection,
    part: &Part,
) -> Result<IdMap<ProductId, Vec<Waiter>>, Error> {
    let rows = match part {
        Part::All => waitlist::all(connection).await?,
        Part::Products(ids) => waitlist::find_of(connection, ids).await?,
        Part::Shards(_) => Vec::new(),
    };
    let mut waiters: IdMap<ProductId, Vec<Waiter>> = IdMap::default();
    for (product, waiter) in rows {
        waiters.entry(product).or_default().push(waiter);
    }
    Ok(waiters)
}
