//! One live stream: a socket, what it says, and what ends it.

use actix_web::web::Bytes;
use std::io::{self, ErrorKind};
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
    pub(super) fn visit(&mut self, now: Timestamp, gate: &Gate) -> bool {
        self.try_visit(now, gate).unwrap_or(false)
    }

    fn try_visit(&mut self, now: Timestamp, gate: &Gate) -> io::Result<bool> {
        if self.peer_has_hung_up()? {
            return Ok(false);
        }
        let rest = std::mem::take(&mut self.rest);
        self.write(rest)?;
        if !self.rest.is_empty() {
            return Ok(now < self.comment_at.plus(Self::STUCK_MAX));
        }
        if now >= self.comment_at {
            if !self.may_go_on(gate) {
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

    fn may_go_on(&self, gate: &Gate) -> bool {
        let Some(pass) = &self.plan.pass else {
            return true;
        };
        let bearer = gate.admit(&pass.token);
        bearer.is_ok_and(|bearer| pass.roles.contains(&bearer.role))
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
