//! What people have in hand leaves memory where no limit counts it, and is known again before one does.

use std::collections::BTreeMap;

use super::super::recall::{Stored, Wanted};
use super::super::replay::{LiveState, ReplayError, replay};
use super::*;
use crate::domain::{IdMap, OrderState, Rejection};

const LEE: BuyerId = BuyerId::new(8);
const DAY: Span = Span::from_secs(86_401);

type People = BTreeMap<BuyerId, u64>;

impl Stage {
    fn people(&self) -> Option<People> {
        let (_, product) = self.core.cell().snapshot(LAMP).expect("the product");
        Some(product.people()?.collect())
    }

    /// What the journal makes of it up to a record: what SQL has when it has followed so far.
    fn people_at(&self, position: Position) -> People {
        let nothing = LiveState {
            position: Position::ZERO,
            last_stamp: Timestamp::ZERO,
            products: Vec::new(),
            orders: Vec::new(),
        };
        let mut reader = self.core.reader(Position::ZERO).expect("a reader");
        let mut ask = |_| unreachable!("everything is in the journal");
        let limits = CellLimits::default();
        let cell = replay(nothing, reader.as_mut(), position, limits, &mut ask).expect("a replay");
        let (_, product) = cell.snapshot(LAMP).expect("the product");
        product.people().expect("all of them").collect()
    }

    fn stored_at(&self, position: Position) -> Stored {
        let people = self.people_at(position).into_iter().collect();
        Stored {
            position,
            orders: Vec::new(),
            people: IdMap::from_iter([(LAMP, people)]),
        }
    }

    /// SQL answers as of a record.
    fn sql_answers(&mut self, position: Position) {
        assert_eq!(self.core.next_recall(), Some(of_people()));
        let stored = self.stored_at(position);
        self.core.recalled(Some(stored), &mut self.left);
        self.wait(Span::ZERO);
    }

    fn window(&self, limit: Option<u32>, closes_at: Option<Timestamp>) -> Command {
        let window = Window {
            per_person_limit: limit,
            closes_at,
            ..Window::open_from(self.now)
        };
        Command::ChangeProduct {
            product: LAMP,
            mark: AdminMark {
                admin: BuyerId::new(1),
                request: RequestId::new(1),
            },
            act: ProductAct::Window(WindowAct::Schedule, Some(window)),
        }
    }

    fn limit(&mut self, limit: Option<u32>) {
        let window = self.window(limit, None);
        self.ask(window).expect("a window");
    }

    fn close(&mut self) {
        self.change(ProductAct::Window(WindowAct::Close, None))
            .expect("closed");
    }

    fn buy(&mut self, buyer: BuyerId) -> Order {
        let order = self.place(buyer).expect("a hold");
        let (attempt, _) = self.start_payment(&order);
        self.settle(&order, attempt, PaymentOutcome::Captured)
            .expect("settled");
        order
    }
}

fn of_people() -> Wanted {
    Wanted {
        orders: Vec::new(),
        people: vec![LAMP],
    }
}

fn at_the_limit(answer: Result<Order, Refusal>) -> bool {
    matches!(
        answer,
        Err(Refusal::Rejected(Rejection::LimitReached { .. }))
    )
}

#[test]
fn people_that_no_limit_counts_leave_memory_once_sql_has_them() {
    let mut stage = Stage::new(PersonLimits::NONE);
    stage.place(KIM).expect("a hold");
    for _ in 0..3 {
        let moment = stage.moment();
        stage.core.upkeep(moment);
    }
    assert!(stage.people().is_some(), "SQL has nothing of them yet");
    stage.forget();
    assert_eq!(stage.people(), None);
    // The units are counted all the same.
    let order = stage.place(LEE).expect("a hold");
    stage.cancel(&order).expect("cancelled");
    let (snapshot, _) = stage.core.cell().snapshot(LAMP).expect("the product");
    assert_eq!((snapshot.stock.held, snapshot.holds), (1, 1));
}

#[test]
fn people_that_a_limit_counts_stay_as_long_as_the_sale_goes_on() {
    let mut stage = Stage::new(PersonLimits::NONE);
    stage.limit(Some(1));
    stage.buy(KIM);
    stage.forget();
    stage.wait(DAY);
    stage.forget();
    assert!(at_the_limit(stage.place(KIM)));
    stage.close();
    stage.forget();
    assert!(stage.people().is_some(), "the sale was over just now");
    stage.wait(DAY);
    stage.forget();
    assert_eq!(stage.people(), None);
}

#[test]
fn a_limit_is_set_only_when_it_is_known_what_people_have() {
    let mut stage = Stage::new(PersonLimits::NONE);
    stage.place(KIM).expect("a hold");
    stage.forget();
    let stored = stage.projected;
    let given_up = stage.place(LEE).expect("a hold");
    stage.cancel(&given_up).expect("cancelled");
    stage.place(LEE).expect("a hold");
    stage.place(LEE).expect("no limit yet");

    let window = stage.window(Some(2), None);
    let limited = stage.send(window);
    assert!(stage.answer_to(limited).is_none());
    stage
        .place(LEE)
        .expect("whoever comes meanwhile need not wait");
    stage.sql_answers(stored);
    assert!(matches!(stage.answer_to(limited), Some(Ok(_))));
    assert_eq!(stage.people(), Some(People::from([(KIM, 1), (LEE, 3)])));
    assert!(at_the_limit(stage.place(LEE)));
    stage.place(KIM).expect("within the limit");
    assert!(at_the_limit(stage.place(KIM)));
    assert_eq!(stage.core.next_recall(), None);
}

/// KIM's first hold has ended with a payment under way, and the sale is over.
fn with_late_money(kim_buys_another: bool) -> (Stage, Order, AttemptId) {
    let mut stage = Stage::new(PersonLimits::NONE);
    stage.limit(Some(1));
    stage.buy(LEE);
    let order = stage.place(KIM).expect("a hold");
    let (attempt, _) = stage.start_payment(&order);
    stage.wait(Order::HOLD_MAX);
    if kim_buys_another {
        stage.buy(KIM);
    }
    stage.close();
    stage.wait(DAY);
    stage.forget();
    assert_eq!(stage.people(), None);
    (stage, order, attempt)
}

#[test]
fn late_money_for_a_sale_that_is_over_asks_sql_what_its_buyer_has() {
    for (kim_buys_another, expected) in [
        (false, OrderState::Paid),
        (true, OrderState::PaidUnfulfilled),
    ] {
        let (mut stage, order, attempt) = with_late_money(kim_buys_another);
        let told = stage.send(Command::SettlePayment {
            order: order.id,
            attempt,
            outcome: PaymentOutcome::Captured,
            amount: None,
        });
        let position = stage.core.position();
        stage.sql_answers(position);
        assert!(matches!(stage.answer_to(told), Some(Ok(Reply::Done))));
        let order = order_in(stage.ask(read(&order))).expect("here");
        assert_eq!(order.state, expected);
        assert_eq!(stage.people(), Some(People::from([(KIM, 1), (LEE, 1)])));
    }
}

#[test]
fn money_that_asks_for_no_units_does_not_wait_for_people() {
    let (mut stage, order, attempt) = with_late_money(false);
    stage
        .settle(&order, attempt, PaymentOutcome::Declined)
        .expect("settled at once");
    assert_eq!(stage.core.next_recall(), None);
}

#[test]
fn a_database_that_is_away_or_older_tells_of_nobody() {
    let mut stage = Stage::new(PersonLimits::NONE);
    stage.place(KIM).expect("a hold");
    stage.forget();
    stage.place(LEE).expect("a hold");
    stage.forget();
    let stored = stage.projected;
    let older = Position::new(stored.get() - 1);
    for answered in [None, Some(stage.stored_at(older))] {
        let window = stage.window(Some(1), None);
        let refused = stage.send(window);
        assert_eq!(stage.core.next_recall(), Some(of_people()));
        stage.core.recalled(answered, &mut stage.left);
        let answer = stage.answer_to(refused).expect("an answer");
        assert_eq!(answer.err(), Some(Refusal::OrdersUnavailable));
        assert_eq!(stage.people(), None);
    }
    let window = stage.window(Some(1), None);
    let limited = stage.send(window);
    stage.sql_answers(stored);
    assert!(matches!(stage.answer_to(limited), Some(Ok(_))));
}

/// What a start reads when the people of the product are not asked for, with the journal after it.
fn restarted(stage: &Stage, base: LiveState, stored_at: Position) -> Result<Cell, ReplayError> {
    let mut reader = stage.core.reader(base.position).expect("a reader");
    let mut ask = |asked: Wanted| {
        assert_eq!(asked, of_people());
        Ok(stage.stored_at(stored_at))
    };
    let end = stage.core.position();
    replay(base, reader.as_mut(), end, CellLimits::default(), &mut ask)
}

fn live_state(stage: &Stage) -> LiveState {
    LiveState {
        position: stage.core.position(),
        last_stamp: stage.core.cell().latest_stamp(),
        products: stage.core.cell().products().cloned().collect(),
        orders: stage.core.cell().orders().collect(),
    }
}

#[test]
fn a_replay_knows_the_people_that_a_limit_in_the_journal_counts() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let held = stage.place(KIM).expect("a hold");
    stage.place(LEE).expect("a hold");
    stage.forget();
    let (base, again) = (live_state(&stage), live_state(&stage));
    let position = base.position;
    stage.cancel(&held).expect("cancelled");
    let window = stage.window(Some(1), None);
    stage.send(window);
    stage.sql_answers(position);
    stage.place(KIM).expect("a hold");
    let cell = restarted(&stage, base, position).expect("a replay");
    let (_, product) = cell.snapshot(LAMP).expect("the product");
    assert_eq!(product.people().map(Iterator::collect), stage.people());
    assert!(matches!(
        restarted(&stage, again, position.next()),
        Err(ReplayError::Moved { .. })
    ));
}

#[test]
fn a_rebuilt_product_brings_what_it_does_not_know_with_it() {
    let mut stage = Stage::new(PersonLimits::NONE);
    stage.place(KIM).expect("a hold");
    stage.forget();
    let base = live_state(&stage);
    let stored = base.position;
    stage.place(LEE).expect("a hold");
    let crashed = stage.ask(Command::BreakProduct(LAMP));
    assert_eq!(crashed.err(), Some(Refusal::Recovering));
    let window = stage.window(Some(1), None);
    let refused = stage.ask(window);
    assert_eq!(refused.err(), Some(Refusal::Recovering), "nobody waits");

    let broken = stage.core.broken();
    let rebuilt = restarted(&stage, base, stored).expect("a replay");
    stage.core.mend(rebuilt, &broken, &mut stage.left);
    let window = stage.window(Some(1), None);
    let limited = stage.send(window);
    stage.sql_answers(stored);
    assert!(matches!(stage.answer_to(limited), Some(Ok(_))));
    assert_eq!(stage.people(), Some(People::from([(KIM, 1), (LEE, 1)])));
}

/// Small and repeatable.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

#[test]
fn whatever_happens_in_between_people_come_back_as_the_journal_has_them() {
    let mut recalls = 0;
    for seed in 1..=120 {
        let mut stage = Stage::new(PersonLimits::NONE);
        let mut dice = Dice(seed);
        let mut orders: Vec<Order> = Vec::new();
        for _ in 0..120 {
            let buyer = BuyerId::new(u128::from(dice.below(4)));
            match dice.below(8) {
                0..=2 => orders.extend(stage.place(buyer).ok()),
                3 if !orders.is_empty() => {
                    let place = usize::try_from(dice.below(orders.len() as u64)).expect("few");
                    let order = orders.swap_remove(place);
                    // Its hold may have ended.
                    let _too_late = stage.cancel(&order);
                }
                4 => {
                    // SQL follows a little.
                    let behind = stage.core.position().get() - stage.projected.get();
                    let followed = stage.projected.get() + dice.below(behind + 1);
                    stage.projected = Position::new(followed);
                    let moment = stage.moment();
                    stage.core.upkeep(moment);
                }
                5 => {
                    let limit = (dice.below(2) == 0).then_some(2);
                    let window = stage.window(limit, None);
                    stage.send(window);
                }
                6 => stage.wait(Span::from_micros_u64(dice.below(200_000_000))),
                _ => recalls += answer_recall(&mut stage, &mut dice),
            }
            if let Some(people) = stage.people() {
                assert_eq!(
                    people,
                    stage.people_at(stage.core.position()),
                    "seed {seed}"
                );
            }
        }
    }
    assert!(recalls > 100, "people came back {recalls} times");
}

/// SQL may have followed further than memory has been told.
fn answer_recall(stage: &mut Stage, dice: &mut Dice) -> usize {
    let Some(asked) = stage.core.next_recall() else {
        return 0;
    };
    assert_eq!(asked, of_people());
    let ahead = stage.core.position().get() - stage.projected.get();
    let position = Position::new(stage.projected.get() + dice.below(ahead + 1));
    let stored = stage.stored_at(position);
    stage.core.recalled(Some(stored), &mut stage.left);
    stage.wait(Span::ZERO);
    1
}

fn captured(order: &Order, attempt: AttemptId) -> Command {
    Command::SettlePayment {
        order: order.id,
        attempt,
        outcome: PaymentOutcome::Captured,
        amount: None,
    }
}

/// The order has left memory, too, and memory goes on forgetting between the two answers of SQL.
#[test]
fn late_money_for_a_forgotten_order_is_heard_though_memory_goes_on_forgetting() {
    let (mut stage, order, attempt) = with_late_money(false);
    stage
        .settle(&order, attempt, PaymentOutcome::Declined)
        .expect("settled at once");
    let stored = order_in(stage.ask(read(&order))).expect("here");
    stage.wait(DAY);
    stage.forget();
    assert!(!stage.core.cell().has_order(order.id));

    let told = stage.send(captured(&order, attempt));
    let asked = stage.core.next_recall().expect("a question");
    assert_eq!(asked.orders, [order.id]);
    let position = stage.core.position();
    let found = Stored {
        position,
        orders: vec![stored],
        people: IdMap::default(),
    };
    stage.core.recalled(Some(found), &mut stage.left);
    stage.forget();
    stage.wait(Span::ZERO);
    stage.forget();
    stage.sql_answers(position);
    assert!(matches!(stage.answer_to(told), Some(Ok(Reply::Done))));
    let order = order_in(stage.ask(read(&order))).expect("here");
    assert_eq!(order.state, OrderState::Paid);
}

/// Nobody would say it again.
#[test]
fn what_the_provider_told_is_kept_until_sql_answers() {
    let (mut stage, order, attempt) = with_late_money(false);
    let told = Envelope {
        command: captured(&order, attempt),
        reply_to: ReplyTo::Nobody,
    };
    stage.turn(&mut vec![told]).expect("a turn");
    for _ in 0..3 {
        assert_eq!(stage.core.next_recall(), Some(of_people()));
        stage.core.recalled(None, &mut stage.left);
        stage.wait(Span::ZERO);
        assert_eq!(stage.core.next_recall(), None, "not before the next chores");
        stage.forget();
        stage.wait(Span::ZERO);
    }
    let position = stage.core.position();
    stage.sql_answers(position);
    let order = order_in(stage.ask(read(&order))).expect("here");
    assert_eq!(order.state, OrderState::Paid);
}
