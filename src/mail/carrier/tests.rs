//! The carrier between a real outbox and a transport that does what a test has planned.

use std::io::Write;
use std::sync::LazyLock;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;
use crate::clock::ManualClock;
use crate::domain::BuyerId;
use crate::gateways::mail::memory::MemoryTransport;
use crate::mail::{Language, Letter};
use crate::persistence::database::{NewLetter, Options, Outbox};

const MINA: BuyerId = BuyerId::new(7);
const NOBODY: BuyerId = BuyerId::new(8);
const START: Timestamp = Timestamp::from_micros(1_000_000_000);
const PATIENCE: Duration = Duration::from_secs(30);

/// A post office with an outbox of its own.
struct Office {
    database: Database,
    transport: MemoryTransport,
    clock: ManualClock,
    options: CarrierOptions,
    _directory: TempDir,
}

impl Office {
    async fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let address = format!("sqlite:{}", directory.path().join("layby.db").display());
        let database = Database::connect(&address, Options::default()).await;
        let database = database.expect("a database");
        database.migrate().await.expect("tables");
        let made = database
            .insert_account_for_letters(MINA, Some(b"key"))
            .await;
        made.expect("an account");
        let pause = Duration::from_millis(2);
        Self {
            database,
            transport: MemoryTransport::default(),
            clock: ManualClock::at(START),
            options: CarrierOptions {
                look_every: pause,
                away_pause_min: pause,
                away_pause_max: pause,
                ..CarrierOptions::default()
            },
            _directory: directory,
        }
    }

    fn parts(&self) -> CarrierParts {
        CarrierParts {
            database: self.database.clone(),
            transport: Arc::new(self.transport.clone()),
            clock: Arc::new(self.clock.clone()),
            open: Arc::new(|letter| Envelope::from_json(&letter.letter)),
            from: "Layby <no-reply@shop.example>".parse().expect("a sender"),
            options: self.options.clone(),
        }
    }

    fn start(&self) -> CarrierHandle {
        Carrier::start(self.parts())
    }

    async fn put(&self, letter: NewLetter) {
        let put = self.database.insert_letter(letter).await;
        put.expect("a letter");
    }

    async fn put_many(&self, ids: std::ops::Range<u128>) {
        for id in ids {
            self.put(letter(id)).await;
        }
    }

    async fn waiting(&self) -> u64 {
        self.database
            .count_letters(Outbox::Accounts)
            .await
            .expect("a number")
    }

    /// The ids of the letters that went out, in the order in which they did.
    fn taken(&self) -> Vec<u128> {
        let taken = self.transport.taken();
        let id = |message: &Message| {
            let id = message.headers().get_raw("Message-ID").expect("an id");
            let id = id.trim_start_matches('<').split('@').next();
            id.expect("an id")
                .parse::<Uuid>()
                .expect("a UUID")
                .as_u128()
        };
        taken.iter().map(id).collect()
    }
}

fn letter(id: u128) -> NewLetter {
    let envelope = Envelope {
        to: "mina@mail.example".to_owned(),
        language: Language::Korean,
        letter: Letter::PasswordChanged {},
    };
    NewLetter {
        id,
        account: MINA,
        letter: envelope.to_json(),
        next_at: START,
        expires_at: START.plus(Span::from_secs(600)),
        created_at: START,
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

async fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let come = async {
        while !is_true() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let come = tokio::time::timeout(PATIENCE, come).await;
    come.unwrap_or_else(|_| panic!("in {PATIENCE:?} never: {what}"));
}

/// Until the carrier has seen the world as it is now: the look that is under way may be older.
async fn looked(carrier: &CarrierHandle) {
    let before = carrier.counters().looks;
    eventually("two more looks", || carrier.counters().looks >= before + 2).await;
}

fn temporary() -> SendError {
    SendError::Temporary("later".to_owned())
}

#[test]
fn letters_go_out_once_and_are_gone() {
    run(async {
        let office = Office::open().await;
        office.put_many(0..100).await;
        let carrier = office.start();
        eventually("all are sent", || carrier.counters().sent == 100).await;
        looked(&carrier).await;
        let mut taken = office.taken();
        taken.sort_unstable();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        assert_eq!(office.waiting().await, 0);
        let counters = carrier.counters();
        assert_eq!(
            (counters.failed, counters.dropped, counters.waiting),
            (0, 0, 0)
        );
        carrier.stop().await;
    });
}

#[test]
fn who_has_waited_longest_goes_first() {
    run(async {
        let mut office = Office::open().await;
        office.options.parallel_max = 1;
        for (id, micros) in [(3, 30), (1, 10), (5, 20), (4, 20), (2, 5)] {
            let next_at = Timestamp::from_micros(micros);
            office
                .put(NewLetter {
                    next_at,
                    ..letter(id)
                })
                .await;
        }
        let carrier = office.start();
        eventually("all are sent", || carrier.counters().sent == 5).await;
        assert_eq!(office.taken(), [2, 1, 4, 5, 3]);
        carrier.stop().await;
    });
}

#[test]
fn four_letters_are_under_way_at_a_time() {
    run(async {
        let office = Office::open().await;
        office.put_many(0..12).await;
        office.transport.hold();
        let carrier = office.start();
        eventually("four are under way", || office.transport.under_way() == 4).await;
        office.transport.release();
        eventually("all are sent", || carrier.counters().sent == 12).await;
        assert_eq!(office.transport.under_way_most(), 4);
        carrier.stop().await;
    });
}

#[test]
fn a_bell_wakes_a_carrier_that_would_sleep_for_long() {
    run(async {
        let mut office = Office::open().await;
        office.options.look_every = PATIENCE * 10;
        let carrier = office.start();
        eventually("the first look", || carrier.counters().looks == 1).await;
        for id in 1..=3 {
            office.put(letter(id)).await;
            carrier.ring();
            eventually("it is sent", || office.transport.calls() as u128 == id).await;
        }
        carrier.stop().await;
    });
}

#[test]
fn a_letter_that_fails_waits_for_its_turn() {
    run(async {
        let office = Office::open().await;
        office.transport.plan((0..4).map(|_| temporary()));
        office.put(letter(1)).await;
        let carrier = office.start();
        for (round, secs) in [1, 5, 30, 120].into_iter().enumerate() {
            let calls = || office.transport.calls();
            eventually("a try", || carrier.counters().failed == round as u64 + 1).await;
            office.clock.advance(Span::from_millis(secs * 1_000 - 1));
            looked(&carrier).await;
            assert_eq!(calls(), round + 1, "too early by a millisecond");
            office.clock.advance(Span::from_millis(1));
        }
        eventually("it is sent", || carrier.counters().sent == 1).await;
        looked(&carrier).await;
        assert_eq!((office.transport.calls(), office.waiting().await), (5, 0));
        carrier.stop().await;
    });
}

#[test]
fn a_letter_that_keeps_failing_is_given_up_when_its_code_is_dead() {
    run(async {
        let office = Office::open().await;
        office.transport.plan((0..99).map(|_| temporary()));
        office.put(letter(1)).await;
        let carrier = office.start();
        for tries in 1..=5 {
            eventually("a try", || office.transport.calls() >= tries).await;
            looked(&carrier).await;
            office.clock.advance(Span::from_secs(121));
        }
        // Its next turn would be after its end.
        eventually("it is given up", || carrier.counters().dropped == 1).await;
        assert_eq!((office.waiting().await, office.taken()), (0, vec![]));
        carrier.stop().await;
    });
}

#[test]
fn a_letter_that_is_refused_for_good_is_given_up_at_once() {
    run(async {
        let office = Office::open().await;
        office
            .transport
            .plan([SendError::Permanent("550".to_owned())]);
        office.put(letter(1)).await;
        let carrier = office.start();
        eventually("it is given up", || carrier.counters().dropped == 1).await;
        looked(&carrier).await;
        assert_eq!((office.transport.calls(), office.waiting().await), (1, 0));
        carrier.stop().await;
    });
}

#[test]
fn what_can_reach_nobody_is_given_up_without_a_try() {
    run(async {
        let office = Office::open().await;
        let made = office
            .database
            .insert_account_for_letters(NOBODY, None)
            .await;
        made.expect("an account");
        let day = Span::from_secs(24 * 60 * 60);
        let old = Timestamp::from_micros(START.as_micros() - 1);
        let no_address = Envelope {
            to: "no address".to_owned(),
            language: Language::English,
            letter: Letter::PasswordChanged {},
        };
        let hopeless = [
            NewLetter {
                expires_at: START,
                ..letter(1)
            },
            NewLetter {
                expires_at: old,
                ..letter(2)
            },
            NewLetter {
                account: NOBODY,
                ..letter(3)
            },
            NewLetter {
                account: BuyerId::new(99),
                ..letter(4)
            },
            NewLetter {
                letter: b"no JSON".to_vec(),
                ..letter(5)
            },
            NewLetter {
                letter: no_address.to_json(),
                ..letter(6)
            },
        ];
        for letter in hopeless {
            office.put(letter).await;
        }
        let carrier = office.start();
        eventually("all are given up", || carrier.counters().dropped == 6).await;
        // Three days are enough for any letter.
        office.clock.advance(day);
        office.clock.advance(day);
        office.clock.advance(day);
        office
            .put(NewLetter {
                expires_at: Timestamp::MAX,
                ..letter(7)
            })
            .await;
        eventually("it is given up", || carrier.counters().dropped == 7).await;
        assert_eq!((office.transport.calls(), office.waiting().await), (0, 0));
        carrier.stop().await;
    });
}

#[test]
fn after_a_crash_a_letter_comes_to_its_turn_with_the_same_name() {
    run(async {
        let mut office = Office::open().await;
        office.options.stop_grace = Duration::ZERO;
        office.put(letter(1)).await;
        office.transport.hold();
        let carrier = office.start();
        eventually("it is under way", || office.transport.under_way() == 1).await;
        // It ends between the claim and the delete.
        carrier.stop().await;
        office.transport.release();
        assert_eq!(office.waiting().await, 1);

        let carrier = office.start();
        looked(&carrier).await;
        office.clock.advance(Span::from_millis(15_999));
        looked(&carrier).await;
        assert_eq!(
            office.transport.calls(),
            1,
            "the other one may be sending still"
        );
        office.clock.advance(Span::from_millis(1));
        eventually("it is sent", || carrier.counters().sent == 1).await;
        looked(&carrier).await;
        assert_eq!((office.taken(), office.waiting().await), (vec![1], 0));
        carrier.stop().await;
    });
}

#[test]
fn two_carriers_send_each_letter_once() {
    run(async {
        let office = Office::open().await;
        office.put_many(0..80).await;
        let carriers = [office.start(), office.start()];
        let sent = || carriers.iter().map(|it| it.counters().sent).sum::<u64>();
        eventually("all are sent", || sent() == 80).await;
        for carrier in &carriers {
            looked(carrier).await;
            carrier.stop().await;
        }
        let mut taken = office.taken();
        taken.sort_unstable();
        assert_eq!(taken, (0..80).collect::<Vec<_>>());
    });
}

#[test]
fn a_letter_that_makes_the_opener_panic_holds_up_no_other() {
    run(async {
        let office = Office::open().await;
        office.put_many(0..9).await;
        let mut parts = office.parts();
        parts.open = Arc::new(|letter| {
            assert!(letter.id != 4, "planned");
            Envelope::from_json(&letter.letter)
        });
        let carrier = Carrier::start(parts);
        eventually("the others are sent", || carrier.counters().sent == 8).await;
        looked(&carrier).await;
        let counters = carrier.counters();
        assert_eq!((counters.failed, counters.waiting), (1, 1));
        carrier.stop().await;
    });
}

#[test]
fn stopping_finishes_the_letter_in_hand_and_takes_no_other() {
    run(async {
        let mut office = Office::open().await;
        office.options.parallel_max = 1;
        office.options.stop_grace = PATIENCE;
        office.put_many(0..3).await;
        office.transport.hold();
        let carrier = office.start();
        eventually("one is under way", || office.transport.under_way() == 1).await;
        let stopping = tokio::spawn({
            let carrier = carrier.clone();
            async move { carrier.stop().await }
        });
        eventually("it is asked", || carrier.shared.is_asked_to_stop()).await;
        office.transport.release();
        stopping.await.expect("an end");
        assert_eq!((office.taken(), office.waiting().await), (vec![0], 2));
        // A carrier that has ended can be asked again.
        carrier.stop().await;
        carrier.ring();
    });
}

#[test]
fn stopping_does_not_wait_for_a_server_that_hangs() {
    run(async {
        let mut office = Office::open().await;
        office.options.stop_grace = Duration::from_millis(5);
        office.put_many(0..6).await;
        office.transport.hold();
        let carrier = office.start();
        eventually("four are under way", || office.transport.under_way() == 4).await;
        let stopped = tokio::time::timeout(PATIENCE, carrier.stop()).await;
        stopped.expect("an end");
        eventually("they are left", || office.transport.under_way() == 0).await;
        assert_eq!((office.waiting().await, office.taken()), (6, vec![]));
    });
}

/// Lines of a log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

static SECOND_SUBSCRIBER: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default()));

impl Log {
    /// Keeps what this thread says for as long as the guard lives.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        // With one subscriber alone, tracing asks the thread that meets a call site first whether anybody listens there;
        // a thread of another test would say for this one that nobody does.
        LazyLock::force(&SECOND_SUBSCRIBER);
        tracing::subscriber::set_default(subscriber)
    }

    fn lines(&self, wanted: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().clone()).expect("text");
        let lines = text.lines().filter(|line| line.contains(wanted));
        lines.map(str::to_owned).collect()
    }
}

#[test]
fn a_dead_server_costs_one_line_when_it_goes_and_one_when_it_is_back() {
    let log = Log::default();
    let listening = log.listen();
    run(async {
        let office = Office::open().await;
        office.transport.set_away(true);
        office.put_many(0..200).await;
        let carrier = office.start();
        eventually("it is away", || carrier.counters().is_away).await;
        for _ in 0..5 {
            looked(&carrier).await;
        }
        let tries = carrier.counters().failed;
        let looks = carrier.counters().looks;
        // At first as many as may be under way, then one a look.
        assert!(tries <= looks + 4, "{tries} tries in {looks} looks");
        assert_eq!(
            (carrier.counters().waiting, office.waiting().await),
            (200, 200)
        );

        office.transport.set_away(false);
        office.clock.advance(Span::from_secs(60));
        eventually("all are sent", || carrier.counters().sent == 200).await;
        looked(&carrier).await;
        assert!(!carrier.counters().is_away);
        let mut taken = office.taken();
        taken.sort_unstable();
        assert_eq!(taken, (0..200).collect::<Vec<_>>());
        carrier.stop().await;
    });
    drop(listening);
    assert_eq!(log.lines("WARN").len(), 1, "{:?}", log.lines("WARN"));
    assert_eq!(log.lines("memory takes letters again").len(), 1);
}

#[test]
fn what_is_given_up_is_told_once_and_without_the_person() {
    let log = Log::default();
    let listening = log.listen();
    run(async {
        let office = Office::open().await;
        office
            .transport
            .plan([SendError::Permanent("refused with 550".to_owned())]);
        office
            .put(letter(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abc))
            .await;
        let carrier = office.start();
        eventually("it is given up", || carrier.counters().dropped == 1).await;
        carrier.stop().await;
    });
    drop(listening);
    let told = log.lines("given up");
    assert_eq!(told.len(), 1, "{told:?}");
    for wanted in [
        "01923456-789a-7bcd-8ef0-123456789abc",
        "00000000-0000-0000-0000-000000000007",
        "refused with 550",
    ] {
        assert!(told[0].contains(wanted), "{told:?}");
    }
    assert!(log.lines("mina").is_empty());
}

#[test]
fn expired_letters_are_cleared_away_while_the_server_is_dead() {
    run(async {
        let office = Office::open().await;
        office.transport.set_away(true);
        office.put_many(0..20).await;
        let carrier = office.start();
        eventually("it is away", || carrier.counters().is_away).await;
        office.clock.advance(Span::from_secs(601));
        eventually("all are given up", || carrier.counters().dropped == 20).await;
        assert_eq!(office.waiting().await, 0);
        carrier.stop().await;
    });
}

#[test]
fn a_server_that_refuses_one_letter_is_there() {
    run(async {
        let office = Office::open().await;
        office.transport.plan((0..30).map(|_| temporary()));
        office.put_many(0..40).await;
        let carrier = office.start();
        eventually("the others are sent", || carrier.counters().sent == 10).await;
        assert_eq!(carrier.counters().failed, 30);
        assert!(!carrier.counters().is_away);
        carrier.stop().await;
    });
}
