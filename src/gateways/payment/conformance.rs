//! The contract of [`PaymentProvider`], once, for every implementation.

use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;
use crate::domain::Currency;
use localstripe::LocalStripe;

#[path = "../../../tests/layby/support/localstripe.rs"]
mod localstripe;

/// A provider under test, and its own books.
trait Bench: Sized {
    const GOOD: &'static str;
    const DECLINED: &'static str;

    fn create() -> Self;

    /// A client that remembers nothing, as after a restart.
    fn client(&self) -> Box<dyn PaymentProvider>;

    /// How many attempts were captured and how many given back.
    fn books(&self) -> (usize, usize);
}

struct SandboxBench(TempDir);

impl SandboxBench {
    fn open(&self) -> Sandbox {
        let path = self.0.path().join("books");
        let (sandbox, _notices) =
            Sandbox::open(SandboxPlan::default(), Some(&path)).expect("a sandbox");
        sandbox
    }
}

impl Bench for SandboxBench {
    const GOOD: &'static str = "card_ok";
    const DECLINED: &'static str = "card_declined";

    fn create() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn client(&self) -> Box<dyn PaymentProvider> {
        Box::new(self.open())
    }

    fn books(&self) -> (usize, usize) {
        self.open().totals()
    }
}

struct StripeBench(LocalStripe);

impl Bench for StripeBench {
    const GOOD: &'static str = LocalStripe::GOOD;
    const DECLINED: &'static str = LocalStripe::DECLINED;

    fn create() -> Self {
        Self(LocalStripe::start())
    }

    fn client(&self) -> Box<dyn PaymentProvider> {
        let key = Zeroizing::new(LocalStripe::KEY.to_owned());
        let options = StripeOptions::at(&self.0.url());
        Box::new(Stripe::open(&options, key).expect("a client"))
    }

    fn books(&self) -> (usize, usize) {
        let books = self.0.books();
        let all = |amount: fn(&localstripe::Booked) -> i64| -> usize {
            let amounts = books.iter().map(amount).filter(|it| *it != 0);
            amounts.inspect(|it| assert_eq!(*it, AMOUNT)).count()
        };
        (all(|it| it.captured), all(|it| it.refunded))
    }
}

const AMOUNT: i64 = 39_000;

/// The attempt's id has the time in it, as those that are made for people.
fn charge(method: &str) -> Charge {
    Charge {
        order: OrderId::new(uuid::Uuid::now_v7().as_u128()),
        attempt: AttemptId::new(uuid::Uuid::now_v7().as_u128()),
        method: method.into(),
        amount: Money {
            amount: AMOUNT,
            currency: Currency::parse("KRW").expect("a code"),
        },
    }
}

fn another<B: Bench>() -> Charge {
    charge(B::GOOD)
}

/// One sentence, one test for each implementation.
macro_rules! contract {
    ($($(#[$doc:meta])* async fn $sentence:ident<$bench:ident>($it:ident: $kind:ty) $body:block)+) => {
        $($(#[$doc])* async fn $sentence<$bench: Bench>($it: $kind) $body)+

        mod sandbox_keeps_the_contract {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence(<super::SandboxBench as super::Bench>::create()).await;
            })+
        }

        mod stripe_keeps_the_contract {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence(<super::StripeBench as super::Bench>::create()).await;
            })+
        }
    };
}

contract! {
    async fn a_charge_takes_the_money_once_however_often_it_is_made<B>(bench: B) {
        let (client, charge) = (bench.client(), charge(B::GOOD));
        for _ in 0..3 {
            let outcome = client.charge(charge.clone()).await;
            assert_eq!(outcome.expect("clear"), PaymentOutcome::Captured);
        }
        assert_eq!(bench.books(), (1, 0));
    }

    async fn a_declined_charge_takes_nothing_and_stays_declined<B>(bench: B) {
        let (client, charge) = (bench.client(), charge(B::DECLINED));
        for _ in 0..2 {
            let outcome = client.charge(charge.clone()).await;
            assert_eq!(outcome.expect("clear"), PaymentOutcome::Declined);
        }
        for client in [client, bench.client()] {
            let told = client.look_up(charge.attempt, Instant::now()).await.expect("clear");
            assert_eq!(told, Some(PaymentOutcome::Declined));
        }
        assert_eq!(bench.books(), (0, 0));
    }

    async fn a_look_up_tells_what_was_taken_and_takes_nothing<B>(bench: B) {
        let (client, charge) = (bench.client(), charge(B::GOOD));
        client.charge(charge.clone()).await.expect("clear");
        for client in [client, bench.client(), bench.client()] {
            let told = client.look_up(charge.attempt, Instant::now()).await.expect("clear");
            assert_eq!(told, Some(PaymentOutcome::Captured));
        }
        assert_eq!(bench.books(), (1, 0));
    }

    async fn what_never_arrived_is_told_and_may_be_charged_then<B>(bench: B) {
        let (client, charge) = (bench.client(), charge(B::GOOD));
        client.charge(another::<B>()).await.expect("clear");
        for _ in 0..2 {
            let told = client.look_up(charge.attempt, Instant::now()).await.expect("clear");
            assert_eq!(told, None);
        }
        assert_eq!(bench.books(), (1, 0));
        let outcome = client.charge(charge).await.expect("clear");
        assert_eq!(outcome, PaymentOutcome::Captured);
        assert_eq!(bench.books(), (2, 0));
    }

    async fn money_goes_back_once_however_often_it_is_asked_for<B>(bench: B) {
        let (client, charge) = (bench.client(), charge(B::GOOD));
        client.charge(charge.clone()).await.expect("clear");
        for client in [client, bench.client(), bench.client()] {
            client.refund(charge.clone()).await.expect("clear");
            assert_eq!(bench.books(), (1, 1));
        }
    }

    async fn a_charge_that_was_given_back_stays_captured<B>(bench: B) {
        let (client, charge) = (bench.client(), charge(B::GOOD));
        client.charge(charge.clone()).await.expect("clear");
        client.refund(charge.clone()).await.expect("clear");
        let told = client.look_up(charge.attempt, Instant::now()).await.expect("clear");
        assert_eq!(told, Some(PaymentOutcome::Captured));
        let outcome = client.charge(charge).await.expect("clear");
        assert_eq!(outcome, PaymentOutcome::Captured);
        assert_eq!(bench.books(), (1, 1));
    }

    async fn what_was_never_taken_does_not_go_back<B>(bench: B) {
        let client = bench.client();
        let (declined, unknown) = (charge(B::DECLINED), charge(B::GOOD));
        client.charge(declined.clone()).await.expect("clear");
        for charge in [declined, unknown] {
            let refused = client.refund(charge).await;
            assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
        }
        assert_eq!(bench.books(), (0, 0));
    }

    async fn two_attempts_of_one_order_are_two<B>(bench: B) {
        let client = bench.client();
        let (declined, paid) = (charge(B::DECLINED), charge(B::GOOD));
        let paid = Charge { order: declined.order, ..paid };
        client.charge(declined.clone()).await.expect("clear");
        client.charge(paid.clone()).await.expect("clear");
        for (charge, outcome) in [(declined, PaymentOutcome::Declined), (paid, PaymentOutcome::Captured)] {
            let told = bench.client().look_up(charge.attempt, Instant::now()).await.expect("clear");
            assert_eq!(told, Some(outcome));
        }
        assert_eq!(bench.books(), (1, 0));
    }
}
