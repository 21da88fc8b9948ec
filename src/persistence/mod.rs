//! What is kept: the journal, and how events are written into it.

pub mod codec;
pub mod journal;
