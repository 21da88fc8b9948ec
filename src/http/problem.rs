//! Errors as `application/problem+json` (RFC 9457). The only place of status codes for refusals.

use std::borrow::Cow;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::words::{availability_word, rfc3339, uuid_of};
use crate::accounts;
use crate::actors::message::Refusal;
use crate::domain::{Availability, Money, Rejection, Shortage, Span, Timestamp};
use crate::persistence::journey;

/// What a client is told when something was not done. Nothing changed.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    /// The numbers that help: `available`, `opens_at`, `errors`, ...
    facts: Vec<(&'static str, Fact)>,
    retry_after_secs: Option<u64>,
    request_id: uuid::Uuid,
}

/// A number or a name that helps the client. Kept as it is and spelled only once, into the body: in a sale nearly
/// every answer is a refusal.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Fact {
    Nothing,
    Number(u64),
    Text(String),
    Id(#[serde(serialize_with = "spell_id")] u128),
    Errors(Vec<FieldError>),
    Short(Vec<ShortLine>),
}

/// A product that is short, as told to the client.
#[derive(Debug, Clone, Serialize)]
pub struct ShortLine {
    #[serde(serialize_with = "spell_id")]
    product_id: u128,
    requested: u32,
    available: u64,
    availability: &'static str,
    holds: u64,
    earliest_deadline: Option<String>,
}

/// A field of a body or a query with a bad value.
#[derive(Debug, Clone, Serialize)]
pub struct FieldError {
    pub field: String,
    pub detail: String,
}

/// Gathers what is wrong with the fields of a body, so that all of them are named at once.
#[derive(Debug, Default)]
pub struct Fields {
    errors: Vec<FieldError>,
}

impl Fields {
    /// The value, or its fault kept for [`Fields::done`].
    pub fn take<T>(&mut self, field: &str, parsed: Result<T, String>) -> Option<T> {
        parsed
            .map_err(|detail| {
                self.errors.push(FieldError {
                    field: field.into(),
                    detail,
                });
            })
            .ok()
    }

    /// What was made of the fields, if each of them was right.
    pub fn done<T>(self, made: Option<T>) -> Result<T, Problem> {
        match made {
            Some(made) if self.errors.is_empty() => Ok(made),
            _ => Err(Problem::invalid(self.errors)),
        }
    }
}

impl ShortLine {
    fn of(short: &Shortage) -> Self {
        Self {
            product_id: short.product.get(),
            requested: short.requested,
            available: short.available,
            availability: availability_word(short.availability),
            holds: short.holds,
            earliest_deadline: short.earliest_deadline.map(rfc3339),
        }
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Fact {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Fact {
    fn from(number: usize) -> Self {
        Self::Number(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

fn spell_id<S: Serializer>(id: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    uuid_of(*id).serialize(serializer)
}

impl Problem {
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            facts: Vec::new(),
            retry_after_secs: None,
            request_id: uuid::Uuid::now_v7(),
        }
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, fact: impl Into<Fact>) -> Self {
        self.facts.push((name, fact.into()));
        self
    }

    /// For a refusal that is given again, byte for byte, to each repeat of its request: the id is that of the first.
    #[must_use]
    pub fn under_request(mut self, request_id: uuid::Uuid) -> Self {
        self.request_id = request_id;
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_secs = Some(seconds);
        self.with("retry_after", seconds)
    }

    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_request",
            "The request cannot be read",
            detail,
        )
    }

    pub fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "A valid access token is needed",
            detail,
        )
    }

    /// `needed` names the roles that may.
    pub fn forbidden(needed: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "Not allowed",
            format!("this needs the role {needed}"),
        )
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Not found",
            format!("there is no such {what}"),
        )
    }

    /// Valid JSON with bad values; each field is named.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.detail))
            .collect::<Vec<_>>()
            .join("; ");
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_values",
            "Some values are not acceptable",
            detail,
        )
        .with("errors", Fact::Errors(errors))
    }

    /// A fault on our side. The cause goes to the log under the request id, not to the client.
    pub fn unavailable(cause: &dyn fmt::Display) -> Self {
        let problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "Temporarily unavailable",
            "a part of the service is away; try again",
        )
        .retry_after(1);
        tracing::error!(request.id = %problem.request_id, error = %cause, "request failed");
        problem
    }

    /// One field with a bad value.
    pub fn field(field: &str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError {
            field: field.into(),
            detail: detail.into(),
        }])
    }

    pub fn too_many_streams(streams_max: usize) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_streams",
            "Too many live streams",
            "all live streams of the server are taken; ask for the current state now and then",
        )
        .with("streams_max", streams_max)
        .retry_after(5)
    }

    pub fn too_many_own_streams(streams_max: u32) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_own_streams",
            "Too many live streams of yours",
            format!(
                "an account has at most {streams_max} live streams; close another window first"
            ),
        )
        .with("streams_max", streams_max)
        .retry_after(5)
    }

    /// Something of which only so much is done at once.
    pub fn too_busy() -> Self {
        Self::busy("busy", "more of this is waiting than is admitted")
    }

    fn busy(code: &'static str, detail: &'static str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            code,
            "Busy or not ready",
            detail,
        )
        .retry_after(1)
    }

    fn conflict(
        code: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::CONFLICT, code, title, detail)
    }

    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let busy = Self::busy;
        match refusal {
            Refusal::Rejected(rejection) => rejection.into(),
            Refusal::Overloaded => busy(
                "overloaded",
                "more requests are in flight than are admitted",
            ),
            Refusal::PaymentsBusy => {
                busy("payments_busy", "more payments are under way than admitted")
            }
            Refusal::PaymentsUnavailable { retry_after } => payments_unavailable(retry_after),
            Refusal::JournalFull => busy(
                "database_behind",
                "the database has been away too long; no new holds until it is back",
            ),
            Refusal::JournalFailed => busy(
                "journal_failed",
                "the journal failed; nothing is promised until a restart",
            ),
            Refusal::Recovering => busy("recovering", "this part is being rebuilt; try again"),
            Refusal::ShuttingDown => busy("shutting_down", "the server is shutting down"),
        }
    }
}

impl From<accounts::Refusal> for Problem {
    fn from(refusal: accounts::Refusal) -> Self {
        use accounts::Refusal as R;
        match refusal {
            R::UsernameTaken => {
                Self::conflict("username_taken", "Name in use", "choose another username")
            }
            R::InvalidCredentials => Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_credentials",
                "Wrong name or password",
                "there is no such username with this password",
            ),
            R::InvalidRefreshToken => Self::new(
                StatusCode::UNAUTHORIZED,
                "invalid_refresh_token",
                "Signed out",
                "the refresh token is not good, or no longer; sign in again",
            ),
            R::EmailNotVerified => Self::new(
                StatusCode::FORBIDDEN,
                "email_not_verified",
                "Address not verified",
                "enter the code that was mailed to you, or ask for another one",
            ),
            R::Suspended => Self::new(
                StatusCode::FORBIDDEN,
                "account_suspended",
                "Account suspended",
                "this account is suspended; ask the shop",
            ),
            R::WrongPassword => Self::new(
                StatusCode::FORBIDDEN,
                "wrong_password",
                "Wrong password",
                "the current password is another one",
            ),
            R::CodeInvalid => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "code_invalid",
                "Not the right code",
                "the code is wrong, used, expired or was tried too often; ask for another one",
            ),
            R::WeakPassword(detail) => Self::field("new_password", detail),
            R::UnknownAddress => Self::field("address_id", "it is not in your address book"),
            R::TooMany { wait_secs } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many requests",
                "wait a little and try again",
            )
            .retry_after(wait_secs),
            R::TooManyAddresses { addresses_max } => Self::conflict(
                "too_many_addresses",
                "The address book is full",
                format!("a book has at most {addresses_max} addresses; remove one first"),
            )
            .with("addresses_max", addresses_max),
            R::NoSuchAddress => Self::not_found("address"),
            R::WishlistFull { lines_max } => Self::conflict(
                "wishlist_full",
                "The wishlist is full",
                format!("a list has at most {lines_max} lines; remove or buy something first"),
            )
            .with("lines_max", lines_max),
            R::WishlistEmpty => Self::conflict(
                "wishlist_empty",
                "Nothing to buy",
                "there is nothing on the wishlist",
            ),
            R::NoSuchAccount => Self::not_found("account"),
            R::LastAdmin => Self::conflict(
                "last_admin",
                "The last admin",
                "nobody could make another admin; make one first",
            ),
            R::Busy => Self::too_busy(),
            R::Damaged => Self::busy(
                "personal_data_damaged",
                "what is known about you cannot be read; the shop must mend it",
            ),
            R::Database(error) => Self::unavailable(&error),
        }
    }
}

impl From<journey::Refusal> for Problem {
    fn from(refusal: journey::Refusal) -> Self {
        match refusal {
            journey::Refusal::Busy => Self::too_busy(),
            fault => Self::unavailable(&fault),
        }
    }
}

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

fn payments_unavailable(retry_after: Span) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "payments_unavailable",
        "Nobody can pay just now",
        "the payment provider does not answer; no money was asked for and your hold stays as it is",
    )
    .retry_after(retry_after.as_secs_ceil().max(1))
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
        Rejection::NotOpen { product, opens_at } => {
            Problem::conflict("not_open", "Not open yet", "the sale has not begun")
                .with("product_id", Fact::Id(product.get()))
                .with("opens_at", time_or_null(opens_at))
                .with("server_time", now_rfc3339())
        }
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
        Rejection::HasCommittedUnits { held, sold } => Problem::conflict(
            "has_committed_units",
            "Units are held or sold",
            "a product with units held or sold cannot be deleted",
        )
        .with("held", held)
        .with("sold", sold),
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

fn now_rfc3339() -> String {
    rfc3339(crate::clock::Clock::now(&crate::clock::SystemClock))
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("/docs/problems#{}", self.code))?;
        map.serialize_entry("title", self.title)?;
        map.serialize_entry("status", &self.status.as_u16())?;
        map.serialize_entry("detail", &self.detail)?;
        map.serialize_entry("code", self.code)?;
        map.serialize_entry("request_id", &self.request_id)?;
        for (name, value) in &self.facts {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.status, self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        ));
        if let Some(seconds) = self.retry_after_secs {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        // A problem is made of strings and numbers; writing it cannot fail.
        response.body(serde_json::to_vec(self).unwrap_or_default())
    }
}
