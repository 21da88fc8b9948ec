//! Every phase, every edge, every act.

use super::product;
use crate::domain::{
    Phase, ProductChange, Rejection, RestockTo, Span, Stock, Timestamp, Window, WindowAct,
};

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn window(opens_at: u64, closes_at: Option<u64>, paused: bool) -> Window {
    Window {
        opens_at: at(opens_at),
        closes_at: closes_at.map(at),
        paused,
        per_person_limit: Some(2),
        hold_ttl: Span::from_secs(60),
    }
}

/// Every small window there is.
fn all_windows() -> impl Iterator<Item = Window> {
    let ends = || std::iter::once(None).chain((0..6).map(Some));
    (0..5).flat_map(move |opens| {
        ends().flat_map(move |ends| [false, true].map(|paused| window(opens, ends, paused)))
    })
}

#[test]
fn a_window_is_open_from_its_first_instant_to_before_its_last() {
    for window in all_windows() {
        for now in (0..7).map(at) {
            let may_hold = window.opens_at <= now
                && window.closes_at.is_none_or(|end| now < end)
                && !window.paused;
            assert_eq!(
                window.phase(now) == Phase::Open,
                may_hold,
                "{window:?} at {now}"
            );
        }
    }
}

#[test]
fn a_window_never_goes_back_by_itself() {
    let rank = |phase| match phase {
        Phase::Scheduled => 0,
        Phase::Open | Phase::Paused => 1,
        Phase::Closed => 2,
    };
    for window in all_windows() {
        let ranks: Vec<i32> = (0..7).map(|now| rank(window.phase(at(now)))).collect();
        assert!(ranks.is_sorted(), "{window:?} went through {ranks:?}");
    }
}

/// What each act leads to from each phase.
fn after(act: WindowAct, phase: Phase) -> Result<Phase, &'static str> {
    match (act, phase) {
        (WindowAct::Schedule, phase) => Ok(phase),
        (WindowAct::Open | WindowAct::Resume, Phase::Open | Phase::Paused) => Ok(Phase::Open),
        (WindowAct::Pause, Phase::Open | Phase::Paused) => Ok(Phase::Paused),
        (WindowAct::Close, _) => Ok(Phase::Closed),
        (WindowAct::Open, Phase::Scheduled) => Ok(Phase::Open),
        (WindowAct::Pause | WindowAct::Resume, Phase::Scheduled) => Err("not open"),
        (WindowAct::Open | WindowAct::Pause | WindowAct::Resume, Phase::Closed) => Err("closed"),
    }
}

#[test]
fn every_act_in_every_phase_has_its_answer() {
    use WindowAct::{Close, Open, Pause, Resume, Schedule};
    // A window is scheduled unpaused; a pause comes later, when it is open.
    let possible = |window: &Window, now| !window.paused || window.phase(now) != Phase::Scheduled;
    for before in all_windows() {
        for now in (0..7).map(at).filter(|now| possible(&before, *now)) {
            for act in [Schedule, Open, Pause, Resume, Close] {
                let mut product = product(Stock::default(), RestockTo::Available);
                product.window = Some(before);
                let decided = product.decide_window(act, Some(before), now);
                let told = decided.map_err(|rejection| match rejection {
                    Rejection::NotOpen { .. } => "not open",
                    Rejection::Closed(_) => "closed",
                    other => panic!("{act:?} of {before:?} at {now} gave {other:?}"),
                });
                let phase = told.map(|change| {
                    product.apply(&change);
                    let window = product.window.unwrap();
                    assert_eq!(
                        (window.per_person_limit, window.hold_ttl),
                        (before.per_person_limit, before.hold_ttl),
                        "{act:?} changes no terms"
                    );
                    window.phase(now)
                });
                assert_eq!(
                    phase,
                    after(act, before.phase(now)),
                    "{act:?} of {before:?} at {now}"
                );
            }
        }
    }
}

#[test]
fn a_product_without_a_window_can_only_be_scheduled_or_opened() {
    let product = product(Stock::default(), RestockTo::Available);
    let decide = |act| product.decide_window(act, None, at(5));
    for act in [WindowAct::Pause, WindowAct::Resume, WindowAct::Close] {
        let refused = Rejection::NotOpen {
            product: product.id,
            opens_at: None,
            now: at(5),
        };
        assert_eq!(decide(act), Err(refused), "{act:?}");
    }
    let Ok(ProductChange::WindowSet {
        before: None,
        after,
        ..
    }) = decide(WindowAct::Open)
    else {
        panic!("an act without a record");
    };
    assert_eq!(
        (after.phase(at(5)), after.hold_ttl),
        (Phase::Open, Window::HOLD_TTL_DEFAULT)
    );
}
