//! What the actors are told and what they answer.

use crate::domain::{
    AddressId, AdminMark, AttemptId, BuyerId, Details, Fingerprint, KeyHash, Money, Order, OrderId,
    PaymentAnswer, PaymentOutcome, ProductId, Quantity, Rejection, RestockTo, Snapshot, Span,
    Timestamp, Waiter, Window, WindowAct,
};

/// Something the engine is asked to do. Ids and hashes are made by the sender: the engine draws nothing at random.
#[derive(Debug)]
pub enum Command {
    PlaceOrder(PlaceOrder),
    StartPayment(StartPayment),
    CancelOrder {
        order: OrderId,
        buyer: BuyerId,
    },
    ReadOrder {
        order: OrderId,
        viewer: Viewer,
    },
    /// The newest orders of a buyer that are still in memory; older ones are in SQL.
    ReadOrders {
        buyer: BuyerId,
        /// Only orders placed before this record.
        before: u64,
        limit: usize,
    },
    /// The orders of a buyer to which something is still to happen, the oldest first; at most `limit`.
    ReadOpenOrders {
        buyer: BuyerId,
        limit: usize,
    },
    /// The order that a request of the buyer has made, if it has and its key is still kept.
    ReadPlaced {
        buyer: BuyerId,
        key: KeyHash,
    },
    ChangeProduct {
        product: ProductId,
        mark: AdminMark,
        act: ProductAct,
    },
    JoinWaitlist {
        product: ProductId,
        buyer: BuyerId,
        quantity: Quantity,
    },
    LeaveWaitlist {
        product: ProductId,
        buyer: BuyerId,
    },
    /// The buyer's places on all waitlists.
    ReadWaitlists {
        buyer: BuyerId,
    },
    /// The provider's word on an attempt.
    SettlePayment {
        order: OrderId,
        attempt: AttemptId,
        outcome: PaymentOutcome,
        /// What the provider says it is about, if it says so; nothing settles if that is not the order's total.
        amount: Option<Money>,
    },
    /// The attempt is not settled as soon as a buyer should hear of it: tell them so.
    DeferPayment {
        order: OrderId,
        attempt: AttemptId,
    },
    /// The provider has never heard of the attempt: charge again if it can still be honoured.
    RepeatCharge {
        order: OrderId,
        attempt: AttemptId,
    },
    RecordRefund {
        order: OrderId,
        attempt: AttemptId,
    },
    /// The refund takes longer than a buyer should wait.
    DeferRefund {
        order: OrderId,
    },
    ShipOrder {
        order: OrderId,
        shipment: Shipment,
        /// Absent for the demo clock.
        mark: Option<AdminMark>,
    },
    DeliverOrder {
        order: OrderId,
        mark: Option<AdminMark>,
    },
    /// The buyer wants to send the order back.
    RequestReturn {
        order: OrderId,
        buyer: BuyerId,
        reason: Box<str>,
    },
    AcceptReturn {
        order: OrderId,
        mark: AdminMark,
    },
    /// How a call of the provider has ended: with an answer of the provider's own, refusals included, or without.
    NoteProvider {
        answered: bool,
    },
    /// Makes the actor of a product panic with its state half changed, to prove that it is rebuilt.
    #[doc(hidden)]
    BreakProduct(ProductId),
}

impl Command {
    /// The order that it is about, if that must have been placed before.
    pub(crate) fn order(&self) -> Option<OrderId> {
        match self {
            Self::StartPayment(start) => Some(start.order),
            Self::CancelOrder { order, .. }
            | Self::ReadOrder { order, .. }
            | Self::SettlePayment { order, .. }
            | Self::DeferPayment { order, .. }
            | Self::RepeatCharge { order, .. }
            | Self::RecordRefund { order, .. }
            | Self::DeferRefund { order }
            | Self::ShipOrder { order, .. }
            | Self::DeliverOrder { order, .. }
            | Self::RequestReturn { order, .. }
            | Self::AcceptReturn { order, .. } => Some(*order),
            Self::PlaceOrder(_)
            | Self::ReadOrders { .. }
            | Self::ReadOpenOrders { .. }
            | Self::ReadPlaced { .. }
            | Self::ChangeProduct { .. }
            | Self::JoinWaitlist { .. }
            | Self::LeaveWaitlist { .. }
            | Self::ReadWaitlists { .. }
            | Self::NoteProvider { .. }
            | Self::BreakProduct(_) => None,
        }
    }
}

#[derive(Debug)]
pub struct PlaceOrder {
    pub order: OrderId,
    pub buyer: BuyerId,
    pub key: KeyHash,
    pub fingerprint: Fingerprint,
    pub address: Option<AddressId>,
    /// Distinct products, 1 to [`Order::LINES_MAX`] of them.
    pub lines: Vec<(ProductId, Quantity)>,
}

#[derive(Debug)]
pub struct StartPayment {
    pub order: OrderId,
    pub buyer: BuyerId,
    pub attempt: AttemptId,
    pub key: KeyHash,
    pub fingerprint: Fingerprint,
    pub method: Box<str>,
}

/// How an order is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    pub carrier: Box<str>,
    pub tracking_number: Box<str>,
}

#[derive(Debug)]
pub enum ProductAct {
    Register {
        details: Details,
        restock_to: RestockTo,
        total: u64,
    },
    Edit(DetailsPatch),
    Delete,
    SetStock(u64),
    /// The window is given only when the act is to schedule one.
    Window(WindowAct, Option<Window>),
}

/// What an admin wants changed in a description; `None` stays as it is.
#[derive(Debug, Default)]
pub struct DetailsPatch {
    pub name: Option<Box<str>>,
    pub description: Option<Box<str>>,
    pub image_url: Option<Option<Box<str>>>,
    pub price: Option<Money>,
}

/// Who may see an order: its buyer, or the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    Buyer(BuyerId),
    Shop,
}

#[derive(Debug)]
pub enum Reply {
    Order(Box<Order>),
    Orders(Vec<Order>),
    Payment(Box<PaymentReply>),
    Product(Box<Snapshot>),
    /// `false`: they were on the list before.
    Joined(Box<WaitlistPlace>, bool),
    Places(Vec<WaitlistPlace>),
    Done,
}

/// Somebody's place on the waitlist of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitlistPlace {
    pub product: ProductId,
    pub waiter: Waiter,
    /// 1 for the head of the queue; `None` while there is an offer.
    pub position: Option<u64>,
}

/// The answer to an attempt to pay; the same for every repeat of the request.
#[derive(Debug, Clone)]
pub struct PaymentReply {
    pub order: OrderId,
    pub attempt: AttemptId,
    pub method: Box<str>,
    pub amount: Money,
    pub answer: PaymentAnswer,
    /// Until when another attempt may start after a decline.
    pub deadline: Timestamp,
}

impl PaymentReply {
    /// The answer to an attempt, once there is one.
    pub fn of(order: &Order, attempt: AttemptId) -> Option<Self> {
        let known = order.attempt(attempt)?;
        Some(Self {
            order: order.id,
            attempt,
            method: known.method.clone(),
            amount: order.money(),
            answer: known.answer?,
            deadline: order.deadline,
        })
    }
}

/// Why a command got no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The rules say no.
    Rejected(Rejection),
    /// More commands in flight than the engine admits.
    Overloaded,
    /// More payments under way, or refunds due, than the engine admits.
    PaymentsBusy,
    /// The payment provider gives no answers of its own; nobody starts to pay until it does.
    PaymentsUnavailable {
        retry_after: Span,
    },
    /// SQL has been away for so long that the journal's budget is spent; no new holds.
    JournalFull,
    /// There is no room on the disk for more of the journal than what those need who have something in hand; no new holds.
    DiskFull,
    /// The orders at rest that are kept for the repeat of requests take all the memory that they may; no new holds.
    MemoryFull,
    /// The journal failed: nothing can be promised any more.
    JournalFailed,
    /// The actor concerned crashed and is being rebuilt.
    Recovering,
    /// A bug: the command was answered with the reply of another one.
    WrongReply {
        expected: &'static str,
        found: &'static str,
    },
    /// More commands wait for orders from SQL than the engine keeps waiting.
    RecallsBusy,
    /// What the command takes is in SQL alone, and SQL does not answer or is older than it was.
    OrdersUnavailable,
    ShuttingDown,
}

pub type Answer = Result<Reply, Refusal>;

/// A command on its way to the core, and who is to be answered.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) command: Command,
    pub(crate) reply_to: ReplyTo,
}

/// Which requester waits for an answer: a slot in the lane of one HTTP worker, or nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyTo {
    Slot { lane: u32, slot: u32 },
    Nobody,
}

/// Work for the world outside, released only once the journal has what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// To be sent when its turn comes, if that is before `send_by`, when the order can no longer be paid.
    Charge {
        order: ProviderOrder,
        send_by: Timestamp,
    },
    /// The order can no longer be paid: a charge that has not been sent must not be.
    Withdraw {
        order: OrderId,
        attempt: AttemptId,
    },
    /// The state of an attempt is unknown after a restart: ask before charging.
    LookUp(ProviderOrder),
    Refund(ProviderOrder),
}

/// What a payment provider is told of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderOrder {
    pub order: OrderId,
    pub attempt: AttemptId,
    pub method: Box<str>,
    pub amount: Money,
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}
