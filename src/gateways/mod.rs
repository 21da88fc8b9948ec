//! The world outside: payment providers and mail servers.

pub mod mail;
pub mod payment;
