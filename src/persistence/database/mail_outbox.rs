//! The tables `mail_outbox` and `order_outbox`: letters that are not sent yet, sealed.
//!
//! A letter is written in the transaction of what it tells about. Letters of accounts and letters of orders wait apart, so
//! that a code never waits behind ten thousand letters of a sale. A carrier takes it by raising its number of tries, which
//! only one of several carriers can do, and sets its next turn before it sends: after a crash nothing needs to be put right.

use futures_util::FutureExt;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::bulk::BulkInsert;
use super::columns::{Columns, Values};
use super::{Database, Error};
use crate::domain::{BuyerId, Timestamp};

/// Letters at a time, at most; who asks for more gets this many.
pub const LETTERS_MAX: u32 = 500;

/// Columns of a new letter, in the order in which `put` goes through them.
const COLUMNS: [&str; 7] = [
    "id",
    "account",
    "letter",
    "tries",
    "next_at",
    "expires_at",
    "created_at",
];

/// Where a letter waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Outbox {
    /// Letters that somebody waits for: those who have waited longest go first.
    Accounts,
    /// Letters about orders: those that will soon be of no use go first.
    Orders,
}

impl Outbox {
    pub const ALL: [Self; 2] = [Self::Accounts, Self::Orders];

    pub const fn table(self) -> &'static str {
        match self {
            Self::Accounts => "mail_outbox",
            Self::Orders => "order_outbox",
        }
    }

    const fn turn(self) -> &'static str {
        match self {
            Self::Accounts => "m.next_at, m.id",
            Self::Orders => "m.expires_at, m.id",
        }
    }
}

/// A letter to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct NewLetter {
    pub id: u128,
    /// Whose data key the letter is sealed with.
    pub account: BuyerId,
    pub letter: Vec<u8>,
    pub next_at: Timestamp,
    /// From then on it is of no use to anybody.
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

/// A letter whose turn has come.
#[derive(Clone, PartialEq, Eq)]
pub struct DueLetter {
    pub outbox: Outbox,
    pub id: u128,
    pub account: BuyerId,
    /// Wrapped. `None`: there is no such account, or it was erased, and nobody can open the letter any more.
    pub data_key: Option<Vec<u8>>,
    pub letter: Vec<u8>,
    /// How often it was taken before.
    pub tries: u64,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

impl Database {
    /// Puts in a letter that belongs to no other change. [`Error::Taken`] if there is one with this id.
    pub async fn insert_letter(&self, letter: NewLetter) -> Result<(), Error> {
        self.write(move |connection| async move { insert(connection, &letter).await }.boxed())
            .await
    }

    /// Letters whose turn has come, in the order of the outbox.
    pub async fn due_letters(
        &self,
        outbox: Outbox,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueLetter>, Error> {
        let limit = limit.min(LETTERS_MAX);
        self.read(move |connection| due(connection, outbox, now, limit).boxed())
            .await
    }

    /// Takes a letter for one try, unless somebody else has taken it since it was seen with `tries_before` tries. Says
    /// whether it is ours. Until `next_at` nobody else takes it.
    pub async fn claim_letter(
        &self,
        outbox: Outbox,
        id: u128,
        tries_before: u64,
        next_at: Timestamp,
    ) -> Result<bool, Error> {
        self.write_lightly(move |connection| {
            claim(connection, outbox, id, tries_before, next_at).boxed()
        })
        .await
    }

    /// Sets another turn for a letter that has been taken `tries` times. Says whether there was such a letter.
    pub async fn put_off_letter(
        &self,
        outbox: Outbox,
        id: u128,
        tries: u64,
        next_at: Timestamp,
    ) -> Result<bool, Error> {
        self.write_lightly(move |connection| {
            put_off(connection, outbox, id, tries, next_at).boxed()
        })
        .await
    }

    /// Says whether there was such a letter.
    pub async fn delete_letter(&self, outbox: Outbox, id: u128) -> Result<bool, Error> {
        self.write_lightly(move |connection| delete(connection, outbox, id).boxed())
            .await
    }

    /// Letters that wait, also those whose turn has not come.
    pub async fn count_letters(&self, outbox: Outbox) -> Result<u64, Error> {
        self.read(move |connection| count(connection, outbox).boxed())
            .await
    }
}

pub(super) async fn delete_all_of(
    connection: &mut AnyConnection,
    account: BuyerId,
) -> Result<(), Error> {
    for outbox in Outbox::ALL {
        let statement = format!(
            "DELETE FROM {}
             WHERE account = ?",
            outbox.table()
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(account.to_bytes().to_vec())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Puts a letter of an account into its outbox.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    letter: &NewLetter,
) -> Result<(), Error> {
    insert_into(Outbox::Accounts)
        .run(connection, std::slice::from_ref(letter), put)
        .await
}

pub(super) fn insert_into(outbox: Outbox) -> BulkInsert {
    BulkInsert::new(outbox.table(), &COLUMNS, "")
}

pub(super) fn put(values: &mut Values, letter: &NewLetter) {
    values.id(letter.id);
    values.id(letter.account.get());
    values.bytes(&letter.letter);
    values.count(0);
    values.number(number(letter.next_at));
    values.number(number(letter.expires_at));
    values.number(number(letter.created_at));
}

async fn due(
    connection: &mut AnyConnection,
    outbox: Outbox,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<DueLetter>, Error> {
    let statement = format!(
        "SELECT m.id, m.account, a.data_key, m.letter, m.tries, m.expires_at, m.created_at
         FROM {} m
         LEFT JOIN accounts a ON a.id = m.account
         WHERE m.next_at <= ?
         ORDER BY {}
         LIMIT ?",
        outbox.table(),
        outbox.turn()
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(number(now))
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| read(outbox, row)).collect()
}

async fn claim(
    connection: &mut AnyConnection,
    outbox: Outbox,
    id: u128,
    tries_before: u64,
    next_at: Timestamp,
) -> Result<bool, Error> {
    let statement = format!(
        "UPDATE {}
         SET tries = tries + 1, next_at = ?
         WHERE id = ?
           AND tries = ?",
        outbox.table()
    );
    let done = sqlx::query(AssertSqlSafe(statement))
        .bind(number(next_at))
        .bind(id.to_be_bytes().to_vec())
        .bind(i64::try_from(tries_before).unwrap_or(i64::MAX))
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

async fn put_off(
    connection: &mut AnyConnection,
    outbox: Outbox,
    id: u128,
    tries: u64,
    next_at: Timestamp,
) -> Result<bool, Error> {
    let statement = format!(
        "UPDATE {}
         SET next_at = ?
         WHERE id = ?
           AND tries = ?",
        outbox.table()
    );
    let done = sqlx::query(AssertSqlSafe(statement))
        .bind(number(next_at))
        .bind(id.to_be_bytes().to_vec())
        .bind(i64::try_from(tries).unwrap_or(i64::MAX))
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

async fn delete(connection: &mut AnyConnection, outbox: Outbox, id: u128) -> Result<bool, Error> {
    let statement = format!(
        "DELETE FROM {}
         WHERE id = ?",
        outbox.table()
    );
    let done = sqlx::query(AssertSqlSafe(statement))
        .bind(id.to_be_bytes().to_vec())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn count(connection: &mut AnyConnection, outbox: Outbox) -> Result<u64, Error> {
    let statement = format!(
        "SELECT COUNT(*)
         FROM {}",
        outbox.table()
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .fetch_one(connection)
        .await?;
    Columns::of(&row).count("a number of letters")
}

fn read(outbox: Outbox, row: &AnyRow) -> Result<DueLetter, Error> {
    let mut columns = Columns::of(row);
    Ok(DueLetter {
        outbox,
        id: columns.id()?,
        account: BuyerId::new(columns.id()?),
        data_key: columns.bytes_or_null()?.map(<[u8]>::to_vec),
        letter: columns.bytes()?.to_vec(),
        tries: columns.count("a number of tries")?,
        expires_at: columns.time()?,
        created_at: columns.time()?,
    })
}

/// Turns are compared by SQL, so a time after the end of signed time is that end.
fn number(time: Timestamp) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Not derived: neither a sealed letter nor a wrapped key belongs in a log.
impl std::fmt::Debug for NewLetter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("NewLetter")
            .field("id", &uuid::Uuid::from_u128(self.id))
            .field("account", &self.account)
            .field("next_at", &self.next_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for DueLetter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("DueLetter")
            .field("outbox", &self.outbox)
            .field("id", &uuid::Uuid::from_u128(self.id))
            .field("account", &self.account)
            .field("tries", &self.tries)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Database {
    /// As much of an account as a letter needs.
    pub(crate) async fn insert_account_for_letters(
        &self,
        id: BuyerId,
        data_key: Option<&[u8]>,
    ) -> Result<(), Error> {
        let data_key = data_key.map(<[u8]>::to_vec);
        self.write(move |connection| {
            async move {
                sqlx::query(
                    "INSERT INTO accounts (id, role, data_key, language, access_epoch, access_changed_at, created_at)
                     VALUES (?, 'buyer', ?, 'en', 0, 0, 0)",
                )
                .bind(id.to_bytes().to_vec())
                .bind(data_key)
                .execute(connection)
                .await?;
                Ok(())
            }
            .boxed()
        })
        .await
    }
}
