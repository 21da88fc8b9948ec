//! What has happened. One event is one record of the journal; replay folds them, the projection copies them to SQL.

use super::{
    AddressId, AttemptId, BuyerId, Details, Fingerprint, KeyHash, Line, OrderId, Posting,
    ProductId, RequestId, RestockTo, Timestamp, Window, WindowAct,
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// An admin changed a product; the audit record is part of the event.
    ProductChanged {
        product: ProductId,
        at: Timestamp,
        mark: AdminMark,
        change: ProductChange,
        postings: Vec<Posting>,
    },
    OrderPlaced(OrderPlaced),
    OrderChanged {
        order: OrderId,
        at: Timestamp,
        change: OrderChange,
        postings: Vec<Posting>,
    },
}

/// Who made an admin change, and by which request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdminMark {
    pub admin: BuyerId,
    pub request: RequestId,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProductChange {
    Registered {
        details: Details,
        restock_to: RestockTo,
    },
    Edited {
        before: Details,
        after: Details,
    },
    Deleted,
    /// The units that are to be in the sale, and how many of the surplus must wait until they come free.
    StockSet {
        before: u64,
        after: u64,
        withdrawal_pending: u64,
    },
    WindowSet {
        act: WindowAct,
        before: Option<Window>,
        after: Window,
    },
}

/// Order, idempotency key, body fingerprint and units in one record: a crash before it leaves nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderPlaced {
    pub order: OrderId,
    pub buyer: BuyerId,
    pub key: KeyHash,
    pub fingerprint: Fingerprint,
    pub address: Option<AddressId>,
    pub at: Timestamp,
    pub deadline: Timestamp,
    pub lines: Vec<Line>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OrderChange {
    Cancelled,
    CancelRequested,
    Expired,
    PaymentStarted {
        attempt: AttemptId,
        key: KeyHash,
        fingerprint: Fingerprint,
        method: Box<str>,
        deadline: Timestamp,
    },
    /// The provider gave no clear answer in time; it is asked again until it does.
    PaymentDeferred {
        attempt: AttemptId,
    },
    PaymentDeclined {
        attempt: AttemptId,
    },
    PaymentCaptured {
        attempt: AttemptId,
    },
    /// A success after the hold had ended, with units free to honour it.
    PaymentReclaimed {
        attempt: AttemptId,
    },
    /// A success after the hold had ended and the units were gone: the money goes back.
    PaymentUnfulfilled {
        attempt: AttemptId,
    },
    /// A success for an order that the buyer had asked to cancel, or that another attempt had paid.
    PaymentReturned {
        attempt: AttemptId,
    },
    /// A paid order was cancelled before it was shipped: units free at once, money on its way.
    RefundStarted {
        attempt: AttemptId,
    },
    Refunded {
        attempt: AttemptId,
    },
    Shipped {
        carrier: Box<str>,
        tracking_number: Box<str>,
    },
    Delivered {
        return_until: Timestamp,
    },
    Completed,
    ReturnRequested {
        reason: Box<str>,
    },
    ReturnAccepted {
        attempt: AttemptId,
        restock_at: Timestamp,
    },
    Restocked,
}

impl Event {
    pub fn at(&self) -> Timestamp {
        match self {
            Self::ProductChanged { at, .. } | Self::OrderChanged { at, .. } => *at,
            Self::OrderPlaced(placed) => placed.at,
        }
    }

    /// The order that it is about, if it is about one.
    pub fn order(&self) -> Option<OrderId> {
        match self {
            Self::ProductChanged { .. } => None,
            Self::OrderPlaced(placed) => Some(placed.order),
            Self::OrderChanged { order, .. } => Some(*order),
        }
    }

    /// Shows every movement of units that the event stands for, in order.
    pub fn for_each_posting(&self, mut show: impl FnMut(&Posting)) {
        match self {
            Self::ProductChanged { postings, .. } | Self::OrderChanged { postings, .. } => {
                postings.iter().for_each(show);
            }
            Self::OrderPlaced(placed) => placed
                .lines
                .iter()
                .for_each(|line| show(&OrderPlaced::posting(line))),
        }
    }
}

impl OrderPlaced {
    pub fn posting(line: &Line) -> Posting {
        Posting {
            product: line.product,
            from: super::Bucket::Available,
            to: super::Bucket::Held,
            units: u64::from(line.quantity.get()),
        }
    }
}
