//! The report of a scenario that measures purchases at a steady rate in turns: alone, and beside something.

use serde_json::{Value, json};

use crate::open_loop::Measured;
use crate::report::{Latency, Report, Resale, round};

pub(crate) struct SideBySide<'a> {
    pub(crate) scenario: &'static str,
    /// Beside what, as in "under sign-ins".
    pub(crate) beside: &'static str,
    pub(crate) buyers: u32,
    pub(crate) rate_per_s: u32,
    /// Purchases may not have so many times their p99.
    pub(crate) slower_max: f64,
    pub(crate) alone_ms: &'a [f64],
    pub(crate) beside_ms: &'a [f64],
    pub(crate) last: &'a Measured,
    /// What else is wrong.
    pub(crate) why: Vec<String>,
    /// What else is to be told.
    pub(crate) more: Value,
}

impl SideBySide<'_> {
    pub(crate) fn report(mut self) -> Report {
        let pairs = self.alone_ms.iter().zip(self.beside_ms);
        let mut ratios: Vec<f64> = pairs
            .map(|(alone, beside)| round(beside / alone.max(0.001), 3))
            .collect();
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
        if median >= self.slower_max {
            self.why.insert(
                0,
                format!(
                    "purchases have {median} times their p99 {}; less than {} is asked for",
                    self.beside, self.slower_max
                ),
            );
        }
        let mut more = json!({
            "p99_alone_ms": self.alone_ms,
            "p99_beside_ms": self.beside_ms,
            "p99_ratio": {"median": median, "min": ratios.first(), "max": ratios.last()},
            "rate_per_s": self.rate_per_s,
        });
        if let (Some(more), Value::Object(own)) = (more.as_object_mut(), self.more) {
            more.extend(own);
        }
        Report {
            scenario: self.scenario,
            buyers: u64::from(self.buyers),
            units: 0,
            sold: 0,
            oversold: 0,
            undersold: 0,
            leaked: 0,
            first_come_inversions: 0,
            requests: self.last.requests,
            errors: 0,
            elapsed_s: round(self.last.elapsed_s, 3),
            throughput_per_s: round(self.last.requests as f64 / self.last.elapsed_s.max(1e-6), 1),
            latency_ms: Latency::of(&self.last.latency_us),
            resale_ms: Resale::default(),
            verdict: if self.why.is_empty() { "ok" } else { "wrong" },
            why: self.why,
            more,
        }
    }
}
