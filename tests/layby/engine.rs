//! The engine alone: with a clock that is moved by hand, a provider that speaks when it is told to, and an actor that
//! is made to crash.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt, pending, ready};
use layby::actors::message::{
    PaymentReply, PlaceOrder, ProductAct, Refusal, Shipment, StartPayment, Viewer,
};
use layby::actors::{
    self, Engine, EngineOptions, EngineParts, LiveState, Notice, PaymentTimes, Recall, Reload,
    ReplayBase, RunningEngine,
};
use layby::calendar::{Calendar, ShopCalendar};
use layby::clock::{Clock, ManualClock, SystemClock};
use layby::domain::{
    AdminMark, AttemptId, BuyerId, Currency, Details, Fingerprint, KeyHash, Money, Order, OrderId,
    OrderState, PaymentAnswer, PaymentOutcome, ProductId, Quantity, RefundState, Rejection,
    RequestId, RestockTo, Span, Timestamp, Window, WindowAct,
};
use layby::gateways::payment::{self, CallError, Charge, PaymentProvider};
use layby::persistence::database::{self, Database};
use layby::persistence::following::Progress;
use layby::persistence::journal::{
    Batch, FileJournal, Journal, JournalError, JournalReader, Options, Position, ReadError,
    RealDisk, View,
};
use layby::persistence::projection::{self, Projection};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::support::Store;

#[test]
fn a_late_success_claims_its_unit_again_while_it_is_free() {
    on_stage(async |stage| {
        let lamp = stage.product(1).await;
        let order = stage.paid_too_late(lamp).await;
        stage.hear(&order, PaymentOutcome::Captured).await;
        let order = stage.settled(&order, OrderState::Paid).await;
        assert_eq!(order.attempts[0].refund, RefundState::NotDue);
        assert_eq!(stage.units(lamp), (0, 0, 1));
        assert_eq!(stage.bank.refunds(), 0);
    });
}

#[test]
fn a_late_success_whose_unit_is_gone_is_refunded_in_full_once() {
    on_stage(async |stage| {
        let lamp = stage.product(1).await;
        let order = stage.paid_too_late(lamp).await;
        let next = stage.place(lamp, 1).await.expect("the unit is free");
        for _ in 0..3 {
            stage.hear(&order, PaymentOutcome::Captured).await;
        }
        let order = stage.settled(&order, OrderState::Refunded).await;
        assert_eq!(order.attempts[0].refund, RefundState::Done);
        stage.hear(&order, PaymentOutcome::Declined).await;
        stage.settled(&order, OrderState::Refunded).await;
        assert_eq!(stage.bank.refunds(), 1);
        assert_eq!(stage.state(&next).await, OrderState::Held);
        assert_eq!(stage.units(lamp), (0, 1, 0));
    });
}

#[test]
fn a_late_success_does_not_lift_a_person_over_the_limit() {
    on_stage(async |stage| {
        let lamp = stage.product_with(5, Some(1)).await;
        let order = stage.paid_too_late(lamp).await;
        let again = stage
            .place_for(order.buyer, lamp, 1)
            .await
            .expect("their own stale hold is over");
        stage.hear(&order, PaymentOutcome::Captured).await;
        stage.settled(&order, OrderState::Refunded).await;
        assert_eq!(stage.state(&again).await, OrderState::Held);
        assert_eq!(stage.units(lamp), (4, 1, 0));
    });
}

#[test]
fn a_late_decline_changes_nothing() {
    on_stage(async |stage| {
        let lamp = stage.product(1).await;
        let order = stage.paid_too_late(lamp).await;
        stage.hear(&order, PaymentOutcome::Declined).await;
        stage.settled(&order, OrderState::Expired).await;
        // A success is never ignored, even after a decline.
        stage.hear(&order, PaymentOutcome::Captured).await;
        stage.settled(&order, OrderState::Paid).await;
        assert_eq!((stage.units(lamp), stage.bank.refunds()), ((0, 0, 1), 0));
    });
}

#[test]
fn a_success_after_a_cancellation_that_ran_out_is_refunded() {
    on_stage(async |stage| {
        let lamp = stage.product(1).await;
        let order = stage.place(lamp, 1).await.expect("there is one");
        stage.pay(&order, "silent").await;
        let asked = stage
            .engine
            .cancel_order(order.id, order.buyer)
            .await
            .expect("accepted");
        assert_eq!(asked.state, OrderState::CancelRequested);
        stage.clock.advance(Span::from_secs(1_000));
        stage.running.link().nudge();
        stage.settled(&order, OrderState::Cancelled).await;
        assert_eq!(stage.units(lamp), (1, 0, 0));
        stage.hear(&order, PaymentOutcome::Captured).await;
        stage
            .eventually("the money is back", || {
                (stage.bank.refunds() == 1).then_some(())
            })
            .await;
        stage.settled(&order, OrderState::Cancelled).await;
        assert_eq!(stage.units(lamp), (1, 0, 0));
    });
}

#[test]
fn a_return_is_restocked_a_day_after_it_was_asked_for() {
    on_stage(async |stage| {
        let (lamp, mark) = (stage.product(1).await, mark());
        let order = stage.place(lamp, 1).await.expect("there is one");
        stage.pay(&order, "card").await;
        let shipment = Shipment {
            carrier: "Korea Post".into(),
            tracking_number: "RR1".into(),
        };
        let engine = &stage.engine;
        let shipped = engine.ship_order(order.id, shipment, Some(mark)).await;
        assert_eq!(shipped.expect("paid").state, OrderState::Shipped);
        let delivered = engine.deliver_order(order.id, None).await.expect("shipped");
        let until = delivered.aftermath.and_then(|it| it.return_until);
        assert_eq!(
            until,
            Some(ShopCalendar::default().return_until(stage.clock.now()))
        );
        let asked = engine.request_return(order.id, order.buyer, "too bright".into());
        assert_eq!(
            asked.await.expect("in time").state,
            OrderState::ReturnRequested
        );
        stage.clock.advance(Span::from_secs(3_600));
        let accepted = engine
            .accept_return(order.id, mark)
            .await
            .expect("asked for");
        assert_eq!(accepted.state, OrderState::Returned);
        stage
            .eventually("the money is back", || {
                (stage.bank.refunds() == 1).then_some(())
            })
            .await;

        stage.clock.advance(Span::from_secs(82_799));
        stage.running.link().nudge();
        stage.settled(&order, OrderState::Returned).await;
        assert_eq!(stage.units(lamp), (0, 0, 0));
        stage.clock.advance(Span::from_secs(1));
        stage.running.link().nudge();
        stage
            .eventually("the unit is back", || {
                (stage.units(lamp) == (1, 0, 0)).then_some(())
            })
            .await;
        assert_eq!(stage.bank.refunds(), 1);
    });
}

#[test]
fn a_clock_that_goes_back_neither_extends_nor_revives_a_hold() {
    on_stage(async |stage| {
        let lamp = stage.product(2).await;
        let began = stage.clock.now();
        let stale = stage.place(lamp, 1).await.expect("there are two");
        stage.clock.advance(Span::from_secs(3_600));
        let later = stage.place(lamp, 1).await.expect("both are free");
        assert_eq!(stage.state(&stale).await, OrderState::Expired);
        stage.clock.set(began);
        assert_eq!(stage.state(&stale).await, OrderState::Expired);
        let last = stage.place(lamp, 1).await.expect("one is free");
        assert!(last.placed_at >= later.placed_at, "time went back");
        assert_eq!(stage.units(lamp), (0, 2, 0));
    });
}

#[test]
fn a_wall_clock_that_jumps_ends_no_hold_and_opens_no_sale() {
    on_stage(async |stage| {
        let (lamp, soon) = (stage.product(2).await, stage.product(1).await);
        let began = stage.clock.now();
        let in_half_an_hour = Window::open_from(began.plus(Span::from_secs(1_800)));
        let act = ProductAct::Window(WindowAct::Schedule, Some(in_half_an_hour));
        let changed = stage.engine.change_product(soon, mark(), act).await;
        changed.expect("scheduled");
        let order = stage.place(lamp, 1).await.expect("there are two");
        for wall in [began.plus(Span::from_secs(3_600)), Timestamp::ZERO] {
            stage.clock.set(wall);
            stage.running.link().nudge();
            stage.settled(&order, OrderState::Held).await;
            let refused = stage.place(soon, 1).await.expect_err("not open");
            assert!(
                matches!(
                    refused,
                    Refusal::Rejected(Rejection::NotOpen { now, .. }) if now == began
                ),
                "{refused:?}"
            );
        }
        // However the wall clock stands, ten seconds are ten seconds.
        stage.clock.advance(Span::from_millis(9_990));
        assert_eq!(stage.state(&order).await, OrderState::Held);
        stage.clock.advance(Span::from_millis(20));
        assert_eq!(stage.state(&order).await, OrderState::Expired);
    });
}

#[test]
fn a_machine_that_was_asleep_ends_what_is_over_soon_after_it_wakes() {
    on_stage(async |stage| {
        let lamp = stage.product(1).await;
        stage.place(lamp, 1).await.expect("there is one");
        // No timer knows of it, and nobody asks.
        stage.clock.advance(Span::from_secs(3_600));
        let free = || (stage.units(lamp) == (1, 0, 0)).then_some(());
        stage.eventually("the unit is free", free).await;
    });
}

#[test]
fn a_crashed_actor_is_rebuilt_and_nobody_else_notices() {
    on_stage(async |stage| {
        let (broken, whole) = (stage.product(100).await, stage.product(1_000).await);
        let mut accepted = Vec::new();
        for number in 0..10 {
            let order = stage.place(broken, 1).await.expect("there are enough");
            if number % 2 == 0 {
                stage.pay(&order, "card").await;
            }
            accepted.push((order.id, order.buyer));
        }
        let pending = stage.place(broken, 1).await.expect("there are enough");
        stage.pay(&pending, "silent").await;
        let before = stage.units(broken);
        let states = stage.states(&accepted).await;

        for crash in 1..=3 {
            assert_eq!(
                stage.engine.break_product(broken).await.err(),
                Some(Refusal::Recovering)
            );
            stage
                .place(whole, 1)
                .await
                .expect("another product is not concerned");
            assert_eq!(stage.crashes(), crash);
            stage.comes_back(broken).await;
            assert_eq!(stage.states(&accepted).await, states);
        }
        let placed_since = 3;
        let after = stage.units(broken);
        assert_eq!(
            (after.0, after.1, after.2),
            (before.0 - placed_since, before.1 + placed_since, before.2)
        );
        assert_eq!(stage.units(whole), (997, 3, 0));
        stage.hear(&pending, PaymentOutcome::Captured).await;
        stage.settled(&pending, OrderState::Paid).await;
    });
}

#[test]
fn an_actor_that_crashes_under_load_takes_back_no_answer() {
    on_stage(async |stage| {
        let (broken, whole) = (stage.product(100_000).await, stage.product(100_000).await);
        let mut accepted = Vec::new();
        let mut on_whole = 0;
        for round in 0..200 {
            if round % 40 == 20 {
                stage
                    .engine
                    .break_product(broken)
                    .await
                    .expect_err("it crashes");
            }
            match stage.place(broken, 1).await {
                Ok(order) => accepted.push((order.id, order.buyer)),
                Err(refusal) => assert_eq!(refusal, Refusal::Recovering),
            }
            match stage.place(whole, 1).await {
                Ok(_) => on_whole += 1,
                // The slice of buyers that the broken order belongs to.
                Err(refusal) => assert_eq!(refusal, Refusal::Recovering),
            }
        }
        stage.comes_back(broken).await;
        assert_eq!(stage.crashes(), 5);
        let states = stage.states(&accepted).await;
        assert!(
            states.iter().all(|state| *state == OrderState::Held),
            "{states:?}"
        );
        assert_eq!(stage.units(broken).1, accepted.len() as u64 + 1);
        assert_eq!(stage.units(whole).1, on_whole);
        assert!(
            on_whole >= 190,
            "others were kept waiting: {on_whole} of 200"
        );
    });
}

#[test]
fn a_watcher_is_told_what_changes_and_after_a_crash_to_read_anew() {
    on_stage(async |stage| {
        let lamp = stage.product(10).await;
        let order = stage.place(lamp, 1).await.expect("there are enough");
        let watch = stage.engine.watch(order.buyer);
        assert_eq!(watch.take(), [], "that was before");
        stage.pay(&order, "silent").await;
        let [Notice::Order(told)] = &watch.take()[..] else {
            panic!("one order has changed");
        };
        assert_eq!((told.id, told.state), (order.id, OrderState::Paying));
        stage.hear(&order, PaymentOutcome::Captured).await;
        let paid = stage.settled(&order, OrderState::Paid).await;
        assert_eq!(watch.take(), [Notice::Order(paid)]);

        stage
            .engine
            .break_product(lamp)
            .await
            .expect_err("it crashes");
        stage.comes_back(lamp).await;
        assert!(watch.take().contains(&Notice::Resync));
    });
}

#[test]
fn whoever_waits_for_the_provider_is_answered_when_the_journal_fails() {
    let directory = tempfile::tempdir().expect("a directory");
    let tables = Store::Sqlite.tables(directory.path());
    actix_web::rt::System::new().block_on(async {
        let patient = PaymentTimes {
            answer_within: Duration::from_secs(3_600),
            ..PaymentTimes::default()
        };
        let stage = Stage::set_up_with(directory.path(), tables.url(), patient).await;
        let lamp = stage.product(9).await;
        let place = async || stage.place(lamp, 1).await.expect("there are enough");
        let (pays, takes_back) = (place().await, place().await);
        stage.pay(&takes_back, "card, no refund").await;
        let start = stage.payment(&pays, "silent");
        let repeat = StartPayment {
            key: start.key,
            ..stage.payment(&pays, "silent")
        };
        let cancel = stage.engine.cancel_order(takes_back.id, takes_back.buyer);
        let fail = async {
            while stage.state(&takes_back).await != OrderState::Refunding
                || stage.state(&pays).await != OrderState::Paying
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stage.journal_fails.store(true, Ordering::SeqCst);
            stage.place(lamp, 1).await
        };
        let (paid, again, cancelled, placed) = tokio::join!(
            stage.engine.start_payment(start),
            stage.engine.start_payment(repeat),
            cancel,
            fail
        );
        let failed = Some(Refusal::JournalFailed);
        assert_eq!(paid.err(), failed);
        assert_eq!(again.err(), failed);
        assert_eq!(cancelled.err(), failed);
        assert_eq!(placed.err(), failed);
        stage.running.close().await.expect_err("it has failed");
        stage.projection.stop().expect("stopped");
        stage.database.close().await;
    });
}

// -- the stage ---------------------------------------------------------------------------------------------------

struct Stage {
    running: RunningEngine,
    engine: Engine,
    clock: ManualClock,
    bank: Arc<Bank>,
    notices: mpsc::Sender<payment::Notice>,
    projection: Projection,
    database: Database,
    journal_fails: Arc<AtomicBool>,
}

/// Takes nothing any more once it is told so.
struct FailingJournal {
    inner: FileJournal<RealDisk>,
    fails: Arc<AtomicBool>,
}

impl Journal for FailingJournal {
    fn append(&mut self, batch: &Batch) -> Result<Position, JournalError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(JournalError::Failed);
        }
        self.inner.append(batch)
    }

    fn seal(&mut self) -> Result<(), JournalError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(JournalError::Failed);
        }
        self.inner.seal()
    }

    fn position(&self) -> Position {
        self.inner.position()
    }

    fn release_through(&mut self, position: Position) {
        self.inner.release_through(position);
    }

    fn has_room(&mut self) -> bool {
        self.inner.has_room()
    }

    fn bytes_after(&self, position: Position) -> u64 {
        self.inner.bytes_after(position)
    }

    fn view(&self) -> View {
        self.inner.view()
    }

    fn reader(&self, after: Position) -> Result<Box<dyn JournalReader>, ReadError> {
        self.inner.reader(after)
    }
}

/// Takes the money at once from `card`, and says nothing about anything else until it is told to.
#[derive(Debug, Default)]
struct Bank {
    refunded: Mutex<Vec<AttemptId>>,
}

impl PaymentProvider for Bank {
    fn charge(&self, charge: Charge) -> BoxFuture<'_, Result<PaymentOutcome, CallError>> {
        match &*charge.method {
            "card" | "card, no refund" => ready(Ok(PaymentOutcome::Captured)).boxed(),
            _ => pending().boxed(),
        }
    }

    fn look_up(
        &self,
        _: AttemptId,
        _: tokio::time::Instant,
    ) -> BoxFuture<'_, Result<Option<PaymentOutcome>, CallError>> {
        ready(Err(CallError::Unavailable("the line is busy".into()))).boxed()
    }

    fn refund(&self, charge: Charge) -> BoxFuture<'_, Result<(), CallError>> {
        if &*charge.method == "card, no refund" {
            return pending().boxed();
        }
        self.refunded.lock().push(charge.attempt);
        ready(Ok(())).boxed()
    }
}

impl Bank {
    fn refunds(&self) -> usize {
        self.refunded.lock().len()
    }
}

/// Plays it on each database.
fn on_stage(play: impl AsyncFn(&Stage)) {
    for store in [Store::Sqlite, Store::MariaDb] {
        let directory = tempfile::tempdir().expect("a directory");
        let tables = store.tables(directory.path());
        actix_web::rt::System::new().block_on(async {
            let stage = Stage::set_up(directory.path(), tables.url()).await;
            play(&stage).await;
            stage.take_down().await;
        });
    }
}

impl Stage {
    async fn set_up(directory: &Path, database_url: &str) -> Self {
        let times = PaymentTimes {
            answer_within: Duration::from_millis(30),
            ..PaymentTimes::default()
        };
        Self::set_up_with(directory, database_url, times).await
    }

    async fn set_up_with(
        directory: &Path,
        database_url: &str,
        payment_times: PaymentTimes,
    ) -> Self {
        let disk = RealDisk::create(directory.join("journal")).expect("a directory");
        let options = Options {
            segment_bytes: 1 << 20,
            ..Options::default()
        };
        let (journal, _) = FileJournal::open(disk, options).expect("a new journal");
        let database = Database::connect(database_url, database::Options::default())
            .await
            .expect("a database");
        database.migrate().await.expect("tables");
        let view = journal.view();
        let point = Projection::find(&database, &view).await.expect("a place");
        let live = database.load_all().await.expect("read");
        let progress = Progress::new(live.position);
        let clock = ManualClock::at(SystemClock.now());
        let bank = Arc::new(Bank::default());
        let (notices, heard) = mpsc::channel(16);
        let projected = || {
            let progress = progress.clone();
            Box::new(move || progress.position())
        };
        let journal_fails = Arc::new(AtomicBool::new(false));
        let is_meant = Arc::clone(&journal_fails);
        let running = actors::start(EngineParts {
            journal: Box::new(FailingJournal {
                inner: journal,
                fails: Arc::clone(&journal_fails),
            }),
            live: LiveState::from(live).into(),
            clock: Arc::new(clock.clone()),
            calendar: Arc::new(ShopCalendar::default()),
            provider: Arc::<Bank>::clone(&bank),
            notices: Some(heard),
            options: EngineOptions {
                payment_times,
                ..EngineOptions::default()
            },
            reload: reload(database.clone()),
            recall: recall(database.clone()),
            projected: projected(),
            projected_durably: projected(),
            followed: projected(),
            on_failure: Box::new(move |error| {
                let is_meant = is_meant.load(Ordering::SeqCst);
                assert!(is_meant, "the engine failed: {error}");
            }),
        })
        .await
        .expect("an engine");
        let projection =
            Projection::start(view, point, progress, database.clone(), projection::PACE)
                .expect("a projection");
        let engine = running.link().connect();
        Self {
            running,
            engine,
            clock,
            bank,
            notices,
            projection,
            database,
            journal_fails,
        }
    }

    /// The tables must add up, too.
    async fn take_down(self) {
        let last = self.running.close().await.expect("sealed");
        self.projection
            .progress()
            .wait_for(last)
            .await
            .expect("followed");
        self.projection.stop().expect("stopped");
        let faults = database::verify_books(&self.database).await.expect("read");
        assert_eq!(faults, Vec::<String>::new());
        self.database.close().await;
    }

    async fn product(&self, stock: u64) -> ProductId {
        self.product_with(stock, None).await
    }

    /// On sale, with holds of ten seconds.
    async fn product_with(&self, stock: u64, per_person_limit: Option<u32>) -> ProductId {
        let id = ProductId::new(unique());
        let register = ProductAct::Register {
            details: Details {
                name: "Lamp".into(),
                description: "".into(),
                image_url: None,
                price: Money {
                    amount: 39_000,
                    currency: Currency::parse("KRW").expect("a currency"),
                },
            },
            restock_to: RestockTo::Available,
            total: stock,
        };
        let window = Window {
            per_person_limit,
            hold_ttl: Span::from_secs(10),
            ..Window::open_from(self.clock.now())
        };
        for act in [
            register,
            ProductAct::Window(WindowAct::Schedule, Some(window)),
        ] {
            self.engine
                .change_product(id, mark(), act)
                .await
                .expect("changed");
        }
        id
    }

    async fn place(&self, product: ProductId, quantity: u32) -> Result<Box<Order>, Refusal> {
        self.place_for(BuyerId::new(unique()), product, quantity)
            .await
    }

    async fn place_for(
        &self,
        buyer: BuyerId,
        product: ProductId,
        quantity: u32,
    ) -> Result<Box<Order>, Refusal> {
        let place = PlaceOrder {
            order: OrderId::for_buyer(unique(), buyer),
            buyer,
            key: KeyHash::new(unique()),
            fingerprint: Fingerprint(0),
            address: None,
            lines: vec![(product, Quantity::new(quantity).expect("a quantity"))],
        };
        self.engine.place_order(place).await
    }

    async fn pay(&self, order: &Order, method: &str) -> Box<PaymentReply> {
        let start = self.payment(order, method);
        self.engine.start_payment(start).await.expect("a payment")
    }

    fn payment(&self, order: &Order, method: &str) -> StartPayment {
        StartPayment {
            order: order.id,
            buyer: order.buyer,
            attempt: AttemptId::new(unique()),
            key: KeyHash::new(unique()),
            fingerprint: Fingerprint(0),
            method: method.into(),
        }
    }

    /// An order whose payment nobody has heard of when its time is over.
    async fn paid_too_late(&self, product: ProductId) -> Box<Order> {
        let order = self.place(product, 1).await.expect("there is one");
        let reply = self.pay(&order, "silent").await;
        assert_eq!(reply.answer, PaymentAnswer::Pending);
        // Ten seconds of hold, and two minutes because a payment has begun.
        self.clock.advance(Span::from_secs(129));
        assert_eq!(self.state(&order).await, OrderState::Paying);
        self.clock.advance(Span::from_secs(2));
        self.running.link().nudge();
        self.settled(&order, OrderState::Expired).await
    }

    /// The provider sends a notice about the last attempt.
    async fn hear(&self, order: &Order, outcome: PaymentOutcome) {
        let order = self.order(order).await;
        let notice = payment::Notice {
            order: order.id,
            attempt: order.attempts.last().expect("an attempt").id,
            outcome,
        };
        self.notices.send(notice).await.expect("somebody listens");
        // Whoever asks after this is answered after the notice was taken in, or asks again.
        tokio::task::yield_now().await;
    }

    async fn order(&self, order: &Order) -> Box<Order> {
        self.engine
            .order(order.id, Viewer::Shop)
            .await
            .expect("known")
    }

    async fn state(&self, order: &Order) -> OrderState {
        self.order(order).await.state
    }

    async fn states(&self, orders: &[(OrderId, BuyerId)]) -> Vec<OrderState> {
        let mut states = Vec::new();
        for (order, buyer) in orders {
            let order = self
                .engine
                .order(*order, Viewer::Buyer(*buyer))
                .await
                .expect("known");
            states.push(order.state);
        }
        states
    }

    /// Waits for the state, and a moment longer for what might still undo it.
    async fn settled(&self, order: &Order, state: OrderState) -> Box<Order> {
        let began = Instant::now();
        let mut seen = self.order(order).await;
        while seen.state != state {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "{:?}, not {state:?}",
                seen.state
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
            seen = self.order(order).await;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        let seen = self.order(order).await;
        assert_eq!(seen.state, state, "it did not stay");
        seen
    }

    async fn eventually<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "never: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the product takes orders again; takes one.
    async fn comes_back(&self, product: ProductId) {
        let began = Instant::now();
        while let Err(refusal) = self.place(product, 1).await {
            assert_eq!(refusal, Refusal::Recovering);
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "it is never rebuilt"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Available, held and sold units, as everybody sees them.
    fn units(&self, product: ProductId) -> (u64, u64, u64) {
        let stock = self.engine.board().snapshot(product).expect("known").stock;
        (stock.available, stock.held, stock.sold)
    }

    fn crashes(&self) -> u64 {
        self.running
            .link()
            .counters()
            .actor_crashes
            .load(Ordering::Relaxed)
    }
}

fn recall(database: Database) -> Recall {
    Arc::new(move |wanted| {
        let database = database.clone();
        async move { Ok(database.recall(wanted.orders, wanted.people).await?.into()) }.boxed()
    })
}

fn reload(database: Database) -> Reload {
    Arc::new(move || -> BoxFuture<'static, anyhow::Result<ReplayBase>> {
        let database = database.clone();
        async move { Ok(LiveState::from(database.load_all().await?).into()) }.boxed()
    })
}

fn mark() -> AdminMark {
    AdminMark {
        admin: BuyerId::new(1),
        request: RequestId::new(unique()),
    }
}

fn unique() -> u128 {
    Uuid::now_v7().as_u128()
}
