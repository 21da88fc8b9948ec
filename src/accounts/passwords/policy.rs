//! What may be a password, and when two spellings are the same one.
//!
//! Long ones are good ones: no rules of composition, no cutting off, no expiry. Refused is what everybody tries first.
//!
//! Deliberately absent: signing in does not ask whether the password would be taken today, so that a new rule never locks
//! anybody out. The check for leaked passwords knows the lists inside `zxcvbn` and asks no service.

use std::fmt;
use std::panic::catch_unwind;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;
use zxcvbn::matching::patterns::MatchPattern;

/// Characters that a new password has at least, after normalisation.
pub(crate) const CHARS_MIN: usize = 8;
/// Bytes of a normalised password at most; a longer one is refused, never cut.
pub(crate) const NORMALISED_BYTES_MAX: usize = 1_024;
/// Bytes as typed at most: what normalisation makes shorter, it makes shorter by four at most. What is longer is refused
/// before anything looks at it.
pub(crate) const TYPED_BYTES_MAX: usize = 4 * NORMALISED_BYTES_MAX;

/// A longer one is on no list, and the estimate is right about short ones only. It also bounds the time: 64 characters could
/// take half a second.
const LISTED_CHARS_MAX: usize = 16;
/// A word of such a rank, or of a better one, is what everybody tries first.
const LISTED_RANK_MAX: usize = 3_000;
/// With fewer guesses than this, a password is found by whoever tries such a list. One more than the list is long, for the
/// estimate of a word is its rank and one.
const GUESSES_MIN: u64 = 3_002;
/// Ways to read digits and signs as letters, at most. The estimate tries them all, so that more of them could take 20 ms
/// instead of 4; a password with more is on no list either.
const READINGS_MAX: usize = 16;

/// A password in its one spelling (Unicode NFKC): how it was typed, composed, decomposed or in full width, is no part of it.
pub(crate) struct Password(Zeroizing<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is longer than {NORMALISED_BYTES_MAX} bytes; use a shorter one")]
pub(crate) struct TooLong;

/// Why something cannot be a new password, in words for whoever chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Weak {
    #[error("it has fewer than {CHARS_MIN} characters; use {CHARS_MIN} or more")]
    TooShort,
    #[error(transparent)]
    TooLong(#[from] TooLong),
    #[error("it contains a control character, such as a line break; leave it out")]
    Control,
    #[error(
        "it is on the list of passwords that are tried first; use several words, or a longer one"
    )]
    Listed,
    #[error("it is your name or your e-mail address, which others know; use something else")]
    AboutYou,
}

impl Password {
    /// What somebody types who has a password already.
    pub(crate) fn for_sign_in(typed: &str) -> Result<Self, TooLong> {
        Ok(Self(normalised(typed)?))
    }

    /// What somebody wants as a new password. `about`: the user name and the e-mail address, which must not be it; of an
    /// address, neither the part before the `@`.
    pub(crate) fn new_choice(typed: &str, about: &[&str]) -> Result<Self, Weak> {
        let text = normalised(typed)?;
        if text.chars().count() < CHARS_MIN {
            return Err(Weak::TooShort);
        }
        if text.chars().any(char::is_control) {
            return Err(Weak::Control);
        }
        let folded = Zeroizing::new(text.to_lowercase());
        if about.iter().any(|it| is_about(&folded, it)) {
            return Err(Weak::AboutYou);
        }
        if is_listed(&folded) {
            return Err(Weak::Listed);
        }
        Ok(Self(text))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Password(..)")
    }
}

/// Reads the lists, which takes longer than a thousand look-ups, before the first request needs them.
pub(super) fn read_lists() {
    is_listed("warming up");
}

/// Never moves to a larger buffer, which would leave a copy behind; ends at the bound, however much a short text expands.
fn normalised(typed: &str) -> Result<Zeroizing<String>, TooLong> {
    if typed.len() > TYPED_BYTES_MAX {
        return Err(TooLong);
    }
    let mut text = Zeroizing::new(String::with_capacity(NORMALISED_BYTES_MAX));
    for character in typed.nfkc() {
        if text.len() + character.len_utf8() > NORMALISED_BYTES_MAX {
            return Err(TooLong);
        }
        text.push(character);
    }
    Ok(text)
}

fn is_about(folded: &str, about: &str) -> bool {
    let about: String = about.nfkc().collect::<String>().to_lowercase();
    let local_part = about.rsplit_once('@').map(|(local_part, _)| local_part);
    folded == about || local_part == Some(folded)
}

/// Looks at small letters only: capitals make nothing stronger, and `zxcvbn` itself counts characters wrongly where a small
/// letter is longer than its capital.
fn is_listed(folded: &str) -> bool {
    if folded.chars().count() > LISTED_CHARS_MAX || readings(folded) > READINGS_MAX {
        return false;
    }
    // What the estimate stumbles over is on no list.
    let Ok(estimate) = catch_unwind(|| zxcvbn::zxcvbn(folded, &[])) else {
        return false;
    };
    if estimate.guesses() < GUESSES_MIN {
        return true;
    }
    let [only] = estimate.sequence() else {
        return false;
    };
    matches!(&only.pattern, MatchPattern::Dictionary(word) if word.rank <= LISTED_RANK_MAX)
}

/// For each letter, what people write in its place, as `zxcvbn` knows it.
const DISGUISES: [(char, &str); 7] = [
    ('a', "4@"),
    ('c', "({[<"),
    ('g', "69"),
    ('i', "1!|"),
    ('l', "1|7"),
    ('s', "$5"),
    ('t', "+7"),
];

/// How many ways there are to take one disguise for each letter; letters with but one disguise add none.
fn readings(folded: &str) -> usize {
    DISGUISES
        .iter()
        .map(|(_, signs)| signs.chars().filter(|it| folded.contains(*it)).count())
        .map(|used| used.max(1))
        .product()
}
