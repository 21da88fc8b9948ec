//! A payment provider for demos and tests: it keeps real books of what it took and gave back, and misbehaves on plan.
//!
//! A method names its own outcome (`card_declined`, `card_late`, ...); any other method follows seeded rates, drawn
//! from the seed and the attempt's place in the sandbox's books, so that a run repeats.
//!
//! Deliberately absent: money.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{CallError, Charge, Notice, PaymentProvider, never_captured};
use crate::domain::{AttemptId, PaymentOutcome};

/// How often the sandbox misbehaves, each rate in 0..=1 and drawn in this order, and how long things take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SandboxPlan {
    pub seed: u64,
    pub decline_rate: f64,
    /// Takes the money, but answers by a notice after `late_by` only.
    pub late_rate: f64,
    /// Answers, and sends the same answer again as a notice, twice.
    pub duplicate_rate: f64,
    /// Takes the money and never answers; only a look-up tells.
    pub timeout_rate: f64,
    /// Answers, and sends a stale decline after it.
    pub out_of_order_rate: f64,
    pub late_by: Duration,
    pub latency: Duration,
}

/// What happens to one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Pay,
    Decline,
    Late,
    Duplicate,
    TimeOut,
    OutOfOrder,
}

/// Pays, and refuses to give the money back.
const NO_REFUND: &str = "card_no_refund";

#[derive(Debug)]
pub struct Sandbox {
    plan: SandboxPlan,
    books: Mutex<Books>,
    notices: mpsc::Sender<Notice>,
}

/// What the provider knows of every attempt, kept in a file so that it survives the death of its client.
#[derive(Debug)]
struct Books {
    outcomes: HashMap<AttemptId, PaymentOutcome>,
    refunded: HashMap<AttemptId, ()>,
    charges: u64,
    file: Option<File>,
}

impl Default for SandboxPlan {
    fn default() -> Self {
        Self {
            seed: 1,
            decline_rate: 0.0,
            late_rate: 0.0,
            duplicate_rate: 0.0,
            timeout_rate: 0.0,
            out_of_order_rate: 0.0,
            late_by: Duration::from_secs(5),
            latency: Duration::ZERO,
        }
    }
}

impl Sandbox {
    /// Notices beyond this many unread ones are lost, as those of a real provider may be; a look-up finds the result.
    const NOTICES_MAX: usize = 1_024;

    /// Opens the books at `path`, or keeps them in memory. Gives the provider and the notices that it will send.
    pub fn open(
        plan: SandboxPlan,
        path: Option<&Path>,
    ) -> std::io::Result<(Self, mpsc::Receiver<Notice>)> {
        let (notices, receiver) = mpsc::channel(Self::NOTICES_MAX);
        let books = match path {
            Some(path) => Books::open(path)?,
            None => Books::in_memory(),
        };
        let sandbox = Self {
            plan,
            books: Mutex::new(books),
            notices,
        };
        Ok((sandbox, receiver))
    }

    /// Captured and refunded attempts, for whoever compares the books.
    pub fn totals(&self) -> (usize, usize) {
        let books = self.books.lock();
        let captured = books
            .outcomes
            .values()
            .filter(|outcome| **outcome == PaymentOutcome::Captured)
            .count();
        (captured, books.refunded.len())
    }

    async fn play(&self, charge: Charge) -> Result<PaymentOutcome, CallError> {
        tokio::time::sleep(self.plan.latency).await;
        let (script, outcome) = self.enter(&charge)?;
        let notice = Notice {
            order: charge.order,
            attempt: charge.attempt,
            outcome,
        };
        match script {
            Script::Pay | Script::Decline => Ok(outcome),
            Script::Duplicate => {
                self.notify(notice, Duration::ZERO);
                self.notify(notice, self.plan.late_by);
                Ok(outcome)
            }
            Script::OutOfOrder => {
                let stale = Notice {
                    outcome: PaymentOutcome::Declined,
                    ..notice
                };
                self.notify(stale, Duration::ZERO);
                Ok(outcome)
            }
            Script::Late => {
                self.notify(notice, self.plan.late_by);
                std::future::pending().await
            }
            Script::TimeOut => std::future::pending().await,
        }
    }

    /// Books the attempt, unless it is in the books already.
    fn enter(&self, charge: &Charge) -> Result<(Script, PaymentOutcome), CallError> {
        let mut books = self.books.lock();
        if let Some(known) = books.outcomes.get(&charge.attempt) {
            return Ok((Script::Pay, *known));
        }
        let number = books.charges + 1;
        let script = self.plan.script(&charge.method, number);
        let outcome = match script {
            Script::Decline => PaymentOutcome::Declined,
            _ => PaymentOutcome::Captured,
        };
        let word = match outcome {
            PaymentOutcome::Captured => "captured",
            PaymentOutcome::Declined => "declined",
        };
        books.write(word, charge)?;
        books.book(charge.attempt, outcome);
        Ok((script, outcome))
    }

    fn give_back(&self, charge: &Charge) -> Result<(), CallError> {
        let mut books = self.books.lock();
        if books.outcomes.get(&charge.attempt) != Some(&PaymentOutcome::Captured) {
            return Err(never_captured(charge.attempt));
        }
        if &*charge.method == NO_REFUND {
            return Err(CallError::Refused(format!(
                "{NO_REFUND} takes no money back"
            )));
        }
        if !books.refunded.contains_key(&charge.attempt) {
            books.write("refunded", charge)?;
            books.refunded.insert(charge.attempt, ());
        }
        Ok(())
    }

    fn notify(&self, notice: Notice, after: Duration) {
        let notices = self.notices.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if notices.try_send(notice).is_err() {
                tracing::warn!(attempt.id = %notice.attempt, "a sandbox notice was lost");
            }
        });
    }
}

impl PaymentProvider for Sandbox {
    fn charge(&self, charge: Charge) -> BoxFuture<'_, Result<PaymentOutcome, CallError>> {
        self.play(charge).boxed()
    }

    fn look_up(
        &self,
        attempt: AttemptId,
        _quiet_since: Instant,
    ) -> BoxFuture<'_, Result<Option<PaymentOutcome>, CallError>> {
        let known = self.books.lock().outcomes.get(&attempt).copied();
        std::future::ready(Ok(known)).boxed()
    }

    fn refund(&self, charge: Charge) -> BoxFuture<'_, Result<(), CallError>> {
        std::future::ready(self.give_back(&charge)).boxed()
    }
}

impl SandboxPlan {
    fn script(&self, method: &str, charge_number: u64) -> Script {
        match method {
            "card_ok" | NO_REFUND => Script::Pay,
            "card_declined" => Script::Decline,
            "card_late" => Script::Late,
            "card_duplicate" => Script::Duplicate,
            "card_timeout" => Script::TimeOut,
            "card_out_of_order" => Script::OutOfOrder,
            _ => self.draw(charge_number),
        }
    }

    fn draw(&self, charge_number: u64) -> Script {
        let rates = [
            (self.decline_rate, Script::Decline),
            (self.late_rate, Script::Late),
            (self.duplicate_rate, Script::Duplicate),
            (self.timeout_rate, Script::TimeOut),
            (self.out_of_order_rate, Script::OutOfOrder),
        ];
        let mut drawn = unit_interval(self.seed, charge_number);
        for (rate, script) in rates {
            if drawn < rate {
                return script;
            }
            drawn -= rate;
        }
        Script::Pay
    }
}

impl Books {
    fn in_memory() -> Self {
        Self {
            outcomes: HashMap::new(),
            refunded: HashMap::new(),
            charges: 0,
            file: None,
        }
    }

    /// A line is `word attempt order amount currency`; a half-written last line is skipped.
    fn open(path: &Path) -> std::io::Result<Self> {
        let mut books = Self::in_memory();
        if path.exists() {
            for line in BufReader::new(File::open(path)?).lines() {
                books.read(&line?);
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        books.file = Some(file);
        Ok(books)
    }

    fn read(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (Some(word), Some(attempt)) = (words.next(), words.next()) else {
            return;
        };
        let Ok(attempt) = uuid::Uuid::parse_str(attempt) else {
            return;
        };
        let attempt = AttemptId::new(attempt.as_u128());
        match word {
            "captured" => self.book(attempt, PaymentOutcome::Captured),
            "declined" => self.book(attempt, PaymentOutcome::Declined),
            "refunded" => {
                self.refunded.insert(attempt, ());
            }
            _ => {}
        }
    }

    fn book(&mut self, attempt: AttemptId, outcome: PaymentOutcome) {
        self.charges += 1;
        self.outcomes.insert(attempt, outcome);
    }

    fn write(&mut self, word: &str, charge: &Charge) -> Result<(), CallError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let line = format!(
            "{word} {} {} {} {}\n",
            charge.attempt,
            charge.order,
            charge.amount.amount,
            charge.amount.currency.as_str()
        );
        file.write_all(line.as_bytes())
            .map_err(|error| CallError::Unavailable(format!("cannot write its books: {error}")))
    }
}

/// A number in 0..1 that depends on nothing but the two given.
fn unit_interval(seed: u64, number: u64) -> f64 {
    let mut mixed = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for multiplier in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(multiplier);
    }
    let bits = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(u32::MAX);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Currency, Money, OrderId};

    fn charge(number: u128, method: &str) -> Charge {
        Charge {
            order: OrderId::new(7),
            attempt: AttemptId::new(number),
            method: method.into(),
            amount: Money {
                amount: 100,
                currency: Currency::parse("KRW").expect("a code"),
            },
        }
    }

    #[tokio::test]
    async fn a_repeated_charge_takes_the_money_once() {
        let (sandbox, _notices) = Sandbox::open(SandboxPlan::default(), None).expect("in memory");
        for _ in 0..3 {
            let outcome = sandbox.charge(charge(1, "card")).await;
            assert_eq!(outcome.ok(), Some(PaymentOutcome::Captured));
        }
        assert_eq!(sandbox.totals(), (1, 0));
    }

    #[tokio::test]
    async fn the_books_outlive_the_sandbox() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("books");
        for _ in 0..2 {
            let (sandbox, _notices) =
                Sandbox::open(SandboxPlan::default(), Some(&path)).expect("opens");
            sandbox.charge(charge(1, "card")).await.expect("clear");
            sandbox.refund(charge(1, "card")).await.expect("clear");
            assert_eq!(sandbox.totals(), (1, 1));
        }
        let lines = std::fs::read_to_string(&path).expect("the books");
        assert_eq!(lines.lines().count(), 2, "{lines}");
    }

    #[tokio::test]
    async fn what_the_books_do_not_take_has_not_happened() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("books");
        let (sandbox, _notices) = Sandbox::open(SandboxPlan::default(), Some(&path)).expect("new");
        let writable = sandbox.books.lock().file.take();
        sandbox.books.lock().file = Some(File::open(&path).expect("to be read alone"));
        let unavailable = |error| matches!(error, CallError::Unavailable(_));
        assert!(
            sandbox
                .charge(charge(1, "card"))
                .await
                .is_err_and(unavailable)
        );
        assert_eq!(sandbox.totals(), (0, 0));
        sandbox.books.lock().file = writable;
        sandbox.charge(charge(1, "card")).await.expect("clear");
        sandbox.books.lock().file = Some(File::open(&path).expect("to be read alone"));
        assert!(
            sandbox
                .refund(charge(1, "card"))
                .await
                .is_err_and(unavailable)
        );
        assert_eq!(sandbox.totals(), (1, 0));
    }

    #[tokio::test]
    async fn a_refund_can_be_refused_on_purpose() {
        let (sandbox, _notices) = Sandbox::open(SandboxPlan::default(), None).expect("in memory");
        sandbox.charge(charge(1, NO_REFUND)).await.expect("clear");
        let refused = sandbox.refund(charge(1, NO_REFUND)).await;
        assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
        assert_eq!(sandbox.totals(), (1, 0));
    }

    #[test]
    fn the_rates_are_kept_and_repeat() {
        let plan = SandboxPlan {
            decline_rate: 0.2,
            ..SandboxPlan::default()
        };
        let declines = |seed| {
            let plan = SandboxPlan { seed, ..plan };
            (0..10_000)
                .map(|number| plan.script("card", number))
                .filter(|script| *script == Script::Decline)
                .count()
        };
        assert_eq!(declines(1), declines(1));
        assert!((1_900..2_100).contains(&declines(1)), "{}", declines(1));
    }
}
