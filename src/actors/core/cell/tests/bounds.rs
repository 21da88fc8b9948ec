//! What one command or one turn may do at most: a batch has a limit, and a storm must not run into it.

use crate::actors::core::cell::Cell;
use crate::actors::core::message::{Command, PlaceOrder, ProductAct, Refusal, Reply, ReplyTo};
use crate::actors::core::turn::Turn;
use crate::domain::{
    AdminMark, BuyerId, Currency, Details, Fingerprint, KeyHash, Money, Order, OrderId, ProductId,
    Quantity, RequestId, RestockTo, Span, Timestamp, Window, WindowAct,
};
use crate::persistence::journal::Position;

const BUYER: BuyerId = BuyerId::new(7);
const ORDERS: u128 = 2_500;
const ANSWER: ReplyTo = ReplyTo::Slot { lane: 0, slot: 0 };

/// A cell in which one buyer has placed many orders of as many lines as there may be, all due at the same instant.
fn storm() -> (Cell, Turn, Timestamp) {
    let (mut cell, mut turn) = (Cell::new(super::limits(1)), Turn::new());
    let now = Timestamp::from_micros(1_000_000);
    for product in products() {
        begin(&mut turn, now);
        register(&mut cell, &mut turn, product, now);
    }
    for unique in 0..ORDERS {
        begin(&mut turn, now);
        let place = PlaceOrder {
            order: OrderId::for_buyer(unique << 8, BUYER),
            buyer: BUYER,
            key: KeyHash::new(unique),
            fingerprint: Fingerprint(0),
            address: None,
            lines: products().map(|it| (it, one())).collect(),
        };
        cell.handle(Command::PlaceOrder(place), ReplyTo::Nobody, &mut turn);
    }
    let due = now.plus(Span::from_secs(1));
    (cell, turn, due)
}

fn products() -> impl Iterator<Item = ProductId> {
    (0..Order::LINES_MAX).map(|number| ProductId::new(number as u128))
}

fn one() -> Quantity {
    Quantity::new(1).expect("one is a quantity")
}

fn begin(turn: &mut Turn, now: Timestamp) {
    let last = turn.next_sequence() - 1;
    turn.begin(now, Position::new(last));
}

fn register(cell: &mut Cell, turn: &mut Turn, product: ProductId, now: Timestamp) {
    let register = ProductAct::Register {
        details: Details {
            name: "Lamp".into(),
            description: "".into(),
            image_url: None,
            price: Money {
                amount: 1,
                currency: Currency::default(),
            },
        },
        restock_to: RestockTo::Available,
        total: 1_000_000,
    };
    let window = Window {
        hold_ttl: Span::from_secs(1),
        ..Window::open_from(now)
    };
    for act in [
        register,
        ProductAct::Window(WindowAct::Schedule, Some(window)),
    ] {
        let mark = AdminMark {
            admin: BuyerId::new(1),
            request: RequestId::new(1),
        };
        let command = Command::ChangeProduct { product, mark, act };
        cell.handle(command, ReplyTo::Nobody, turn);
    }
}

fn read_orders() -> Command {
    Command::ReadOrders {
        buyer: BUYER,
        before: u64::MAX,
        limit: usize::MAX,
    }
}

fn live_holds(cell: &Cell) -> usize {
    cell.orders()
        .filter(|order| order.hold_end().is_some())
        .count()
}

#[test]
fn one_request_never_settles_more_than_fits_into_a_batch() {
    let (mut cell, mut turn, due) = storm();
    begin(&mut turn, due);
    cell.handle(read_orders(), ANSWER, &mut turn);
    assert!(
        turn.batch.is_full(),
        "the storm is too small to show anything"
    );
    assert!(matches!(
        turn.answers.as_slice(),
        [(_, Err(Refusal::Overloaded))]
    ));
    assert_eq!(
        live_holds(&cell) + turn.batch.len(),
        usize::try_from(ORDERS).expect("small"),
        "every order that changed has its record"
    );
    for _ in 0..10 {
        begin(&mut turn, due);
        cell.handle(read_orders(), ANSWER, &mut turn);
    }
    assert_eq!(live_holds(&cell), 0);
    assert!(matches!(
        turn.answers.as_slice(),
        [(_, Ok(Reply::Orders(_)))]
    ));
}

#[test]
fn a_turn_ends_no_more_holds_than_fit_into_a_batch() {
    let (mut cell, mut turn, due) = storm();
    let mut turns = 0;
    while live_holds(&cell) > 0 {
        let before = live_holds(&cell);
        begin(&mut turn, due);
        cell.settle_due(usize::MAX, &mut turn);
        assert_eq!(before - live_holds(&cell), turn.batch.len());
        turns += 1;
    }
    assert!(turns > 1, "the storm is too small to show anything");
}
