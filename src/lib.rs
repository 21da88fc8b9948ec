//! Layby: a reservation engine for flash sales.

pub mod actors;
pub mod clock;
pub mod domain;
pub mod gateways;
pub mod persistence;
