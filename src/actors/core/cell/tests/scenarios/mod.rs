//! The rules by example.

mod cancelling;
mod holds;
mod paying;
mod returns;
mod sale;
