//! Making an account whose address is still to be verified, and verifying it.

use futures_util::FutureExt;
use sqlx::{AnyConnection, Connection};

use super::{Account, by_email, by_username, insert};
use crate::domain::{BuyerId, Timestamp};
use crate::persistence::database::codes::{self, NewCode, Purpose};
use crate::persistence::database::mail_outbox::{self, NewLetter};
use crate::persistence::database::{Database, Dialect, Error};

/// What became of a sign-up.
#[derive(Debug)]
pub enum SignedUp {
    Made,
    UsernameTaken,
    /// The address belongs to a verified account, to which nothing was done.
    AddressKnown(Box<Account>),
}

/// A sign-up that meets another one for the same name or address fails, or is the victim of a deadlock; looks again then.
const LOOKS: u32 = 3;

impl Database {
    /// Makes an unverified account with its code and the letter that carries it. An unverified account with the same
    /// address is replaced; one with the same name only if it was made before `stale_before`.
    pub async fn sign_up(
        &self,
        account: Account,
        code: NewCode,
        letter: NewLetter,
        stale_before: Timestamp,
    ) -> Result<SignedUp, Error> {
        let dialect = self.dialect();
        self.write(move |connection| {
            async move {
                for _ in 1..LOOKS {
                    match attempt(connection, dialect, &account, &code, &letter, stale_before).await
                    {
                        Err(error) if matches!(error, Error::Taken) || error.heals() => {}
                        other => return other,
                    }
                }
                attempt(connection, dialect, &account, &code, &letter, stale_before).await
            }
            .boxed()
        })
        .await
    }

    /// Whether the code was the right one; if so it is used up and the account is verified.
    pub async fn verify_email(
        &self,
        account: BuyerId,
        code_hash: [u8; 32],
        now: Timestamp,
    ) -> Result<bool, Error> {
        let dialect = self.dialect();
        self.write(move |connection| {
            async move {
                let mut transaction = connection.begin_with(dialect.begin_write()).await?;
                let right =
                    codes::use_up(&mut transaction, account, Purpose::Verify, &code_hash, now)
                        .await?;
                if right {
                    set_verified(&mut transaction, account, now).await?;
                }
                transaction.commit().await?;
                Ok(right)
            }
            .boxed()
        })
        .await
    }

    /// Removes accounts that were never verified. Gives how many.
    pub async fn remove_stale_sign_ups(&self, made_before: Timestamp) -> Result<u64, Error> {
        self.write(move |connection| {
            async move { delete_unverified_before(connection, made_before).await }.boxed()
        })
        .await
    }
}

async fn attempt(
    connection: &mut AnyConnection,
    dialect: Dialect,
    account: &Account,
    code: &NewCode,
    letter: &NewLetter,
    stale_before: Timestamp,
) -> Result<SignedUp, Error> {
    let mut transaction = connection.begin_with(dialect.begin_write()).await?;
    let namesake = match account.username_index {
        Some(index) => by_username(&mut transaction, index).await?,
        None => None,
    };
    let neighbour = match account.email_index {
        Some(index) => by_email(&mut transaction, index).await?,
        None => None,
    };
    let gives_way = |other: &Account| {
        other.verified_at.is_none()
            && (other.email_index == account.email_index || other.created_at < stale_before)
    };
    if namesake.as_ref().is_some_and(|other| !gives_way(other)) {
        return Ok(SignedUp::UsernameTaken);
    }
    if let Some(known) = neighbour.clone().filter(|it| it.verified_at.is_some()) {
        return Ok(SignedUp::AddressKnown(Box::new(known)));
    }
    for replaced in namesake.into_iter().chain(neighbour) {
        delete_unverified(&mut transaction, replaced.id).await?;
    }
    insert(&mut transaction, account).await?;
    codes::insert(&mut transaction, code).await?;
    mail_outbox::insert(&mut transaction, letter).await?;
    transaction.commit().await?;
    Ok(SignedUp::Made)
}

async fn set_verified(
    connection: &mut AnyConnection,
    id: BuyerId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE accounts
         SET verified_at = ?
         WHERE id = ?
           AND verified_at IS NULL",
    )
    .bind(now.as_micros().cast_signed())
    .bind(id.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

/// Its code and letters go with it when their time is over; without the account they are of no use.
async fn delete_unverified(connection: &mut AnyConnection, id: BuyerId) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM accounts
         WHERE id = ?
           AND verified_at IS NULL",
    )
    .bind(id.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn delete_unverified_before(
    connection: &mut AnyConnection,
    made_before: Timestamp,
) -> Result<u64, Error> {
    let done = sqlx::query(
        "DELETE FROM accounts
         WHERE verified_at IS NULL
           AND created_at < ?",
    )
    .bind(made_before.as_micros().cast_signed())
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
