//! How often something may be done: token buckets, in Redis if there is one, else in this process.
//!
//! **Invariant:** nothing here grants anything. All of it may vanish at any moment, and then somebody may try a few times more.
//!
//! While Redis answers, the buckets of the process are not charged; when it goes they begin full. Keys are keyed hashes already, so
//! that a dump of Redis names nobody.

mod memory;
mod redis;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;

use self::redis::RedisLimits;
use memory::MemoryLimits;

/// While Redis is known to be away, nobody waits for it; it is asked again after this time.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A bucket of `burst` tokens into which one comes back every `refill`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Sets the buckets of one rule apart from those of another.
    pub name: &'static str,
    pub burst: u32,
    pub refill: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// The bucket is empty; the next token comes in so long.
    Wait(Duration),
}

/// A keyed hash of whom the bucket belongs to.
pub type Key = [u8; 16];

#[derive(Debug, thiserror::Error)]
#[error(
    "the address of Redis is not right; give `redis://host:port` or `rediss://user:password@host:port`"
)]
pub struct BadUrl;

/// The buckets; cheap to clone.
#[derive(Debug, Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    memory: MemoryLimits,
    redis: Option<RedisLimits>,
    is_away: AtomicBool,
    /// How often this process had to decide alone although a Redis is configured.
    fallbacks: AtomicU64,
}

impl Rule {
    fn refill_us(&self) -> u64 {
        micros(self.refill)
    }

    /// From empty to full.
    fn full_after_us(&self) -> u64 {
        self.refill_us().saturating_mul(u64::from(self.burst))
    }
}

impl Limiter {
    /// Does not wait for Redis: absent, it is asked again and again.
    pub fn open(redis_url: Option<&str>, clock: Arc<dyn Clock>) -> Result<Self, BadUrl> {
        let redis = redis_url.map(RedisLimits::open).transpose()?;
        let limiter = Self {
            shared: Arc::new(Shared {
                memory: MemoryLimits::new(clock, memory::ENTRIES_MAX),
                is_away: AtomicBool::new(redis.is_some()),
                redis,
                fallbacks: AtomicU64::new(0),
            }),
        };
        if limiter.shared.redis.is_some() {
            limiter.wait_for_redis(true);
        }
        Ok(limiter)
    }

    /// Takes a token.
    pub async fn take(&self, rule: &Rule, key: Key) -> Verdict {
        if let Some(redis) = self.redis() {
            match redis.take(rule, key).await {
                Ok(verdict) => return verdict,
                Err(error) => self.redis_is_gone(&error),
            }
        }
        self.count_fallback();
        self.shared.memory.take(rule, key)
    }

    /// Puts a token back: what it was taken for turned out to be right.
    pub async fn give_back(&self, rule: &Rule, key: Key) {
        if let Some(redis) = self.redis() {
            match redis.give_back(rule, key).await {
                Ok(()) => return,
                Err(error) => self.redis_is_gone(&error),
            }
        }
        self.shared.memory.give_back(rule, key);
    }

    /// Fills the bucket.
    pub async fn forget(&self, rule: &Rule, key: Key) {
        if let Some(redis) = self.redis() {
            match redis.forget(rule, key).await {
                Ok(()) => return,
                Err(error) => self.redis_is_gone(&error),
            }
        }
        self.shared.memory.forget(rule, key);
    }

    /// Remembers the key for a while.
    pub async fn mark(&self, set: &'static str, key: Key, ttl: Duration) {
        if let Some(redis) = self.redis() {
            match redis.mark(set, key, ttl).await {
                Ok(()) => return,
                Err(error) => self.redis_is_gone(&error),
            }
        }
        self.shared.memory.mark(set, key, ttl);
    }

    pub async fn is_marked(&self, set: &'static str, key: Key) -> bool {
        if let Some(redis) = self.redis() {
            match redis.is_marked(set, key).await {
                Ok(marked) => return marked,
                Err(error) => self.redis_is_gone(&error),
            }
        }
        self.shared.memory.is_marked(set, key)
    }

    /// How often the process decided alone although a Redis is configured.
    pub fn fallbacks(&self) -> u64 {
        self.shared.fallbacks.load(Ordering::Relaxed)
    }

    fn count_fallback(&self) {
        if self.shared.redis.is_some() {
            self.shared.fallbacks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Redis, unless it is known to be away.
    fn redis(&self) -> Option<&RedisLimits> {
        let redis = self.shared.redis.as_ref();
        redis.filter(|_| !self.shared.is_away.load(Ordering::Relaxed))
    }

    fn redis_is_gone(&self, error: &::redis::RedisError) {
        if !self.shared.is_away.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "Redis is away; the limits of this process count until it is back");
            self.wait_for_redis(false);
        }
    }

    /// One task at a time; it ends when Redis answers or the last handle is gone.
    fn wait_for_redis(&self, is_start: bool) {
        let shared = Arc::downgrade(&self.shared);
        tokio::spawn(async move {
            let mut told = !is_start;
            loop {
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                let Some(redis) = &shared.redis else { return };
                match redis.ping().await {
                    Ok(()) => {
                        shared.is_away.store(false, Ordering::Relaxed);
                        tracing::info!("Redis answers; limits are kept there");
                        return;
                    }
                    Err(error) if !told => {
                        tracing::warn!(%error, "Redis does not answer; the limits of this process count until it does");
                        told = true;
                    }
                    Err(_still_away) => {}
                }
                drop(shared);
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
        });
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
