//! Refusals: normal business, each named after its cause, with the numbers that help.

use super::{Availability, Money, OrderId, ProductId, Span, Timestamp};

/// Why a command was not carried out. Nothing changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rejection {
    NoSuchProduct(ProductId),
    NoSuchOrder,
    NotOpen {
        product: ProductId,
        opens_at: Option<Timestamp>,
        /// When this was decided: a countdown to `opens_at` begins there.
        now: Timestamp,
    },
    Paused(ProductId),
    Closed(ProductId),
    /// At least one line is short; every short product is named.
    Short(Vec<Shortage>),
    LimitReached {
        product: ProductId,
        limit: u32,
        in_hand: u64,
        /// An order of the same buyer that still holds units of the product, to be resumed.
        live_order: Option<OrderId>,
    },
    CurrencyMismatch,
    /// A person has that many live holds already.
    TooManyOpenOrders {
        orders_max: usize,
        /// Until the first of them ends by itself.
        retry_after: Span,
    },
    /// A person has let that many holds end unpaid within the last hour.
    TooManyEndedHolds {
        holds_max: usize,
        retry_after: Span,
    },
    /// Nobody needs to wait for what can be had.
    StillAvailable {
        product: ProductId,
        available: u64,
    },
    /// On the list already, for another number of units.
    AlreadyWaiting {
        product: ProductId,
        quantity: u32,
    },
    WaitlistFull {
        product: ProductId,
        waiters_max: usize,
    },
    TooManyWaitlists {
        waitlists_max: usize,
    },
    KeyReused,
    HoldExpired {
        deadline: Timestamp,
    },
    OrderCancelled,
    AlreadyPaid,
    PaymentInProgress,
    TooManyAttempts {
        attempts_max: usize,
    },
    /// A provider speaks of another sum than the order's: nothing is settled by that.
    PaymentMismatch {
        told: Money,
        total: Money,
    },
    TooLateToCancel,
    NotPaid,
    /// It is on its way by another carrier or under another number than the one said now.
    AlreadyShipped {
        carrier: Box<str>,
        tracking_number: Box<str>,
    },
    NotShipped,
    NotDelivered,
    ReturnNotRequested,
    ReturnWindowClosed,
    /// The new total is below what buyers already own.
    BelowSold {
        total: u64,
        sold: u64,
    },
    /// A product with units that somebody holds, is offered, has bought or sends back cannot be deleted.
    HasCommittedUnits {
        held: u64,
        offered: u64,
        sold: u64,
        returning: u64,
    },
    StockTooLarge {
        total_max: u64,
    },
}

/// A product that an order asks more of than there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortage {
    pub product: ProductId,
    pub requested: u32,
    pub available: u64,
    pub availability: Availability,
    /// Live holds that may give units back.
    pub holds: u64,
    /// When the first of them ends.
    pub earliest_deadline: Option<Timestamp>,
}
