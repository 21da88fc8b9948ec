//! What a storm of sign-ins does to purchases: the same steady rate, in turns with and without the storm.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::future::{Either, select};
use serde_json::json;

use crate::cli::SignIns as Options;
use crate::http::{Address, Connection, Request};
use crate::open_loop::{self, Measured};
use crate::peers::{Bench, Peer};
use crate::report::{Report, quantile_ms};
use crate::side_by_side::SideBySide;

/// The storm must not make a purchase more than twice as slow.
const SLOWER_MAX: f64 = 2.0;
/// A queue of passwords may be long; whoever waits longer has been forgotten.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What became of the sign-ins of all turns.
#[derive(Debug, Default)]
struct Storm {
    signed_in: Cell<u64>,
    /// 429 or 503: named answers at a bound.
    turned_away: Cell<u64>,
}

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let load = &options.load;
    let bench = Bench::prepare(load, &[Peer::Layby]).await?;
    let layby = bench.start(Peer::Layby).await?;
    let address = &layby.workload.address;
    let request = bench.sign_in_request()?;
    let storm = Storm::default();
    let rate = f64::from(options.rate);
    let mut quiet_ms = Vec::new();
    let mut stormy_ms = Vec::new();
    let mut last = None;
    for _ in 0..options.rounds {
        bench.settle().await;
        let quiet = open_loop::run(&layby.workload, load.pace(), rate).await?;
        quiet_ms.push(quantile_ms(&quiet.latency_us, 0.99));
        bench.settle().await;
        let purchases = open_loop::run(&layby.workload, load.pace(), rate);
        let stormy = under(&storm, address, &request, options.parallel, purchases).await?;
        stormy_ms.push(quantile_ms(&stormy.latency_us, 0.99));
        last = Some(stormy);
    }
    let last = last.context("no round was asked for")?;
    Ok(report(options, &storm, &quiet_ms, &stormy_ms, &last))
}

/// The purchases, with so many sign-ins always under way.
async fn under(
    storm: &Storm,
    address: &Address,
    request: &Request,
    parallel: u32,
    purchases: impl Future<Output = Result<Measured>>,
) -> Result<Measured> {
    let mut people = Vec::new();
    for _ in 0..parallel {
        let connection = Connection::open(address).await;
        people.push(connection.with_context(|| format!("cannot open a connection to {address}"))?);
    }
    let storming = std::pin::pin!(storm.rage(people, request));
    let purchases = std::pin::pin!(purchases);
    match select(purchases, storming).await {
        Either::Left((measured, _)) => measured,
        Either::Right((ended, _)) => {
            ended?;
            bail!("the sign-ins ended before the purchases")
        }
    }
}

impl Storm {
    async fn rage(&self, people: Vec<Connection>, request: &Request) -> Result<()> {
        let all = people
            .into_iter()
            .map(|person| self.insist(person, request));
        futures_util::future::try_join_all(all).await?;
        Ok(())
    }

    async fn insist(&self, mut person: Connection, request: &Request) -> Result<()> {
        loop {
            let answer = person.exchange(request.bytes(), ANSWER_TIMEOUT).await;
            let answer = answer.context("a sign-in got no answer")?;
            match answer.status {
                200 => self.signed_in.set(self.signed_in.get() + 1),
                429 | 503 => {
                    self.turned_away.set(self.turned_away.get() + 1);
                    let pause = answer.retry_after.unwrap_or(Duration::from_secs(1));
                    tokio::time::sleep(pause).await;
                }
                other => bail!("a sign-in was answered {other}"),
            }
        }
    }
}

fn report(
    options: &Options,
    storm: &Storm,
    quiet_ms: &[f64],
    stormy_ms: &[f64],
    last: &Measured,
) -> Report {
    let mut why = Vec::new();
    if storm.signed_in.get() == 0 {
        why.push("nobody signed in, so nothing was shown".to_owned());
    }
    let side_by_side = SideBySide {
        scenario: "sign-ins",
        beside: "under sign-ins",
        buyers: options.load.buyers,
        rate_per_s: options.rate,
        slower_max: SLOWER_MAX,
        alone_ms: quiet_ms,
        beside_ms: stormy_ms,
        last,
        why,
        more: json!({
            "parallel_sign_ins": options.parallel,
            "signed_in": storm.signed_in.get(),
            "turned_away": storm.turned_away.get(),
        }),
    };
    side_by_side.report()
}
