//! How ids, times and states are spelled on the wire.

use uuid::Uuid;

use crate::domain::{Availability, OrderState, Timestamp};

pub(super) fn uuid_of(bits: u128) -> Uuid {
    Uuid::from_u128(bits)
}

/// RFC 3339 in UTC, to the microsecond.
pub(super) fn rfc3339(time: Timestamp) -> String {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

/// `None` for what is not RFC 3339 or lies before 1970.
pub(super) fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_micros(
        u64::try_from(time.as_microsecond()).ok()?,
    ))
}

pub(super) const fn availability_word(availability: Availability) -> &'static str {
    match availability {
        Availability::Available => "available",
        Availability::AllHeld => "all_held",
        Availability::SoldOut => "sold_out",
    }
}

pub(super) const fn state_word(state: OrderState) -> &'static str {
    match state {
        OrderState::Held => "held",
        OrderState::Paying => "paying",
        OrderState::CancelRequested => "cancel_requested",
        OrderState::Paid => "paid",
        OrderState::Refunding => "refunding",
        OrderState::Cancelled => "cancelled",
        OrderState::Expired => "expired",
        OrderState::PaidUnfulfilled => "paid_unfulfilled",
        OrderState::Refunded => "refunded",
        OrderState::Shipped => "shipped",
        OrderState::Delivered => "delivered",
        OrderState::Completed => "completed",
        OrderState::ReturnRequested => "return_requested",
        OrderState::Returned => "returned",
    }
}
