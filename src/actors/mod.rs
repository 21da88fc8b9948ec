//! The actors: who decides, in which order, and when the world is told.
//!
//! | room | what lives there |
//! | --- | --- |
//! | `core` | the state machine: products, orders, the road of a command through their actors, replay |
//! | `engine` | what drives it: the thread, the inbox, the board, the way back of answers, the start |
//! | `payment` | the actor that talks to the payment provider, away from the engine's thread |
//!
//! **Invariant:** every change goes through `Cell::apply`, live and in replay.

mod core;
mod engine;
mod payment;

pub use self::core::breaker::BreakerOptions;
pub use self::core::cell::PersonLimits;
pub use self::core::machine::EngineFailure;
pub use self::core::message;
pub use self::core::recall::{Stored, Wanted};
pub use self::core::replay::{LiveState, ReplayBase, ReplayError};
pub use engine::{
    Board, Counters, Engine, EngineLink, EngineOptions, EngineParts, Listing, Lookout, Notice,
    Recall, Reload, RunningEngine, StartError, Watch, replay_state, start,
};
pub use payment::{PaymentCounters, PaymentTimes};
