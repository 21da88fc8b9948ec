//! What is kept: the journal.

pub mod journal;
