//! From bytes to an event. Trusts nothing: every length is held against what is left before anything is allocated.

use super::{CodecError, tag};
use crate::domain::{
    AddressId, AdminMark, AttemptId, Bucket, BuyerId, Currency, Details, Event, Fingerprint,
    KeyHash, Line, Money, OfferTaken, OrderChange, OrderId, OrderPlaced, Posting, ProductChange,
    ProductId, Quantity, RequestId, RestockTo, Span, Timestamp, WaitlistChange, Window, WindowAct,
};

const LINE_BYTES: usize = 31;
const POSTING_BYTES: usize = 26;
/// An id and a number of units.
const UNITS_OF_BYTES: usize = 20;

type Result<T> = std::result::Result<T, CodecError>;

/// Reads the event that is exactly `record`.
pub fn decode(record: &[u8]) -> Result<Event> {
    let mut bytes = Bytes { rest: record };
    match bytes.u8("the version")? {
        tag::VERSION => {}
        unknown => return Err(CodecError::Version(unknown)),
    }
    let event = match bytes.u8("the kind of event")? {
        tag::event::PRODUCT_CHANGED => bytes.product_changed()?,
        tag::event::ORDER_PLACED => Event::OrderPlaced(bytes.order_placed()?),
        tag::event::ORDER_CHANGED => bytes.order_changed(|_| Ok(None))?,
        tag::event::ORDER_MANAGED => bytes.order_changed(|it| it.mark().map(Some))?,
        tag::event::ORDER_PLACED_FROM_OFFERS => Event::OrderPlaced(bytes.placed_from_offers()?),
        tag::event::WAITLIST_CHANGED => bytes.waitlist_changed()?,
        tag => return Err(unknown("the event", tag)),
    };
    bytes.end()?;
    Ok(event)
}

/// What is left to read.
struct Bytes<'a> {
    rest: &'a [u8],
}

impl Bytes<'_> {
    fn order_placed(&mut self) -> Result<OrderPlaced> {
        Ok(OrderPlaced {
            order: OrderId::new(self.id("the order")?),
            buyer: self.buyer()?,
            key: KeyHash::new(self.id("the key")?),
            fingerprint: Fingerprint(self.u64("the fingerprint")?),
            at: self.time("the time")?,
            deadline: self.time("the deadline")?,
            address: self.option(|it| Ok(AddressId::new(it.id("the address")?)))?,
            lines: self.list("the lines", LINE_BYTES, Self::line)?,
            offers: Vec::new(),
        })
    }

    fn placed_from_offers(&mut self) -> Result<OrderPlaced> {
        let placed = self.order_placed()?;
        let offers = self.list("the offers", UNITS_OF_BYTES, |it| {
            Ok(OfferTaken {
                product: ProductId::new(it.id("the product of an offer")?),
                units: it.quantity("the units of an offer")?,
            })
        })?;
        if offers.is_empty() {
            return Err(CodecError::Range { what: "the offers" });
        }
        Ok(OrderPlaced { offers, ..placed })
    }

    fn waitlist_changed(&mut self) -> Result<Event> {
        Ok(Event::WaitlistChanged {
            product: ProductId::new(self.id("the product")?),
            at: self.time("the time")?,
            change: self.waitlist_change()?,
            postings: self.list("the postings", POSTING_BYTES, Self::posting)?,
        })
    }

    fn waitlist_change(&mut self) -> Result<WaitlistChange> {
        use tag::waitlist_change as tags;
        Ok(match self.u8("the change of the waitlist")? {
            tags::JOINED => WaitlistChange::Joined {
                buyer: self.buyer()?,
                quantity: self.quantity("the quantity")?,
            },
            tags::LEFT => WaitlistChange::Left {
                buyer: self.buyer()?,
            },
            tags::OFFERED => WaitlistChange::Offered {
                deadline: self.time("the deadline")?,
                offers: self.list("the offers", UNITS_OF_BYTES, |it| {
                    Ok((it.buyer()?, it.quantity("the units of an offer")?))
                })?,
            },
            tags::LAPSED => WaitlistChange::Lapsed {
                buyer: self.buyer()?,
            },
            tags::ENDED => WaitlistChange::Ended,
            tag => return Err(unknown("the change of the waitlist", tag)),
        })
    }

    /// `mark`: what stands between the time and the change.
    fn order_changed(
        &mut self,
        mark: impl FnOnce(&mut Self) -> Result<Option<AdminMark>>,
    ) -> Result<Event> {
        Ok(Event::OrderChanged {
            order: OrderId::new(self.id("the order")?),
            at: self.time("the time")?,
            mark: mark(self)?,
            change: self.order_change()?,
            postings: self.list("the postings", POSTING_BYTES, Self::posting)?,
        })
    }

    fn product_changed(&mut self) -> Result<Event> {
        Ok(Event::ProductChanged {
            product: ProductId::new(self.id("the product")?),
            at: self.time("the time")?,
            mark: self.mark()?,
            change: self.product_change()?,
            postings: self.list("the postings", POSTING_BYTES, Self::posting)?,
        })
    }

    fn order_change(&mut self) -> Result<OrderChange> {
        use tag::order_change as tags;
        Ok(match self.u8("the change of the order")? {
            tags::CANCELLED => OrderChange::Cancelled,
            tags::CANCEL_REQUESTED => OrderChange::CancelRequested,
            tags::EXPIRED => OrderChange::Expired,
            tags::PAYMENT_STARTED => self.payment_started()?,
            tags::PAYMENT_DEFERRED => OrderChange::PaymentDeferred {
                attempt: self.attempt()?,
            },
            tags::PAYMENT_DECLINED => OrderChange::PaymentDeclined {
                attempt: self.attempt()?,
            },
            tags::PAYMENT_CAPTURED => OrderChange::PaymentCaptured {
                attempt: self.attempt()?,
            },
            tags::PAYMENT_RECLAIMED => OrderChange::PaymentReclaimed {
                attempt: self.attempt()?,
            },
            tags::PAYMENT_UNFULFILLED => OrderChange::PaymentUnfulfilled {
                attempt: self.attempt()?,
            },
            tags::PAYMENT_RETURNED => OrderChange::PaymentReturned {
                attempt: self.attempt()?,
            },
            tags::REFUND_STARTED => OrderChange::RefundStarted {
                attempt: self.attempt()?,
            },
            tags::REFUNDED => OrderChange::Refunded {
                attempt: self.attempt()?,
            },
            tags::SHIPPED => OrderChange::Shipped {
                carrier: self.text("the carrier")?,
                tracking_number: self.text("the tracking number")?,
            },
            tags::DELIVERED => OrderChange::Delivered {
                return_until: self.time("the end of the return window")?,
            },
            tags::COMPLETED => OrderChange::Completed,
            tags::RETURN_REQUESTED => OrderChange::ReturnRequested {
                reason: self.text("the reason")?,
            },
            tags::RETURN_ACCEPTED => OrderChange::ReturnAccepted {
                attempt: self.attempt()?,
                restock_at: self.time("the time of the restock")?,
            },
            tags::RESTOCKED => OrderChange::Restocked,
            tag => return Err(unknown("the change of the order", tag)),
        })
    }

    fn payment_started(&mut self) -> Result<OrderChange> {
        Ok(OrderChange::PaymentStarted {
            attempt: self.attempt()?,
            key: KeyHash::new(self.id("the key")?),
            fingerprint: Fingerprint(self.u64("the fingerprint")?),
            method: self.text("the method")?,
            deadline: self.time("the deadline")?,
        })
    }

    fn product_change(&mut self) -> Result<ProductChange> {
        use tag::product_change as tags;
        Ok(match self.u8("the change of the product")? {
            tags::REGISTERED => ProductChange::Registered {
                details: self.details()?,
                restock_to: self.restock_to()?,
            },
            tags::EDITED => ProductChange::Edited {
                before: self.details()?,
                after: self.details()?,
            },
            tags::DELETED => ProductChange::Deleted,
            tags::STOCK_SET => ProductChange::StockSet {
                before: self.u64("the stock before")?,
                after: self.u64("the stock after")?,
                withdrawal_pending: self.u64("the pending withdrawal")?,
            },
            tags::WINDOW_SET => ProductChange::WindowSet {
                act: self.window_act()?,
                before: self.option(Self::window)?,
                after: self.window()?,
            },
            tag => return Err(unknown("the change of the product", tag)),
        })
    }

    fn mark(&mut self) -> Result<AdminMark> {
        Ok(AdminMark {
            admin: BuyerId::new(self.id("the admin")?),
            request: RequestId::new(self.id("the request")?),
        })
    }

    fn details(&mut self) -> Result<Details> {
        Ok(Details {
            name: self.text("the name")?,
            description: self.text("the description")?,
            image_url: self.option(|it| it.text("the image's address"))?,
            price: self.money()?,
        })
    }

    fn window(&mut self) -> Result<Window> {
        Ok(Window {
            opens_at: self.time("the opening")?,
            closes_at: self.option(|it| it.time("the closing"))?,
            paused: self.flag("the pause")?,
            per_person_limit: self.option(|it| it.u32("the limit"))?,
            hold_ttl: Span::from_micros_u64(self.u64("the life of a hold")?),
        })
    }

    fn line(&mut self) -> Result<Line> {
        Ok(Line {
            product: ProductId::new(self.id("the product of a line")?),
            quantity: self.quantity("the quantity")?,
            unit_price: self.money()?,
        })
    }

    fn buyer(&mut self) -> Result<BuyerId> {
        Ok(BuyerId::new(self.id("the buyer")?))
    }

    fn quantity(&mut self, what: &'static str) -> Result<Quantity> {
        Quantity::new(self.u32(what)?).ok_or(CodecError::Range { what })
    }

    fn posting(&mut self) -> Result<Posting> {
        Ok(Posting {
            product: ProductId::new(self.id("the product of a posting")?),
            from: self.bucket()?,
            to: self.bucket()?,
            units: self.u64("the units")?,
        })
    }

    fn money(&mut self) -> Result<Money> {
        let amount = i64::from_le_bytes(self.array("the amount")?);
        let code: [u8; 3] = self.array("the currency")?;
        let currency = std::str::from_utf8(&code).ok().and_then(Currency::parse);
        Ok(Money {
            amount,
            currency: currency.ok_or(CodecError::Range {
                what: "the currency",
            })?,
        })
    }

    fn attempt(&mut self) -> Result<AttemptId> {
        Ok(AttemptId::new(self.id("the attempt")?))
    }

    fn bucket(&mut self) -> Result<Bucket> {
        Ok(match self.u8("the bucket")? {
            tag::bucket::OUTSIDE => Bucket::Outside,
            tag::bucket::AVAILABLE => Bucket::Available,
            tag::bucket::HELD => Bucket::Held,
            tag::bucket::OFFERED => Bucket::Offered,
            tag::bucket::SOLD => Bucket::Sold,
            tag::bucket::RETURNING => Bucket::Returning,
            tag::bucket::WITHDRAWN => Bucket::Withdrawn,
            tag => return Err(unknown("the bucket", tag)),
        })
    }

    fn restock_to(&mut self) -> Result<RestockTo> {
        match self.u8("the target of a restock")? {
            tag::restock_to::AVAILABLE => Ok(RestockTo::Available),
            tag::restock_to::WITHDRAWN => Ok(RestockTo::Withdrawn),
            tag => Err(unknown("the target of a restock", tag)),
        }
    }

    fn window_act(&mut self) -> Result<WindowAct> {
        match self.u8("the act")? {
            tag::window_act::SCHEDULE => Ok(WindowAct::Schedule),
            tag::window_act::OPEN => Ok(WindowAct::Open),
            tag::window_act::PAUSE => Ok(WindowAct::Pause),
            tag::window_act::RESUME => Ok(WindowAct::Resume),
            tag::window_act::CLOSE => Ok(WindowAct::Close),
            tag => Err(unknown("the act", tag)),
        }
    }

    // -- parts of parts ------------------------------------------------------------------------------------------

    /// Elements of `element_bytes` each. The length is believed only as far as there are bytes to bear it out.
    fn list<T>(
        &mut self,
        what: &'static str,
        element_bytes: usize,
        element: impl Fn(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let len = self.len(what)?;
        if len > self.rest.len() / element_bytes {
            return Err(CodecError::Truncated { what });
        }
        let mut list = Vec::with_capacity(len);
        for _ in 0..len {
            list.push(element(self)?);
        }
        Ok(list)
    }

    fn option<T>(&mut self, value: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.flag("an optional value")? {
            return value(self).map(Some);
        }
        Ok(None)
    }

    fn flag(&mut self, what: &'static str) -> Result<bool> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(unknown(what, tag)),
        }
    }

    fn text(&mut self, what: &'static str) -> Result<Box<str>> {
        let len = self.len(what)?;
        let Some((text, rest)) = self.rest.split_at_checked(len) else {
            return Err(CodecError::Truncated { what });
        };
        self.rest = rest;
        match std::str::from_utf8(text) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(CodecError::Text { what }),
        }
    }

    fn len(&mut self, what: &'static str) -> Result<usize> {
        usize::try_from(self.u32(what)?).or(Err(CodecError::Range { what }))
    }

    fn time(&mut self, what: &'static str) -> Result<Timestamp> {
        self.u64(what).map(Timestamp::from_micros)
    }

    fn id(&mut self, what: &'static str) -> Result<u128> {
        self.array(what).map(u128::from_le_bytes)
    }

    fn u64(&mut self, what: &'static str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u8(&mut self, what: &'static str) -> Result<u8> {
        self.array(what).map(u8::from_le_bytes)
    }

    fn array<const LEN: usize>(&mut self, what: &'static str) -> Result<[u8; LEN]> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(CodecError::Truncated { what });
        };
        self.rest = rest;
        Ok(*array)
    }

    fn end(&self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(CodecError::Trailing { extra }),
        }
    }
}

fn unknown(what: &'static str, tag: u8) -> CodecError {
    CodecError::Tag { what, tag }
}
