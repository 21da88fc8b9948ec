//! From what is told and what SQL knows to letters. Pure: nothing is looked up here, and nothing sealed.

use uuid::Uuid;

use super::fold::{Money, Offer, Standing, Story, Tales, Told};
use crate::accounts::LETTER_LIFE;
use crate::calendar::ShopCalendar;
use crate::domain::{BuyerId, IdMap, Line, Order, OrderId, OrderState, ProductId, Timestamp};
use crate::mail::{Letter, OrderLine, OrderSummary, RefundReason};
use crate::persistence::database::Account;
use crate::persistence::journal::Position;

/// A longer name is cut: fifty of the longest would make a letter larger than anything that is sealed.
const NAME_CHARS_MAX: usize = 64;

/// What SQL knows about those who are to be told something.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Only of people that letters can be written to.
    pub(super) orders: IdMap<OrderId, Order>,
    pub(super) accounts: IdMap<BuyerId, Account>,
    pub(super) names: IdMap<ProductId, Box<str>>,
}

/// A letter that is not sealed yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) position: Position,
    pub(super) to: BuyerId,
    pub(super) letter: Letter,
    /// From then on it is of no use.
    pub(super) ends_at: Timestamp,
}

impl Facts {
    /// All letters of a batch that are still of use, in the order of their records.
    pub(super) fn letters(
        &self,
        tales: &Tales,
        calendar: &ShopCalendar,
        now: Timestamp,
    ) -> Vec<Draft> {
        let of_orders = tales.orders.iter().flat_map(|(order, story)| {
            let known = self.orders.get(order);
            known.map(|order| self.of_story(order, story, calendar))
        });
        let of_offers = tales.offers.iter().filter_map(|((product, buyer), told)| {
            self.accounts.get(buyer)?;
            Some(self.of_offer(*product, *buyer, told, calendar))
        });
        let mut drafts: Vec<Draft> = of_orders.flatten().chain(of_offers).collect();
        drafts.retain(|draft| draft.ends_at > now);
        drafts.sort_unstable_by_key(|draft| (draft.position, draft.to));
        drafts
    }

    fn of_story(
        &self,
        order: &Order,
        story: &Story,
        calendar: &ShopCalendar,
    ) -> impl Iterator<Item = Draft> {
        let standing = story.standing.as_ref();
        let standing = standing.and_then(|told| self.of_standing(order, told, calendar));
        let money = story.money.iter().map(|told| self.of_money(order, told));
        standing.into_iter().chain(money)
    }

    fn of_standing(
        &self,
        order: &Order,
        told: &Told<Standing>,
        calendar: &ShopCalendar,
    ) -> Option<Draft> {
        let summary = self.summary(order);
        let mut ends_at = told.at.plus(LETTER_LIFE);
        let letter = match &told.what {
            Standing::Held { pay_by } => {
                // What has become of it since is told by another letter.
                if !matches!(order.state, OrderState::Held | OrderState::Paying) {
                    return None;
                }
                ends_at = *pay_by;
                Letter::OrderHeld {
                    order: summary,
                    pay_by: calendar.local(*pay_by),
                }
            }
            Standing::Paid => Letter::OrderPaid { order: summary },
            Standing::Expired => Letter::OrderExpired { order: summary },
            Standing::Cancelled { refund } => Letter::OrderCancelled {
                order: summary,
                refund: *refund,
            },
            Standing::Shipped {
                carrier,
                tracking_number,
            } => Letter::OrderShipped {
                order: summary,
                carrier: short(carrier),
                tracking_number: short(tracking_number),
            },
        };
        Some(Draft {
            position: told.position,
            to: order.buyer,
            letter,
            ends_at,
        })
    }

    fn of_money(&self, order: &Order, told: &Told<Money>) -> Draft {
        let summary = self.summary(order);
        let reason = reason(order.state);
        let letter = match told.what {
            Money::Returned => Letter::PaymentReturned {
                order: summary,
                // What was sent back is refunded, never returned by its payment.
                reason: match reason {
                    RefundReason::Returned => RefundReason::PaidTwice,
                    other => other,
                },
            },
            Money::Refunded => Letter::OrderRefunded {
                order: summary,
                reason,
            },
        };
        Draft {
            position: told.position,
            to: order.buyer,
            letter,
            ends_at: told.at.plus(LETTER_LIFE),
        }
    }

    fn of_offer(
        &self,
        product: ProductId,
        buyer: BuyerId,
        told: &Told<Offer>,
        calendar: &ShopCalendar,
    ) -> Draft {
        let Offer { units, accept_by } = told.what;
        Draft {
            position: told.position,
            to: buyer,
            letter: Letter::WaitlistOffer {
                product: self.name(product),
                quantity: units.get(),
                accept_by: calendar.local(accept_by),
            },
            ends_at: accept_by,
        }
    }

    fn summary(&self, order: &Order) -> OrderSummary {
        let named = order.lines.iter().take(OrderSummary::LINES_MAX);
        let lines: Vec<OrderLine> = named.map(|line| self.line(line)).collect();
        OrderSummary {
            id: Uuid::from_u128(order.id.get()),
            more_lines: order.lines.len() - lines.len(),
            lines,
            total: order.money().into(),
        }
    }

    fn line(&self, line: &Line) -> OrderLine {
        let price = crate::domain::Money {
            amount: line.amount(),
            currency: line.unit_price.currency,
        };
        OrderLine {
            product: self.name(line.product),
            quantity: line.quantity.get(),
            price: price.into(),
        }
    }

    /// The id, if SQL has no such product: somebody has changed it by hand.
    fn name(&self, product: ProductId) -> String {
        match self.names.get(&product) {
            Some(name) => short(name),
            None => product.to_string(),
        }
    }
}

/// Why the money of an order goes back, by where the order stands.
const fn reason(state: OrderState) -> RefundReason {
    match state {
        OrderState::Expired | OrderState::PaidUnfulfilled | OrderState::Refunded => {
            RefundReason::TooLate
        }
        OrderState::CancelRequested | OrderState::Refunding | OrderState::Cancelled => {
            RefundReason::Cancelled
        }
        OrderState::Returned => RefundReason::Returned,
        OrderState::Held
        | OrderState::Paying
        | OrderState::Paid
        | OrderState::Shipped
        | OrderState::Delivered
        | OrderState::Completed
        | OrderState::ReturnRequested => RefundReason::PaidTwice,
    }
}

fn short(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}
