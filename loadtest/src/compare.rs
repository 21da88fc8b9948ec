//! Several peers on one machine in one run, taking turns: A B C A B C.
//!
//! A machine has moods, so only the ratio of two turns of the same round is a result, as median, lowest and highest.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::cli::{Compare, Load, ManyProducts};
use crate::closed_loop;
use crate::machine::Machine;
use crate::peers::{Bench, Peer, Started};
use crate::progress::Progress;
use crate::report::{print_rows, quantile_ms, round};

#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) machine: Machine,
    pub(crate) rounds: u32,
    pub(crate) connections: u32,
    pub(crate) seconds: u64,
    pub(crate) peers: BTreeMap<String, Turns>,
    /// `one/other`, for every pair in both directions.
    pub(crate) ratios: BTreeMap<String, Ratio>,
    #[serde(skip)]
    order: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Turns {
    pub(crate) throughput_per_s: Vec<f64>,
    pub(crate) p99_ms: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

pub(crate) async fn run(options: &Compare) -> Result<Comparison> {
    compare(&options.peers, options.rounds, &options.load).await
}

/// The same machinery with one peer for each number of products.
pub(crate) async fn run_many_products(options: &ManyProducts) -> Result<Comparison> {
    let peers: Vec<Peer> = options
        .products
        .iter()
        .copied()
        .map(Peer::Products)
        .collect();
    compare(&peers, options.rounds, &options.load).await
}

async fn compare(peers: &[Peer], rounds: u32, load: &Load) -> Result<Comparison> {
    let bench = Bench::prepare(load, peers).await?;
    let mut started = Vec::new();
    for peer in peers {
        started.push(
            bench
                .start(*peer)
                .await
                .with_context(|| format!("peer `{peer}` did not start"))?,
        );
    }
    let turns = take_turns(&bench, &started, rounds, load).await?;
    Ok(Comparison {
        machine: Machine::this(),
        rounds,
        connections: load.connections,
        seconds: load.seconds,
        ratios: ratios(&turns),
        order: peers.iter().map(Peer::to_string).collect(),
        peers: turns,
    })
}

async fn take_turns(
    bench: &Bench,
    started: &[Started],
    rounds: u32,
    load: &Load,
) -> Result<BTreeMap<String, Turns>> {
    let progress = Progress::start(u64::from(rounds) * started.len() as u64);
    let mut turns: BTreeMap<String, Turns> = BTreeMap::new();
    for step in 0..u64::from(rounds) * started.len() as u64 {
        let Started { peer, workload, .. } = &started[usize::try_from(step)? % started.len()];
        progress.show(step, format!("turns, now {peer}"));
        let result = closed_loop::run(workload, load.pace()).await;
        bench.settle().await;
        let result = result.with_context(|| format!("peer `{peer}` did not answer as agreed"))?;
        let own = turns.entry(peer.to_string()).or_default();
        own.throughput_per_s.push(round(result.throughput_per_s, 1));
        own.p99_ms.push(quantile_ms(&result.latency_us, 0.99));
    }
    Ok(turns)
}

fn ratios(peers: &BTreeMap<String, Turns>) -> BTreeMap<String, Ratio> {
    let pairs = peers
        .iter()
        .flat_map(|one| peers.iter().map(move |other| (one, other)));
    let different = pairs.filter(|((name, _), (other_name, _))| name != other_name);
    let ratio = |((name, one), (other_name, other)): ((&String, &Turns), (&String, &Turns))| {
        let rounds = one.throughput_per_s.iter().zip(&other.throughput_per_s);
        let ratio = Ratio::of(rounds.map(|(one, other)| one / other).collect())?;
        Some((format!("{name}/{other_name}"), ratio))
    };
    different.filter_map(ratio).collect()
}

impl Ratio {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self {
            median: round(median(&values), 4),
            min: round(min, 4),
            max: round(max, 4),
        })
    }
}

impl Comparison {
    pub(crate) fn print(&self) -> Result<()> {
        let Machine { cpu, cores, kernel } = &self.machine;
        let title = format!(
            "{} rounds of {} s with {} connections, on {cpu}, {cores} cores, Linux {kernel}",
            self.rounds, self.seconds, self.connections
        );
        let base = self.base();
        let rows: Vec<_> = self
            .order
            .iter()
            .map(|name| (name.clone(), self.row(name, base)))
            .collect();
        print_rows(&title, &rows)
    }

    /// The no-op if it takes part, or else the first peer.
    fn base(&self) -> &str {
        let no_op = self.order.iter().find(|name| *name == "no-op");
        no_op.or(self.order.first()).map_or("", String::as_str)
    }

    fn row(&self, name: &str, base: &str) -> String {
        let Some(turns) = self.peers.get(name) else {
            return String::new();
        };
        let mut throughput = turns.throughput_per_s.clone();
        let mut p99 = turns.p99_ms.clone();
        throughput.sort_by(f64::total_cmp);
        p99.sort_by(f64::total_cmp);
        let figures = format!(
            "{:>9.0}/s  p99 {:>8.2} ms",
            median(&throughput),
            median(&p99)
        );
        match self.ratios.get(&format!("{name}/{base}")) {
            Some(Ratio { median, min, max }) => {
                format!("{figures}  {median:.3} of {base} ({min:.3} to {max:.3})")
            }
            None => figures,
        }
    }
}

/// Of sorted values; 0 if there are none.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted {
        [] => 0.0,
        _ if sorted.len() % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(throughput_per_s: &[f64]) -> Turns {
        Turns {
            throughput_per_s: throughput_per_s.to_vec(),
            p99_ms: vec![1.0; throughput_per_s.len()],
        }
    }

    #[test]
    fn ratios_compare_turns_of_the_same_round() {
        let peers = BTreeMap::from([
            ("layby".to_owned(), turns(&[80.0, 45.0, 90.0])),
            ("no-op".to_owned(), turns(&[100.0, 50.0, 100.0])),
        ]);
        let ratios = ratios(&peers);
        assert_eq!(
            ratios.keys().collect::<Vec<_>>(),
            ["layby/no-op", "no-op/layby"]
        );
        assert_eq!(
            ratios["layby/no-op"],
            Ratio {
                median: 0.9,
                min: 0.8,
                max: 0.9
            }
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), 3.0);
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(median(&[]), 0.0);
    }
}
