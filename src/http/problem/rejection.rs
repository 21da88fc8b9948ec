//! What the rules refuse, as told to a client: one match, and each code with the numbers that help.

use super::{Code, Fact, Problem};
use crate::domain::{Availability, Rejection, Shortage};

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        use Rejection as R;
        match rejection {
            R::NoSuchProduct(product) => Self::not_found("product").with("product_id", product),
            R::NoSuchOrder => Self::not_found("order"),
            R::NotOpen {
                product,
                opens_at,
                now,
            } => Self::of(Code::NotOpen, "the sale has not begun")
                .with("product_id", product)
                .with("opens_at", opens_at)
                .with("server_time", now),
            R::Paused(product) => Self::of(Code::Paused, "the sale is paused; live holds may pay")
                .with("product_id", product),
            R::Closed(product) => Self::of(Code::Closed, "the sale is over; live holds may pay")
                .with("product_id", product),
            R::Short(shortages) => short(&shortages),
            R::LimitReached {
                product,
                limit,
                in_hand,
                live_order,
            } => Self::of(
                Code::LimitReached,
                format!("you have {in_hand} in hand and the limit is {limit} a person"),
            )
            .with("product_id", product)
            .with("limit", limit)
            .with("in_hand", in_hand)
            .with("order_id", live_order),
            R::CurrencyMismatch => Self::of(
                Code::CurrencyMismatch,
                "all lines of an order must be in one currency",
            ),
            R::TooManyOpenOrders {
                orders_max,
                retry_after,
            } => Self::of(
                Code::TooManyOpenOrders,
                format!("you hold {orders_max} orders that are not paid; pay or cancel one first"),
            )
            .with("orders_max", orders_max)
            .retry_after(retry_after.as_secs_ceil()),
            R::TooManyEndedHolds {
                holds_max,
                retry_after,
            } => Self::of(
                Code::TooManyEndedHolds,
                format!("{holds_max} of your holds ended unpaid within an hour; wait a little"),
            )
            .with("holds_max", holds_max)
            .retry_after(retry_after.as_secs_ceil()),
            R::StillAvailable { product, available } => {
                Self::of(Code::StillAvailable, "units are available; place an order")
                    .with("product_id", product)
                    .with("available", available)
            }
            R::AlreadyWaiting { product, quantity } => Self::of(
                Code::AlreadyWaiting,
                format!("you wait for {quantity}; leave the list first to wait for another number"),
            )
            .with("product_id", product)
            .with("quantity", quantity),
            R::WaitlistFull {
                product,
                waiters_max,
            } => Self::of(
                Code::WaitlistFull,
                format!("{waiters_max} people wait already"),
            )
            .with("product_id", product)
            .with("waiters_max", waiters_max),
            R::TooManyWaitlists { waitlists_max } => Self::of(
                Code::TooManyWaitlists,
                format!("a person is on at most {waitlists_max} waitlists; leave one first"),
            )
            .with("waitlists_max", waitlists_max),
            R::KeyReused => Self::of(
                Code::IdempotencyKeyReused,
                "this key was used with another body; make a new key for a new request",
            ),
            R::HoldExpired { deadline } => Self::of(
                Code::HoldExpired,
                "the time to pay has passed and the units went back",
            )
            .with("expired_at", deadline),
            R::OrderCancelled => Self::of(
                Code::OrderCancelled,
                "the order is cancelled or about to be",
            ),
            R::AlreadyPaid => Self::of(Code::AlreadyPaid, "the order is paid"),
            R::PaymentInProgress => Self::of(
                Code::PaymentInProgress,
                "wait for its result before you try again",
            ),
            R::TooManyAttempts { attempts_max } => Self::of(
                Code::TooManyAttempts,
                format!("an order takes at most {attempts_max} attempts"),
            )
            .with("attempts_max", attempts_max),
            R::PaymentMismatch { told, total } => Self::of(
                Code::PaymentMismatch,
                format!(
                    "the event is about {} {}, and the order about {} {}; nothing was settled",
                    told.amount,
                    told.currency.as_str(),
                    total.amount,
                    total.currency.as_str()
                ),
            ),
            R::TooLateToCancel => Self::of(
                Code::TooLateToCancel,
                "the order is on its way or further; ask for a return once it is delivered",
            ),
            R::NotPaid => Self::of(Code::NotPaid, "the order is not paid"),
            R::AlreadyShipped {
                carrier,
                tracking_number,
            } => Self::of(
                Code::AlreadyShipped,
                "the order is on its way by another carrier or under another number",
            )
            .with("carrier", carrier)
            .with("tracking_number", tracking_number),
            R::NotShipped => Self::of(Code::NotShipped, "the order is not shipped"),
            R::NotDelivered => Self::of(Code::NotDelivered, "the order is not delivered"),
            R::ReturnNotRequested => Self::of(
                Code::ReturnNotRequested,
                "nobody asked to return this order",
            ),
            R::ReturnWindowClosed => Self::of(
                Code::ReturnWindowClosed,
                "the time to return this order has passed",
            ),
            R::BelowSold { total, sold } => Self::of(
                Code::BelowSold,
                format!("{sold} units are sold, so the stock cannot be {total}"),
            )
            .with("total", total)
            .with("sold", sold),
            R::HasCommittedUnits {
                held,
                offered,
                sold,
                returning,
            } => Self::of(
                Code::HasCommittedUnits,
                "a product with units held, offered, sold or on their way back cannot be deleted",
            )
            .with("held", held)
            .with("offered", offered)
            .with("sold", sold)
            .with("returning", returning),
            R::StockTooLarge { total_max } => {
                Self::field("total", format!("at most {total_max} units"))
            }
        }
    }
}

/// Every short product is named, with what there is of it. The code is that of the most hopeless line.
fn short(shortages: &[Shortage]) -> Problem {
    let is_any = |availability| shortages.iter().any(|it| it.availability == availability);
    let problem = if is_any(Availability::SoldOut) {
        Problem::of(Code::SoldOut, "no unit is left, and none will be")
    } else if is_any(Availability::AllHeld) {
        Problem::of(
            Code::AllHeld,
            "units may come back when holds end without payment",
        )
    } else {
        Problem::of(
            Code::InsufficientStock,
            "fewer units are available than you ask for",
        )
    };
    let problem = match shortages.first() {
        Some(first) => problem
            .with("available", first.available)
            .with("holds", first.holds)
            .with("earliest_deadline", first.earliest_deadline),
        None => problem,
    };
    let short = shortages.iter().map(Into::into).collect();
    problem.with("short", Fact::Short(short))
}
