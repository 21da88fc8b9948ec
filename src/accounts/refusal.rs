//! Why something was not done with an account. HTTP turns each into a status and a code.

use crate::persistence::database;

#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountRefusal {
    #[error("the name is in use")]
    UsernameTaken,
    /// Wrong, used, expired, or for an address that nobody has: which of them is not told.
    #[error("the code is not the right one")]
    CodeInvalid,
    #[error("there is no such name with this password")]
    InvalidCredentials,
    #[error("the address is not verified yet")]
    EmailNotVerified,
    #[error("the account is suspended")]
    Suspended,
    #[error("the refresh token is not good, or no longer")]
    InvalidRefreshToken,
    #[error("the current password is another one")]
    WrongPassword,
    /// The address of an order is not in the buyer's book.
    #[error("there is no such address in the book")]
    UnknownAddress,
    #[error("too many requests; wait {wait_secs} s")]
    TooMany { wait_secs: u64 },
    #[error("a book has at most {addresses_max} addresses")]
    TooManyAddresses { addresses_max: u64 },
    #[error("there is no such address")]
    NoSuchAddress,
    #[error("a wishlist has at most {lines_max} lines")]
    WishlistFull { lines_max: usize },
    #[error("there is nothing on the wishlist")]
    WishlistEmpty,
    #[error("there is no such account")]
    NoSuchAccount,
    #[error("nobody could make an admin any more")]
    LastAdmin,
    /// More passwords are waiting to be checked than the queue takes, or more letters to be written.
    #[error("too much is waiting")]
    Busy,
    /// Sealed data does not open. Logged where it was found.
    #[error("personal data cannot be read")]
    Damaged,
    #[error(transparent)]
    Database(#[from] database::Error),
}

impl AccountRefusal {
    /// What an expired wait is told: at least a second.
    pub(super) fn too_many(wait: std::time::Duration) -> Self {
        Self::TooMany {
            wait_secs: wait
                .as_millis()
                .div_ceil(1_000)
                .try_into()
                .unwrap_or(u64::MAX)
                .max(1),
        }
    }
}
