//! Attempts to pay an order, as states.

use super::{AttemptId, Fingerprint, KeyHash, Timestamp};

/// One attempt. Its intent is durable before the provider hears of it; results are matched by its id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    pub id: AttemptId,
    pub key: KeyHash,
    pub fingerprint: Fingerprint,
    pub method: Box<str>,
    pub started_at: Timestamp,
    pub state: AttemptState,
    /// What the buyer was told first; a repeat of the request is told the same.
    pub answer: Option<PaymentAnswer>,
    pub refund: RefundState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttemptState {
    /// The provider has been or will be asked; no result yet.
    Pending,
    Captured,
    Declined,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PaymentAnswer {
    Paid,
    Pending,
    Declined,
    /// The money came after the units were gone; it is on its way back.
    Unfulfilled,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefundState {
    NotDue,
    Due,
    Done,
}

/// What a provider says of an attempt; a time-out says nothing and is not an outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PaymentOutcome {
    Captured,
    Declined,
}

impl Attempt {
    pub fn is_pending(&self) -> bool {
        self.state == AttemptState::Pending
    }
}
