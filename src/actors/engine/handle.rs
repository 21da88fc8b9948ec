//! The handle through which everybody else speaks to the engine.
//!
//! HTTP sees only this: nothing here says that the engine runs in the same process. An [`EngineLink`] travels between
//! threads; each thread connects once and gets an [`Engine`], whose answers come back in batches (see `lane`).

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::answer::Answered;
use super::board::Board;
use super::inbox::{Counters, SharedEngine};
use super::lane::{Lane, Port};
use super::watch::Watch;
use crate::actors::core::message::{
    Command, Envelope, PaymentReply, PlaceOrder, ProductAct, Refusal, ReplyTo, Shipment,
    StartPayment, Viewer, WaitlistPlace,
};
use crate::clock::{Clock, EngineTime, WallClock};
use crate::domain::{
    AdminMark, AttemptId, BuyerId, KeyHash, Money, Order, OrderId, PaymentOutcome, ProductId,
    Quantity, Rejection, Snapshot, Timestamp,
};

/// A cheap handle that any thread may connect with.
#[derive(Debug, Clone)]
pub struct EngineLink {
    shared: Arc<SharedEngine>,
}

/// The handle of one thread.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<SharedEngine>,
    port: Rc<Port>,
    lane: u32,
}

impl EngineLink {
    pub(crate) fn new(shared: Arc<SharedEngine>) -> Self {
        Self { shared }
    }

    /// Must be called within an actix or tokio local runtime.
    pub fn connect(&self) -> Engine {
        let lane = Arc::new(Lane::default());
        let number = self.shared.add_lane(Arc::clone(&lane));
        Engine {
            shared: Arc::clone(&self.shared),
            port: Port::open(lane),
            lane: number,
        }
    }

    /// Sends a command that nobody waits for. These are bounded by what they follow from, not by admission.
    pub(crate) fn tell(&self, command: Command) {
        self.shared.push(Envelope {
            command,
            reply_to: ReplyTo::Nobody,
        });
    }

    /// Time as the engine stamps it.
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// Lets the engine look at the clock now.
    pub fn nudge(&self) {
        self.shared.wake();
    }

    pub fn board(&self) -> &Board {
        &self.shared.board
    }

    /// Engine time as a clock, for whatever else must not leap with the wall clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::<EngineTime>::clone(&self.shared.time)
    }

    /// How the wall clock stands to engine time.
    pub fn wall_clock(&self) -> WallClock {
        self.shared.time.wall_clock()
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub fn has_failed(&self) -> bool {
        self.shared.has_failed()
    }

    /// `false`: the disk of the journal is full, so that no new holds are taken.
    pub fn has_room(&self) -> bool {
        self.shared.has_room()
    }
}

impl Engine {
    /// The flash-sale path. What the board can refuse for certain does not reach the engine.
    pub async fn place_order(&self, place: PlaceOrder) -> Result<Box<Order>, Refusal> {
        self.refuse_at_once(&place)?;
        self.ask(Command::PlaceOrder(place)).await
    }

    pub async fn start_payment(&self, start: StartPayment) -> Result<Box<PaymentReply>, Refusal> {
        self.ask(Command::StartPayment(start)).await
    }

    pub async fn cancel_order(
        &self,
        order: OrderId,
        buyer: BuyerId,
    ) -> Result<Box<Order>, Refusal> {
        self.ask(Command::CancelOrder { order, buyer }).await
    }

    pub async fn ship_order(
        &self,
        order: OrderId,
        shipment: Shipment,
        mark: Option<AdminMark>,
    ) -> Result<Box<Order>, Refusal> {
        let command = Command::ShipOrder {
            order,
            shipment,
            mark,
        };
        self.ask(command).await
    }

    pub async fn deliver_order(
        &self,
        order: OrderId,
        mark: Option<AdminMark>,
    ) -> Result<Box<Order>, Refusal> {
        self.ask(Command::DeliverOrder { order, mark }).await
    }

    pub async fn request_return(
        &self,
        order: OrderId,
        buyer: BuyerId,
        reason: Box<str>,
    ) -> Result<Box<Order>, Refusal> {
        let command = Command::RequestReturn {
            order,
            buyer,
            reason,
        };
        self.ask(command).await
    }

    pub async fn accept_return(
        &self,
        order: OrderId,
        mark: AdminMark,
    ) -> Result<Box<Order>, Refusal> {
        self.ask(Command::AcceptReturn { order, mark }).await
    }

    /// What a provider said by itself. When this returns `Ok`, the effect is durable, or was before; said again, it
    /// changes nothing.
    pub async fn settle_payment(
        &self,
        order: OrderId,
        attempt: AttemptId,
        outcome: PaymentOutcome,
        amount: Money,
    ) -> Result<(), Refusal> {
        let command = Command::SettlePayment {
            order,
            attempt,
            outcome,
            amount: Some(amount),
        };
        self.ask(command).await
    }

    pub async fn order(&self, order: OrderId, viewer: Viewer) -> Result<Box<Order>, Refusal> {
        self.ask(Command::ReadOrder { order, viewer }).await
    }

    /// The buyer's newest orders that are still in memory, placed before a record, the newest first.
    pub async fn orders(
        &self,
        buyer: BuyerId,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Order>, Refusal> {
        self.ask(Command::ReadOrders {
            buyer,
            before,
            limit,
        })
        .await
    }

    /// The buyer's orders to which something is still to happen, the oldest first.
    pub async fn open_orders(&self, buyer: BuyerId, limit: usize) -> Result<Vec<Order>, Refusal> {
        self.ask(Command::ReadOpenOrders { buyer, limit }).await
    }

    /// The order that a request has made, if it has and its key is still kept.
    pub async fn placed(&self, buyer: BuyerId, key: KeyHash) -> Result<Option<Order>, Refusal> {
        let placed: Vec<Order> = self.ask(Command::ReadPlaced { buyer, key }).await?;
        Ok(placed.into_iter().next())
    }

    /// Tells from now on what happens to a buyer. Read what there is afterwards, and nothing is missed.
    pub fn watch(&self, buyer: BuyerId) -> Watch {
        Watch::open(&self.shared.watchers, buyer)
    }

    pub async fn change_product(
        &self,
        product: ProductId,
        mark: AdminMark,
        act: ProductAct,
    ) -> Result<Box<Snapshot>, Refusal> {
        let command = Command::ChangeProduct { product, mark, act };
        self.ask(command).await
    }

    /// Gives the place, and whether it is new.
    pub async fn join_waitlist(
        &self,
        product: ProductId,
        buyer: BuyerId,
        quantity: Quantity,
    ) -> Result<(WaitlistPlace, bool), Refusal> {
        let command = Command::JoinWaitlist {
            product,
            buyer,
            quantity,
        };
        self.ask(command).await
    }

    /// Gives up an offer, too. Who is not on the list is none the less off it.
    pub async fn leave_waitlist(&self, product: ProductId, buyer: BuyerId) -> Result<(), Refusal> {
        let command = Command::LeaveWaitlist { product, buyer };
        self.ask(command).await
    }

    /// The buyer's places, by the id of the product.
    pub async fn waitlists(&self, buyer: BuyerId) -> Result<Vec<WaitlistPlace>, Refusal> {
        self.ask(Command::ReadWaitlists { buyer }).await
    }

    /// Makes the actor of a product crash in mid-change.
    #[doc(hidden)]
    pub async fn break_product(&self, product: ProductId) -> Result<(), Refusal> {
        self.ask(Command::BreakProduct(product)).await
    }

    pub fn board(&self) -> &Board {
        &self.shared.board
    }

    /// Time as the engine stamps it, to the microsecond, for windows and countdowns. What others have dated is compared with
    /// their clocks' time, and so with the wall clock.
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }

    pub fn link(&self) -> EngineLink {
        EngineLink::new(Arc::clone(&self.shared))
    }

    /// Each command is asked in one method above, which says of what type its answer is.
    async fn ask<A: Answered>(&self, command: Command) -> Result<A, Refusal> {
        self.shared.admit()?;
        let pending = self.port.reserve();
        let envelope = Envelope {
            command,
            reply_to: ReplyTo::Slot {
                lane: self.lane,
                slot: pending.slot(),
            },
        };
        self.shared.push(envelope);
        A::expect(pending.await?)
    }

    /// Refuses what rests on durable state alone, unless the request may be a repeat or its buyer may be at the limit.
    pub fn refuse_at_once(&self, place: &PlaceOrder) -> Result<(), Refusal> {
        let [(product, quantity)] = place.lines.as_slice() else {
            return Ok(());
        };
        let Err(rejection) = self.check_board(*product, *quantity) else {
            return Ok(());
        };
        let board = &self.shared.board;
        if board.may_know(place.key, place.buyer, *product) {
            return Ok(());
        }
        let counters = &self.shared.counters;
        counters
            .refused_on_the_board
            .fetch_add(1, Ordering::Relaxed);
        Err(rejection.into())
    }

    fn check_board(&self, product: ProductId, quantity: Quantity) -> Result<(), Rejection> {
        let Some(snapshot) = self.shared.board.snapshot(product) else {
            return Err(Rejection::NoSuchProduct(product));
        };
        let now = self.now();
        snapshot.open_window(now)?;
        // A hold that is over by now frees its unit only once the engine has looked at the clock.
        if snapshot
            .earliest_deadline
            .is_some_and(|deadline| deadline <= now)
        {
            return Ok(());
        }
        snapshot.check_stock(quantity, 0)
    }
}
