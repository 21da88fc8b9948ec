//! Rate limits and small marks that expire: who asked how often, and what may be forgotten without harm.
//!
//! With Redis, all servers share them. Redis is never waited for longer than [`ANSWER_WITHIN`] and never needed: when it
//! is gone, slow, full, read-only or talks nonsense, this process limits by itself from the call at hand on, and a task
//! tries every second whether Redis is back.
//!
//! **Invariant:** nothing here grants stock, money or access; losing all of it only means that people may try again.
//! Keys are hashes made by the caller: no personal data gets here.
//!
//! Deliberately absent: buckets are not kept in both places at once. When Redis goes, buckets in this process are as its
//! last absence left them, and when it is back, what was taken meanwhile is not carried over. So each change of sides
//! gives at most one more burst, and flapping gives none: what each side remembers stays.

mod memory;
mod redis;
mod rule;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use memory::Memory;
use redis::Remote;

pub use redis::ANSWER_WITHIN;
pub use rule::{Rule, Verdict};

/// Buckets that this process remembers at most, and marks as many again. At the bound those go first that are full again
/// or have expired, then those that would be soonest.
pub const ENTRIES_MAX: usize = 100_000;

/// Counts and marks. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Limiter {
    shared: Arc<SharedLimits>,
}

struct SharedLimits {
    memory: Memory,
    remote: Option<Arc<Remote>>,
    fallbacks: AtomicU64,
}

/// The address cannot be that of a Redis. It is not repeated here, for it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Redis address cannot be read; it has the form redis://user:password@host:6379/0, rediss://... for TLS, or \
     unix:/path"
)]
pub struct BadUrl;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Calls that this process answered although there should be a Redis. Grows for ever.
    pub fallbacks: u64,
    /// Calls that Redis did not answer, or not in time, or not with sense. Grows for ever.
    pub redis_errors: u64,
    /// `None`: there should be no Redis.
    pub is_redis_away: Option<bool>,
    /// Buckets in this process that are not full.
    pub buckets: usize,
    /// Marks in this process.
    pub marks: usize,
}

impl Limiter {
    /// Without an address, the limits are this process's alone. A Redis that does not answer is no error: calls are
    /// answered here until it does. Its background task runs on the tokio runtime that this is called on, or else on that
    /// of the first call.
    pub fn open(redis_url: Option<&str>, clock: Arc<dyn Clock>) -> Result<Self, BadUrl> {
        let remote = redis_url.map(Remote::open).transpose()?;
        Ok(Self {
            shared: Arc::new(SharedLimits {
                memory: Memory::new(ENTRIES_MAX, clock),
                remote,
                fallbacks: AtomicU64::new(0),
            }),
        })
    }

    /// Takes a token of this key, if there is one. A call that Redis did not answer in time may have taken one there.
    pub async fn take(&self, rule: &Rule, key: [u8; 16]) -> Verdict {
        match self.ask(|remote| remote.take(rule, key)).await {
            Some(verdict) => verdict,
            None => self.shared.memory.take(rule, key),
        }
    }

    /// Returns one token: what was tried turned out to be good.
    pub async fn give_back(&self, rule: &Rule, key: [u8; 16]) {
        if self
            .ask(|remote| remote.give_back(rule, key))
            .await
            .is_none()
        {
            self.shared.memory.give_back(rule, key);
        }
    }

    /// The bucket is full again.
    pub async fn forget(&self, rule: &Rule, key: [u8; 16]) {
        if self.ask(|remote| remote.forget(rule, key)).await.is_none() {
            self.shared.memory.forget(rule, key);
        }
    }

    /// Marks the key in this set for so long, also if it was marked for longer. A `ttl` of zero takes the mark away.
    pub async fn mark(&self, set: &'static str, key: [u8; 16], ttl: Duration) {
        if self
            .ask(|remote| remote.mark(set, key, ttl))
            .await
            .is_none()
        {
            self.shared.memory.mark(set, key, ttl);
        }
    }

    pub async fn is_marked(&self, set: &'static str, key: [u8; 16]) -> bool {
        match self.ask(|remote| remote.is_marked(set, key)).await {
            Some(is_marked) => is_marked,
            None => self.shared.memory.is_marked(set, key),
        }
    }

    /// Waits until Redis is there, for so long at most. True at once if there should be none.
    pub async fn wait_for_redis(&self, within: Duration) -> bool {
        match &self.shared.remote {
            None => true,
            Some(remote) => remote.wait_until_there(within).await,
        }
    }

    pub fn counters(&self) -> Counters {
        let SharedLimits { memory, remote, .. } = &*self.shared;
        Counters {
            fallbacks: self.shared.fallbacks.load(Ordering::Relaxed),
            redis_errors: remote.as_ref().map_or(0, |it| it.errors()),
            is_redis_away: remote.as_ref().map(|it| it.is_away()),
            buckets: memory.buckets(),
            marks: memory.marks(),
        }
    }

    /// `None`: this process answers.
    async fn ask<'a, T, Asked>(
        &'a self,
        question: impl FnOnce(&'a Arc<Remote>) -> Asked,
    ) -> Option<T>
    where
        Asked: Future<Output = Option<T>> + 'a,
    {
        let remote = self.shared.remote.as_ref()?;
        let answer = question(remote).await;
        if answer.is_none() {
            self.shared.fallbacks.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Limiter")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
