//! What the rules refuse, as told to a client.

use actix_web::http::StatusCode;

use super::{Fact, FieldError, Problem, ShortLine};
use crate::domain::{Availability, Money, Rejection, Shortage, Timestamp};
use crate::http::words::rfc3339;

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoSuchProduct(product) => {
                Self::not_found("product").with("product_id", Fact::Id(product.get()))
            }
            Rejection::NoSuchOrder => Self::not_found("order"),
            Rejection::Short(shortages) => short(&shortages),
            Rejection::KeyReused => key_reused(),
            Rejection::NotOpen { .. }
            | Rejection::Paused(_)
            | Rejection::Closed(_)
            | Rejection::LimitReached { .. }
            | Rejection::CurrencyMismatch
            | Rejection::TooManyOpenOrders { .. }
            | Rejection::TooManyEndedHolds { .. }
            | Rejection::StillAvailable { .. }
            | Rejection::AlreadyWaiting { .. }
            | Rejection::WaitlistFull { .. }
            | Rejection::TooManyWaitlists { .. }
            | Rejection::HoldExpired { .. }
            | Rejection::OrderCancelled
            | Rejection::AlreadyPaid
            | Rejection::PaymentInProgress
            | Rejection::TooManyAttempts { .. } => buying(rejection),
            Rejection::PaymentMismatch { told, total } => payment_mismatch(told, total),
            Rejection::TooLateToCancel
            | Rejection::NotPaid
            | Rejection::AlreadyShipped { .. }
            | Rejection::NotShipped
            | Rejection::NotDelivered
            | Rejection::ReturnNotRequested
            | Rejection::ReturnWindowClosed
            | Rejection::BelowSold { .. }
            | Rejection::HasCommittedUnits { .. }
            | Rejection::StockTooLarge { .. } => keeping(rejection),
        }
    }
}

fn payment_mismatch(told: Money, total: Money) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "payment_mismatch",
        "Not the order's total",
        format!(
            "the event is about {} {}, and the order about {} {}; nothing was settled",
            told.amount,
            told.currency.as_str(),
            total.amount,
            total.currency.as_str()
        ),
    )
}

fn key_reused() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency_key_reused",
        "Idempotency-Key used before",
        "this key was used with another body; make a new key for a new request",
    )
}

/// What stands in the way of a buyer.
fn buying(rejection: Rejection) -> Problem {
    match rejection {
        Rejection::NotOpen {
            product,
            opens_at,
            now,
        } => Problem::conflict("not_open", "Not open yet", "the sale has not begun")
            .with("product_id", Fact::Id(product.get()))
            .with("opens_at", time_or_null(opens_at))
            .with("server_time", rfc3339(now)),
        Rejection::Paused(product) => {
            Problem::conflict("paused", "Paused", "the sale is paused; live holds may pay")
                .with("product_id", Fact::Id(product.get()))
        }
        Rejection::Closed(product) => {
            Problem::conflict("closed", "Closed", "the sale is over; live holds may pay")
                .with("product_id", Fact::Id(product.get()))
        }
        Rejection::LimitReached {
            product,
            limit,
            in_hand,
            live_order,
        } => Problem::conflict(
            "limit_reached",
            "Limit a person reached",
            format!("you have {in_hand} in hand and the limit is {limit} a person"),
        )
        .with("product_id", Fact::Id(product.get()))
        .with("limit", limit)
        .with("in_hand", in_hand)
        .with(
            "order_id",
            live_order.map_or(Fact::Nothing, |order| Fact::Id(order.get())),
        ),
        Rejection::TooManyOpenOrders {
            orders_max,
            retry_after,
        } => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_open_orders",
            "Too many open orders",
            format!("you hold {orders_max} orders that are not paid; pay or cancel one first"),
        )
        .with("orders_max", orders_max)
        .retry_after(retry_after.as_secs_ceil()),
        Rejection::TooManyEndedHolds {
            holds_max,
            retry_after,
        } => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_ended_holds",
            "Too many holds given up",
            format!("{holds_max} of your holds ended unpaid within an hour; wait a little"),
        )
        .with("holds_max", holds_max)
        .retry_after(retry_after.as_secs_ceil()),
        Rejection::HoldExpired { deadline } => Problem::conflict(
            "hold_expired",
            "The hold is over",
            "the time to pay has passed and the units went back",
        )
        .with("expired_at", rfc3339(deadline)),
        Rejection::TooManyAttempts { attempts_max } => Problem::conflict(
            "too_many_attempts",
            "Too many attempts to pay",
            format!("an order takes at most {attempts_max} attempts"),
        )
        .with("attempts_max", attempts_max),
        other => waiting(&other).unwrap_or_else(|| buying_plainly(&other)),
    }
}

/// What stands in the way of somebody who wants to wait.
fn waiting(rejection: &Rejection) -> Option<Problem> {
    Some(match *rejection {
        Rejection::StillAvailable { product, available } => Problem::conflict(
            "still_available",
            "Nothing to wait for",
            "units are available; place an order",
        )
        .with("product_id", Fact::Id(product.get()))
        .with("available", available),
        Rejection::AlreadyWaiting { product, quantity } => Problem::conflict(
            "already_waiting",
            "On the list already",
            format!("you wait for {quantity}; leave the list first to wait for another number"),
        )
        .with("product_id", Fact::Id(product.get()))
        .with("quantity", quantity),
        Rejection::WaitlistFull {
            product,
            waiters_max,
        } => Problem::conflict(
            "waitlist_full",
            "The waitlist is full",
            format!("{waiters_max} people wait already"),
        )
        .with("product_id", Fact::Id(product.get()))
        .with("waiters_max", waiters_max),
        Rejection::TooManyWaitlists { waitlists_max } => Problem::conflict(
            "too_many_waitlists",
            "On too many waitlists",
            format!("a person is on at most {waitlists_max} waitlists; leave one first"),
        )
        .with("waitlists_max", waitlists_max),
        _ => return None,
    })
}

/// Refusals without numbers.
fn buying_plainly(rejection: &Rejection) -> Problem {
    match rejection {
        Rejection::OrderCancelled => Problem::conflict(
            "order_cancelled",
            "Cancelled",
            "the order is cancelled or about to be",
        ),
        Rejection::AlreadyPaid => {
            Problem::conflict("already_paid", "Already paid", "the order is paid")
        }
        Rejection::PaymentInProgress => Problem::conflict(
            "payment_in_progress",
            "A payment is under way",
            "wait for its result before you try again",
        ),
        _ => Problem::conflict(
            "currency_mismatch",
            "Different currencies",
            "all lines of an order must be in one currency",
        ),
    }
}

/// What stands in the way after the sale, or of an admin.
fn keeping(rejection: Rejection) -> Problem {
    match rejection {
        Rejection::BelowSold { total, sold } => Problem::conflict(
            "below_sold",
            "Below what is sold",
            format!("{sold} units are sold, so the stock cannot be {total}"),
        )
        .with("total", total)
        .with("sold", sold),
        Rejection::HasCommittedUnits {
            held,
            offered,
            sold,
            returning,
        } => Problem::conflict(
            "has_committed_units",
            "Units are held, offered or sold",
            "a product with units held, offered, sold or on their way back cannot be deleted",
        )
        .with("held", held)
        .with("offered", offered)
        .with("sold", sold)
        .with("returning", returning),
        Rejection::StockTooLarge { total_max } => Problem::invalid(vec![FieldError {
            field: "total".into(),
            detail: format!("at most {total_max} units"),
        }]),
        Rejection::AlreadyShipped {
            carrier,
            tracking_number,
        } => Problem::conflict(
            "already_shipped",
            "Already shipped",
            "the order is on its way by another carrier or under another number",
        )
        .with("carrier", String::from(carrier))
        .with("tracking_number", String::from(tracking_number)),
        other => keeping_plainly(&other),
    }
}

/// Refusals without numbers.
fn keeping_plainly(rejection: &Rejection) -> Problem {
    match rejection {
        Rejection::TooLateToCancel => Problem::conflict(
            "too_late_to_cancel",
            "Too late to cancel",
            "the order is on its way or further; ask for a return once it is delivered",
        ),
        Rejection::NotPaid => Problem::conflict("not_paid", "Not paid", "the order is not paid"),
        Rejection::NotShipped => {
            Problem::conflict("not_shipped", "Not shipped", "the order is not shipped")
        }
        Rejection::ReturnNotRequested => Problem::conflict(
            "return_not_requested",
            "No return requested",
            "nobody asked to return this order",
        ),
        Rejection::ReturnWindowClosed => Problem::conflict(
            "return_window_closed",
            "Too late to return",
            "the time to return this order has passed",
        ),
        _ => Problem::conflict(
            "not_delivered",
            "Not delivered",
            "the order is not delivered",
        ),
    }
}

/// Every short product is named, with what there is of it. The code is that of the most hopeless line.
fn short(shortages: &[Shortage]) -> Problem {
    let worst = shortages
        .iter()
        .map(|short| match short.availability {
            Availability::Available => 0,
            Availability::AllHeld => 1,
            Availability::SoldOut => 2,
        })
        .max();
    let problem = match worst {
        Some(2) => Problem::conflict("sold_out", "Sold out", "no unit is left, and none will be"),
        Some(1) => Problem::conflict(
            "all_held",
            "All units are held",
            "units may come back when holds end without payment",
        ),
        _ => Problem::conflict(
            "insufficient_stock",
            "Not enough units",
            "fewer units are available than you ask for",
        ),
    };
    let problem = match shortages.first() {
        Some(first) => problem
            .with("available", first.available)
            .with("holds", first.holds)
            .with("earliest_deadline", time_or_null(first.earliest_deadline)),
        None => problem,
    };
    problem.with(
        "short",
        Fact::Short(shortages.iter().map(ShortLine::of).collect()),
    )
}

fn time_or_null(time: Option<Timestamp>) -> Fact {
    time.map_or(Fact::Nothing, |time| Fact::Text(rfc3339(time)))
}
