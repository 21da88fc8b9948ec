//! What may be a password.

use proptest::prelude::*;

use super::*;
use crate::accounts::passwords::policy::{NORMALISED_BYTES_MAX, TYPED_BYTES_MAX, TooLong, Weak};

const ABOUT: [&str; 2] = ["Mallory-Shops", "Mallory.Mail@Example.com"];

#[test]
fn length_counts_characters_below_and_bytes_above() {
    for (text, expected) in [
        ("k7#Qz2v", Err(Weak::TooShort)),
        ("k7#Qz2vX", Ok(())),
        ("", Err(Weak::TooShort)),
        // Twenty-one bytes, and yet seven characters.
        ("비밀번호열쇠통", Err(Weak::TooShort)),
        ("비밀번호열쇠통함", Ok(())),
    ] {
        assert_eq!(choice(text), expected, "{text}");
    }
    for (length, expected) in [
        (64, Ok(())),
        (73, Ok(())),
        (NORMALISED_BYTES_MAX, Ok(())),
        (NORMALISED_BYTES_MAX + 1, Err(Weak::TooLong(TooLong))),
    ] {
        assert_eq!(choice(&"x".repeat(length)), expected, "{length}");
    }
}

#[test]
fn length_is_that_of_the_one_spelling() {
    // A letter and its accent are one character, typed as one or as two.
    assert_eq!(choice(&"e\u{301}".repeat(7)), Err(Weak::TooShort));
    // Full width takes three bytes for each letter.
    let wide = "\u{ff4b}".repeat(NORMALISED_BYTES_MAX);
    assert_eq!(choice(&wide), Ok(()));
    // The longest of all expansions: one character becomes eighteen.
    let expanding = "\u{fdfa}".repeat(TYPED_BYTES_MAX / 3);
    assert_eq!(choice(&expanding), Err(Weak::TooLong(TooLong)));
}

#[test]
fn a_megabyte_is_refused_before_anything_looks_at_it() {
    // In full width it would be within the bound of nothing, and normalising it is what must not happen.
    for text in ["x".repeat(1 << 20), "\u{fdfa}".repeat(1 << 20)] {
        let began = std::time::Instant::now();
        for _ in 0..1_000 {
            assert_eq!(choice(&text), Err(Weak::TooLong(TooLong)));
            assert!(Password::for_sign_in(&text).is_err());
        }
        // Two thousand times a gigabyte in all: only not looking is that fast.
        assert!(began.elapsed().as_secs() < 2, "{:?}", began.elapsed());
    }
}

#[test]
fn control_characters_are_refused_and_other_signs_are_not() {
    for control in ['\r', '\n', '\0', '\t', '\u{7f}', '\u{85}', '\u{1b}'] {
        let text = format!("k7#Q{control}z2vX");
        assert_eq!(choice(&text), Err(Weak::Control), "{control:?}");
    }
    for fine in [
        "k7#Q z2vX",
        " leading and trailing ",
        "Öffnen🔑mich",
        "ключ от двери",
        "'; DROP--",
    ] {
        assert_eq!(choice(fine), Ok(()), "{fine}");
    }
}

#[test]
fn what_everybody_tries_first_is_refused() {
    for text in [
        "password",
        "password123",
        "PASSWORD123",
        "Password1",
        "pA55w0rd",
        "P@$$w0rd",
        "iloveyou",
        "12345678",
        "1234567890",
        "qwertyuiop",
        "1q2w3e4r",
        "11111111",
        "abcd1234",
        "trustno1",
        "baseball",
        "passw0rd",
        "ｐａｓｓｗｏｒｄ",
        "aaaaaaaaaaaa",
        "passwordpassword",
        "87654321",
    ] {
        assert_eq!(choice(text), Err(Weak::Listed), "{text}");
    }
}

#[test]
fn what_nobody_tries_first_is_taken() {
    for text in [
        "k7#Qz2vX",
        "Xq9vTmLe",
        "correct horse battery staple",
        "pw4-summer-in-Busan",
        "({[<@4!|$5+79612x",
        "password123password123 and more",
    ] {
        assert_eq!(choice(text), Ok(()), "{text}");
    }
    assert_eq!(choice(&"x".repeat(64)), Ok(()));
}

#[test]
fn what_the_account_is_called_is_refused() {
    for text in [
        "mallory-shops",
        "MALLORY-SHOPS",
        "mallory.mail@example.com",
        "Mallory.Mail",
        "ｍallory.mail",
    ] {
        assert_eq!(choice(text), Err(Weak::AboutYou), "{text}");
    }
    // Only the whole of it: whoever adds to it has another one.
    assert_eq!(choice("mallory-shops-7Kq"), Ok(()));
    let strangers = Password::new_choice("mallory-shops", &[]).map(drop);
    assert_eq!(strangers, Ok(()));
}

#[test]
fn signing_in_asks_no_more_than_that_it_is_not_too_long() {
    for text in ["", "x", "password", "a\nb", "mallory-shops"] {
        assert!(Password::for_sign_in(text).is_ok(), "{text:?}");
    }
    let longest = "x".repeat(NORMALISED_BYTES_MAX);
    assert!(Password::for_sign_in(&longest).is_ok());
    assert!(Password::for_sign_in(&format!("{longest}x")).is_err());
}

#[test]
fn all_that_is_typed_counts() {
    let text = |last| format!("{}{last}", "x".repeat(NORMALISED_BYTES_MAX - 1));
    assert_ne!(
        password(&text('a')).as_bytes(),
        password(&text('b')).as_bytes()
    );
}

#[test]
fn nothing_prints_a_password() {
    let secret = password("k7#Qz2vX");
    assert_eq!(format!("{secret:?}"), "Password(..)");
    for weak in [
        Weak::TooShort,
        Weak::Control,
        Weak::Listed,
        Weak::AboutYou,
        TooLong.into(),
    ] {
        assert!(weak.to_string().contains(';'), "{weak} gives no advice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_judged_without_a_panic_and_its_one_spelling_stays_the_same(text in "\\PC{0,40}|[0-9a-z!@|({\\[<$+%İıẞﬀ]{8,16}") {
        let Ok(first) = Password::for_sign_in(&text) else { return Ok(()) };
        let spelling = std::str::from_utf8(first.as_bytes()).expect("text");
        let again = password(spelling);
        prop_assert_eq!(first.as_bytes(), again.as_bytes());
        prop_assert_eq!(choice(&text).is_ok(), choice(spelling).is_ok());
    }
}

fn choice(text: &str) -> Result<(), Weak> {
    Password::new_choice(text, &ABOUT).map(drop)
}
