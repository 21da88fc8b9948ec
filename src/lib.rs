//! Layby: a reservation engine for flash sales.

pub mod actors;
pub mod cli;
pub mod clock;
pub mod config;
mod demo;
pub mod domain;
pub mod gateways;
pub mod http;
pub mod persistence;
pub mod secrets;
pub mod startup;
pub mod telemetry;
