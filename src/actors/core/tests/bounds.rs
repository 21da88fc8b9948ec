//! What one person may do, and how much memory the past may take.

use super::*;
use crate::domain::Rejection;

fn limits(open_orders_max: usize, ended_holds_max: usize) -> PersonLimits {
    PersonLimits {
        open_orders_max,
        ended_holds_max,
    }
}

#[test]
fn a_person_holds_only_so_many_orders_at_once() {
    let mut stage = Stage::new(limits(3, 0));
    let orders: Vec<Order> = (0..3).map(|_| stage.place(KIM).expect("a hold")).collect();
    stage.wait(Span::from_secs(100));
    let refused = Rejection::TooManyOpenOrders {
        orders_max: 3,
        retry_after: Span::from_secs(200),
    };
    assert_eq!(stage.place(KIM), Err(refused.into()));
    stage.place(BuyerId::new(8)).expect("another person");
    stage.cancel(&orders[1]).expect("cancelled");
    stage.place(KIM).expect("a hold again");
}

#[test]
fn a_person_lets_only_so_many_holds_end_unpaid_within_an_hour() {
    let mut stage = Stage::new(limits(0, 3));
    for _ in 0..3 {
        let order = stage.place(KIM).expect("a hold");
        stage.cancel(&order).expect("cancelled");
        stage.wait(Span::from_secs(60));
    }
    let refused = Rejection::TooManyEndedHolds {
        holds_max: 3,
        retry_after: Span::from_secs(3_600 - 180),
    };
    assert_eq!(stage.place(KIM), Err(refused.into()));
    stage.wait(Span::from_secs(3_600 - 180));
    stage.place(KIM).expect("just within the limit");
}

#[test]
fn a_hold_that_was_paid_is_not_counted_as_given_up() {
    let mut stage = Stage::new(limits(0, 2));
    for _ in 0..4 {
        let order = stage.place(KIM).expect("a hold");
        let (attempt, _) = stage.start_payment(&order);
        stage
            .settle(&order, attempt, PaymentOutcome::Captured)
            .expect("paid");
    }
    stage.place(KIM).expect("a hold");
}

#[test]
fn no_limit_means_none() {
    let mut stage = Stage::new(PersonLimits::NONE);
    for _ in 0..500 {
        let order = stage.place(KIM).expect("a hold");
        stage.place(KIM).expect("another hold");
        stage.cancel(&order).expect("cancelled");
    }
}

#[test]
fn the_orders_of_the_last_day_take_only_so_much_memory() {
    let journal = MemoryJournal::new();
    let mut stage = Stage::with(PersonLimits::NONE, journal, 3);
    let held = stage.place(KIM).expect("a hold");
    for _ in 0..3 {
        let order = stage.place(KIM).expect("a hold");
        stage.cancel(&order).expect("cancelled");
    }
    assert_eq!(stage.place(KIM), Err(Refusal::MemoryFull));
    stage.cancel(&held).expect("what is held goes on");
    stage.forget();
    stage.wait(Span::from_secs(86_401));
    stage.forget();
    stage.place(KIM).expect("there is room again");
}

#[test]
fn a_full_disk_is_kept_for_those_who_hold() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let is_full = Arc::clone(&stage.left.journal_is_full);
    let cancelled = stage.place(KIM).expect("a hold");
    let paid = stage.place(KIM).expect("a hold");
    is_full.store(true, Ordering::Relaxed);
    assert_eq!(stage.place(KIM), Err(Refusal::DiskFull));
    stage.cancel(&cancelled).expect("cancelled");
    let (attempt, _) = stage.start_payment(&paid);
    stage
        .settle(&paid, attempt, PaymentOutcome::Captured)
        .expect("paid");
    is_full.store(false, Ordering::Relaxed);
    stage.place(KIM).expect("there is room again");
}

#[test]
fn a_page_of_a_long_past_is_the_newest_of_it() {
    let mut stage = Stage::new(PersonLimits::NONE);
    let mut placed = Vec::new();
    for number in 0..50 {
        let order = stage.place(KIM).expect("a hold");
        if number % 3 > 0 {
            stage.cancel(&order).expect("cancelled");
        }
        placed.push(order);
    }
    let mut pages = Vec::new();
    let mut before = u64::MAX;
    loop {
        let page = stage.ask(Command::ReadOrders {
            buyer: KIM,
            before,
            limit: 7,
        });
        let Ok(Reply::Orders(page)) = page else {
            panic!("a page was expected, not {page:?}");
        };
        let Some(last) = page.last() else { break };
        before = last.sequence;
        pages.extend(page.iter().map(|order| order.id));
    }
    let newest_first: Vec<OrderId> = placed.iter().rev().map(|order| order.id).collect();
    assert_eq!(pages, newest_first);
}
