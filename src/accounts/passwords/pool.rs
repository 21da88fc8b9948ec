//! Argon2id on threads of the lowest priority: 19 MiB and tens of milliseconds a password, which purchases must not feel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::Password;

/// The kernel runs these threads when nobody else wants the core.
const NICENESS: i32 = 19;

#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    pub threads: usize,
    /// Passwords that may wait; the next is told [`Busy`].
    pub waiting_max: usize,
    pub cost: Cost,
}

/// What a hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

/// More are waiting than the queue takes, or the pool is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub struct Busy;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Busy(#[from] Busy),
    /// What is kept is no hash.
    #[error("a kept hash of a password cannot be read")]
    Damaged,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    No,
    Yes {
        /// The password at today's cost, if what is kept is cheaper.
        rehash: Option<String>,
    },
}

/// Hashes and verifies; cheap to clone. The threads end with the last handle.
#[derive(Clone)]
pub struct PasswordPool {
    queue: mpsc::Sender<Job>,
    cost: Cost,
    /// Verified in place of the hash of an account that there is not.
    dummy: Arc<str>,
    panics: Arc<AtomicU64>,
}

enum Job {
    Hash {
        password: Password,
        reply: oneshot::Sender<String>,
    },
    Verify {
        password: Password,
        kept: Arc<str>,
        reply: oneshot::Sender<Result<Verified, VerifyError>>,
    },
}

impl Job {
    /// Has whoever asked stopped waiting?
    fn is_forgotten(&self) -> bool {
        match self {
            Self::Hash { reply, .. } => reply.is_closed(),
            Self::Verify { reply, .. } => reply.is_closed(),
        }
    }
}

impl Default for PoolOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads: (cores / 2).max(1),
            waiting_max: 256,
            cost: Cost::OWASP,
        }
    }
}

impl Cost {
    /// The least that OWASP's cheat sheet on password storage asks for.
    pub const OWASP: Self = Self {
        memory_kib: 19_456,
        passes: 2,
        lanes: 1,
    };

    fn argon2(self) -> anyhow::Result<Argon2<'static>> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, None)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }

    /// Is a hash of these parameters cheaper to guess against?
    fn exceeds(self, params: &Params) -> bool {
        params.m_cost() < self.memory_kib || params.t_cost() < self.passes
    }
}

impl std::fmt::Debug for PasswordPool {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("PasswordPool")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

impl PasswordPool {
    pub fn start(options: PoolOptions) -> anyhow::Result<Self> {
        let argon2 = options.cost.argon2()?;
        let secret = format!("{:032x}", rand::random::<u128>());
        let dummy = argon2
            .hash_password(secret.as_bytes())
            .map_err(|error| anyhow::anyhow!("passwords cannot be hashed: {error}"))?;
        let (queue, jobs) = mpsc::channel(options.waiting_max);
        let pool = Self {
            queue,
            cost: options.cost,
            dummy: dummy.to_string().into(),
            panics: Arc::default(),
        };
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..options.threads {
            let worker = Worker {
                argon2: options.cost.argon2()?,
                cost: options.cost,
                jobs: Arc::clone(&jobs),
                panics: Arc::clone(&pool.panics),
            };
            std::thread::Builder::new()
                .name(format!("passwords-{number}"))
                .spawn(move || worker.run())?;
        }
        Ok(pool)
    }

    /// The password as a PHC string.
    pub async fn hash(&self, password: Password) -> Result<String, Busy> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Hash { password, reply })?;
        answer.await.map_err(|_gone| Busy)
    }

    /// Without a kept hash, because there is no such account, it takes as long and is never right.
    pub async fn verify(
        &self,
        password: Password,
        kept: Option<String>,
    ) -> Result<Verified, VerifyError> {
        let is_known = kept.is_some();
        let kept = kept.map_or_else(|| Arc::clone(&self.dummy), Arc::from);
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Verify {
            password,
            kept,
            reply,
        })?;
        let verified = answer.await.map_err(|_gone| Busy)??;
        Ok(if is_known { verified } else { Verified::No })
    }

    fn enqueue(&self, job: Job) -> Result<(), Busy> {
        self.queue.try_send(job).map_err(|_full| Busy)
    }
}

struct Worker {
    argon2: Argon2<'static>,
    cost: Cost,
    jobs: Arc<Mutex<mpsc::Receiver<Job>>>,
    panics: Arc<AtomicU64>,
}

impl Worker {
    /// Until the last handle is gone.
    fn run(self) {
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::warn!(%error, "passwords are checked at the priority of everything else");
        }
        loop {
            // Whoever holds the lock waits for the next job; the others wait for the lock.
            let job = self.jobs.lock().blocking_recv();
            let Some(job) = job else { return };
            let done =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.carry_out(job)));
            if done.is_err() {
                self.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    "checking a password crashed; whoever waits for it is told to try again"
                );
            }
        }
    }

    fn carry_out(&self, job: Job) {
        // Who has gone is not worked for: a storm of impatient clients would never end.
        if job.is_forgotten() {
            return;
        }
        match job {
            Job::Hash { password, reply } => {
                if let Some(hash) = self.hash(&password) {
                    drop(reply.send(hash));
                }
            }
            Job::Verify {
                password,
                kept,
                reply,
            } => drop(reply.send(self.verify(&password, &kept))),
        }
    }

    fn hash(&self, password: &Password) -> Option<String> {
        match self.argon2.hash_password(password.as_bytes()) {
            Ok(hash) => Some(hash.to_string()),
            Err(error) => {
                tracing::error!(%error, "a password could not be hashed");
                None
            }
        }
    }

    /// At the cost that the kept hash names.
    fn verify(&self, password: &Password, kept: &str) -> Result<Verified, VerifyError> {
        let hash = PasswordHash::new(kept).map_err(|_malformed| VerifyError::Damaged)?;
        let params = Params::try_from(&hash).map_err(|_malformed| VerifyError::Damaged)?;
        let right = self.argon2.verify_password(password.as_bytes(), &hash);
        if right.is_err() {
            return Ok(Verified::No);
        }
        let rehash = if self.cost.exceeds(&params) {
            self.hash(password)
        } else {
            None
        };
        Ok(Verified::Yes { rehash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    fn options(cost: Cost) -> PoolOptions {
        PoolOptions {
            threads: 1,
            waiting_max: 4,
            cost,
        }
    }

    fn password(text: &str) -> Password {
        Password::for_sign_in(text).expect("acceptable")
    }

    #[tokio::test]
    async fn the_right_password_is_right_and_no_other() {
        let pool = PasswordPool::start(options(CHEAP)).expect("a pool");
        let kept = pool
            .hash(password("caf\u{e9} society"))
            .await
            .expect("hashed");
        assert!(kept.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{kept}");
        let verify = |text: &str| pool.verify(password(text), Some(kept.clone()));
        let yes = Verified::Yes { rehash: None };
        assert_eq!(verify("cafe\u{301} society").await, Ok(yes));
        assert_eq!(verify("cafe society").await, Ok(Verified::No));
    }

    #[tokio::test]
    async fn a_long_password_counts_to_its_end() {
        let pool = PasswordPool::start(options(CHEAP)).expect("a pool");
        let long = "x".repeat(73);
        let kept = pool.hash(password(&long)).await.expect("hashed");
        let other = format!("{}y", "x".repeat(72));
        let verified = pool.verify(password(&other), Some(kept)).await;
        assert_eq!(verified, Ok(Verified::No));
    }

    #[tokio::test]
    async fn nobody_is_never_right() {
        let pool = PasswordPool::start(options(CHEAP)).expect("a pool");
        let verified = pool.verify(password("anything"), None).await;
        assert_eq!(verified, Ok(Verified::No));
    }

    #[tokio::test]
    async fn the_dummy_costs_what_passwords_cost() {
        let pool = PasswordPool::start(options(CHEAP)).expect("a pool");
        assert!(pool.dummy.starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
    }

    #[tokio::test]
    async fn a_hash_from_cheaper_days_is_made_anew() {
        let cheap = PasswordPool::start(options(CHEAP)).expect("a pool");
        let kept = cheap
            .hash(password("caf\u{e9} society"))
            .await
            .expect("hashed");
        let dearer = Cost {
            memory_kib: 128,
            ..CHEAP
        };
        let pool = PasswordPool::start(options(dearer)).expect("a pool");
        let verified = pool.verify(password("caf\u{e9} society"), Some(kept)).await;
        let Ok(Verified::Yes { rehash: Some(new) }) = verified else {
            panic!("{verified:?}");
        };
        assert!(new.starts_with("$argon2id$v=19$m=128,"), "{new}");
        let again = pool.verify(password("caf\u{e9} society"), Some(new)).await;
        assert_eq!(again, Ok(Verified::Yes { rehash: None }));
    }

    #[tokio::test]
    async fn what_is_no_hash_is_damage() {
        let pool = PasswordPool::start(options(CHEAP)).expect("a pool");
        let verified = pool
            .verify(password("anything"), Some("plain text".into()))
            .await;
        assert_eq!(verified, Err(VerifyError::Damaged));
    }

    #[tokio::test]
    async fn a_full_queue_says_so() {
        let (queue, jobs) = mpsc::channel(1);
        let pool = PasswordPool {
            queue,
            cost: CHEAP,
            dummy: "".into(),
            panics: Arc::default(),
        };
        let (reply, _answer) = oneshot::channel();
        let waiting = Job::Hash {
            password: password("anything"),
            reply,
        };
        pool.enqueue(waiting).expect("room for one");
        assert_eq!(pool.hash(password("anything")).await, Err(Busy));
        drop(jobs);
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let (reply, answer) = oneshot::channel();
        let job = Job::Verify {
            password: password("anything"),
            kept: "a hash".into(),
            reply,
        };
        assert!(!job.is_forgotten());
        drop(answer);
        assert!(job.is_forgotten());
    }
}
