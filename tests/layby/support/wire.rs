//! Bytes on the wire, for what no decent client would send.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use super::Answer;

const WITHIN: Duration = Duration::from_secs(20);

/// What came of it.
#[derive(Debug)]
pub(crate) enum Exchange {
    Answered(Answer),
    /// The server closed the connection without a word.
    Closed,
}

/// Sends the bytes on a connection of their own and reads one answer.
#[track_caller]
pub(crate) fn exchange(url: &str, bytes: &[u8]) -> Exchange {
    let mut stream = connect(url);
    // The server may refuse before it has read everything.
    stream.write_all(bytes).ok();
    read_answer(
        &mut stream,
        &String::from_utf8_lossy(&bytes[..bytes.len().min(200)]),
    )
}

pub(crate) fn connect(url: &str) -> TcpStream {
    let address = url.strip_prefix("http://").expect("an http url");
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(WITHIN)).expect("a time-out");
    stream.set_write_timeout(Some(WITHIN)).expect("a time-out");
    stream
}

/// Reads up to the announced length, or to the end of the stream.
#[track_caller]
pub(crate) fn read_answer(stream: &mut TcpStream, asked: &str) -> Exchange {
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(answer) = parse(&read, asked) {
            return Exchange::Answered(answer);
        }
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(bytes) => read.extend_from_slice(&chunk[..bytes]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("no answer to {asked:?}: {error}"),
        }
    }
    assert!(
        read.is_empty(),
        "half an answer to {asked:?}: {}",
        String::from_utf8_lossy(&read)
    );
    Exchange::Closed
}

impl Exchange {
    #[track_caller]
    pub(crate) fn answer(self) -> Answer {
        match self {
            Self::Answered(answer) => answer,
            Self::Closed => panic!("the connection was closed without an answer"),
        }
    }
}

pub(super) fn parse(read: &[u8], asked: &str) -> Option<Answer> {
    let head_ends = read.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&read[..head_ends]).expect("a head is ASCII");
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').expect("a header");
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).expect("a name"),
            HeaderValue::from_str(value.trim()).expect("a value"),
        );
    }
    let announced = headers.get("content-length").map(HeaderValue::to_str);
    let length: usize = announced.map_or(0, |it| it.expect("digits").parse().expect("a number"));
    let body = read.get(head_ends + 4..head_ends + 4 + length)?;
    Some(Answer::new(
        asked.to_owned(),
        status,
        headers,
        body.to_vec(),
    ))
}
