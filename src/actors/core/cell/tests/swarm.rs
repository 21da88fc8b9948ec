//! Thousands of histories, and what they must have met on the way.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::history::History;
use super::marks::Marks;
use super::replay;

const SEEDS: u64 = 2_500;
const COMMANDS: u64 = 300;
/// A rare situation that was met less often than this was hardly tried.
const HITS_MIN: u64 = 20;

#[test]
fn the_cell_does_what_the_model_says() {
    let marks = run_seeds(0..SEEDS);
    let missed: Vec<_> = SITUATIONS
        .iter()
        .filter(|situation| marks.hits(situation) < HITS_MIN)
        .collect();
    assert!(
        missed.is_empty(),
        "met less than {HITS_MIN} times: {missed:#?}"
    );
    let unlisted: Vec<_> = marks
        .iter()
        .filter(|(situation, _)| !SITUATIONS.contains(situation))
        .collect();
    assert!(
        unlisted.is_empty(),
        "add to the list of situations: {unlisted:#?}"
    );
}

#[test]
#[ignore = "fifty times as many seeds, other ones: minutes"]
fn the_cell_does_what_the_model_says_for_minutes() {
    run_seeds(1_000_000..1_000_000 + 50 * SEEDS);
}

fn run_seeds(seeds: Range<u64>) -> Marks {
    let next = AtomicU64::new(seeds.start);
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let parts: Vec<(Marks, u64)> = thread::scope(|scope| {
        let run = || run_some(&next, seeds.end);
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(run)).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|part| part.expect("a failing seed is printed above"))
            .collect()
    });
    let mut marks = Marks::default();
    parts.iter().for_each(|(part, _)| marks.add(part));
    let commands: u64 = parts.iter().map(|(_, commands)| commands).sum();
    report(&marks, seeds.end - seeds.start, commands);
    marks
}

fn run_some(next: &AtomicU64, end: u64) -> (Marks, u64) {
    let (mut marks, mut commands) = (Marks::default(), 0);
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return (marks, commands);
        }
        let history = check_seed(seed, COMMANDS);
        marks.add(&history.world.model.marks);
        commands += history.world.commands;
    }
}

/// Runs one seed; if it fails, runs it again and tells the story. Paste a failing one into `seeds`.
pub(super) fn check_seed(seed: u64, commands: u64) -> History {
    let run = || {
        let mut history = History::new(seed);
        history.run(commands);
        replay::check(&mut history.world);
        history
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(history) => history,
        Err(cause) => {
            tell_the_story(seed, commands);
            std::panic::resume_unwind(cause)
        }
    }
}

fn tell_the_story(seed: u64, commands: u64) {
    let mut history = History::new(seed);
    history.world.trace = Some(Vec::new());
    let again = catch_unwind(AssertUnwindSafe(|| {
        history.run(commands);
        replay::check(&mut history.world);
    }));
    let trace = history.world.trace.take().unwrap_or_default();
    for line in trace.iter().skip(trace.len().saturating_sub(60)) {
        eprintln!("{line}");
    }
    let same = if again.is_err() {
        "fails again"
    } else {
        "does not fail again"
    };
    eprintln!(
        "seed {seed} with {commands} commands {same} after {} steps; {:?}",
        trace.len(),
        history.options
    );
}

fn report(marks: &Marks, seeds: u64, commands: u64) {
    eprintln!("{seeds} seeds, {commands} commands and sweeps, each compared with the model");
    for (situation, hits) in marks.iter() {
        eprintln!("{hits:>8}  {situation}");
    }
}

/// What the run must have met.
const SITUATIONS: &[&str] = &[
    "a cancel after payment",
    "a cancel after shipping",
    "a cancel after the hold",
    "a cancel is repeated after the end",
    "a cancel is repeated while refunding",
    "a cancel is repeated while requested",
    "a cancel of somebody else's order",
    "a cancel while held",
    "a cancel while paying",
    "a cancel while paying, then captured",
    "a cancel while paying, then declined",
    "a charge that is settled is not repeated",
    "a charge that never arrived is not worth repeating",
    "a charge that never arrived is repeated",
    "a closed window is closed again",
    "a cut waits for held units",
    "a decline after the deadline ends the hold",
    "a decline after the order has ended",
    "a decline leaves the hold alive",
    "a declined hold expires",
    "a failure is told twice",
    "a hold ends exactly at its deadline",
    "a hold pays after closing",
    "a hold pays while the sale is paused",
    "a join is over the limit",
    "a join is repeated",
    "a join is repeated for another number",
    "a late success finds a withdrawal that waits",
    "a late success finds people who wait",
    "a late success is over the limit by now",
    "a late success is reclaimed",
    "a late success is refunded",
    "a part of an offer is taken up",
    "a payment starts after the hold",
    "a payment starts in the last microsecond",
    "a payment's key comes back with another body",
    "a person orders again within the limit",
    "a person's own dead hold is ended before it counts",
    "a product with committed units is not deleted",
    "a raise brings withdrawn units back",
    "a raise calls a withdrawal off",
    "a raise calls a withdrawal off and adds units",
    "a refund beside the order's own course",
    "a refund takes longer than a buyer should wait",
    "a refund that is not due is reported",
    "a refusal names several short products",
    "a repeat of a payment is told the same",
    "a repeat of a payment waits for the first",
    "a return goes to the withdrawn units",
    "a return is accepted after its restock was due",
    "a return is accepted twice",
    "a return is asked for",
    "a return is asked for twice",
    "a return is restocked",
    "a return of somebody else's order",
    "a return window ends",
    "a sale opens with units for those who wait",
    "a sale closes on those who wait",
    "a second payment extends nothing",
    "a second payment starts while one is under way",
    "a second success for a paid order",
    "a delivery is said twice",
    "a shipment is said twice",
    "an order is delivered",
    "an order is shipped",
    "a second success for an order that was not fulfilled",
    "a stale failure after success",
    "a success after a cancel",
    "a success after a decline",
    "a success between the deadline and the cap",
    "a success is told twice",
    "a success while held again",
    "a withdrawal swallows a freed unit",
    "a withdrawal swallows part of what is freed",
    "an offer is for fewer units than wanted",
    "an offer is taken up",
    "an offer is taken up while paused or closed",
    "an offer is taken up with free units",
    "an offer lapses",
    "an offer lapses for the second time",
    "an order comes after closing",
    "an order comes at the instant of closing",
    "an order comes at the instant of opening",
    "an order comes before opening",
    "an order comes in the last microsecond before closing",
    "an order comes while paused",
    "an order mixes currencies",
    "an order of several products is held",
    "an order's key comes back with another body",
    "an order's key repeats after a cancel",
    "an order's key repeats after expiry",
    "an order's key repeats after payment",
    "an order's key repeats while held",
    "an outcome comes at the very end of a hold",
    "an outcome comes in the last microsecond of a hold",
    "an untouched hold expires",
    "everything is held",
    "everything is sold",
    "more is asked than is available",
    "one of two refunds is done",
    "one short product refuses the whole order",
    "somebody joins a waitlist",
    "somebody joins while paused",
    "somebody leaves with an offer",
    "somebody takes the last unit",
    "the cap passes while a cancel is requested",
    "the cap passes while paying",
    "the first payment extends the deadline",
    "the first payment leaves a long deadline alone",
    "the limit counts a hold that is paying",
    "the limit counts what is bought",
    "the limit leaves somebody who waits nothing",
    "the limit names the live order",
    "the outcome of an unknown attempt",
    "the price changes under a live hold",
    "the provider gives no clear answer in time",
    "the stock is cut below what is sold",
    "there is nothing to wait for",
    "too many payments are under way",
    "too many refunds are due",
    "units are offered",
];
