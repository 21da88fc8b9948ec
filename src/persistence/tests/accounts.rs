//! Accounts, sessions, codes, addresses, letters and the log of events, on each engine.

use std::sync::Arc;

use super::store::{Store, execute, on_each_engine};
use crate::domain::{BuyerId, ProductId, Quantity, Timestamp};
use crate::persistence::database::*;

const KIM: BuyerId = BuyerId::new(1);
const LEE: BuyerId = BuyerId::new(2);
const CODE: [u8; 32] = [9; 32];

const fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn account(id: BuyerId, name: u8, email: u8) -> Account {
    Account {
        username_index: Some([name; 32]),
        email_index: Some([email; 32]),
        password_hash: Some("secret".into()),
        sealed: Sealed {
            data_key: Some(vec![name; 60].into()),
            ..Sealed::default()
        },
        verified_at: None,
        ..Account::nameless(id, "buyer", at(100))
    }
}

fn verified(id: BuyerId, name: u8, email: u8) -> Account {
    Account {
        verified_at: Some(at(100)),
        ..account(id, name, email)
    }
}

fn admin(id: BuyerId) -> Account {
    Account::nameless(id, "admin", at(100))
}

fn code(account: BuyerId) -> NewCode {
    NewCode {
        account,
        purpose: Purpose::Verify,
        code_hash: CODE,
        created_at: at(100),
        expires_at: at(1_000),
    }
}

fn letter(account: BuyerId, id: u128) -> NewLetter {
    NewLetter {
        id,
        account,
        letter: vec![7; 40],
        next_at: at(100),
        expires_at: at(1_000),
        created_at: at(100),
    }
}

fn session(id: u128, account: BuyerId) -> Session {
    Session {
        id,
        account,
        token_hash: [1; 32],
        created_at: at(100),
        used_at: at(100),
        expires_at: at(1_000),
        revoked_at: None,
    }
}

fn event(act: &'static str) -> AccountEvent {
    AccountEvent {
        at: at(200),
        act,
        actor: Some(KIM),
        account: Some(LEE),
        client: Some(3),
        request: None,
        detail: Some("a few words".into()),
    }
}

/// Not a keyed hash, but as sensitive to every byte.
fn chain() -> Chain {
    use sha2::{Digest, Sha256};
    Arc::new(|before, row| {
        Sha256::new()
            .chain_update(before)
            .chain_update(row)
            .finalize()
            .into()
    })
}

async fn make(store: &Store, account: Account) {
    store
        .database
        .create_account(account)
        .await
        .expect("an account");
}

async fn open(store: &Store, session: Session) {
    make_if_missing(store, session.account).await;
    let opened = store.database.open_session(session, 0).await;
    assert!(opened.expect("an answer"));
}

async fn make_if_missing(store: &Store, id: BuyerId) {
    let account = Account::nameless(id, "buyer", at(100));
    let made = store.database.create_accounts(vec![account]);
    made.await.expect("an account");
}

async fn sign_up(store: &Store, account: Account, letter_id: u128) -> SignedUp {
    let (code, letter) = (code(account.id), letter(account.id, letter_id));
    let signed_up = store.database.sign_up(account, code, letter, at(50));
    signed_up.await.expect("an answer")
}

#[test]
fn a_name_and_an_address_have_one_account_and_come_back_as_they_were() {
    on_each_engine(async |store| {
        let database = &store.database;
        make(store, verified(KIM, 1, 1)).await;
        for taken in [
            verified(KIM, 2, 2),
            verified(LEE, 1, 2),
            verified(LEE, 2, 1),
        ] {
            let refused = database.create_account(taken).await;
            assert!(matches!(refused, Err(Error::Taken)), "{refused:?}");
        }
        for nameless in [2, 3] {
            make(
                store,
                Account::nameless(BuyerId::new(nameless), "buyer", at(100)),
            )
            .await;
        }
        let kim = Some(verified(KIM, 1, 1));
        assert_eq!(database.account(KIM).await.expect("a read"), kim);
        assert_eq!(
            database.account_by_username([1; 32]).await.expect("a read"),
            kim
        );
        assert_eq!(
            database.account_by_email([1; 32]).await.expect("a read"),
            kim
        );
        assert_eq!(
            database.account_by_email([9; 32]).await.expect("a read"),
            None
        );
        assert!(!format!("{kim:?}").contains("secret"));
    });
}

#[test]
fn many_accounts_are_made_at_once_and_old_ones_stay() {
    on_each_engine(async |store| {
        make(store, admin(BuyerId::new(7))).await;
        let buyer = |id| Account::nameless(BuyerId::new(id), "buyer", at(1));
        for _ in 0..2 {
            let made = store
                .database
                .create_accounts((1..=1_300).map(buyer).collect());
            made.await.expect("accounts");
        }
        let of = async |id| {
            store
                .database
                .account(BuyerId::new(id))
                .await
                .expect("a read")
        };
        assert_eq!(of(1_300).await, Some(buyer(1_300)));
        assert_eq!(of(1_301).await, None);
        assert_eq!(of(7).await, Some(admin(BuyerId::new(7))));
    });
}

#[test]
fn an_unverified_account_gives_way_to_its_address_and_in_time_to_its_name() {
    on_each_engine(async |store| {
        let database = &store.database;
        assert!(matches!(
            sign_up(store, account(KIM, 1, 1), 1).await,
            SignedUp::Made
        ));
        let same_name = sign_up(store, account(LEE, 1, 2), 2).await;
        assert!(
            matches!(same_name, SignedUp::UsernameTaken),
            "{same_name:?}"
        );
        let same_address = sign_up(store, account(LEE, 2, 1), 3).await;
        assert!(matches!(same_address, SignedUp::Made), "{same_address:?}");
        assert_eq!(database.account(KIM).await.expect("a read"), None);
        // The other one's name is free again, and given up after its time.
        let waiting = Account {
            created_at: at(10),
            ..account(BuyerId::new(3), 1, 3)
        };
        assert!(matches!(sign_up(store, waiting, 4).await, SignedUp::Made));
        let later = sign_up(store, account(BuyerId::new(4), 1, 4), 5).await;
        assert!(matches!(later, SignedUp::Made), "{later:?}");
    });
}

#[test]
fn a_verified_account_gives_way_to_nobody() {
    on_each_engine(async |store| {
        make(store, verified(KIM, 1, 1)).await;
        let same_name = sign_up(store, account(LEE, 1, 2), 1).await;
        assert!(
            matches!(same_name, SignedUp::UsernameTaken),
            "{same_name:?}"
        );
        let SignedUp::AddressKnown(known) = sign_up(store, account(LEE, 2, 1), 2).await else {
            panic!("the address is known");
        };
        assert_eq!(*known, verified(KIM, 1, 1));
        let count = store
            .database
            .count_letters(Outbox::Accounts)
            .await
            .expect("a count");
        assert_eq!(count, 0, "nothing was written");
    });
}

#[test]
fn two_sign_ups_at_once_for_one_name_make_one_account() {
    on_each_engine(async |store| {
        let one = sign_up(store, account(KIM, 1, 1), 1);
        let two = sign_up(store, account(LEE, 1, 2), 2);
        let (one, two) = tokio::join!(one, two);
        let made = [&one, &two]
            .iter()
            .filter(|it| matches!(it, SignedUp::Made))
            .count();
        assert_eq!(made, 1, "{one:?} {two:?}");
    });
}

#[test]
fn a_code_is_good_once_in_its_time_and_after_four_mistakes() {
    on_each_engine(async |store| {
        let database = &store.database;
        let verify = async |account, hash, now| {
            let verified = database.verify_email(account, hash, at(now));
            verified.await.expect("an answer")
        };
        sign_up(store, account(KIM, 1, 1), 1).await;
        for _ in 1..CODE_TRIES_MAX {
            assert!(!verify(KIM, [0; 32], 200).await);
        }
        assert!(!verify(LEE, CODE, 200).await, "a code is of one account");
        assert!(!verify(KIM, CODE, 1_000).await, "its time is over");
        assert!(verify(KIM, CODE, 999).await);
        assert!(!verify(KIM, CODE, 999).await, "it is used");
        let kim = database.account(KIM).await.expect("a read").expect("Kim");
        assert_eq!(kim.verified_at, Some(at(999)));

        sign_up(store, account(LEE, 2, 2), 2).await;
        for _ in 0..CODE_TRIES_MAX {
            assert!(!verify(LEE, [0; 32], 200).await);
        }
        assert!(!verify(LEE, CODE, 200).await, "too many mistakes");
        database
            .send_code(code(LEE), letter(LEE, 3))
            .await
            .expect("sent");
        assert!(verify(LEE, CODE, 200).await, "a new code, new tries");
        assert_eq!(
            database
                .remove_expired_codes(at(2_000))
                .await
                .expect("swept"),
            0
        );
    });
}

#[test]
fn a_code_used_twice_at_once_is_good_once() {
    on_each_engine(async |store| {
        sign_up(store, account(KIM, 1, 1), 1).await;
        let verify = || store.database.verify_email(KIM, CODE, at(200));
        let (one, two) = tokio::join!(verify(), verify());
        let good = [one, two]
            .into_iter()
            .filter(|it| matches!(it, Ok(true)))
            .count();
        assert_eq!(good, 1);
    });
}

#[test]
fn a_refresh_token_is_exchanged_once() {
    on_each_engine(async |store| {
        let database = &store.database;
        open(store, session(5, KIM)).await;
        let rotate = |old: u8, new: u8| database.rotate_session(5, [old; 32], [new; 32], at(200));
        let (one, two) = tokio::join!(rotate(1, 2), rotate(1, 3));
        assert!(one.expect("an answer") ^ two.expect("an answer"));
        let kept = database
            .session(5)
            .await
            .expect("a read")
            .expect("the session");
        assert_eq!(kept.used_at, at(200));
        assert!(
            database
                .revoke_session(5, at(300))
                .await
                .expect("an answer")
        );
        assert!(
            !database
                .revoke_session(5, at(301))
                .await
                .expect("an answer")
        );
        let hash = kept.token_hash[0];
        assert!(!rotate(hash, 4).await.expect("an answer"), "it is revoked");
        let revoked = database
            .sessions_revoked_since(at(299))
            .await
            .expect("a read");
        assert_eq!(revoked, [(5, at(300))]);
        assert_eq!(
            database
                .remove_ended_sessions(at(300))
                .await
                .expect("swept"),
            0
        );
        assert_eq!(
            database
                .remove_ended_sessions(at(301))
                .await
                .expect("swept"),
            1
        );
    });
}

#[test]
fn a_session_does_not_outlive_what_ended_access_before_it() {
    on_each_engine(async |store| {
        let database = &store.database;
        make(store, verified(KIM, 1, 1)).await;
        open(store, session(5, KIM)).await;
        let suspended = database.suspend(KIM, at(200), chain(), event("suspended"));
        suspended.await.expect("an answer");
        for epoch in [0, 1] {
            let opened = database.open_session(session(6, KIM), epoch).await;
            assert!(!opened.expect("an answer"), "suspended");
        }
        let reinstated = database.reinstate(KIM, at(300), chain(), event("reinstated"));
        reinstated.await.expect("an answer");
        let stale = database.open_session(session(6, KIM), 0).await;
        assert!(!stale.expect("an answer"), "checked before");
        let fresh = database.open_session(session(6, KIM), 2).await;
        assert!(fresh.expect("an answer"));
        let nobody = database.open_session(session(7, LEE), 0).await;
        assert!(!nobody.expect("an answer"));
    });
}

#[test]
fn a_new_password_ends_the_other_sessions_and_is_told() {
    on_each_engine(async |store| {
        let database = &store.database;
        make(store, verified(KIM, 1, 1)).await;
        for id in [5, 6] {
            open(store, session(id, KIM)).await;
        }
        open(store, session(7, LEE)).await;
        let new = |id| NewPassword {
            account: KIM,
            hash: "new".into(),
            kept_session: Some(5),
            letter: letter(KIM, id),
            now: at(200),
        };
        let change = async |old: &str, id| {
            let changed = database.change_password(old.into(), new(id), chain(), event("changed"));
            changed.await.expect("an answer")
        };
        assert_eq!(change("secret", 1).await, Some(1));
        assert_eq!(change("secret", 2).await, None, "it is another one by now");
        let revoked = database
            .sessions_revoked_since(at(0))
            .await
            .expect("a read");
        assert_eq!(revoked, [(6, at(200))]);
        assert_eq!(
            database
                .count_letters(Outbox::Accounts)
                .await
                .expect("a count"),
            1
        );
        let events = database.account_events(u64::MAX, 10).await.expect("a read");
        assert_eq!(events.len(), 1, "what did not happen is not in the log");
        let standings = database.standings_since(at(199)).await.expect("a read");
        assert_eq!(standings.len(), 1);
        assert_eq!((standings[0].epoch, standings[0].suspended), (1, false));
    });
}

#[test]
fn a_reset_needs_its_own_code() {
    on_each_engine(async |store| {
        let database = &store.database;
        make(store, verified(KIM, 1, 1)).await;
        let reset = async |hash, id| {
            let new = NewPassword {
                account: KIM,
                hash: "new".into(),
                kept_session: None,
                letter: letter(KIM, id),
                now: at(200),
            };
            let reset = database.reset_password(hash, new, chain(), event("reset"));
            reset.await.expect("an answer")
        };
        database
            .send_code(code(KIM), letter(KIM, 1))
            .await
            .expect("sent");
        assert_eq!(
            reset(CODE, 2).await,
            None,
            "that code is for something else"
        );
        let purpose = Purpose::Reset;
        let code = NewCode {
            purpose,
            ..code(KIM)
        };
        database
            .send_code(code, letter(KIM, 3))
            .await
            .expect("sent");
        for mistake in 0..3 {
            assert_eq!(reset([mistake; 32], 4).await, None);
        }
        assert_eq!(reset(CODE, 5).await, Some(1));
        assert_eq!(reset(CODE, 6).await, None);
        let kim = database.account(KIM).await.expect("a read").expect("Kim");
        assert_eq!(kim.password_hash.as_deref(), Some("new"));
    });
}

#[test]
fn the_last_admin_stays_one() {
    on_each_engine(async |store| {
        let database = &store.database;
        make(store, admin(KIM)).await;
        make(store, admin(LEE)).await;
        let to = |id, role| database.set_role(id, role, at(200), chain(), event("role"));
        let suspend = |id| database.suspend(id, at(200), chain(), event("suspended"));
        let erase = |id| database.erase_account(id, at(200), chain(), event("erased"));
        let changed = AccessChange::Changed { epoch: 1 };
        assert_eq!(suspend(LEE).await.expect("an answer"), changed);
        assert_eq!(
            to(KIM, "buyer").await.expect("an answer"),
            AccessChange::LastAdmin
        );
        assert_eq!(
            suspend(KIM).await.expect("an answer"),
            AccessChange::LastAdmin
        );
        assert_eq!(
            erase(KIM).await.expect("an answer"),
            AccessChange::LastAdmin
        );
        assert_eq!(
            to(KIM, "admin").await.expect("an answer"),
            AccessChange::Unchanged
        );
        let nobody = to(BuyerId::new(9), "buyer").await.expect("an answer");
        assert_eq!(nobody, AccessChange::NoSuchAccount);
        let reinstated = database.reinstate(LEE, at(200), chain(), event("reinstated"));
        assert_eq!(
            reinstated.await.expect("an answer"),
            AccessChange::Changed { epoch: 2 }
        );
        let (one, two) = tokio::join!(to(KIM, "buyer"), to(LEE, "buyer"));
        let outcomes = [one.expect("an answer"), two.expect("an answer")];
        assert!(outcomes.contains(&AccessChange::LastAdmin), "{outcomes:?}");
        let events = database.account_events(u64::MAX, 10).await.expect("a read");
        assert_eq!(events.len(), 3, "what was refused is not in the log");
    });
}

#[test]
fn an_erased_account_keeps_its_id_and_nothing_else() {
    on_each_engine(async |store| {
        let database = &store.database;
        make(store, verified(KIM, 1, 1)).await;
        open(store, session(5, KIM)).await;
        database
            .send_code(code(KIM), letter(KIM, 1))
            .await
            .expect("sent");
        let added = database.add_address(version(1, 10), false, 20).await;
        assert_eq!(added.expect("an answer"), AddedAddress::Added);
        let (lamp, two) = (ProductId::new(3), Quantity::new(2).expect("a quantity"));
        let wished = database.put_wish(KIM, lamp, two, at(150), 20).await;
        assert!(matches!(wished, Ok(PutWish::Added(_))), "{wished:?}");
        let erased = database.erase_account(KIM, at(200), chain(), event("erased"));
        assert_eq!(
            erased.await.expect("an answer"),
            AccessChange::Changed { epoch: 1 }
        );
        let kim = database
            .account(KIM)
            .await
            .expect("a read")
            .expect("the row");
        assert_eq!(
            (kim.sealed, kim.username_index, kim.email_index),
            (Sealed::default(), None, None)
        );
        assert_eq!((kim.password_hash, kim.erased_at), (None, Some(at(200))));
        assert_eq!(database.session(5).await.expect("a read"), None);
        assert_eq!(
            database
                .count_letters(Outbox::Accounts)
                .await
                .expect("a count"),
            0
        );
        assert!(
            database
                .address_versions(vec![10])
                .await
                .expect("a read")
                .is_empty()
        );
        assert_eq!(database.wishes(KIM).await.expect("a read"), []);
        let late = database.put_wish(KIM, lamp, two, at(201), 20).await;
        assert_eq!(late.expect("an answer"), PutWish::NoSuchAccount);
        let again = database.erase_account(KIM, at(200), chain(), event("erased"));
        assert_eq!(again.await.expect("an answer"), AccessChange::NoSuchAccount);
        make(store, verified(LEE, 1, 1)).await;
    });
}

#[test]
fn data_keys_are_exchanged_only_if_unchanged() {
    on_each_engine(async |store| {
        let database = &store.database;
        make(store, verified(KIM, 1, 1)).await;
        make(store, Account::nameless(LEE, "buyer", at(1))).await;
        let all = database
            .data_keys(BuyerId::default(), 10)
            .await
            .expect("a page");
        assert_eq!(all, [(KIM, vec![1; 60])]);
        assert!(
            database
                .data_keys(KIM, 10)
                .await
                .expect("a page")
                .is_empty()
        );
        let replace =
            |old: u8, new: u8| database.replace_data_key(KIM, vec![old; 60], vec![new; 60]);
        assert!(replace(1, 2).await.expect("an answer"));
        assert!(!replace(1, 3).await.expect("an answer"));
    });
}

fn version(address: u128, id: u128) -> NewVersion {
    NewVersion {
        id,
        address,
        account: KIM,
        content: vec![5; 30],
        created_at: at(100),
    }
}

#[test]
fn an_address_changes_by_versions_and_one_is_the_default() {
    on_each_engine(async |store| {
        let database = &store.database;
        make(store, verified(KIM, 1, 1)).await;
        let default = async || {
            database
                .account(KIM)
                .await
                .expect("a read")
                .expect("Kim")
                .default_address
        };
        for (address, id) in [(1, 10), (2, 20)] {
            let added = database.add_address(version(address, id), false, 2).await;
            assert_eq!(added.expect("an answer"), AddedAddress::Added);
        }
        assert_eq!(default().await, Some(1), "the first one");
        let full = database.add_address(version(3, 30), true, 2).await;
        assert_eq!(full.expect("an answer"), AddedAddress::TooMany);
        let before = database
            .address(KIM, 2)
            .await
            .expect("a read")
            .expect("there");
        assert_eq!(database.address(LEE, 2).await.expect("a read"), None);
        let change = |id| database.change_address(before.clone(), Some(version(2, id)), true);
        assert!(change(21).await.expect("an answer"));
        assert!(
            !change(22).await.expect("an answer"),
            "it says something else by now"
        );
        assert_eq!(default().await, Some(2));
        let versions = database
            .address_versions(vec![20, 21, 22])
            .await
            .expect("a read");
        assert_eq!(versions.len(), 2, "what it said before can still be read");
        assert!(!database.remove_address(LEE, 2).await.expect("an answer"));
        assert!(database.remove_address(KIM, 2).await.expect("an answer"));
        assert_eq!(default().await, Some(1), "the oldest of the others");
        let left = database.addresses(KIM).await.expect("a read");
        assert_eq!(left.iter().map(|it| it.id).collect::<Vec<_>>(), [1]);
    });
}

#[test]
fn the_log_of_events_shows_what_was_changed_or_lost() {
    on_each_engine(async |store| {
        let database = &store.database;
        let check = || database.check_account_events(chain());
        assert_eq!(check().await.expect("a read"), None);
        for act in ["one", "two", "three"] {
            let events = vec![event(act), event("again")];
            database
                .append_account_events(chain(), events)
                .await
                .expect("written");
        }
        assert_eq!(check().await.expect("a read"), None);
        let newest = database.account_events(4, 2).await.expect("a read");
        let acts: Vec<(u64, &str)> = newest.iter().map(|it| (it.sequence, &*it.act)).collect();
        assert_eq!(acts, [(3, "two"), (2, "again")]);
        let run = |statement: &str| execute(&store.address, statement.to_owned());
        run("UPDATE account_events SET detail = 'other words' WHERE sequence = 4").await;
        assert_eq!(check().await.expect("a read"), Some(4));
        run("DELETE FROM account_events WHERE sequence = 2").await;
        assert_eq!(check().await.expect("a read"), Some(2));
    });
}

#[test]
fn events_that_come_at_once_are_numbered_without_gaps() {
    on_each_engine(async |store| {
        let append = |_| {
            store
                .database
                .append_account_events(chain(), vec![event("noted")])
        };
        let written = futures_util::future::join_all((0..20).map(append)).await;
        assert!(written.into_iter().all(|it| it.is_ok()));
        let check = store.database.check_account_events(chain()).await;
        assert_eq!(check.expect("a read"), None);
        let all = store.database.account_events(u64::MAX, 100).await;
        assert_eq!(all.expect("a read").len(), 20);
    });
}
