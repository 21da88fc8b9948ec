//! The projection: carries the journal over to SQL, in order, each record once, at its own pace.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `fold.rs` | what a batch of events makes of the rows it touches; pure |
//! | `folded.rs` | a row before the batch and after it; pure |
//! | `projector.rs` | one batch, one transaction |
//! | `runner.rs` | which pace it follows at, and what to do after a failure |

mod fold;
mod folded;
mod projector;
mod runner;

pub use fold::Disagreement;
pub use projector::ProjectError;
#[cfg(test)]
pub(crate) use projector::Projector;
pub use runner::{PACE, Projection, ResumeProjectionError, StopReason};
