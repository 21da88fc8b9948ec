//! `/metrics`: counters in the text format of `OpenMetrics`, read when they are asked for. Nothing on the way of a purchase
//! counts for this.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::HttpResponse;
use actix_web::web::Data;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::health::Lag;
use super::live::Hub;
use super::problem::Problem;
use super::routes::{Declaration, routes};
use crate::actors::{Engine, EngineLink};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) const ROUTES: &[Declaration] = routes![metrics];

/// Counters for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, content_type = "application/openmetrics-text", body = String))
)]
async fn metrics(
    engine: Data<Engine>,
    lag: Data<Lag>,
    hub: Data<Hub>,
) -> Result<HttpResponse, Problem> {
    let mut registry = Registry::with_prefix("layby");
    registry.register_collector(Box::new(Readings {
        engine: engine.link(),
        lag: Lag::clone(&lag),
        streams: hub.open_streams(),
    }));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| Problem::internal(&error))?;
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

struct Readings {
    engine: EngineLink,
    lag: Lag,
    streams: usize,
}

impl fmt::Debug for Readings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Readings").finish_non_exhaustive()
    }
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counters = self.engine.counters();
        let counted: [(&str, &str, &AtomicU64); 5] = [
            ("journal_batches", "Batches made durable", &counters.batches),
            ("journal_records", "Records made durable", &counters.records),
            (
                "refused_on_the_board",
                "Orders refused without asking the engine",
                &counters.refused_on_the_board,
            ),
            (
                "refused_overloaded",
                "Commands refused because too many were in flight",
                &counters.refused_overloaded,
            ),
            (
                "actor_crashes",
                "Actors that crashed and were rebuilt",
                &counters.actor_crashes,
            ),
        ];
        for (name, help, counter) in counted {
            let value = ConstCounter::new(counter.load(Ordering::Relaxed));
            show(&mut encoder, name, help, None, &value)?;
        }
        self.encode_clock(&mut encoder)?;
        let late_us = counters.holds_expired_late_us_max.load(Ordering::Relaxed);
        let unit = Unit::Other("microseconds".to_owned());
        let late = ConstGauge::new(gauge(late_us));
        show(
            &mut encoder,
            "holds_expired_late_max",
            "The latest end of a hold after its deadline since the start",
            Some(&unit),
            &late,
        )?;
        self.encode_payment_ends(&mut encoder)?;
        self.encode_gauges(encoder)
    }
}

impl Readings {
    fn encode_payment_ends(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Calls of the payment provider, by what was asked and how it ended";
        let mut family = encoder.encode_descriptor("payment_calls", help, None, kind)?;
        for (call, end, count) in self.engine.counters().payments.ends() {
            let labels = [("call", call), ("end", end)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a double counts microseconds of three centuries"
    )]
    fn encode_clock(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let clock = self.engine.wall_clock();
        show(
            encoder,
            "wall_clock_jumps",
            "Jumps of the wall clock by more than a second since the start",
            None,
            &ConstCounter::new(clock.jumps),
        )?;
        show(
            encoder,
            "wall_clock_offset",
            "How far the wall clock is ahead of engine time",
            Some(&Unit::Seconds),
            &ConstGauge::new(clock.offset_us as f64 / 1_000_000.0),
        )
    }

    fn encode_gauges(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let health = (self.lag)();
        let projection = health.projection;
        let payments = &self.engine.counters().payments;
        let load = |count: &AtomicU64| gauge(count.load(Ordering::Relaxed));
        let oldest = payments.oldest_charge_age(self.engine.now());
        let unit = Unit::Seconds;
        show(
            &mut encoder,
            "payment_queue_age",
            "How long the first charge that waits to be sent has waited",
            Some(&unit),
            &ConstGauge::new(oldest.as_micros() as f64 / 1e6),
        )?;
        let gauges = [
            (
                "payment_queue_length",
                "Charges that wait to be sent to the payment provider",
                load(&payments.charges_waiting),
            ),
            (
                "payment_charges_under_way",
                "Charges that the payment provider has not answered yet",
                load(&payments.charges_under_way),
            ),
            (
                "payment_follow_ups_waiting",
                "Look-ups and refunds that wait to be sent, or for their next try",
                load(&payments.follow_ups_waiting),
            ),
            (
                "payment_follow_ups_under_way",
                "Look-ups and refunds that the payment provider has not answered yet",
                load(&payments.follow_ups_under_way),
            ),
            (
                "projection_position",
                "The record that SQL has followed to",
                gauge(projection.position),
            ),
            (
                "projection_connected",
                "1 while SQL answers",
                i64::from(projection.connected),
            ),
            (
                "projection_fits",
                "0 while SQL does not belong to the journal, or no longer follows it",
                i64::from(projection.problem.is_none()),
            ),
            (
                "journal_unchecked_segments",
                "Older segments of the journal that were not read since the start",
                i64::try_from(health.unchecked_segments).unwrap_or(i64::MAX),
            ),
            (
                "journal_full",
                "1 while there is no room on the disk for new holds",
                i64::from(!self.engine.has_room()),
            ),
            (
                "journal_failed",
                "1 once the journal has failed",
                i64::from(self.engine.has_failed()),
            ),
            (
                "live_streams",
                "Live streams that are open",
                i64::try_from(self.streams).unwrap_or(i64::MAX),
            ),
        ];
        for (name, help, value) in gauges {
            show(&mut encoder, name, help, None, &ConstGauge::new(value))?;
        }
        Ok(())
    }
}

fn show(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    let metric = encoder.encode_descriptor(name, help, unit, value.metric_type())?;
    value.encode(metric)
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
