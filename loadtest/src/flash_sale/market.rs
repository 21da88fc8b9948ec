//! What all buyers of one sale share: the product, the connections, the clock, the bell and the record of events.

use std::cell::{Cell, RefCell};

use jiff::Timestamp;
use uuid::Uuid;

use super::history::History;
use crate::api::ClockOffset;
use crate::cli::FlashSale;
use crate::clock::Clock;
use crate::http::{KeySource, Pool};

#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) options: FlashSale,
    pub(crate) product: Uuid,
    pub(crate) pool: Pool,
    pub(crate) clock: Clock,
    pub(crate) offset: ClockOffset,
    pub(crate) history: History,
    pub(crate) keys: RefCell<KeySource>,
    /// Nobody goes on trying after this moment.
    pub(crate) closes_us: Cell<u64>,
    /// No hold may be given before this moment, when the window opens by its schedule.
    pub(crate) opens_us: Option<u64>,
}

impl Market {
    pub(crate) fn new_key(&self) -> Uuid {
        self.keys.borrow_mut().next()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.clock.now_us() >= self.closes_us.get()
    }

    /// A moment of the server's clock, on ours.
    pub(crate) fn run_us_of_server(&self, at: Timestamp) -> i64 {
        self.clock.run_us_of(at) - self.offset.ahead_us
    }
}
