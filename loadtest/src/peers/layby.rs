//! The peers that are Layby itself: one server, different products.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::SignedDuration;
use tokio::task::{JoinSet, LocalSet};
use uuid::Uuid;

use super::{Bench, Peer, Started};
use crate::api::{Admin, BuyerCalls, Hold, Window};
use crate::buyers::Buyer;
use crate::clock::Clock;
use crate::http::{KeySource, Limits, Pool};
use crate::server::Server;
use crate::workload::{SOLD_OUT, Workload};

/// More than any comparison sells.
pub(crate) const PLENTY: u64 = 10_000_000;
const PER_PERSON_PLENTY: u32 = 1_000_000;
/// No hold expires while it is measured, so that expiry is not part of the figure.
const HOLD_SECONDS: u32 = 1_800;
/// Ten thousand products one after the other would take longer than the comparison.
const ADMIN_CONNECTIONS: usize = 16;
const LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn start(bench: &Bench, peer: Peer) -> Result<Started> {
    let server = bench
        .server
        .as_ref()
        .context("a peer needs Layby, and none was prepared")?;
    let buyers = bench.server_buyers(server)?;
    let shop = Rc::new(Shop::new(server));
    let workload = match peer {
        Peer::SoldOut => shop.sold_out(&buyers).await?,
        Peer::Products(count) => shop.ordering(&buyers, count).await?,
        Peer::Journey => Workload {
            pays: true,
            ..shop.ordering(&buyers, 1).await?
        },
        Peer::Layby | Peer::NoOp => shop.ordering(&buyers, 1).await?,
    };
    Ok(Started {
        peer,
        workload,
        _process: None,
    })
}

/// One product with plenty of stock, for a scenario that changes it while it is sold.
#[derive(Debug)]
pub(crate) struct HotProduct {
    pub(crate) workload: Workload,
    pub(crate) product: Uuid,
    pub(crate) admin: Admin,
}

pub(super) async fn hot_product(bench: &Bench, server: &Server) -> Result<HotProduct> {
    let buyers = bench.server_buyers(server)?;
    let shop = Shop::new(server);
    let product = shop.open_product(PLENTY).await?;
    Ok(HotProduct {
        workload: Workload::ordering(&server.address, &buyers, &[product]),
        product,
        admin: shop.admin,
    })
}

/// The admin's side of a comparison.
struct Shop {
    admin: Admin,
    clock: Clock,
}

impl Shop {
    fn new(server: &Server) -> Self {
        let clock = Clock::start();
        let limits = Limits {
            connections_max: ADMIN_CONNECTIONS,
            answer_timeout: LIMIT,
            give_up_after: LIMIT,
        };
        let pool = Pool::new(server.address.clone(), clock, limits);
        Self {
            admin: Admin {
                pool,
                token: server.admin_token.clone(),
            },
            clock,
        }
    }

    async fn ordering(self: &Rc<Self>, buyers: &[Buyer], count: u32) -> Result<Workload> {
        let products = LocalSet::new().run_until(self.open_products(count)).await?;
        Ok(Workload::ordering(
            self.admin.pool.address(),
            buyers,
            &products,
        ))
    }

    /// A product whose only unit is sold before the measurement.
    async fn sold_out(&self, buyers: &[Buyer]) -> Result<Workload> {
        let product = self.open_product(1).await?;
        let buyer = buyers.first().context("no buyers")?;
        self.buy(product, buyer)
            .await
            .context("the only unit could not be sold beforehand")?;
        let workload = Workload::ordering(self.admin.pool.address(), buyers, &[product]);
        Ok(Workload {
            expected: SOLD_OUT,
            ..workload
        })
    }

    async fn buy(&self, product: Uuid, buyer: &Buyer) -> Result<()> {
        let mut keys = KeySource::new();
        let calls = BuyerCalls {
            pool: &self.admin.pool,
            token: &buyer.token,
        };
        let placed = calls.place(product, keys.next()).await?;
        let hold = Hold::parse(&placed.body)
            .with_context(|| format!("an order was answered {}", placed.status))?;
        let paid = calls.pay(hold.order_id, "card", keys.next()).await?;
        ensure!(paid.status == 201, "a payment was answered {}", paid.status);
        Ok(())
    }

    /// All at once; the pool sees to it that they take turns.
    async fn open_products(self: &Rc<Self>, count: u32) -> Result<Vec<Uuid>> {
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let shop = Rc::clone(self);
            tasks.spawn_local(async move { shop.open_product(PLENTY).await });
        }
        let mut products = Vec::new();
        while let Some(opened) = tasks.join_next().await {
            products.push(opened.context("a product was not opened because of a bug")??);
        }
        Ok(products)
    }

    async fn open_product(&self, stock: u64) -> Result<Uuid> {
        let window = Window {
            opens_at: self.clock.wall(self.clock.now_us()) + SignedDuration::from_hours(1),
            per_person_limit: PER_PERSON_PLENTY,
            hold_seconds: HOLD_SECONDS,
        };
        let product = self
            .admin
            .create_product("Comparison of the load test", stock, window)
            .await?;
        self.admin.open(product).await?;
        Ok(product)
    }
}
