//! A cell with a journal, without the model: for tests that bring the provider along and kill the server.

use super::replay::events_of;
use super::{buyer, krw, product};
use crate::actors::core::cell::Cell;
use crate::actors::core::message::{
    Answer, Command, Effect, PlaceOrder, ProductAct, ReplyTo, StartPayment,
};
use crate::actors::core::turn::Turn;
use crate::domain::{
    AdminMark, AttemptId, BuyerId, Details, Fingerprint, KeyHash, Order, OrderId, ProductId,
    Quantity, RequestId, RestockTo, Span, Timestamp, Window, WindowAct,
};
use crate::persistence::journal::{Journal, MemoryJournal};

const PRICE: i64 = 1_000;
const START: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);

/// Every command is a turn of its own, and durable when it is over.
#[derive(Debug)]
pub(super) struct Till {
    pub(super) cell: Cell,
    pub(super) now: Timestamp,
    journal: MemoryJournal,
    turn: Turn,
    ids: u128,
}

impl Till {
    /// One product on sale, at 1,000 won.
    pub(super) fn open(stock: u64, hold: Span) -> Self {
        let mut till = Self {
            cell: Cell::new(super::limits(usize::MAX)),
            now: START,
            journal: MemoryJournal::new(),
            turn: Turn::new(),
            ids: 0,
        };
        let details = Details {
            name: "Lamp".into(),
            description: "".into(),
            image_url: None,
            price: krw(PRICE),
        };
        till.change(ProductAct::Register {
            details,
            restock_to: RestockTo::Available,
            total: stock,
        });
        let window = Window {
            opens_at: START,
            closes_at: None,
            paused: false,
            per_person_limit: None,
            hold_ttl: hold,
        };
        till.change(ProductAct::Window(WindowAct::Schedule, Some(window)));
        till
    }

    pub(super) fn lamp() -> ProductId {
        product(1)
    }

    pub(super) fn pass(&mut self, span: Span) {
        self.now = self.now.plus(span);
    }

    pub(super) fn next_id(&mut self) -> u128 {
        self.ids += 1;
        self.ids
    }

    /// The order, unless nothing is to be had.
    pub(super) fn place(&mut self, who: u64, units: u32) -> Option<OrderId> {
        let (number, buyer) = (self.next_id(), buyer(who));
        let order = OrderId::for_buyer(number << 8, buyer);
        let quantity = Quantity::new(units).expect("a quantity");
        self.tell(Command::PlaceOrder(PlaceOrder {
            order,
            buyer,
            key: KeyHash::new(number),
            fingerprint: Fingerprint(1),
            address: None,
            lines: vec![(Self::lamp(), quantity)],
        }));
        self.cell.order(order).is_some().then_some(order)
    }

    pub(super) fn pay_command(&mut self, order: OrderId, buyer: BuyerId) -> Command {
        let number = self.next_id();
        Command::StartPayment(StartPayment {
            order,
            buyer,
            attempt: AttemptId::new(number),
            key: KeyHash::new(number),
            fingerprint: Fingerprint(1),
            method: "card".into(),
        })
    }

    /// Gives what was answered, to whomever, and what the world outside must do now.
    pub(super) fn tell(&mut self, command: Command) -> (Vec<Answer>, Vec<Effect>) {
        self.decide(command);
        self.commit()
    }

    /// The process dies before the turn is durable: nothing of it has ever happened.
    pub(super) fn tell_in_vain(&mut self, command: Command) {
        self.decide(command);
        self.restart();
    }

    /// What is due by now is ended. Gives what the world outside must do now.
    pub(super) fn sweep(&mut self) -> Vec<Effect> {
        self.turn.begin(self.now, self.journal.position());
        self.cell.settle_due(usize::MAX, &mut self.turn);
        let (_, effects) = self.commit();
        effects
    }

    /// A cell as the journal gives it. What the world outside owed to the old one is forgotten.
    pub(super) fn restart(&mut self) {
        self.cell = Cell::new(super::limits(usize::MAX));
        for (index, event) in events_of(&self.journal).iter().enumerate() {
            let sequence = u64::try_from(index + 1).expect("few events");
            self.cell.apply(sequence, event);
        }
    }

    pub(super) fn order(&self, id: OrderId) -> Order {
        self.cell.order(id).expect("an order that was placed")
    }

    fn change(&mut self, act: ProductAct) {
        let mark = AdminMark {
            admin: buyer(999),
            request: RequestId::new(self.next_id()),
        };
        let product = Self::lamp();
        self.tell(Command::ChangeProduct { product, mark, act });
    }

    fn decide(&mut self, command: Command) {
        self.turn.begin(self.now, self.journal.position());
        let to = ReplyTo::Slot { lane: 0, slot: 0 };
        self.cell.handle(command, to, &mut self.turn);
    }

    fn commit(&mut self) -> (Vec<Answer>, Vec<Effect>) {
        self.journal
            .append(&self.turn.batch)
            .expect("memory does not fail");
        let answers = self.turn.answers.drain(..).map(|(_, answer)| answer);
        (answers.collect(), std::mem::take(&mut self.turn.effects))
    }
}
