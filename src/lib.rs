//! Layby: a reservation engine for flash sales.

pub mod domain;
pub mod persistence;
