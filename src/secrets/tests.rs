use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Barrier;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::*;
use crate::clock::ManualClock;
use crate::domain::Timestamp;

/// 32 bytes that look drawn at random, different for each seed.
fn bytes(seed: u8) -> [u8; 32] {
    std::array::from_fn(|at| 200_u8.wrapping_add(seed).wrapping_mul(at as u8 * 2 + 1))
}

fn base64(seed: u8) -> String {
    STANDARD.encode(bytes(seed))
}

fn id(text: &str) -> KeyId {
    text.parse().expect("an id")
}

fn ids(ring: &KeyRing) -> Vec<String> {
    ring.iter().map(|key| key.id().to_string()).collect()
}

fn written(text: &str) -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("token.keys");
    write(&path, text);
    (directory, path)
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("the mode");
}

fn says(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

#[test]
fn the_last_key_of_a_list_is_the_primary() {
    let text = format!("0000000a:{}, 0000000b:{}", base64(1), base64(2));
    let ring = KeyRing::parse(&text).expect("a ring");
    assert_eq!(ids(&ring), ["0000000a", "0000000b"]);
    assert_eq!(ring.primary().id(), id("0000000b"));
    assert_eq!(ring.primary().bytes(), &bytes(2));
    let older = ring.get(id("0000000a")).expect("the older");
    assert_eq!(older.bytes(), &bytes(1));
    assert!(ring.get(id("0000000c")).is_none());
}

#[test]
fn a_file_may_have_comments_and_blank_lines_and_keys_without_padding() {
    let text = format!(
        "# of May\n\n0000000a {}\n  # of June\n0000000b\t{}\n\n",
        base64(1),
        base64(2).trim_end_matches('=')
    );
    let (_directory, path) = written(&text);
    let keys = LiveKeys::open(&path).expect("keys");
    assert_eq!(ids(&keys.ring()), ["0000000a", "0000000b"]);
    assert_eq!(keys.primary().bytes(), &bytes(2));
}

#[test]
fn what_is_no_key_is_refused_by_place_and_without_its_content() {
    let good = base64(1);
    let encoded = |bytes: &[u8]| STANDARD.encode(bytes);
    let cases = [
        (String::new(), KeyError::Empty),
        ("# nothing\n".into(), KeyError::Empty),
        (format!("\n{good}"), KeyError::Shape(At::Line(2))),
        (format!("0000000a:{good}"), KeyError::Shape(At::Line(1))),
        (format!("00000000 {good}"), KeyError::Id(At::Line(1))),
        (format!("0000000A {good}"), KeyError::Id(At::Line(1))),
        (format!("+000000a {good}"), KeyError::Id(At::Line(1))),
        (format!("a {good}"), KeyError::Id(At::Line(1))),
        (format!("../../ab {good}"), KeyError::Id(At::Line(1))),
        (
            format!("0000000a {good}\n# again\n0000000a {}", base64(2)),
            KeyError::Twice(At::Line(3), id("0000000a")),
        ),
        (format!("0000000a {good} {good}"), unfit(Flaw::Base64)),
        ("0000000a not*base64".into(), unfit(Flaw::Base64)),
        (
            format!("0000000a {}", encoded(&bytes(1)[..31])),
            unfit(Flaw::Length { bytes: 31 }),
        ),
        (
            format!("0000000a {}", encoded(&[&bytes(1)[..], &[7]].concat())),
            unfit(Flaw::Length { bytes: 33 }),
        ),
    ];
    for (text, expected) in cases {
        let (_directory, path) = written(&text);
        let error = LiveKeys::open(&path).expect_err(&text);
        assert_eq!(error.downcast_ref(), Some(&expected), "{text}");
        assert!(!says(&error).contains(&good[..8]), "{error:#}");
    }
}

fn unfit(flaw: Flaw) -> KeyError {
    KeyError::Unfit(At::Line(1), flaw)
}

#[test]
fn what_people_put_where_a_key_should_be_is_refused() {
    let repeated = |word: &str| -> String { word.chars().cycle().take(43).collect() };
    let of_bytes = |bytes: [u8; 32]| STANDARD.encode(bytes);
    let word = |word: &str| {
        let mut letters = word.bytes().cycle();
        of_bytes(std::array::from_fn(|_| letters.next().unwrap()))
    };
    let seven_values: [u8; 32] =
        std::array::from_fn(|at| [9, 200, 31, 4, 77, 150, 222][at * at % 7]);
    let placeholders = [
        of_bytes([0; 32]),
        of_bytes([255; 32]),
        of_bytes(seven_values),
        word("changeme"),
        word("a secret of 32 letters, and more"),
        // The word itself, taken for base64.
        repeated("changeme"),
        repeated("secret"),
        repeated("password"),
        repeated("default"),
        repeated("A"),
    ];
    for text in placeholders {
        // 43 letters may leave bits over at the end, which is not base64 either; that is another flaw.
        let decoded = STANDARD.decode(&text).is_ok();
        let flaw = IndexKey::parse(&text).expect_err(&text);
        assert!(flaw == Flaw::NotRandom || !decoded, "{text}: {flaw}");
        let list = format!("0000000a:{text}");
        let expected = KeyError::Unfit(At::Entry(1), flaw);
        assert_eq!(KeyRing::parse(&list).err(), Some(expected), "{text}");
    }
    let words: [u8; 21] = std::array::from_fn(|at| bytes(1)[at]);
    let over_and_over = of_bytes(std::array::from_fn(|at| words[at % 21]));
    assert_eq!(IndexKey::parse(&over_and_over).err(), Some(Flaw::NotRandom));
    for _ in 0..2_000 {
        let key = ring::encode(&ring::random_key());
        IndexKey::parse(&key).expect("drawn at random");
    }
}

#[test]
fn missing_files_are_made_for_their_owner_alone_and_read_again() {
    let directory = TempDir::new().expect("a directory");
    let options = SecretsOptions::of_data_dir(directory.path());
    let first = Secrets::open(&options).expect("made");
    let names: Vec<_> = first.made().iter().map(|path| path.file_name()).collect();
    assert_eq!(
        names,
        ["token.keys", "seal.keys", "index.key"].map(|name| Some(name.as_ref()))
    );
    let mode = |path: &Path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&options.dir), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(&options.dir).expect("a directory") {
        assert_eq!(mode(&entry.expect("an entry").path()), 0o600);
        files += 1;
    }
    assert_eq!(files, 3, "nothing is left over");

    let again = Secrets::open(&options).expect("read");
    assert_eq!(again.made(), [] as [PathBuf; 0]);
    let keys = |secrets: &Secrets| {
        let pair = [
            secrets.token_keys().primary(),
            secrets.seal_keys().primary(),
        ];
        pair.map(|key| *key.bytes())
    };
    assert_eq!(keys(&again), keys(&first));
    assert_eq!(again.index_key().bytes(), first.index_key().bytes());
    let [token, seal] = keys(&first);
    assert!(token != seal && seal != *first.index_key().bytes());
}

#[test]
fn of_many_that_start_together_all_use_the_same_key() {
    let directory = TempDir::new().expect("a directory");
    let options = SecretsOptions::of_data_dir(directory.path());
    let together = Barrier::new(8);
    let opened: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    together.wait();
                    let secrets = Secrets::open(&options).expect("open");
                    (
                        *secrets.token_keys().primary().bytes(),
                        *secrets.index_key().bytes(),
                    )
                })
            })
            .collect();
        starts
            .into_iter()
            .map(|it| it.join().expect("no panic"))
            .collect()
    });
    assert!(opened.iter().all(|one| *one == opened[0]));
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    for mode in [0o640, 0o604, 0o660, 0o602] {
        let (directory, path) = written(&format!("0000000a {}", base64(1)));
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("the mode");
        let options = SecretsOptions {
            dir: directory.path().to_owned(),
            ..SecretsOptions::default()
        };
        let error = Secrets::open(&options).expect_err("open to others");
        let said = says(&error);
        let all = said.contains("token.keys") && said.contains("600");
        assert!(all && said.contains(&format!("{mode:o}")), "{said}");
    }
}

#[test]
fn a_file_that_is_huge_or_not_text_is_refused() {
    let (_directory, path) = written(&"#\n".repeat(40_000));
    let error = LiveKeys::open(&path).expect_err("huge");
    assert!(says(&error).contains("65536"), "{error:#}");
    fs::write(&path, bytes(1)).expect("written");
    let error = LiveKeys::open(&path).expect_err("not text");
    assert!(says(&error).contains("base64"), "{error:#}");
}

#[test]
fn an_index_key_is_one_line() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("index.key");
    write(&path, &format!("# keep it\n{}\n", base64(3)));
    let key = IndexKey::open_or_make(&path).expect("a key");
    assert_eq!(key.bytes(), &bytes(3));
    for text in [String::new(), format!("{}\n{}\n", base64(3), base64(4))] {
        write(&path, &text);
        IndexKey::open_or_make(&path).expect_err("not one line");
    }
    write(&path, "\n\nAAAA\n");
    let error = IndexKey::open_or_make(&path).expect_err("short");
    assert!(says(&error).contains("line 3"), "{error:#}");
    assert!(!says(&error).contains("AAAA"), "{error:#}");
}

#[test]
fn what_the_environment_gives_is_used_and_not_written() {
    let directory = TempDir::new().expect("a directory");
    let given = |text: String| Some(Zeroizing::new(text));
    let options = SecretsOptions {
        dir: directory.path().join("secrets"),
        token_keys: given(format!("0000000a:{}", base64(1))),
        seal_keys: given(format!("0000000b:{}", base64(2))),
        index_key: given(base64(3)),
        ..SecretsOptions::default()
    };
    let secrets = Secrets::open(&options).expect("open");
    assert_eq!(secrets.token_keys().primary().bytes(), &bytes(1));
    assert_eq!(secrets.seal_keys().primary().bytes(), &bytes(2));
    assert_eq!(secrets.index_key().bytes(), &bytes(3));
    assert_eq!(secrets.token_keys().path(), None);
    assert!(!options.dir.exists());

    let bad = SecretsOptions {
        seal_keys: given("0000000b:c2hvcnQ=".into()),
        ..options
    };
    let error = Secrets::open(&bad).expect_err("short");
    let said = says(&error);
    assert!(
        said.contains("LAYBY_SEAL_KEYS") && said.contains("key 1"),
        "{said}"
    );
    assert!(!said.contains("c2hvcnQ"), "{said}");
}

#[test]
fn nothing_that_is_printed_has_a_key_in_it() {
    let text = format!("0000000a:{}", base64(1));
    let options = SecretsOptions {
        dir: PathBuf::from("secrets"),
        token_keys: Some(Zeroizing::new(text.clone())),
        seal_keys: Some(Zeroizing::new(text)),
        index_key: Some(Zeroizing::new(base64(1))),
        ..SecretsOptions::default()
    };
    let secrets = Secrets::open(&options).expect("open");
    let key = secrets.token_keys().primary();
    let printed = format!(
        "{options:?} {secrets:?} {key:?} {:#?}",
        secrets.token_keys().ring()
    );
    assert!(printed.contains("0000000a"), "{printed}");
    assert!(!printed.contains(&base64(1)[..10]), "{printed}");
    assert!(
        !printed.contains(&format!("{}, {}", bytes(1)[0], bytes(1)[1])),
        "{printed}"
    );
}

#[test]
fn an_appended_key_is_the_primary_and_the_rest_stays_as_it_is() {
    let text = format!("# of May\n0000000a {}", base64(1));
    let (directory, path) = written(&text);
    let keys = LiveKeys::open(&path).expect("keys");
    let new = append_key(&path).expect("appended");
    assert_eq!(
        keys.primary().id(),
        new,
        "the next use of the primary sees it"
    );
    assert_eq!(ids(&keys.ring()), ["0000000a".to_owned(), new.to_string()]);
    let after = fs::read_to_string(&path).expect("text");
    assert!(after.starts_with(&format!("{text}\n")), "comments and all");
    assert!(after.ends_with('\n'));
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let names = fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(names, 1, "nothing is left over");
}

#[test]
fn two_that_append_at_once_lose_no_key() {
    let (_directory, path) = written(&format!("0000000a {}", base64(1)));
    let added: Vec<KeyId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let one = append_key(&path).expect("appended");
                    [one, append_key(&path).expect("appended")]
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|it| it.join().expect("no panic"))
            .collect()
    });
    let ring = LiveKeys::open(&path).expect("keys").ring();
    assert_eq!(ring.iter().count(), 17);
    assert!(added.iter().all(|id| ring.get(*id).is_some()));
}

#[test]
fn a_file_that_is_missing_broken_or_full_gets_no_key() {
    let directory = TempDir::new().expect("a directory");
    let missing = directory.path().join("seal.keys");
    append_key(&missing).expect_err("missing");
    assert!(!missing.exists());
    for text in ["0000000a AAAA", ""] {
        let (_directory, path) = written(text);
        append_key(&path).expect_err("broken");
        assert_eq!(fs::read_to_string(&path).expect("text"), text);
    }
    let full: String = (1..=64)
        .map(|number| format!("{number:08x} {}\n", *ring::encode(&ring::random_key())))
        .collect();
    let (_directory, path) = written(&full);
    let error = append_key(&path).expect_err("full");
    assert!(says(&error).contains("64"), "{error:#}");
    assert_eq!(fs::read_to_string(&path).expect("text"), full);
}

const START_US: u64 = 1_000_000_000_000;

/// Keys in a file, and the clock that counts the looks.
fn watched() -> (TempDir, PathBuf, ManualClock, LiveKeys) {
    let (directory, path) = written(&format!("0000000a {}\n", base64(1)));
    let clock = ManualClock::at(Timestamp::from_micros(START_US));
    let keys = LiveKeys::open_with_clock(&path, Arc::new(clock.clone())).expect("keys");
    (directory, path, clock, keys)
}

#[test]
fn an_unknown_id_makes_it_look_at_the_file_once_a_second() {
    let (_directory, path, clock, keys) = watched();
    let new = append_key(&path).expect("appended");
    assert!(keys.get(new).is_some(), "the first unknown id looks");
    let newer = append_key(&path).expect("appended");
    clock.set(Timestamp::from_micros(START_US + 999_999));
    assert!(keys.get(newer).is_none(), "not again within the second");
    clock.set(Timestamp::from_micros(START_US + 1_000_000));
    assert!(keys.get(newer).is_some());
    // A clock that was set back does not stop it for as long.
    let newest = append_key(&path).expect("appended");
    clock.set(Timestamp::from_micros(5));
    assert!(keys.get(newest).is_some());
}

#[test]
fn an_id_from_our_own_tables_makes_it_look_each_time() {
    let (_directory, path, _clock, keys) = watched();
    assert!(keys.get(id("0000000b")).is_none());
    let new = append_key(&path).expect("appended");
    assert!(keys.get(new).is_none(), "anybody can send that");
    assert!(keys.get_trusted(new).is_some());
}

#[test]
fn a_known_id_does_not_touch_the_file() {
    let (_directory, path, _clock, keys) = watched();
    fs::remove_file(&path).expect("removed");
    write(&path, &format!("0000000b {}\n", base64(2)));
    let before = keys.ring();
    assert!(keys.get(id("0000000a")).is_some());
    assert!(keys.get_trusted(id("0000000a")).is_some());
    assert!(keys.is_current(&before), "nothing was read");
    keys.look();
    assert!(!keys.is_current(&before));
    assert!(keys.get(id("0000000a")).is_none(), "it was taken out");
}

#[test]
fn a_file_that_became_unusable_changes_nothing_until_it_is_mended() {
    let (_directory, path, _clock, keys) = watched();
    for broken in ["", "0000000b what", "0000000b AAAA"] {
        write(&path, broken);
        assert_eq!(keys.primary().id(), id("0000000a"));
    }
    fs::remove_file(&path).expect("removed");
    assert_eq!(keys.primary().id(), id("0000000a"));
    write(&path, &format!("0000000b {}\n", base64(2)));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("the mode");
    assert_eq!(keys.primary().id(), id("0000000a"), "others may read it");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("the mode");
    assert_eq!(keys.primary().id(), id("0000000b"));
}

#[test]
fn readers_never_see_half_a_file_while_keys_are_appended() {
    let (_directory, path, _clock, keys) = watched();
    std::thread::scope(|scope| {
        let appending = scope.spawn(|| {
            for _ in 0..20 {
                append_key(&path).expect("appended");
            }
        });
        let mut seen = 1;
        while !appending.is_finished() {
            let another = LiveKeys::open(&path).expect("always whole").ring();
            let primary = keys.primary();
            let now = keys.ring().iter().count();
            assert!(now >= seen && keys.get(primary.id()).is_some());
            assert!(another.get(primary.id()).is_some() || now > another.iter().count());
            seen = now;
        }
    });
    keys.look();
    assert_eq!(keys.ring().iter().count(), 21);
}
