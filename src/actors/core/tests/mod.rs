//! The core driven by hand: a test takes the turns, tells the time, and plays SQL.

mod bounds;
mod closing;
mod crashing;
mod day;
mod leaving;
mod people;
mod recalling;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::cell::{Cell, CellLimits, PersonLimits};
use super::machine::{Core, CoreLimits, EngineFailure, Moment, Outlet};
use super::message::{
    Answer, Command, Effect, Envelope, PlaceOrder, ProductAct, Refusal, Reply, ReplyTo,
    StartPayment, Viewer,
};
use super::turn::Turn;
use crate::domain::{
    AdminMark, AttemptId, BuyerId, Currency, Details, Fingerprint, KeyHash, Money, Order, OrderId,
    PaymentOutcome, ProductId, Quantity, RequestId, RestockTo, Span, Timestamp, Window, WindowAct,
};
use crate::persistence::journal::{
    Batch, Journal, JournalError, JournalReader, MemoryJournal, Position, ReadError, View,
};

const LAMP: ProductId = ProductId::new(0x1a);
const KIM: BuyerId = BuyerId::new(7);
const START: Timestamp = Timestamp::from_micros(1_764_000_000_000_000);

/// What left the core, and what was written, in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Append,
    Publish,
    Perform,
    Fail,
    Answer,
}

type Steps = Arc<Mutex<Vec<Step>>>;

/// A journal in memory that notes when it is written to.
struct NotedJournal {
    journal: MemoryJournal,
    steps: Steps,
    is_full: Arc<AtomicBool>,
}

impl Journal for NotedJournal {
    fn append(&mut self, batch: &Batch) -> Result<Position, JournalError> {
        self.steps.lock().push(Step::Append);
        self.journal.append(batch)
    }

    fn seal(&mut self) -> Result<(), JournalError> {
        self.journal.seal()
    }

    fn position(&self) -> Position {
        self.journal.position()
    }

    fn release_through(&mut self, position: Position) {
        self.journal.release_through(position);
    }

    fn has_room(&mut self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    fn bytes_after(&self, position: Position) -> u64 {
        self.journal.bytes_after(position)
    }

    fn view(&self) -> View {
        self.journal.view()
    }

    fn reader(&self, after: Position) -> Result<Box<dyn JournalReader>, ReadError> {
        self.journal.reader(after)
    }
}

/// What left the core.
#[derive(Default)]
struct Left {
    steps: Steps,
    journal_is_full: Arc<AtomicBool>,
    effects: Vec<Effect>,
    answers: Vec<(ReplyTo, Answer)>,
}

impl Outlet for Left {
    fn is_watched(&self) -> bool {
        false
    }

    fn publish(&mut self, _: &Cell, turn: &mut Turn) {
        if !turn.touched.is_empty() {
            self.steps.lock().push(Step::Publish);
        }
        turn.touched.clear();
        turn.placed.clear();
    }

    fn perform(&mut self, effects: &mut Vec<Effect>) {
        self.steps.lock().push(Step::Perform);
        self.effects.append(effects);
    }

    fn fail(&mut self) {
        self.steps.lock().push(Step::Fail);
    }

    fn answer(&mut self, answers: &mut Vec<(ReplyTo, Answer)>) {
        if !answers.is_empty() {
            self.steps.lock().push(Step::Answer);
        }
        self.answers.append(answers);
    }
}

/// A core with one product on sale.
struct Stage {
    core: Core,
    left: Left,
    now: Timestamp,
    projected: Position,
    asked: u32,
}

impl Stage {
    fn new(limits: PersonLimits) -> Self {
        Self::with(limits, MemoryJournal::new(), usize::MAX)
    }

    fn with(person: PersonLimits, journal: MemoryJournal, at_rest_max: usize) -> Self {
        let left = Left::default();
        let journal = NotedJournal {
            journal,
            steps: Arc::clone(&left.steps),
            is_full: Arc::clone(&left.journal_is_full),
        };
        let limits = CellLimits {
            payments_pending_max: 100,
            offer_ttl: Span::from_secs(120),
            person,
        };
        let core_limits = CoreLimits {
            journal_budget_bytes: u64::MAX,
            due_per_turn_max: 2_000,
            keep_settled: Span::from_secs(86_400),
            at_rest_max,
        };
        let core = Core::new(
            Cell::new(limits),
            Box::new(journal),
            Position::ZERO,
            core_limits,
        );
        let mut stage = Self {
            core,
            left,
            now: START,
            projected: Position::ZERO,
            asked: 0,
        };
        stage.open_sale(LAMP);
        stage
    }

    fn open_sale(&mut self, product: ProductId) {
        let details = Details {
            name: "Lamp".into(),
            description: "".into(),
            image_url: None,
            price: Money {
                amount: 1_000,
                currency: Currency::default(),
            },
        };
        let register = ProductAct::Register {
            details,
            restock_to: RestockTo::Available,
            total: 1_000_000,
        };
        let open = ProductAct::Window(WindowAct::Schedule, Some(Window::open_from(self.now)));
        for act in [register, open] {
            self.change_of(product, act).expect("a change of the shop");
        }
    }

    fn change(&mut self, act: ProductAct) -> Answer {
        self.change_of(LAMP, act)
    }

    fn change_of(&mut self, product: ProductId, act: ProductAct) -> Answer {
        let mark = AdminMark {
            admin: BuyerId::new(1),
            request: RequestId::new(1),
        };
        self.ask(Command::ChangeProduct { product, mark, act })
    }

    fn moment(&self) -> Moment {
        Moment {
            now: self.now,
            projected: self.projected,
            projected_durably: self.projected,
            // Tests read the journal from its beginning.
            followed: Position::ZERO,
        }
    }

    /// One turn with these commands.
    fn turn(&mut self, commands: &mut Vec<Envelope>) -> Result<(), EngineFailure> {
        let moment = self.moment();
        let turned = self.core.take_turn(moment, commands, &mut self.left);
        turned.map(drop)
    }

    fn envelope(&mut self, command: Command) -> (Envelope, ReplyTo) {
        self.asked += 1;
        let reply_to = ReplyTo::Slot {
            lane: 0,
            slot: self.asked,
        };
        (Envelope { command, reply_to }, reply_to)
    }

    /// Asks in a turn of its own; says to whom the answer goes.
    fn send(&mut self, command: Command) -> ReplyTo {
        let (envelope, reply_to) = self.envelope(command);
        self.turn(&mut vec![envelope]).expect("a turn");
        reply_to
    }

    fn ask(&mut self, command: Command) -> Answer {
        let reply_to = self.send(command);
        self.answer_to(reply_to).expect("an answer at once")
    }

    fn answer_to(&mut self, reply_to: ReplyTo) -> Option<Answer> {
        let place = self.left.answers.iter().position(|it| it.0 == reply_to)?;
        Some(self.left.answers.swap_remove(place).1)
    }

    fn place(&mut self, buyer: BuyerId) -> Result<Order, Refusal> {
        let place = self.placing(buyer, LAMP);
        order_in(self.ask(place))
    }

    fn placing(&self, buyer: BuyerId, product: ProductId) -> Command {
        let unique = u128::from(self.asked + 1) << 8;
        Command::PlaceOrder(PlaceOrder {
            order: OrderId::for_buyer(unique, buyer),
            buyer,
            key: KeyHash::new(unique),
            fingerprint: Fingerprint(0),
            address: None,
            lines: vec![(product, Quantity::new(1).expect("one"))],
        })
    }

    fn cancel(&mut self, order: &Order) -> Result<Order, Refusal> {
        order_in(self.ask(Command::CancelOrder {
            order: order.id,
            buyer: order.buyer,
        }))
    }

    fn start_payment(&mut self, order: &Order) -> (AttemptId, ReplyTo) {
        let attempt = AttemptId::new(order.id.get() + 1);
        let start = StartPayment {
            order: order.id,
            buyer: order.buyer,
            attempt,
            key: KeyHash::new(attempt.get()),
            fingerprint: Fingerprint(0),
            method: "card".into(),
        };
        (attempt, self.send(Command::StartPayment(start)))
    }

    fn settle(&mut self, order: &Order, attempt: AttemptId, outcome: PaymentOutcome) -> Answer {
        self.ask(Command::SettlePayment {
            order: order.id,
            attempt,
            outcome,
            amount: None,
        })
    }

    fn wait(&mut self, span: Span) {
        self.now = self.now.plus(span);
        self.turn(&mut Vec::new()).expect("a turn");
    }

    /// SQL catches up with the journal, and what is old enough leaves memory.
    fn forget(&mut self) {
        for _ in 0..2 {
            self.projected = self.core.position();
            let moment = self.moment();
            self.core.upkeep(moment);
        }
    }
}

fn read(order: &Order) -> Command {
    Command::ReadOrder {
        order: order.id,
        viewer: Viewer::Buyer(order.buyer),
    }
}

fn order_in(answer: Answer) -> Result<Order, Refusal> {
    match answer? {
        Reply::Order(order) => Ok(*order),
        other => panic!("an order was expected, not {other:?}"),
    }
}
