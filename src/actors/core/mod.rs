//! The core: commands go in; events, answers and effects come out; replay brings it back.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `machine` | one turn after the other: take, decide, apply, append, let out |
//! | `message` | what the core is told, and what it answers |
//! | `cell` | the products and orders of one engine, and the road of a command through their actors |
//! | `product`, `orders` | the actors of one product, and of one slice of the buyers |
//! | `turn` | what a batch of commands decided, kept back until the journal has it |
//! | `recall` | what has left memory and is asked for again |
//! | `replay` | the journal folded into a cell that was read from SQL |
//! | `crash` | what a panic in an actor's work leaves behind |
//! | `breaker` | shuts buyers out while the payment provider is away |
//!
//! Deliberately absent: threads, actix, tokio, and any clock: `now` comes in.

pub(crate) mod breaker;
pub(crate) mod cell;
mod crash;
pub(crate) mod machine;
pub mod message;
mod orders;
mod product;
pub(crate) mod recall;
pub(crate) mod replay;
pub(crate) mod turn;

#[cfg(test)]
mod tests;
