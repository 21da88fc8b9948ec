//! Letters on their way through SQL.

use std::sync::Arc;
use std::time::Duration;

use super::store::{execute, on_each_engine};
use crate::clock::ManualClock;
use crate::domain::{BuyerId, Timestamp};
use crate::gateways::mail::memory::MemoryTransport;
use crate::mail::{Carrier, CarrierOptions, CarrierParts, Envelope, Language, Letter};
use crate::persistence::database::{Database, DueLetter, Error, LETTERS_MAX, NewLetter, Outbox};

const MINA: BuyerId = BuyerId::new(7);

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn letter(id: u128, next_at: u64) -> NewLetter {
    NewLetter {
        id,
        account: MINA,
        // No text: SQL must not take it for one.
        letter: vec![0xff, 0, 0x27, u8::try_from(id % 256).expect("a byte")],
        next_at: at(next_at),
        expires_at: at(900),
        created_at: at(5),
    }
}

async fn put(database: &Database, letters: &[NewLetter]) {
    for letter in letters {
        let put = database.insert_letter(letter.clone()).await;
        put.expect("a letter");
    }
}

async fn due_ids(database: &Database, now: u64) -> Vec<u128> {
    let due = database
        .due_letters(Outbox::Accounts, at(now), 100)
        .await
        .expect("letters");
    due.iter().map(|letter| letter.id).collect()
}

#[test]
fn a_letter_comes_out_as_it_was_put_in() {
    on_each_engine(async |store| {
        let database = &store.database;
        let key = [0, 0xff, 1];
        let made = database.insert_account_for_letters(MINA, Some(&key)).await;
        made.expect("an account");
        let new = letter(u128::MAX, 10);
        put(database, std::slice::from_ref(&new)).await;
        let expected = DueLetter {
            outbox: Outbox::Accounts,
            id: new.id,
            account: MINA,
            data_key: Some(key.to_vec()),
            letter: new.letter.clone(),
            tries: 0,
            expires_at: new.expires_at,
            created_at: new.created_at,
        };
        let due = database
            .due_letters(Outbox::Accounts, at(10), 9)
            .await
            .expect("letters");
        assert_eq!(due, [expected]);
        let again = database.insert_letter(new).await;
        assert!(matches!(again, Err(Error::Taken)), "{again:?}");
    });
}

#[test]
fn a_letter_without_an_account_or_without_its_key_comes_out_too() {
    on_each_engine(async |store| {
        let erased = BuyerId::new(8);
        let made = store
            .database
            .insert_account_for_letters(erased, None)
            .await;
        made.expect("an account");
        let of_erased = NewLetter {
            account: erased,
            ..letter(2, 10)
        };
        put(&store.database, &[letter(1, 10), of_erased]).await;
        let due = store
            .database
            .due_letters(Outbox::Accounts, at(10), 9)
            .await
            .expect("letters");
        let seen: Vec<_> = due.iter().map(|it| (it.id, it.data_key.clone())).collect();
        assert_eq!(seen, [(1, None), (2, None)]);
    });
}

#[test]
fn who_has_waited_longest_comes_first() {
    on_each_engine(async |store| {
        let database = &store.database;
        let letters = [
            letter(3, 30),
            letter(2, 10),
            letter(5, 20),
            letter(4, 20),
            letter(1, 31),
        ];
        put(database, &letters).await;
        assert_eq!(due_ids(database, 30).await, [2, 4, 5, 3]);
        assert_eq!(due_ids(database, 9).await, Vec::<u128>::new());
        let two = database
            .due_letters(Outbox::Accounts, at(99), 2)
            .await
            .expect("letters");
        assert_eq!(two.iter().map(|it| it.id).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(
            database
                .count_letters(Outbox::Accounts)
                .await
                .expect("a number"),
            5
        );
        // The end of time is the end of signed time.
        put(
            database,
            &[NewLetter {
                next_at: Timestamp::MAX,
                ..letter(6, 0)
            }],
        )
        .await;
        assert!(!due_ids(database, 99).await.contains(&6));
        let all = database
            .due_letters(Outbox::Accounts, Timestamp::MAX, u32::MAX)
            .await;
        assert_eq!(all.expect("letters").len(), 6);
        const { assert!(LETTERS_MAX >= 100) };
    });
}

#[test]
fn of_two_carriers_one_gets_the_letter() {
    on_each_engine(async |store| {
        let database = &store.database;
        put(database, &[letter(1, 10), letter(2, 10)]).await;
        let claims = (0..8).map(|_| database.claim_letter(Outbox::Accounts, 1, 0, at(50)));
        let claims = futures_util::future::join_all(claims).await;
        let won = claims.into_iter().filter(|it| matches!(it, Ok(true)));
        assert_eq!(won.count(), 1);
        assert_eq!(due_ids(database, 49).await, [2]);
        let due = database
            .due_letters(Outbox::Accounts, at(50), 9)
            .await
            .expect("letters");
        let seen: Vec<_> = due.iter().map(|it| (it.id, it.tries)).collect();
        assert_eq!(seen, [(2, 0), (1, 1)]);
        let stale = database.claim_letter(Outbox::Accounts, 1, 0, at(60)).await;
        assert!(!stale.expect("an answer"));
        assert!(
            database
                .claim_letter(Outbox::Accounts, 1, 1, at(60))
                .await
                .expect("an answer")
        );
    });
}

#[test]
fn a_letter_is_put_off_by_whoever_has_taken_it() {
    on_each_engine(async |store| {
        let database = &store.database;
        put(database, &[letter(1, 10)]).await;
        assert!(
            database
                .claim_letter(Outbox::Accounts, 1, 0, at(50))
                .await
                .expect("an answer")
        );
        let stale = database
            .put_off_letter(Outbox::Accounts, 1, 0, at(20))
            .await;
        assert!(!stale.expect("an answer"));
        // To the same time as well: it is the letter that counts, not the change.
        for _ in 0..2 {
            let put_off = database
                .put_off_letter(Outbox::Accounts, 1, 1, at(20))
                .await;
            assert!(put_off.expect("an answer"));
        }
        assert_eq!(due_ids(database, 20).await, [1]);
    });
}

/// What is put in about orders is put in by the notices; here a copy stands for it.
async fn move_to_orders(store: &super::store::Store) {
    for statement in [
        "INSERT INTO order_outbox SELECT * FROM mail_outbox",
        "DELETE FROM mail_outbox",
    ] {
        execute(&store.address, statement.to_owned()).await;
    }
}

#[test]
fn of_letters_about_orders_those_go_first_that_are_soon_of_no_use() {
    on_each_engine(async |store| {
        let database = &store.database;
        let ends = [(1, 300), (2, 100), (3, 200), (4, 50)];
        for (id, end) in ends {
            let letter = NewLetter {
                expires_at: at(end),
                ..letter(id, u64::try_from(id).expect("small") * 10)
            };
            put(database, &[letter]).await;
        }
        move_to_orders(store).await;
        put(database, &[letter(9, 1)]).await;
        let due = async |outbox| {
            let due = database.due_letters(outbox, at(35), 9).await;
            let due = due.expect("letters").into_iter();
            due.map(|it| (it.outbox, it.id)).collect::<Vec<_>>()
        };
        // The fourth ends first, but its turn has not come.
        let orders = [2, 3, 1].map(|id| (Outbox::Orders, id));
        assert_eq!(due(Outbox::Orders).await, orders);
        assert_eq!(due(Outbox::Accounts).await, [(Outbox::Accounts, 9)]);
        assert!(
            !database
                .delete_letter(Outbox::Accounts, 2)
                .await
                .expect("an answer")
        );
        assert!(
            database
                .delete_letter(Outbox::Orders, 2)
                .await
                .expect("an answer")
        );
        let count = database.count_letters(Outbox::Orders).await;
        assert_eq!(count.expect("a number"), 3);
    });
}

#[test]
fn a_code_does_not_wait_behind_letters_about_orders() {
    on_each_engine(async |store| {
        let database = &store.database;
        let made = database
            .insert_account_for_letters(MINA, Some(b"key"))
            .await;
        made.expect("an account");
        let envelope = Envelope {
            to: "mina@mail.example".to_owned(),
            language: Language::English,
            letter: Letter::PasswordChanged {},
        };
        let sealed = |id| NewLetter {
            letter: envelope.to_json(),
            ..letter(id, 10)
        };
        for id in 0..200 {
            put(database, &[sealed(id)]).await;
        }
        move_to_orders(store).await;
        let transport = MemoryTransport::default();
        transport.hold();
        let carrier = Carrier::start(CarrierParts {
            database: database.clone(),
            transport: Arc::new(transport.clone()),
            clock: Arc::new(ManualClock::at(at(10))),
            open: Arc::new(|letter| Envelope::from_json(&letter.letter)),
            from: "no-reply@shop.example".parse().expect("a sender"),
            options: CarrierOptions {
                look_every: Duration::from_millis(2),
                ..CarrierOptions::default()
            },
        });
        eventually(|| transport.under_way() == 4).await;
        // It comes when all carriers have their hands full with the sale.
        put(database, &[sealed(1_000)]).await;
        transport.release();
        eventually(|| carrier.counters().sent == 201).await;
        let name = uuid::Uuid::from_u128(1_000).to_string();
        let place = transport.taken().iter().position(|message| {
            let id = message.headers().get_raw("Message-ID").expect("an id");
            id.contains(&name)
        });
        // Behind those of one look, and those that went out at the same time.
        assert!(
            place.expect("it went out") < 16 + 4,
            "it waited for {place:?} others"
        );
        carrier.stop().await;
    });
}

#[test]
fn a_letter_that_is_gone_is_gone() {
    on_each_engine(async |store| {
        let database = &store.database;
        put(database, &[letter(1, 10), letter(2, 10)]).await;
        assert!(
            database
                .delete_letter(Outbox::Accounts, 1)
                .await
                .expect("an answer")
        );
        assert!(
            !database
                .delete_letter(Outbox::Accounts, 1)
                .await
                .expect("an answer")
        );
        let claimed = database.claim_letter(Outbox::Accounts, 1, 0, at(50)).await;
        assert!(!claimed.expect("an answer"));
        assert_eq!(due_ids(database, 10).await, [2]);
        assert_eq!(
            database
                .count_letters(Outbox::Accounts)
                .await
                .expect("a number"),
            1
        );
    });
}

/// Until the carrier has met the absence of its table, or its return.
async fn eventually(mut is_true: impl FnMut() -> bool) {
    let come = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let come = tokio::time::timeout(Duration::from_secs(60), come).await;
    come.expect("it never came");
}

#[test]
fn an_outbox_that_is_missing_for_a_while_costs_no_letter() {
    on_each_engine(async |store| {
        let database = &store.database;
        let made = database
            .insert_account_for_letters(MINA, Some(b"key"))
            .await;
        made.expect("an account");
        let envelope = Envelope {
            to: "mina@mail.example".to_owned(),
            language: Language::English,
            letter: Letter::PasswordChanged {},
        };
        let letters: Vec<NewLetter> = (0..20)
            .map(|id| NewLetter {
                letter: envelope.to_json(),
                ..letter(id, 10)
            })
            .collect();
        put(database, &letters).await;
        let transport = MemoryTransport::default();
        transport.hold();
        let carrier = Carrier::start(CarrierParts {
            database: database.clone(),
            transport: Arc::new(transport.clone()),
            clock: Arc::new(ManualClock::at(at(10))),
            open: Arc::new(|letter| Envelope::from_json(&letter.letter)),
            from: "no-reply@shop.example".parse().expect("a sender"),
            options: CarrierOptions {
                look_every: Duration::from_millis(2),
                ..CarrierOptions::default()
            },
        });
        eventually(|| transport.under_way() == 4).await;
        let rename = |from, to| format!("ALTER TABLE {from} RENAME TO {to}");
        execute(&store.address, rename("mail_outbox", "away")).await;
        // Four are sent and cannot be deleted; the others cannot be claimed.
        transport.release();
        eventually(|| carrier.counters().sent == 4).await;
        assert_eq!(carrier.counters().looks, 0, "it looked at what is away");
        execute(&store.address, rename("away", "mail_outbox")).await;
        eventually(|| carrier.counters().sent == 20).await;
        let looks = carrier.counters().looks;
        eventually(|| carrier.counters().looks >= looks + 2).await;
        assert_eq!(transport.taken().len(), 20, "one went out twice");
        assert_eq!(
            database
                .count_letters(Outbox::Accounts)
                .await
                .expect("a number"),
            0
        );
        carrier.stop().await;
    });
}
