//! What live streams cost: thousands of them on one product, and purchases at a steady rate, in turns with and without.
//!
//! A change of stock is a step of a million units, so that every stream can tell which steps it has seen, however many
//! purchases happen in between.

mod audience;

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join;
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::time::sleep;

use crate::api::Admin;
use crate::cli::Live as Options;
use crate::open_loop::{self, Measured};
use crate::peers::{Bench, HotProduct, PLENTY};
use crate::report::{self, Latency, Report, Resale, new_histogram, quantile_ms, round};
use audience::{Audience, Reach};

/// Purchases may take at most twice as long beside the streams.
const SLOWER_MAX: f64 = 2.0;
const REACH_MAX_MS: f64 = 1_000.0;
const BYTES_PER_STREAM_MAX: f64 = 10.0 * 1024.0;
/// More than is sold in a run.
const STEP_UNITS: u64 = 1_000_000;
const STEPS_QUIET: u32 = 3;
const STEP_EVERY: Duration = Duration::from_millis(900);
/// A stream that has not heard of a step by then has missed it.
const REACH_WITHIN: Duration = Duration::from_secs(5);
/// Fewer disappear in what else a server allocates and gives back.
const STREAMS_TO_TELL_MEMORY: u32 = 1_000;
/// Memory is looked at when what was allocated on the way has been given back.
const MEMORY_SETTLES: Duration = Duration::from_secs(2);

/// Everything that the rounds have shown.
#[derive(Debug)]
struct Findings {
    p99_without_ms: Vec<f64>,
    p99_with_ms: Vec<f64>,
    reach: Reach,
    reach_quiet: Reach,
    bytes_per_stream: Option<f64>,
    last: Measured,
}

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let bench = Bench::prepare_layby(&options.load).await?;
    let hot = bench.hot_product().await?;
    let mut stage = Stage {
        options,
        bench: &bench,
        hot: &hot,
        steps: 0,
    };
    let mut findings = Findings {
        p99_without_ms: Vec::new(),
        p99_with_ms: Vec::new(),
        reach: Reach::default(),
        reach_quiet: Reach::default(),
        bytes_per_stream: None,
        last: Measured {
            requests: 0,
            elapsed_s: 0.0,
            latency_us: new_histogram(),
        },
    };
    for round in 0..options.rounds {
        let without = stage.purchases().await?;
        findings.p99_without_ms.push(p99_ms(&without.latency_us));
        stage.with_streams(round, &mut findings).await?;
    }
    Ok(report(options, &findings))
}

/// Where the turns take place.
struct Stage<'a> {
    options: &'a Options,
    bench: &'a Bench,
    hot: &'a HotProduct,
    /// Steps of stock so far.
    steps: u32,
}

impl Stage<'_> {
    async fn purchases(&self) -> Result<Measured> {
        self.bench.settle().await;
        let load = &self.options.load;
        open_loop::run(
            &self.hot.workload,
            load.pace(),
            f64::from(self.options.rate),
        )
        .await
    }

    async fn with_streams(&mut self, round: u32, findings: &mut Findings) -> Result<()> {
        self.bench.settle().await;
        let before = self.memory_bytes().await;
        let audience = Audience::gather(
            self.hot.workload.address.clone(),
            self.hot.product,
            self.options.streams,
            round,
            PLENTY,
            STEP_UNITS,
        )?;
        let after = self.memory_bytes().await;
        // Later rounds find the memory of the first.
        let is_told = round == 0 && self.options.streams >= STREAMS_TO_TELL_MEMORY;
        if let (true, Some(before), Some(after)) = (is_told, before, after) {
            let bytes = after as f64 - before as f64;
            let of_each = bytes / f64::from(self.options.streams);
            findings.bytes_per_stream = Some(report::round(of_each, 0));
        }
        for _ in 0..STEPS_QUIET {
            self.step(&audience).await?;
            sleep(STEP_EVERY).await;
        }
        findings
            .reach_quiet
            .add(audience.reach_within(REACH_WITHIN).await);

        self.bench.settle().await;
        let rate = f64::from(self.options.rate);
        let pace = self.options.load.pace();
        let purchases = open_loop::run(&self.hot.workload, pace, rate);
        let lasts = pace.warm_up + pace.measured;
        // Side by side: purchases do not wait for the answer to a step.
        let (measured, ()) = try_join(purchases, self.steps_for(lasts, &audience)).await?;
        findings
            .reach
            .add(audience.reach_within(REACH_WITHIN).await);
        findings.p99_with_ms.push(p99_ms(&measured.latency_us));
        findings.last = measured;
        audience.leave()
    }

    async fn steps_for(&mut self, lasts: Duration, audience: &Audience) -> Result<()> {
        for _ in 0..lasts.as_millis() / STEP_EVERY.as_millis() {
            sleep(STEP_EVERY).await;
            self.step(audience).await?;
        }
        Ok(())
    }

    /// Raises the stock by one step and notes when it was asked for.
    async fn step(&mut self, audience: &Audience) -> Result<()> {
        self.steps += 1;
        let total = PLENTY + u64::from(self.steps) * STEP_UNITS;
        audience.expect(self.steps);
        let admin: &Admin = &self.hot.admin;
        admin
            .set_stock(self.hot.product, total)
            .await
            .context("the stock could not be changed")
    }

    async fn memory_bytes(&self) -> Option<u64> {
        sleep(MEMORY_SETTLES).await;
        self.bench.memory_bytes()
    }
}

fn p99_ms(latency_us: &Histogram<u64>) -> f64 {
    quantile_ms(latency_us, 0.99)
}

fn report(options: &Options, found: &Findings) -> Report {
    let mut ratios: Vec<f64> = found
        .p99_without_ms
        .iter()
        .zip(&found.p99_with_ms)
        .map(|(without, with)| round(with / without.max(0.001), 3))
        .collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    let why = complaints(options, found, ratio);
    let last = &found.last;
    Report {
        scenario: "live",
        buyers: u64::from(options.load.buyers),
        units: 0,
        sold: 0,
        oversold: 0,
        undersold: 0,
        leaked: 0,
        first_come_inversions: 0,
        requests: last.requests,
        errors: 0,
        elapsed_s: round(last.elapsed_s, 3),
        throughput_per_s: round(last.requests as f64 / last.elapsed_s.max(1e-6), 1),
        latency_ms: Latency::of(&last.latency_us),
        resale_ms: Resale::default(),
        verdict: if why.is_empty() { "ok" } else { "wrong" },
        why,
        more: json!({
            "streams": options.streams,
            "rounds": options.rounds,
            "rate_per_s": options.rate,
            "bytes_per_stream": found.bytes_per_stream,
            "reach_ms": found.reach.to_json(),
            "reach_quiet_ms": found.reach_quiet.to_json(),
            "p99_without_ms": found.p99_without_ms,
            "p99_with_ms": found.p99_with_ms,
            "p99_ratio": {"median": ratio, "min": ratios.first(), "max": ratios.last()},
        }),
    }
}

fn complaints(options: &Options, found: &Findings, ratio: f64) -> Vec<String> {
    let mut why = Vec::new();
    if ratio >= SLOWER_MAX {
        why.push(format!(
            "purchases have {ratio} times their p99 beside {} streams; less than {SLOWER_MAX} is asked for",
            options.streams
        ));
    }
    for (when, reach) in [("", &found.reach), (" without a sale", &found.reach_quiet)] {
        if reach.missed > 0 {
            why.push(format!("{} streams missed a change{when}", reach.missed));
        }
        let max_ms = quantile_ms(&reach.after_us, 1.0);
        if max_ms >= REACH_MAX_MS {
            why.push(format!(
                "a change took {max_ms} ms to the last stream{when}; less than {REACH_MAX_MS} is asked for"
            ));
        }
    }
    if found
        .bytes_per_stream
        .is_some_and(|bytes| bytes >= BYTES_PER_STREAM_MAX)
    {
        why.push(format!(
            "a stream costs {:?} bytes; less than {BYTES_PER_STREAM_MAX} are asked for",
            found.bytes_per_stream
        ));
    }
    why
}
