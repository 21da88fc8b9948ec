//! Letters to people: what they say, and how they leave.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `amount.rs`, `moment.rs` | sums of money and points in time as people read them |
//! | `letter.rs` | the kinds of letters, and the [`Envelope`] that waits sealed in the outbox |
//! | `language.rs` | which languages we write in |
//! | `texts.rs` | what each letter says in each of them |
//! | `message.rs` | a letter as a mail: headers, plain text and HTML |
//! | `carrier/` | takes letters from the outbox, one try after the other, until they are gone |
//! | `schedule.rs` | when to try again, and when to give up |
//!
//! A letter is put into the outbox in the transaction of what it tells about, so neither is there without the other. The
//! carrier brings it out later: no request waits for a mail server.
//!
//! **Invariant:** who a letter is for and what it says is in the clear in memory only; logs name ids.
//!
//! Deliberately absent: keys. The carrier is given a function that opens what the outbox holds.

mod amount;
mod carrier;
mod language;
mod letter;
mod message;
mod moment;
mod schedule;
mod texts;

pub use amount::Amount;
pub use carrier::{Carrier, CarrierHandle, CarrierOptions, CarrierParts, Counters, Opener};
pub use language::Language;
pub use letter::{Envelope, Letter, OrderLine, OrderSummary, RefundReason};
pub use message::{BadEnvelope, message};
pub use schedule::Schedule;
