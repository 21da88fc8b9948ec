//! Buckets and marks in Redis, by its own clock, so that several servers and a restart count together.
//!
//! Each verb is one script and one round trip. Every key runs out by itself.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};
use tokio::sync::Mutex;

use super::{BadUrl, Key, Rule, Verdict, micros};

/// A sign-in must not wait for what may be forgotten anyway.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);
const CONNECT_WITHIN: Duration = Duration::from_millis(500);

/// KEYS[1] the bucket; ARGV: microseconds for a token, and from empty to full. Gives 0, or the microseconds to wait.
const TAKE: &str = r"
    local time = redis.call('TIME')
    local now = time[1] * 1000000 + time[2]
    local refill, whole = tonumber(ARGV[1]), tonumber(ARGV[2])
    local full_at = tonumber(redis.call('GET', KEYS[1]) or now) or now
    full_at = math.min(math.max(full_at, now), now + whole)
    local wait = full_at + refill - (now + whole)
    if wait > 0 then return wait end
    redis.call('SET', KEYS[1], string.format('%.0f', full_at + refill), 'PX', math.ceil(whole / 1000) + 1000)
    return 0";

/// KEYS[1] the bucket; ARGV[1]: microseconds for a token.
const GIVE_BACK: &str = r"
    local full_at = tonumber(redis.call('GET', KEYS[1]) or '')
    if full_at then
        redis.call('SET', KEYS[1], string.format('%.0f', full_at - tonumber(ARGV[1])), 'KEEPTTL')
    end
    return 0";

#[derive(Debug)]
pub(super) struct RedisLimits {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
    take: Script,
    give_back: Script,
}

impl RedisLimits {
    pub(super) fn open(url: &str) -> Result<Self, BadUrl> {
        Ok(Self {
            // The error would show the address, and with it perhaps a password.
            client: Client::open(url).map_err(|_unreadable| BadUrl)?,
            connection: Mutex::new(None),
            take: Script::new(TAKE),
            give_back: Script::new(GIVE_BACK),
        })
    }

    /// Connects anew if need be.
    pub(super) async fn ping(&self) -> Result<(), RedisError> {
        *self.connection.lock().await = None;
        let mut connection = self.connection().await?;
        redis::cmd("PING").query_async(&mut connection).await
    }

    pub(super) async fn take(&self, rule: &Rule, key: Key) -> Result<Verdict, RedisError> {
        let mut connection = self.connection().await?;
        let wait_us: u64 = self
            .take
            .key(name_of(rule.name, key))
            .arg(rule.refill_us())
            .arg(rule.full_after_us())
            .invoke_async(&mut connection)
            .await?;
        Ok(match wait_us {
            0 => Verdict::Pass,
            wait_us => Verdict::Wait(Duration::from_micros(wait_us)),
        })
    }

    pub(super) async fn give_back(&self, rule: &Rule, key: Key) -> Result<(), RedisError> {
        let mut connection = self.connection().await?;
        let _zero: u64 = self
            .give_back
            .key(name_of(rule.name, key))
            .arg(rule.refill_us())
            .invoke_async(&mut connection)
            .await?;
        Ok(())
    }

    pub(super) async fn forget(&self, rule: &Rule, key: Key) -> Result<(), RedisError> {
        let mut connection = self.connection().await?;
        redis::cmd("DEL")
            .arg(name_of(rule.name, key))
            .query_async(&mut connection)
            .await
    }

    pub(super) async fn mark(
        &self,
        set: &'static str,
        key: Key,
        ttl: Duration,
    ) -> Result<(), RedisError> {
        let mut connection = self.connection().await?;
        redis::cmd("SET")
            .arg(name_of(set, key))
            .arg(1)
            .arg("PX")
            .arg(micros(ttl).div_ceil(1_000).max(1))
            .query_async(&mut connection)
            .await
    }

    pub(super) async fn is_marked(&self, set: &'static str, key: Key) -> Result<bool, RedisError> {
        let mut connection = self.connection().await?;
        redis::cmd("EXISTS")
            .arg(name_of(set, key))
            .query_async(&mut connection)
            .await
    }

    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok(kept.insert(connection).clone())
    }
}

fn name_of(rule: &str, key: Key) -> String {
    format!("layby:limit:{rule}:{:032x}", u128::from_be_bytes(key))
}
