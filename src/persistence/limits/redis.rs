//! Limits and marks in Redis, shared by all servers.
//!
//! One Lua script a verb, so that reading and writing are one step and the time is Redis' own, whatever the clocks of the
//! servers say. Every key has an end. A key of another type counts as none and is written over.
//!
//! Deliberately absent: nothing is sent twice. A call that failed may have been counted, and the caller has moved on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, RedisError, Script, ScriptInvocation};
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::BadUrl;
use super::rule::{Rule, Verdict, span_micros};

/// Redis has so long for an answer; after that it counts as gone.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(100);
/// Connecting, with a first question.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
const RETRY_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Remote {
    client: Client,
    scripts: Scripts,
    link: RwLock<Link>,
    /// Follows `link`, for those who wait.
    is_there: watch::Sender<bool>,
    /// A task tries to connect.
    is_trying: AtomicBool,
    /// That it is away was logged.
    is_told: AtomicBool,
    errors: AtomicU64,
    /// The runtime on which it is tried. One of many workers may end while the others go on; this one is to last.
    home: OnceLock<Handle>,
}

/// The connection, if Redis is there. Whoever failed on an older one must not take away the newer.
#[derive(Default)]
struct Link {
    connection: Option<MultiplexedConnection>,
    generation: u64,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {0:?}")]
    Slow(Duration),
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("an answer that no script of ours gives: {0}")]
    Nonsense(i64),
}

impl Remote {
    pub(super) fn open(url: &str) -> Result<Arc<Self>, BadUrl> {
        let client = Client::open(url).map_err(|_with_parts_of_it| BadUrl)?;
        let remote = Arc::new(Self {
            client,
            scripts: Scripts::new(),
            link: RwLock::default(),
            is_there: watch::Sender::new(false),
            is_trying: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            errors: AtomicU64::new(0),
            home: OnceLock::new(),
        });
        remote.try_again_after(Duration::ZERO);
        Ok(remote)
    }

    /// `None`, here and in the other verbs: Redis did not answer.
    pub(super) async fn take(self: &Arc<Self>, rule: &Rule, key: [u8; 16]) -> Option<Verdict> {
        // Nothing to count, and Redis knows no end of zero.
        if rule.refill_micros() == 0 {
            return Some(Verdict::Pass);
        }
        let mut call = self.scripts.take.key(bucket_key(rule, key));
        call.arg(rule.bucket_micros()).arg(rule.refill_micros());
        let wait = self.call(&call, rule.refill_micros()).await?;
        Some(match wait {
            0 => Verdict::Pass,
            wait => Verdict::Wait(Duration::from_micros(wait)),
        })
    }

    pub(super) async fn give_back(self: &Arc<Self>, rule: &Rule, key: [u8; 16]) -> Option<()> {
        let mut call = self.scripts.give_back.key(bucket_key(rule, key));
        call.arg(rule.bucket_micros()).arg(rule.refill_micros());
        self.call(&call, 0).await.map(drop)
    }

    pub(super) async fn forget(self: &Arc<Self>, rule: &Rule, key: [u8; 16]) -> Option<()> {
        let call = self.scripts.forget.key(bucket_key(rule, key));
        self.call(&call, 0).await.map(drop)
    }

    pub(super) async fn mark(
        self: &Arc<Self>,
        set: &'static str,
        key: [u8; 16],
        ttl: Duration,
    ) -> Option<()> {
        let mut call = self.scripts.mark.key(mark_key(set, key));
        call.arg(span_micros(ttl).div_ceil(1_000));
        self.call(&call, 0).await.map(drop)
    }

    pub(super) async fn is_marked(
        self: &Arc<Self>,
        set: &'static str,
        key: [u8; 16],
    ) -> Option<bool> {
        let call = self.scripts.is_marked.key(mark_key(set, key));
        self.call(&call, 1).await.map(|it| it == 1)
    }

    pub(super) async fn wait_until_there(self: &Arc<Self>, within: Duration) -> bool {
        let mut is_there = self.is_there.subscribe();
        if !*is_there.borrow() {
            self.try_again_after(Duration::ZERO);
        }
        let seen = timeout(within, is_there.wait_for(|it| *it)).await;
        matches!(seen, Ok(Ok(_)))
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(super) fn is_away(&self) -> bool {
        self.link.read().connection.is_none()
    }

    /// One question, if Redis is there. While it is known to be away nobody waits for it.
    async fn call(self: &Arc<Self>, call: &ScriptInvocation<'_>, answer_max: u64) -> Option<u64> {
        let (connection, generation) = {
            let link = self.link.read();
            (link.connection.clone(), link.generation)
        };
        let Some(mut connection) = connection else {
            self.try_again_after(RETRY_EVERY);
            return None;
        };
        match ask(&mut connection, call, answer_max).await {
            Ok(answer) => Some(answer),
            Err(failure) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                self.lose(generation, &failure);
                None
            }
        }
    }

    fn lose(self: &Arc<Self>, generation: u64, failure: &Failure) {
        {
            let mut link = self.link.write();
            if link.generation != generation || link.connection.take().is_none() {
                return;
            }
            self.is_there.send_replace(false);
        }
        self.tell_away(failure);
        self.try_again_after(RETRY_EVERY);
    }

    /// Told once, however long it lasts: the counters show the rest.
    fn tell_away(&self, failure: &Failure) {
        if self.is_told.swap(true, Ordering::Relaxed) {
            debug!(error = %failure, "Redis is still away: {failure}");
        } else {
            warn!(error = %failure, "Redis is away; each server limits by itself until it is back: {failure}");
        }
    }

    /// Leaves it to a task that ends when Redis is there, unless there is one.
    fn try_again_after(self: &Arc<Self>, pause: Duration) {
        if self.is_trying.swap(true, Ordering::AcqRel) {
            return;
        }
        // Dropped unused, it takes the flag back: the next call tries again.
        let trial = Trial(Arc::downgrade(self));
        if self.home.get().is_none()
            && let Ok(here) = Handle::try_current()
        {
            self.home.get_or_init(|| here);
        }
        if let Some(home) = self.home.get() {
            drop(home.spawn(trial.run(pause)));
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        // Each question has its own limit, here and in `call`.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        // Only a server that can write is of use: neither a replica nor one whose memory is full.
        let mut probe = self.scripts.mark.key("layby:probe");
        probe.arg(PROBE_MILLIS);
        ask(&mut connection, &probe, 0).await?;
        Ok(connection)
    }

    fn connected(&self, connection: MultiplexedConnection) {
        {
            let mut link = self.link.write();
            link.connection = Some(connection);
            link.generation += 1;
            self.is_there.send_replace(true);
        }
        if self.is_told.swap(false, Ordering::Relaxed) {
            info!("Redis is back; the servers share their limits again");
        }
    }
}

const PROBE_MILLIS: u64 = 1_000;

async fn ask(
    connection: &mut MultiplexedConnection,
    call: &ScriptInvocation<'_>,
    answer_max: u64,
) -> Result<u64, Failure> {
    let answer: i64 = timeout(ANSWER_WITHIN, call.invoke_async(connection))
        .await
        .map_err(|_elapsed| Failure::Slow(ANSWER_WITHIN))??;
    u64::try_from(answer)
        .ok()
        .filter(|it| *it <= answer_max)
        .ok_or(Failure::Nonsense(answer))
}

/// Tries to reach Redis until it is there, or until nobody needs it any more.
struct Trial(Weak<Remote>);

impl Trial {
    async fn run(self, mut pause: Duration) {
        loop {
            sleep(pause).await;
            let Some(remote) = self.0.upgrade() else {
                return;
            };
            let tried = timeout(CONNECT_WITHIN, remote.connect()).await;
            match tried.unwrap_or(Err(Failure::Slow(CONNECT_WITHIN))) {
                Ok(connection) => {
                    // First, so that whoever loses this connection at once finds that a new trial may begin.
                    drop(self);
                    return remote.connected(connection);
                }
                Err(failure) => remote.tell_away(&failure),
            }
            pause = RETRY_EVERY;
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(remote) = self.0.upgrade() {
            remote.is_trying.store(false, Ordering::Release);
        }
    }
}

fn bucket_key(rule: &Rule, key: [u8; 16]) -> String {
    format!(
        "layby:limit:{}:{:032x}",
        rule.name,
        u128::from_be_bytes(key)
    )
}

fn mark_key(set: &str, key: [u8; 16]) -> String {
    format!("layby:mark:{set}:{:032x}", u128::from_be_bytes(key))
}

struct Scripts {
    take: Script,
    give_back: Script,
    forget: Script,
    mark: Script,
    is_marked: Script,
}

impl Scripts {
    fn new() -> Self {
        let bucket = |verb: &str| Script::new(&format!("{BUCKET}{verb}"));
        Self {
            take: bucket(TAKE),
            give_back: bucket(GIVE_BACK),
            forget: Script::new(FORGET),
            mark: Script::new(MARK),
            is_marked: Script::new(IS_MARKED),
        }
    }
}

/// Reads a bucket: `full_at` is when it is full, between now and the time an empty one needs. What is no number, or of
/// another type, is a full bucket; `math.max` makes one of `nan`, too. Microseconds are exact in doubles until the year
/// 2255, but only `%.0f` prints them so.
const BUCKET: &str = "
local bucket, refill = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local found = redis.pcall('GET', KEYS[1])
local full_at = type(found) == 'string' and tonumber(found) or now
full_at = math.max(now, math.min(full_at, now + bucket))
local function keep(moment)
  local left = string.format('%.0f', math.ceil((moment - now) / 1000))
  redis.call('SET', KEYS[1], string.format('%.0f', moment), 'PX', left)
end
";

/// Gives how long to wait; zero is a pass.
const TAKE: &str = "
local wait = full_at + refill - now - bucket
if wait > 0 then return wait end
keep(full_at + refill)
return 0
";

const GIVE_BACK: &str = "
if full_at - refill > now then keep(full_at - refill) else redis.call('DEL', KEYS[1]) end
return 0
";

const FORGET: &str = "
redis.call('DEL', KEYS[1])
return 0
";

const MARK: &str = "
if tonumber(ARGV[1]) > 0 then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
else
  redis.call('DEL', KEYS[1])
end
return 0
";

const IS_MARKED: &str = "
return redis.pcall('GET', KEYS[1]) == '1' and 1 or 0
";
