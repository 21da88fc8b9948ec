//! A bounded set of keep-alive connections, shared by everybody who asks now and then.
//!
//! `Pool::ask` repeats the very same bytes, and with them the same idempotency key, until there is an answer or the
//! patience of the pool is over: a server that restarts in mid-run costs errors, not results.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::{Address, Connection, Fault, Request};
use crate::clock::{Clock, micros};

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The next one to ask waits for a connection to come back, first come, first served.
    pub(crate) connections_max: usize,
    /// One exchange that takes longer counts as an error and is repeated.
    pub(crate) answer_timeout: Duration,
    /// After so long without an answer the asker is told the last fault.
    pub(crate) give_up_after: Duration,
}

#[derive(Debug)]
pub(crate) struct Pool {
    address: Address,
    clock: Clock,
    limits: Limits,
    idle: RefCell<Vec<Connection>>,
    permits: Semaphore,
    pub(crate) tally: Tally,
}

/// Everything that went over the wire, repetitions included.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: Cell<u64>,
    /// Attempts that ended without an answer, refused connections included.
    pub(crate) errors: Cell<u64>,
    /// Answers 429 and 503: refused for lack of room, repeated later.
    pub(crate) overloaded: Cell<u64>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Of the first attempt: the effect may date from any of them.
    pub(crate) sent_us: u64,
    pub(crate) answered_us: u64,
}

impl Pool {
    pub(crate) fn new(address: Address, clock: Clock, limits: Limits) -> Self {
        let permits = Semaphore::new(limits.connections_max);
        Self {
            address,
            clock,
            limits,
            idle: RefCell::default(),
            permits,
            tally: Tally::default(),
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Opens every connection ahead of time, so that the bell does not start with handshakes.
    pub(crate) async fn warm_up(&self) -> Result<(), Fault> {
        for _ in 0..self.limits.connections_max {
            let connection = Connection::open(&self.address).await?;
            self.idle.borrow_mut().push(connection);
        }
        Ok(())
    }

    pub(crate) async fn ask(&self, request: &Request) -> Result<Reply, Fault> {
        let mut first_sent_us = None;
        let mut pause = PAUSE_MIN;
        let give_up_us = self.clock.now_us() + micros(self.limits.give_up_after);
        loop {
            let result = self.attempt(request, &mut first_sent_us).await;
            let is_last = self.clock.now_us() >= give_up_us;
            let pause_wanted = match result {
                Ok((reply, retry_after)) if is_overloaded(reply.status) => {
                    add_one(&self.tally.overloaded);
                    if is_last {
                        return Ok(reply);
                    }
                    retry_after.unwrap_or(pause).clamp(pause, RETRY_AFTER_MAX)
                }
                Ok((reply, _)) => return Ok(reply),
                Err(fault) => {
                    add_one(&self.tally.errors);
                    if is_last {
                        return Err(fault);
                    }
                    pause
                }
            };
            sleep(pause_wanted.mul_f64(rand::random_range(0.8..1.2))).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt(
        &self,
        request: &Request,
        first_sent_us: &mut Option<u64>,
    ) -> Result<(Reply, Option<Duration>), Fault> {
        let _permit = self
            .permits
            .acquire()
            .await
            .expect("the pool never closes its semaphore");
        let mut connection = self.take_connection().await?;
        add_one(&self.tally.requests);
        let sent_us = *first_sent_us.get_or_insert_with(|| self.clock.now_us());
        let answer = connection
            .exchange(request.bytes(), self.limits.answer_timeout)
            .await?;
        let retry_after = answer.retry_after;
        let reply = Reply {
            status: answer.status,
            body: answer.body.into_owned(),
            sent_us,
            answered_us: self.clock.now_us(),
        };
        self.idle.borrow_mut().push(connection);
        Ok((reply, retry_after))
    }

    async fn take_connection(&self) -> Result<Connection, Fault> {
        while let Some(connection) = self.take_idle() {
            // The server may have closed it while nobody used it; that is not an error.
            if connection.is_usable() {
                return Ok(connection);
            }
        }
        Connection::open(&self.address).await
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle.borrow_mut().pop()
    }
}

fn is_overloaded(status: u16) -> bool {
    status == 429 || status == 503
}

fn add_one(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}
