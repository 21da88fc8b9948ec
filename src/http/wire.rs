//! What goes over the wire, shared by the routes: money, times, ids, pages, and the two views of an order.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::addresses::AddressView;
use super::problem::{FieldError, Problem};
use super::words::{availability_word, refund_word, rfc3339, state_word, uuid_of};
use crate::actors::Listing;
use crate::domain::{self, Currency, Order, OrderState, Phase, Snapshot, Timestamp};

/// An amount in minor units of an ISO 4217 currency.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Money {
    #[schema(example = 129_000)]
    pub(crate) amount: i64,
    #[schema(example = "KRW")]
    pub(crate) currency: String,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Give it as `after` to get the next page; `null` at the end.
    pub(crate) next: Option<String>,
}

/// `?limit=&after=`
#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// 1 to 100.
    #[serde(default = "PageQuery::limit_default")]
    pub(crate) limit: u32,
    /// The `next` of the page before.
    pub(crate) after: Option<Uuid>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrderLine {
    pub(crate) product_id: Uuid,
    pub(crate) quantity: u32,
    /// As it was when the hold was taken.
    pub(crate) unit_price: Money,
}

/// The answer to a placed order; a repeat of the request gets the same bytes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlacedOrder {
    pub(crate) id: Uuid,
    #[schema(example = "held")]
    pub(crate) state: &'static str,
    /// Until when a payment must start.
    pub(crate) pay_by: String,
    pub(crate) lines: Vec<OrderLine>,
    pub(crate) total: Money,
    /// Place in the order of decisions; grows with every decision of the engine.
    pub(crate) sequence: u64,
    pub(crate) placed_at: String,
}

/// An order as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrderView {
    pub(crate) id: Uuid,
    #[schema(example = "paid")]
    pub(crate) state: &'static str,
    pub(crate) buyer_id: Uuid,
    /// Until when a payment may start or be repeated.
    pub(crate) pay_by: String,
    pub(crate) lines: Vec<OrderLine>,
    pub(crate) total: Money,
    pub(crate) sequence: u64,
    pub(crate) placed_at: String,
    pub(crate) changed_at: String,
    /// The address as it was when the order was placed; `null` for the shop's lists and after the account was erased.
    pub(crate) address: Option<AddressView>,
    pub(crate) payments: Vec<PaymentView>,
    pub(crate) shipment: Option<ShipmentView>,
    #[serde(rename = "return")]
    pub(crate) sent_back: Option<ReturnView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PaymentView {
    pub(crate) id: Uuid,
    #[schema(example = "captured")]
    pub(crate) state: &'static str,
    /// `not_due`, `due` or `done`.
    pub(crate) refund: &'static str,
    pub(crate) method: String,
    pub(crate) started_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShipmentView {
    pub(crate) carrier: String,
    pub(crate) tracking_number: String,
    pub(crate) shipped_at: String,
    pub(crate) delivered_at: Option<String>,
    pub(crate) return_until: Option<String>,
}

/// A return that was asked for. The refund is told with the payment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReturnView {
    pub(crate) requested_at: String,
    pub(crate) reason: String,
    /// When the units go back into the stock; `null` until the shop has accepted the return.
    pub(crate) restock_at: Option<String>,
    pub(crate) restocked: bool,
}

/// A product as everybody sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProductView {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) image_url: Option<String>,
    pub(crate) price: Money,
    pub(crate) window: Option<WindowView>,
    /// `available`, `all_held` (may come back) or `sold_out` (final).
    #[schema(example = "available")]
    pub(crate) availability: &'static str,
    pub(crate) available: u64,
    /// Live holds that may give units back.
    pub(crate) holds: u64,
    /// People on the waitlist: as long as there are any, they are offered units first.
    pub(crate) waiting: u64,
    /// When the first hold or offer ends.
    pub(crate) earliest_deadline: Option<String>,
    pub(crate) server_time: String,
}

/// What of a product changes during a sale.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AvailabilityView {
    pub(crate) id: Uuid,
    pub(crate) price: Money,
    pub(crate) window: Option<WindowView>,
    /// `available`, `all_held` (may come back) or `sold_out` (final).
    #[schema(example = "available")]
    pub(crate) availability: &'static str,
    pub(crate) available: u64,
    /// Live holds that may give units back.
    pub(crate) holds: u64,
    /// When the first of them ends.
    pub(crate) earliest_deadline: Option<String>,
    pub(crate) server_time: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WindowView {
    /// `scheduled`, `open`, `paused` or `closed`.
    #[schema(example = "open")]
    pub(crate) state: &'static str,
    pub(crate) opens_at: String,
    pub(crate) closes_at: Option<String>,
    pub(crate) per_person_limit: Option<u32>,
    pub(crate) hold_seconds: u64,
}

/// Where every unit of a product is: `total` is the sum of the six buckets after it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SaleView {
    pub(crate) product_id: Uuid,
    pub(crate) total: u64,
    pub(crate) available: u64,
    pub(crate) held: u64,
    pub(crate) offered: u64,
    pub(crate) sold: u64,
    pub(crate) returning: u64,
    pub(crate) withdrawn: u64,
    /// Units to be withdrawn as soon as they come free.
    pub(crate) withdrawal_pending: u64,
    pub(crate) holds: u64,
    /// People on the waitlist without an offer, and with one.
    pub(crate) waiting: u64,
    pub(crate) offers: u64,
    pub(crate) earliest_deadline: Option<String>,
    pub(crate) window: Option<WindowView>,
    pub(crate) server_time: String,
}

impl Money {
    /// A price or total that clients are shown.
    pub(crate) fn view(money: domain::Money) -> Self {
        Self {
            amount: money.amount,
            currency: money.currency.as_str().into(),
        }
    }

    /// The price of one unit, from a body.
    pub(crate) fn parse_price(&self, errors: &mut Vec<FieldError>) -> Option<domain::Money> {
        let currency = Currency::parse(&self.currency);
        if currency.is_none() {
            errors.push(FieldError {
                field: "price.currency".into(),
                detail: format!(
                    "`{}` is not an ISO 4217 code such as KRW",
                    self.currency.escape_default()
                ),
            });
        }
        if !(0..=domain::Money::UNIT_PRICE_MAX).contains(&self.amount) {
            errors.push(FieldError {
                field: "price.amount".into(),
                detail: format!(
                    "{} is not between 0 and {} minor units",
                    self.amount,
                    domain::Money::UNIT_PRICE_MAX
                ),
            });
            return None;
        }
        Some(domain::Money {
            amount: self.amount,
            currency: currency?,
        })
    }
}

impl PageQuery {
    const LIMIT_MAX: u32 = 100;

    const fn limit_default() -> u32 {
        20
    }

    pub(crate) fn checked(self) -> Result<Self, Problem> {
        if (1..=Self::LIMIT_MAX).contains(&self.limit) {
            return Ok(self);
        }
        Err(Problem::field(
            "limit",
            format!("{} is not between 1 and {}", self.limit, Self::LIMIT_MAX),
        ))
    }
}

impl<T> Page<T> {
    /// `items` holds one more than `limit` if there is another page.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32, id: impl Fn(&T) -> Uuid) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more {
            items.last().map(|item| id(item).to_string())
        } else {
            None
        };
        Self { items, next }
    }
}

impl PlacedOrder {
    /// Only what never changes, so that it can be said again at any time.
    pub(crate) fn view(order: &Order) -> Self {
        Self {
            id: uuid_of(order.id.get()),
            state: state_word(OrderState::Held),
            pay_by: rfc3339(order.pay_by),
            lines: line_views(order),
            total: Money::view(order.money()),
            sequence: order.sequence,
            placed_at: rfc3339(order.placed_at),
        }
    }
}

impl OrderView {
    #[must_use]
    pub(crate) fn with_address(mut self, address: Option<AddressView>) -> Self {
        self.address = address;
        self
    }

    pub(crate) fn view(order: &Order) -> Self {
        Self {
            id: uuid_of(order.id.get()),
            state: state_word(order.state),
            buyer_id: uuid_of(order.buyer.get()),
            pay_by: rfc3339(order.deadline),
            lines: line_views(order),
            total: Money::view(order.money()),
            sequence: order.sequence,
            placed_at: rfc3339(order.placed_at),
            changed_at: rfc3339(order.changed_at),
            address: None,
            payments: order.attempts.iter().map(PaymentView::view).collect(),
            shipment: order.aftermath.as_deref().map(ShipmentView::view),
            sent_back: order.aftermath.as_deref().and_then(ReturnView::view),
        }
    }
}

impl PaymentView {
    fn view(attempt: &domain::Attempt) -> Self {
        Self {
            id: uuid_of(attempt.id.get()),
            state: match attempt.state {
                domain::AttemptState::Pending => "pending",
                domain::AttemptState::Captured => "captured",
                domain::AttemptState::Declined => "declined",
            },
            refund: refund_word(attempt.refund),
            method: attempt.method.to_string(),
            started_at: rfc3339(attempt.started_at),
        }
    }
}

impl ShipmentView {
    fn view(aftermath: &domain::Aftermath) -> Self {
        Self {
            carrier: aftermath.carrier.to_string(),
            tracking_number: aftermath.tracking_number.to_string(),
            shipped_at: rfc3339(aftermath.shipped_at),
            delivered_at: aftermath.delivered_at.map(rfc3339),
            return_until: aftermath.return_until.map(rfc3339),
        }
    }
}

impl ReturnView {
    fn view(aftermath: &domain::Aftermath) -> Option<Self> {
        Some(Self {
            requested_at: rfc3339(aftermath.return_requested_at?),
            reason: aftermath.return_reason.to_string(),
            restock_at: aftermath.restock_at.map(rfc3339),
            restocked: aftermath.restocked,
        })
    }
}

impl ProductView {
    pub(crate) fn view(listing: &Listing, now: Timestamp) -> Self {
        let Listing {
            details, snapshot, ..
        } = listing;
        Self {
            id: uuid_of(snapshot.id.get()),
            name: details.name.to_string(),
            description: details.description.to_string(),
            image_url: details.image_url.as_deref().map(Into::into),
            price: Money::view(details.price),
            window: WindowView::view(snapshot, now),
            availability: availability_word(snapshot.availability()),
            available: snapshot.free_units(),
            holds: snapshot.holds,
            waiting: snapshot.waiting + snapshot.offers,
            earliest_deadline: snapshot.earliest_deadline.map(rfc3339),
            server_time: rfc3339(now),
        }
    }
}

impl AvailabilityView {
    pub(crate) fn view(listing: &Listing, now: Timestamp) -> Self {
        let Listing {
            details, snapshot, ..
        } = listing;
        Self {
            id: uuid_of(snapshot.id.get()),
            price: Money::view(details.price),
            window: WindowView::view(snapshot, now),
            availability: availability_word(snapshot.availability()),
            available: snapshot.free_units(),
            holds: snapshot.holds,
            earliest_deadline: snapshot.earliest_deadline.map(rfc3339),
            server_time: rfc3339(now),
        }
    }
}

impl WindowView {
    fn view(snapshot: &Snapshot, now: Timestamp) -> Option<Self> {
        let window = snapshot.window?;
        Some(Self {
            state: match window.phase(now) {
                Phase::Scheduled => "scheduled",
                Phase::Open => "open",
                Phase::Paused => "paused",
                Phase::Closed => "closed",
            },
            opens_at: rfc3339(window.opens_at),
            closes_at: window.closes_at.map(rfc3339),
            per_person_limit: window.per_person_limit,
            hold_seconds: window.hold_ttl.as_secs_ceil(),
        })
    }
}

impl SaleView {
    pub(crate) fn view(snapshot: &Snapshot, now: Timestamp) -> Self {
        let stock = &snapshot.stock;
        Self {
            product_id: uuid_of(snapshot.id.get()),
            total: stock.total(),
            available: stock.available,
            held: stock.held,
            offered: stock.offered,
            sold: stock.sold,
            returning: stock.returning,
            withdrawn: stock.withdrawn,
            withdrawal_pending: stock.withdrawal_pending,
            holds: snapshot.holds,
            waiting: snapshot.waiting,
            offers: snapshot.offers,
            earliest_deadline: snapshot.earliest_deadline.map(rfc3339),
            window: WindowView::view(snapshot, now),
            server_time: rfc3339(now),
        }
    }
}

fn line_views(order: &Order) -> Vec<OrderLine> {
    let view = |line: &domain::Line| OrderLine {
        product_id: uuid_of(line.product.get()),
        quantity: line.quantity.get(),
        unit_price: Money::view(line.unit_price),
    };
    order.lines.iter().map(view).collect()
}
