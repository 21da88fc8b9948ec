//! What the buyers of a sale sent and were told, and when: the only evidence that the books are checked against.
//!
//! All times are those of the client, in microseconds of the run: sent before the first byte left, answered after the
//! last one came. What the server did happened somewhere in between.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use uuid::Uuid;

use crate::report::new_histogram;

#[derive(Debug)]
pub(crate) struct History {
    pub(crate) orders: RefCell<Vec<Order>>,
    pub(crate) refusals: RefCell<Vec<Refusal>>,
    /// Orders sent and never answered; each may have taken a unit.
    pub(crate) unanswered: RefCell<Vec<Unanswered>>,
    pub(crate) turned_away: Cell<TurnedAway>,
    /// Of every order request, from the moment it was meant to start.
    pub(crate) latency_us: RefCell<Histogram<u64>>,
    /// Of the first request of each screen alone: how long the herd waits.
    pub(crate) first_latency_us: RefCell<Histogram<u64>>,
    /// When the last buyer had the first answer.
    pub(crate) first_answers_end_us: Cell<u64>,
    complaints: RefCell<Complaints>,
}

/// One answer 201, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) id: Uuid,
    /// Its place among the buyers of the run.
    pub(crate) buyer: usize,
    pub(crate) sequence: u64,
    pub(crate) sent_us: u64,
    pub(crate) answered_us: u64,
    /// As told by the server, on our clock.
    pub(crate) pay_by_us: i64,
    pub(crate) end: End,
}

/// How a buyer left an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Walked away, before or after a decline; it must expire.
    Left,
    Paid {
        sent_us: u64,
        answered_us: u64,
    },
    Cancelled {
        sent_us: u64,
        answered_us: u64,
    },
    /// The payment was told that the hold is over.
    TooLate,
    /// The last request about it was never answered: paid, cancelled or neither.
    Unknown {
        sent_us: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    AllHeld,
    SoldOut,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) word: Word,
    pub(crate) sent_us: u64,
    pub(crate) answered_us: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Unanswered {
    pub(crate) sent_us: u64,
}

/// Buyers who would have paid and went home with nothing, by the last thing they heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TurnedAway {
    pub(crate) sold_out: u64,
    pub(crate) all_held: u64,
    pub(crate) no_answer: u64,
}

impl Order {
    /// A hold was decided after it was sent, so its unit cannot come back earlier than a hold time after that.
    pub(crate) fn free_at_the_earliest_us(&self, hold_us: u64) -> Option<u64> {
        let deadline_us = self.sent_us + hold_us;
        match self.end {
            End::Paid { .. } => None,
            End::Left | End::TooLate => Some(deadline_us),
            End::Cancelled { sent_us, .. } | End::Unknown { sent_us } => {
                Some(deadline_us.min(sent_us))
            }
        }
    }
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            orders: RefCell::default(),
            refusals: RefCell::default(),
            unanswered: RefCell::default(),
            turned_away: Cell::default(),
            latency_us: RefCell::new(new_histogram()),
            first_latency_us: RefCell::new(new_histogram()),
            first_answers_end_us: Cell::default(),
            complaints: RefCell::default(),
        }
    }

    /// Remembers an order and gives its place, for `set_end` and `set_pay_by`.
    pub(crate) fn add_order(&self, order: Order) -> usize {
        let mut orders = self.orders.borrow_mut();
        orders.push(order);
        orders.len() - 1
    }

    pub(crate) fn set_end(&self, place: usize, end: End) {
        self.orders.borrow_mut()[place].end = end;
    }

    pub(crate) fn set_pay_by(&self, place: usize, pay_by_us: i64) {
        self.orders.borrow_mut()[place].pay_by_us = pay_by_us;
    }

    pub(crate) fn record_latency(&self, intended_us: u64, answered_us: u64) {
        let latency_us = answered_us.saturating_sub(intended_us);
        self.latency_us.borrow_mut().saturating_record(latency_us);
    }

    pub(crate) fn record_first_answer(&self, intended_us: u64, answered_us: u64) {
        let latency_us = answered_us.saturating_sub(intended_us);
        self.first_latency_us
            .borrow_mut()
            .saturating_record(latency_us);
        let end_us = self.first_answers_end_us.get().max(answered_us);
        self.first_answers_end_us.set(end_us);
    }

    pub(crate) fn turn_away(&self, add: impl FnOnce(&mut TurnedAway)) {
        let mut turned_away = self.turned_away.get();
        add(&mut turned_away);
        self.turned_away.set(turned_away);
    }

    /// Something the contract does not allow. Complaints of one kind are counted and quoted once.
    pub(crate) fn complain(&self, kind: &'static str, example: impl FnOnce() -> String) {
        self.complaints.borrow_mut().add(kind, example);
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.borrow().lines()
    }
}

/// Complaints by kind: how many, and the first of them in full.
#[derive(Debug, Default)]
pub(crate) struct Complaints(BTreeMap<&'static str, (u64, String)>);

impl Complaints {
    pub(crate) fn add(&mut self, kind: &'static str, example: impl FnOnce() -> String) {
        let entry = self.0.entry(kind).or_insert_with(|| (0, example()));
        entry.0 += 1;
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |(kind, (count, example)): (&&str, &(u64, String))| {
            format!("{count} times {kind}, first: {example}")
        };
        self.0.iter().map(line).collect()
    }
}
