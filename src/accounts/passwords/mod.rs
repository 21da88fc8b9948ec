//! Passwords: what may be one, and hashing them with argon2id away from the sale.
//!
//! **Invariant:** a password is in the clear in a [`Password`] only, which wipes its memory and prints nothing. What is
//! stored is a PHC string.

mod hasher;
mod policy;
mod pool;

#[cfg(test)]
mod tests;

pub(crate) use policy::Password;
pub(crate) use pool::{PasswordPool, PoolOptions, Verified, VerifyError};
