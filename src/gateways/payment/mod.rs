//! Payment providers behind one trait.

mod sandbox;

use futures_util::future::BoxFuture;

use crate::domain::{AttemptId, Money, OrderId, PaymentOutcome};

pub use sandbox::{Sandbox, SandboxPlan};

/// What a provider is asked to take. The attempt's id is its idempotency key: asking twice takes the money once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub order: OrderId,
    pub attempt: AttemptId,
    pub method: Box<str>,
    pub amount: Money,
}

/// A result that a provider sends by itself: late, twice, or in the wrong order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    pub order: OrderId,
    pub attempt: AttemptId,
    pub outcome: PaymentOutcome,
}

/// The provider gave no answer that means anything: a time-out, a lost connection, a fault on its side.
/// The money may have been taken or not.
#[derive(Debug, thiserror::Error)]
#[error("the payment provider gave no clear answer: {0}")]
pub struct Unclear(pub String);

/// Takes money and gives it back.
///
/// The contract:
/// - `charge` and `refund` are idempotent by attempt: a repeat gives the first result and moves no money.
/// - `look_up` tells what became of an attempt; `None` means that no charge of it ever arrived, and none that was
///   sent before the look-up will.
/// - `Err` says nothing about the money.
pub trait PaymentProvider: Send + Sync + std::fmt::Debug {
    fn charge(&self, charge: Charge) -> BoxFuture<'_, Result<PaymentOutcome, Unclear>>;

    fn look_up(&self, attempt: AttemptId)
    -> BoxFuture<'_, Result<Option<PaymentOutcome>, Unclear>>;

    fn refund(&self, charge: Charge) -> BoxFuture<'_, Result<(), Unclear>>;
}
