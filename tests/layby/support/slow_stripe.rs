//! A Stripe that takes its time: payment intents in memory, every call answered after a delay, and as many calls at once
//! as its client likes to make. It honours idempotency keys, and refuses refunds when it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// Ended when it is dropped. Starts empty.
pub(crate) struct SlowStripe {
    server: MockServer,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    /// By id, in the order in which they were made.
    intents: BTreeMap<String, Intent>,
    by_key: BTreeMap<String, String>,
    refund_fault: Option<(u16, Value)>,
    refunds_asked: usize,
}

#[derive(Clone)]
struct Intent {
    status: &'static str,
    amount: i64,
    refunded: i64,
    created: u64,
    metadata: Value,
}

struct Answers {
    books: Arc<Mutex<Books>>,
    latency: Duration,
}

impl SlowStripe {
    pub(crate) const GOOD: &'static str = "pm_card_visa";
    /// A means of payment that it has never heard of.
    pub(crate) const UNKNOWN: &'static str = "pm_of_nobody";

    pub(crate) fn start(latency: Duration) -> Self {
        let books = Arc::<Mutex<Books>>::default();
        let answers = Answers {
            books: Arc::clone(&books),
            latency,
        };
        let server = actix_web::rt::System::new().block_on(async {
            let server = MockServer::start().await;
            let mock = Mock::given(any()).respond_with(answers);
            mock.mount(&server).await;
            server
        });
        Self { server, books }
    }

    pub(crate) fn url(&self) -> String {
        self.server.uri()
    }

    /// How many intents there are in each state.
    pub(crate) fn intents(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for intent in self.lock().intents.values() {
            *counts.entry(intent.status).or_default() += 1;
        }
        counts
    }

    /// From now on every refund is answered so; `None`: it is made.
    pub(crate) fn refuse_refunds(&self, fault: Option<(u16, Value)>) {
        self.lock().refund_fault = fault;
    }

    pub(crate) fn refunds_asked(&self) -> usize {
        self.lock().refunds_asked
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Respond for Answers {
    /// What is done is done when the call arrives; only the answer is late.
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, body) = books.answer(request);
        ResponseTemplate::new(status)
            .set_body_json(body)
            .set_delay(self.latency)
    }
}

impl Books {
    fn answer(&mut self, request: &Request) -> (u16, Value) {
        let segments: Vec<&str> = request.url.path_segments().into_iter().flatten().collect();
        match (request.method.as_str(), &segments[..]) {
            ("POST", ["v1", "payment_intents"]) => self.make(request),
            ("GET", ["v1", "payment_intents"]) => (200, self.page(request)),
            ("GET", ["v1", "payment_intents", id]) => self.show(id),
            ("POST", ["v1", "payment_intents", id, "confirm"]) => self.turn(id, "succeeded"),
            ("POST", ["v1", "payment_intents", id, "cancel"]) => self.turn(id, "canceled"),
            ("POST", ["v1", "refunds"]) => self.refund(request),
            _ => (404, fault("resource_missing")),
        }
    }

    fn make(&mut self, request: &Request) -> (u16, Value) {
        let key = request.headers["idempotency-key"].to_str().expect("a key");
        if let Some(known) = self.by_key.get(key).cloned() {
            return self.show(&known);
        }
        let form = form_of(request);
        if form["payment_method"] == SlowStripe::UNKNOWN {
            return (404, fault("resource_missing"));
        }
        let id = format!("pi_{:08}", self.intents.len());
        let intent = Intent {
            status: "requires_confirmation",
            amount: form["amount"].parse().expect("a number"),
            refunded: 0,
            created: jiff::Timestamp::now().as_second().unsigned_abs(),
            metadata: json!({
                "order_id": form["metadata[order_id]"],
                "attempt_id": form["metadata[attempt_id]"],
            }),
        };
        self.by_key.insert(key.to_owned(), id.clone());
        self.intents.insert(id.clone(), intent);
        self.show(&id)
    }

    fn turn(&mut self, id: &str, status: &'static str) -> (u16, Value) {
        match self.intents.get_mut(id) {
            Some(intent) if intent.status == "requires_confirmation" => intent.status = status,
            Some(intent) if intent.status == status => {}
            Some(_) => return (400, fault("payment_intent_unexpected_state")),
            None => return (404, fault("resource_missing")),
        }
        self.show(id)
    }

    fn refund(&mut self, request: &Request) -> (u16, Value) {
        self.refunds_asked += 1;
        if let Some(refusal) = &self.refund_fault {
            return refusal.clone();
        }
        let form = form_of(request);
        let Some(intent) = self.intents.get_mut(&form["payment_intent"]) else {
            return (404, fault("resource_missing"));
        };
        intent.refunded = intent.amount;
        (200, json!({"id": "re_1", "status": "succeeded"}))
    }

    fn show(&self, id: &str) -> (u16, Value) {
        match self.intents.get(id) {
            Some(intent) => (200, intent.view(id)),
            None => (404, fault("resource_missing")),
        }
    }

    /// Newest first.
    fn page(&self, request: &Request) -> Value {
        let query = |name: &str| {
            let pairs = request.url.query_pairs();
            let mut found = pairs.filter(|(it, _)| it == name);
            found.next().map(|(_, value)| value.into_owned())
        };
        let limit = query("limit").and_then(|it| it.parse().ok()).unwrap_or(10);
        let after = query("starting_after");
        let older = self
            .intents
            .iter()
            .rev()
            .filter(|(id, _)| after.as_ref().is_none_or(|after| *id < after));
        let data: Vec<Value> = older.map(|(id, intent)| intent.view(id)).collect();
        json!({"has_more": data.len() > limit, "data": &data[..limit.min(data.len())]})
    }
}

impl Intent {
    fn view(&self, id: &str) -> Value {
        json!({
            "id": id,
            "status": self.status,
            "amount": self.amount,
            "created": self.created,
            "metadata": self.metadata,
            "latest_charge": {"id": "ch_1", "amount": self.amount, "amount_refunded": self.refunded},
        })
    }
}

fn fault(code: &str) -> Value {
    json!({"error": {"type": "invalid_request_error", "code": code}})
}

fn form_of(request: &Request) -> BTreeMap<String, String> {
    let body = String::from_utf8_lossy(&request.body);
    let url = format!("http://form/?{body}");
    let url = reqwest::Url::parse(&url).expect("a form");
    url.query_pairs().into_owned().collect()
}
