//! The words for states in SQL: readable, because people look at these tables. A word is never given another meaning.

use super::Error;
use crate::domain::{AttemptState, Order, OrderState, PaymentAnswer, RefundState, RestockTo};

/// Makes the two directions of a vocabulary from one table, so that they cannot disagree.
macro_rules! words {
    ($to_word:ident, $from_word:ident, $kind:ident, $what:literal, { $($variant:ident => $word:literal,)* }) => {
        pub(super) const fn $to_word(value: $kind) -> &'static str {
            match value {
                $($kind::$variant => $word,)*
            }
        }

        pub(super) fn $from_word(word: &str) -> Result<$kind, Error> {
            match word {
                $($word => Ok($kind::$variant),)*
                _ => Err(Error::Damaged { what: $what }),
            }
        }
    };
}

words!(state_word, state, OrderState, "a state of an order", {
    Held => "held",
    Paying => "paying",
    CancelRequested => "cancel_requested",
    Paid => "paid",
    Refunding => "refunding",
    Cancelled => "cancelled",
    Expired => "expired",
    PaidUnfulfilled => "paid_unfulfilled",
    Refunded => "refunded",
    Shipped => "shipped",
    Delivered => "delivered",
    Completed => "completed",
    ReturnRequested => "return_requested",
    Returned => "returned",
});

words!(attempt_state_word, attempt_state, AttemptState, "a state of a payment attempt", {
    Pending => "pending",
    Captured => "captured",
    Declined => "declined",
});

words!(answer_word, answer, PaymentAnswer, "an answer to a payment attempt", {
    Paid => "paid",
    Pending => "pending",
    Declined => "declined",
    Unfulfilled => "unfulfilled",
});

words!(refund_word, refund, RefundState, "a state of a refund", {
    NotDue => "not_due",
    Due => "due",
    Done => "done",
});

words!(restock_word, restock_to, RestockTo, "a target of restocks", {
    Available => "available",
    Withdrawn => "withdrawn",
});

/// What start-up has to know of an order, as a number with an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Something may still happen to it by itself.
    Open,
    Settled,
    /// Settled, and its units are the buyer's for good.
    SettledInHand,
    /// Bought, and nothing happens to it unless somebody acts: ships it, or takes it back. Rows from before there was
    /// this standing say `Open`.
    Resting,
}

impl Standing {
    pub(super) fn of(order: &Order) -> Self {
        let in_hand = order.bucket().is_some_and(|bucket| bucket.is_in_hand());
        match (order.is_at_rest(), order.is_final(), in_hand) {
            (true, true, false) => Self::Settled,
            (true, true, true) => Self::SettledInHand,
            (true, false, true) => Self::Resting,
            (true, false, false) | (false, _, _) => Self::Open,
        }
    }

    pub(super) const fn number(self) -> i64 {
        match self {
            Self::Open => 0,
            Self::Settled => 1,
            Self::SettledInHand => 2,
            Self::Resting => 3,
        }
    }
}
