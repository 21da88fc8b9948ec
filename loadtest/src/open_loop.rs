//! The open loop: requests start at a steady rate, whether or not the server keeps up.
//!
//! Latency counts from the intended start, so a server that stalls is charged for everybody who would have come in the
//! meantime. tokio's timers are exact to a millisecond, which is what is to be measured; hence a timer of the kernel.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use crate::clock::{Clock, micros};
use crate::report::new_histogram;
use crate::workload::{Pace, Worker, Workload};

const TICK: Duration = Duration::from_micros(250);
/// Whoever has waited so long after the last start is left without an answer: the rate was not kept.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) requests: u64,
    pub(crate) elapsed_s: f64,
    pub(crate) latency_us: Histogram<u64>,
}

pub(crate) async fn run(workload: &Workload, pace: Pace, rate_per_s: f64) -> Result<Measured> {
    let workers = workload.open_workers(pace.connections).await?;
    let schedule = Rc::new(Schedule::new(rate_per_s, pace.warm_up, pace.measured));
    LocalSet::new()
        .run_until(work(workers, Rc::clone(&schedule)))
        .await?;
    let latency_us = schedule.latency_us.replace(new_histogram());
    let elapsed_us = schedule
        .last_answer_us
        .get()
        .saturating_sub(schedule.from_us);
    Ok(Measured {
        requests: latency_us.len(),
        elapsed_s: elapsed_us as f64 / 1e6,
        latency_us,
    })
}

/// Who is due when. The pacer adds, idle workers take; with all workers busy the due ones wait, and their time runs.
#[derive(Debug)]
struct Schedule {
    clock: Clock,
    gap: Duration,
    from_us: u64,
    until_us: u64,
    drained_us: u64,
    due_us: RefCell<VecDeque<u64>>,
    /// One permit for each entry of `due_us`; closed when no more will come.
    waiting: Semaphore,
    latency_us: RefCell<Histogram<u64>>,
    last_answer_us: Cell<u64>,
}

impl Schedule {
    fn new(rate_per_s: f64, warm_up: Duration, measured: Duration) -> Self {
        let from_us = micros(warm_up);
        Self {
            clock: Clock::start(),
            gap: Duration::from_secs_f64(1.0 / rate_per_s),
            from_us,
            until_us: from_us + micros(measured),
            drained_us: from_us + micros(measured + DRAIN_LIMIT),
            due_us: RefCell::default(),
            waiting: Semaphore::new(0),
            latency_us: RefCell::new(new_histogram()),
            last_answer_us: Cell::default(),
        }
    }

    async fn pace(&self) -> Result<()> {
        let timer = Timer::every(TICK)?;
        let mut next = Duration::ZERO;
        while micros(next) < self.until_us {
            timer.tick().await?;
            let now_us = self.clock.now_us().min(self.until_us - 1);
            while micros(next) <= now_us {
                self.due_us.borrow_mut().push_back(micros(next));
                self.waiting.add_permits(1);
                next += self.gap;
            }
        }
        Ok(())
    }

    async fn serve(&self, mut worker: Worker) -> Result<()> {
        while let Some(due_us) = self.next_due_us().await
            && self.clock.now_us() < self.drained_us
        {
            worker.step().await?;
            let answered_us = self.clock.now_us();
            if due_us >= self.from_us {
                self.latency_us
                    .borrow_mut()
                    .saturating_record(answered_us.saturating_sub(due_us));
                self.last_answer_us.set(answered_us);
            }
        }
        Ok(())
    }

    async fn next_due_us(&self) -> Option<u64> {
        // A closed semaphore refuses even what it has; what is left is taken without a permit.
        if let Ok(permit) = self.waiting.acquire().await {
            permit.forget();
        }
        self.due_us.borrow_mut().pop_front()
    }
}

async fn work(workers: Vec<Worker>, schedule: Rc<Schedule>) -> Result<()> {
    let mut tasks = JoinSet::new();
    for worker in workers {
        let schedule = Rc::clone(&schedule);
        tasks.spawn_local(async move { schedule.serve(worker).await });
    }
    let pacing = Rc::clone(&schedule);
    tasks.spawn_local(async move {
        let paced = pacing.pace().await;
        pacing.waiting.close();
        paced
    });
    while let Some(ended) = tasks.join_next().await {
        ended.context("a worker ended in a bug")??;
    }
    Ok(())
}

/// A periodic timer of the kernel, exact to some ten microseconds.
#[derive(Debug)]
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    fn every(period: Duration) -> Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let period = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(period.subsec_nanos()),
        };
        timerfd_settime(
            &timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec {
                it_interval: period,
                it_value: period,
            },
        )?;
        #[expect(
            deprecated,
            reason = "its replacement is unsafe; an owned descriptor cannot change under its registration"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    async fn tick(&self) -> Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            let mut expirations = [0; 8];
            let read =
                guard.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut expirations)?));
            if let Ok(read) = read {
                read?;
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn everybody_is_due_once_and_in_time() {
        let schedule = Schedule::new(2_000.0, Duration::ZERO, Duration::from_millis(100));
        schedule.pace().await.expect("paced");
        schedule.waiting.close();
        let due_us = schedule.due_us.take();
        assert_eq!(due_us.len(), 200);
        let gaps_us = due_us
            .iter()
            .zip(due_us.iter().skip(1))
            .map(|(one, next)| next - one);
        assert!(
            gaps_us
                .into_iter()
                .all(|gap_us| (499..=501).contains(&gap_us))
        );
        assert_eq!(schedule.next_due_us().await, None, "all were taken");
    }
}
