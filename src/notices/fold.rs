//! Which events are worth a letter, and which letters say each other's news.
//!
//! Of what happens to an order within a batch two things are told: the last place it came to, and each sum of money that goes
//! back, with the last that was heard of it.

use std::collections::BTreeMap;

use crate::domain::{
    BuyerId, Event, IdMap, OrderChange, OrderId, Posting, ProductId, Quantity, Timestamp,
    WaitlistChange,
};
use crate::persistence::journal::Position;

/// Something to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Told<T> {
    /// The record that it is told for: once it is behind the position, it has been.
    pub(super) position: Position,
    pub(super) at: Timestamp,
    pub(super) what: T,
}

/// A place that an order came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    Held {
        pay_by: Timestamp,
    },
    Paid,
    Expired,
    Cancelled {
        /// It was paid, so money goes back.
        refund: bool,
    },
    Shipped {
        carrier: Box<str>,
        tracking_number: Box<str>,
    },
}

/// Money on its way to the buyer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Money {
    /// It came and cannot be kept.
    Returned,
    /// The provider has given it back.
    Refunded,
}

/// What happened to one order in a batch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Story {
    /// If it was placed in this batch.
    pub(super) buyer: Option<BuyerId>,
    pub(super) standing: Option<Told<Standing>>,
    /// A sum each.
    pub(super) money: Vec<Told<Money>>,
}

/// Units that somebody on a waitlist may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Offer {
    pub(super) units: Quantity,
    pub(super) accept_by: Timestamp,
}

/// All that is to be told of a batch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Tales {
    pub(super) orders: IdMap<OrderId, Story>,
    /// The last that each was offered of a product, if they can still take it.
    pub(super) offers: BTreeMap<(ProductId, BuyerId), Told<Offer>>,
}

impl Tales {
    pub(super) fn of(batch: &[(Position, Event)]) -> Self {
        let mut tales = Self::default();
        for (position, event) in batch {
            tales.hear(*position, event);
        }
        tales
    }

    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.offers.is_empty()
    }

    fn hear(&mut self, position: Position, event: &Event) {
        match event {
            Event::ProductChanged { .. } => {}
            Event::OrderPlaced(placed) => {
                let story = self.orders.entry(placed.order).or_default();
                story.buyer = Some(placed.buyer);
                let pay_by = placed.deadline;
                story.stand(position, placed.at, Standing::Held { pay_by });
                for taken in &placed.offers {
                    self.offers.remove(&(taken.product, placed.buyer));
                }
            }
            Event::WaitlistChanged {
                product,
                at,
                change,
                ..
            } => self.hear_of_waitlist(position, *at, *product, change),
            Event::OrderChanged {
                order,
                at,
                change,
                postings,
                ..
            } => {
                if let Some(news) = News::of(change, postings) {
                    let story = self.orders.entry(*order).or_default();
                    story.hear(position, *at, news);
                }
            }
        }
    }

    fn hear_of_waitlist(
        &mut self,
        position: Position,
        at: Timestamp,
        product: ProductId,
        change: &WaitlistChange,
    ) {
        match change {
            // Who has an offer keeps it.
            WaitlistChange::Joined { .. } | WaitlistChange::Ended => {}
            WaitlistChange::Left { buyer } | WaitlistChange::Lapsed { buyer } => {
                self.offers.remove(&(product, *buyer));
            }
            WaitlistChange::Offered { offers, deadline } => {
                for (buyer, units) in offers {
                    let what = Offer {
                        units: *units,
                        accept_by: *deadline,
                    };
                    let told = Told { position, at, what };
                    self.offers.insert((product, *buyer), told);
                }
            }
        }
    }
}

enum News {
    Standing(Standing),
    Money(Money),
}

impl News {
    fn of(change: &OrderChange, postings: &[Posting]) -> Option<Self> {
        // Units that are let go by word of the provider say that the buyer had asked to cancel.
        let ends_hold = !postings.is_empty();
        let news = match change {
            OrderChange::PaymentCaptured { .. } | OrderChange::PaymentReclaimed { .. } => {
                Self::Standing(Standing::Paid)
            }
            OrderChange::Expired => Self::Standing(Standing::Expired),
            OrderChange::Cancelled => Self::Standing(Standing::Cancelled { refund: false }),
            OrderChange::PaymentDeclined { .. } if ends_hold => {
                Self::Standing(Standing::Cancelled { refund: false })
            }
            OrderChange::PaymentReturned { .. } if ends_hold => {
                Self::Standing(Standing::Cancelled { refund: true })
            }
            OrderChange::RefundStarted { .. } => {
                Self::Standing(Standing::Cancelled { refund: true })
            }
            OrderChange::Shipped {
                carrier,
                tracking_number,
            } => Self::Standing(Standing::Shipped {
                carrier: carrier.clone(),
                tracking_number: tracking_number.clone(),
            }),
            OrderChange::PaymentUnfulfilled { .. } | OrderChange::PaymentReturned { .. } => {
                Self::Money(Money::Returned)
            }
            OrderChange::Refunded { .. } => Self::Money(Money::Refunded),
            OrderChange::CancelRequested
            | OrderChange::PaymentStarted { .. }
            | OrderChange::PaymentDeferred { .. }
            | OrderChange::PaymentDeclined { .. }
            | OrderChange::Delivered { .. }
            | OrderChange::Completed
            | OrderChange::ReturnRequested { .. }
            // Its refund is told.
            | OrderChange::ReturnAccepted { .. }
            | OrderChange::Restocked => return None,
        };
        Some(news)
    }
}

impl Story {
    fn hear(&mut self, position: Position, at: Timestamp, news: News) {
        match news {
            News::Standing(standing) => self.stand(position, at, standing),
            News::Money(what) => self.give_back(Told { position, at, what }),
        }
    }

    fn give_back(&mut self, told: Told<Money>) {
        // A letter about money that goes back says why; the one before it would say no more.
        if self
            .standing
            .as_ref()
            .is_some_and(|it| it.what.leads_to(told.what))
        {
            self.standing = None;
        }
        if told.what == Money::Refunded {
            let announced = self.money.iter().position(|it| it.what == Money::Returned);
            announced.map(|index| self.money.remove(index));
        }
        self.money.push(told);
    }

    fn stand(&mut self, position: Position, at: Timestamp, what: Standing) {
        self.standing = Some(Told { position, at, what });
    }
}

impl Standing {
    const fn leads_to(&self, money: Money) -> bool {
        match money {
            Money::Returned => matches!(self, Self::Expired),
            Money::Refunded => matches!(self, Self::Expired | Self::Cancelled { refund: true }),
        }
    }
}
