//! What the parts behind HTTP refuse or fail at, each placed by a match of its own.

use super::{Code, Problem};
use crate::accounts;
use crate::accounts::token::TokenError;
use crate::actors::message;
use crate::gateways::payment::{SignatureError, Unreadable};
use crate::persistence::{database, journey};

impl From<message::Refusal> for Problem {
    fn from(refusal: message::Refusal) -> Self {
        use message::Refusal as R;
        match refusal {
            R::Rejected(rejection) => rejection.into(),
            R::Overloaded => Self::of(
                Code::Overloaded,
                "more requests are in flight than are admitted",
            ),
            R::PaymentsBusy => Self::of(
                Code::PaymentsBusy,
                "more payments are under way than admitted",
            ),
            R::PaymentsUnavailable { retry_after } => Self::of(
                Code::PaymentsUnavailable,
                "the payment provider does not answer; no money was asked for and your hold stays as it is",
            )
            .retry_after(retry_after.as_secs_ceil()),
            R::JournalFull => Self::of(
                Code::DatabaseBehind,
                "the database has been away too long; no new holds until it is back",
            ),
            R::DiskFull => Self::of(
                Code::DiskFull,
                "the disk is full; no new holds until there is room, what is held may be paid",
            ),
            R::MemoryFull => Self::of(
                Code::MemoryFull,
                "the orders of the last day fill the memory that they may take; no new holds until some are older",
            ),
            R::RecallsBusy => Self::of(
                Code::Overloaded,
                "more requests wait for older orders than are admitted",
            ),
            R::OrdersUnavailable => Self::of(
                Code::TemporarilyUnavailable,
                "older orders are in the database, which does not answer; try again",
            ),
            R::JournalFailed => Self::of(
                Code::JournalFailed,
                "the journal failed; nothing is promised until a restart",
            ),
            R::WrongReply { expected, found } => Self::internal(&format_args!(
                "the engine was to answer with {expected} and answered with {found}"
            )),
            R::Recovering => Self::of(Code::Recovering, "this part is being rebuilt; try again"),
            R::ShuttingDown => Self::of(Code::ShuttingDown, "the server is shutting down"),
        }
    }
}

impl From<accounts::AccountRefusal> for Problem {
    fn from(refusal: accounts::AccountRefusal) -> Self {
        use accounts::AccountRefusal as R;
        match refusal {
            R::UsernameTaken => Self::of(Code::UsernameTaken, "choose another username"),
            R::InvalidCredentials => Self::of(
                Code::InvalidCredentials,
                "there is no such username with this password",
            ),
            R::InvalidRefreshToken => Self::of(
                Code::InvalidRefreshToken,
                "the refresh token is not good, or no longer; sign in again",
            ),
            R::EmailNotVerified => Self::of(
                Code::EmailNotVerified,
                "enter the code that was mailed to you, or ask for another one",
            ),
            R::Suspended => Self::of(
                Code::AccountSuspended,
                "this account is suspended; ask the shop",
            ),
            R::WrongPassword => {
                Self::of(Code::WrongPassword, "the current password is another one")
            }
            R::CodeInvalid => Self::of(
                Code::MailedCodeInvalid,
                "the code is wrong, used, expired or was tried too often; ask for another one",
            ),
            R::UnknownAddress => Self::field("address_id", "it is not in your address book"),
            R::TooMany { wait_secs } => {
                Self::of(Code::TooManyRequests, "wait a little and try again")
                    .retry_after(wait_secs)
            }
            R::TooManyAddresses { addresses_max } => Self::of(
                Code::TooManyAddresses,
                format!("a book has at most {addresses_max} addresses; remove one first"),
            )
            .with("addresses_max", addresses_max),
            R::NoSuchAddress => Self::not_found("address"),
            R::WishlistFull { lines_max } => Self::of(
                Code::WishlistFull,
                format!("a list has at most {lines_max} lines; remove or buy something first"),
            )
            .with("lines_max", lines_max),
            R::WishlistEmpty => Self::of(Code::WishlistEmpty, "there is nothing on the wishlist"),
            R::NoSuchAccount => Self::not_found("account"),
            R::LastAdmin => Self::of(
                Code::LastAdmin,
                "nobody could make another admin; make one first",
            ),
            R::Busy => Self::busy(),
            R::Damaged => Self::of(
                Code::PersonalDataDamaged,
                "what is known about you cannot be read; the shop must mend it",
            ),
            R::Database(error) => error.into(),
        }
    }
}

impl From<database::Error> for Problem {
    fn from(error: database::Error) -> Self {
        use database::Error as E;
        match error {
            // A row that is there already, where nobody has looked for it before, is there because two requests met: a
            // repeat finds it.
            E::Unavailable(_) | E::Refused(_) | E::Taken | E::Stopped => Self::unavailable(&error),
            E::Damaged { .. } => Self::internal(&error),
        }
    }
}

impl From<journey::JourneyRefusal> for Problem {
    fn from(refusal: journey::JourneyRefusal) -> Self {
        use journey::JourneyRefusal as R;
        match refusal {
            R::Busy => Self::busy(),
            R::Database(error) => error.into(),
            R::Read(_) | R::Codec { .. } | R::Stopped => Self::unavailable(&refusal),
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired | TokenError::Invalid => Self::unauthorized(error.to_string()),
        }
    }
}

impl From<SignatureError> for Problem {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Missing
            | SignatureError::Unreadable
            | SignatureError::Stale
            | SignatureError::Forged => Self::of(Code::SignatureInvalid, error.to_string()),
        }
    }
}

impl From<Unreadable> for Problem {
    fn from(error: Unreadable) -> Self {
        Self::malformed(error.to_string())
    }
}
