//! One live stream: a socket, what it says, and what ends it.

use std::io::{self, ErrorKind};

use actix_web::web::Bytes;
use tokio::net::TcpStream;

use super::admission::Permit;
use super::event::COMMENT;
use super::feed::{Feed, Next};
use crate::accounts::access::Gate;
use crate::accounts::token::Role;
use crate::domain::{Span, Timestamp};

/// Everything but the socket, which comes later.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) feed: Feed,
    pub(super) pass: Option<Pass>,
    #[expect(dead_code, reason = "counts for as long as it lives")]
    pub(super) permit: Permit,
}

/// Why the stream may go on: asked again with every comment.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) token: Box<str>,
    pub(super) roles: &'static [Role],
}

#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    plan: Plan,
    /// What the socket has not taken yet of the event before. Until it has, nothing newer is looked at: a slow reader
    /// is at most this far behind.
    rest: Bytes,
    comment_at: Timestamp,
}

impl Pass {
    pub(super) fn is_good(&self, gate: &Gate) -> bool {
        let bearer = gate.admit(&self.token);
        bearer.is_ok_and(|bearer| self.roles.contains(&bearer.role))
    }
}

impl Stream {
    const COMMENT_EVERY: Span = Span::from_secs(10);
    /// A reader that has taken nothing for so long after a comment was due is given up.
    const STUCK_MAX: Span = Span::from_secs(20);
    /// What the kernel keeps for a slow reader; it doubles the number for its own use.
    const SEND_BUFFER_BYTES: usize = 8 << 10;
    /// A peer that acknowledges nothing for so long is gone; without it the kernel goes on for a quarter of an hour.
    const UNACKNOWLEDGED_MAX_MS: u32 = 30_000;

    pub(super) fn new(socket: TcpStream, plan: Plan, now: Timestamp) -> Self {
        tune(&socket, &plan.feed).unwrap_or_else(|error| {
            tracing::debug!(%error, "a live stream keeps the socket as it is");
        });
        Self {
            socket,
            plan,
            rest: Bytes::new(),
            comment_at: now.plus(Self::COMMENT_EVERY),
        }
    }

    /// Sends what is due and fits. `false`: the stream is over.
    pub(super) fn visit(&mut self, now: Timestamp, is_good: impl Fn(&Pass) -> bool) -> bool {
        // Whatever a socket complains of, the peer cannot be reached by it any more.
        self.try_visit(now, is_good).unwrap_or(false)
    }

    fn try_visit(&mut self, now: Timestamp, is_good: impl Fn(&Pass) -> bool) -> io::Result<bool> {
        if self.peer_has_hung_up()? {
            return Ok(false);
        }
        let rest = std::mem::take(&mut self.rest);
        self.write(rest)?;
        if !self.rest.is_empty() {
            return Ok(now < self.comment_at.plus(Self::STUCK_MAX));
        }
        if now >= self.comment_at {
            if self.plan.pass.as_ref().is_some_and(|pass| !is_good(pass)) {
                return Ok(false);
            }
            self.comment_at = now.plus(Self::COMMENT_EVERY);
            self.write(COMMENT)?;
        }
        if !self.rest.is_empty() {
            return Ok(true);
        }
        match self.plan.feed.next(now) {
            Next::Nothing => Ok(true),
            Next::Event(event) => self.write(event).map(|()| true),
            Next::Over => Ok(false),
        }
    }

    /// As much as the socket takes without waiting; the rest is kept.
    fn write(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.socket.try_write(&bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => drop(bytes.split_to(written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.rest = bytes;
        Ok(())
    }

    /// Whoever listens has nothing more to say; what they say nevertheless is not listened to. Costs a system call only
    /// if there is something.
    fn peer_has_hung_up(&self) -> io::Result<bool> {
        let mut ignored = [0; 256];
        match self.socket.try_read(&mut ignored) {
            Ok(bytes) => Ok(bytes == 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn tune(socket: &TcpStream, feed: &Feed) -> io::Result<()> {
    use rustix::net::sockopt;
    socket.set_nodelay(true)?;
    sockopt::set_tcp_user_timeout(socket, Stream::UNACKNOWLEDGED_MAX_MS)?;
    // What a buyer's own stream says is not repeated by a newer event, and may be long: there the kernel decides.
    if matches!(feed, Feed::Product { .. }) {
        sockopt::set_socket_send_buffer_size(socket, Stream::SEND_BUFFER_BYTES)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::net::{TcpListener, TcpSocket};

    use super::*;
    use crate::actors::Board;
    use crate::domain::{Bucket, Currency, Details, Money, Posting, Product, ProductId, RestockTo};
    use crate::http::live::admission::Admission;
    use crate::http::live::feed::Audience;

    const START: Timestamp = Timestamp::from_micros(1_000_000);
    const LAMP: ProductId = ProductId::new(1);

    /// A product whose stock grows, and a stream of it to a client with a small buffer.
    struct Scene {
        board: Board,
        product: Product,
        stream: Stream,
        client: TcpStream,
        now: Timestamp,
    }

    impl Scene {
        async fn set() -> Self {
            let board = Board::new();
            let price = Money {
                amount: 1,
                currency: Currency::parse("KRW").expect("a currency"),
            };
            let details = Details {
                name: "Lamp".into(),
                description: "".into(),
                image_url: None,
                price,
            };
            let product = Product::new(LAMP, details, RestockTo::Available, START);
            board.publish(&product);
            let lookout = board.lookout(LAMP).expect("it is there");
            let channel = Audience::Public.channel(lookout).expect("it is public");
            let plan = Plan {
                feed: Feed::product(Rc::new(channel), START),
                pass: None,
                permit: Admission::new(1).admit(None).expect("room"),
            };
            let (socket, client) = pair().await;
            Self {
                board,
                product,
                stream: Stream::new(socket, plan, START),
                client,
                now: START,
            }
        }

        fn add_a_unit(&mut self) {
            let posting = Posting {
                product: LAMP,
                from: Bucket::Outside,
                to: Bucket::Available,
                units: 1,
            };
            self.product.post(&posting, None);
            self.board.publish(&self.product);
        }

        fn visit_after(&mut self, span: Span) -> bool {
            self.now = self.now.plus(span);
            self.stream.visit(self.now, |_| true)
        }

        /// Visits and reads until nothing more comes.
        async fn read_all(&mut self) -> String {
            let mut read = Vec::new();
            for _ in 0..100 {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                self.client.try_read_buf(&mut read).ok();
                assert!(self.visit_after(Span::from_millis(1)), "it goes on");
            }
            String::from_utf8(read).expect("text")
        }
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let client = TcpSocket::new_v4().expect("a socket");
        client.set_recv_buffer_size(2_048).expect("a small buffer");
        let client = client.connect(address).await.expect("connected");
        let (socket, _) = listener.accept().await.expect("accepted");
        socket.writable().await.expect("writable");
        (socket, client)
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_gets_few_events_and_the_newest_last() {
        const CHANGES: usize = 2_000;
        let mut scene = Scene::set().await;
        for _ in 0..CHANGES {
            scene.add_a_unit();
            assert!(scene.visit_after(Span::from_millis(1)), "it goes on");
        }
        assert!(!scene.stream.rest.is_empty(), "the socket was never full");
        let text = scene.read_all().await;
        let events = text.matches("event: product").count();
        assert!(events < CHANGES / 10, "{events} events");
        let newest = format!("\"available\":{CHANGES},");
        let last = text.lines().rfind(|line| line.starts_with("data: "));
        assert!(last.is_some_and(|it| it.contains(&newest)), "{last:?}");
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_for_too_long_is_given_up() {
        let mut scene = Scene::set().await;
        while scene.stream.rest.is_empty() {
            scene.add_a_unit();
            assert!(scene.visit_after(Span::from_millis(1)), "it goes on");
        }
        assert!(scene.visit_after(Span::from_secs(19)));
        assert!(!scene.visit_after(Span::from_secs(12)));
    }

    #[tokio::test]
    async fn whoever_hangs_up_is_noticed_at_the_next_visit() {
        let Scene {
            mut stream, client, ..
        } = Scene::set().await;
        assert!(stream.visit(START, |_| true));
        drop(client);
        stream.socket.readable().await.expect("the end");
        assert!(!stream.visit(START, |_| true));
    }
}
