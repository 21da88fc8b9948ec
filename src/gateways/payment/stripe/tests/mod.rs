//! Stripe at its worst, played by wiremock: keys, deadlines, resets, redirects, refusals and nonsense.

mod answers;

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::domain::{Currency, OrderId};

const KEY: &str = "sk_test_0123456789abcdef";
const INTENTS: &str = "/v1/payment_intents";
const INTENT: &str = "/v1/payment_intents/pi_1";
const CONFIRM: &str = "/v1/payment_intents/pi_1/confirm";
const CANCEL: &str = "/v1/payment_intents/pi_1/cancel";
const REFUNDS: &str = "/v1/refunds";
/// When attempts are made here.
const MADE_AT: u64 = 1_764_000_000;

struct Fake {
    server: MockServer,
    stripe: Stripe,
}

impl Fake {
    async fn start() -> Self {
        let server = MockServer::start().await;
        let stripe = client(&server.uri());
        Self { server, stripe }
    }

    /// Answers that until something else is said about the same call, which must be before.
    async fn on(&self, verb: &str, route: &str, status: u16, body: Value) {
        let answer = ResponseTemplate::new(status).set_body_json(body);
        self.on_with(verb, route, answer).await;
    }

    async fn on_with(&self, verb: &str, route: &str, answer: ResponseTemplate) {
        let mock = Mock::given(method(verb)).and(path(route));
        mock.respond_with(answer).mount(&self.server).await;
    }

    /// Makes intents, and has one in its list.
    async fn has_intent(&self, status: &str) {
        let listed = json!({"data": [intent(status)], "has_more": false});
        self.on("GET", INTENTS, 200, listed).await;
        self.on("GET", INTENT, 200, intent(status)).await;
    }

    async fn look_up(&self) -> Result<Option<PaymentOutcome>, CallError> {
        self.stripe.look_up(attempt(), Instant::now()).await
    }

    async fn asked(&self, verb: &str, route: &str) -> Vec<Request> {
        let all = self.server.received_requests().await.expect("recorded");
        let matches = |it: &Request| it.method.as_str() == verb && it.url.path() == route;
        all.into_iter().filter(matches).collect()
    }

    async fn is_untouched(&self) -> bool {
        self.server
            .received_requests()
            .await
            .expect("recorded")
            .is_empty()
    }
}

fn client(url: &str) -> Stripe {
    let options = StripeOptions {
        call_within: Duration::from_millis(500),
        ..StripeOptions::at(url)
    };
    Stripe::open(&options, Zeroizing::new(KEY.to_owned())).expect("a client")
}

fn attempt() -> AttemptId {
    AttemptId::new((u128::from(MADE_AT) * 1_000) << 80 | 7)
}

fn charge() -> Charge {
    Charge {
        order: OrderId::new(5),
        attempt: attempt(),
        method: "pm_card_visa".into(),
        amount: won(39_000),
    }
}

fn won(amount: i64) -> Money {
    Money {
        amount,
        currency: Currency::parse("KRW").expect("a code"),
    }
}

fn intent(status: &str) -> Value {
    json!({
        "id": "pi_1",
        "status": status,
        "amount": 39_000,
        "currency": "krw",
        "created": MADE_AT,
        "latest_charge": "ch_1",
        "metadata": {"order_id": OrderId::new(5).to_string(), "attempt_id": attempt().to_string()},
    })
}

fn fault(kind: &str, code: &str) -> Value {
    json!({"error": {"type": kind, "code": code, "message": "not shown"}})
}

fn is_unavailable<T>(said: &Result<T, CallError>) -> bool {
    matches!(said, Err(CallError::Unavailable(_)))
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers[name].to_str().expect("text")
}

#[tokio::test]
async fn every_call_has_its_key_its_version_and_our_ids() {
    let fake = Fake::start().await;
    fake.on("POST", INTENTS, 200, intent("requires_confirmation"))
        .await;
    fake.on("POST", CONFIRM, 200, intent("succeeded")).await;
    let outcome = fake.stripe.charge(charge()).await.expect("clear");
    assert_eq!(outcome, PaymentOutcome::Captured);

    let [made] = &fake.asked("POST", INTENTS).await[..] else {
        panic!("one intent");
    };
    let [confirmed] = &fake.asked("POST", CONFIRM).await[..] else {
        panic!("one confirmation");
    };
    for (request, act) in [(made, "intent"), (confirmed, "confirm")] {
        let key = format!("layby-{}-{act}", attempt());
        assert_eq!(header(request, "idempotency-key"), key);
        assert_eq!(header(request, "stripe-version"), "2024-06-20");
        assert_eq!(header(request, "authorization"), format!("Bearer {KEY}"));
    }
    let form: Vec<(String, String)> = reqwest::Url::parse(&format!(
        "http://x/?{}",
        String::from_utf8_lossy(&made.body)
    ))
    .expect("a form")
    .query_pairs()
    .into_owned()
    .collect();
    let (order, ours) = (OrderId::new(5).to_string(), attempt().to_string());
    let wanted = [
        ("amount", "39000"),
        ("currency", "krw"),
        ("payment_method", "pm_card_visa"),
        ("payment_method_types[]", "card"),
        ("capture_method", "automatic"),
        ("metadata[order_id]", &order),
        ("metadata[attempt_id]", &ours),
    ];
    let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(form, wanted);
}

/// As real Stripe does: the first answer again under the same key, also to a client that remembers nothing.
#[tokio::test]
async fn a_repeat_comes_under_the_same_keys() {
    let fake = Fake::start().await;
    fake.on("POST", INTENTS, 200, intent("requires_confirmation"))
        .await;
    fake.on("POST", CONFIRM, 200, intent("succeeded")).await;
    for stripe in [&fake.stripe, &client(&fake.server.uri())] {
        let outcome = stripe.charge(charge()).await.expect("clear");
        assert_eq!(outcome, PaymentOutcome::Captured);
    }
    for route in [INTENTS, CONFIRM] {
        let asked = fake.asked("POST", route).await;
        let keys: Vec<&str> = asked
            .iter()
            .map(|it| header(it, "idempotency-key"))
            .collect();
        assert_eq!(keys.len(), 2, "{route}");
        assert_eq!(keys[0], keys[1], "{route}");
    }
}

#[tokio::test]
async fn a_card_that_is_declined_is_a_decline() {
    let fake = Fake::start().await;
    fake.on("POST", INTENTS, 200, intent("requires_confirmation"))
        .await;
    let declined = json!({"error": {"type": "card_error", "code": "card_declined", "decline_code": "generic_decline"}});
    fake.on("POST", CONFIRM, 402, declined).await;
    let outcome = fake.stripe.charge(charge()).await.expect("clear");
    assert_eq!(outcome, PaymentOutcome::Declined);
}

#[tokio::test]
async fn nonsense_is_no_answer() {
    let nonsense = [
        "".to_owned(),
        "{".to_owned(),
        "[]".to_owned(),
        "{\"id\": 1}".to_owned(),
        intent("requires_confirmation")
            .to_string()
            .replace("pi_1", "pi_1/../../v1/refunds"),
        intent("requires_confirmation")
            .to_string()
            .replace("pi_1", "ch_1"),
        " ".repeat(5 << 20),
    ];
    for body in nonsense {
        let fake = Fake::start().await;
        fake.on_with(
            "POST",
            INTENTS,
            ResponseTemplate::new(200).set_body_string(&body),
        )
        .await;
        let shown = &body[..body.len().min(80)];
        let said = fake.stripe.charge(charge()).await;
        assert!(is_unavailable(&said), "{shown} was taken for {said:?}");
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let fake = Fake::start().await;
    let late = ResponseTemplate::new(200)
        .set_body_json(intent("succeeded"))
        .set_delay(Duration::from_secs(30));
    fake.on_with("POST", INTENTS, late).await;
    let began = Instant::now();
    let said = fake.stripe.charge(charge()).await;
    assert!(is_unavailable(&said), "{said:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_connection_that_breaks_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let breaker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let read = stream.read(&mut [0; 1024]).expect("a request");
        assert!(read > 0);
        // Closed without an answer; then nobody listens any more.
    });
    let stripe = client(&url);
    let broken_off = stripe.charge(charge()).await;
    assert!(is_unavailable(&broken_off), "{broken_off:?}");
    breaker.join().expect("no panic");
    assert!(is_unavailable(
        &stripe.look_up(attempt(), Instant::now()).await
    ));
    assert!(is_unavailable(&stripe.refund(charge()).await));
}

#[tokio::test]
async fn the_key_goes_nowhere_else_whatever_stripe_redirects_to() {
    for status in [301, 302, 307, 308] {
        let (fake, other) = (Fake::start().await, Fake::start().await);
        let there = ResponseTemplate::new(status)
            .insert_header("Location", format!("{}{INTENTS}", other.server.uri()));
        fake.on_with("POST", INTENTS, there.clone()).await;
        fake.on_with("GET", INTENTS, there).await;
        assert!(
            is_unavailable(&fake.stripe.charge(charge()).await),
            "{status}"
        );
        assert!(is_unavailable(&fake.look_up().await), "{status}");
        assert!(other.is_untouched().await, "{status}");
    }
}

#[tokio::test]
async fn the_state_of_an_intent_is_what_became_of_the_attempt() {
    for (status, outcome) in [
        ("succeeded", PaymentOutcome::Captured),
        ("canceled", PaymentOutcome::Declined),
        ("requires_payment_method", PaymentOutcome::Declined),
    ] {
        let fake = Fake::start().await;
        fake.has_intent(status).await;
        let told = fake.look_up().await.expect("clear");
        assert_eq!(told, Some(outcome), "{status}");
    }
    for status in ["processing", "a_state_of_the_future"] {
        let fake = Fake::start().await;
        fake.has_intent(status).await;
        let said = fake.look_up().await;
        assert!(
            matches!(said, Err(CallError::Unsettled(_))),
            "{status}: {said:?}"
        );
    }
}

#[tokio::test]
async fn an_intent_that_could_still_take_money_is_called_off() {
    for status in [
        "requires_confirmation",
        "requires_action",
        "requires_capture",
    ] {
        let fake = Fake::start().await;
        fake.has_intent(status).await;
        fake.on("POST", CANCEL, 200, intent("canceled")).await;
        let told = fake.look_up().await.expect("clear");
        assert_eq!(told, Some(PaymentOutcome::Declined), "{status}");
        let asked = fake.asked("POST", CANCEL).await;
        let key = format!("layby-{}-cancel", attempt());
        assert_eq!(header(&asked[0], "idempotency-key"), key);
    }
}

#[tokio::test]
async fn a_card_that_asks_its_owner_for_more_is_declined() {
    let fake = Fake::start().await;
    fake.on("POST", INTENTS, 200, intent("requires_confirmation"))
        .await;
    fake.on("POST", CONFIRM, 200, intent("requires_action"))
        .await;
    fake.on("POST", CANCEL, 200, intent("canceled")).await;
    let outcome = fake.stripe.charge(charge()).await.expect("clear");
    assert_eq!(outcome, PaymentOutcome::Declined);
}

#[tokio::test]
async fn a_confirmation_that_is_refused_is_what_the_intent_says() {
    for (status, outcome) in [
        ("succeeded", PaymentOutcome::Captured),
        ("canceled", PaymentOutcome::Declined),
    ] {
        let fake = Fake::start().await;
        fake.on("POST", INTENTS, 200, intent("requires_confirmation"))
            .await;
        let refused = fault("invalid_request_error", "payment_intent_unexpected_state");
        fake.on("POST", CONFIRM, 400, refused).await;
        fake.on("GET", INTENT, 200, intent(status)).await;
        assert_eq!(fake.stripe.charge(charge()).await.expect("clear"), outcome);
    }
}

#[tokio::test]
async fn the_list_is_read_page_by_page_until_the_attempt_is_found() {
    let fake = Fake::start().await;
    list(&fake, None, &[newer("pi_9"), newer("pi_8")], true).await;
    list(
        &fake,
        Some("pi_8"),
        &[newer("pi_7"), intent("succeeded")],
        true,
    )
    .await;
    fake.on("GET", INTENT, 200, intent("succeeded")).await;
    let told = fake.look_up().await.expect("clear");
    assert_eq!(told, Some(PaymentOutcome::Captured));
    assert_eq!(fake.asked("GET", INTENTS).await.len(), 2);
    fake.look_up().await.expect("clear");
    assert_eq!(
        fake.asked("GET", INTENTS).await.len(),
        2,
        "it is remembered"
    );
}

#[tokio::test]
async fn what_is_in_no_page_since_the_attempt_never_arrived() {
    let fake = Fake::start().await;
    list(&fake, None, &[newer("pi_9"), newer("pi_8")], true).await;
    list(
        &fake,
        Some("pi_8"),
        &[newer("pi_7"), foreign("pi_6", MADE_AT - 601)],
        true,
    )
    .await;
    let told = fake.look_up().await.expect("clear");
    assert_eq!(told, None);
    assert_eq!(
        fake.asked("GET", INTENTS).await.len(),
        2,
        "older pages are not read"
    );
}

#[tokio::test]
async fn a_list_that_does_not_show_its_order_is_read_to_its_end() {
    let fake = Fake::start().await;
    list(
        &fake,
        None,
        &[foreign("pi_2", 1_000), foreign("pi_3", 2_000)],
        true,
    )
    .await;
    list(&fake, Some("pi_3"), &[intent("succeeded")], false).await;
    fake.on("GET", INTENT, 200, intent("succeeded")).await;
    let told = fake.look_up().await.expect("clear");
    assert_eq!(told, Some(PaymentOutcome::Captured));
}

#[tokio::test]
async fn a_list_without_an_end_tells_nothing() {
    let fake = Fake::start().await;
    let page = json!({"data": [newer("pi_9"), newer("pi_8")], "has_more": true});
    fake.on("GET", INTENTS, 200, page).await;
    let said = fake.look_up().await;
    assert!(matches!(said, Err(CallError::Refused(_))), "{said:?}");
    assert_eq!(fake.asked("GET", INTENTS).await.len(), PAGES_MAX);
}

#[tokio::test]
async fn one_reading_of_the_list_serves_all_that_wait_for_it() {
    let fake = Fake::start().await;
    let mut other = newer("pi_2");
    let others = AttemptId::new(attempt().get() + 1);
    other["metadata"]["attempt_id"] = json!(others.to_string());
    let page = json!({"data": [other, intent("succeeded")], "has_more": false});
    fake.on("GET", INTENTS, 200, page).await;
    fake.on("GET", INTENT, 200, intent("succeeded")).await;
    fake.on("GET", "/v1/payment_intents/pi_2", 200, newer("pi_2"))
        .await;
    let (one, two) = tokio::join!(fake.look_up(), fake.stripe.look_up(others, Instant::now()));
    assert!(one.expect("clear").is_some() && two.expect("clear").is_some());
    assert_eq!(fake.asked("GET", INTENTS).await.len(), 1);
}

#[tokio::test]
async fn what_one_reading_of_the_list_has_missed_it_has_missed_for_all_that_were_quiet_by_then() {
    let fake = Fake::start().await;
    list(&fake, None, &[newer("pi_9"), newer("pi_8")], true).await;
    list(
        &fake,
        Some("pi_8"),
        &[newer("pi_7"), foreign("pi_6", MADE_AT - 601)],
        true,
    )
    .await;
    let quiet_since = Instant::now();
    for number in 0..20 {
        let attempt = AttemptId::new(attempt().get() + number);
        let told = fake.stripe.look_up(attempt, quiet_since).await;
        assert_eq!(told, Ok(None));
    }
    assert_eq!(
        fake.asked("GET", INTENTS).await.len(),
        2,
        "one reading of two pages"
    );
    let older = AttemptId::new((u128::from(MADE_AT - 10) * 1_000) << 80);
    let before = fake.asked("GET", INTENTS).await.len();
    let told = fake.stripe.look_up(older, quiet_since).await;
    told.expect_err("the list of this test ends before");
    assert!(
        fake.asked("GET", INTENTS).await.len() > before,
        "it did not reach so far back"
    );
}

#[tokio::test]
async fn a_look_up_after_a_charge_does_not_rest_on_a_reading_before_it() {
    let fake = Fake::start().await;
    let nothing = json!({"data": [], "has_more": false});
    let answer = ResponseTemplate::new(200).set_body_json(nothing);
    let empty = Mock::given(method("GET"))
        .and(path(INTENTS))
        .respond_with(answer);
    let empty = fake.server.register_as_scoped(empty).await;
    let quiet_since = Instant::now();
    assert_eq!(fake.stripe.look_up(attempt(), quiet_since).await, Ok(None));
    drop(empty);
    // A charge whose answer was lost: this client knows nothing of the intent that it made.
    fake.has_intent("succeeded").await;
    assert_eq!(fake.stripe.look_up(attempt(), quiet_since).await, Ok(None));
    assert_eq!(fake.look_up().await, Ok(Some(PaymentOutcome::Captured)));
}

#[tokio::test]
async fn money_that_went_back_is_not_sent_again() {
    let fake = Fake::start().await;
    fake.has_intent_with_refund(39_000).await;
    fake.stripe.refund(charge()).await.expect("clear");
    assert!(fake.asked("POST", REFUNDS).await.is_empty());
}

#[tokio::test]
async fn what_costs_nothing_is_not_asked_for() {
    let fake = Fake::start().await;
    let free = Charge {
        amount: won(0),
        ..charge()
    };
    let outcome = fake.stripe.charge(free.clone()).await.expect("clear");
    assert_eq!(outcome, PaymentOutcome::Captured);
    fake.stripe.refund(free).await.expect("clear");
    assert!(fake.is_untouched().await);
}

#[tokio::test]
async fn currencies_that_stripe_counts_otherwise_are_refused() {
    let fake = Fake::start().await;
    for code in OTHER_MINOR_UNITS {
        let amount = Money {
            amount: 100,
            currency: Currency::parse(code).expect("a code"),
        };
        let charge = Charge { amount, ..charge() };
        let said = fake.stripe.charge(charge).await;
        assert!(
            matches!(said, Err(CallError::Refused(_))),
            "{code}: {said:?}"
        );
    }
    assert!(fake.is_untouched().await);
}

#[test]
fn the_key_is_sent_in_the_clear_to_this_machine_alone() {
    let open = |url: &str| {
        Stripe::open(&StripeOptions::at(url), Zeroizing::new(KEY.to_owned())).map(|_| ())
    };
    for url in [
        "https://api.stripe.com",
        "https://api.stripe.com/",
        "http://127.0.0.1:8420",
        "http://localhost",
        "http://[::1]:1",
    ] {
        open(url).unwrap_or_else(|error| panic!("{url}: {error:#}"));
    }
    for url in [
        "http://api.stripe.com",
        "http://127.0.0.1.example.com",
        "ftp://localhost",
        "localhost:8420",
        "stripe",
    ] {
        let said = format!("{:#}", open(url).expect_err(url));
        assert!(said.contains(url) && !said.contains(KEY), "{said}");
    }
}

#[test]
fn nothing_that_is_printed_has_the_key_in_it() {
    let shown = format!("{:?}", client("http://127.0.0.1:9"));
    assert!(!shown.contains("sk_test"), "{shown}");
}

impl Fake {
    async fn has_intent_with_refund(&self, refunded: i64) {
        self.on(
            "GET",
            INTENTS,
            200,
            json!({"data": [intent("succeeded")], "has_more": false}),
        )
        .await;
        let mut whole = intent("succeeded");
        whole["latest_charge"] =
            json!({"id": "ch_1", "amount": 39_000, "amount_refunded": refunded});
        self.on("GET", INTENT, 200, whole).await;
    }
}

/// Somebody else's, made at the time of ours.
fn foreign(id: &str, created: u64) -> Value {
    json!({"id": id, "status": "succeeded", "created": created, "metadata": {"shop": "another"}})
}

fn newer(id: &str) -> Value {
    let mut newer = foreign(id, MADE_AT + 60);
    newer["metadata"] = json!({});
    newer
}

async fn list(fake: &Fake, after: Option<&str>, intents: &[Value], has_more: bool) {
    let page =
        ResponseTemplate::new(200).set_body_json(json!({"data": intents, "has_more": has_more}));
    let mock = Mock::given(method("GET"))
        .and(path(INTENTS))
        .and(query_param("limit", "100"));
    let mock = match after {
        Some(id) => mock.and(query_param("starting_after", id)),
        None => mock.and(query_param_is_missing("starting_after")),
    };
    mock.respond_with(page).mount(&fake.server).await;
}
