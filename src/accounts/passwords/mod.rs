//! Passwords: what is acceptable as one, and the hashing of them, which must never slow a sale.

mod policy;
mod pool;

pub use policy::{Password, Weak};
pub use pool::{Busy, PasswordPool, PoolOptions, Verified, VerifyError};
