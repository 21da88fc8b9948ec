//! One buyer at one screen: comes at the bell, insists as a person would, then pays, is declined, or walks away.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;
use uuid::Uuid;

use super::history::{End, Order, Refusal, Unanswered, Word};
use super::market::Market;
use crate::api::{BuyerCalls, Hold, OrderView, excerpt, problem_code};
use crate::buyers::Buyer;
use crate::http::Reply;

/// One buyer in ten sends the same order again with the same key, as a nervous finger does.
const DOUBLE_CLICK_SHARE: f64 = 0.1;
/// Half of the declined cancel; the others just go.
const CANCEL_SHARE: f64 = 0.5;
const PENDING_PAUSE: Duration = Duration::from_millis(100);
const PENDING_TRIES_MAX: u32 = 300;
/// Two clocks are compared across a network; what is told to the millisecond is judged to the half second.
const CLOCK_SLACK_US: i64 = 500_000;

pub(crate) struct Shopper<'a> {
    market: &'a Market,
    index: usize,
    calls: BuyerCalls<'a>,
    dice: StdRng,
    fate: Fate,
}

/// Decided before anything is sent, so that one seed tells one story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Leave,
    Decline,
    Pay,
}

enum Told {
    Held(Hold, Reply),
    Refused(Word),
    NotOpen,
    /// Over the limit, or an answer that the contract does not know; no use in asking again.
    Rejected,
    NoAnswer,
}

impl<'a> Shopper<'a> {
    pub(crate) fn new(market: &'a Market, index: usize, buyer: &'a Buyer, seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed.wrapping_add(index as u64));
        let fate = Fate::throw(&mut dice, market.options.leave, market.options.decline);
        let calls = BuyerCalls {
            pool: &market.pool,
            token: &buyer.token,
        };
        Self {
            market,
            index,
            calls,
            dice,
            fate,
        }
    }

    pub(crate) async fn visit(mut self, arrival_us: u64) {
        self.market.clock.sleep_until_us(arrival_us).await;
        let Some(place) = self.insist(arrival_us).await else {
            return;
        };
        self.settle(place).await;
    }

    /// Orders until there is a hold or no hope; gives the place of the order in the history.
    async fn insist(&mut self, arrival_us: u64) -> Option<usize> {
        let mut intended_us = arrival_us;
        loop {
            let told = self.order_once(intended_us).await;
            if intended_us == arrival_us {
                self.market
                    .history
                    .record_first_answer(arrival_us, self.market.clock.now_us());
            }
            let pause_ms = match told {
                Told::Held(hold, reply) => return Some(self.remember(hold, &reply)),
                Told::Refused(Word::AllHeld) if !self.market.is_over() => self.look_again_ms(),
                Told::NotOpen if !self.market.is_over() => self.dice.random_range(1..20),
                told @ (Told::Refused(_) | Told::NotOpen | Told::Rejected | Told::NoAnswer) => {
                    self.go_home(&told);
                    return None;
                }
            };
            intended_us = self.market.clock.now_us() + pause_ms * 1000;
            self.market.clock.sleep_until_us(intended_us).await;
        }
    }

    /// One request, or two with one key; what was said is put on record.
    async fn order_once(&mut self, intended_us: u64) -> Told {
        let key = self.market.new_key();
        let asked_us = self.market.clock.now_us();
        let reply = match self.calls.place(self.market.product, key).await {
            Ok(reply) => reply,
            Err(_fault) => {
                self.market
                    .history
                    .unanswered
                    .borrow_mut()
                    .push(Unanswered { sent_us: asked_us });
                return Told::NoAnswer;
            }
        };
        self.market
            .history
            .record_latency(intended_us, reply.answered_us);
        let told = self.read_answer(reply);
        if let Told::Held(hold, _) = &told
            && self.dice.random_bool(DOUBLE_CLICK_SHARE)
        {
            self.click_again(key, hold.order_id).await;
        }
        told
    }

    fn read_answer(&self, reply: Reply) -> Told {
        if reply.status == 201 {
            return match Hold::parse(&reply.body) {
                Some(hold) => Told::Held(hold, reply),
                None => self.reject(
                    "an order was answered 201 without id, pay_by or sequence",
                    &reply,
                ),
            };
        }
        match (reply.status, problem_code(&reply.body).as_str()) {
            (409, "all_held") => self.refused(Word::AllHeld, &reply),
            (409, "sold_out") => self.refused(Word::SoldOut, &reply),
            (409, "not_open") if self.market.opens_us.is_some() => Told::NotOpen,
            (409, "limit_reached") => Told::Rejected,
            _ => self.reject(
                "an order was answered with neither a hold nor a known refusal",
                &reply,
            ),
        }
    }

    fn refused(&self, word: Word, reply: &Reply) -> Told {
        let refusal = Refusal {
            word,
            sent_us: reply.sent_us,
            answered_us: reply.answered_us,
        };
        self.market.history.refusals.borrow_mut().push(refusal);
        Told::Refused(word)
    }

    fn reject(&self, kind: &'static str, reply: &Reply) -> Told {
        self.market.history.complain(kind, || describe(reply));
        Told::Rejected
    }

    /// The same key again must give the same order again, and take nothing.
    async fn click_again(&self, key: Uuid, order_id: Uuid) {
        let Ok(reply) = self.calls.place(self.market.product, key).await else {
            return;
        };
        let same = Hold::parse(&reply.body).is_some_and(|hold| hold.order_id == order_id);
        if reply.status != 201 || !same {
            let kind = "an order sent again with its key was not answered with the same order";
            self.market
                .history
                .complain(kind, || format!("order {order_id}: {}", describe(&reply)));
        }
    }

    fn remember(&self, hold: Hold, reply: &Reply) -> usize {
        let surely_before = reply.answered_us + self.market.offset.uncertain_us;
        if self
            .market
            .opens_us
            .is_some_and(|opens_us| surely_before < opens_us)
        {
            self.market
                .history
                .complain("a hold was given before the window opened", || {
                    describe(reply)
                });
        }
        let pay_by_us = self.market.run_us_of_server(hold.pay_by);
        self.check_deadline(pay_by_us, reply);
        self.market.history.add_order(Order {
            id: hold.order_id,
            buyer: self.index,
            sequence: hold.sequence,
            sent_us: reply.sent_us,
            answered_us: reply.answered_us,
            pay_by_us,
            end: End::Left,
        })
    }

    fn check_deadline(&self, pay_by_us: i64, reply: &Reply) {
        let hold_us = i64::from(self.market.options.hold_seconds) * 1_000_000;
        let earliest_us = signed(reply.sent_us) + hold_us - CLOCK_SLACK_US;
        let latest_us = signed(reply.answered_us) + hold_us + CLOCK_SLACK_US;
        if !(earliest_us..=latest_us).contains(&pay_by_us) {
            self.market
                .history
                .complain("a hold does not last as long as the window says", || {
                    describe(reply)
                });
        }
    }

    async fn settle(&mut self, place: usize) {
        let order_id = self.market.history.orders.borrow()[place].id;
        match self.fate {
            Fate::Leave => {}
            Fate::Pay => self.pay(place, order_id, "card").await,
            Fate::Decline => self.pay(place, order_id, "card_declined").await,
        }
    }

    async fn pay(&mut self, place: usize, order_id: Uuid, method: &str) {
        let history = &self.market.history;
        let sent_us = self.market.clock.now_us();
        // Until there is an answer, the order may be paid.
        history.set_end(place, End::Unknown { sent_us });
        let Ok(reply) = self
            .calls
            .pay(order_id, method, self.market.new_key())
            .await
        else {
            return;
        };
        match (reply.status, self.fate) {
            (200 | 201, Fate::Pay) => history.set_end(
                place,
                End::Paid {
                    sent_us,
                    answered_us: reply.answered_us,
                },
            ),
            (202, _) => self.await_payment(place, order_id, sent_us).await,
            (402, Fate::Decline) => self.give_up(place, order_id).await,
            (409, _) if problem_code(&reply.body) == "hold_expired" => self.too_late(place, &reply),
            _ => history.complain("a payment was answered against the contract", || {
                format!("{method}: {}", describe(&reply))
            }),
        }
    }

    fn too_late(&self, place: usize, reply: &Reply) {
        let history = &self.market.history;
        history.set_end(place, End::TooLate);
        let pay_by_us = history.orders.borrow()[place].pay_by_us;
        if signed(reply.answered_us) < pay_by_us - CLOCK_SLACK_US {
            history.complain("a hold expired before its deadline", || describe(reply));
        }
    }

    async fn await_payment(&mut self, place: usize, order_id: Uuid, sent_us: u64) {
        for _ in 0..PENDING_TRIES_MAX {
            sleep(PENDING_PAUSE).await;
            let Some(view) = self.look_at(order_id).await else {
                continue;
            };
            match view.state.as_str() {
                "paid" => {
                    let answered_us = self.market.clock.now_us();
                    return self.market.history.set_end(
                        place,
                        End::Paid {
                            sent_us,
                            answered_us,
                        },
                    );
                }
                "held" => return self.give_up(place, order_id).await,
                "expired" | "cancelled" => return self.market.history.set_end(place, End::TooLate),
                _ => {}
            }
        }
    }

    /// After a decline: some cancel, some just go and leave the unit to its deadline.
    async fn give_up(&mut self, place: usize, order_id: Uuid) {
        self.market.history.set_end(place, End::Left);
        let wants_to_cancel = self.dice.random_bool(CANCEL_SHARE);
        // A started payment may have prolonged the hold far beyond what a rehearsal wants to wait.
        let is_prolonged = self.read_deadline_again(place, order_id).await;
        if wants_to_cancel || (is_prolonged && !self.market.options.patient) {
            self.cancel(place, order_id).await;
        }
    }

    async fn read_deadline_again(&self, place: usize, order_id: Uuid) -> bool {
        let Some(pay_by) = self.look_at(order_id).await.and_then(|view| view.pay_by()) else {
            return false;
        };
        let pay_by_us = self.market.run_us_of_server(pay_by);
        self.market.history.set_pay_by(place, pay_by_us);
        let hold_us = i64::from(self.market.options.hold_seconds) * 1_000_000;
        pay_by_us > signed(self.market.clock.now_us()) + 2 * hold_us
    }

    async fn look_at(&self, order_id: Uuid) -> Option<OrderView> {
        let reply = self.calls.order(order_id).await.ok()?;
        OrderView::parse(&reply.body).filter(|_| reply.status == 200)
    }

    async fn cancel(&mut self, place: usize, order_id: Uuid) {
        let history = &self.market.history;
        let sent_us = self.market.clock.now_us();
        history.set_end(place, End::Unknown { sent_us });
        let Ok(reply) = self.calls.cancel(order_id, self.market.new_key()).await else {
            return;
        };
        match reply.status {
            200 => history.set_end(
                place,
                End::Cancelled {
                    sent_us,
                    answered_us: reply.answered_us,
                },
            ),
            202 => {}
            409 => history.set_end(place, End::TooLate),
            _ => history.complain("a cancellation was answered against the contract", || {
                describe(&reply)
            }),
        }
    }

    fn go_home(&self, told: &Told) {
        let would_have_paid = self.fate == Fate::Pay;
        match told {
            Told::NoAnswer => self.market.history.turn_away(|away| away.no_answer += 1),
            Told::Refused(Word::SoldOut) if would_have_paid => {
                self.market.history.turn_away(|away| away.sold_out += 1)
            }
            Told::Refused(Word::AllHeld) | Told::NotOpen if would_have_paid => {
                self.market.history.turn_away(|away| away.all_held += 1)
            }
            Told::Refused(_) | Told::NotOpen | Told::Held(..) | Told::Rejected => {}
        }
    }

    fn look_again_ms(&mut self) -> u64 {
        let mean_ms = self.market.options.look_again_ms;
        self.dice.random_range(mean_ms / 2..=mean_ms + mean_ms / 2)
    }
}

impl Fate {
    fn throw(dice: &mut StdRng, leave: f64, decline: f64) -> Self {
        let thrown: f64 = dice.random();
        if thrown < leave {
            return Self::Leave;
        }
        if thrown < leave + decline {
            return Self::Decline;
        }
        Self::Pay
    }
}

fn signed(at_us: u64) -> i64 {
    i64::try_from(at_us).unwrap_or(i64::MAX)
}

fn describe(reply: &Reply) -> String {
    format!("{} {}", reply.status, excerpt(&reply.body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_follow_their_shares_and_the_seed() {
        let throw = |seed| Fate::throw(&mut StdRng::seed_from_u64(seed), 0.2, 0.3);
        let fates: Vec<Fate> = (0..10_000).map(throw).collect();
        let share = |fate| fates.iter().filter(|thrown| **thrown == fate).count();
        assert!((1_800..2_200).contains(&share(Fate::Leave)));
        assert!((2_800..3_200).contains(&share(Fate::Decline)));
        assert_eq!(fates, (0..10_000).map(throw).collect::<Vec<Fate>>());
    }
}
