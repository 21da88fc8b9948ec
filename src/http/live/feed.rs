//! What a stream says next.

use std::cell::RefCell;
use std::rc::Rc;

use actix_web::web::Bytes;
use serde_json::json;

use super::event::Events;
use crate::actors::message::WaitlistPlace;
use crate::actors::{Lookout, Notice, Watch};
use crate::domain::{Order, Phase, ProductId, Span, Timestamp, Window};
use crate::http::waitlist::PlaceView;
use crate::http::wire::{AvailabilityView, OrderView, SaleView};
use crate::http::words::uuid_of;

/// Where the events of one stream come from.
#[derive(Debug)]
pub(super) enum Feed {
    /// The newest state of a product, and which change of it was sent last.
    Product { channel: Rc<Channel>, sent: u64 },
    /// What happens to a buyer.
    Own(Watch),
}

/// What there is to be sent.
#[derive(Debug)]
pub(super) enum Next {
    Nothing,
    Event(Bytes),
    /// There will never be anything again.
    Over,
}

/// For whom a product is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Audience {
    /// Availability and window.
    Public,
    /// Where every unit is.
    Staff,
}

/// One product for all streams of a worker that show it: looked at once a tick, rendered at most once a tick.
#[derive(Debug)]
pub(super) struct Channel {
    audience: Audience,
    lookout: Lookout,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    looked_at: Timestamp,
    /// Counts what was seen to change, by an act or by time alone.
    change: u64,
    version: u64,
    window: Option<Window>,
    phase: Option<Phase>,
    is_deleted: bool,
    rendered: Option<Rendered>,
}

#[derive(Debug)]
struct Rendered {
    change: u64,
    at: Timestamp,
    event: Bytes,
}

impl Feed {
    /// A product's stream whose opening has shown the state of now.
    pub(super) fn product(channel: Rc<Channel>, now: Timestamp) -> Self {
        let sent = channel.change(now);
        Self::Product { channel, sent }
    }

    pub(super) fn next(&mut self, now: Timestamp) -> Next {
        match self {
            Self::Product { channel, sent } => {
                let change = channel.change(now);
                if channel.is_over() {
                    return Next::Over;
                }
                if *sent == change {
                    return Next::Nothing;
                }
                *sent = change;
                Next::Event(channel.event(now))
            }
            Self::Own(watch) => {
                let mut events = Events::default();
                for notice in watch.take() {
                    push_notice(&mut events, &notice);
                }
                if events.is_empty() {
                    return Next::Nothing;
                }
                Next::Event(events.into_bytes())
            }
        }
    }
}

/// What a page must know to begin with: the orders to which something is still to happen, oldest first.
pub(super) fn push_orders(events: &mut Events, orders: &[Order]) {
    if orders.len() > Watch::NOTICES_MAX {
        return push_notice(events, &Notice::Resync);
    }
    for order in orders {
        events.push("order", &OrderView::view(order));
    }
}

/// The buyer's places on waitlists, to begin with.
pub(super) fn push_places(events: &mut Events, places: &[WaitlistPlace]) {
    for place in places {
        push_place(events, place);
    }
}

/// An offer has a name of its own: a page must not overlook it.
fn push_place(events: &mut Events, place: &WaitlistPlace) {
    let name = match place.waiter.offer {
        Some(_) => "offer",
        None => "waitlist",
    };
    events.push(name, &PlaceView::of(place));
}

fn push_notice(events: &mut Events, notice: &Notice) {
    match notice {
        Notice::Order(order) => events.push("order", &OrderView::view(order)),
        Notice::WaitlistPlace(_, Some(place)) => push_place(events, place),
        Notice::WaitlistPlace(product, None) => {
            let product_id = uuid_of(product.get());
            events.push("waitlist_left", &json!({"product_id": product_id}));
        }
        Notice::Resync => events.push("resync", &json!({})),
    }
}

impl Audience {
    /// The product, if this audience may see it.
    pub(super) fn channel(self, lookout: Lookout) -> Option<Channel> {
        let version = lookout.version();
        let listing = lookout.listing();
        if self == Self::Public && listing.snapshot.deleted {
            return None;
        }
        Some(Channel {
            audience: self,
            state: RefCell::new(State {
                looked_at: Timestamp::ZERO,
                change: 1,
                version,
                window: listing.snapshot.window,
                phase: None,
                is_deleted: false,
                rendered: None,
            }),
            lookout,
        })
    }
}

impl Channel {
    /// `server_time` in an event is no older than this when it is sent.
    const RENDERED_FRESH: Span = Span::from_millis(50);

    /// The number of the newest change.
    fn change(&self, now: Timestamp) -> u64 {
        let mut state = self.state.borrow_mut();
        if state.looked_at != now {
            state.look(&self.lookout, now);
        }
        state.change
    }

    /// Nobody of this audience will see it again.
    fn is_over(&self) -> bool {
        self.audience == Audience::Public && self.state.borrow().is_deleted
    }

    /// The newest state, as bytes that all streams share.
    pub(super) fn event(&self, now: Timestamp) -> Bytes {
        let change = self.change(now);
        let mut state = self.state.borrow_mut();
        if let Some(rendered) = &state.rendered
            && rendered.change == change
            && now.since(rendered.at) < Self::RENDERED_FRESH
        {
            return rendered.event.clone();
        }
        let event = self.render(now);
        state.rendered = Some(Rendered {
            change,
            at: now,
            event: event.clone(),
        });
        event
    }

    fn render(&self, now: Timestamp) -> Bytes {
        let listing = self.lookout.listing();
        let mut events = Events::default();
        match self.audience {
            Audience::Public => events.push("product", &AvailabilityView::view(&listing, now)),
            Audience::Staff => events.push("sale", &SaleView::view(&listing.snapshot, now)),
        }
        events.into_bytes()
    }
}

impl State {
    fn look(&mut self, lookout: &Lookout, now: Timestamp) {
        self.looked_at = now;
        let version = lookout.version();
        if version != self.version {
            let snapshot = lookout.listing().snapshot;
            self.version = version;
            self.window = snapshot.window;
            self.phase = snapshot.window.map(|window| window.phase(now));
            self.is_deleted = snapshot.deleted;
            self.change += 1;
            return;
        }
        // A window opens and closes by time alone.
        let phase = self.window.map(|window| window.phase(now));
        if phase != self.phase {
            self.phase = phase;
            self.change += 1;
        }
    }
}

/// What the streams of a worker share, by product and audience.
pub(super) type ChannelKey = (Audience, ProductId);
