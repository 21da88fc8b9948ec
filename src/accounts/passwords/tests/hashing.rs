//! Argon2id: the same password in every spelling, parameters that rise, and rows that are damaged.

use std::sync::Arc;

use super::*;
use crate::accounts::passwords::hasher::{Damaged, Hasher};

/// "password" with the salt "somesalt", of the test vectors of argon2's reference implementation.
const REFERENCE: &str =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

#[test]
fn what_was_hashed_is_verified_and_nothing_else() {
    let mut hasher = hasher(HashOptions::TINY);
    let phc = hasher.hash(b"k7#Qz2vX");
    assert_eq!(hasher.verify(b"k7#Qz2vX", &phc), Ok(true));
    for other in [&b"k7#Qz2vx"[..], b"k7#Qz2vX ", b"k7#Qz2v", b""] {
        assert_eq!(hasher.verify(other, &phc), Ok(false));
    }
    assert_ne!(hasher.hash(b"k7#Qz2vX"), phc, "a salt of its own");
}

#[test]
fn a_hash_says_how_it_was_made() {
    let phc = hasher(HashOptions::default()).hash(b"k7#Qz2vX");
    assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
    assert!(phc.len() < 128, "{phc}");
}

#[test]
fn it_is_the_argon2id_of_everybody_else() {
    let mut hasher = hasher(HashOptions::TINY);
    assert_eq!(hasher.verify(b"password", REFERENCE), Ok(true));
    assert_eq!(hasher.verify(b"passwort", REFERENCE), Ok(false));
}

#[test]
fn memory_that_was_used_for_another_hash_changes_nothing() {
    let small = hasher(HashOptions::TINY).hash(b"small");
    let wide = HashOptions {
        memory_kib: 64,
        passes: 2,
        lanes: 2,
    };
    let large = hasher(wide).hash(b"large");
    let mut both = hasher(HashOptions::TINY);
    for _ in 0..3 {
        assert_eq!(both.verify(b"small", &small), Ok(true));
        assert_eq!(both.verify(b"large", &large), Ok(true));
        assert_eq!(both.verify(b"large", &small), Ok(false));
    }
}

#[test]
fn a_hash_of_less_is_outdated_and_one_of_more_is_not() {
    let options = |memory_kib, passes| HashOptions {
        memory_kib,
        passes,
        lanes: 1,
    };
    let today = hasher(options(32, 2));
    for (made_with, is_outdated) in [
        (options(16, 2), true),
        (options(32, 1), true),
        (options(64, 1), true),
        (options(32, 2), false),
        (options(64, 3), false),
    ] {
        let phc = hasher(made_with).hash(b"k7#Qz2vX");
        assert_eq!(today.is_outdated(&phc), is_outdated, "{made_with:?}");
    }
}

#[test]
fn damaged_rows_are_told_and_take_neither_memory_nor_time() {
    let mut hasher = hasher(HashOptions::TINY);
    let good = hasher.hash(b"k7#Qz2vX");
    let cut = &good[..good.len() - 30];
    let other = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        changed
    };
    for damaged in [
        String::new(),
        "plain text".to_owned(),
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW".to_owned(),
        "$argon2id$v=19$m=8,t=1,p=1".to_owned(),
        cut[..cut.rfind('$').expect("a field")].to_owned(),
        format!("{good}$more"),
        other("argon2id", "argon2i"),
        other("v=19", "v=16"),
        other("v=19$", ""),
        other("m=8", "m=4294967295"),
        other("m=8", "m=7"),
        other("m=8", "m=x"),
        other("t=1", "t=0"),
        other("t=1", "t=4294967295"),
        other("p=1", "p=0"),
        other("p=1", "p=16777215"),
        other("p=1", "p=2"),
    ] {
        assert_eq!(
            hasher.verify(b"k7#Qz2vX", &damaged),
            Err(Damaged),
            "{damaged}"
        );
        assert!(!hasher.is_outdated(&damaged));
    }
}

#[test]
fn what_is_cheaper_than_the_least_is_refused_with_the_numbers() {
    let owasp = HashOptions::default();
    assert_eq!(owasp.at_least(owasp), Ok(owasp));
    for cheap in [
        HashOptions {
            memory_kib: 19_455,
            ..owasp
        },
        HashOptions { passes: 1, ..owasp },
        HashOptions { lanes: 0, ..owasp },
        HashOptions {
            memory_kib: 1 << 21,
            ..owasp
        },
        HashOptions {
            passes: 65,
            ..owasp
        },
        HashOptions { lanes: 17, ..owasp },
    ] {
        let refused = cheap.at_least(owasp).expect_err("too cheap");
        assert!(refused.to_string().contains("19456"), "{refused}");
    }
    let thin = HashOptions {
        lanes: 2,
        ..HashOptions::TINY
    };
    assert!(thin.checked().is_err(), "less than a lane needs");
}

fn hasher(options: HashOptions) -> Hasher {
    Hasher::new(options, Arc::default())
}
