//! The no-op peer: the HTTP stack, the token check and the JSON of Layby, and no stock.
//!
//! It is a process of its own, because a peer that shared the threads of the load generator would not be one.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::web::{Data, Json};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Bench, Peer, Started};
use crate::cli::NoOpServer;
use crate::http::Address;
use crate::process::Process;
use crate::signing::Verifier;
use crate::workload::Workload;

const START_LIMIT: Duration = Duration::from_secs(20);
const ANNOUNCEMENT: &str = "listening on ";

/// This program again, as the hidden `no-op-server`.
pub(super) fn start(bench: &Bench) -> Result<Started> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([
        "no-op-server",
        "--port",
        "0",
        "--workers",
        &workers(bench).to_string(),
        "--data-dir",
    ]);
    // The pipe to its input is the leash: when this process dies, however it dies, the other one notices.
    command
        .arg(bench.data_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut process = Process::start(&mut command)?;
    let line = process
        .first_line(START_LIMIT)
        .context("the no-op server did not start")?;
    let url = line
        .trim()
        .strip_prefix(ANNOUNCEMENT)
        .with_context(|| format!("the no-op server said `{}`", line.trim()))?;
    let address = Address::parse(url)?;
    let workload = Workload::ordering(&address, &bench.own_buyers()?, &[Uuid::now_v7()]);
    Ok(Started {
        peer: Peer::NoOp,
        workload,
        _process: Some(process),
    })
}

/// Runs until the standard input ends.
pub(crate) fn serve(options: &NoOpServer) -> Result<()> {
    let verifier = Verifier::from_data_dir(&options.data_dir)?;
    let state = Data::from(Arc::new(State {
        verifier,
        sequence: AtomicU64::new(0),
    }));
    let app = move || {
        App::new()
            .wrap(layby::http::default_headers())
            .app_data(state.clone())
            .route("/v1/orders", web::post().to(order))
    };
    let server = HttpServer::new(app)
        .workers(usize::try_from(options.workers)?)
        .bind(("127.0.0.1", options.port))?;
    announce(&server.addrs())?;
    actix_web::rt::System::new().block_on(async {
        let running = server.run();
        let handle = running.handle();
        thread::spawn(move || {
            wait_for_end_of_input();
            // The future only waits for the stop; the order is given at once.
            drop(handle.stop(false));
        });
        running.await
    })?;
    Ok(())
}

struct State {
    verifier: Verifier,
    sequence: AtomicU64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    lines: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    product_id: Uuid,
    quantity: u32,
}

/// The same fields as the answer of Layby, so that as much is serialised and sent.
#[derive(Serialize)]
struct Held {
    id: Uuid,
    state: &'static str,
    pay_by: String,
    lines: Vec<PricedLine>,
    total: Money,
    sequence: u64,
}

#[derive(Serialize)]
struct PricedLine {
    product_id: Uuid,
    quantity: u32,
    price: Money,
}

#[derive(Serialize, Clone, Copy)]
struct Money {
    amount: u64,
    currency: &'static str,
}

async fn order(request: HttpRequest, state: Data<State>, order: Json<Order>) -> HttpResponse {
    if !bearer(request.headers()).is_some_and(|token| state.verifier.is_valid(token)) {
        return HttpResponse::Unauthorized().finish();
    }
    if request.headers().get("idempotency-key").is_none() {
        return HttpResponse::BadRequest().finish();
    }
    let price = Money {
        amount: 129_000,
        currency: "KRW",
    };
    let quantity: u64 = order
        .lines
        .iter()
        .map(|line| u64::from(line.quantity))
        .sum();
    let priced = |line: Line| PricedLine {
        product_id: line.product_id,
        quantity: line.quantity,
        price,
    };
    HttpResponse::Created().json(Held {
        id: Uuid::now_v7(),
        state: "held",
        pay_by: (Timestamp::now() + SignedDuration::from_secs(300)).to_string(),
        lines: order.into_inner().lines.into_iter().map(priced).collect(),
        total: Money {
            amount: price.amount * quantity,
            ..price
        },
        sequence: state.sequence.fetch_add(1, Ordering::Relaxed),
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}

fn workers(bench: &Bench) -> u32 {
    let cores = || {
        thread::available_parallelism().map_or(2, |cores| u32::try_from(cores.get()).unwrap_or(2))
    };
    bench.load.workers.unwrap_or_else(cores)
}

fn announce(addresses: &[std::net::SocketAddr]) -> Result<()> {
    let address = addresses.first().context("bound to nothing")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{ANNOUNCEMENT}http://{address}")?;
    out.flush()?;
    Ok(())
}

fn wait_for_end_of_input() {
    let mut byte = [0];
    while std::io::stdin().read(&mut byte).is_ok_and(|read| read > 0) {}
}
