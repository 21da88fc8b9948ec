//! How ids, times and states are spelled on the wire.

use std::cell::RefCell;

use uuid::Uuid;

use crate::domain::{Availability, Bucket, OrderState, RefundState, Timestamp};

pub(super) fn uuid_of(bits: u128) -> Uuid {
    Uuid::from_u128(bits)
}

/// RFC 3339 in UTC, to the microsecond.
///
/// A sale speaks of few different seconds, so each thread remembers how it spelled the last few of them.
pub(super) fn rfc3339(time: Timestamp) -> String {
    const MICROS: u64 = 1_000_000;
    let (second, micros) = (time.as_micros() / MICROS, time.as_micros() % MICROS);
    SPELLED.with_borrow_mut(|spelled| {
        let slot = &mut spelled[usize::from(second.to_le_bytes()[0]) % SPELLED_SECONDS];
        if slot.0 != second || slot.1.is_empty() {
            *slot = (second, spell_second(second));
        }
        format!("{}.{micros:06}Z", slot.1)
    })
}

const SPELLED_SECONDS: usize = 64;

thread_local! {
    static SPELLED: RefCell<[(u64, String); SPELLED_SECONDS]> =
        const { RefCell::new([const { (0, String::new()) }; SPELLED_SECONDS]) };
}

/// Date and time without zone and fraction.
fn spell_second(second: u64) -> String {
    let second = i64::try_from(second).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
    let mut text = time.to_string();
    text.truncate("2026-11-22T12:00:00".len());
    text
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

pub(super) const fn bucket_word(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::Outside => "outside",
        Bucket::Available => "available",
        Bucket::Held => "held",
        Bucket::Offered => "offered",
        Bucket::Sold => "sold",
        Bucket::Returning => "returning",
        Bucket::Withdrawn => "withdrawn",
    }
}

pub(super) const fn refund_word(refund: RefundState) -> &'static str {
    match refund {
        RefundState::NotDue => "not_due",
        RefundState::Due => "due",
        RefundState::Done => "done",
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

pub(super) fn parse_state(word: &str) -> Option<OrderState> {
    let mut states = OrderState::ALL.into_iter();
    states.find(|state| state_word(*state) == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read_as_it_is_spelled() {
        for state in OrderState::ALL {
            assert_eq!(parse_state(state_word(state)), Some(state));
        }
        assert_eq!(parse_state("Held"), None);
    }

    #[test]
    fn times_are_spelled_to_the_microsecond_and_read_back() {
        for micros in [0, 1, 999_999, 1_000_000, 1_795_352_477_004_200] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time), "{micros}");
        }
        let spelled = rfc3339(Timestamp::from_micros(1_795_352_477_004_200));
        assert_eq!(spelled, "2026-11-22T13:01:17.004200Z");
    }
}
