//! What outlives the process: the journal, the encoding of events, the SQL database, and what follows the journal: the
//! projection carries it over to SQL.
//!
//! The journal is the truth. The rows in SQL follow it, are guarded by the position they stand for, and can be thrown
//! away and made again.
//!
//! **Invariant:** no other room names `sqlx`.

mod acts;
pub mod codec;
pub mod database;
pub mod following;
pub mod journal;
pub mod journey;
pub mod limits;
pub mod projection;

#[cfg(test)]
mod tests;
