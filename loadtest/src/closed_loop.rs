//! The closed loop: so many connections, each with one request in flight, as fast as the server answers.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::task::{JoinSet, LocalSet};

use crate::clock::{Clock, micros};
use crate::report::new_histogram;
use crate::workload::{Pace, Worker, Workload};

#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) throughput_per_s: f64,
    pub(crate) latency_us: Histogram<u64>,
}

/// One turn: warm-up, then a time that counts. Steps that end in it are counted.
pub(crate) async fn run(workload: &Workload, pace: Pace) -> Result<Measured> {
    let workers = workload.open_workers(pace.connections).await?;
    let clock = Clock::start();
    let from_us = micros(pace.warm_up);
    let turn = Rc::new(Turn {
        clock,
        from_us,
        until_us: from_us + micros(pace.measured),
        latency_us: RefCell::new(new_histogram()),
    });
    LocalSet::new()
        .run_until(work(workers, Rc::clone(&turn)))
        .await?;
    let latency_us = turn.latency_us.replace(new_histogram());
    Ok(Measured {
        throughput_per_s: latency_us.len() as f64 / pace.measured.as_secs_f64(),
        latency_us,
    })
}

#[derive(Debug)]
struct Turn {
    clock: Clock,
    from_us: u64,
    until_us: u64,
    latency_us: RefCell<Histogram<u64>>,
}

impl Turn {
    async fn take(&self, mut worker: Worker) -> Result<()> {
        let mut sent_us = self.clock.now_us();
        while sent_us < self.until_us {
            worker.step().await?;
            let answered_us = self.clock.now_us();
            if (self.from_us..self.until_us).contains(&answered_us) {
                self.latency_us
                    .borrow_mut()
                    .saturating_record(answered_us - sent_us);
            }
            sent_us = answered_us;
        }
        Ok(())
    }
}

async fn work(workers: Vec<Worker>, turn: Rc<Turn>) -> Result<()> {
    let mut tasks = JoinSet::new();
    for worker in workers {
        let turn = Rc::clone(&turn);
        tasks.spawn_local(async move { turn.take(worker).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a worker ended in a bug")??;
    }
    Ok(())
}
