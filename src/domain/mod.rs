//! The rules of Layby, as pure functions.
//!
//! `decide` looks at a state and a command and gives an event or a refusal; `apply` folds an event into the state
//! and cannot fail, because it has happened. Replay uses `apply` alone, so a restart cannot disagree with the past.
//!
//! Deliberately absent: clocks (`now` comes in), randomness (ids come in), I/O, actors, HTTP and SQL.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing
)]

mod deadlines;
mod event;
mod hash_buckets;
mod ids;
mod lines;
mod money;
mod order;
mod payment;
mod product;
mod rejection;
mod stock;
#[cfg(test)]
mod tests;
mod time;
mod waitlist;
mod window;

pub use deadlines::Deadlines;
pub use event::{AdminMark, Event, OfferTaken, OrderChange, OrderPlaced, ProductChange};
pub use hash_buckets::HashBuckets;
pub use ids::{
    AddressId, AttemptId, BuyerId, Fingerprint, IdHasher, IdMap, KeyHash, OrderId, ProductId,
    RequestId, hash_of,
};
pub use lines::Lines;
pub use money::{Currency, Line, Money, Quantity};
pub use order::{Aftermath, Order, OrderState, ReclaimCheck, Release};
pub use payment::{Attempt, AttemptState, PaymentAnswer, PaymentOutcome, RefundState};
pub use product::{Details, Grant, InHand, Product, RestockTo, Snapshot};
pub use rejection::{Rejection, Shortage};
pub use stock::{Availability, Bucket, Handover, Posting, Stock};
pub use time::{Span, Timestamp};
pub use waitlist::{Offer, Waiter, Waitlist, WaitlistChange};
pub use window::{Phase, Window, WindowAct};
