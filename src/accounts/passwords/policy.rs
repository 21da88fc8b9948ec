//! What is acceptable as a password: long enough, and none that everybody tries first. No rules of composition.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;
use zxcvbn::matching::patterns::MatchPattern;

const CHARS_MIN: usize = 8;
const BYTES_MAX: usize = 1_024;
/// Passwords of this rank and better in lists of leaked ones are refused, also in capitals or with `0` for `o`.
const RANK_MAX: usize = 3_000;
/// Short ones that can be guessed in as many tries, such as `abcdefgh`, are refused as well.
const GUESSES_MAX: u64 = 3_000;
const SHORT_CHARS: usize = 16;
/// The estimate takes a time that grows with the square of the length; nothing longer is in a list.
const ESTIMATED_CHARS_MAX: usize = 32;

/// A password after NFKC, so that it is the same from every keyboard.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// Why something is not acceptable, in words for the person who chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    #[error("it has fewer than {CHARS_MIN} characters")]
    TooShort,
    #[error("it has more than {BYTES_MAX} bytes")]
    TooLong,
    #[error("it has a line break or another control character")]
    Control,
    #[error(
        "it is one of those that everybody tries first; take another, for instance a few words in a row"
    )]
    Common,
    #[error("it is your username or your e-mail address; take another")]
    AboutYou,
}

impl Password {
    /// For somebody who has one already: old rules must lock nobody out.
    pub fn for_sign_in(text: &str) -> Result<Self, Weak> {
        // Before it is looked at any closer.
        if text.len() > BYTES_MAX {
            return Err(Weak::TooLong);
        }
        let password = Self(Zeroizing::new(text.nfkc().collect()));
        if password.0.len() > BYTES_MAX {
            return Err(Weak::TooLong);
        }
        Ok(password)
    }

    /// `about` is what anybody may know about the person.
    pub fn new_choice(text: &str, about: &[&str]) -> Result<Self, Weak> {
        let password = Self::for_sign_in(text)?;
        let chosen = password.0.as_str();
        if chosen.chars().count() < CHARS_MIN {
            return Err(Weak::TooShort);
        }
        if chosen.chars().any(char::is_control) {
            return Err(Weak::Control);
        }
        let lower = Zeroizing::new(chosen.to_lowercase());
        if about.iter().any(|known| known.to_lowercase() == *lower) {
            return Err(Weak::AboutYou);
        }
        if is_common(chosen) {
            return Err(Weak::Common);
        }
        Ok(password)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Password")
    }
}

fn is_common(password: &str) -> bool {
    let length = password.chars().count();
    if length > ESTIMATED_CHARS_MAX {
        return false;
    }
    let estimate = zxcvbn::zxcvbn(password, &[]);
    let is_listed = match estimate.sequence() {
        [only] => match &only.pattern {
            MatchPattern::Dictionary(word) => word.rank <= RANK_MAX,
            _ => false,
        },
        _ => false,
    };
    is_listed || (length <= SHORT_CHARS && estimate.guesses() < GUESSES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(text: &str) -> Result<(), Weak> {
        let about = ["kim.minsu", "minsu@example.com", "minsu"];
        Password::new_choice(text, &about).map(|_| ())
    }

    #[test]
    fn length_is_what_counts() {
        assert_eq!(choose("kv7#pqz"), Err(Weak::TooShort));
        assert_eq!(choose("kv7#pqzL"), Ok(()));
        assert_eq!(choose("우리집강아지는복슬"), Ok(()));
        for length in [64, 73, 1_024] {
            assert_eq!(choose(&"x".repeat(length)), Ok(()), "{length}");
        }
        assert_eq!(choose(&"x".repeat(1_025)), Err(Weak::TooLong));
        assert_eq!(choose(&"x".repeat(1_000_000)), Err(Weak::TooLong));
        // A ligature that NFKC writes out.
        assert_eq!(choose(&"\u{fdfa}".repeat(341)), Err(Weak::TooLong));
    }

    #[test]
    fn what_everybody_tries_first_is_refused() {
        for common in [
            "password",
            "password123",
            "Password1",
            "P@ssw0rd",
            "12345678",
            "123456789",
            "1234567890",
            "qwertyui",
            "qwerty123",
            "iloveyou",
            "abcdefgh",
            "aaaaaaaa",
            "11111111",
            "sunshine",
            "football",
            "baseball",
            "superman",
            "trustno1",
        ] {
            assert_eq!(choose(common), Err(Weak::Common), "{common}");
        }
        for fine in [
            "correct horse battery staple",
            "a-Long-enough-1",
            "S3cure-Passw0rd!",
            "kj4!mQ9z",
            "hunter2-but-longer",
        ] {
            assert_eq!(choose(fine), Ok(()), "{fine}");
        }
    }

    #[test]
    fn what_is_known_about_the_person_is_refused() {
        for known in ["kim.minsu", "KIM.MINSU", "minsu@example.com"] {
            assert_eq!(choose(known), Err(Weak::AboutYou), "{known}");
        }
    }

    #[test]
    fn control_characters_are_refused_in_a_new_one_only() {
        assert_eq!(choose("line\r\nbreaks in it"), Err(Weak::Control));
        assert!(Password::for_sign_in("line\r\nbreaks in it").is_ok());
        assert!(Password::for_sign_in("short").is_ok());
    }

    #[test]
    fn all_forms_of_one_text_are_one_password() {
        let bytes = |text| {
            let password = Password::for_sign_in(text).expect("acceptable");
            password.as_bytes().to_vec()
        };
        assert_eq!(bytes("cafe\u{301} society"), bytes("caf\u{e9} society"));
        assert_eq!(bytes("ｐａｓｓ　ｗｏｒｄ"), bytes("pass word"));
        assert_ne!(bytes("Society"), bytes("society"));
    }

    #[test]
    fn nothing_shows_in_a_log() {
        let password = Password::for_sign_in("kv7#pqzL").expect("acceptable");
        assert_eq!(format!("{password:?}"), "Password");
    }
}
