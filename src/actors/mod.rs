//! The actors: who decides, in which order, and when the world is told.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `engine` | the handle that everybody else speaks to |
//! | `host` | the engine's thread, an actix actor: takes turns, owns the journal, releases what is durable |
//! | `inbox` | what the engine's thread and its clients share |
//! | `cell` | the products and orders of one engine, and the road of a command through their actors |
//! | `product`, `order` | the actors of one product, and of one slice of the buyers |
//! | `payment` | the actor that talks to the payment provider, away from the engine's thread |
//! | `breaker` | shuts buyers out while the payment provider gives no clear answers |
//! | `board` | what is durable about each product, readable from every thread |
//! | `lane` | the way back: answers in batches, one wake-up a worker |
//! | `watch` | who is told of the orders of which buyer |
//!
//! **Invariant:** every change goes through `Cell::apply`, live and in replay.

mod board;
mod breaker;
mod cell;
mod engine;
mod host;
mod inbox;
mod lane;
pub mod message;
mod order;
mod payment;
mod product;
mod startup;
mod turn;
mod watch;

pub use board::{Board, Listing, Lookout};
pub use breaker::BreakerOptions;
pub use engine::{Engine, EngineLink};
pub use host::EngineFailure;
pub use inbox::Counters;
pub use payment::PaymentTimes;
pub use startup::{
    EngineOptions, EngineParts, LiveState, Reload, RunningEngine, StartError, replay_state, start,
};
pub use watch::{Notice, Watch};
