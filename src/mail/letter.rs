//! The kinds of letters, and how they wait in the outbox.
//!
//! **Invariant:** a letter that was put into the outbox stays readable: a kind or a field that was released keeps its name
//! and its meaning, and a new field has a default.

use std::fmt;

use jiff::Zoned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Amount, Language};

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
    /// Units are held, and wait to be paid for.
    OrderHeld {
        order: OrderSummary,
        /// On the shop's clock.
        pay_by: Zoned,
    },
    OrderPaid {
        order: OrderSummary,
    },
    /// The hold ended without a payment.
    OrderExpired {
        order: OrderSummary,
    },
    OrderCancelled {
        order: OrderSummary,
        /// It was paid, so the money goes back.
        refund: bool,
    },
    /// Money came that is not ours to keep, and goes back.
    PaymentReturned {
        order: OrderSummary,
        reason: RefundReason,
    },
    /// The money is on its way back.
    OrderRefunded {
        order: OrderSummary,
        reason: RefundReason,
    },
    OrderShipped {
        order: OrderSummary,
        carrier: String,
        tracking_number: String,
    },
    /// Somebody on a waitlist is next.
    WaitlistOffer {
        product: String,
        quantity: u32,
        accept_by: Zoned,
    },
}

/// What a letter says of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSummary {
    pub id: Uuid,
    /// At most [`OrderSummary::LINES_MAX`].
    pub lines: Vec<OrderLine>,
    /// Further lines, which are not named.
    pub more_lines: usize,
    pub total: Amount,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// What the product was called when the letter was written.
    pub product: String,
    pub quantity: u32,
    /// Of all its units together.
    pub price: Amount,
}

/// Why money goes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundReason {
    /// The order was cancelled.
    Cancelled,
    /// It came after the hold had ended and the units were gone.
    TooLate,
    /// The return was accepted.
    Returned,
    /// It came for an order that was paid already.
    PaidTwice,
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
            Self::OrderHeld { .. } => "order_held",
            Self::OrderPaid { .. } => "order_paid",
            Self::OrderExpired { .. } => "order_expired",
            Self::OrderCancelled { .. } => "order_cancelled",
            Self::PaymentReturned { .. } => "payment_returned",
            Self::OrderRefunded { .. } => "order_refunded",
            Self::OrderShipped { .. } => "order_shipped",
            Self::WaitlistOffer { .. } => "waitlist_offer",
        }
    }
}

impl OrderSummary {
    /// Lines that a letter names; with the longest names they are a few kilobytes, which is what is sealed at once.
    pub const LINES_MAX: usize = 20;
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
    const RELEASED: [&str; 14] = [
        r#"{"kind":"verify_email","username":"mina","code":"483920","minutes":10}"#,
        r#"{"kind":"address_in_use"}"#,
        r#"{"kind":"reset_password","username":"mina","code":"K7QF-2MWD","minutes":10}"#,
        r#"{"kind":"password_changed"}"#,
        r#"{"kind":"signed_out_everywhere"}"#,
        r#"{"kind":"order_held","order":{"id":"01923456-789a-7bcd-8ef0-123456789abc","lines":[{"product":"Desk lamp","quantity":2,"price":{"amount":78000,"currency":"KRW"}}],"more_lines":0,"total":{"amount":78000,"currency":"KRW"}},"pay_by":"2026-11-24T14:05:20+09:00[Asia/Seoul]"}"#,
        r#"{"kind":"order_paid","order":{"id":"01923456-789a-7bcd-8ef0-123456789abc","lines":[{"product":"Desk lamp","quantity":2,"price":{"amount":78000,"currency":"KRW"}}],"more_lines":0,"total":{"amount":78000,"currency":"KRW"}}}"#,
        r#"{"kind":"order_expired","order":{"id":"01923456-789a-7bcd-8ef0-123456789abc","lines":[{"product":"Desk lamp","quantity":2,"price":{"amount":78000,"currency":"KRW"}}],"more_lines":0,"total":{"amount":78000,"currency":"KRW"}}}"#,
        r#"{"kind":"order_cancelled","order":{"id":"01923456-789a-7bcd-8ef0-123456789abc","lines":[{"product":"Desk lamp","quantity":2,"price":{"amount":78000,"currency":"KRW"}}],"more_lines":0,"total":{"amount":78000,"currency":"KRW"}},"refund":true}"#,
        r#"{"kind":"order_cancelled","order":{"id":"01923456-789a-7bcd-8ef0-123456789abc","lines":[{"product":"Desk lamp","quantity":2,"price":{"amount":78000,"currency":"KRW"}}],"more_lines":3,"total":{"amount":78000,"currency":"KRW"}},"refund":false}"#,
        r#"{"kind":"payment_returned","order":{"id":"01923456-789a-7bcd-8ef0-123456789abc","lines":[{"product":"Desk lamp","quantity":2,"price":{"amount":78000,"currency":"KRW"}}],"more_lines":0,"total":{"amount":78000,"currency":"KRW"}},"reason":"too_late"}"#,
        r#"{"kind":"order_refunded","order":{"id":"01923456-789a-7bcd-8ef0-123456789abc","lines":[{"product":"Desk lamp","quantity":2,"price":{"amount":78000,"currency":"KRW"}}],"more_lines":0,"total":{"amount":78000,"currency":"KRW"}},"reason":"cancelled"}"#,
        r#"{"kind":"order_shipped","order":{"id":"01923456-789a-7bcd-8ef0-123456789abc","lines":[{"product":"Desk lamp","quantity":2,"price":{"amount":78000,"currency":"KRW"}}],"more_lines":0,"total":{"amount":78000,"currency":"KRW"}},"carrier":"CJ Logistics","tracking_number":"6412-3388"}"#,
        r#"{"kind":"waitlist_offer","product":"Desk lamp","quantity":2,"accept_by":"2026-11-24T14:05:20+09:00[Asia/Seoul]"}"#,
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
