//! What drives the core: a thread with its inbox, the batches, the timers, and the ways back to whoever asked.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `handle` | the handle that everybody else speaks to |
//! | `answer` | the type of the answer to each command |
//! | `actor` | the engine's thread, an actix actor: takes turns of the core, keeps its timers |
//! | `outlet` | where what a turn promised goes |
//! | `inbox` | what the engine's thread and its clients share |
//! | `board` | what is durable about each product, readable from every thread |
//! | `filter` | what the board has heard of, in a fixed number of bits |
//! | `lane` | the way back: answers in batches, one wake-up a worker |
//! | `watch` | who is told of the orders of which buyer |
//! | `startup` | the state as SQL has it, the journal after it, then the threads |

mod actor;
mod answer;
mod board;
mod filter;
mod handle;
pub(crate) mod inbox;
mod lane;
mod outlet;
mod startup;
mod watch;

pub use actor::Recall;
pub use board::{Board, Listing, Lookout};
pub use handle::{Engine, EngineLink};
pub use inbox::Counters;
pub use startup::{
    EngineOptions, EngineParts, Reload, RunningEngine, StartError, replay_state, start,
};
pub use watch::{Notice, Watch};
