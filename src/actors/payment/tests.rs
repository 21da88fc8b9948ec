//! The queue of charges, and what is told of it, under a time that is moved and not waited for.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::PaymentTimes;
use super::dispatcher::Dispatcher;
use crate::actors::core::message::{Command, Effect, ProviderOrder};
use crate::actors::engine::EngineLink;
use crate::actors::engine::inbox::SharedEngine;
use crate::clock::{EngineTime, ManualClock};
use crate::domain::{AttemptId, Currency, Money, OrderId, PaymentOutcome, Span, Timestamp};
use crate::gateways::payment::{CallError, Charge, PaymentProvider};

const START: Timestamp = Timestamp::from_micros(1_764_000_000_000_000);
/// Later than any test goes.
const LATE: Timestamp = START.plus(Span::from_secs(1_000_000));

#[test]
fn charges_are_sent_in_the_order_in_which_they_came_so_many_at_a_time() {
    play(2, async |stage| {
        stage.provider.takes(Duration::from_millis(500));
        for attempt in [5, 3, 1, 4, 2] {
            stage.charge(attempt);
        }
        sleep(secs(10)).await;
        let sent = [(0, 5), (0, 3), (500, 1), (500, 4), (1_000, 2)];
        let sent = sent.map(|(at, attempt)| {
            let at = Duration::from_millis(at);
            (at, format!("charge {attempt}"))
        });
        assert_eq!(stage.provider.asked(), sent);
        assert_eq!(stage.provider.charges_at_most(), 2);
        assert_eq!(
            stage.told(),
            [5, 3, 1, 4, 2].map(|it| format!("settle {it} Captured"))
        );
    });
}

#[test]
fn a_charge_that_waits_for_its_turn_is_pending_for_the_buyer_and_looked_up_by_nobody() {
    play(1, async |stage| {
        stage.provider.takes(secs(20));
        stage.charge(1);
        stage.charge(2);
        sleep(Duration::from_millis(2_999)).await;
        assert_eq!(stage.told(), [""; 0]);
        sleep(Duration::from_millis(2)).await;
        assert_eq!(stage.told(), ["defer 1", "defer 2"]);
        sleep(secs(100)).await;
        assert_eq!(stage.told(), ["settle 1 Captured", "settle 2 Captured"]);
        let asked = [(0, "charge 1"), (20, "charge 2")];
        assert_eq!(stage.provider.asked(), asked.map(at_secs));
    });
}

/// 1,000 payers in 10 s, 64 at once, 2.4 s each: 38 s of the provider's time.
#[test]
fn a_thousand_payers_at_a_slow_provider_are_all_captured_and_none_is_looked_up() {
    play(64, async |stage| {
        stage.provider.takes(Duration::from_millis(2_400));
        for attempt in 1..=1_000 {
            stage.charge(attempt);
            sleep(Duration::from_millis(10)).await;
        }
        sleep(secs(30)).await;
        let told = stage.told();
        let captured = told.iter().filter(|it| it.ends_with("Captured")).count();
        let deferred = told.iter().filter(|it| it.starts_with("defer")).count();
        assert_eq!((captured, captured + deferred), (1_000, told.len()));
        assert!(deferred > 500, "{deferred} waited for long");
        assert_eq!(stage.provider.asked().len(), 1_000, "charges alone");
        assert_eq!(stage.provider.charges_at_most(), 64);
    });
}

#[test]
fn a_cancel_takes_a_charge_out_of_the_queue_and_tells_so_at_once() {
    play(1, async |stage| {
        stage.provider.takes(secs(10));
        (1..=4).for_each(|attempt| stage.charge(attempt));
        sleep(secs(1)).await;
        stage.withdraw(3);
        assert_eq!(stage.told(), ["settle 3 Declined"]);
        stage.withdraw(3);
        stage.withdraw(99);
        sleep(secs(100)).await;
        let asked = [(0, "charge 1"), (10, "charge 2"), (20, "charge 4")];
        assert_eq!(stage.provider.asked(), asked.map(at_secs));
        let told = stage.told();
        assert!(!told.iter().any(|it| it.contains(" 3")), "{told:?}");
        assert_eq!(stage.ended("charge", "unsent"), 1);
    });
}

#[test]
fn a_charge_that_was_sent_is_not_withdrawn() {
    play(1, async |stage| {
        stage.provider.takes(secs(2));
        stage.charge(1);
        sleep(secs(1)).await;
        stage.withdraw(1);
        assert_eq!(stage.told(), [""; 0]);
        sleep(secs(9)).await;
        assert_eq!(stage.told(), ["settle 1 Captured"]);
    });
}

#[test]
fn a_charge_whose_hold_has_ended_when_its_turn_comes_is_not_sent() {
    play(1, async |stage| {
        stage.provider.takes(secs(10));
        stage.charge(1);
        let cap = START.plus(Span::from_secs(5));
        (2..=3).for_each(|attempt| stage.charge_by(attempt, cap));
        stage.charge(4);
        stage.clock.advance(Span::from_secs(5));
        sleep(secs(100)).await;
        let asked = [(0, "charge 1"), (10, "charge 4")];
        assert_eq!(stage.provider.asked(), asked.map(at_secs));
        let mut told = stage.told();
        told.retain(|it| !it.starts_with("defer"));
        let settled = [
            "settle 1 Captured",
            "settle 2 Declined",
            "settle 3 Declined",
            "settle 4 Captured",
        ];
        assert_eq!(told, settled);
        assert_eq!(stage.ended("charge", "unsent"), 2);
    });
}

#[test]
fn a_charge_is_sent_in_the_last_microsecond_of_its_hold() {
    play(1, async |stage| {
        stage.charge_by(1, START.plus(Span::from_micros_u64(1)));
        sleep(secs(1)).await;
        assert_eq!(stage.told(), ["settle 1 Captured"]);
    });
}

#[test]
fn a_call_has_its_own_time_from_when_it_is_sent() {
    play(1, async |stage| {
        stage.provider.takes(Duration::from_millis(29_900));
        (1..=3).for_each(|attempt| stage.charge(attempt));
        sleep(secs(200)).await;
        let mut told = stage.told();
        told.retain(|it| !it.starts_with("defer"));
        assert_eq!(told, [1, 2, 3].map(|it| format!("settle {it} Captured")));
        assert_eq!(stage.provider.asked().len(), 3, "nothing is looked up");
    });
}

#[test]
fn only_a_call_that_ended_without_an_answer_is_looked_up_and_with_growing_pauses() {
    play(1, async |stage| {
        stage.provider.never_answers(1);
        let away = || Err(CallError::Unavailable("busy".into()));
        stage.provider.tells(
            1,
            vec![away(), away(), away(), Ok(Some(PaymentOutcome::Captured))],
        );
        stage.charge(1);
        stage.charge(2);
        sleep(secs(300)).await;
        let asked = [
            (0, "charge 1"),
            (30, "charge 2"),
            (31, "look up 1"),
            (33, "look up 1"),
            (37, "look up 1"),
            (45, "look up 1"),
        ];
        assert_eq!(stage.provider.asked(), asked.map(at_secs));
        let told = stage.told();
        assert_eq!(
            told.last().map(String::as_str),
            Some("settle 1 Captured"),
            "{told:?}"
        );
    });
}

#[test]
fn the_pauses_of_a_look_up_end_at_the_longest() {
    play(1, async |stage| {
        let away = (0..20).map(|_| Err(CallError::Unsettled("processing".into())));
        stage.provider.tells(1, away.collect());
        stage.accept(Effect::LookUp(order(1)));
        sleep(secs(3_600)).await;
        let asked = stage.provider.asked();
        let times: Vec<u64> = asked.iter().map(|(at, _)| at.as_secs()).take(9).collect();
        assert_eq!(times, [1, 3, 7, 15, 31, 63, 123, 183, 243]);
    });
}

/// It is not looked up at the same time, which might call it off.
#[test]
fn an_attempt_is_charged_or_looked_up_and_never_both() {
    play(1, async |stage| {
        stage.provider.takes(secs(10));
        stage.charge(1);
        stage.charge(2);
        // As after an actor has crashed and was rebuilt, which asks about everything that is open.
        for attempt in [1, 2] {
            stage.accept(Effect::LookUp(order(attempt)));
            stage.charge(attempt);
        }
        sleep(secs(100)).await;
        let asked = [(0, "charge 1"), (10, "charge 2")];
        assert_eq!(stage.provider.asked(), asked.map(at_secs));

        stage.told();
        let unknown = [Err(CallError::Refused("busy".into())), Ok(None)];
        stage.provider.tells(3, unknown.into());
        stage.accept(Effect::LookUp(order(3)));
        stage.accept(Effect::LookUp(order(3)));
        stage.charge(3);
        sleep(secs(100)).await;
        assert_eq!(stage.told(), ["defer 3", "repeat 3"]);
        assert_eq!(
            stage.provider.asked().len(),
            4,
            "two look-ups, and no charge yet"
        );
        stage.charge(3);
        sleep(secs(100)).await;
        assert_eq!(
            stage.told().last().map(String::as_str),
            Some("settle 3 Captured")
        );
    });
}

#[test]
fn look_ups_and_refunds_have_calls_of_their_own_beside_the_charges() {
    play(2, async |stage| {
        (1..=9).for_each(|attempt| stage.provider.never_answers(attempt));
        (1..=9).for_each(|attempt| stage.charge(attempt));
        sleep(secs(1)).await;
        stage.accept(Effect::Refund(order(20)));
        stage.accept(Effect::LookUp(order(21)));
        sleep(secs(2)).await;
        let told = stage.told();
        assert!(told.contains(&"refunded 20".to_owned()), "{told:?}");
        assert!(told.contains(&"repeat 21".to_owned()), "{told:?}");
        assert_eq!(stage.provider.asked().len(), 4);
    });
}

/// Refunds that hang for their whole time leave the charges alone, and wait for each other.
#[test]
fn refunds_are_sent_so_many_at_a_time() {
    play(2, async |stage| {
        stage.provider.takes(secs(1));
        (1..=5).for_each(|attempt| stage.accept(Effect::Refund(order(attempt))));
        stage.charge(9);
        sleep(secs(10)).await;
        let refunds = [(0, 1), (0, 2), (1, 3), (1, 4), (2, 5)];
        let refunds = refunds.map(|(at, attempt)| (secs(at), format!("refund {attempt}")));
        let mut asked = stage.provider.asked();
        asked.retain(|(_, it)| it.starts_with("refund"));
        assert_eq!(asked, refunds);
        let told = stage.told();
        let refunded = told.iter().filter(|it| it.starts_with("refunded"));
        assert_eq!(refunded.count(), 5, "{told:?}");
    });
}

#[test]
fn a_charge_that_is_refused_in_clear_words_is_declined() {
    play(1, async |stage| {
        let refused = Err(CallError::Refused("no such means of payment".into()));
        stage.provider.ends(1, refused);
        stage.charge(1);
        sleep(secs(100)).await;
        assert_eq!(stage.told(), ["settle 1 Declined"]);
        assert_eq!(stage.provider.asked().len(), 1, "nothing is looked up");
        assert_eq!(stage.ended("charge", "refused"), 1);
    });
}

#[test]
fn a_refund_that_is_refused_in_clear_words_stays_due_and_is_tried_rarely() {
    play(1, async |stage| {
        let refused = Err(CallError::Refused("disputed".into()));
        stage.provider.ends(1, refused);
        stage.accept(Effect::Refund(order(1)));
        sleep(secs(8_000)).await;
        let asked = [(0, "refund 1"), (3_600, "refund 1"), (7_200, "refund 1")];
        assert_eq!(stage.provider.asked(), asked.map(at_secs));
        let told = stage.told();
        assert!(told.iter().all(|it| it == "defer refund"), "{told:?}");
        stage.provider.ends(1, Ok(PaymentOutcome::Captured));
        sleep(secs(3_600)).await;
        assert_eq!(stage.told(), ["refunded 1"]);
    });
}

#[test]
fn a_refund_without_an_answer_is_repeated_soon() {
    play(1, async |stage| {
        stage
            .provider
            .ends(1, Err(CallError::Unavailable("busy".into())));
        stage.accept(Effect::Refund(order(1)));
        sleep(secs(8)).await;
        let asked = [
            (0, "refund 1"),
            (1, "refund 1"),
            (3, "refund 1"),
            (7, "refund 1"),
        ];
        assert_eq!(stage.provider.asked(), asked.map(at_secs));
    });
}

#[test]
fn a_buyer_who_waits_for_a_refund_is_told_when_it_takes_longer() {
    play(1, async |stage| {
        stage.provider.takes(secs(10));
        stage.accept(Effect::Refund(order(1)));
        stage.accept(Effect::Refund(order(2)));
        sleep(secs(4)).await;
        assert_eq!(stage.told(), ["defer refund", "defer refund"]);
        sleep(secs(30)).await;
        assert_eq!(stage.told(), ["refunded 1", "refunded 2"]);
    });
}

#[test]
fn only_a_provider_that_is_away_counts_against_its_health() {
    let errors = [
        (CallError::Refused("no".into()), &[][..]),
        (CallError::Unsettled("busy".into()), &[]),
        (CallError::Unavailable("away".into()), &[false]),
    ];
    let charge = |order| Effect::Charge {
        order,
        send_by: LATE,
    };
    for (error, health) in errors {
        for effect in [charge, Effect::LookUp, Effect::Refund] {
            play(1, async |stage| {
                stage.provider.ends(1, Err(error.clone()));
                stage.provider.tells(1, vec![Err(error.clone())]);
                stage.accept(effect(order(1)));
                while stage.provider.asked().is_empty() {
                    sleep(Duration::from_millis(10)).await;
                }
                sleep(Duration::from_millis(10)).await;
                assert_eq!(stage.health(), health, "{error}");
            });
        }
    }
}

#[test]
fn the_first_answer_after_none_is_news_and_the_next_is_not() {
    play(1, async |stage| {
        stage.provider.never_answers(1);
        for attempt in 1..=3 {
            stage.charge(attempt);
        }
        stage.accept(Effect::Refund(order(9)));
        sleep(Duration::from_millis(30_500)).await;
        assert_eq!(stage.health(), [false, true]);
    });
}

#[test]
fn a_client_that_crashes_gives_its_place_back_and_is_asked_again() {
    play(1, async |stage| {
        stage.provider.crashes(1);
        stage.charge(1);
        stage.charge(2);
        sleep(secs(5)).await;
        let told = stage.told();
        assert_eq!(told, ["defer 1", "settle 2 Captured", "repeat 1"]);
    });
}

#[test]
fn how_much_waits_and_for_how_long_is_shown() {
    play(2, async |stage| {
        stage.provider.takes(secs(10));
        for attempt in 1..=5 {
            stage.charge(attempt);
            sleep(secs(1)).await;
            stage.clock.advance(Span::from_secs(1));
        }
        stage.accept(Effect::Refund(order(9)));
        sleep(secs(1)).await;
        stage.clock.advance(Span::from_secs(1));
        let link = &stage.link;
        let counters = &link.counters().payments;
        let load = [
            &counters.charges_waiting,
            &counters.charges_under_way,
            &counters.follow_ups_waiting,
            &counters.follow_ups_under_way,
        ];
        let load = load.map(|it| it.load(std::sync::atomic::Ordering::Relaxed));
        assert_eq!(load, [3, 2, 0, 1]);
        // The third came after two seconds, and it is the sixth.
        assert_eq!(counters.oldest_charge_age(link.now()), Span::from_secs(4));
        sleep(secs(100)).await;
        assert_eq!(counters.oldest_charge_age(link.now()), Span::ZERO);
        assert_eq!(stage.ended("charge", "captured"), 5);
        assert_eq!(stage.ended("refund", "done"), 1);
    });
}

// -- the stage ---------------------------------------------------------------------------------------------------

struct Stage {
    dispatcher: Rc<Dispatcher>,
    shared: Arc<SharedEngine>,
    link: EngineLink,
    provider: Arc<Scripted>,
    clock: ManualClock,
}

/// Takes the money after a while, unless it is told otherwise about an attempt.
#[derive(Debug)]
struct Scripted {
    began: Instant,
    script: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    latency: Duration,
    ends: BTreeMap<AttemptId, Option<Result<PaymentOutcome, CallError>>>,
    /// In their order, for one look-up after the other; then nothing is known.
    told: BTreeMap<AttemptId, Vec<Result<Option<PaymentOutcome>, CallError>>>,
    crashes: BTreeMap<AttemptId, ()>,
    asked: Vec<(Duration, String)>,
    charges: usize,
    charges_at_most: usize,
}

/// Time stands still unless everybody sleeps.
fn play(calls_max: usize, act: impl AsyncFnOnce(&Stage)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let clock = ManualClock::at(START);
        let shared = Arc::new(SharedEngine::new(
            EngineTime::start(Arc::new(clock.clone()), Timestamp::ZERO),
            1_000,
        ));
        let link = EngineLink::new(Arc::clone(&shared));
        let provider = Arc::new(Scripted {
            began: Instant::now(),
            script: Mutex::default(),
        });
        let times = PaymentTimes::default();
        let dispatcher = Dispatcher::new(
            Arc::<Scripted>::clone(&provider),
            link.clone(),
            times,
            calls_max,
        );
        let dispatcher = Rc::new(dispatcher);
        tokio::task::spawn_local(Rc::clone(&dispatcher).run());
        let stage = Stage {
            dispatcher,
            shared,
            link,
            provider,
            clock,
        };
        act(&stage).await;
    });
}

impl Stage {
    fn accept(&self, effect: Effect) {
        self.dispatcher.accept(effect);
    }

    fn charge(&self, attempt: u32) {
        self.charge_by(attempt, LATE);
    }

    fn charge_by(&self, attempt: u32, send_by: Timestamp) {
        let order = order(attempt);
        self.accept(Effect::Charge { order, send_by });
    }

    fn withdraw(&self, attempt: u32) {
        let ProviderOrder { order, attempt, .. } = order(attempt);
        self.accept(Effect::Withdraw { order, attempt });
    }

    /// What the engine was told of attempts since it was asked last.
    fn told(&self) -> Vec<String> {
        self.take().iter().filter_map(sentence).collect()
    }

    /// What it was told of the provider.
    fn health(&self) -> Vec<bool> {
        let note = |command: &Command| match command {
            Command::NoteProvider { answered } => Some(*answered),
            _ => None,
        };
        self.take().iter().filter_map(note).collect()
    }

    fn take(&self) -> Vec<Command> {
        let mut envelopes = Vec::new();
        self.shared.take_commands(&mut envelopes);
        envelopes.into_iter().map(|it| it.command).collect()
    }

    fn ended(&self, call: &str, end: &str) -> u64 {
        let mut ends = self.link.counters().payments.ends();
        let found = ends.find(|(it, word, _)| (*it, *word) == (call, end));
        found.expect("an end").2
    }
}

impl Scripted {
    fn takes(&self, latency: Duration) {
        self.script.lock().latency = latency;
    }

    /// How charges and refunds of the attempt end.
    fn ends(&self, attempt: u32, end: Result<PaymentOutcome, CallError>) {
        let attempt = order(attempt).attempt;
        self.script.lock().ends.insert(attempt, Some(end));
    }

    fn never_answers(&self, attempt: u32) {
        let attempt = order(attempt).attempt;
        self.script.lock().ends.insert(attempt, None);
    }

    fn crashes(&self, attempt: u32) {
        let attempt = order(attempt).attempt;
        self.script.lock().crashes.insert(attempt, ());
    }

    fn tells(&self, attempt: u32, told: Vec<Result<Option<PaymentOutcome>, CallError>>) {
        let attempt = order(attempt).attempt;
        self.script.lock().told.insert(attempt, told);
    }

    /// What it was asked, and how long after the beginning.
    fn asked(&self) -> Vec<(Duration, String)> {
        self.script.lock().asked.clone()
    }

    fn charges_at_most(&self) -> usize {
        self.script.lock().charges_at_most
    }

    async fn answer(&self, verb: &str, attempt: AttemptId) -> Result<PaymentOutcome, CallError> {
        let (latency, end) = {
            let mut script = self.script.lock();
            script.note(self.began.elapsed(), verb, attempt);
            assert!(!script.crashes.contains_key(&attempt), "as it was told to");
            let end = script.ends.get(&attempt).cloned();
            (
                script.latency,
                end.unwrap_or(Some(Ok(PaymentOutcome::Captured))),
            )
        };
        sleep(latency).await;
        match end {
            Some(end) => end,
            None => std::future::pending().await,
        }
    }
}

impl Script {
    fn note(&mut self, at: Duration, verb: &str, attempt: AttemptId) {
        self.asked.push((at, format!("{verb} {}", attempt.get())));
    }
}

impl PaymentProvider for Scripted {
    fn charge(&self, charge: Charge) -> BoxFuture<'_, Result<PaymentOutcome, CallError>> {
        async move {
            {
                let mut script = self.script.lock();
                script.charges += 1;
                script.charges_at_most = script.charges_at_most.max(script.charges);
            }
            let end = self.answer("charge", charge.attempt).await;
            self.script.lock().charges -= 1;
            end
        }
        .boxed()
    }

    fn look_up(
        &self,
        attempt: AttemptId,
        quiet_since: Instant,
    ) -> BoxFuture<'_, Result<Option<PaymentOutcome>, CallError>> {
        assert!(quiet_since <= Instant::now(), "it is not quiet yet");
        let mut script = self.script.lock();
        script.note(self.began.elapsed(), "look up", attempt);
        let told = script.told.get_mut(&attempt).filter(|it| !it.is_empty());
        let told = told.map_or(Ok(None), |it| it.remove(0));
        std::future::ready(told).boxed()
    }

    fn refund(&self, charge: Charge) -> BoxFuture<'_, Result<(), CallError>> {
        async move { self.answer("refund", charge.attempt).await.map(drop) }.boxed()
    }
}

fn order(number: u32) -> ProviderOrder {
    ProviderOrder {
        order: OrderId::new(u128::from(number) + 1_000),
        attempt: AttemptId::new(number.into()),
        method: "card".into(),
        amount: Money {
            amount: 100,
            currency: Currency::parse("KRW").expect("a code"),
        },
    }
}

fn sentence(command: &Command) -> Option<String> {
    match command {
        Command::SettlePayment {
            attempt, outcome, ..
        } => Some(format!("settle {} {outcome:?}", attempt.get())),
        Command::DeferPayment { attempt, .. } => Some(format!("defer {}", attempt.get())),
        Command::RepeatCharge { attempt, .. } => Some(format!("repeat {}", attempt.get())),
        Command::RecordRefund { attempt, .. } => Some(format!("refunded {}", attempt.get())),
        Command::DeferRefund { .. } => Some("defer refund".into()),
        Command::NoteProvider { .. } => None,
        other => panic!("the engine was told {other:?}"),
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn at_secs((at, what): (u64, &str)) -> (Duration, String) {
    (secs(at), what.to_owned())
}
