//! All live streams of one worker, visited in turn by one task.
//!
//! Every stream is visited once in a revolution, so a change reaches all of them within one; and a visit writes only if
//! there is something newer than what the stream has. However fast a sale moves, a stream costs no more than one write a
//! revolution, and the writes of a revolution are spread evenly over it: purchases that come to this worker wait for a
//! tick's share of them and not for all.
//!
//! Deliberately absent: a task or a timer a stream.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::ready;
use std::rc::{Rc, Weak};
use std::time::Duration;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::once;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use super::admission::{Admission, Permit};
use super::connection::Heir;
use super::event::Events;
use super::feed::{Audience, Channel, ChannelKey};
use super::stream::{Plan, Stream};
use crate::accounts::access::Gate;
use crate::actors::Engine;
use crate::domain::{BuyerId, ProductId, Span, Timestamp};
use crate::http::problem::Problem;

/// The live streams of one worker; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Hub(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    gate: Gate,
    admission: Admission,
    ring: RefCell<Ring>,
    /// Kept by their streams; swept when there are twice as many as the last time.
    channels: RefCell<HashMap<ChannelKey, Weak<Channel>>>,
    /// The task that visits the streams is there; it ends when there are none.
    is_turning: Cell<bool>,
}

/// The streams, and whose turn it is.
#[derive(Debug, Default)]
struct Ring {
    streams: Vec<Stream>,
    next: usize,
    /// Microseconds times streams that did not make up a whole visit yet.
    owed: u64,
}

impl Hub {
    /// In which time every stream is visited once.
    const REVOLUTION: Span = Span::from_millis(500);
    /// Short, so that few streams share it: of ten thousand on two workers, twenty.
    const TICK: Duration = Duration::from_millis(2);
    /// A worker that was kept from its visits makes up for no more than this at once.
    const CATCH_UP_MAX: Span = Span::from_millis(50);

    pub(crate) fn new(engine: Engine, gate: Gate, admission: Admission) -> Self {
        Self(Rc::new(Inner {
            engine,
            gate,
            admission,
            ring: RefCell::default(),
            channels: RefCell::default(),
            is_turning: Cell::new(false),
        }))
    }

    pub(super) fn admit(&self, account: Option<BuyerId>) -> Result<Permit, Problem> {
        self.0.admission.admit(account)
    }

    /// Streams that are open on all workers.
    pub(crate) fn open_streams(&self) -> usize {
        self.0.admission.open()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.engine.now()
    }

    /// What the streams of a product share; 404 if this audience sees no such product.
    pub(super) fn channel(
        &self,
        audience: Audience,
        product: ProductId,
    ) -> Result<Rc<Channel>, Problem> {
        let key = (audience, product);
        let mut channels = self.0.channels.borrow_mut();
        if let Some(channel) = channels.get(&key).and_then(Weak::upgrade) {
            return Ok(channel);
        }
        let lookout = self.0.engine.board().lookout(product);
        let channel = lookout
            .and_then(|lookout| audience.channel(lookout))
            .map(Rc::new)
            .ok_or_else(|| Problem::not_found("product"))?;
        if channels.len() == channels.capacity() {
            channels.retain(|_, channel| channel.strong_count() > 0);
        }
        channels.insert(key, Rc::downgrade(&channel));
        Ok(channel)
    }

    /// Answers with the head and the opening of a stream; what follows comes from the plan, visit by visit.
    pub(super) fn open(
        &self,
        request: &HttpRequest,
        opening: Events,
        plan: Plan,
    ) -> Result<HttpResponse, Problem> {
        let heir = request
            .conn_data::<Heir>()
            .ok_or_else(|| Problem::internal(&"this connection cannot be given away"))?;
        let hub = self.clone();
        heir.appoint(move |socket| hub.take_in(socket, plan));
        let opening = once(ready(Ok::<_, Infallible>(opening.into_bytes())));
        let mut response = head();
        let mut response = response.force_close().streaming(opening);
        // It ends with its connection: events are written as they are, the same bytes to everybody.
        response.head_mut().no_chunking(true);
        Ok(response)
    }

    fn take_in(&self, socket: TcpStream, plan: Plan) {
        let stream = Stream::new(socket, plan, self.now());
        self.0.ring.borrow_mut().streams.push(stream);
        if !self.0.is_turning.replace(true) {
            actix_web::rt::spawn(turn(Rc::clone(&self.0)));
        }
    }
}

/// What HEAD is answered, and GET begins with.
pub(super) fn head() -> actix_web::HttpResponseBuilder {
    const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
    let mut response = HttpResponse::Ok();
    response
        .insert_header((
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ))
        // A proxy that collects an answer before it passes it on would pass on nothing.
        .insert_header((X_ACCEL_BUFFERING, HeaderValue::from_static("no")));
    response
}

/// Visits streams until there are none.
async fn turn(hub: Rc<Inner>) {
    let mut tick = interval(Hub::TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = hub.engine.now();
    loop {
        tick.tick().await;
        let now = hub.engine.now();
        let mut ring = hub.ring.borrow_mut();
        if hub.admission.is_closed() {
            ring.streams.clear();
        }
        ring.turn(now.since(last), |stream| {
            stream.visit(now, |pass| pass.is_good(&hub.gate))
        });
        last = now;
        if ring.streams.is_empty() {
            *ring = Ring::default();
            hub.is_turning.set(false);
            return;
        }
    }
}

impl Ring {
    /// As many visits as so much time is worth. Whoever ends leaves its place to the last one, whose turn it is then.
    fn turn(&mut self, elapsed: Span, mut visit: impl FnMut(&mut Stream) -> bool) {
        for _ in 0..self.visits_due(elapsed) {
            if self.next >= self.streams.len() {
                self.next = 0;
            }
            let Some(stream) = self.streams.get_mut(self.next) else {
                return;
            };
            if visit(stream) {
                self.next += 1;
            } else {
                drop(self.streams.swap_remove(self.next));
            }
        }
    }

    fn visits_due(&mut self, elapsed: Span) -> u64 {
        let streams = u64::try_from(self.streams.len()).unwrap_or(u64::MAX);
        let (due, owed) = visits_due(elapsed, streams, self.owed);
        self.owed = owed;
        due
    }
}

/// Whole visits, and what is owed of the next one.
fn visits_due(elapsed: Span, streams: u64, owed: u64) -> (u64, u64) {
    let revolution_us = Hub::REVOLUTION.as_micros();
    let elapsed_us = elapsed.as_micros().min(Hub::CATCH_UP_MAX.as_micros());
    let owed = owed.saturating_add(elapsed_us.saturating_mul(streams));
    (owed / revolution_us, owed % revolution_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revolution_is_one_visit_a_stream_however_it_is_cut() {
        for streams in [1, 3, 79, 10_000] {
            for tick_us in [2_000, 6_250, 12_500] {
                let ticks = Hub::REVOLUTION.as_micros() / tick_us;
                let (mut visits, mut owed) = (0, 0);
                for _ in 0..ticks {
                    let tick = Span::from_micros_u64(tick_us);
                    let (due, still) = visits_due(tick, streams, owed);
                    visits += due;
                    owed = still;
                }
                assert_eq!((visits, owed), (streams, 0));
            }
        }
    }

    #[test]
    fn a_worker_that_was_held_up_does_not_make_up_for_all_of_it_at_once() {
        let (due, _) = visits_due(Span::from_secs(10), 9_000, 0);
        assert_eq!(due, 900);
    }
}
