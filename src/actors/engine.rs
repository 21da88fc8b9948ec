//! The handle through which everybody else speaks to the engine.
//!
//! HTTP sees only this: nothing here says that the engine runs in the same process. An [`EngineLink`] travels between
//! threads; each thread connects once and gets an [`Engine`], whose answers come back in batches (see `lane`).

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use actix::Addr;
use parking_lot::Mutex;

use super::board::Board;
use super::host::{EngineActor, Wake};
use super::lane::{Lane, Port};
use super::message::{
    Answer, Command, PaymentReply, PlaceOrder, ProductAct, Refusal, Reply, ReplyTo, StartPayment,
    Viewer,
};
use crate::clock::Clock;
use crate::domain::{
    AdminMark, BuyerId, Order, OrderId, ProductId, Quantity, Rejection, Snapshot, Timestamp,
};

/// What the engine's thread and its clients share.
#[derive(Debug)]
pub(crate) struct Shared {
    inbox: Mutex<Vec<Envelope>>,
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// The engine has nothing to do and must be woken.
    asleep: AtomicBool,
    /// Once set, nothing is promised any more.
    failed: AtomicBool,
    closing: AtomicBool,
    in_flight: AtomicUsize,
    in_flight_max: usize,
    actor: OnceLock<Addr<EngineActor>>,
    pub(crate) board: Board,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Counters,
}

/// Counted by the engine and its clients, read by whoever watches.
#[derive(Debug, Default)]
pub struct Counters {
    pub batches: AtomicU64,
    pub records: AtomicU64,
    pub refused_on_the_board: AtomicU64,
    pub refused_overloaded: AtomicU64,
    pub actor_crashes: AtomicU64,
    pub holds_expired_late_us_max: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) command: Command,
    pub(crate) reply_to: ReplyTo,
}

/// A cheap handle that any thread may connect with.
#[derive(Debug, Clone)]
pub struct EngineLink {
    shared: Arc<Shared>,
}

/// The handle of one thread.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    port: Rc<Port>,
    lane: u32,
}

impl EngineLink {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
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

    /// Lets the engine look at the clock now.
    pub fn nudge(&self) {
        self.shared.wake();
    }

    pub fn board(&self) -> &Board {
        &self.shared.board
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire)
    }
}

impl Engine {
    /// The flash-sale path. What the board can refuse for certain does not reach the engine.
    pub async fn place_order(&self, place: PlaceOrder) -> Result<Box<Order>, Refusal> {
        self.refuse_at_once(&place)?;
        expect_order(self.ask(Command::PlaceOrder(place)).await)
    }

    pub async fn start_payment(&self, start: StartPayment) -> Result<Box<PaymentReply>, Refusal> {
        match self.ask(Command::StartPayment(start)).await? {
            Reply::Payment(reply) => Ok(reply),
            _ => Err(Refusal::Recovering),
        }
    }

    pub async fn cancel_order(
        &self,
        order: OrderId,
        buyer: BuyerId,
    ) -> Result<Box<Order>, Refusal> {
        expect_order(self.ask(Command::CancelOrder { order, buyer }).await)
    }

    pub async fn order(&self, order: OrderId, viewer: Viewer) -> Result<Box<Order>, Refusal> {
        expect_order(self.ask(Command::ReadOrder { order, viewer }).await)
    }

    /// The buyer's orders that are still in memory, in no particular order.
    pub async fn orders(&self, buyer: BuyerId) -> Result<Vec<Order>, Refusal> {
        match self.ask(Command::ReadOrders { buyer }).await? {
            Reply::Orders(orders) => Ok(orders),
            _ => Err(Refusal::Recovering),
        }
    }

    pub async fn change_product(
        &self,
        product: ProductId,
        mark: AdminMark,
        act: ProductAct,
    ) -> Result<Box<Snapshot>, Refusal> {
        let command = Command::ChangeProduct { product, mark, act };
        match self.ask(command).await? {
            Reply::Product(snapshot) => Ok(snapshot),
            _ => Err(Refusal::Recovering),
        }
    }

    /// Makes the actor of a product crash in mid-change.
    #[doc(hidden)]
    pub async fn break_product(&self, product: ProductId) -> Answer {
        self.ask(Command::BreakProduct(product)).await
    }

    pub fn board(&self) -> &Board {
        &self.shared.board
    }

    /// Time as the engine stamps it, to the microsecond, for windows and countdowns.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub fn link(&self) -> EngineLink {
        EngineLink::new(Arc::clone(&self.shared))
    }

    async fn ask(&self, command: Command) -> Answer {
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
        pending.await
    }

    /// Refuses what rests on durable state alone, unless the request may be a repeat or its buyer may be at the limit.
    fn refuse_at_once(&self, place: &PlaceOrder) -> Result<(), Refusal> {
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
        snapshot.open_window(self.now())?;
        // A hold that is over by now frees its unit only once the engine has looked at the clock.
        if snapshot
            .earliest_deadline
            .is_some_and(|deadline| deadline <= self.now())
        {
            return Ok(());
        }
        snapshot.check_stock(quantity)
    }
}

impl Shared {
    /// `in_flight_max`: commands admitted at once; the next is refused as [`Refusal::Overloaded`], never parked.
    pub(crate) fn new(clock: Arc<dyn Clock>, in_flight_max: usize) -> Self {
        Self {
            inbox: Mutex::new(Vec::new()),
            lanes: Mutex::new(Vec::new()),
            asleep: AtomicBool::new(true),
            failed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            in_flight_max,
            actor: OnceLock::new(),
            board: Board::new(),
            clock,
            counters: Counters::default(),
        }
    }

    pub(crate) fn attach(&self, actor: Addr<EngineActor>) {
        if self.actor.set(actor).is_err() {
            tracing::error!("a second engine was attached; it is ignored");
        }
    }

    /// Swaps the commands that are ready for an empty list.
    pub(crate) fn take_commands(&self, into: &mut Vec<Envelope>) {
        std::mem::swap(into, &mut *self.inbox.lock());
    }

    /// Says that the engine goes to sleep; `false` if something came in meanwhile and it must not.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        if self.inbox.lock().is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::SeqCst);
        false
    }

    pub(crate) fn lane(&self, number: u32) -> Option<Arc<Lane>> {
        self.lanes.lock().get(number as usize).cloned()
    }

    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn add_lane(&self, lane: Arc<Lane>) -> u32 {
        let mut lanes = self.lanes.lock();
        lanes.push(lane);
        u32::try_from(lanes.len() - 1).unwrap_or(u32::MAX)
    }

    /// Says that the engine is done with this many admitted commands.
    pub(crate) fn release(&self, commands: usize) {
        self.in_flight.fetch_sub(commands, Ordering::AcqRel);
    }

    fn admit(&self) -> Result<(), Refusal> {
        if self.failed.load(Ordering::Acquire) {
            return Err(Refusal::JournalFailed);
        }
        if self.closing.load(Ordering::Acquire) {
            return Err(Refusal::ShuttingDown);
        }
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= self.in_flight_max {
            self.release(1);
            self.counters
                .refused_overloaded
                .fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::Overloaded);
        }
        Ok(())
    }

    fn push(&self, envelope: Envelope) {
        self.inbox.lock().push(envelope);
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        // A full mailbox already holds a wake-up, and one is enough.
        if let Some(actor) = self.actor.get() {
            actor.try_send(Wake).ok();
        }
    }
}

fn expect_order(answer: Answer) -> Result<Box<Order>, Refusal> {
    match answer? {
        Reply::Order(order) => Ok(order),
        _ => Err(Refusal::Recovering),
    }
}
