use std::collections::{BTreeMap, HashSet};

use parking_lot::Mutex;
use proptest::prelude::*;
use tempfile::TempDir;

use super::rotate::{Rotated, WrappedKeys, finish, rotate};
use super::*;
use crate::secrets::{IndexKey, KeyId, SecretsOptions, append_key};

const EMAIL: SealedPlace = SealedPlace {
    table: "accounts",
    column: "email",
    row: 7,
};

fn owner(id: u128) -> BuyerId {
    BuyerId::new(id)
}

/// Secrets that were made for the test, in a directory of its own.
fn vault() -> (TempDir, SecretsOptions, Vault) {
    let directory = TempDir::new().expect("a directory");
    let options = SecretsOptions::of_data_dir(directory.path());
    let vault = Vault::new(&Secrets::open(&options).expect("secrets"));
    (directory, options, vault)
}

/// Fixed secrets: what they make must be made and opened for ever.
fn golden() -> Vault {
    let seal = "c0ffee01:yAMR/1oMLIUHPfpjtBXwBR9NpgKVWNUiRL9uCd42jxo=";
    let options = SecretsOptions {
        token_keys: Some(seal.to_owned().into()),
        seal_keys: Some(seal.to_owned().into()),
        index_key: Some(
            "Go823gluv0Qi1ViVAqZNHwXwFbRj+j0HhSwMWv8RA8g="
                .to_owned()
                .into(),
        ),
        ..SecretsOptions::default()
    };
    Vault::new(&Secrets::open(&options).expect("secrets"))
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter(|it| !it.is_whitespace())
        .map(|it| it.to_digit(16).expect("a hex digit") as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn why<T: fmt::Debug>(result: Result<T, Damaged>) -> Why {
    result.expect_err("damaged").why
}

const WRAPPED: &str = "01c0ffee010102030405060708090a0b0c00bec25baaec0c6630d77514010c9d8b9b88f4490b2be7d487dfa0d5060ef6 \
    9b9d2e25c898303b78e3bb102286653b069bb42f03";
const SEALED: &str = "01da7a000115161718191a1b1c1d1e1f2033fcc4de78229c52df5fa31721d2fa14a8d665d6f984da42fb6429a67fee83";

#[test]
fn what_was_sealed_by_the_first_release_opens_today() {
    let key = golden()
        .unwrap(owner(7), &bytes_of(WRAPPED))
        .expect("the data key");
    let plain = key.open(EMAIL, &bytes_of(SEALED)).expect("the address");
    assert_eq!(plain.as_slice(), b"ada@example.com");
}

#[test]
fn hashes_of_the_first_release_are_found_today() {
    let vault = golden();
    let hashes = [
        hex(&vault.index(Index::Username, "ada")),
        hex(&vault.index(Index::Email, "ada")),
        hex(&vault.code_hash("verify_email", owner(7), "123456")),
        hex(&vault.token_hash(&[7; 32])),
        hex(&vault.client_hash("192.0.2.7")),
        hex(&vault.event_mac(&[0; 32], b"a row")),
    ];
    assert_eq!(hashes, HASHES);
}

const HASHES: [&str; 6] = [
    "d5325ca8b2b3ff384aa7998cbedcc09b4522083103ac62848b8668d5b366561d",
    "84fa5c25b8bc79bf74ff60f9de93cfb9c4642c6ca1d6141da22036ed3cef6e2c",
    "e7cd02d21dacc9672e4ac490ee496e8da7a53031a239fe187e63d894755c40c3",
    "f904fcd5e25ea57a805c2f39abf18ef948fc7805b6730756121ff5468cb18632",
    "be9fe768b9cf8ec16dcd52c7efe9302b",
    "0e3174fa4f0dfb0f3c463af3fa1e7027e040a22cdf23bd20645be123050f3864",
];

proptest! {
    #[test]
    fn what_is_sealed_opens(plain: Vec<u8>, row: u128) {
        let key = DataKey::random();
        let place = SealedPlace { row, ..EMAIL };
        let sealed = key.seal(place, &plain);
        prop_assert_eq!(sealed.len(), plain.len() + 33);
        prop_assert_eq!(key.open(place, &sealed).map(|it| it.to_vec()), Ok(plain));
    }

    #[test]
    fn another_place_does_not_open(plain: Vec<u8>, row: u128, other: u128) {
        let key = DataKey::random();
        let place = SealedPlace { row, ..EMAIL };
        let sealed = key.seal(place, &plain);
        let mut elsewhere = vec![
            SealedPlace { table: "account", ..place },
            SealedPlace { table: "accountse", column: "mail", ..place },
            SealedPlace { table: "accounts.email", column: "", ..place },
            SealedPlace { column: "name", ..place },
            SealedPlace { column: "emai", ..place },
            SealedPlace { column: "", ..place },
        ];
        if other != row {
            elsewhere.push(SealedPlace { row: other, ..place });
        }
        for place in elsewhere {
            prop_assert_eq!(why(key.open(place, &sealed)), Why::ChangedBytes);
        }
    }

    #[test]
    fn anything_that_was_never_sealed_does_not_open(noise: Vec<u8>) {
        prop_assert!(DataKey::random().open(EMAIL, &noise).is_err());
        prop_assert!(golden().unwrap(owner(7), &noise).is_err());
    }
}

#[test]
fn a_flipped_bit_anywhere_is_damage() {
    let vault = golden();
    let (key, wrapped) = vault.new_data_key(owner(7));
    let sealed = key.seal(EMAIL, b"ada@example.com");
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(key.open(EMAIL, &changed).is_err(), "bit {bit}");
    }
    for bit in 0..wrapped.len() * 8 {
        let mut changed = wrapped.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(
            vault.unwrap(owner(7), &changed).is_err(),
            "wrapped bit {bit}"
        );
    }
}

#[test]
fn a_cut_or_prolonged_one_is_damage() {
    let key = DataKey::random();
    let sealed = key.seal(EMAIL, b"ada@example.com");
    for length in 0..sealed.len() {
        assert!(
            key.open(EMAIL, &sealed[..length]).is_err(),
            "{length} bytes"
        );
    }
    let longer = [&sealed[..], &[0]].concat();
    assert_eq!(why(key.open(EMAIL, &longer)), Why::ChangedBytes);
}

#[test]
fn damage_says_where_and_why_and_never_what() {
    let (one, other) = (DataKey::random(), DataKey::random());
    let sealed = one.seal(EMAIL, b"ada@example.com");
    let mut newer = sealed.clone();
    newer[0] = 2;
    let mut nameless = sealed.clone();
    nameless[1..5].fill(0);
    let cases = [
        (other.open(EMAIL, &sealed), "which is not at hand"),
        (one.open(EMAIL, &newer), "version 2 is not known"),
        (one.open(EMAIL, &[]), "too short"),
        (one.open(EMAIL, &sealed[..32]), "too short"),
        (
            one.open(EMAIL, &vec![1; PLAIN_BYTES_MAX + 34]),
            "longer than anything",
        ),
        (one.open(EMAIL, &nameless), "changed"),
        (
            one.open(SealedPlace { row: 8, ..EMAIL }, &sealed),
            "belong to another place",
        ),
    ];
    for (opened, reason) in cases {
        let damaged = opened.expect_err(reason);
        let said = damaged.to_string();
        assert!(said.starts_with("accounts.email of 00000000-"), "{said}");
        assert!(said.contains(reason), "{said}");
        assert!(!said.contains("ada"), "{said}");
    }
}

#[test]
fn the_longest_text_is_sealed_and_a_longer_one_is_a_bug() {
    let key = DataKey::random();
    let longest = vec![7; PLAIN_BYTES_MAX];
    let sealed = key.seal(EMAIL, &longest);
    assert_eq!(*key.open(EMAIL, &sealed).expect("opens"), longest);
    let longer = vec![7; PLAIN_BYTES_MAX + 1];
    let sealing = std::panic::AssertUnwindSafe(|| key.seal(EMAIL, &longer));
    std::panic::catch_unwind(sealing).expect_err("refused");
}

#[test]
fn the_wrapped_keys_of_two_accounts_cannot_be_swapped() {
    let (_directory, _options, vault) = vault();
    let (key, wrapped) = vault.new_data_key(owner(1));
    let (_, other) = vault.new_data_key(owner(2));
    assert_ne!(wrapped, other);
    assert_eq!(why(vault.unwrap(owner(2), &wrapped)), Why::ChangedBytes);
    assert_eq!(why(vault.rewrap(owner(2), &wrapped)), Why::ChangedBytes);
    let again = vault.unwrap(owner(1), &wrapped).expect("its own");
    let sealed = key.seal(EMAIL, b"ada");
    assert_eq!(
        again.open(EMAIL, &sealed).expect("opens").as_slice(),
        b"ada"
    );
    // And a data key that seals in the place of data keys makes nothing that the vault takes for one.
    let planted = key.seal(SealedPlace::of_data_key(owner(1)), &key.to_plain());
    assert!(matches!(
        why(vault.unwrap(owner(1), &planted)),
        Why::OtherKey { .. }
    ));
}

#[test]
fn another_installation_does_not_open_it() {
    let (_directory, _options, vault) = vault();
    let (_, wrapped) = vault.new_data_key(owner(1));
    let refused = golden().unwrap(owner(1), &wrapped);
    assert!(matches!(why(refused), Why::OtherKey { .. }));
}

#[test]
fn a_hundred_thousand_seals_have_as_many_nonces() {
    let key = DataKey::random();
    let heads: HashSet<Vec<u8>> = (0..100_000)
        .map(|_| key.seal(EMAIL, b"")[1..17].to_vec())
        .collect();
    assert_eq!(heads.len(), 100_000);
}

#[test]
fn nothing_that_is_printed_has_a_secret_in_it() {
    let vault = golden();
    let (key, _) = vault.new_data_key(owner(1));
    assert_eq!(format!("{vault:?}"), "Vault");
    let printed = format!("{key:#?}");
    assert_eq!(printed.len(), "DataKey(12345678)".len(), "{printed}");
    assert!(
        hex(&key.to_plain()).starts_with(&printed[8..16]),
        "only its name"
    );
}

#[test]
fn each_use_has_hashes_of_its_own() {
    let vault = golden();
    let nobody = owner(0);
    let client = vault.client_hash("x");
    let hashes = [
        vault.index(Index::Username, "x"),
        vault.index(Index::Email, "x"),
        vault.index(Index::Email, ""),
        vault.code_hash("x", nobody, ""),
        vault.code_hash("", nobody, "x"),
        vault.code_hash("x", owner(1), ""),
        vault.token_hash(b"x"),
        vault.event_mac(&[0; 32], b"x"),
        vault.event_mac(&[1; 32], b"x"),
        vault.event_mac(&[0; 32], b""),
    ];
    let different: HashSet<_> = hashes.iter().collect();
    assert_eq!(different.len(), hashes.len());
    assert!(hashes.iter().all(|hash| hash[..16] != client));
}

#[test]
fn another_index_key_finds_nobody() {
    let hashes = |first| {
        let mut bytes = [3; 32];
        bytes[0] = first;
        Hashes::new(&IndexKey::from_bytes(bytes)).index(Index::Email, "ada@example.com")
    };
    assert_eq!(hashes(1), hashes(1));
    assert_ne!(hashes(1), hashes(2));
}

// -- another seal key ----------------------------------------------------------------------------------------------

/// What somebody else does to an account between reading and replacing.
type Meddle = Box<dyn FnMut(BuyerId, &mut BTreeMap<u128, Vec<u8>>) + Send>;

/// Accounts in memory.
struct Memory {
    rows: Mutex<BTreeMap<u128, Vec<u8>>>,
    meddle: Mutex<Meddle>,
    /// Replacements after which the store fails, as if the process were killed there.
    fails_after: Mutex<Option<u32>>,
}

impl Memory {
    fn of(vault: &Vault, accounts: u128) -> Self {
        let rows = (1..=accounts).map(|id| (id, vault.new_data_key(owner(id)).1));
        Self {
            rows: Mutex::new(rows.collect()),
            meddle: Mutex::new(Box::new(|_, _| {})),
            fails_after: Mutex::new(None),
        }
    }

    fn under(&self, key: KeyId) -> usize {
        let rows = self.rows.lock();
        let under = rows.values().filter(|it| sealed::key_id(it) == Ok(key));
        under.count()
    }
}

impl WrappedKeys for Memory {
    async fn page(
        &self,
        after: Option<BuyerId>,
        rows_max: usize,
    ) -> anyhow::Result<Vec<(BuyerId, Vec<u8>)>> {
        let from = after.map_or(0, |after| after.get() + 1);
        let rows = self.rows.lock();
        let page = rows.range(from..).take(rows_max);
        Ok(page
            .map(|(id, wrapped)| (owner(*id), wrapped.clone()))
            .collect())
    }

    async fn replace(&self, owner: BuyerId, old: &[u8], new: &[u8]) -> anyhow::Result<bool> {
        if let Some(left) = self.fails_after.lock().as_mut() {
            *left = left
                .checked_sub(1)
                .ok_or_else(|| anyhow::anyhow!("killed"))?;
        }
        let mut rows = self.rows.lock();
        (self.meddle.lock())(owner, &mut rows);
        match rows.get_mut(&owner.get()) {
            Some(row) if row == old => {
                *row = new.to_vec();
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

#[tokio::test]
async fn a_rotation_wraps_every_data_key_again_and_opens_what_was_sealed() {
    let (_directory, _options, vault) = vault();
    let store = Memory::of(&vault, 1_203);
    let (key, wrapped) = vault.new_data_key(owner(7));
    let sealed = key.seal(EMAIL, b"ada");
    store.rows.lock().insert(7, wrapped);
    let before = vault.seal_keys().primary().id();

    let done = rotate(&vault, &store).await.expect("rotated");
    let primary = vault.seal_keys().primary().id();
    assert_ne!(primary, before);
    let expected = Rotated {
        primary,
        rewrapped: 1_203,
        damaged: 0,
        passes: 2,
    };
    assert_eq!(done, expected);
    assert_eq!(store.under(primary), 1_203);
    let wrapped = store.rows.lock()[&7].clone();
    let key = vault.unwrap(owner(7), &wrapped).expect("the same key");
    assert_eq!(key.open(EMAIL, &sealed).expect("opens").as_slice(), b"ada");

    let again = finish(&vault, &store).await.expect("nothing to do");
    assert_eq!((again.rewrapped, again.passes), (0, 1));
}

#[tokio::test]
async fn a_running_server_reads_what_the_rotation_wrapped_and_wraps_with_the_new_key() {
    let (_directory, options, server) = vault();
    let rotating = Vault::new(&Secrets::open(&options).expect("secrets"));
    let store = Memory::of(&server, 3);
    // What it was asked for in vain a moment ago does not keep it from looking.
    let (_, foreign) = golden().new_data_key(owner(1));
    server.unwrap(owner(1), &foreign).expect_err("not its own");
    let done = rotate(&rotating, &store).await.expect("rotated");
    let wrapped = store.rows.lock()[&2].clone();
    server
        .unwrap(owner(2), &wrapped)
        .expect("it learns of the key");
    let (_, new) = server.new_data_key(owner(4));
    assert_eq!(sealed::key_id(&new), Ok(done.primary));
}

#[tokio::test]
async fn a_rotation_that_was_killed_is_finished_by_the_next() {
    let (_directory, _options, vault) = vault();
    let store = Memory::of(&vault, 700);
    *store.fails_after.lock() = Some(550);
    rotate(&vault, &store).await.expect_err("killed");
    for (id, wrapped) in store.rows.lock().iter() {
        vault
            .unwrap(owner(*id), wrapped)
            .expect("every key opens in between");
    }
    *store.fails_after.lock() = None;
    let done = finish(&vault, &store).await.expect("finished");
    assert_eq!((done.rewrapped, store.under(done.primary)), (150, 700));
    // As good: a whole new run.
    *store.fails_after.lock() = Some(10);
    rotate(&vault, &store).await.expect_err("killed");
    *store.fails_after.lock() = None;
    let done = rotate(&vault, &store).await.expect("rotated");
    assert_eq!((done.rewrapped, store.under(done.primary)), (700, 700));
}

#[tokio::test]
async fn what_a_server_does_meanwhile_is_not_lost() {
    let (_directory, _options, vault) = vault();
    let store = Memory::of(&vault, 5);
    // Drawn before the rotation, stored in the middle of it, behind the place where it reads.
    let mut late = Some(vault.new_data_key(owner(1)).1);
    *store.meddle.lock() = Box::new(move |owner, rows| {
        if owner.get() == 3 {
            rows.extend(late.take().map(|late| (1, late)));
            rows.remove(&3);
        }
    });
    let done = rotate(&vault, &store).await.expect("rotated");
    assert_eq!(
        (done.rewrapped, done.passes),
        (5, 3),
        "1, 2, 4 and 5, and 1 once more"
    );
    assert_eq!(store.under(done.primary), 4);
    assert!(
        !store.rows.lock().contains_key(&3),
        "an erased account stays erased"
    );
}

#[tokio::test]
async fn a_damaged_data_key_is_counted_and_left_as_it_is() {
    let (_directory, _options, vault) = vault();
    let store = Memory::of(&vault, 5);
    let damaged = {
        let mut rows = store.rows.lock();
        let row = rows.get_mut(&2).expect("a row");
        row[40] ^= 1;
        row.clone()
    };
    let done = rotate(&vault, &store).await.expect("rotated");
    assert_eq!((done.rewrapped, done.damaged, done.passes), (4, 1, 2));
    assert_eq!(store.rows.lock()[&2], damaged);
}

#[tokio::test]
async fn a_rotation_against_somebody_who_never_stops_gives_up() {
    let (_directory, options, vault) = vault();
    let store = Memory::of(&vault, 2);
    let old = Vault::new(&fixed(&options));
    *store.meddle.lock() = Box::new(move |owner, rows| {
        rows.insert(owner.get(), old.new_data_key(owner).1);
    });
    let error = rotate(&vault, &store).await.expect_err("no end");
    assert!(error.to_string().contains("16 passes"), "{error:#}");
}

/// The secrets as they are now, as a process has them that cannot learn of another key.
fn fixed(options: &SecretsOptions) -> Secrets {
    let text = std::fs::read_to_string(options.seal_keys_path()).expect("the keys");
    let given = text.trim().replace(' ', ":");
    let options = SecretsOptions {
        seal_keys: Some(given.into()),
        ..options.clone()
    };
    Secrets::open(&options).expect("secrets")
}

#[tokio::test]
async fn keys_from_the_environment_are_rotated_by_whoever_set_them() {
    let (_directory, options, _) = vault();
    let before = Vault::new(&fixed(&options));
    let store = Memory::of(&before, 3);
    let error = rotate(&before, &store)
        .await
        .expect_err("nowhere to append");
    assert!(error.to_string().contains("environment"), "{error:#}");
    // They add a key, restart, and finish.
    let key = append_key(&options.seal_keys_path()).expect("a new key");
    let text = std::fs::read_to_string(options.seal_keys_path()).expect("the keys");
    let list = text.trim().replace(' ', ":").replace('\n', ",");
    let options = SecretsOptions {
        seal_keys: Some(list.into()),
        ..options
    };
    let after = Vault::new(&Secrets::open(&options).expect("secrets"));
    let done = finish(&after, &store).await.expect("finished");
    assert_eq!((done.rewrapped, done.primary), (3, key));
}
