//! The table `codes`: what was mailed to prove that somebody reads an address. Kept as keyed hashes.

use sqlx::AnyConnection;
use subtle::ConstantTimeEq;

use super::bulk::BulkInsert;
use super::columns::{Columns, Values};
use super::mail_outbox::{self, NewLetter};
use super::{Database, Dialect, Error};
use crate::domain::{BuyerId, Timestamp};

/// Wrong codes that a code survives; after them it is dead, and only a new one helps.
pub const CODE_TRIES_MAX: i64 = 5;

const COLUMNS: [&str; 6] = [
    "account",
    "purpose",
    "code_hash",
    "tries",
    "created_at",
    "expires_at",
];

/// What a code is for. One for another purpose is no good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    Verify,
    Reset,
}

/// A code to be kept. It takes the place of the one before.
#[derive(Clone, Debug)]
pub struct NewCode {
    pub account: BuyerId,
    pub purpose: Purpose,
    pub code_hash: [u8; 32],
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

impl Purpose {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Reset => "reset",
        }
    }
}

impl Database {
    /// Keeps the code and puts the letter that carries it into the outbox, or neither.
    pub async fn send_code(&self, code: NewCode, letter: NewLetter) -> Result<(), Error> {
        use futures_util::FutureExt;
        use sqlx::Connection;
        let dialect = self.dialect();
        self.write(move |connection| {
            async move {
                let mut transaction = connection.begin_with(dialect.begin_write()).await?;
                replace(&mut transaction, dialect, &code).await?;
                mail_outbox::insert(&mut transaction, &letter).await?;
                Ok(transaction.commit().await?)
            }
            .boxed()
        })
        .await
    }

    /// Removes codes that are good no longer. Gives how many.
    pub async fn remove_expired_codes(&self, now: Timestamp) -> Result<u64, Error> {
        use futures_util::FutureExt;
        self.write(move |connection| async move { delete_expired(connection, now).await }.boxed())
            .await
    }
}

pub(super) async fn insert(connection: &mut AnyConnection, code: &NewCode) -> Result<(), Error> {
    run(connection, "", code).await
}

async fn replace(
    connection: &mut AnyConnection,
    dialect: Dialect,
    code: &NewCode,
) -> Result<(), Error> {
    let tail = dialect.overwrite("account, purpose", &COLUMNS[2..]);
    run(connection, &tail, code).await
}

async fn run(connection: &mut AnyConnection, tail: &str, code: &NewCode) -> Result<(), Error> {
    BulkInsert::new("codes", &COLUMNS, tail)
        .run(connection, std::slice::from_ref(code), put)
        .await
}

/// Whether the code was the right one, and so is used up now. A wrong one costs a try, which must be committed.
pub(super) async fn use_up(
    connection: &mut AnyConnection,
    account: BuyerId,
    purpose: Purpose,
    code_hash: &[u8; 32],
    now: Timestamp,
) -> Result<bool, Error> {
    if !take_try(connection, account, purpose, now).await? {
        return Ok(false);
    }
    let Some(kept) = hash_of(connection, account, purpose).await? else {
        return Ok(false);
    };
    if !bool::from(kept.ct_eq(code_hash)) {
        return Ok(false);
    }
    delete(connection, account, purpose).await
}

async fn take_try(
    connection: &mut AnyConnection,
    account: BuyerId,
    purpose: Purpose,
    now: Timestamp,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE codes
         SET tries = tries + 1
         WHERE account = ?
           AND purpose = ?
           AND tries < ?
           AND expires_at > ?",
    )
    .bind(account.to_bytes().to_vec())
    .bind(purpose.as_str())
    .bind(CODE_TRIES_MAX)
    .bind(now.as_micros().cast_signed())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn hash_of(
    connection: &mut AnyConnection,
    account: BuyerId,
    purpose: Purpose,
) -> Result<Option<[u8; 32]>, Error> {
    let row = sqlx::query(
        "SELECT code_hash
         FROM codes
         WHERE account = ?
           AND purpose = ?",
    )
    .bind(account.to_bytes().to_vec())
    .bind(purpose.as_str())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(|row| Columns::of(row).hash()).transpose()
}

/// Whether there was one: of two that use the same code at once, one deletes it.
async fn delete(
    connection: &mut AnyConnection,
    account: BuyerId,
    purpose: Purpose,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "DELETE FROM codes
         WHERE account = ?
           AND purpose = ?",
    )
    .bind(account.to_bytes().to_vec())
    .bind(purpose.as_str())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn delete_all_of(
    connection: &mut AnyConnection,
    account: BuyerId,
) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM codes
         WHERE account = ?",
    )
    .bind(account.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn delete_expired(connection: &mut AnyConnection, now: Timestamp) -> Result<u64, Error> {
    let done = sqlx::query(
        "DELETE FROM codes
         WHERE expires_at < ?",
    )
    .bind(now.as_micros().cast_signed())
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

fn put(values: &mut Values, code: &NewCode) {
    values.id(code.account.get());
    values.text(code.purpose.as_str());
    values.bytes(&code.code_hash);
    values.number(0);
    values.time(code.created_at);
    values.time(code.expires_at);
}
