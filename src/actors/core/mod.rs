//! The core: commands go in; events, answers and effects come out; replay brings it back.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `message` | what the core is told, and what it answers |
//! | `cell` | the products and orders of one engine, and the road of a command through their actors |
//! | `product`, `order` | the actors of one product, and of one slice of the buyers |
//! | `turn` | what a batch of commands decided, kept back until the journal has it |
//! | `breaker` | shuts buyers out while the payment provider is away |
//!
//! Deliberately absent: threads, actix, tokio, and any clock: `now` comes in.

pub(crate) mod breaker;
pub(crate) mod cell;
pub mod message;
pub(crate) mod order;
pub(crate) mod product;
pub(crate) mod turn;
