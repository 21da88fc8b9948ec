//! The one place where the tests speak HTTP: somebody with a token, and what they are answered.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::{HeaderMap, Method, Request};
use ureq::{Agent, Error};
use uuid::Uuid;

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Connections that are kept open for those who share them.
const CONNECTIONS_MAX: usize = 32;
/// They explain every code.
const NOTES: &str = include_str!("../../../docs/api.md");
/// The longest page of a list.
const PAGE_MAX: usize = 100;

/// Somebody who talks to a shop: a buyer, an admin, or a visitor without a token.
#[derive(Clone)]
pub(crate) struct Caller {
    agent: Agent,
    url: String,
    token: Option<String>,
    /// Sent along with every request.
    headers: Vec<(&'static str, String)>,
    pub(crate) id: Uuid,
}

/// An idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) String);

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    asked: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A line of an order.
pub(crate) fn line(product: &str, quantity: u32) -> Value {
    json!({"product_id": product, "quantity": quantity})
}

impl Key {
    pub(crate) fn fresh() -> Self {
        Self(Uuid::now_v7().to_string())
    }
}

impl Caller {
    pub(super) fn new(url: &str, id: Uuid, token: Option<String>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .allow_non_standard_methods(true)
            .timeout_global(Some(ANSWER_WITHIN))
            .max_idle_connections(CONNECTIONS_MAX)
            .max_idle_connections_per_host(CONNECTIONS_MAX)
            .proxy(None)
            .build();
        Self {
            agent: config.into(),
            url: url.to_owned(),
            token,
            headers: Vec::new(),
            id,
        }
    }

    /// The same person with another token.
    pub(crate) fn with_token(&self, token: impl Into<String>) -> Self {
        Self {
            token: Some(token.into()),
            ..self.clone()
        }
    }

    /// The same person at another address: a server that was started anew.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..self.clone()
        }
    }

    /// The same person on somebody else's connections: a crowd would run out of its own.
    pub(crate) fn sharing(&self, line: &Self) -> Self {
        Self {
            agent: line.agent.clone(),
            ..self.clone()
        }
    }

    /// The same words from another place: as a reverse proxy would pass them on.
    pub(crate) fn calling_from(&self, address: &str) -> Self {
        self.with_header("X-Forwarded-For", address)
    }

    pub(crate) fn with_header(&self, name: &'static str, value: impl Into<String>) -> Self {
        let mut caller = self.clone();
        caller.headers.retain(|(it, _)| *it != name);
        caller.headers.push((name, value.into()));
        caller
    }

    pub(crate) fn without_token(&self) -> Self {
        Self {
            token: None,
            ..self.clone()
        }
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.headers.iter();
        headers.map(|(name, value)| (*name, value.as_str()))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    // -- the shop's verbs ----------------------------------------------------------------------------------------

    #[track_caller]
    pub(crate) fn place(&self, lines: &[Value]) -> Answer {
        self.place_under(&Key::fresh(), lines)
    }

    #[track_caller]
    pub(crate) fn place_under(&self, key: &Key, lines: &[Value]) -> Answer {
        self.post_under(key, "/v1/orders", &json!({"lines": lines}))
    }

    /// Holds units that are there to be held. Gives the answer's body.
    #[track_caller]
    pub(crate) fn hold(&self, product: &str, quantity: u32) -> Value {
        self.place(&[line(product, quantity)]).is(201)
    }

    #[track_caller]
    pub(crate) fn pay(&self, order: &Value, method: &str) -> Answer {
        self.pay_under(&Key::fresh(), order, method)
    }

    #[track_caller]
    pub(crate) fn pay_under(&self, key: &Key, order: &Value, method: &str) -> Answer {
        let path = format!("/v1/orders/{}/payments", id_of(order));
        self.post_under(key, &path, &json!({"method": method}))
    }

    #[track_caller]
    pub(crate) fn cancel(&self, order: &Value) -> Answer {
        self.post(&format!("/v1/orders/{}/cancel", id_of(order)))
    }

    #[track_caller]
    pub(crate) fn send_back(&self, order: &Value, reason: &str) -> Answer {
        let path = format!("/v1/orders/{}/return", id_of(order));
        self.post_with(&path, &json!({"reason": reason}))
    }

    // -- what the shop does with an order ------------------------------------------------------------------------

    #[track_caller]
    pub(crate) fn ship(&self, order: &Value, carrier: &str, tracking_number: &str) -> Answer {
        let path = format!("/v1/admin/orders/{}/shipment", id_of(order));
        let body = json!({"carrier": carrier, "tracking_number": tracking_number});
        self.post_with(&path, &body)
    }

    #[track_caller]
    pub(crate) fn deliver(&self, order: &Value) -> Answer {
        self.post(&format!("/v1/admin/orders/{}/delivered", id_of(order)))
    }

    #[track_caller]
    pub(crate) fn accept_return(&self, order: &Value) -> Answer {
        self.post(&format!("/v1/admin/orders/{}/return/accept", id_of(order)))
    }

    /// The order as the shop sees it.
    #[track_caller]
    pub(crate) fn order_of_shop(&self, order: &Value) -> Answer {
        self.get(&format!("/v1/admin/orders/{}", id_of(order)))
    }

    // -- reading -------------------------------------------------------------------------------------------------

    /// The order as it stands.
    #[track_caller]
    pub(crate) fn order(&self, order: &Value) -> Value {
        self.get(&format!("/v1/orders/{}", id_of(order))).is(200)
    }

    #[track_caller]
    pub(crate) fn state(&self, order: &Value) -> String {
        text(&self.order(order), "state")
    }

    /// Every item of a list, page by page.
    #[track_caller]
    pub(crate) fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.get(&format!("{path}?limit={PAGE_MAX}{after}")).is(200);
            items.extend(page["items"].as_array().expect("items").iter().cloned());
            let Some(next) = page["next"].as_str() else {
                return items;
            };
            after = format!("&after={next}");
        }
    }

    // -- HTTP ----------------------------------------------------------------------------------------------------

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&Method::GET, path, None, None)
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str) -> Answer {
        self.send(&Method::POST, path, None, None)
    }

    #[track_caller]
    pub(crate) fn post_under(&self, key: &Key, path: &str, body: &Value) -> Answer {
        self.send(&Method::POST, path, Some(key), Some(body))
    }

    #[track_caller]
    pub(crate) fn post_with(&self, path: &str, body: &Value) -> Answer {
        self.send(&Method::POST, path, None, Some(body))
    }

    #[track_caller]
    pub(crate) fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(&Method::PATCH, path, None, Some(body))
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send(&Method::DELETE, path, None, None)
    }

    #[track_caller]
    pub(crate) fn send(
        &self,
        method: &Method,
        path: &str,
        key: Option<&Key>,
        body: Option<&Value>,
    ) -> Answer {
        self.try_send(method, path, key, body)
            .unwrap_or_else(|error| panic!("{method} {path} got no answer: {error}"))
    }

    /// An error: no answer came, and whether the request had an effect is unknown.
    pub(crate) fn try_send(
        &self,
        method: &Method,
        path: &str,
        key: Option<&Key>,
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(Key(key)) = key {
            request = request.header("Idempotency-Key", key);
        }
        if body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let bytes = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let response = if bytes.is_empty() && *method != Method::POST {
            self.agent.run(request.body(()).expect("a request"))?
        } else {
            self.agent.run(request.body(bytes).expect("a request"))?
        };
        let (head, mut body) = response.into_parts();
        let answer = Answer {
            asked: format!("{method} {path}"),
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.read_to_vec()?,
        };
        answer.check_manners();
        Ok(answer)
    }
}

impl Answer {
    pub(super) fn new(asked: String, status: u16, headers: HeaderMap, body: Vec<u8>) -> Self {
        Self {
            asked,
            status,
            headers,
            body,
        }
    }

    /// Asserts the status and gives the body.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        self.json()
    }

    /// Asserts a refusal by status and code, and gives its body.
    #[track_caller]
    pub(crate) fn is_refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status, self.code().as_str()),
            (status, code),
            "{self}"
        );
        self.json()
    }

    /// The body; `null` if there is none.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self}"))
    }

    /// The code of a refusal; empty for anything else.
    pub(crate) fn code(&self) -> String {
        if self.status < 400 || self.body.is_empty() {
            return String::new();
        }
        text(&self.json(), "code")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What every answer owes, whatever it says.
    #[track_caller]
    pub(crate) fn check_manners(&self) {
        let headers = [
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", self.policy()),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ];
        for (name, value) in headers {
            assert_eq!(self.header(name), Some(value), "{name} of {self}");
        }
        assert_eq!(self.header("server"), None, "{self}");
        // What keeps the server from being ready is told in the same form as that it is.
        let is_readiness = self.asked.ends_with(" /readyz");
        if self.status >= 400 && !is_readiness {
            self.check_problem();
        }
    }

    /// A page needs its style, and data nothing at all.
    fn policy(&self) -> &'static str {
        let kind = self.header("content-type").unwrap_or_default();
        match kind.starts_with("text/html") {
            true => "default-src 'none'; style-src 'self'; frame-ancestors 'none'",
            false => "default-src 'none'; frame-ancestors 'none'",
        }
    }

    #[track_caller]
    fn check_problem(&self) {
        assert!(
            self.status < 500 || self.status == 503,
            "a fault of the server: {self}"
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self}"
        );
        let problem = self.json();
        let code = text(&problem, "code");
        let row = format!("| {} | `{code}` |", self.status);
        assert!(NOTES.contains(&row), "not in the API notes: {self}");
        assert_eq!(problem["status"], self.status, "{self}");
        for field in ["type", "title", "detail", "request_id"] {
            assert!(!text(&problem, field).is_empty(), "{field} of {self}");
        }
        if matches!(self.status, 429 | 503) {
            assert!(self.header("retry-after").is_some(), "{self}");
        }
        if self.status == 401 {
            assert_eq!(self.header("www-authenticate"), Some("Bearer"), "{self}");
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(out, "{} was answered {}: {body}", self.asked, self.status)
    }
}

/// A text of an object; empty if it is not there.
pub(crate) fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}

fn id_of(order: &Value) -> &str {
    order["id"]
        .as_str()
        .unwrap_or_else(|| panic!("no id: {order}"))
}
