//! What a seed draws before the day begins: sizes, rates of faults (many of them zero), and the plan of the shop.

use super::process::Crash;
use super::random::{Part, Random};
use super::staff::Round;
use crate::actors::core::cell::{CellLimits, PersonLimits};
use crate::actors::core::machine::CoreLimits;
use crate::domain::{ProductId, RestockTo, Span, Timestamp};
use crate::persistence::journal::{self, FaultPlan, SparePreparation, WriteFault};

/// Eight in the morning where the shop stands.
pub(super) const START: Timestamp = Timestamp::from_micros(1_764_025_200_000_000);
/// Faults end on the evening of the third day, and then everything must come to its end.
pub(super) const HEALED: Timestamp = hours(62);
/// What is returned at the latest has been put back by then.
pub(super) const END: Timestamp = hours(90);

#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) buyers: u64,
    pub(super) sales: Vec<Sale>,
    pub(super) rounds: Vec<(Timestamp, Round)>,
    pub(super) crashes: Vec<(Timestamp, Crash)>,
    pub(super) down: (Span, Span),
    /// Of a hundred openings of the journal after a crash, so many meet another fault.
    pub(super) faults_while_starting: u64,
    /// Of a hundred products, so many have an actor that crashes once.
    pub(super) broken_products: u64,
    pub(super) cell: CellLimits,
    pub(super) core: CoreLimits,
    pub(super) segment_bytes: u64,
    pub(super) retention_bytes: u64,
    /// How long a turn keeps the disk busy, at the least and at the most.
    pub(super) sync: (Span, Span),
    /// Of a hundred turns, so many find no room for their effects.
    pub(super) no_room: u64,
    pub(super) is_watched: bool,
    pub(super) sql_records_max: usize,
    pub(super) sql_pause: (Span, Span),
    pub(super) sql_outages: Vec<(Timestamp, Span)>,
    pub(super) sql_fall_backs: Vec<Timestamp>,
    pub(super) provider: Rates,
    pub(super) provider_outages: Vec<(Timestamp, Span)>,
}

/// Of a hundred.
#[derive(Debug, Clone)]
pub(super) struct Rates {
    pub(super) declined: u64,
    /// Calls that never arrive.
    pub(super) lost: u64,
    /// Answers that never come back.
    pub(super) unanswered: u64,
    /// Calls that arrive after minutes or hours.
    pub(super) stuck: u64,
    pub(super) slow: u64,
    /// Webhooks that come hours later.
    pub(super) late_webhooks: u64,
    pub(super) repeated_webhooks: u64,
}

/// A product and its sale.
#[derive(Debug, Clone)]
pub(super) struct Sale {
    pub(super) product: ProductId,
    pub(super) opens_at: Timestamp,
    /// `None`: the shop closes it by hand, in the night.
    pub(super) closes_at: Option<Timestamp>,
    pub(super) total: u64,
    pub(super) limit: Option<u32>,
    pub(super) hold_ttl: Span,
    pub(super) restock_to: RestockTo,
    pub(super) visits_in_the_rush: u64,
    pub(super) visits_later: u64,
}

const fn minutes(minutes: u32) -> Span {
    Span::from_secs(minutes * 60)
}

const fn hours(hours: u32) -> Timestamp {
    START.plus(Span::from_secs(hours * 3_600))
}

impl Options {
    pub(super) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, Part::Options);
        let random = &mut random;
        let buyers = random.between(40, 250);
        let sales: Vec<Sale> = (0..random.between(2, 6))
            .map(|number| draw_sale(number, buyers, random))
            .collect();
        let rounds = draw_rounds(random);
        let keep_settled = Span::from_secs(3_600 * random.units(2, 5));
        let busy = busy_instants(&sales, &rounds);
        let faults_max = random.between(1, 14);
        Self {
            crashes: (0..faults_max)
                .map(|_| (draw_instant(&busy, random), draw_crash(random)))
                .collect(),
            down: random.pick(&[
                (Span::from_millis(200), Span::from_secs(20)),
                (Span::from_secs(1), Span::from_secs(60)),
                (Span::from_secs(30), Span::from_secs(2_400)),
            ]),
            faults_while_starting: random.pick(&[0, 10, 50]),
            broken_products: random.pick(&[0, 0, 0, 40]),
            cell: CellLimits {
                payments_pending_max: random.pick(&[3, 30, 1_000, 1_000]),
                offer_ttl: random.pick(&[Span::from_secs(20), Span::from_secs(120)]),
                person: random.pick(&[
                    PersonLimits::NONE,
                    PersonLimits::default(),
                    PersonLimits {
                        open_orders_max: 2,
                        ended_holds_max: 3,
                    },
                ]),
            },
            core: CoreLimits {
                journal_budget_bytes: random.pick(&[30_000, 150_000, 1 << 30, 1 << 30]),
                due_per_turn_max: random.pick(&[5, 50, 2_000]),
                keep_settled,
                at_rest_max: random.pick(&[60, 300, usize::MAX, usize::MAX]),
            },
            segment_bytes: random.pick(&[64, 64, 128]) << 10,
            retention_bytes: random.pick(&[0, 0, 100_000]),
            sync: random.pick(&[
                (Span::from_millis(1), Span::from_millis(4)),
                (Span::from_millis(5), Span::from_millis(60)),
                (Span::from_millis(20), Span::from_millis(700)),
            ]),
            no_room: random.pick(&[0, 0, 20]),
            is_watched: random.chance(50),
            sql_records_max: random.pick(&[1, 20, 300, 5_000]),
            sql_pause: random.pick(&[
                (Span::from_millis(5), Span::from_millis(60)),
                (Span::from_millis(300), Span::from_secs(5)),
                (Span::from_secs(10), Span::from_secs(300)),
            ]),
            sql_outages: draw_outages(&busy, &[0, 1, 3], minutes(300), random),
            sql_fall_backs: draw_many(&busy, &[0, 0, 2, 5], random),
            provider: draw_rates(random),
            provider_outages: draw_outages(&busy, &[0, 0, 2], minutes(20), random),
            buyers,
            sales,
            rounds,
        }
    }

    /// How late the last of a storm may be that is due at once, if the engine is slow and ends few in a turn.
    pub(super) fn late_max(&self) -> Span {
        let turns = self.buyers * 2 / self.core.due_per_turn_max as u64 + 4;
        Span::from_micros_u64(1_000_000 + turns * self.sync.1.as_micros())
    }

    pub(super) fn journal(&self) -> journal::Options {
        journal::Options {
            segment_bytes: self.segment_bytes,
            retention_bytes: self.retention_bytes,
            spares: SparePreparation::Inline,
            journal_id: Some(0x4c41_5942_5900_0001),
        }
    }
}

fn draw_sale(number: u64, buyers: u64, random: &mut Random) -> Sale {
    let hour = random.pick(&[2, 2, 5, 9, 12, 26, 30]);
    let opens_at = hours(hour).plus(random.millis(0, 999));
    let lasts = random.pick(&[None, Some(20), Some(90), Some(240)]);
    Sale {
        product: ProductId::new(1_000 + u128::from(number)),
        opens_at,
        closes_at: lasts.map(|lasts| opens_at.plus(minutes(lasts))),
        total: random.pick(&[0, 1, 5, 20, 60, 400]),
        limit: random.pick(&[None, Some(1), Some(3)]),
        hold_ttl: Span::from_secs(random.pick(&[10, 60, 300, 1_200])),
        restock_to: random.pick(&[RestockTo::Available, RestockTo::Withdrawn]),
        visits_in_the_rush: random.between(0, buyers / 2),
        visits_later: random.between(5, 60),
    }
}

fn draw_rounds(random: &mut Random) -> Vec<(Timestamp, Round)> {
    let plan = [
        (Round::Ship, &[8, 14, 25, 32, 38][..]),
        (Round::Deliver, &[12, 27, 34, 42, 50]),
        (Round::AcceptReturns, &[29, 36, 45, 52, 61]),
    ];
    let rounds = plan
        .into_iter()
        .flat_map(|(round, at)| at.iter().map(move |hour| (hours(*hour), round)));
    rounds
        .map(|(at, round)| (at.plus(random.secs(0, 600)), round))
        .collect()
}

/// When much happens at once, so that a fault then meets much.
fn busy_instants(sales: &[Sale], rounds: &[(Timestamp, Round)]) -> Vec<Timestamp> {
    let openings = sales.iter().map(|sale| sale.opens_at);
    openings.chain(rounds.iter().map(|(at, _)| *at)).collect()
}

fn draw_instant(busy: &[Timestamp], random: &mut Random) -> Timestamp {
    if random.chance(30) {
        return START.plus(random.span(Span::ZERO, HEALED.since(START)));
    }
    let after = random.pick(&[
        Span::from_secs(2),
        Span::from_secs(60),
        Span::from_secs(900),
    ]);
    random.pick(busy).plus(random.span(Span::ZERO, after))
}

fn draw_many(busy: &[Timestamp], counts: &[u64], random: &mut Random) -> Vec<Timestamp> {
    let count = random.pick(counts);
    (0..count).map(|_| draw_instant(busy, random)).collect()
}

fn draw_outages(
    busy: &[Timestamp],
    counts: &[u64],
    longest: Span,
    random: &mut Random,
) -> Vec<(Timestamp, Span)> {
    let instants = draw_many(busy, counts, random);
    let lasts = |it| (it, random.span(Span::from_secs(1), longest));
    instants.into_iter().map(lasts).collect()
}

fn draw_crash(random: &mut Random) -> Crash {
    let nth = random.between(1, 4);
    let fault = match random.between(0, 12) {
        0 => return Crash::Killed,
        1 => return Crash::PowerLost,
        2 => return Crash::BeforePublishing,
        3 => return Crash::BeforePerforming,
        4 => return Crash::BeforeAnswering,
        5 => FaultPlan {
            write: Some((nth, WriteFault::Broken)),
            ..FaultPlan::default()
        },
        6 => FaultPlan {
            write: Some((nth, WriteFault::Full)),
            ..FaultPlan::default()
        },
        7 => FaultPlan {
            sync: Some(nth),
            ..FaultPlan::default()
        },
        8 => FaultPlan {
            name_change: Some(nth),
            ..FaultPlan::default()
        },
        _ => FaultPlan {
            power_cut: Some(nth),
            ..FaultPlan::default()
        },
    };
    Crash::DiskFails(fault)
}

fn draw_rates(random: &mut Random) -> Rates {
    Rates {
        declined: random.pick(&[5, 20, 50]),
        lost: random.pick(&[0, 0, 5, 15]),
        unanswered: random.pick(&[0, 0, 5, 15]),
        stuck: random.pick(&[0, 0, 5]),
        slow: random.pick(&[0, 10, 60]),
        late_webhooks: random.pick(&[0, 10, 40]),
        repeated_webhooks: random.pick(&[0, 20]),
    }
}
