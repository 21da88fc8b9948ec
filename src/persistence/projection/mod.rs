//! The projection: carries the journal over to SQL, in order, each record once, at its own pace.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `fold.rs` | what a batch of events makes of the rows it touches; pure |
//! | `waitlists.rs` | what it makes of those who wait; pure |
//! | `projector.rs` | one batch, one transaction |
//! | `runner.rs` | the thread, the retries, the end |
//! | `progress.rs` | how far it is, for others |

mod fold;
mod progress;
mod projector;
mod runner;
mod waitlists;

pub use fold::Disagreement;
pub use progress::{Counters, Ended, Progress};
pub use projector::{ProjectError, Projector};
pub use runner::{Options, Projection, StopReason};
