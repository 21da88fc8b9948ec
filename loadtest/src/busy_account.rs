//! What one account that never rests does to everybody else: it takes holds and cancels them, a hundred thousand times,
//! and reads its orders all the while.

use std::cell::Cell;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::{Either, select, try_join, try_join_all};
use serde_json::json;
use uuid::Uuid;

use crate::api::{Hold, place_request};
use crate::buyers::Buyer;
use crate::cli::BusyAccount as Options;
use crate::http::{Address, Connection, KeySource, Request};
use crate::open_loop::{self, Measured};
use crate::peers::Bench;
use crate::report::{Report, quantile_ms};
use crate::side_by_side::SideBySide;
use crate::workload::Workload;

/// Nobody else may notice more of it than this.
const SLOWER_MAX: f64 = 1.5;
const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// Readers of the account's orders, at the same time.
const READERS: usize = 4;

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let load = &options.load;
    let bench = Bench::prepare_layby(load).await?;
    let hot = bench.hot_product().await?;
    let (busy, others) = bench.one_and_others()?;
    let address = hot.workload.address.clone();
    let purchases = Workload::ordering(&address, &others, &[hot.product]);
    let account = Account {
        address: &address,
        buyer: &busy,
        product: hot.product,
        cycles: Cell::new(0),
        pages: Cell::new(0),
    };
    let rate = f64::from(options.rate);
    let (mut alone_ms, mut beside_ms) = (Vec::new(), Vec::new());
    let mut last = None;
    for round in 0..options.rounds {
        bench.settle().await;
        let alone = open_loop::run(&purchases, load.pace(), rate).await?;
        alone_ms.push(quantile_ms(&alone.latency_us, 0.99));
        if round == 0 {
            account
                .build_a_past(options.cycles, options.parallel)
                .await?;
        }
        bench.settle().await;
        let measured = open_loop::run(&purchases, load.pace(), rate);
        let beside = account.beside(measured).await?;
        beside_ms.push(quantile_ms(&beside.latency_us, 0.99));
        last = Some(beside);
    }
    let last = last.context("no round was asked for")?;
    let mut why = Vec::new();
    if account.pages.get() == 0 {
        why.push("nobody read the account's orders, so nothing was shown".to_owned());
    }
    let side_by_side = SideBySide {
        scenario: "busy-account",
        beside: "beside an account that never rests",
        buyers: load.buyers,
        rate_per_s: options.rate,
        slower_max: SLOWER_MAX,
        alone_ms: &alone_ms,
        beside_ms: &beside_ms,
        last: &last,
        why,
        more: json!({
            "cycles": account.cycles.get(),
            "pages_read": account.pages.get(),
            "readers": READERS,
        }),
    };
    Ok(side_by_side.report())
}

struct Account<'a> {
    address: &'a Address,
    buyer: &'a Buyer,
    product: Uuid,
    /// Holds taken and cancelled.
    cycles: Cell<u64>,
    pages: Cell<u64>,
}

impl Account<'_> {
    async fn build_a_past(&self, cycles: u64, parallel: u32) -> Result<()> {
        let churning = (0..parallel).map(|_| async {
            let mut connection = self.connect().await?;
            let mut keys = KeySource::new();
            while self.cycles.get() < cycles {
                self.hold_and_cancel(&mut connection, &mut keys).await?;
            }
            Ok(())
        });
        try_join_all(churning).await.map(drop)
    }

    /// Goes on as before, and reads its orders, until the purchases are measured.
    async fn beside(&self, purchases: impl Future<Output = Result<Measured>>) -> Result<Measured> {
        let reading = try_join_all((0..READERS).map(|_| self.read_for_ever()));
        let restless = std::pin::pin!(try_join(reading, self.churn_for_ever()));
        let purchases = std::pin::pin!(purchases);
        match select(purchases, restless).await {
            Either::Left((measured, _)) => measured,
            Either::Right((ended, _)) => {
                ended?;
                bail!("the account came to rest before the purchases were measured")
            }
        }
    }

    async fn churn_for_ever(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        let mut keys = KeySource::new();
        loop {
            self.hold_and_cancel(&mut connection, &mut keys).await?;
        }
    }

    async fn read_for_ever(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        let request = Request::get(self.address, "/v1/orders?limit=20", &self.buyer.token);
        loop {
            let answer = connection.exchange(request.bytes(), ANSWER_TIMEOUT).await?;
            ensure!(
                answer.status == 200,
                "a page of orders was answered {}",
                answer.status
            );
            self.pages.set(self.pages.get() + 1);
        }
    }

    async fn hold_and_cancel(
        &self,
        connection: &mut Connection,
        keys: &mut KeySource,
    ) -> Result<()> {
        let mut place = place_request(self.address, &self.buyer.token, self.product);
        place.set_key(keys.next());
        let placed = connection.exchange(place.bytes(), ANSWER_TIMEOUT).await?;
        let hold = Hold::parse(&placed.body).with_context(|| {
            format!(
                "a hold was answered {}; the server must have no limits a person (LAYBY_OPEN_ORDERS_MAX=0, LAYBY_ENDED_HOLDS_MAX=0)",
                placed.status
            )
        })?;
        let path = format!("/v1/orders/{}/cancel", hold.order_id);
        let cancel = Request::post(self.address, &path, &self.buyer.token, "");
        let cancelled = connection.exchange(cancel.bytes(), ANSWER_TIMEOUT).await?;
        ensure!(
            cancelled.status == 200,
            "a cancel was answered {}",
            cancelled.status
        );
        self.cycles.set(self.cycles.get() + 1);
        Ok(())
    }

    async fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(self.address).await;
        connection.with_context(|| format!("cannot open a connection to {}", self.address))
    }
}
