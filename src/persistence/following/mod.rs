//! Following the journal: what everybody does alike who makes something of its records, at their own pace.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `runner.rs` | the thread, the pauses, the retries, the end |
//! | `progress.rs` | how far a follower is, for others |
//!
//! What is made of a batch of records is said by an implementation of [`Follow`]: rows in SQL by the projection, letters
//! by the notices.

mod progress;
mod runner;

pub use progress::{Counters, Ended, Progress};
pub(crate) use runner::{Batch, Follow, FollowError, Follower};
pub use runner::{Options, StopReason};
