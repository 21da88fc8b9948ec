//! Letters about orders, from the journal into the outbox: each once, whatever happens on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::shop::Shop;
use super::store::{Store, execute, on_each_engine};
use crate::accounts::vault::Vault;
use crate::accounts::{account_with_address, open_letter};
use crate::calendar::ShopCalendar;
use crate::clock::ManualClock;
use crate::domain::*;
use crate::gateways::mail::memory::MemoryTransport;
use crate::mail::{
    Carrier, CarrierHandle, CarrierOptions, CarrierParts, Envelope, Language, Letter,
};
use crate::notices::{LettersPlace, Notices, NoticesParts, PACE, StopReason};
use crate::persistence::codec;
use crate::persistence::database::{Account, Database, Outbox};
use crate::persistence::following::{Options, Progress};
use crate::persistence::journal::{Batch, Journal, MemoryJournal, Position};
use crate::persistence::projection::Projector;
use crate::secrets::{Secrets, SecretsOptions};

const PATIENCE: Duration = Duration::from_secs(60);

/// Each event by itself, so that none says another's news.
fn one_by_one() -> Options {
    Options {
        batch_records_max: 1,
        idle: Duration::from_millis(1),
        batch_timeout: Duration::from_secs(5),
        retry_pause_min: Duration::from_millis(2),
        retry_pause_max: Duration::from_millis(10),
        rush_rest: 0,
        ..PACE
    }
}

fn all_at_once() -> Options {
    Options {
        batch_records_max: 20_000,
        ..one_by_one()
    }
}

/// A shop with its rows, its people and its journal, and what letters are written with.
struct Office<'a> {
    store: &'a Store,
    shop: Shop,
    journal: MemoryJournal,
    vault: Vault,
    carrier: CarrierHandle,
    projected: Progress,
    waiting_max: u64,
    _secrets: TempDir,
}

impl<'a> Office<'a> {
    /// Buyers 0 to 9 have an account of their own, the others have none.
    async fn open(store: &'a Store, shop: Shop) -> Self {
        let secrets = tempfile::tempdir().expect("a directory");
        let options = SecretsOptions::of_data_dir(secrets.path());
        let vault = Vault::new(&Secrets::open(&options).expect("secrets"));
        for id in 0..10 {
            let language = match id % 2 {
                0 => Language::English,
                _ => Language::Korean,
            };
            let account = account_with_address(&vault, BuyerId::new(id), language);
            create(&store.database, account).await;
        }
        let mut journal = MemoryJournal::new();
        append(&mut journal, &shop.events);
        let mut projector = Projector::open(&store.database).await.expect("a projector");
        projector.apply_events(&shop.batch()).await.expect("rows");
        Self {
            carrier: stopped_carrier(&store.database).await,
            projected: Progress::new(journal.position()),
            store,
            shop,
            journal,
            vault,
            waiting_max: u64::MAX,
            _secrets: secrets,
        }
    }

    async fn place(&self) -> LettersPlace {
        let place =
            LettersPlace::find(&self.store.database, self.journal.view(), Position::ZERO).await;
        place.expect("a place")
    }

    async fn start(&self, pace: Options) -> Notices {
        self.start_at(self.place().await, pace)
    }

    fn start_at(&self, place: LettersPlace, pace: Options) -> Notices {
        let parts = NoticesParts {
            database: self.store.database.clone(),
            vault: self.vault.clone(),
            carrier: self.carrier.clone(),
            // No letter of a history that begins in 1970 comes too late.
            clock: Arc::new(ManualClock::at(Timestamp::ZERO)),
            calendar: ShopCalendar::in_zone("Asia/Seoul").expect("a zone"),
            projected: self.projected.clone(),
            waiting_max: self.waiting_max,
        };
        Notices::start(place, parts, pace).expect("notices")
    }

    async fn end_of(&self, notices: &Notices) {
        let arrived = notices.progress().wait_for(self.journal.position());
        let arrived = tokio::time::timeout(PATIENCE, arrived).await;
        arrived.expect("it takes too long").expect("it ended");
    }

    /// Every letter in the outbox, opened, as `order kind` or `buyer kind units`, with how often it is there.
    async fn told(&self) -> BTreeMap<String, usize> {
        let mut told = BTreeMap::new();
        for envelope in self.envelopes().await {
            *told.entry(word(&envelope)).or_default() += 1;
        }
        told
    }

    async fn envelopes(&self) -> Vec<Envelope> {
        let mut envelopes = Vec::new();
        let database = &self.store.database;
        // Behind a claim of each page comes the next.
        loop {
            let due = database.due_letters(Outbox::Orders, Timestamp::ZERO, 500);
            let due = due.await.expect("letters");
            if due.is_empty() {
                return envelopes;
            }
            for letter in due {
                let envelope = open_letter(&self.vault, &letter).expect("it opens");
                let id = letter.account.get();
                assert_eq!(envelope.to, format!("somebody.{id}@mail.example"));
                envelopes.push(envelope);
                let later = Timestamp::from_micros(1);
                let claimed = database.claim_letter(Outbox::Orders, letter.id, 0, later);
                assert!(claimed.await.expect("an answer"));
            }
        }
    }

    /// The same, worked out from the events alone.
    fn expected(&self, from: usize) -> BTreeMap<String, usize> {
        let mut expected = BTreeMap::new();
        for event in &self.shop.events[from..] {
            for word in self.expected_of(event).into_iter().chain(offers_of(event)) {
                *expected.entry(word).or_default() += 1;
            }
        }
        expected
    }

    fn expected_of(&self, event: &Event) -> Option<String> {
        let (order, kind) = match event {
            Event::OrderPlaced(placed) => (placed.order, "order_held"),
            Event::OrderChanged {
                order,
                change,
                postings,
                ..
            } => (*order, kind(change, postings.is_empty())?),
            Event::ProductChanged { .. } | Event::WaitlistChanged { .. } => return None,
        };
        let known = &self.shop.orders[&order];
        let is_over = !matches!(known.state, OrderState::Held | OrderState::Paying);
        let has_account = known.buyer < BuyerId::new(10);
        (has_account && !(kind == "order_held" && is_over)).then(|| format!("{order} {kind}"))
    }
}

fn kind(change: &OrderChange, keeps_units: bool) -> Option<&'static str> {
    Some(match change {
        OrderChange::PaymentCaptured { .. } | OrderChange::PaymentReclaimed { .. } => "order_paid",
        OrderChange::Expired => "order_expired",
        OrderChange::Cancelled | OrderChange::RefundStarted { .. } => "order_cancelled",
        OrderChange::PaymentDeclined { .. } if !keeps_units => "order_cancelled",
        OrderChange::PaymentReturned { .. } if !keeps_units => "order_cancelled",
        OrderChange::PaymentUnfulfilled { .. } | OrderChange::PaymentReturned { .. } => {
            "payment_returned"
        }
        OrderChange::Refunded { .. } => "order_refunded",
        OrderChange::Shipped { .. } => "order_shipped",
        _ => return None,
    })
}

/// To those who have an account.
fn offers_of(event: &Event) -> Vec<String> {
    let Event::WaitlistChanged {
        change: WaitlistChange::Offered { offers, .. },
        ..
    } = event
    else {
        return Vec::new();
    };
    let known = offers.iter().filter(|(buyer, _)| *buyer < BuyerId::new(10));
    known
        .map(|(buyer, units)| format!("{} waitlist_offer {}", buyer.get(), units.get()))
        .collect()
}

fn word(envelope: &Envelope) -> String {
    let letter = &envelope.letter;
    let order = match letter {
        Letter::WaitlistOffer {
            product, quantity, ..
        } => {
            assert!(product.starts_with("램프 "), "{product}");
            let buyer = envelope.to.trim_start_matches("somebody.");
            let buyer = buyer.trim_end_matches("@mail.example");
            return format!("{buyer} waitlist_offer {quantity}");
        }
        Letter::OrderHeld { order, .. }
        | Letter::OrderPaid { order }
        | Letter::OrderExpired { order }
        | Letter::OrderCancelled { order, .. }
        | Letter::PaymentReturned { order, .. }
        | Letter::OrderRefunded { order, .. }
        | Letter::OrderShipped { order, .. } => order,
        other => panic!("{other:?} is about no order"),
    };
    assert!(!order.lines.is_empty(), "an order without lines");
    assert!(
        order
            .lines
            .iter()
            .all(|line| line.product.starts_with("램프 "))
    );
    let sum: i64 = order.lines.iter().map(|line| line.price.amount).sum();
    assert_eq!(order.total.amount, sum);
    format!("{} {}", order.id, letter.kind())
}

/// Only to be rung: it carries nothing any more.
async fn stopped_carrier(database: &Database) -> CarrierHandle {
    let carrier = Carrier::start(CarrierParts {
        database: database.clone(),
        transport: Arc::new(MemoryTransport::default()),
        clock: Arc::new(ManualClock::at(Timestamp::ZERO)),
        open: Arc::new(|_| Err("nothing is opened here".to_owned())),
        from: "no-reply@shop.example".parse().expect("a sender"),
        options: CarrierOptions::default(),
    });
    carrier.stop().await;
    carrier
}

async fn create(database: &Database, account: Account) {
    database.create_account(account).await.expect("an account");
}

fn append(journal: &mut MemoryJournal, events: &[Event]) {
    for events in events.chunks(50) {
        let mut batch = Batch::new();
        for event in events {
            batch
                .push_with(|out| codec::encode(event, out))
                .expect("room");
        }
        journal.append(&batch).expect("a batch");
    }
}

async fn eventually(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    let come = async {
        while !is_true().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let come = tokio::time::timeout(PATIENCE, come).await;
    come.unwrap_or_else(|_| panic!("in {PATIENCE:?} never: {what}"));
}

#[test]
fn each_event_is_told_once_to_those_who_have_an_address() {
    on_each_engine(async |store| {
        let office = Office::open(store, Shop::after(50, 4_000)).await;
        let notices = office.start(one_by_one()).await;
        office.end_of(&notices).await;
        notices.stop().expect("an end");
        let told = office.told().await;
        assert_eq!(told, office.expected(0));
        for kind in [
            "held",
            "paid",
            "expired",
            "cancelled",
            "refunded",
            "shipped",
            "returned",
            "offer",
        ] {
            assert!(told.keys().any(|it| it.contains(kind)), "no {kind}");
        }
    });
}

#[test]
fn what_is_interrupted_again_and_again_is_told_once() {
    on_each_engine(async |store| {
        let office = Office::open(store, Shop::after(51, 900)).await;
        let last = office.journal.position();
        let mut rounds = 0;
        loop {
            let notices = office.start(one_by_one()).await;
            tokio::time::sleep(Duration::from_millis(30 + rounds % 7)).await;
            let stopped = notices.progress().position();
            notices.stop().expect("an end");
            rounds += 1;
            if stopped == last {
                break;
            }
        }
        assert!(rounds > 2, "{rounds} rounds interrupt nothing");
        assert_eq!(office.told().await, office.expected(0));
    });
}

#[test]
fn an_outbox_that_is_missing_for_a_while_costs_no_letter_and_doubles_none() {
    on_each_engine(async |store| {
        let office = Office::open(store, Shop::after(52, 900)).await;
        let rename = |from, to| format!("ALTER TABLE {from} RENAME TO {to}");
        let notices = office.start(one_by_one()).await;
        for table in ["order_outbox", "followers", "accounts"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
            execute(&store.address, rename(table, "away")).await;
            eventually("it notices", async || notices.progress().is_away()).await;
            execute(&store.address, rename("away", table)).await;
            eventually("it goes on", async || !notices.progress().is_away()).await;
        }
        office.end_of(&notices).await;
        notices.stop().expect("an end");
        assert_eq!(office.told().await, office.expected(0));
    });
}

/// All events in one batch: the letters are written in several transactions.
#[test]
fn of_many_events_at_once_each_order_is_told_how_it_stands() {
    on_each_engine(async |store| {
        let office = Office::open(store, Shop::after(53, 9_000)).await;
        let notices = office.start(all_at_once()).await;
        office.end_of(&notices).await;
        notices.stop().expect("an end");
        let told = office.told().await;
        let expected = office.expected(0);
        assert!(told.len() > 400, "{} letters fit into one part", told.len());
        for (word, times) in &told {
            assert!(times <= &expected[word], "{word} is told too often");
        }
        for order in office.shop.orders.values() {
            let is_told = |kind: &str| told.contains_key(&format!("{} {kind}", order.id));
            let kind = match order.state {
                OrderState::Held | OrderState::Paying => "order_held",
                OrderState::Paid => "order_paid",
                OrderState::Shipped => "order_shipped",
                OrderState::Refunding => "order_cancelled",
                OrderState::PaidUnfulfilled => "payment_returned",
                OrderState::Refunded => "order_refunded",
                _ => continue,
            };
            assert_eq!(
                is_told(kind),
                order.buyer < BuyerId::new(10),
                "{} is {:?}",
                order.id,
                order.state
            );
        }
    });
}

#[test]
fn nobody_is_told_of_the_past_nor_of_what_happened_while_letters_were_off() {
    on_each_engine(async |store| {
        let office = Office::open(store, Shop::after(54, 600)).await;
        let half = Position::new(office.journal.position().get() / 2);
        let find = async || {
            let place = LettersPlace::find(&store.database, office.journal.view(), half).await;
            place.expect("a place")
        };
        let notices = office.start_at(find().await, one_by_one());
        office.end_of(&notices).await;
        notices.stop().expect("an end");
        assert_eq!(office.told().await, office.expected(half.get() as usize));
        // Once begun, it goes on where it was, wherever SQL stands.
        let known = find().await.progress().position();
        assert_eq!(known, office.journal.position());
        store.database.forget_notices().await.expect("turned off");
        assert_eq!(find().await.progress().position(), half);
    });
}

#[test]
fn letters_wait_behind_the_rows_they_are_made_from() {
    on_each_engine(async |store| {
        let mut office = Office::open(store, Shop::after(55, 300)).await;
        let half = Position::new(office.journal.position().get() / 2);
        office.projected = Progress::new(half);
        let notices = office.start(one_by_one()).await;
        notices.progress().wait_for(half).await.expect("the half");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(notices.progress().position(), half);
        office.projected.skip_to(office.journal.position(), 0);
        office.end_of(&notices).await;
        notices.stop().expect("an end");
        assert_eq!(office.told().await, office.expected(0));
    });
}

#[test]
fn a_full_outbox_makes_letters_wait_and_drops_none() {
    on_each_engine(async |store| {
        let mut office = Office::open(store, Shop::after(56, 900)).await;
        office.waiting_max = 10;
        let notices = office.start(one_by_one()).await;
        let database = &store.database;
        let count = async || {
            database
                .count_letters(Outbox::Orders)
                .await
                .expect("a number")
        };
        let mut told = BTreeMap::new();
        let mut rounds = 0;
        while notices.progress().position() < office.journal.position() {
            eventually("it is full or done", async || {
                let is_done = notices.progress().position() == office.journal.position();
                is_done || count().await == 10 && notices.progress().is_away()
            })
            .await;
            rounds += 1;
            // Somebody sends them all.
            for (word, times) in office.told().await {
                *told.entry(word).or_default() += times;
            }
            execute(&store.address, "DELETE FROM order_outbox".to_owned()).await;
        }
        notices.stop().expect("an end");
        for (word, times) in office.told().await {
            *told.entry(word).or_default() += times;
        }
        assert!(rounds > 3, "{rounds} rounds: it was never full");
        assert_eq!(told, office.expected(0));
    });
}

#[test]
fn records_that_the_journal_has_let_go_are_left_out_and_counted() {
    on_each_engine(async |store| {
        let mut office = Office::open(store, Shop::after(57, 400)).await;
        let place = office.place().await;
        let half = office.journal.position().get() / 2;
        // The record of the position stays.
        office.journal.release_through(Position::new(half + 1));
        // It is told so while it reads,
        let notices = office.start_at(place, one_by_one());
        office.end_of(&notices).await;
        assert_eq!(notices.progress().counters().skipped, half);
        notices.stop().expect("an end");
        assert_eq!(office.told().await, office.expected(half as usize));
        // or already when it begins.
        store.database.forget_notices().await.expect("turned off");
        let place = office.place().await;
        assert_eq!(place.progress().position(), Position::new(half));
        assert_eq!(place.progress().counters().skipped, half);
    });
}

#[test]
fn a_record_that_cannot_be_read_ends_the_notices_with_its_number() {
    on_each_engine(async |store| {
        let mut office = Office::open(store, Shop::after(58, 50)).await;
        let good = office.journal.position();
        let mut batch = Batch::new();
        batch.push_with(|out| out.extend([99, 1, 2])).expect("room");
        office.journal.append(&batch).expect("a batch");
        office.projected = Progress::new(office.journal.position());
        let notices = office.start(one_by_one()).await;
        let progress = notices.progress().clone();
        let ended = tokio::time::timeout(PATIENCE, progress.wait_for(good.next())).await;
        assert!(ended.expect("it takes too long").is_err());
        let Err(StopReason::Record(unreadable)) = notices.stop() else {
            panic!("it ended otherwise");
        };
        assert_eq!(unreadable.position, good.next());
    });
}

#[test]
fn who_was_erased_suspended_or_never_verified_gets_no_letter() {
    on_each_engine(async |store| {
        let office = Office::open(store, Shop::after(59, 600)).await;
        let now = Timestamp::from_micros(1);
        let erase =
            "UPDATE accounts SET data_key = NULL, email = NULL, erased_at = 1 WHERE id = X'";
        let suspend = "UPDATE accounts SET suspended_at = 1 WHERE id = X'";
        let doubt = "UPDATE accounts SET verified_at = NULL WHERE id = X'";
        for (id, act) in [(1, erase), (2, suspend), (3, doubt)] {
            execute(&store.address, format!("{act}{id:032X}'")).await;
        }
        // A buyer of a load test is there, and has no address.
        let nameless = Account::nameless(BuyerId::new(15), "buyer", now);
        create(&store.database, nameless).await;
        let notices = office.start(one_by_one()).await;
        office.end_of(&notices).await;
        notices.stop().expect("an end");
        let buyers = |told: BTreeMap<String, usize>| -> std::collections::BTreeSet<u128> {
            let buyer = |word: &String| {
                let id = word.split(' ').next().expect("an order or a buyer");
                if let Ok(buyer) = id.parse() {
                    return buyer;
                }
                let id: uuid::Uuid = id.parse().expect("an id");
                office.shop.orders[&OrderId::new(id.as_u128())].buyer.get()
            };
            told.keys().map(buyer).collect()
        };
        assert_eq!(
            buyers(office.told().await).into_iter().collect::<Vec<_>>(),
            [0, 4, 5, 6, 7, 8, 9]
        );
        assert!(buyers(office.expected(0)).contains(&1), "they did order");
    });
}
