//! The kinds of letters, and how they wait in the outbox.
//!
//! **Invariant:** a letter that was put into the outbox stays readable: a kind or a field that was released keeps its name
//! and its meaning, and a new field has a default.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Language;

/// What is told to a person. To add one: a kind here, its word in [`Letter::kind`], its texts in `texts.rs`, and its JSON
/// in the tests.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Letter {
    /// To an address that somebody says is theirs.
    VerifyEmail {
        username: String,
        code: String,
        minutes: u32,
    },
    /// Somebody tried to sign up with the address of an account that is there.
    AddressInUse {},
    /// To somebody who does not know their password any more.
    ResetPassword {
        username: String,
        code: String,
        minutes: u32,
    },
    PasswordChanged {},
    /// A refresh token was used twice, so all devices of that sign-in were signed out.
    SignedOutEverywhere {},
}

/// What waits in the outbox: JSON, sealed by whoever puts it there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// An address alone, `somebody@mail.example`.
    pub to: String,
    pub language: Language,
    pub letter: Letter,
}

impl Letter {
    /// The word for the kind, for logs; the same as in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } => "verify_email",
            Self::AddressInUse {} => "address_in_use",
            Self::ResetPassword { .. } => "reset_password",
            Self::PasswordChanged {} => "password_changed",
            Self::SignedOutEverywhere {} => "signed_out_everywhere",
        }
    }
}

impl Envelope {
    /// The bytes to seal.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and numbers under fixed names: nothing of it can fail.
        serde_json::to_vec(self).expect("an envelope is JSON")
    }

    /// What [`Envelope::to_json`] of this release or an older one gave. The error says what is wrong, but not what the
    /// letter says.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| {
            format!(
                "it is no envelope ({:?} at column {})",
                error.classify(),
                error.column()
            )
        })
    }
}

/// Not derived: codes and names do not belong in a log.
impl fmt::Debug for Letter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Letter({})", self.kind())
    }
}

/// Not derived: an address does not belong in a log.
impl fmt::Debug for Envelope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Envelope")
            .field("language", &self.language)
            .field("letter", &self.letter)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every kind, as every release writes it. A line that was released is never changed.
    const RELEASED: [&str; 5] = [
        r#"{"kind":"verify_email","username":"mina","code":"483920","minutes":10}"#,
        r#"{"kind":"address_in_use"}"#,
        r#"{"kind":"reset_password","username":"mina","code":"K7QF-2MWD","minutes":10}"#,
        r#"{"kind":"password_changed"}"#,
        r#"{"kind":"signed_out_everywhere"}"#,
    ];

    pub(in crate::mail) fn every_letter() -> Vec<Letter> {
        let read = |json: &&str| serde_json::from_str(json).expect(json);
        RELEASED.iter().map(read).collect()
    }

    pub(in crate::mail) fn envelope(language: Language, letter: Letter) -> Envelope {
        Envelope {
            to: "mina@mail.example".to_owned(),
            language,
            letter,
        }
    }

    #[test]
    fn old_letters_stay_readable() {
        for (json, letter) in RELEASED.iter().zip(every_letter()) {
            assert_eq!(&serde_json::to_string(&letter).expect("json"), json);
            let start = format!(r#"{{"kind":"{}""#, letter.kind());
            assert!(json.starts_with(&start), "{json} is no {}", letter.kind());
        }
    }

    #[test]
    fn a_field_that_a_later_release_adds_is_no_obstacle() {
        let json = br#"{"to":"a@b.example","language":"ko","letter":{"kind":"password_changed","at":1},"new":true}"#;
        let read = Envelope::from_json(json).expect("readable");
        assert_eq!(read.letter, Letter::PasswordChanged {});
    }

    #[test]
    fn an_envelope_comes_back_from_its_bytes() {
        for letter in every_letter() {
            for language in [Language::English, Language::Korean] {
                let envelope = envelope(language, letter.clone());
                assert_eq!(Envelope::from_json(&envelope.to_json()), Ok(envelope));
            }
        }
    }

    #[test]
    fn nothing_personal_is_shown() {
        for letter in every_letter() {
            let shown = format!("{:?}", envelope(Language::Korean, letter));
            for secret in ["mina", "483920", "K7QF", "mail.example"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        let bad = br#"{"to":"mina@mail.example","language":"mina","letter":"mina"}"#;
        let told = Envelope::from_json(bad).expect_err("no envelope");
        assert!(!told.contains("mina"), "{told}");
    }
}
