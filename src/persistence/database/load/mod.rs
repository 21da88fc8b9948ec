//! Reading back what the engine had in memory: every product, every order to which something happens by itself, and what
//! people have in hand where a limit counts it.
//!
//! Position and rows come from one snapshot. `scan.rs` reads the orders, `stream.rs` brings them to where they are needed.
//!
//! Deliberately absent: any walk over what is finished. However many orders there ever were, a start reads those that are
//! not over, those of the last days, and the people of sales that go on.

mod scan;
mod stream;

use futures_util::FutureExt;
use sqlx::{AnyConnection, Connection};
use tokio::sync::oneshot;

pub use self::stream::OrderStream;

use self::scan::Scan;
use self::stream::{Part, Sender};
use super::words::Standing;
use super::{
    Database, Dialect, Error, engine_time, in_hand, orders, pages, position, products, waitlist,
};
use crate::domain::{IdMap, InHand, Order, OrderId, Product, ProductId, Timestamp, Waiter};
use crate::persistence::journal::Position;

/// The state of the shop after the record at `position`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loaded {
    pub position: Position,
    /// The last stamp of the records up to there. Zero: not known.
    pub last_stamp: Timestamp,
    /// Without when their holds end, and with what people have in hand where that was to be read.
    pub products: Vec<Product>,
    pub orders: Vec<Order>,
}

/// The same while its orders are still being read.
#[derive(Debug)]
pub struct Loading {
    pub position: Position,
    pub last_stamp: Timestamp,
    pub products: Vec<Product>,
    pub orders: OrderStream,
}

/// What comes before the orders.
struct Head {
    position: Position,
    last_stamp: Timestamp,
    products: Vec<Product>,
}

/// What was asked for by name, as of the record at `position`.
#[derive(Debug)]
pub struct Recalled {
    pub position: Position,
    pub orders: Vec<Order>,
    pub people: IdMap<ProductId, InHand>,
}

impl Database {
    /// All products, and the orders that are not at rest or were placed since `keep_since`. What people have in hand is
    /// read where a limit counts it in a sale that was not over by then.
    pub async fn load_live(&self, keep_since: Timestamp) -> Result<Loading, Error> {
        let wants_people = move |product: &Product| product.counts_people(keep_since);
        self.load(wants_people, keep_since).await
    }

    /// Everything, to compare it.
    pub async fn load_all(&self) -> Result<Loaded, Error> {
        self.load(|_| true, Timestamp::ZERO).await?.gather().await
    }

    /// Orders, and what everybody has in hand of products. What is not there does not exist.
    pub async fn recall(
        &self,
        ids: Vec<OrderId>,
        products: Vec<ProductId>,
    ) -> Result<Recalled, Error> {
        let dialect = self.dialect();
        self.read(move |connection| {
            async move {
                let mut snapshot = begin_snapshot(connection, dialect).await?;
                let position = position::read(&mut snapshot).await?;
                let rows = orders::find(&mut snapshot, &ids).await?;
                let orders = rows.into_iter().map(|row| row.order).collect();
                let orders = pages::add_parts(&mut snapshot, orders).await?;
                let people = in_hand::of(&mut snapshot, &products).await?;
                snapshot.rollback().await?;
                Ok(Recalled {
                    position,
                    orders,
                    people,
                })
            }
            .boxed()
        })
        .await
    }

    async fn load(
        &self,
        wants_people: impl Fn(&Product) -> bool + Send + 'static,
        keep_since: Timestamp,
    ) -> Result<Loading, Error> {
        let (show, head) = oneshot::channel();
        let (listener, orders) = stream::channel();
        let (database, dialect) = (self.clone(), self.dialect());
        self.shared.home.spawn(async move {
            let parts = listener.clone();
            let read = database.read(move |connection| {
                async move {
                    let mut snapshot = begin_snapshot(connection, dialect).await?;
                    let head = Head {
                        position: position::read(&mut snapshot).await?,
                        last_stamp: engine_time::read(&mut snapshot).await?,
                        products: load_products(&mut snapshot, wants_people).await?,
                    };
                    if show.send(head).is_ok() {
                        send_orders(&mut snapshot, dialect, keep_since, &parts).await?;
                    }
                    snapshot.rollback().await?;
                    Ok(())
                }
                .boxed()
            });
            let end = read.await.map(|()| Part::End);
            // Nobody may listen any more.
            listener.send(end).await.ok();
        });
        match head.await {
            Ok(head) => Ok(Loading {
                position: head.position,
                last_stamp: head.last_stamp,
                products: head.products,
                orders,
            }),
            Err(_failed) => Err(orders.failure().await),
        }
    }
}

impl Loading {
    /// Waits for the orders.
    pub(crate) async fn gather(self) -> Result<Loaded, Error> {
        Ok(Loaded {
            position: self.position,
            last_stamp: self.last_stamp,
            products: self.products,
            orders: self.orders.gather().await?,
        })
    }
}

/// Begins a transaction in which all reads see the rows of the same instant.
pub(super) async fn begin_snapshot(
    connection: &mut AnyConnection,
    dialect: Dialect,
) -> Result<sqlx::Transaction<'_, sqlx::Any>, Error> {
    if dialect == Dialect::MySql {
        // For the next transaction alone: READ COMMITTED would take a new snapshot for each statement.
        sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            .execute(&mut *connection)
            .await?;
    }
    Ok(connection.begin_with(dialect.begin_snapshot()).await?)
}

async fn send_orders(
    connection: &mut AnyConnection,
    dialect: Dialect,
    keep_since: Timestamp,
    listener: &Sender,
) -> Result<(), Error> {
    for (standing, since) in [
        (Standing::Open, Timestamp::ZERO),
        (Standing::Settled, keep_since),
        (Standing::SettledInHand, keep_since),
        (Standing::Resting, keep_since),
    ] {
        let scan = Scan::new(dialect, standing, since);
        scan.send(connection, listener).await?;
    }
    Ok(())
}

async fn load_products(
    connection: &mut AnyConnection,
    wants_people: impl Fn(&Product) -> bool,
) -> Result<Vec<Product>, Error> {
    let mut waiters: IdMap<ProductId, Vec<Waiter>> = IdMap::default();
    for (product, waiter) in waitlist::all(connection).await? {
        waiters.entry(product).or_default().push(waiter);
    }
    let mut products: Vec<Product> = products::all(connection)
        .await?
        .into_iter()
        .map(|product| {
            let waiters = waiters.remove(&product.id).unwrap_or_default();
            product.restore(waiters)
        })
        .collect();
    // Where nobody has anything it is known already who has how much.
    let with_people = products.iter_mut().filter(|it| it.stock.in_hand() > 0);
    let (wanted, others): (Vec<_>, Vec<_>) = with_people.partition(|it| wants_people(it));
    let ids: Vec<ProductId> = wanted.iter().map(|product| product.id).collect();
    let mut people = in_hand::of(connection, &ids).await?;
    for product in wanted {
        product.recall_people(people.remove(&product.id).unwrap_or_default());
    }
    for product in others {
        product.forget_people();
    }
    Ok(products)
}
