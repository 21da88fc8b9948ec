//! The numbers in the records. Only ever add to this file.

pub(super) const VERSION: u8 = 1;

pub(super) mod event {
    pub(crate) const PRODUCT_CHANGED: u8 = 1;
    pub(crate) const ORDER_PLACED: u8 = 2;
    pub(crate) const ORDER_CHANGED: u8 = 3;
    /// A change of an order by somebody of the shop.
    pub(crate) const ORDER_MANAGED: u8 = 4;
    /// Like `ORDER_PLACED`, and then what was taken of offers.
    pub(crate) const ORDER_PLACED_FROM_OFFERS: u8 = 5;
    pub(crate) const WAITLIST_CHANGED: u8 = 6;
}

pub(super) mod product_change {
    pub(crate) const REGISTERED: u8 = 1;
    pub(crate) const EDITED: u8 = 2;
    pub(crate) const DELETED: u8 = 3;
    pub(crate) const STOCK_SET: u8 = 4;
    pub(crate) const WINDOW_SET: u8 = 5;
}

pub(super) mod waitlist_change {
    pub(crate) const JOINED: u8 = 1;
    pub(crate) const LEFT: u8 = 2;
    pub(crate) const OFFERED: u8 = 3;
    pub(crate) const LAPSED: u8 = 4;
    pub(crate) const ENDED: u8 = 5;
}

pub(super) mod order_change {
    pub(crate) const CANCELLED: u8 = 1;
    pub(crate) const CANCEL_REQUESTED: u8 = 2;
    pub(crate) const EXPIRED: u8 = 3;
    pub(crate) const PAYMENT_STARTED: u8 = 4;
    pub(crate) const PAYMENT_DEFERRED: u8 = 5;
    pub(crate) const PAYMENT_DECLINED: u8 = 6;
    pub(crate) const PAYMENT_CAPTURED: u8 = 7;
    pub(crate) const PAYMENT_RECLAIMED: u8 = 8;
    pub(crate) const PAYMENT_UNFULFILLED: u8 = 9;
    pub(crate) const PAYMENT_RETURNED: u8 = 10;
    pub(crate) const REFUND_STARTED: u8 = 11;
    pub(crate) const REFUNDED: u8 = 12;
    pub(crate) const SHIPPED: u8 = 13;
    pub(crate) const DELIVERED: u8 = 14;
    pub(crate) const COMPLETED: u8 = 15;
    pub(crate) const RETURN_REQUESTED: u8 = 16;
    pub(crate) const RETURN_ACCEPTED: u8 = 17;
    pub(crate) const RESTOCKED: u8 = 18;
}

pub(super) mod bucket {
    pub(crate) const OUTSIDE: u8 = 0;
    pub(crate) const AVAILABLE: u8 = 1;
    pub(crate) const HELD: u8 = 2;
    pub(crate) const OFFERED: u8 = 3;
    pub(crate) const SOLD: u8 = 4;
    pub(crate) const RETURNING: u8 = 5;
    pub(crate) const WITHDRAWN: u8 = 6;
}

pub(super) mod restock_to {
    pub(crate) const AVAILABLE: u8 = 0;
    pub(crate) const WITHDRAWN: u8 = 1;
}

pub(super) mod window_act {
    pub(crate) const SCHEDULE: u8 = 0;
    pub(crate) const OPEN: u8 = 1;
    pub(crate) const PAUSE: u8 = 2;
    pub(crate) const RESUME: u8 = 3;
    pub(crate) const CLOSE: u8 = 4;
}
