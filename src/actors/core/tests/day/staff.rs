//! The shop: registers products, runs their sales, ships, delivers and takes back, and repeats what was not answered.

use super::options::{HEALED, START, Sale};
use super::queue::SimEvent;
use super::world::{Asker, World};
use crate::actors::core::message::{Answer, Command, DetailsPatch, ProductAct, Refusal, Shipment};
use crate::domain::{
    AdminMark, BuyerId, Currency, Details, Money, OrderId, OrderState, ProductId, Rejection,
    RequestId, Span, Timestamp, Window, WindowAct,
};

/// The shop goes through its orders, as SQL lists them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Round {
    Ship,
    Deliver,
    AcceptReturns,
}

#[derive(Debug)]
pub(super) struct Job {
    act: Act,
    is_done: bool,
    tries: u32,
}

#[derive(Debug, Clone)]
enum Act {
    Register(Sale),
    Schedule(ProductId, Window),
    Window(ProductId, WindowAct),
    SetStock(ProductId, u64),
    SetPrice(ProductId, i64),
    Delete(ProductId),
    /// Makes its actor crash.
    Break(ProductId),
    Ship(OrderId),
    Deliver(OrderId),
    AcceptReturn(OrderId),
}

impl World {
    pub(super) fn plan_jobs(&mut self) {
        for sale in self.options.sales.clone() {
            self.plan_sale(&sale);
        }
        for (at, round) in self.options.rounds.clone() {
            self.events.at(at, SimEvent::Round(round));
        }
    }

    fn plan_sale(&mut self, sale: &Sale) {
        let product = sale.product;
        let random = &mut self.random.staff;
        let mut plan = vec![(
            START.plus(random.secs(60, 3_000)),
            Act::Register(sale.clone()),
        )];
        let mut during = |chance, act: Act| {
            if random.chance(chance) {
                let after = random.pick(&[Span::from_secs(5), Span::from_secs(900)]);
                let at = sale
                    .opens_at
                    .plus(random.span(Span::from_millis(100), after));
                plan.push((at, act));
            }
        };
        during(30, Act::Window(product, WindowAct::Pause));
        during(60, Act::SetStock(product, sale.total / 2));
        during(60, Act::SetStock(product, sale.total + 7));
        during(20, Act::SetPrice(product, 900));
        during(self.options.broken_products, Act::Break(product));
        // A sale that is paused goes on in the end.
        let resumed_at = sale.opens_at.plus(random.secs(900, 1_200));
        plan.push((resumed_at, Act::Window(product, WindowAct::Resume)));
        if sale.closes_at.is_none() {
            let closed_at = sale.opens_at.plus(random.secs(4 * 3_600, 20 * 3_600));
            plan.push((closed_at, Act::Window(product, WindowAct::Close)));
        }
        if random.chance(30) {
            let window = Window {
                opens_at: sale.opens_at.plus(random.secs(80_000, 90_000)),
                ..window_of(sale)
            };
            let window = Window {
                closes_at: Some(window.opens_at.plus(random.secs(600, 7_200))),
                ..window
            };
            let at = sale.opens_at.plus(random.secs(75_000, 79_000));
            plan.push((at, Act::Schedule(product, window)));
            plan.push((at, Act::SetStock(product, sale.total + 9)));
        }
        if random.chance(30) {
            plan.push((HEALED, Act::Delete(product)));
        }
        for (at, act) in plan {
            self.plan_job(at, act);
        }
    }

    fn plan_job(&mut self, at: Timestamp, act: Act) {
        self.events.at(at, SimEvent::Job(self.jobs.len()));
        self.jobs.push(Job {
            act,
            is_done: false,
            tries: 0,
        });
    }

    pub(super) fn go_round(&mut self, round: Round) {
        let wanted = match round {
            Round::Ship => OrderState::Paid,
            Round::Deliver => OrderState::Shipped,
            Round::AcceptReturns => OrderState::ReturnRequested,
        };
        let mut listed: Vec<(u64, OrderId)> = self
            .sql
            .cell
            .orders()
            .filter(|order| order.state == wanted)
            .map(|order| (order.sequence, order.id))
            .collect();
        listed.sort_unstable();
        for (_, order) in listed {
            if self.random.staff.chance(15) {
                continue;
            }
            let at = self.now().plus(self.random.staff.secs(0, 240));
            let act = match round {
                Round::Ship => Act::Ship(order),
                Round::Deliver => Act::Deliver(order),
                Round::AcceptReturns => Act::AcceptReturn(order),
            };
            self.plan_job(at, act);
        }
    }

    pub(super) fn job(&mut self, number: usize) {
        if self.jobs[number].is_done {
            return;
        }
        let mark = AdminMark {
            admin: BuyerId::new(1),
            request: RequestId::new(self.fresh()),
        };
        let command = command_of(&self.jobs[number].act, mark);
        if !self.ask(Asker::Job(number), command) {
            self.do_again(number);
        }
    }

    pub(super) fn do_again(&mut self, number: usize) {
        let job = &mut self.jobs[number];
        job.tries += 1;
        let pause = self.random.staff.secs(1, 20 + job.tries.min(40) * 20);
        self.events.after(pause, SimEvent::Job(number));
    }

    pub(super) fn job_answered(&mut self, number: usize, answer: &Answer) {
        let act = self.jobs[number].act.clone();
        match answer {
            Ok(_) => {}
            Err(Refusal::Rejected(Rejection::NoSuchOrder)) => panic!("an order is gone: {act:?}"),
            // Also a repeat of a registration that went through.
            Err(Refusal::Rejected(_)) => {}
            Err(_) if matches!(act, Act::Break(_)) => {}
            Err(_) => return self.do_again(number),
        }
        self.jobs[number].is_done = true;
        if let Act::Register(sale) = act {
            let window = window_of(&sale);
            let soon = self.now().plus(self.random.staff.secs(1, 60));
            self.plan_job(soon, Act::Schedule(sale.product, window));
        }
    }

    pub(super) fn check_jobs(&self) {
        let undone = self.jobs.iter().find(|it| !it.is_done);
        assert!(undone.is_none(), "the shop never got it done: {undone:?}");
    }
}

fn window_of(sale: &Sale) -> Window {
    Window {
        opens_at: sale.opens_at,
        closes_at: sale.closes_at,
        paused: false,
        per_person_limit: sale.limit,
        hold_ttl: sale.hold_ttl,
    }
}

fn command_of(act: &Act, mark: AdminMark) -> Command {
    let change = |product: &ProductId, act| Command::ChangeProduct {
        product: *product,
        mark,
        act,
    };
    match act {
        Act::Register(sale) => {
            let register = ProductAct::Register {
                details: Details {
                    name: "Lamp".into(),
                    description: "".into(),
                    image_url: None,
                    price: price(1_000),
                },
                restock_to: sale.restock_to,
                total: sale.total,
            };
            change(&sale.product, register)
        }
        Act::Schedule(product, window) => change(
            product,
            ProductAct::Window(WindowAct::Schedule, Some(*window)),
        ),
        Act::Window(product, act) => change(product, ProductAct::Window(*act, None)),
        Act::SetStock(product, total) => change(product, ProductAct::SetStock(*total)),
        Act::SetPrice(product, amount) => {
            let patch = DetailsPatch {
                price: Some(price(*amount)),
                ..DetailsPatch::default()
            };
            change(product, ProductAct::Edit(patch))
        }
        Act::Delete(product) => change(product, ProductAct::Delete),
        Act::Break(product) => Command::BreakProduct(*product),
        Act::Ship(order) => Command::ShipOrder {
            order: *order,
            shipment: Shipment {
                carrier: "post".into(),
                tracking_number: order.to_string().into(),
            },
            mark: Some(mark),
        },
        Act::Deliver(order) => Command::DeliverOrder {
            order: *order,
            mark: Some(mark),
        },
        Act::AcceptReturn(order) => Command::AcceptReturn {
            order: *order,
            mark,
        },
    }
}

fn price(amount: i64) -> Money {
    Money {
        amount,
        currency: Currency::default(),
    }
}
