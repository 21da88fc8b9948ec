//! What a run leaves behind: numbers in JSON for scripts, a table for people.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;

/// Ten minutes; whatever takes longer is recorded as this.
const LATENCY_US_MAX: u64 = 600_000_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Resale {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// The result of a scenario that is one run. The names of the fields are a contract with scripts.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    pub(crate) buyers: u64,
    pub(crate) units: u64,
    pub(crate) sold: u64,
    pub(crate) oversold: u64,
    pub(crate) undersold: u64,
    pub(crate) leaked: u64,
    pub(crate) first_come_inversions: u64,
    pub(crate) requests: u64,
    /// Attempts without an answer, refused connections included; each was made again with its key.
    pub(crate) errors: u64,
    pub(crate) elapsed_s: f64,
    pub(crate) throughput_per_s: f64,
    pub(crate) latency_ms: Latency,
    pub(crate) resale_ms: Resale,
    pub(crate) verdict: &'static str,
    pub(crate) why: Vec<String>,
    /// Figures of one scenario only: an object, whose keys join the others.
    #[serde(flatten)]
    pub(crate) more: Value,
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: quantile_ms(histogram, 0.5),
            p99: quantile_ms(histogram, 0.99),
            p999: quantile_ms(histogram, 0.999),
            max: quantile_ms(histogram, 1.0),
        }
    }
}

impl Resale {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: quantile_ms(histogram, 0.5),
            p99: quantile_ms(histogram, 0.99),
        }
    }
}

impl Report {
    pub(crate) fn is_ok(&self) -> bool {
        self.why.is_empty()
    }

    pub(crate) fn print(&self) -> Result<()> {
        let latency = self.latency_ms;
        let rows = [
            ("buyers".to_owned(), self.buyers.to_string()),
            (
                "units".to_owned(),
                format!("{}, sold {}", self.units, self.sold),
            ),
            (
                "oversold, undersold, leaked".to_owned(),
                format!("{}, {}, {}", self.oversold, self.undersold, self.leaked),
            ),
            (
                "first come, not first served".to_owned(),
                self.first_come_inversions.to_string(),
            ),
            (
                "requests, errors".to_owned(),
                format!("{}, {}", self.requests, self.errors),
            ),
            (
                "took".to_owned(),
                format!(
                    "{:.2} s, {:.0} requests/s",
                    self.elapsed_s, self.throughput_per_s
                ),
            ),
            (
                "latency p50, p99, p99.9, max".to_owned(),
                format!(
                    "{:.2}, {:.2}, {:.2}, {:.2} ms",
                    latency.p50, latency.p99, latency.p999, latency.max
                ),
            ),
            (
                "resale p50, p99".to_owned(),
                format!("{:.1}, {:.1} ms", self.resale_ms.p50, self.resale_ms.p99),
            ),
        ];
        let more = self
            .more
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.to_string()));
        let verdict = std::iter::once(("verdict".to_owned(), self.verdict.to_owned()));
        let why = self.why.iter().map(|line| (String::new(), line.clone()));
        let rows: Vec<_> = rows
            .into_iter()
            .chain(more)
            .chain(verdict)
            .chain(why)
            .collect();
        print_rows(self.scenario, &rows)
    }
}

pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are constants that fit")
}

pub(crate) fn histogram_of(values_us: &[u64]) -> Histogram<u64> {
    let mut histogram = new_histogram();
    for value_us in values_us {
        histogram.saturating_record(*value_us);
    }
    histogram
}

pub(crate) fn quantile_ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    round(histogram.value_at_quantile(quantile) as f64 / 1000.0, 3)
}

/// No reader needs seventeen digits.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

pub(crate) fn write_json<T: Serialize>(result: &T, path: Option<&Path>) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    let mut text = serde_json::to_string_pretty(result)?;
    text.push('\n');
    std::fs::write(path, text)
        .with_context(|| format!("cannot write the result to `{}`", path.display()))
}

/// A title and two columns.
pub(crate) fn print_rows(title: &str, rows: &[(String, String)]) -> Result<()> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{title}")?;
    for (name, value) in rows {
        writeln!(out, "  {name:<width$}  {value}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_milliseconds() {
        let histogram = histogram_of(&[1_000, 2_000, 3_000, 400_000]);
        assert_eq!(Latency::of(&histogram).p50, 2.0);
        assert!((399.0..401.0).contains(&Latency::of(&histogram).max));
        assert_eq!(Latency::of(&new_histogram()), Latency::default());
    }

    #[test]
    fn the_json_has_the_agreed_keys() {
        let report = Report {
            scenario: "flash-sale",
            buyers: 1,
            units: 1,
            sold: 1,
            oversold: 0,
            undersold: 0,
            leaked: 0,
            first_come_inversions: 0,
            requests: 1,
            errors: 0,
            elapsed_s: 0.5,
            throughput_per_s: 2.0,
            latency_ms: Latency::default(),
            resale_ms: Resale::default(),
            verdict: "ok",
            why: Vec::new(),
            more: serde_json::json!({}),
        };
        let json = serde_json::to_value(&report).expect("serializable");
        let keys: Vec<&str> = json
            .as_object()
            .expect("object")
            .keys()
            .map(String::as_str)
            .collect();
        let mut agreed = vec![
            "scenario",
            "buyers",
            "units",
            "sold",
            "oversold",
            "undersold",
            "leaked",
            "first_come_inversions",
            "requests",
            "errors",
            "elapsed_s",
            "throughput_per_s",
            "latency_ms",
            "resale_ms",
            "verdict",
            "why",
        ];
        agreed.sort_unstable();
        assert_eq!(keys, agreed);
    }
}
