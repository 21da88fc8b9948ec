//! How long a purchase takes while the server is not at its limit.

use anyhow::Result;
use serde_json::json;

use crate::cli::Latency as Options;
use crate::peers::{Bench, Peer};
use crate::report::{Latency, Report, Resale, round};
use crate::{closed_loop, open_loop};

/// A rate that is not kept to this share was too high: its latency says how long the queue grew, and nothing else.
const KEPT_SHARE_MIN: f64 = 0.95;

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let load = &options.load;
    let bench = Bench::prepare(load, &[Peer::Layby]).await?;
    let layby = bench.start(Peer::Layby).await?;
    let (rate_per_s, ceiling_per_s) = match options.rate {
        Some(rate) => (f64::from(rate), None),
        None => {
            let ceiling = closed_loop::run(&layby.workload, load.pace())
                .await?
                .throughput_per_s;
            (ceiling / 2.0, Some(round(ceiling, 1)))
        }
    };
    let result = open_loop::run(&layby.workload, load.pace(), rate_per_s).await?;
    let throughput_per_s = result.requests as f64 / result.elapsed_s.max(1e-6);
    let kept = throughput_per_s >= KEPT_SHARE_MIN * rate_per_s;
    let why = if kept {
        Vec::new()
    } else {
        vec![format!(
            "{rate_per_s:.0} orders/s were asked for and {throughput_per_s:.0} answered; lower --rate"
        )]
    };
    Ok(Report {
        scenario: "latency",
        buyers: u64::from(load.buyers),
        units: 0,
        sold: 0,
        oversold: 0,
        undersold: 0,
        leaked: 0,
        first_come_inversions: 0,
        requests: result.requests,
        errors: 0,
        elapsed_s: round(result.elapsed_s, 3),
        throughput_per_s: round(throughput_per_s, 1),
        latency_ms: Latency::of(&result.latency_us),
        resale_ms: Resale::default(),
        verdict: if why.is_empty() { "ok" } else { "wrong" },
        why,
        more: json!({"rate_per_s": round(rate_per_s, 1), "ceiling_per_s": ceiling_per_s, "connections": load.connections}),
    })
}
