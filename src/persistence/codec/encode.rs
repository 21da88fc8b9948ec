//! From an event to bytes. Cannot fail, and allocates nothing but the buffer it is given.

use super::tag;
use crate::domain::{
    AdminMark, Bucket, BuyerId, Details, Event, Line, Money, OfferTaken, OrderChange, OrderPlaced,
    Posting, ProductChange, Quantity, RestockTo, Timestamp, WaitlistChange, Window, WindowAct,
};

/// A placed order without its lines, and each line.
const PLACED_BYTES: usize = 96;
const LINE_BYTES: usize = 31;

/// Appends the record of `event` to `out`.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    out.push(tag::VERSION);
    match event {
        Event::OrderPlaced(placed) => put_placed(out, placed),
        Event::OrderChanged {
            order,
            at,
            mark,
            change,
            postings,
        } => {
            out.push(match mark {
                None => tag::event::ORDER_CHANGED,
                Some(_) => tag::event::ORDER_MANAGED,
            });
            put_id(out, order.get());
            put_time(out, *at);
            if let Some(mark) = mark {
                put_mark(out, mark);
            }
            put_order_change(out, change);
            put_postings(out, postings);
        }
        Event::ProductChanged {
            product,
            at,
            mark,
            change,
            postings,
        } => {
            out.push(tag::event::PRODUCT_CHANGED);
            put_id(out, product.get());
            put_time(out, *at);
            put_mark(out, mark);
            put_product_change(out, change);
            put_postings(out, postings);
        }
        Event::WaitlistChanged {
            product,
            at,
            change,
            postings,
        } => {
            out.push(tag::event::WAITLIST_CHANGED);
            put_id(out, product.get());
            put_time(out, *at);
            put_waitlist_change(out, change);
            put_postings(out, postings);
        }
    }
}

/// The hot one: the room is made once, so that no field looks for it.
fn put_placed(out: &mut Vec<u8>, placed: &OrderPlaced) {
    out.reserve(PLACED_BYTES + placed.lines.len() * LINE_BYTES);
    out.push(match placed.offers.as_slice() {
        [] => tag::event::ORDER_PLACED,
        _ => tag::event::ORDER_PLACED_FROM_OFFERS,
    });
    put_id(out, placed.order.get());
    put_id(out, placed.buyer.get());
    put_id(out, placed.key.get());
    put_u64(out, placed.fingerprint.0);
    put_time(out, placed.at);
    put_time(out, placed.deadline);
    put_option(out, placed.address, |out, address| {
        put_id(out, address.get());
    });
    put_len(out, placed.lines.len());
    for line in &placed.lines {
        put_line(out, line);
    }
    if !placed.offers.is_empty() {
        put_offers_taken(out, &placed.offers);
    }
}

fn put_offers_taken(out: &mut Vec<u8>, offers: &[OfferTaken]) {
    put_len(out, offers.len());
    for taken in offers {
        put_id(out, taken.product.get());
        put_u32(out, taken.units.get());
    }
}

fn put_waitlist_change(out: &mut Vec<u8>, change: &WaitlistChange) {
    use tag::waitlist_change as tags;
    match change {
        WaitlistChange::Joined { buyer, quantity } => {
            out.push(tags::JOINED);
            put_units_of(out, *buyer, *quantity);
        }
        WaitlistChange::Left { buyer } => {
            out.push(tags::LEFT);
            put_id(out, buyer.get());
        }
        WaitlistChange::Offered { offers, deadline } => {
            out.push(tags::OFFERED);
            put_time(out, *deadline);
            put_len(out, offers.len());
            for (buyer, units) in offers {
                put_units_of(out, *buyer, *units);
            }
        }
        WaitlistChange::Lapsed { buyer } => {
            out.push(tags::LAPSED);
            put_id(out, buyer.get());
        }
        WaitlistChange::Ended => out.push(tags::ENDED),
    }
}

fn put_units_of(out: &mut Vec<u8>, buyer: BuyerId, units: Quantity) {
    put_id(out, buyer.get());
    put_u32(out, units.get());
}

fn put_line(out: &mut Vec<u8>, line: &Line) {
    put_id(out, line.product.get());
    put_u32(out, line.quantity.get());
    put_money(out, line.unit_price);
}

fn put_order_change(out: &mut Vec<u8>, change: &OrderChange) {
    use tag::order_change as tags;
    let (tag, attempt) = match change {
        OrderChange::Cancelled => (tags::CANCELLED, None),
        OrderChange::CancelRequested => (tags::CANCEL_REQUESTED, None),
        OrderChange::Expired => (tags::EXPIRED, None),
        OrderChange::PaymentStarted { attempt, .. } => (tags::PAYMENT_STARTED, Some(attempt)),
        OrderChange::PaymentDeferred { attempt } => (tags::PAYMENT_DEFERRED, Some(attempt)),
        OrderChange::PaymentDeclined { attempt } => (tags::PAYMENT_DECLINED, Some(attempt)),
        OrderChange::PaymentCaptured { attempt } => (tags::PAYMENT_CAPTURED, Some(attempt)),
        OrderChange::PaymentReclaimed { attempt } => (tags::PAYMENT_RECLAIMED, Some(attempt)),
        OrderChange::PaymentUnfulfilled { attempt } => (tags::PAYMENT_UNFULFILLED, Some(attempt)),
        OrderChange::PaymentReturned { attempt } => (tags::PAYMENT_RETURNED, Some(attempt)),
        OrderChange::RefundStarted { attempt } => (tags::REFUND_STARTED, Some(attempt)),
        OrderChange::Refunded { attempt } => (tags::REFUNDED, Some(attempt)),
        OrderChange::Shipped { .. } => (tags::SHIPPED, None),
        OrderChange::Delivered { .. } => (tags::DELIVERED, None),
        OrderChange::Completed => (tags::COMPLETED, None),
        OrderChange::ReturnRequested { .. } => (tags::RETURN_REQUESTED, None),
        OrderChange::ReturnAccepted { attempt, .. } => (tags::RETURN_ACCEPTED, Some(attempt)),
        OrderChange::Restocked => (tags::RESTOCKED, None),
    };
    out.push(tag);
    if let Some(attempt) = attempt {
        put_id(out, attempt.get());
    }
    put_rest_of_order_change(out, change);
}

/// What some changes say beyond their kind and their attempt.
fn put_rest_of_order_change(out: &mut Vec<u8>, change: &OrderChange) {
    match change {
        OrderChange::PaymentStarted {
            attempt: _,
            key,
            fingerprint,
            method,
            deadline,
        } => {
            put_id(out, key.get());
            put_u64(out, fingerprint.0);
            put_text(out, method);
            put_time(out, *deadline);
        }
        OrderChange::Shipped {
            carrier,
            tracking_number,
        } => {
            put_text(out, carrier);
            put_text(out, tracking_number);
        }
        OrderChange::Delivered { return_until } => put_time(out, *return_until),
        OrderChange::ReturnRequested { reason } => put_text(out, reason),
        OrderChange::ReturnAccepted { restock_at, .. } => put_time(out, *restock_at),
        OrderChange::Cancelled
        | OrderChange::CancelRequested
        | OrderChange::Expired
        | OrderChange::PaymentDeferred { .. }
        | OrderChange::PaymentDeclined { .. }
        | OrderChange::PaymentCaptured { .. }
        | OrderChange::PaymentReclaimed { .. }
        | OrderChange::PaymentUnfulfilled { .. }
        | OrderChange::PaymentReturned { .. }
        | OrderChange::RefundStarted { .. }
        | OrderChange::Refunded { .. }
        | OrderChange::Completed
        | OrderChange::Restocked => {}
    }
}

fn put_product_change(out: &mut Vec<u8>, change: &ProductChange) {
    use tag::product_change as tags;
    match change {
        ProductChange::Registered {
            details,
            restock_to,
        } => {
            out.push(tags::REGISTERED);
            put_details(out, details);
            out.push(restock_tag(*restock_to));
        }
        ProductChange::Edited { before, after } => {
            out.push(tags::EDITED);
            put_details(out, before);
            put_details(out, after);
        }
        ProductChange::Deleted => out.push(tags::DELETED),
        ProductChange::StockSet {
            before,
            after,
            withdrawal_pending,
        } => {
            out.push(tags::STOCK_SET);
            put_u64(out, *before);
            put_u64(out, *after);
            put_u64(out, *withdrawal_pending);
        }
        ProductChange::WindowSet { act, before, after } => {
            out.push(tags::WINDOW_SET);
            out.push(act_tag(*act));
            put_option(out, before.as_ref(), put_window);
            put_window(out, after);
        }
    }
}

fn put_mark(out: &mut Vec<u8>, mark: &AdminMark) {
    put_id(out, mark.admin.get());
    put_id(out, mark.request.get());
}

fn put_details(out: &mut Vec<u8>, details: &Details) {
    put_text(out, &details.name);
    put_text(out, &details.description);
    put_option(out, details.image_url.as_deref(), put_text);
    put_money(out, details.price);
}

fn put_window(out: &mut Vec<u8>, window: &Window) {
    put_time(out, window.opens_at);
    put_option(out, window.closes_at, put_time);
    out.push(u8::from(window.paused));
    put_option(out, window.per_person_limit, put_u32);
    put_u64(out, window.hold_ttl.as_micros());
}

fn put_postings(out: &mut Vec<u8>, postings: &[Posting]) {
    put_len(out, postings.len());
    for posting in postings {
        put_id(out, posting.product.get());
        out.push(bucket_tag(posting.from));
        out.push(bucket_tag(posting.to));
        put_u64(out, posting.units);
    }
}

fn put_money(out: &mut Vec<u8>, money: Money) {
    out.extend_from_slice(&money.amount.to_le_bytes());
    out.extend_from_slice(money.currency.as_str().as_bytes());
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_len(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    put_u32(out, u32::try_from(len).expect("a record of over 4 GiB"));
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    put_u64(out, time.as_micros());
}

fn put_id(out: &mut Vec<u8>, id: u128) {
    out.extend_from_slice(&id.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn bucket_tag(bucket: Bucket) -> u8 {
    match bucket {
        Bucket::Outside => tag::bucket::OUTSIDE,
        Bucket::Available => tag::bucket::AVAILABLE,
        Bucket::Held => tag::bucket::HELD,
        Bucket::Offered => tag::bucket::OFFERED,
        Bucket::Sold => tag::bucket::SOLD,
        Bucket::Returning => tag::bucket::RETURNING,
        Bucket::Withdrawn => tag::bucket::WITHDRAWN,
    }
}

fn restock_tag(restock_to: RestockTo) -> u8 {
    match restock_to {
        RestockTo::Available => tag::restock_to::AVAILABLE,
        RestockTo::Withdrawn => tag::restock_to::WITHDRAWN,
    }
}

fn act_tag(act: WindowAct) -> u8 {
    match act {
        WindowAct::Schedule => tag::window_act::SCHEDULE,
        WindowAct::Open => tag::window_act::OPEN,
        WindowAct::Pause => tag::window_act::PAUSE,
        WindowAct::Resume => tag::window_act::RESUME,
        WindowAct::Close => tag::window_act::CLOSE,
    }
}
