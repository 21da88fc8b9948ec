//! Following the journal: what everybody does alike who makes something of its records, at their own pace.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `runner.rs` | the thread, the pauses, the retries, the end |
//! | `bookmark.rs` | where a follower stands, and whether that is a place in this journal |
//! | `batch.rs` | records on their way, decoded |
//! | `progress.rs` | how far a follower is, for others |
//!
//! What is made of a batch of records is said by an implementation of [`Follow`]: rows in SQL by the projection, letters
//! by the notices.

mod batch;
mod bookmark;
mod progress;
mod runner;

pub(crate) use batch::Batch;
pub use batch::Unreadable;
pub use bookmark::{Bookmark, Mismatch, ResumeError, ResumePoint};
pub use progress::{Counters, Ended, Progress};
pub(crate) use runner::{Follow, FollowError, Follower};
pub use runner::{Options, StopReason};
