//! Mail: letters, what they say in each language, and the carrier that takes them out of the outbox.
//!
//! A letter is put into the outbox in the transaction of what it tells of. **Invariant:** no answer waits for a mail server.

mod carrier;
mod letter;
mod render;

pub use carrier::{Carrier, CarrierCounters, CarrierHandle, CarrierParts, Open};
pub use letter::{Envelope, Language, Letter};
pub use render::{RenderError, render};
