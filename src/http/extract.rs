//! What handlers get of a request: who asks, and the body, parsed.

use std::fmt;
use std::future::{Future, Ready, poll_fn, ready};
use std::marker::PhantomData;
use std::task::Poll;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{BytesMut, Data};
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::problem::{Code, FieldError, Problem};
use crate::accounts::Accounts;
use crate::accounts::access::{Bearer, Gate};
use crate::accounts::token::Role;
use crate::domain::BuyerId;

/// Bytes of a body at most; the next is told 413.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;
/// A body that takes longer is told 408: a slow sender must not keep a connection.
pub(crate) const BODY_WITHIN: Duration = Duration::from_secs(5);

/// Anybody with a good access token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) id: BuyerId,
    pub(crate) bearer: Bearer,
}

/// Somebody who runs the shop: a seller or an admin, as of now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Staff {
    pub(crate) id: BuyerId,
    pub(crate) role: Role,
}

/// Somebody who may change what others may do, as of now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admin {
    pub(crate) id: BuyerId,
}

/// A JSON body of known shape: unknown fields, other types and oversize are refused with the reason.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

/// A JSON body that may be left out.
#[derive(Debug)]
pub(crate) struct BodyIfAny<T>(pub(crate) Option<T>);

/// A body in the bytes that came, whatever it is: what is signed must not be read first.
#[derive(Debug)]
pub(crate) struct RawBody(pub(crate) BytesMut);

/// A JSON object and nothing else: a derived struct would also take an array of its fields in their order.
#[derive(Debug, Clone)]
pub(crate) struct Object<T>(pub(crate) T);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller(request))
    }
}

impl FromRequest for Staff {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = caller_in(request, Self::ROLES, "`seller` or `admin`");
        ready(caller.map(|Caller { id, bearer }| Self {
            id,
            role: bearer.role,
        }))
    }
}

impl Staff {
    pub(crate) const ROLES: &[Role] = &[Role::Seller, Role::Admin];
}

impl FromRequest for Admin {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = caller_in(request, &[Role::Admin], "`admin`");
        ready(caller.map(|Caller { id, .. }| Self { id }))
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for JsonBody<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = json_body(request, payload);
        async move { body.await.map(Self) }.boxed_local()
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for BodyIfAny<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = is_json(request.headers());
        let body = raw_body(request, payload);
        async move {
            let body = body.await?;
            if body.is_empty() {
                return Ok(Self(None));
            }
            if !is_json {
                return Err(unsupported_media_type());
            }
            parse_json(&body).map(|Object(body)| Self(Some(body)))
        }
        .boxed_local()
    }
}

impl FromRequest for RawBody {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = raw_body(request, payload);
        async move { body.await.map(Self) }.boxed_local()
    }
}

impl<T: Serialize> Serialize for Object<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

/// Reads JSON, telling apart what cannot be read (400) from what has bad values (422, each field named).
pub(crate) fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        // What is skipped is not decoded, so bytes that are no text have to be asked for.
        let is_json =
            str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        if !is_json {
            return Problem::malformed(format!(
                "the body is not JSON at line {}, column {}",
                error.line(),
                error.column()
            ));
        }
        Problem::invalid(vec![locate::<T>(body)])
    })
}

/// Parses once more, slowly, to learn which field it was.
fn locate<T: DeserializeOwned>(body: &[u8]) -> FieldError {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(error) => FieldError {
            field: error.path().to_string(),
            detail: without_texts(&error.inner().to_string()),
        },
        Ok(_) => FieldError {
            field: ".".into(),
            detail: "there is something after the end of the value".into(),
        },
    }
}

/// What somebody wrote may be personal, or a password in the wrong place: a refusal does not repeat it.
fn without_texts(message: &str) -> String {
    let mut rest = message;
    let mut told = String::with_capacity(message.len());
    while let Some((before, after)) = rest.split_once("string \"") {
        told.push_str(before);
        told.push_str("a text");
        rest = past_quotation_mark(after);
    }
    told + rest
}

/// Past the next quotation mark that is not escaped.
fn past_quotation_mark(text: &str) -> &str {
    let mut is_escaped = false;
    for (at, it) in text.char_indices() {
        match it {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return &text[at + 1..],
            _ => {}
        }
    }
    ""
}

pub(super) fn caller(request: &HttpRequest) -> Result<Caller, Problem> {
    let token = bearer_token(request)?;
    let Some(gate) = request.app_data::<Data<Gate>>() else {
        return Err(Problem::internal(&"nobody checks tokens"));
    };
    let bearer = gate.admit(token)?;
    Ok(Caller {
        id: bearer.id,
        bearer,
    })
}

/// What the request shows to be let in.
pub(super) fn bearer_token(request: &HttpRequest) -> Result<&str, Problem> {
    let Some(value) = request.headers().get(header::AUTHORIZATION) else {
        return Err(Problem::unauthorized(
            "send `Authorization: Bearer <access token>`",
        ));
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    token.ok_or_else(|| {
        Problem::unauthorized("the Authorization header is not `Bearer <access token>`")
    })
}

/// Who is turned away is noted.
fn caller_in(request: &HttpRequest, roles: &[Role], needed: &str) -> Result<Caller, Problem> {
    let caller = caller(request)?;
    if roles.contains(&caller.bearer.role) {
        return Ok(caller);
    }
    if let Some(accounts) = request.app_data::<Data<Accounts>>() {
        accounts.note_denial(caller.id, super::auth::origin(request)?);
    }
    Err(Problem::forbidden(needed))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim())
        .is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// A JSON object of a known shape.
pub(super) fn json_body<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<T, Problem>> + use<T> {
    let is_json = is_json(request.headers());
    let body = raw_body(request, payload);
    async move {
        if !is_json {
            return Err(unsupported_media_type());
        }
        parse_json(&body.await?).map(|Object(body)| body)
    }
}

/// What is announced to be too long is not even begun.
fn raw_body(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<BytesMut, Problem>> + use<> {
    let announced = announced_length(request.headers());
    let payload = payload.take();
    async move {
        if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
            return Err(too_large());
        }
        read_in_time(payload).await
    }
}

/// Most bodies are there when their head is; only the others need a timer.
async fn read_in_time(payload: Payload) -> Result<BytesMut, Problem> {
    let mut reading = std::pin::pin!(read_body(payload));
    let at_once = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context)));
    if let Poll::Ready(body) = at_once.await {
        return body;
    }
    match tokio::time::timeout(BODY_WITHIN, reading).await {
        Ok(body) => body,
        Err(_elapsed) => Err(too_slow()),
    }
}

async fn read_body(mut payload: Payload) -> Result<BytesMut, Problem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk =
            chunk.map_err(|error| Problem::malformed(format!("the body broke off: {error}")))?;
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn too_large() -> Problem {
    Problem::of(
        Code::BodyTooLarge,
        format!("a body has at most {BODY_BYTES_MAX} bytes"),
    )
}

fn too_slow() -> Problem {
    Problem::of(
        Code::BodyTooSlow,
        format!("the body must arrive within {} s", BODY_WITHIN.as_secs()),
    )
}

fn unsupported_media_type() -> Problem {
    Problem::of(
        Code::UnsupportedMediaType,
        "send the body as `Content-Type: application/json`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        #[expect(dead_code, reason = "only its parsing is looked at")]
        quantity: u32,
    }

    fn refusal(body: &str) -> (u16, String) {
        let problem = parse_json::<Object<Line>>(body.as_bytes()).expect_err("refused");
        (problem.status_code().as_u16(), problem.to_string())
    }

    #[test]
    fn what_cannot_be_read_is_told_from_what_has_bad_values() {
        for body in [
            "",
            "{",
            "{\"quantity\": 1",
            "nonsense",
            "{\"quantity\":NaN}",
        ] {
            assert_eq!(refusal(body).0, 400, "{body}");
        }
        for value in [
            "-1",
            "1e400",
            "4294967296",
            "9223372036854775808",
            "\"1\"",
            "1.5",
            "null",
        ] {
            let (status, text) = refusal(&format!("{{\"quantity\":{value}}}"));
            assert_eq!(status, 422, "{value}");
            assert!(text.contains("quantity"), "{text}");
        }
        for secret in ["hush", "hu\\\"sh", "hu\\\\"] {
            let (status, text) = refusal(&format!("{{\"quantity\":\"{secret}\"}}"));
            assert!(status == 422 && !text.contains("hu"), "{text}");
            assert!(text.contains("a text, expected u32"), "{text}");
        }
        let (status, text) = refusal("{\"quantity\":1,\"price\":0}");
        assert!(status == 422 && text.contains("price"), "{text}");
    }
}
