//! What has happened. One event is one record of the journal; replay folds them, the projection copies them to SQL.

use super::{
    AddressId, AttemptId, Bucket, BuyerId, Details, Fingerprint, Handover, KeyHash, Line, OrderId,
    Posting, ProductId, Quantity, RequestId, RestockTo, Timestamp, WaitlistChange, Window,
    WindowAct,
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
        /// Who of the shop did it; absent for what buyers, the provider and time do.
        mark: Option<AdminMark>,
        change: OrderChange,
        postings: Vec<Posting>,
    },
    /// Somebody joined or left the waitlist of a product, or was offered units of it.
    WaitlistChanged {
        product: ProductId,
        at: Timestamp,
        change: WaitlistChange,
        /// Where the units of an offer go that was given up or has lapsed.
        postings: Vec<Posting>,
    },
}

/// Who of the shop did something, and by which request.
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
    /// Units that were offered to the buyer from the waitlist, a product at most once.
    pub offers: Vec<OfferTaken>,
}

/// Units of a line that the buyer had been offered; the others of the line were free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OfferTaken {
    pub product: ProductId,
    pub units: Quantity,
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
    /// The attempt was not settled as soon as its buyer should hear of it.
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
            Self::ProductChanged { at, .. }
            | Self::OrderChanged { at, .. }
            | Self::WaitlistChanged { at, .. } => *at,
            Self::OrderPlaced(placed) => placed.at,
        }
    }

    /// The order that it is about, if it is about one.
    pub fn order(&self) -> Option<OrderId> {
        match self {
            Self::ProductChanged { .. } | Self::WaitlistChanged { .. } => None,
            Self::OrderPlaced(placed) => Some(placed.order),
            Self::OrderChanged { order, .. } => Some(*order),
        }
    }

    /// Shows whose places on which waitlists it is about.
    pub fn for_each_place(&self, mut show: impl FnMut(ProductId, BuyerId)) {
        match self {
            Self::ProductChanged { .. } | Self::OrderChanged { .. } => {}
            Self::OrderPlaced(placed) => {
                let offers = placed.offers.iter();
                offers.for_each(|taken| show(taken.product, placed.buyer));
            }
            Self::WaitlistChanged {
                product, change, ..
            } => change.buyers().for_each(|buyer| show(*product, buyer)),
        }
    }

    /// Shows every movement of units that the event stands for, in order.
    pub fn for_each_posting(&self, mut show: impl FnMut(&Posting)) {
        match self {
            Self::ProductChanged { postings, .. } | Self::OrderChanged { postings, .. } => {
                postings.iter().for_each(show);
            }
            Self::OrderPlaced(placed) => {
                for line in &placed.lines {
                    placed.postings(line).for_each(|posting| show(&posting));
                }
            }
            Self::WaitlistChanged {
                product,
                change,
                postings,
                ..
            } => {
                for (_, posting) in change.offers(*product) {
                    show(&posting);
                }
                postings.iter().for_each(show);
            }
        }
    }
}

impl Event {
    /// Shows every movement of units into somebody's hands or out of them, and whose. `owner_of` tells whose order it is
    /// that changes.
    pub fn for_each_handover(
        &self,
        owner_of: impl FnOnce(OrderId) -> Option<BuyerId>,
        mut show: impl FnMut(BuyerId, Handover, &Posting),
    ) {
        let mut show_if_any = |buyer: Option<BuyerId>, posting: &Posting| {
            if let (Some(buyer), Some(handover)) = (buyer, posting.handover()) {
                show(buyer, handover, posting);
            }
        };
        match self {
            Self::ProductChanged { .. } => {}
            Self::OrderPlaced(placed) => {
                self.for_each_posting(|posting| show_if_any(Some(placed.buyer), posting));
            }
            Self::OrderChanged {
                order, postings, ..
            } => {
                let owner = owner_of(*order);
                let postings = postings.iter();
                postings.for_each(|posting| show_if_any(owner, posting));
            }
            Self::WaitlistChanged {
                product,
                change,
                postings,
                ..
            } => {
                for (buyer, posting) in change.offers(*product) {
                    show_if_any(Some(buyer), &posting);
                }
                let buyer = change.buyers().next();
                let postings = postings.iter();
                postings.for_each(|posting| show_if_any(buyer, posting));
            }
        }
    }
}

impl OrderPlaced {
    /// The units of a line: first those that the buyer had been offered, then free ones.
    pub fn postings(&self, line: &Line) -> impl Iterator<Item = Posting> + use<> {
        let product = line.product;
        let offered = self.offered(product);
        let free = u64::from(line.quantity.get()).saturating_sub(offered);
        [(Bucket::Offered, offered), (Bucket::Available, free)]
            .into_iter()
            .filter(|(_, units)| *units > 0)
            .map(move |(from, units)| Posting {
                product,
                from,
                to: Bucket::Held,
                units,
            })
    }

    fn offered(&self, product: ProductId) -> u64 {
        let taken = self.offers.iter().find(|taken| taken.product == product);
        taken.map_or(0, |taken| u64::from(taken.units.get()))
    }
}

impl WaitlistChange {
    /// Who is offered units by this, and where they come from.
    pub fn offers(&self, product: ProductId) -> impl Iterator<Item = (BuyerId, Posting)> {
        let offers = match self {
            Self::Offered { offers, .. } => offers.as_slice(),
            Self::Joined { .. } | Self::Left { .. } | Self::Lapsed { .. } | Self::Ended => &[],
        };
        offers.iter().map(move |(buyer, units)| {
            let posting = Posting {
                product,
                from: Bucket::Available,
                to: Bucket::Offered,
                units: u64::from(units.get()),
            };
            (*buyer, posting)
        })
    }

    /// Whose entry the change names, one after the other. The end of a list names nobody.
    pub fn buyers(&self) -> impl Iterator<Item = BuyerId> {
        let (one, many) = match self {
            Self::Joined { buyer, .. } | Self::Left { buyer } | Self::Lapsed { buyer } => {
                (Some(*buyer), [].as_slice())
            }
            Self::Offered { offers, .. } => (None, offers.as_slice()),
            Self::Ended => (None, [].as_slice()),
        };
        one.into_iter().chain(many.iter().map(|(buyer, _)| *buyer))
    }
}
