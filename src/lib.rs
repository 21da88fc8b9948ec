//! Layby: a reservation engine for flash sales.
//!
//! `ARCHITECTURE.md` is the map; start there.
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "tests count small things"
    )
)]

pub mod accounts;
pub mod actors;
pub mod calendar;
pub mod cli;
pub mod clock;
pub mod config;
mod demo;
mod demo_clock;
pub mod domain;
pub mod gateways;
pub mod http;
pub mod mail;
pub mod notices;
mod panics;
pub mod persistence;
pub mod secrets;
pub mod startup;
pub mod telemetry;
