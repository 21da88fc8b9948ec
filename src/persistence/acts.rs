//! The words for what was done to products and orders, as the audit log and the journeys tell it. A word is never given
//! another meaning.

use crate::domain::{OrderChange, ProductChange, WaitlistChange, WindowAct};

pub(super) const fn of_product(change: &ProductChange) -> &'static str {
    match change {
        ProductChange::Registered { .. } => "registered",
        ProductChange::Edited { .. } => "edited",
        ProductChange::Deleted => "deleted",
        ProductChange::StockSet { .. } => "stock_set",
        ProductChange::WindowSet { act, .. } => match act {
            WindowAct::Schedule => "window_schedule",
            WindowAct::Open => "window_open",
            WindowAct::Pause => "window_pause",
            WindowAct::Resume => "window_resume",
            WindowAct::Close => "window_close",
        },
    }
}

pub(super) const ORDER_PLACED: &str = "order_placed";

pub(super) const fn of_waitlist(change: &WaitlistChange) -> &'static str {
    match change {
        WaitlistChange::Joined { .. } => "waitlist_joined",
        WaitlistChange::Left { .. } => "waitlist_left",
        WaitlistChange::Offered { .. } => "units_offered",
        WaitlistChange::Lapsed { .. } => "offer_lapsed",
        WaitlistChange::Ended => "waitlist_ended",
    }
}

pub(super) const fn of_order(change: &OrderChange) -> &'static str {
    match change {
        OrderChange::Cancelled => "order_cancelled",
        OrderChange::CancelRequested => "cancel_requested",
        OrderChange::Expired => "hold_expired",
        OrderChange::PaymentStarted { .. } => "payment_started",
        OrderChange::PaymentDeferred { .. } => "payment_deferred",
        OrderChange::PaymentDeclined { .. } => "payment_declined",
        OrderChange::PaymentCaptured { .. } => "payment_captured",
        OrderChange::PaymentReclaimed { .. } => "payment_reclaimed",
        OrderChange::PaymentUnfulfilled { .. } => "payment_unfulfilled",
        OrderChange::PaymentReturned { .. } => "payment_returned",
        OrderChange::RefundStarted { .. } => "refund_started",
        OrderChange::Refunded { .. } => "refunded",
        OrderChange::Shipped { .. } => "order_shipped",
        OrderChange::Delivered { .. } => "order_delivered",
        OrderChange::Completed => "order_completed",
        OrderChange::ReturnRequested { .. } => "return_requested",
        OrderChange::ReturnAccepted { .. } => "return_accepted",
        OrderChange::Restocked => "restocked",
    }
}
