//! Layby: a reservation engine for flash sales.

pub mod persistence;
