//! The world outside: payment providers, and later mail.

pub mod payment;
