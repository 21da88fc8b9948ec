//! Errors as `application/problem+json` (RFC 9457). The only place of status codes for refusals.

mod rejection;

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
use crate::domain::{Shortage, Span};
use crate::persistence::journey;

/// What a client is told when something was not done. Nothing changed.
#[derive(Debug)]
pub(crate) struct Problem {
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
pub(crate) enum Fact {
    Nothing,
    Number(u64),
    Text(String),
    Id(#[serde(serialize_with = "spell_id")] u128),
    Errors(Vec<FieldError>),
    Short(Vec<ShortLine>),
}

/// A product that is short, as told to the client.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ShortLine {
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
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) detail: String,
}

/// Gathers what is wrong with the fields of a body, so that all of them are named at once.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    errors: Vec<FieldError>,
}

impl Fields {
    /// The value, or its fault kept for [`Fields::done`].
    pub(crate) fn take<T>(&mut self, field: &str, parsed: Result<T, String>) -> Option<T> {
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
    pub(crate) fn done<T>(self, made: Option<T>) -> Result<T, Problem> {
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
    pub(crate) fn new(
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
    pub(crate) fn with(mut self, name: &'static str, fact: impl Into<Fact>) -> Self {
        self.facts.push((name, fact.into()));
        self
    }

    /// For a refusal that is given again, byte for byte, to each repeat of its request: the id is that of the first.
    #[must_use]
    pub(crate) fn under_request(mut self, request_id: uuid::Uuid) -> Self {
        self.request_id = request_id;
        self
    }

    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_secs = Some(seconds);
        self.with("retry_after", seconds)
    }

    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_request",
            "The request cannot be read",
            detail,
        )
    }

    pub(crate) fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "A valid access token is needed",
            detail,
        )
    }

    /// `needed` names the roles that may.
    pub(crate) fn forbidden(needed: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "Not allowed",
            format!("this needs the role {needed}"),
        )
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Not found",
            format!("there is no such {what}"),
        )
    }

    /// Valid JSON with bad values; each field is named.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
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
    pub(crate) fn unavailable(cause: &dyn fmt::Display) -> Self {
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
    pub(crate) fn field(field: &str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError {
            field: field.into(),
            detail: detail.into(),
        }])
    }

    pub(crate) fn too_many_streams(streams_max: usize) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_streams",
            "Too many live streams",
            "all live streams of the server are taken; ask for the current state now and then",
        )
        .with("streams_max", streams_max)
        .retry_after(5)
    }

    pub(crate) fn too_many_own_streams(streams_max: u32) -> Self {
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
    pub(crate) fn too_busy() -> Self {
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

    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
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
            Refusal::MemoryFull => busy(
                "memory_full",
                "the orders of the last day fill the memory that they may take; no new holds until some are older",
            ),
            Refusal::JournalFailed => busy(
                "journal_failed",
                "the journal failed; nothing is promised until a restart",
            ),
            Refusal::RecallsBusy => busy(
                "overloaded",
                "more requests wait for older orders than are admitted",
            ),
            Refusal::OrdersUnavailable => busy(
                "temporarily_unavailable",
                "older orders are in the database, which does not answer; try again",
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

fn payments_unavailable(retry_after: Span) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "payments_unavailable",
        "Nobody can pay just now",
        "the payment provider does not answer; no money was asked for and your hold stays as it is",
    )
    .retry_after(retry_after.as_secs_ceil().max(1))
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
