//! Errors as `application/problem+json` (RFC 9457).
//!
//! | file | what lives there |
//! | --- | --- |
//! | `code` | every code with its status, title and sentence: the only place of status codes for refusals |
//! | `rejection` | what the rules refuse, as a code with the facts that help |
//! | `refusal` | what the other parts refuse or fail at: the engine, accounts, SQL, tokens, webhooks |
//! | `fact` | what a problem says beside its words |
//!
//! **Invariant:** every refusal is placed by a match without a wildcard, so that a new one does not compile until it is.

#![deny(clippy::wildcard_enum_match_arm)]

mod code;
mod fact;
mod refusal;
mod rejection;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

pub(crate) use code::{Code, Entry};
pub(crate) use fact::{Fact, FieldError, Fields};

/// What a client is told when something was not done. Nothing changed.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    /// What is the matter this time, in words.
    detail: Cow<'static, str>,
    /// The numbers that help: `available`, `opens_at`, `errors`, ...
    facts: Vec<(&'static str, Fact)>,
    retry_after_secs: Option<u64>,
    request_id: uuid::Uuid,
}

impl Problem {
    pub(crate) fn of(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            facts: Vec::new(),
            retry_after_secs: code.entry().retry_after_secs,
            request_id: uuid::Uuid::now_v7(),
        }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, fact: impl Into<Fact>) -> Self {
        debug_assert!(
            self.code.entry().facts.contains(&name),
            "`{name}` is not among the facts of {:?}",
            self.code
        );
        self.facts.push((name, fact.into()));
        self
    }

    /// For a refusal that is given again, byte for byte, to each repeat of its request: the id is that of the first.
    #[must_use]
    pub(crate) fn under_request(mut self, request_id: uuid::Uuid) -> Self {
        self.request_id = request_id;
        self
    }

    /// For a refusal that knows how long it will last.
    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_secs = self.retry_after_secs.max(Some(seconds));
        self
    }

    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Code::MalformedRequest, detail)
    }

    pub(crate) fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Code::Unauthorized, detail)
    }

    /// `needed` names the roles that may.
    pub(crate) fn forbidden(needed: &str) -> Self {
        Self::of(Code::Forbidden, format!("this needs the role {needed}"))
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::of(Code::NotFound, format!("there is no such {what}"))
    }

    /// Valid JSON with bad values; each field is named.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.detail))
            .collect::<Vec<_>>()
            .join("; ");
        Self::of(Code::InvalidValues, detail).with("errors", Fact::Errors(errors))
    }

    /// One field with a bad value.
    pub(crate) fn field(field: &str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError {
            field: field.into(),
            detail: detail.into(),
        }])
    }

    /// Something of which only so much is done at once.
    pub(crate) fn busy() -> Self {
        Self::of(Code::Busy, "more of this is waiting than is admitted")
    }

    /// A part of ours is away. The cause goes to the log under the request id, not to the client.
    pub(crate) fn unavailable(cause: &dyn fmt::Display) -> Self {
        let detail = "a part of the service is away; try again";
        Self::of(Code::TemporarilyUnavailable, detail).logged(cause)
    }

    /// A bug of ours, or data that no release has written: no request of a client may lead here.
    pub(crate) fn internal(cause: &dyn fmt::Display) -> Self {
        let detail =
            "this is a fault of the server, which keeps a record of it under this request_id";
        Self::of(Code::Internal, detail).logged(cause)
    }

    fn logged(self, cause: &dyn fmt::Display) -> Self {
        tracing::error!(request.id = %self.request_id, error = %cause, "request failed");
        self
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> Code {
        self.code
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = self.code.entry();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", entry.link)?;
        map.serialize_entry("title", entry.title)?;
        map.serialize_entry("status", &entry.status.as_u16())?;
        map.serialize_entry("detail", &self.detail)?;
        map.serialize_entry("code", entry.code)?;
        map.serialize_entry("request_id", &self.request_id)?;
        for (name, value) in &self.facts {
            map.serialize_entry(name, value)?;
        }
        if let Some(seconds) = self.retry_after_secs {
            map.serialize_entry("retry_after", &seconds)?;
        }
        map.end()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { status, code, .. } = self.code.entry();
        write!(out, "{status} {code}: {}", self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.entry().status
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        response.insert_header((
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        ));
        if let Some(seconds) = self.retry_after_secs {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        // A problem is made of strings and numbers; writing it cannot fail.
        response.body(serde_json::to_vec(self).unwrap_or_default())
    }
}
