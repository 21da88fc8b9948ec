//! Buyers: each visit is somebody who wants something, acts on what is answered, and repeats what was not answered
//! under the same key.

use super::queue::SimEvent;
use super::world::{Asker, World};
use crate::actors::core::message::{
    Answer, Command, PaymentReply, PlaceOrder, Refusal, Reply, StartPayment, Viewer, WaitlistPlace,
};
use crate::domain::{
    AttemptId, BuyerId, Fingerprint, KeyHash, Order, OrderId, OrderState, PaymentAnswer, ProductId,
    Quantity, Rejection, Span,
};

#[derive(Debug)]
pub(super) struct Visit {
    buyer: BuyerId,
    lines: Vec<(ProductId, Quantity)>,
    act: Act,
    /// Of the order that is wanted.
    key: KeyHash,
    /// The order, once it was answered.
    order: Option<OrderId>,
    /// Of the payment that was begun.
    payment: Option<KeyHash>,
    /// So often was something tried again.
    tries: u32,
}

/// What is done next, or was asked and is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    WaitlistPlace,
    Pay,
    Read,
    Cancel,
    Join,
    LookAtPlaces,
    LeaveWaitlist,
    AskToReturn,
    /// Looks at this and that.
    Browse,
    Nothing,
}

const TRIES_MAX: u32 = 60;

impl World {
    pub(super) fn plan_visits(&mut self) {
        for sale in self.options.sales.clone() {
            for number in 0..sale.visits_in_the_rush + sale.visits_later {
                let random = &mut self.random.buyers;
                let after = match number < sale.visits_in_the_rush {
                    true => random.millis(0, 1_500),
                    false => random.secs(0, 3 * 3_600),
                };
                let mut lines = vec![(sale.product, draw_quantity(random))];
                let others: Vec<ProductId> =
                    self.options.sales.iter().map(|it| it.product).collect();
                let other = random.pick(&others);
                if random.chance(15) && other != sale.product {
                    lines.push((other, draw_quantity(random)));
                }
                self.plan_visit(sale.opens_at.plus(after), Act::WaitlistPlace, lines);
            }
        }
        for _ in 0..60 {
            let at = super::options::START.plus(self.random.buyers.secs(3_600, 86 * 3_600));
            self.plan_visit(at, Act::Browse, Vec::new());
        }
    }

    fn plan_visit(
        &mut self,
        at: crate::domain::Timestamp,
        act: Act,
        lines: Vec<(ProductId, Quantity)>,
    ) {
        let buyer = BuyerId::new(
            0x10_0000 + u128::from(self.random.buyers.between(1, self.options.buyers)),
        );
        let key = KeyHash::new(self.fresh());
        self.events.at(at, SimEvent::Visit(self.visits.len()));
        self.visits.push(Visit {
            buyer,
            lines,
            act,
            key,
            order: None,
            payment: None,
            tries: 0,
        });
    }

    /// Does what is next.
    pub(super) fn visit(&mut self, number: usize) {
        let Some(command) = self.command_of(number) else {
            return;
        };
        if !self.ask(Asker::Visit(number), command) {
            return self.try_again(number);
        }
        let visit = &self.visits[number];
        if visit.act == Act::WaitlistPlace && self.random.buyers.chance(4) {
            let key = visit.key;
            self.oracle.marks.hit("a request is sent twice at once");
            if let Some(same) = self.command_of(number) {
                self.ask(Asker::Echo(key), same);
            }
        }
    }

    fn command_of(&mut self, number: usize) -> Option<Command> {
        let fresh = self.fresh();
        let visit = &mut self.visits[number];
        let buyer = visit.buyer;
        let product = visit.lines.first().map(|line| line.0);
        Some(match visit.act {
            Act::WaitlistPlace => Command::PlaceOrder(PlaceOrder {
                order: OrderId::for_buyer(fresh << 8, buyer),
                buyer,
                key: visit.key,
                fingerprint: Fingerprint(1),
                address: None,
                lines: visit.lines.clone(),
            }),
            Act::Pay => Command::StartPayment(StartPayment {
                order: visit.order?,
                buyer,
                attempt: AttemptId::new(fresh),
                key: *visit.payment.get_or_insert(KeyHash::new(fresh)),
                fingerprint: Fingerprint(2),
                method: "card".into(),
            }),
            Act::Read => Command::ReadOrder {
                order: visit.order?,
                viewer: Viewer::Buyer(buyer),
            },
            Act::Cancel => Command::CancelOrder {
                order: visit.order?,
                buyer,
            },
            Act::Join => Command::JoinWaitlist {
                product: product?,
                buyer,
                quantity: visit.lines.first()?.1,
            },
            Act::LookAtPlaces => Command::ReadWaitlists { buyer },
            Act::LeaveWaitlist => Command::LeaveWaitlist {
                product: product?,
                buyer,
            },
            Act::AskToReturn => Command::RequestReturn {
                order: visit.order?,
                buyer,
                reason: "too small".into(),
            },
            Act::Browse => self.browse(buyer),
            Act::Nothing => return None,
        })
    }

    fn browse(&mut self, buyer: BuyerId) -> Command {
        let placed: Vec<(OrderId, BuyerId, KeyHash)> = self
            .oracle
            .placed()
            .iter()
            .map(|order| (order.id, order.buyer, order.key))
            .collect();
        let random = &mut self.random.buyers;
        let unknown = (
            OrderId::for_buyer(u128::from(random.number()) << 64, buyer),
            buyer,
            KeyHash::new(7),
        );
        let (order, owner, key) = match placed.is_empty() || random.chance(10) {
            true => unknown,
            false => random.pick(&placed),
        };
        match random.between(0, 6) {
            0 => Command::ReadOrders {
                buyer: owner,
                before: u64::MAX,
                limit: 20,
            },
            1 => Command::ReadOpenOrders {
                buyer: owner,
                limit: 20,
            },
            2 => Command::ReadPlaced { buyer: owner, key },
            _ => Command::ReadOrder {
                order,
                viewer: Viewer::Shop,
            },
        }
    }

    /// The same act under the same key, a little later.
    pub(super) fn try_again(&mut self, number: usize) {
        let visit = &mut self.visits[number];
        visit.tries += 1;
        // Whoever has been told nothing yet may give up; a payment that was begun is never left unknown.
        if visit.tries > TRIES_MAX && visit.act != Act::Pay {
            visit.act = Act::Nothing;
            return;
        }
        let pause = self.random.buyers.secs(1, 20 + visit.tries.min(40) * 10);
        self.events.after(pause, SimEvent::Visit(number));
    }

    fn go_on(&mut self, number: usize, act: Act, after: Span) {
        self.visits[number].act = act;
        if act != Act::Nothing {
            self.events.after(after, SimEvent::Visit(number));
        }
    }

    // -- what is answered ----------------------------------------------------------------------------------------

    pub(super) fn visit_hears(&mut self, number: usize, answer: Answer) {
        if self.random.buyers.chance(1) {
            self.oracle.marks.hit("an answer is lost on its way");
            return self.try_again(number);
        }
        let visit = &self.visits[number];
        if let (Some(order), Err(Refusal::Rejected(Rejection::NoSuchOrder))) =
            (visit.order, &answer)
        {
            panic!("order {order} was answered, and is not there");
        }
        let is_answered = matches!(answer, Ok(_) | Err(Refusal::Rejected(_)));
        if !is_answered {
            self.mark_refusal(answer);
            return self.try_again(number);
        }
        match visit.act {
            Act::WaitlistPlace => self.hear_of_order(number, answer),
            Act::Pay => self.hear_of_payment(number, answer),
            Act::Read => self.hear_how_it_stands(number, answer),
            Act::Cancel => self.hear_of_cancel(number, answer),
            Act::Join => self.hear_of_join(number, answer),
            Act::LookAtPlaces => self.hear_of_places(number, answer),
            Act::LeaveWaitlist | Act::AskToReturn | Act::Browse | Act::Nothing => {
                self.visits[number].act = Act::Nothing;
            }
        }
    }

    fn mark_refusal(&mut self, answer: Answer) {
        let situation = match answer {
            Err(Refusal::JournalFull) => "SQL is so far behind that no hold is taken",
            Err(Refusal::MemoryFull) => "memory is full",
            Err(Refusal::PaymentsBusy) => "too many payments are under way",
            Err(Refusal::PaymentsUnavailable { .. }) => "payments are unavailable",
            Err(Refusal::OrdersUnavailable) => "an order cannot be recalled",
            Err(Refusal::Recovering) => "an actor is out of service",
            Err(Refusal::JournalFailed) => "the journal failed under a request",
            other => panic!("what is this answer: {other:?}"),
        };
        self.oracle.marks.hit(situation);
    }

    pub(super) fn echo_answered(&mut self, key: KeyHash, answer: &Answer) {
        if let Ok(Reply::Order(order)) = answer {
            assert_eq!(
                self.oracle.order_of(key),
                Some(order.id),
                "two orders for one key"
            );
        }
    }

    fn hear_of_order(&mut self, number: usize, answer: Answer) {
        let visit = &mut self.visits[number];
        match answer {
            Ok(Reply::Order(order)) => {
                assert_eq!(self.oracle.order_of(visit.key), Some(order.id));
                let known = *visit.order.get_or_insert(order.id);
                assert_eq!(known, order.id, "the same key gives the same order");
                self.decide_on(number, &order);
            }
            Err(Refusal::Rejected(rejection)) => {
                assert_eq!(visit.order, None, "an order was taken back: {rejection:?}");
                self.decide_without(number, &rejection);
            }
            other => panic!("a hold was asked for, and answered was {other:?}"),
        }
    }

    fn decide_on(&mut self, number: usize, order: &Order) {
        let random = &mut self.random.buyers;
        let think = match random.between(0, 9) {
            0..=5 => random.millis(50, 2_000),
            6..=8 => random.secs(1, 60),
            _ => random.secs(60, 500),
        };
        let act = match (order.state, random.between(0, 99)) {
            (OrderState::Held, 0..=54) => Act::Pay,
            (OrderState::Held, 55..=64) => Act::Cancel,
            (OrderState::Held, 65..=72) => Act::WaitlistPlace,
            (OrderState::Held, 73..=80) => Act::Read,
            // Lets it lapse, and looks what has become of it.
            (OrderState::Held, _) => {
                let later = random.secs(600, 30_000);
                return self.go_on(number, Act::Read, later);
            }
            (OrderState::Paying | OrderState::Paid | OrderState::Delivered, _) => Act::Read,
            _ => Act::Nothing,
        };
        self.go_on(number, act, think);
    }

    fn decide_without(&mut self, number: usize, rejection: &Rejection) {
        let random = &mut self.random.buyers;
        match rejection {
            Rejection::Short(_) if random.chance(60) => {
                let soon = random.millis(100, 3_000);
                self.go_on(number, Act::Join, soon);
            }
            Rejection::NotOpen { .. } | Rejection::Paused(_) if random.chance(90) => {
                self.try_again(number);
            }
            Rejection::KeyReused => panic!("a request became another one"),
            _ => self.go_on(number, Act::Nothing, Span::ZERO),
        }
    }

    fn hear_of_payment(&mut self, number: usize, answer: Answer) {
        match answer {
            Ok(Reply::Payment(payment)) => self.decide_on_payment(number, &payment),
            Err(Refusal::Rejected(Rejection::KeyReused)) => panic!("a payment became another one"),
            Err(Refusal::Rejected(_)) => {
                self.visits[number].payment = None;
                let soon = self.random.buyers.secs(5, 60);
                self.go_on(number, Act::Read, soon);
            }
            other => panic!("a payment was asked for, and answered was {other:?}"),
        }
    }

    fn decide_on_payment(&mut self, number: usize, payment: &PaymentReply) {
        let random = &mut self.random.buyers;
        if random.chance(4) {
            self.oracle
                .marks
                .hit("a payment that was answered is repeated");
            return self.go_on(number, Act::Pay, Span::from_secs(1));
        }
        self.visits[number].payment = None;
        let (act, after) = match (payment.answer, random.between(0, 9)) {
            (PaymentAnswer::Declined, 0..=6) => (Act::Pay, random.secs(1, 20)),
            (PaymentAnswer::Declined, 7..=8) => (Act::Cancel, random.secs(1, 20)),
            (PaymentAnswer::Pending, 0..=1) => (Act::Cancel, random.secs(1, 100)),
            (PaymentAnswer::Pending, _) => (Act::Read, random.secs(10, 200)),
            (PaymentAnswer::Paid, 0) => (Act::Cancel, random.secs(1, 7_000)),
            (PaymentAnswer::Paid | PaymentAnswer::Unfulfilled, _) => {
                (Act::Read, random.secs(20_000, 180_000))
            }
            (PaymentAnswer::Declined, _) => (Act::Read, random.secs(100, 30_000)),
        };
        self.go_on(number, act, after);
    }

    fn hear_how_it_stands(&mut self, number: usize, answer: Answer) {
        let Ok(Reply::Order(order)) = answer else {
            panic!("an order was read, and answered was {answer:?}");
        };
        self.visits[number].tries += 1;
        let is_tired = self.visits[number].tries > TRIES_MAX;
        let random = &mut self.random.buyers;
        let (act, after) = match order.state {
            _ if is_tired => (Act::Nothing, Span::ZERO),
            OrderState::Held => (
                random.pick(&[Act::Pay, Act::Cancel, Act::Nothing]),
                random.secs(1, 30),
            ),
            OrderState::Paying => (
                random.pick(&[Act::Read, Act::Read, Act::Cancel]),
                random.secs(5, 90),
            ),
            OrderState::Paid => (
                random.pick(&[Act::Read, Act::Read, Act::Read, Act::Cancel]),
                random.secs(10_000, 60_000),
            ),
            OrderState::Shipped => (Act::Read, random.secs(3_000, 30_000)),
            OrderState::Delivered => (
                random.pick(&[Act::AskToReturn, Act::Read]),
                random.secs(60, 40_000),
            ),
            _ => (Act::Nothing, Span::ZERO),
        };
        self.go_on(number, act, after);
    }

    /// An end that was asked for stays: it is read once more when the order has left memory.
    fn hear_of_cancel(&mut self, number: usize, answer: Answer) {
        if let Ok(reply) = &answer {
            let Reply::Order(order) = reply else {
                panic!("a cancel was asked for, and answered was {reply:?}");
            };
            assert!(
                matches!(
                    order.state,
                    OrderState::Cancelled | OrderState::CancelRequested | OrderState::Refunding
                ),
                "a cancel was answered by {:?}",
                order.state
            );
        }
        let later = self.random.buyers.secs(1, 60_000);
        self.go_on(number, Act::Read, later);
    }

    // -- the waitlist --------------------------------------------------------------------------------------------

    fn hear_of_join(&mut self, number: usize, answer: Answer) {
        let random = &mut self.random.buyers;
        let soon = random.secs(1, 30);
        match answer {
            Ok(_) => self.go_on(number, Act::LookAtPlaces, soon),
            Err(Refusal::Rejected(Rejection::StillAvailable { .. })) => {
                self.place_anew(number, None)
            }
            Err(_) => self.go_on(number, Act::Nothing, soon),
        }
    }

    fn hear_of_places(&mut self, number: usize, answer: Answer) {
        let Ok(Reply::Places(places)) = answer else {
            panic!("places were read, and answered was {answer:?}");
        };
        let visit = &mut self.visits[number];
        visit.tries += 1;
        let is_tired = visit.tries > TRIES_MAX / 2;
        let product = visit.lines.first().map(|line| line.0);
        let place = places
            .iter()
            .find(|place: &&WaitlistPlace| Some(place.product) == product);
        let offer = place.and_then(|place| place.waiter.offer);
        let random = &mut self.random.buyers;
        let soon = random.secs(1, 40);
        match (place, offer, random.between(0, 9)) {
            (None, _, _) => self.go_on(number, Act::Nothing, soon),
            (_, Some(offer), 0..=5) => self.place_anew(number, Some(offer.units)),
            (_, Some(_), 6) => self.go_on(number, Act::LeaveWaitlist, soon),
            (_, None, 0..=4) if is_tired => self.go_on(number, Act::LeaveWaitlist, soon),
            (_, None, _) if is_tired => self.go_on(number, Act::Nothing, soon),
            _ => self.go_on(number, Act::LookAtPlaces, soon),
        }
    }

    /// Another order, as a request of its own.
    fn place_anew(&mut self, number: usize, units: Option<Quantity>) {
        let key = KeyHash::new(self.fresh());
        let soon = self.random.buyers.millis(50, 2_000);
        let visit = &mut self.visits[number];
        visit.key = key;
        visit.order = None;
        visit.lines.truncate(1);
        if let (Some(units), Some(line)) = (units, visit.lines.first_mut()) {
            line.1 = units;
        }
        self.go_on(number, Act::WaitlistPlace, soon);
    }

    /// At the end: whoever wanted something knows what has become of it.
    pub(super) fn check_visits(&self) {
        let untold = self.visits.iter().find(|it| it.act == Act::Pay);
        assert!(
            untold.is_none(),
            "nobody was told what has become of a payment: {untold:?}"
        );
    }
}

fn draw_quantity(random: &mut super::random::Random) -> Quantity {
    let units = random.pick(&[1, 1, 1, 2, 3]);
    Quantity::new(units).expect("a few")
}
