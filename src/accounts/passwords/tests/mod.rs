//! Passwords as people type them, and the pool under every bound it has.

mod choosing;
mod hashing;
mod pooling;

use super::hasher::HashOptions;
use super::{Password, PasswordPool, PoolOptions};

const SMALL: PoolOptions = PoolOptions {
    threads: 1,
    queue_max: 4,
    hash: HashOptions::TINY,
};

fn pool() -> PasswordPool {
    PasswordPool::start(SMALL).expect("a pool")
}

fn password(text: &str) -> Password {
    Password::for_sign_in(text).expect("short enough")
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(test)
}
