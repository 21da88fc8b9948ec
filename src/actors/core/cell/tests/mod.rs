//! The cell against a second, naive implementation of the rules.
//!
//! | file | what it does |
//! | --- | --- |
//! | `model` | the rules once more, from the specification: maps, sums, recounts |
//! | `world` | tells both the same and compares everything after every command |
//! | `history` | random histories, one a seed |
//! | `replay` | the journal of a history, folded again, gives the same state |
//! | `marks` | counts rare situations, so that a run says what it has seen |
//! | `scenarios`, `waiting`, `story` | the readable cases, a sentence a step |
//! | `seeds` | seeds that failed once |
//! | `races`, `payments` | a cell without the model (`till`), with a bank that keeps its own books |
//! | `bounds` | storms that must not outgrow a batch |

mod bounds;
mod history;
mod marks;
mod model;
mod payments;
mod races;
mod replay;
mod scenarios;
mod seeds;
mod story;
mod swarm;
mod till;
mod waiting;
mod world;

pub(in crate::actors::core) use self::marks::Marks;
pub(in crate::actors::core) use self::replay::as_stored;
use crate::actors::core::cell::{CellLimits, PersonLimits};
use crate::domain::{BuyerId, Currency, Money, ProductId, Span};

fn limits(payments_pending_max: usize) -> CellLimits {
    CellLimits {
        payments_pending_max,
        offer_ttl: Span::from_secs(120),
        person: PersonLimits::NONE,
    }
}

fn product(number: u64) -> ProductId {
    ProductId::new(1_000 + u128::from(number))
}

/// Numbers spread over the shards; the next one up is nobody.
fn buyer(number: u64) -> BuyerId {
    BuyerId::new(0x10_0000 + u128::from(number) * 2)
}

fn krw(amount: i64) -> Money {
    Money {
        amount,
        currency: Currency::parse("KRW").unwrap(),
    }
}

fn usd(amount: i64) -> Money {
    Money {
        amount,
        currency: Currency::parse("USD").unwrap(),
    }
}
