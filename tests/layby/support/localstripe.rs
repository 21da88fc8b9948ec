//! A Stripe that nobody here wrote: the Python package localstripe. Stateful, with books to compare; it ignores idempotency keys.
//!
//! Knows nothing of the other helpers, because the unit tests of `src/gateways/payment` use it too.
#![allow(dead_code, reason = "two sets of tests use it, each a part of it")]

use std::io::{self, Read, Seek};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request};

/// Ended when it is dropped. Starts empty.
pub(crate) struct LocalStripe {
    child: Child,
    port: u16,
    agent: Agent,
}

/// An intent as Stripe's own books have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Booked {
    pub(crate) id: String,
    pub(crate) order: String,
    pub(crate) attempt: String,
    pub(crate) status: String,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
}

/// Another program may take the free port first.
const START_TRIES: u32 = 5;
const STARTS_WITHIN: Duration = Duration::from_secs(20);

impl LocalStripe {
    /// Any key will do that looks like one.
    pub(crate) const KEY: &'static str = "sk_test_0123456789abcdef";
    /// The means of payment that it declines.
    pub(crate) const DECLINED: &'static str = "pm_card_chargeCustomerFail";
    pub(crate) const GOOD: &'static str = "pm_card_visa";

    pub(crate) fn start() -> Self {
        let mut said = String::new();
        for _ in 0..START_TRIES {
            let port = free_port();
            match run(port) {
                Ok(Ok(child)) => {
                    return Self {
                        child,
                        port,
                        agent: agent(),
                    };
                }
                Ok(Err(instead)) => said = instead,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    panic!("there is no localstripe in PATH; scripts/test installs it")
                }
                Err(error) => panic!("localstripe: {error}"),
            }
        }
        panic!("localstripe did not start on {START_TRIES} ports: {said}");
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Events are sent there from now on, a second after they happen, and once.
    pub(crate) fn send_webhooks_to(&self, url: &str, secret: &str) {
        let path = "/_config/webhooks/shop";
        self.ask(&Method::POST, path, &[("url", url), ("secret", secret)]);
    }

    /// All intents that carry our ids.
    pub(crate) fn books(&self) -> Vec<Booked> {
        let page = self.ask(&Method::GET, "/v1/payment_intents?limit=10000", &[]);
        let intents = page["data"].as_array().expect("a list");
        intents.iter().filter_map(booked).collect()
    }

    /// What it keeps: captured less refunded.
    pub(crate) fn money(&self) -> i64 {
        let books = self.books();
        books.iter().map(|it| it.captured - it.refunded).sum()
    }

    /// One call, as its own clients make it. The form is empty for reading.
    pub(crate) fn ask(&self, method: &Method, path: &str, form: &[(&str, &str)]) -> Value {
        let pairs = form.iter().map(|(name, value)| format!("{name}={value}"));
        let form: String = pairs.collect::<Vec<_>>().join("&");
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url()))
            .header("Authorization", format!("Bearer {}", Self::KEY))
            .header("Content-Type", "application/x-www-form-urlencoded");
        let answer = if *method == Method::GET {
            self.agent.run(request.body(()).expect("a request"))
        } else {
            self.agent.run(request.body(form).expect("a request"))
        };
        let mut body = answer.expect("an answer").into_body();
        let text = body.read_to_string().expect("text");
        if text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
    }

    /// It hangs: connections stay open, and nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal");
    }

    /// As by `kill -9`: its books are gone with it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().expect("an end");
    }
}

impl Drop for LocalStripe {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What it said, if it ended instead of listening.
fn run(port: u16) -> io::Result<Result<Child, String>> {
    let mut said = tempfile::tempfile()?;
    let mut child = Command::new("localstripe")
        .args(["--from-scratch", "--port", &port.to_string()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone()?)
        .spawn()?;
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = child.try_wait()? {
            let mut text = format!("{status}; ");
            said.rewind()?;
            said.read_to_string(&mut text)?;
            return Ok(Err(text));
        }
        assert!(
            began.elapsed() < STARTS_WITHIN,
            "localstripe does not listen"
        );
        wait();
    }
    Ok(Ok(child))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process says nothing when it listens"
)]
fn wait() {
    std::thread::sleep(Duration::from_millis(20));
}

fn booked(intent: &Value) -> Option<Booked> {
    let text = |of: &Value| of.as_str().map(str::to_owned);
    let charge = &intent["latest_charge"];
    let number = |name: &str| charge[name].as_i64().unwrap_or(0);
    let status = text(&intent["status"])?;
    Some(Booked {
        id: text(&intent["id"])?,
        order: text(&intent["metadata"]["order_id"])?,
        attempt: text(&intent["metadata"]["attempt_id"])?,
        captured: if status == "succeeded" {
            number("amount")
        } else {
            0
        },
        refunded: number("amount_refunded"),
        status,
    })
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .proxy(None)
        .build();
    config.into()
}

/// Free at this moment, and not one of those that the kernel gives to clients: it takes Python a while to listen there.
fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let drawn = std::iter::repeat_with(|| rand::random_range(20_000..32_000));
    drawn.take(100).find(is_free).expect("a free port")
}
