//! The table `mail_outbox`: letters that are not sent yet, sealed.

use futures_util::FutureExt;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::bulk::BulkInsert;
use super::columns::{Columns, Values};
use super::{Database, Error};
use crate::domain::{BuyerId, Timestamp};

const COLUMNS: [&str; 7] = [
    "id",
    "account",
    "letter",
    "tries",
    "next_at",
    "expires_at",
    "created_at",
];

/// A letter to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLetter {
    pub id: u128,
    pub account: BuyerId,
    /// Sealed with the data key of the account.
    pub letter: Vec<u8>,
    pub next_at: Timestamp,
    /// After this time it is not worth sending.
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

/// A letter whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueLetter {
    pub id: u128,
    pub account: BuyerId,
    /// Wrapped; `None` if the account is gone or erased.
    pub data_key: Option<Vec<u8>>,
    pub letter: Vec<u8>,
    /// How often it was tried before.
    pub tries: u64,
    pub expires_at: Timestamp,
}

impl Database {
    pub async fn put_letter(&self, letter: NewLetter) -> Result<(), Error> {
        self.write(move |connection| async move { insert(connection, &letter).await }.boxed())
            .await
    }

    /// Those whose turn it is, the longest waiting first.
    pub async fn due_letters(&self, now: Timestamp, limit: u32) -> Result<Vec<DueLetter>, Error> {
        self.read(move |connection| due(connection, now, limit).boxed())
            .await
    }

    /// When the next turn of any letter is.
    pub async fn next_letter_at(&self) -> Result<Option<Timestamp>, Error> {
        self.read(move |connection| next_at(connection).boxed())
            .await
    }

    /// Whether the letter had been tried `tries` times, and so is the caller's to send until its next turn. Before it is
    /// sent: whoever crashes after sending repeats it at its next turn and no sooner.
    pub async fn claim_letter(
        &self,
        id: u128,
        tries: u64,
        next_at: Timestamp,
    ) -> Result<bool, Error> {
        self.write(move |connection| {
            async move { claim(connection, id, tries, next_at).await }.boxed()
        })
        .await
    }

    pub async fn delete_letter(&self, id: u128) -> Result<(), Error> {
        self.write(move |connection| async move { delete(connection, id).await }.boxed())
            .await
    }

    pub async fn count_letters(&self) -> Result<u64, Error> {
        self.read(|connection| count(connection).boxed()).await
    }
}

pub(super) async fn insert(
    connection: &mut AnyConnection,
    letter: &NewLetter,
) -> Result<(), Error> {
    BulkInsert::new("mail_outbox", &COLUMNS, "")
        .run(connection, std::slice::from_ref(letter), put)
        .await
}

pub(super) async fn delete_all_of(
    connection: &mut AnyConnection,
    account: BuyerId,
) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM mail_outbox
         WHERE account = ?",
    )
    .bind(account.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn due(
    connection: &mut AnyConnection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<DueLetter>, Error> {
    let rows = sqlx::query(
        "SELECT o.id, o.account, a.data_key, o.letter, o.tries, o.expires_at
         FROM mail_outbox o
         LEFT JOIN accounts a ON a.id = o.account
         WHERE o.next_at <= ?
         ORDER BY o.next_at, o.id
         LIMIT ?",
    )
    .bind(now.as_micros().cast_signed())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

async fn next_at(connection: &mut AnyConnection) -> Result<Option<Timestamp>, Error> {
    let row = sqlx::query(
        "SELECT next_at
         FROM mail_outbox
         ORDER BY next_at
         LIMIT 1",
    )
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(|row| Columns::of(row).time()).transpose()
}

async fn claim(
    connection: &mut AnyConnection,
    id: u128,
    tries: u64,
    next_at: Timestamp,
) -> Result<bool, Error> {
    let tries = i64::try_from(tries).unwrap_or(i64::MAX);
    let done = sqlx::query(
        "UPDATE mail_outbox
         SET tries = tries + 1,
             next_at = ?
         WHERE id = ?
           AND tries = ?",
    )
    .bind(next_at.as_micros().cast_signed())
    .bind(id.to_be_bytes().to_vec())
    .bind(tries)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn delete(connection: &mut AnyConnection, id: u128) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM mail_outbox
         WHERE id = ?",
    )
    .bind(id.to_be_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn count(connection: &mut AnyConnection) -> Result<u64, Error> {
    let row = sqlx::query(
        "SELECT COUNT(*)
         FROM mail_outbox",
    )
    .fetch_one(connection)
    .await?;
    Columns::of(&row).count("a number of letters")
}

fn put(values: &mut Values, letter: &NewLetter) {
    values.id(letter.id);
    values.id(letter.account.get());
    values.bytes(&letter.letter);
    values.number(0);
    values.time(letter.next_at);
    values.time(letter.expires_at);
    values.time(letter.created_at);
}

fn read(row: &AnyRow) -> Result<DueLetter, Error> {
    let mut columns = Columns::of(row);
    Ok(DueLetter {
        id: columns.id()?,
        account: BuyerId::new(columns.id()?),
        data_key: columns.bytes_or_null()?.map(<[u8]>::to_vec),
        letter: columns.bytes()?.to_vec(),
        tries: columns.count("a number of tries")?,
        expires_at: columns.time()?,
    })
}
