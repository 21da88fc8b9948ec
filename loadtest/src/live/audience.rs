//! Thousands of clients that listen to the live stream of one product, on a thread of their own.
//!
//! They share one buffer and keep nothing but the piece of a line that has come in so far.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::clock::Clock;
use crate::http::{Address, Request};
use crate::report::{new_histogram, quantile_ms};

/// Connecting all at once would measure the kernel's queue.
const OPENING_AT_ONCE: usize = 64;
const OPENED_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Streams from one source address: there are not enough ports for more, with those of the round before still waiting.
const STREAMS_PER_SOURCE: u32 = 10_000;
/// Room for a few events.
const BUFFER_BYTES: usize = 16 << 10;
const AVAILABLE: &[u8] = b"\"available\":";

#[derive(Debug)]
pub(super) struct Audience {
    heard: Arc<Heard>,
    leave: oneshot::Sender<()>,
    thread: JoinHandle<Result<()>>,
}

/// How long steps took to the streams.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) after_us: Histogram<u64>,
    /// Streams that had not heard of a step when they were asked.
    pub(super) missed: u64,
}

/// What the streams have heard, shared with whoever makes the steps.
#[derive(Debug)]
struct Heard {
    clock: Clock,
    plenty: u64,
    step_units: u64,
    streams: u32,
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    /// When a step was asked for, for each step since the reach was last taken.
    asked_us: Vec<(u32, u64)>,
    after_us: Histogram<u64>,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            after_us: new_histogram(),
            missed: 0,
        }
    }
}

impl Reach {
    pub(super) fn add(&mut self, other: Self) {
        // Both have the bounds of `new_histogram`.
        self.after_us.add(other.after_us).ok();
        self.missed += other.missed;
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "p50": quantile_ms(&self.after_us, 0.5),
            "p99": quantile_ms(&self.after_us, 0.99),
            "max": quantile_ms(&self.after_us, 1.0),
            "heard": self.after_us.len(),
            "missed": self.missed,
        })
    }
}

impl Audience {
    /// Returns when every stream has had its first event.
    pub(super) fn gather(
        address: Address,
        product: Uuid,
        streams: u32,
        round: u32,
        plenty: u64,
        step_units: u64,
    ) -> Result<Self> {
        let heard = Arc::new(Heard {
            clock: Clock::start(),
            plenty,
            step_units,
            streams,
            notes: Mutex::new(Notes {
                asked_us: Vec::new(),
                after_us: new_histogram(),
            }),
        });
        let (leave, left) = oneshot::channel();
        let (opened, is_open) = std::sync::mpsc::channel();
        let listening = Arc::clone(&heard);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let listening = listen_all(&listening, &address, product, round, opened, left);
            LocalSet::new().block_on(&runtime, listening)
        });
        if is_open.recv_timeout(OPENED_WITHIN).is_err() {
            if thread.is_finished() {
                thread
                    .join()
                    .unwrap_or_else(|_| bail!("the audience ended in a bug"))?;
            }
            bail!("{streams} streams were not open within {OPENED_WITHIN:?}");
        }
        Ok(Self {
            heard,
            leave,
            thread,
        })
    }

    /// From now on the time runs in which streams hear of this step.
    pub(super) fn expect(&self, step: u32) {
        let now_us = self.heard.clock.now_us();
        self.heard.notes().asked_us.push((step, now_us));
    }

    /// How long the steps since the last call took, once all streams have heard of them or the limit is over.
    pub(super) async fn reach_within(&self, limit: Duration) -> Reach {
        let all_heard = async {
            while self.heard.is_anybody_missing() {
                sleep(LOOK_EVERY).await;
            }
        };
        // Whoever is missing then is counted.
        timeout(limit, all_heard).await.ok();
        let mut notes = self.heard.notes();
        let wanted = notes.wanted(self.heard.streams);
        notes.asked_us.clear();
        let after_us = std::mem::replace(&mut notes.after_us, new_histogram());
        Reach {
            missed: wanted.saturating_sub(after_us.len()),
            after_us,
        }
    }

    pub(super) fn leave(self) -> Result<()> {
        drop(self.leave);
        self.thread
            .join()
            .unwrap_or_else(|_| bail!("the audience ended in a bug"))
    }
}

impl Heard {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("nobody panics with it")
    }

    fn is_anybody_missing(&self) -> bool {
        let notes = self.notes();
        notes.after_us.len() < notes.wanted(self.streams)
    }

    /// The step that so many available units are of.
    fn step(&self, available: u64) -> u32 {
        let above = available.saturating_sub(self.plenty);
        u32::try_from(above.div_ceil(self.step_units)).unwrap_or(u32::MAX)
    }

    /// A stream that knew of the steps up to `known` shows those up to `step`.
    fn note(&self, known: u32, step: u32) {
        let now_us = self.clock.now_us();
        let mut notes = self.notes();
        let Notes { asked_us, after_us } = &mut *notes;
        for (_, at_us) in asked_us
            .iter()
            .filter(|(asked, _)| known < *asked && *asked <= step)
        {
            after_us.saturating_record(now_us.saturating_sub(*at_us));
        }
    }
}

impl Notes {
    /// How often something is to be heard, if every stream hears of every step.
    fn wanted(&self, streams: u32) -> u64 {
        let steps = u64::try_from(self.asked_us.len()).unwrap_or(u64::MAX);
        steps.saturating_mul(u64::from(streams))
    }
}

async fn listen_all(
    heard: &Arc<Heard>,
    address: &Address,
    product: Uuid,
    round: u32,
    opened: std::sync::mpsc::Sender<()>,
    left: oneshot::Receiver<()>,
) -> Result<()> {
    let path = format!("/v1/products/{product}/live");
    let request = Rc::new(Request::get(address, &path, "none"));
    let buffer = Rc::new(RefCell::new(vec![0; BUFFER_BYTES]));
    let mut listeners = JoinSet::new();
    let mut opening = JoinSet::new();
    for number in 0..heard.streams {
        if opening.len() == OPENING_AT_ONCE {
            admit(&mut opening, &mut listeners).await?;
        }
        let mut listener = Listener {
            heard: Arc::clone(heard),
            buffer: Rc::clone(&buffer),
            line: Vec::new(),
            known: None,
        };
        let (target, source) = (address.socket, source(address.socket, number, round));
        let request = Rc::clone(&request);
        opening.spawn_local(async move {
            let socket = listener.open(target, source, &request).await?;
            anyhow::Ok((listener, socket))
        });
    }
    while !opening.is_empty() {
        admit(&mut opening, &mut listeners).await?;
    }
    // Nobody waits for it any more if it took too long.
    opened.send(()).ok();
    tokio::select! {
        // Whoever gathered them has let go.
        _ = left => Ok(()),
        Some(ended) = listeners.join_next() => {
            ended.context("a listener ended in a bug")?
        }
    }
}

async fn admit(
    opening: &mut JoinSet<Result<(Listener, TcpStream)>>,
    listeners: &mut JoinSet<Result<()>>,
) -> Result<()> {
    if let Some(opened) = opening.join_next().await {
        let (listener, socket) = opened.context("a stream was not opened because of a bug")??;
        listeners.spawn_local(listener.listen(socket));
    }
    Ok(())
}

/// On the loopback every address is ours.
fn source(target: SocketAddr, number: u32, round: u32) -> Option<SocketAddr> {
    let IpAddr::V4(address) = target.ip() else {
        return None;
    };
    let sources = number / STREAMS_PER_SOURCE + 8 * (round % 16);
    let last = u8::try_from(2 + sources % 250).unwrap_or(2);
    address
        .is_loopback()
        .then_some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
}

struct Listener {
    heard: Arc<Heard>,
    buffer: Rc<RefCell<Vec<u8>>>,
    /// A line of which the end has not come yet.
    line: Vec<u8>,
    /// The last step that was seen.
    known: Option<u32>,
}

impl Listener {
    /// Returns when the first event is there.
    async fn open(
        &mut self,
        target: SocketAddr,
        source: Option<SocketAddr>,
        request: &Request,
    ) -> Result<TcpStream> {
        let socket = if target.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(source) = source {
            socket.bind(source)?;
        }
        let socket = socket.connect(target).await;
        let socket = socket.context("a stream could not be opened; raise `ulimit -n`")?;
        let written = socket.try_write(request.bytes())?;
        ensure!(
            written == request.bytes().len(),
            "a request did not fit into an empty socket"
        );
        while self.known.is_none() {
            self.hear(&socket).await?;
        }
        Ok(socket)
    }

    async fn listen(mut self, socket: TcpStream) -> Result<()> {
        loop {
            self.hear(&socket).await?;
        }
    }

    async fn hear(&mut self, socket: &TcpStream) -> Result<()> {
        socket.readable().await?;
        let buffer = Rc::clone(&self.buffer);
        let mut buffer = buffer.borrow_mut();
        match socket.try_read(&mut buffer) {
            Ok(0) => bail!("the server closed a stream"),
            Ok(bytes) => self.take_in(&buffer[..bytes]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !piece.ends_with(b"\n") {
                self.line.extend_from_slice(piece);
            } else if self.line.is_empty() {
                self.read_line(piece)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(piece);
                self.read_line(&line)?;
            }
        }
        Ok(())
    }

    fn read_line(&mut self, line: &[u8]) -> Result<()> {
        if line.starts_with(b"HTTP/1.1 ") {
            let status = String::from_utf8_lossy(line);
            ensure!(status.contains(" 200 "), "a stream was answered {status}");
        }
        let Some(available) = available(line) else {
            return Ok(());
        };
        let step = self.heard.step(available);
        if let Some(known) = self.known
            && step > known
        {
            self.heard.note(known, step);
        }
        self.known = Some(step);
        Ok(())
    }
}

/// The units that an event says are available.
fn available(line: &[u8]) -> Option<u64> {
    if !line.starts_with(b"data: ") {
        return None;
    }
    let at = line
        .windows(AVAILABLE.len())
        .position(|window| window == AVAILABLE)?;
    let digits = line[at + AVAILABLE.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> Listener {
        Listener {
            heard: Arc::new(Heard {
                clock: Clock::start(),
                plenty: 1_000,
                step_units: 100,
                streams: 1,
                notes: Mutex::new(Notes {
                    asked_us: vec![(1, 0), (2, 0)],
                    after_us: new_histogram(),
                }),
            }),
            buffer: Rc::default(),
            line: Vec::new(),
            known: None,
        }
    }

    #[test]
    fn a_step_is_heard_whatever_was_sold_and_however_the_bytes_come() {
        let mut listener = listener();
        let mut hear = |text: &str| {
            listener.take_in(text.as_bytes()).expect("an answer");
            (listener.known, listener.heard.notes().after_us.len())
        };
        assert_eq!(hear("HTTP/1.1 200 OK\r\n\r\nretry: 1\n\n"), (None, 0));
        assert_eq!(hear("data: {\"available\":990}\n\n"), (Some(0), 0));
        assert_eq!(hear("data: {\"avail"), (Some(0), 0));
        assert_eq!(hear("able\":1042,\"holds\":1}\n"), (Some(1), 1));
        assert_eq!(hear("data: {\"available\":1001}\n\n: x\n\n"), (Some(1), 1));
        assert_eq!(hear("data: {\"available\":1200}\n\n"), (Some(2), 2));
    }

    #[test]
    fn another_answer_ends_the_run() {
        let message = listener()
            .take_in(b"HTTP/1.1 503 Service Unavailable\r\n")
            .expect_err("refused");
        assert!(message.to_string().contains("503"), "{message}");
    }
}
