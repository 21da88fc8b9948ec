//! The flash sale: far more buyers than units, one bell, and a check of the books when all is over.
//!
//! Buyers are tasks on one thread that share a bounded set of connections, so that the generator leaves the cores to
//! the server. What they saw is recorded (`history`), judged by arrival (`arrivals`) and against the server's own
//! numbers (`evidence`, `books`).

mod arrivals;
mod books;
mod evidence;
mod history;
mod market;
mod shopper;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use crate::api::{Admin, Window};
use crate::buyers::{self, Buyer};
use crate::cli::{Arrival, FlashSale};
use crate::clock::{Clock, micros};
use crate::http::{KeySource, Limits, Pool};
use crate::progress::Progress;
use crate::report::{Latency, Report, Resale, histogram_of, round};
use crate::server::Server;
use books::Evidence;
use history::History;
use market::Market;
use shopper::Shopper;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Long enough for a server to restart, short enough to end.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
const ADMIN_CONNECTIONS: usize = 2;
const WATCH_PAUSE: Duration = Duration::from_millis(200);
/// Between the last preparation and the bell, so that nobody comes late by surprise.
const BELL_DELAY: Duration = Duration::from_millis(200);
/// A window that opens by its schedule needs time to be announced, and to warm the connections.
const SCHEDULE_DELAY: Duration = Duration::from_secs(2);
const GREEDY_EVERY: usize = 10;
/// Buyers come so much before and after a scheduled bell.
const EARLY_US: u64 = 5_000;

/// Runs the sale and judges it. A wrong sale is a report, not an error.
pub(crate) async fn run(options: FlashSale) -> Result<Report> {
    let server = Server::find(&options.server).await?;
    let buyers: Rc<[Buyer]> = buyers::gather(
        options.buyers,
        options.server.tokens.as_deref(),
        &server.data_dir,
    )?
    .into();
    let clock = Clock::start();
    let limits = |connections_max| Limits {
        connections_max,
        answer_timeout: ANSWER_TIMEOUT,
        give_up_after: GIVE_UP_AFTER,
    };
    let admin = Admin {
        pool: Pool::new(server.address.clone(), clock, limits(ADMIN_CONNECTIONS)),
        token: server.admin_token.clone(),
    };
    let connections = usize::try_from(options.connections.min(options.buyers))?;
    let pool = Pool::new(server.address.clone(), clock, limits(connections));
    pool.warm_up().await.with_context(|| format!("cannot open {connections} connections to {}; try fewer --connections, or raise `ulimit -n`", server.address))?;
    let market = Rc::new(open_market(options, &admin, pool, clock).await?);
    let seed = market.options.seed.unwrap_or_else(rand::random);
    let sale = LocalSet::new()
        .run_until(hold_sale(
            Rc::clone(&market),
            &admin,
            Rc::clone(&buyers),
            seed,
        ))
        .await?;
    let evidence = evidence::collect(&market, &admin, &buyers, sale.gave_up_after_s).await?;
    Ok(report(&market, &evidence, &sale, seed))
}

/// When the sale took place, and whether it came to an end.
struct Sale {
    bell_us: u64,
    end_us: u64,
    gave_up_after_s: Option<u64>,
    requests: u64,
}

async fn open_market(
    options: FlashSale,
    admin: &Admin,
    pool: Pool,
    clock: Clock,
) -> Result<Market> {
    let opens_us = clock.now_us() + micros(SCHEDULE_DELAY);
    let opens_later = jiff::SignedDuration::from_hours(if options.scheduled { 0 } else { 1 });
    let window = Window {
        opens_at: clock.wall(opens_us) + opens_later,
        per_person_limit: options.per_person,
        hold_seconds: options.hold_seconds,
    };
    let product = admin
        .create_product(
            "Flash sale of the load test",
            u64::from(options.units),
            window,
        )
        .await?;
    if !options.scheduled {
        admin.open(product).await?;
    }
    let offset = admin.clock_offset(product, &clock).await;
    // The schedule is kept by the server's clock.
    let opens_here_us = opens_us.saturating_add_signed(-offset.ahead_us);
    Ok(Market {
        opens_us: options.scheduled.then_some(opens_here_us),
        options,
        product,
        pool,
        clock,
        offset,
        history: History::new(),
        keys: RefCell::new(KeySource::new()),
        closes_us: Cell::new(u64::MAX),
    })
}

/// Lets the buyers come and watches until they have all gone.
async fn hold_sale(
    market: Rc<Market>,
    admin: &Admin,
    buyers: Rc<[Buyer]>,
    seed: u64,
) -> Result<Sale> {
    let bell_us = market
        .opens_us
        .unwrap_or(market.clock.now_us() + micros(BELL_DELAY));
    let arrivals_us = arrivals(&market.options, bell_us, seed);
    let last_arrival_us = arrivals_us.iter().copied().max().unwrap_or(bell_us);
    let time_limit_s = market.options.time_limit_seconds();
    let limit_us = last_arrival_us + time_limit_s * 1_000_000;
    market.closes_us.set(limit_us);
    let mut visits = JoinSet::new();
    for (index, arrival_us) in arrivals_us.into_iter().enumerate() {
        for screen in 0..screens(&market.options, index) {
            let visit = visit(
                Rc::clone(&market),
                Rc::clone(&buyers),
                index,
                seed ^ (screen << 32),
                arrival_us,
            );
            visits.spawn_local(visit);
        }
    }
    let all_gone = async {
        while let Some(visit) = visits.join_next().await {
            visit.context("the story of a buyer ended in a bug")?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        gone = all_gone => gone?,
        () = watch(&market, admin) => {}
    }
    let end_us = market.clock.now_us();
    let gave_up_after_s = (end_us >= limit_us).then_some(time_limit_s);
    Ok(Sale {
        bell_us,
        end_us,
        gave_up_after_s,
        requests: market.pool.tally.requests.get(),
    })
}

/// One buyer in ten sits before one more screen than the units that one may have, all at once.
fn screens(options: &FlashSale, buyer: usize) -> u64 {
    let is_greedy = buyer.is_multiple_of(GREEDY_EVERY);
    if is_greedy {
        u64::from(options.per_person) + 1
    } else {
        1
    }
}

async fn visit(market: Rc<Market>, buyers: Rc<[Buyer]>, index: usize, seed: u64, arrival_us: u64) {
    Shopper::new(&market, index, &buyers[index], seed)
        .visit(arrival_us)
        .await;
}

/// Shows how the sale goes, and shortens it once everything is sold: whoever is still told `all_held` then would ask
/// for ever. Does not end by itself.
async fn watch(market: &Market, admin: &Admin) {
    let units = u64::from(market.options.units);
    let progress = Progress::start(units);
    loop {
        sleep(WATCH_PAUSE).await;
        let Ok(stock) = admin.stock(market.product).await else {
            continue;
        };
        let requests = market.pool.tally.requests.get();
        progress.show(
            stock.sold,
            format!(
                "sold, {} held, {} available, {requests} requests",
                stock.held, stock.available
            ),
        );
        if stock.sold >= units {
            let soon_us = market.clock.now_us() + 5 * 1000 * market.options.look_again_ms;
            market.closes_us.set(market.closes_us.get().min(soon_us));
        }
    }
}

/// When each buyer comes.
fn arrivals(options: &FlashSale, bell_us: u64, seed: u64) -> Vec<u64> {
    let mut dice = StdRng::seed_from_u64(!seed);
    let mut next = Duration::from_micros(bell_us);
    let mut arrival = |_| match options.arrival {
        Arrival::Bell if options.scheduled => {
            dice.random_range(bell_us - EARLY_US..=bell_us + EARLY_US)
        }
        Arrival::Bell => bell_us,
        Arrival::RatePerSecond(rate) => {
            // People come independently of each other: exponential gaps.
            next += Duration::from_secs_f64(-(1.0 - dice.random::<f64>()).ln() / rate);
            micros(next)
        }
    };
    (0..options.buyers).map(&mut arrival).collect()
}

fn report(market: &Market, evidence: &Evidence, sale: &Sale, seed: u64) -> Report {
    let verdict = evidence.judge();
    let elapsed_s = (sale.end_us.saturating_sub(sale.bell_us)) as f64 / 1e6;
    let history = &market.history;
    let first_answers_s = history
        .first_answers_end_us
        .get()
        .saturating_sub(sale.bell_us) as f64
        / 1e6;
    let first_latency_us = history.first_latency_us.borrow();
    let more = json!({
        "seed": seed,
        "connections": market.options.connections,
        "orders": evidence.orders.len(),
        "overloaded": market.pool.tally.overloaded.get(),
        "first_answer_ms": Latency::of(&first_latency_us),
        "first_answers_s": round(first_answers_s, 3),
        "first_answers_per_s": round(first_latency_us.len() as f64 / first_answers_s.max(1e-6), 1),
    });
    Report {
        scenario: "flash-sale",
        buyers: u64::from(market.options.buyers),
        units: evidence.units,
        sold: evidence.stock.sold,
        oversold: verdict.oversold,
        undersold: verdict.undersold,
        leaked: verdict.leaked,
        first_come_inversions: verdict.first_come_inversions,
        requests: market.pool.tally.requests.get(),
        errors: market.pool.tally.errors.get(),
        elapsed_s: round(elapsed_s, 3),
        throughput_per_s: round(sale.requests as f64 / elapsed_s.max(1e-6), 1),
        latency_ms: Latency::of(&history.latency_us.borrow()),
        resale_ms: Resale::of(&histogram_of(&evidence.findings.resale_us)),
        verdict: if verdict.why.is_empty() {
            "ok"
        } else {
            "wrong"
        },
        why: verdict.why,
        more,
    }
}
