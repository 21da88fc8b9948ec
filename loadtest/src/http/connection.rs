//! One keep-alive connection: write the bytes of a request, read one framed answer.

use std::borrow::Cow;
use std::time::Duration;
use std::{fmt, io};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Address;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BUFFER_BYTES_START: usize = 4 * 1024;
/// An answer longer than this is a fault of the server, or of the address.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
const HEADERS_MAX: usize = 48;

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of `buffer` has been read from the wire.
    filled: usize,
    /// False from the first byte written until a whole answer has been read, and for good once the server said `close`.
    reusable: bool,
}

/// A whole answer, borrowed from the buffer of its connection.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Cow<'a, [u8]>,
}

/// Why a request got no answer. Whether it had an effect is unknown.
#[derive(Debug)]
pub(crate) enum Fault {
    Connect(io::Error),
    Lost(io::Error),
    Closed,
    TimedOut(Duration),
    Malformed(String),
}

impl Connection {
    pub(crate) async fn open(address: &Address) -> Result<Self, Fault> {
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address.socket));
        let stream = connecting
            .await
            .map_err(|_elapsed| Fault::TimedOut(CONNECT_TIMEOUT))?
            .map_err(Fault::Connect)?;
        stream.set_nodelay(true).map_err(Fault::Connect)?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER_BYTES_START],
            filled: 0,
            reusable: true,
        })
    }

    /// False when the server has closed it, or an exchange on it did not end: throw it away.
    pub(crate) fn is_usable(&self) -> bool {
        if !self.reusable {
            return false;
        }
        let mut byte = [0];
        let read = self.stream.try_read(&mut byte);
        read.is_err_and(|err| err.kind() == io::ErrorKind::WouldBlock)
    }

    pub(crate) async fn exchange(
        &mut self,
        request: &[u8],
        limit: Duration,
    ) -> Result<Answer<'_>, Fault> {
        self.reusable = false;
        self.filled = 0;
        timeout(limit, self.write_and_read(request))
            .await
            .map_err(|_elapsed| Fault::TimedOut(limit))?
    }

    async fn write_and_read(&mut self, request: &[u8]) -> Result<Answer<'_>, Fault> {
        self.stream.write_all(request).await.map_err(Fault::Lost)?;
        let head = self.read_head().await?;
        let status = head.status;
        let retry_after = head.retry_after;
        let stays_open = !head.closes;
        let body = match head.framing {
            Framing::Length(length) => {
                let end = head.bytes + length;
                self.read_to(end).await?;
                Cow::Borrowed(&self.buffer[head.bytes..end])
            }
            Framing::Chunked => Cow::Owned(self.read_chunks(head.bytes).await?),
        };
        self.reusable = stays_open;
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    }

    async fn read_head(&mut self) -> Result<Head, Fault> {
        loop {
            self.read_some().await?;
            while let Some(head) = Head::parse(&self.buffer[..self.filled])? {
                if head.status >= 200 {
                    return Ok(head);
                }
                // An interim answer (100 Continue) stands before the real one.
                self.buffer.copy_within(head.bytes..self.filled, 0);
                self.filled -= head.bytes;
            }
        }
    }

    async fn read_to(&mut self, end: usize) -> Result<(), Fault> {
        if end > ANSWER_BYTES_MAX {
            return Err(Fault::Malformed(format!(
                "an answer of {end} bytes is over the limit of {ANSWER_BYTES_MAX}"
            )));
        }
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        while self.filled < end {
            self.read_some().await?;
        }
        Ok(())
    }

    async fn read_chunks(&mut self, from: usize) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some(body) = join_chunks(&self.buffer[from..self.filled])? {
                return Ok(body);
            }
            self.read_some().await?;
        }
    }

    async fn read_some(&mut self) -> Result<(), Fault> {
        if self.filled == self.buffer.len() {
            if self.filled >= ANSWER_BYTES_MAX {
                return Err(Fault::Malformed(format!(
                    "an answer is over the limit of {ANSWER_BYTES_MAX} bytes"
                )));
            }
            self.buffer.resize(self.filled * 2, 0);
        }
        let read = self
            .stream
            .read(&mut self.buffer[self.filled..])
            .await
            .map_err(Fault::Lost)?;
        if read == 0 {
            return Err(Fault::Closed);
        }
        self.filled += read;
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(err) => write!(f, "cannot connect: {err}"),
            Self::Lost(err) => write!(f, "the connection broke: {err}"),
            Self::Closed => write!(f, "the server closed the connection before it answered"),
            Self::TimedOut(limit) => write!(f, "no answer within {} s", limit.as_secs_f32()),
            Self::Malformed(what) => write!(f, "not an HTTP/1.1 answer: {what}"),
        }
    }
}

impl std::error::Error for Fault {}

struct Head {
    status: u16,
    bytes: usize,
    framing: Framing,
    closes: bool,
    retry_after: Option<Duration>,
}

enum Framing {
    Length(usize),
    Chunked,
}

impl Head {
    /// `None` while the head is not complete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response
            .parse(bytes)
            .map_err(|err| Fault::Malformed(err.to_string()))?;
        let httparse::Status::Complete(head_bytes) = parsed else {
            return Ok(None);
        };
        let status = response.code.unwrap_or_default();
        let mut length = None;
        let mut chunked = false;
        let mut closes = false;
        let mut retry_after = None;
        for header in response.headers.iter() {
            let value = header.value.trim_ascii();
            match header.name.len() {
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    length = Some(number(value)?)
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    chunked = value.eq_ignore_ascii_case(b"chunked")
                }
                10 if header.name.eq_ignore_ascii_case("connection") => {
                    closes = value.eq_ignore_ascii_case(b"close")
                }
                11 if header.name.eq_ignore_ascii_case("retry-after") => {
                    retry_after = number(value).ok()
                }
                _ => {}
            }
        }
        let framing = match (chunked, length) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) if status < 200 || status == 204 || status == 304 => Framing::Length(0),
            (false, None) => {
                return Err(Fault::Malformed(
                    "it has neither Content-Length nor chunks".to_owned(),
                ));
            }
        };
        let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds as u64));
        Ok(Some(Self {
            status,
            bytes: head_bytes,
            framing,
            closes,
            retry_after,
        }))
    }
}

fn number(value: &[u8]) -> Result<usize, Fault> {
    let text = std::str::from_utf8(value).unwrap_or("?");
    text.parse()
        .map_err(|_err| Fault::Malformed(format!("`{text}` is not a number")))
}

/// The joined body, or `None` while the last chunk is missing. Trailers are not supported.
fn join_chunks(mut rest: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let mut body = Vec::new();
    loop {
        let parsed = httparse::parse_chunk_size(rest)
            .map_err(|_err| Fault::Malformed("a chunk has no size".to_owned()))?;
        let httparse::Status::Complete((at, size)) = parsed else {
            return Ok(None);
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > ANSWER_BYTES_MAX {
            return Err(Fault::Malformed(format!(
                "a chunk of {size} bytes is over the limit of {ANSWER_BYTES_MAX}"
            )));
        }
        let Some(chunk) = rest.get(at..at + size + 2) else {
            return Ok(None);
        };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(&chunk[..size]);
        rest = &rest[at + size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(300);

    /// A server that says the given pieces, one write each, after every request it reads.
    async fn connection_to(pieces: &'static [&'static str]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = Address::parse(&format!("http://{}", listener.local_addr().expect("bound")))
            .expect("valid");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut request = [0; 1024];
            while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                for piece in pieces {
                    stream.write_all(piece.as_bytes()).await.expect("write");
                    tokio::task::yield_now().await;
                }
                if pieces.is_empty() {
                    return;
                }
            }
        });
        Connection::open(&address).await.expect("open")
    }

    async fn check(
        pieces: &'static [&'static str],
        expected: Result<(u16, &str), &str>,
        reusable: bool,
    ) {
        let mut connection = connection_to(pieces).await;
        let answer = connection.exchange(b"GET / HTTP/1.1\r\n\r\n", LIMIT).await;
        let answer = answer.map(|answer| {
            (
                answer.status,
                String::from_utf8_lossy(&answer.body).into_owned(),
            )
        });
        let answer = answer.map_err(|fault| fault.to_string());
        match (answer, expected) {
            (Ok((status, body)), Ok(expected)) => assert_eq!((status, body.as_str()), expected),
            (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
            (answer, expected) => panic!("{answer:?} is not {expected:?}"),
        }
        assert_eq!(connection.is_usable(), reusable);
    }

    #[tokio::test]
    async fn an_answer_is_read_whatever_its_pieces() {
        check(
            &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"],
            Ok((200, "hi")),
            true,
        )
        .await;
        check(
            &["HTTP/1.1 200 OK\r\nCont", "ent-Length: 2\r\n\r\nh", "i"],
            Ok((200, "hi")),
            true,
        )
        .await;
        check(&["HTTP/1.1 204 No Content\r\n\r\n"], Ok((204, "")), true).await;
        check(
            &[
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n",
                "1\r\ni\r\n0\r\n\r\n",
            ],
            Ok((200, "hi")),
            true,
        )
        .await;
        check(
            &["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"],
            Ok((200, "hi")),
            true,
        )
        .await;
        check(
            &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"],
            Ok((200, "")),
            false,
        )
        .await;
    }

    #[tokio::test]
    async fn a_broken_answer_is_a_fault_that_says_how() {
        check(&[], Err("closed the connection"), false).await;
        check(
            &["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"],
            Err("no answer within 0.3 s"),
            false,
        )
        .await;
        check(
            &["HTTP/1.1 200 OK\r\n\r\n"],
            Err("neither Content-Length nor chunks"),
            false,
        )
        .await;
        check(
            &["SSH-2.0-OpenSSH\r\n\r\n"],
            Err("not an HTTP/1.1 answer"),
            false,
        )
        .await;
        check(
            &["HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"],
            Err("over the limit"),
            false,
        )
        .await;
    }

    #[tokio::test]
    async fn a_connection_serves_many_exchanges() {
        let mut connection =
            connection_to(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"]).await;
        for _ in 0..3 {
            let answer = connection
                .exchange(b"GET / HTTP/1.1\r\n\r\n", LIMIT)
                .await
                .expect("answered");
            assert_eq!(&*answer.body, b"hi");
        }
    }
}
