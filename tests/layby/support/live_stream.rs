//! A client of a live stream, which reads it event by event.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::wire::{connect, parse};
use super::{Answer, Caller};

/// Longer than it takes from one comment to the next.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct LiveStream {
    stream: TcpStream,
    asked: String,
    /// What has come in and was not read yet.
    read: Vec<u8>,
}

/// One piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Event {
        name: String,
        data: Value,
    },
    Comment,
    /// When to connect again.
    Retry,
}

impl Caller {
    /// Listens to a stream that must be open to this caller.
    #[track_caller]
    pub(crate) fn listen(&self, path: &str) -> LiveStream {
        self.try_listen(path)
            .unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// How a stream is answered; whoever is let in hangs up.
    #[track_caller]
    pub(crate) fn hear_out(&self, path: &str) -> Answer {
        self.begin(path).1
    }

    #[track_caller]
    pub(crate) fn try_listen(&self, path: &str) -> Result<LiveStream, Box<Answer>> {
        let (mut listener, answer) = self.begin(path);
        if answer.status != 200 {
            return Err(answer.into());
        }
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("x-accel-buffering", "no"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name} of {answer}");
        }
        let head_ends = listener.read.windows(4).position(|it| it == b"\r\n\r\n");
        listener.read.drain(..head_ends.expect("a head") + 4);
        assert_eq!(listener.hears(), Some(Heard::Retry), "it comes first");
        Ok(listener)
    }

    /// Asks, and reads the head of the answer.
    #[track_caller]
    fn begin(&self, path: &str) -> (LiveStream, Answer) {
        let mut stream = connect(self.url());
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let bearer = match self.token() {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let more: String = self
            .headers()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!("GET {path} HTTP/1.1\r\nHost: shop\r\n{bearer}{more}\r\n");
        stream.write_all(head.as_bytes()).expect("a request");
        let mut listener = LiveStream {
            stream,
            asked: format!("GET {path}"),
            read: Vec::new(),
        };
        let answer = loop {
            if let Some(answer) = parse(&listener.read, &listener.asked) {
                break answer;
            }
            assert!(listener.read_on(), "{} got no answer", listener.asked);
        };
        answer.check_manners();
        (listener, answer)
    }
}

impl LiveStream {
    /// The next piece; `None` at the end of the stream.
    #[track_caller]
    pub(crate) fn hears(&mut self) -> Option<Heard> {
        loop {
            if let Some(end) = self.read.windows(2).position(|it| it == b"\n\n") {
                let piece: Vec<u8> = self.read.drain(..end + 2).collect();
                return Some(Heard::parse(std::str::from_utf8(&piece).expect("text")));
            }
            if !self.read_on() {
                assert!(self.read.is_empty(), "half an event at the end");
                return None;
            }
        }
    }

    /// The data of the next event of this name. Another event is a fault, comments are passed over.
    #[track_caller]
    pub(crate) fn next(&mut self, wanted: &str) -> Value {
        loop {
            match self.hears() {
                Some(Heard::Event { name, data }) => {
                    assert_eq!(name, wanted, "{data}");
                    return data;
                }
                Some(Heard::Comment) => {}
                other => panic!("{} gave {other:?} instead of `{wanted}`", self.asked),
            }
        }
    }

    /// The first event of this name that is as wanted.
    #[track_caller]
    pub(crate) fn until(&mut self, name: &str, mut is_it: impl FnMut(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let data = self.next(name);
            if is_it(&data) {
                return data;
            }
            assert!(began.elapsed() < PATIENCE, "the last `{name}` was {data}");
        }
    }

    /// Reads to the end, which must come within the time given.
    #[track_caller]
    pub(crate) fn ends_within(&mut self, limit: Duration) {
        let began = Instant::now();
        while self.hears().is_some() {}
        assert!(began.elapsed() < limit, "{} went on", self.asked);
    }

    /// Everything that comes until nothing has come for this long.
    #[track_caller]
    pub(crate) fn all_for(&mut self, silence: Duration) -> Vec<Heard> {
        self.stream
            .set_read_timeout(Some(silence))
            .expect("a time-out");
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(bytes) => self.read.extend_from_slice(&chunk[..bytes]),
                Err(error) if is_silence(&error) => break,
                Err(error) => panic!("{} broke: {error}", self.asked),
            }
        }
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time-out");
        let mut heard = Vec::new();
        while self.read.windows(2).any(|it| it == b"\n\n") {
            heard.extend(self.hears());
        }
        heard
    }

    pub(crate) fn says(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("written");
    }

    /// `false` at the end of the stream.
    #[track_caller]
    fn read_on(&mut self) -> bool {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(bytes) => {
                self.read.extend_from_slice(&chunk[..bytes]);
                bytes > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{} gave nothing for {PATIENCE:?}: {error}", self.asked),
        }
    }
}

impl Heard {
    fn parse(piece: &str) -> Self {
        if piece.starts_with(':') {
            return Self::Comment;
        }
        if piece.starts_with("retry: ") {
            return Self::Retry;
        }
        let mut lines = piece.lines();
        let name = lines.next().and_then(|it| it.strip_prefix("event: "));
        let data = lines.next().and_then(|it| it.strip_prefix("data: "));
        let (Some(name), Some(data)) = (name, data) else {
            panic!("not an event: {piece:?}");
        };
        Self::Event {
            name: name.to_owned(),
            data: serde_json::from_str(data).expect("JSON"),
        }
    }

    pub(crate) fn data(&self) -> Option<&Value> {
        match self {
            Self::Event { data, .. } => Some(data),
            Self::Comment | Self::Retry => None,
        }
    }
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
