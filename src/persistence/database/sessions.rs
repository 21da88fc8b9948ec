//! The table `sessions`: one sign-in a row, through all rotations of its refresh token.

use futures_util::FutureExt;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection};

use super::bulk::BulkInsert;
use super::columns::{Columns, Values};
use super::{Account, Database, Error, accounts};
use crate::domain::{BuyerId, Timestamp};

const COLUMNS: [&str; 7] = [
    "id",
    "account",
    "token_hash",
    "created_at",
    "used_at",
    "expires_at",
    "revoked_at",
];

/// A sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: u128,
    pub account: BuyerId,
    /// Hash of the newest refresh token, the only one that is good.
    pub token_hash: [u8; 32],
    pub created_at: Timestamp,
    /// When it was made or last rotated.
    pub used_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

impl Database {
    /// Whether the account still is as it was when its password was checked: what ended access since must not be
    /// outlived by a session that began before.
    pub async fn open_session(&self, session: Session, access_epoch: u64) -> Result<bool, Error> {
        let dialect = self.dialect();
        self.write_lightly(move |connection| {
            async move {
                let mut transaction = connection.begin_with(dialect.begin_write()).await?;
                accounts::lock(&mut transaction, dialect, session.account).await?;
                let account = accounts::by_id(&mut transaction, session.account).await?;
                let is_as_it_was = |it: &Account| {
                    it.access_epoch == access_epoch
                        && it.suspended_at.is_none()
                        && it.erased_at.is_none()
                };
                if !account.as_ref().is_some_and(is_as_it_was) {
                    return Ok(false);
                }
                insert(&mut transaction, &session).await?;
                transaction.commit().await?;
                Ok(true)
            }
            .boxed()
        })
        .await
    }

    pub async fn session(&self, id: u128) -> Result<Option<Session>, Error> {
        self.read(move |connection| by_id(connection, id).boxed())
            .await
    }

    /// Whether the token was still `old` and the session not revoked, and so the token is now `new`.
    pub async fn rotate_session(
        &self,
        id: u128,
        old: [u8; 32],
        new: [u8; 32],
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.write_lightly(move |connection| {
            async move { rotate(connection, id, old, new, now).await }.boxed()
        })
        .await
    }

    /// Whether it was good until now.
    pub async fn revoke_session(&self, id: u128, now: Timestamp) -> Result<bool, Error> {
        self.write(move |connection| async move { revoke(connection, id, now).await }.boxed())
            .await
    }

    /// Sessions revoked after `since`, whose access tokens may still be around.
    pub async fn sessions_revoked_since(
        &self,
        since: Timestamp,
    ) -> Result<Vec<(u128, Timestamp)>, Error> {
        self.read(move |connection| revoked_since(connection, since).boxed())
            .await
    }

    /// Removes sessions that ended before `before`. Gives how many.
    pub async fn remove_ended_sessions(&self, before: Timestamp) -> Result<u64, Error> {
        self.write(move |connection| async move { delete_ended(connection, before).await }.boxed())
            .await
    }
}

async fn insert(connection: &mut AnyConnection, session: &Session) -> Result<(), Error> {
    BulkInsert::new("sessions", &COLUMNS, "")
        .run(connection, std::slice::from_ref(session), put)
        .await
}

async fn by_id(connection: &mut AnyConnection, id: u128) -> Result<Option<Session>, Error> {
    let row = sqlx::query(
        "SELECT id, account, token_hash, created_at, used_at, expires_at, revoked_at
         FROM sessions
         WHERE id = ?",
    )
    .bind(id.to_be_bytes().to_vec())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

async fn rotate(
    connection: &mut AnyConnection,
    id: u128,
    old: [u8; 32],
    new: [u8; 32],
    now: Timestamp,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE sessions
         SET token_hash = ?,
             used_at = ?
         WHERE id = ?
           AND token_hash = ?
           AND revoked_at IS NULL",
    )
    .bind(new.to_vec())
    .bind(now.as_micros().cast_signed())
    .bind(id.to_be_bytes().to_vec())
    .bind(old.to_vec())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn revoke(connection: &mut AnyConnection, id: u128, now: Timestamp) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE sessions
         SET revoked_at = ?
         WHERE id = ?
           AND revoked_at IS NULL",
    )
    .bind(now.as_micros().cast_signed())
    .bind(id.to_be_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// All sessions of an account but `kept`.
pub(super) async fn revoke_all_of(
    connection: &mut AnyConnection,
    account: BuyerId,
    kept: Option<u128>,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE sessions
         SET revoked_at = ?
         WHERE account = ?
           AND id <> ?
           AND revoked_at IS NULL",
    )
    .bind(now.as_micros().cast_signed())
    .bind(account.to_bytes().to_vec())
    .bind(kept.unwrap_or_default().to_be_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn delete_all_of(
    connection: &mut AnyConnection,
    account: BuyerId,
) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM sessions
         WHERE account = ?",
    )
    .bind(account.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn revoked_since(
    connection: &mut AnyConnection,
    since: Timestamp,
) -> Result<Vec<(u128, Timestamp)>, Error> {
    let rows = sqlx::query(
        "SELECT id, revoked_at
         FROM sessions
         WHERE revoked_at > ?",
    )
    .bind(since.as_micros().cast_signed())
    .fetch_all(connection)
    .await?;
    let read = |row| {
        let mut columns = Columns::of(row);
        Ok((columns.id()?, columns.time()?))
    };
    rows.iter().map(read).collect()
}

async fn delete_ended(connection: &mut AnyConnection, before: Timestamp) -> Result<u64, Error> {
    let done = sqlx::query(
        "DELETE FROM sessions
         WHERE expires_at < ?
            OR revoked_at < ?",
    )
    .bind(before.as_micros().cast_signed())
    .bind(before.as_micros().cast_signed())
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

fn put(values: &mut Values, session: &Session) {
    values.id(session.id);
    values.id(session.account.get());
    values.bytes(&session.token_hash);
    values.time(session.created_at);
    values.time(session.used_at);
    values.time(session.expires_at);
    values.time_or_null(session.revoked_at);
}

fn read(row: &AnyRow) -> Result<Session, Error> {
    let mut columns = Columns::of(row);
    Ok(Session {
        id: columns.id()?,
        account: BuyerId::new(columns.id()?),
        token_hash: columns.hash()?,
        created_at: columns.time()?,
        used_at: columns.time()?,
        expires_at: columns.time()?,
        revoked_at: columns.time_or_null()?,
    })
}
