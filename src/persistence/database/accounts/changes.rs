//! Acts on an account. Those that end access raise its epoch, and have their entry in the log of events in the same
//! transaction.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::{AnyConnection, Connection};

use super::{Account, by_id, replace_password_hash};
use crate::domain::{BuyerId, Timestamp};
use crate::persistence::database::account_events::{self, AccountEvent, Chain};
use crate::persistence::database::codes::{self, Purpose};
use crate::persistence::database::columns::Columns;
use crate::persistence::database::mail_outbox::{self, NewLetter};
use crate::persistence::database::{Database, Error, addresses, sessions, wishlist};

/// What became of an act that changes who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessChange {
    NoSuchAccount,
    /// Without it nobody could make another admin.
    LastAdmin,
    /// It was so already.
    Unchanged,
    Changed {
        epoch: u64,
    },
}

/// Sealed values that take the place of others; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct ProfilePatch {
    pub name: Option<Vec<u8>>,
    pub phone: Option<Vec<u8>>,
    pub language: Option<&'static str>,
}

/// What a change of the password brings along.
#[derive(Debug)]
pub struct NewPassword {
    pub account: BuyerId,
    pub hash: Box<str>,
    /// The session that goes on; `None` ends all of them.
    pub kept_session: Option<u128>,
    pub letter: NewLetter,
    pub now: Timestamp,
}

/// Who may still act on the account after the change.
#[derive(Clone, Copy)]
enum Act {
    Role(&'static str),
    Suspend,
    Reinstate,
    Erase,
}

impl Database {
    /// Gives the new epoch. `None`: the hash was no longer `old`, or there is no such account.
    pub async fn change_password(
        &self,
        old: Box<str>,
        new: NewPassword,
        chain: Chain,
        event: AccountEvent,
    ) -> Result<Option<u64>, Error> {
        self.with_event(chain, event, move |connection| {
            async move {
                if !replace_password_hash(connection, new.account, &old, &new.hash).await? {
                    return Ok((None, false));
                }
                let epoch = after_new_password(connection, &new).await?;
                Ok((Some(epoch), true))
            }
            .boxed()
        })
        .await
    }

    /// Gives the new epoch. `None`: the code was not the right one, which costs a try. The mailbox is proved by it, too.
    pub async fn reset_password(
        &self,
        code_hash: [u8; 32],
        new: NewPassword,
        chain: Chain,
        event: AccountEvent,
    ) -> Result<Option<u64>, Error> {
        self.with_event(chain, event, move |connection| {
            async move {
                let (account, now) = (new.account, new.now);
                if !codes::use_up(connection, account, Purpose::Reset, &code_hash, now).await? {
                    return Ok((None, false));
                }
                set_hash(connection, account, &new.hash).await?;
                let epoch = after_new_password(connection, &new).await?;
                Ok((Some(epoch), true))
            }
            .boxed()
        })
        .await
    }

    pub async fn set_role(
        &self,
        id: BuyerId,
        role: &'static str,
        now: Timestamp,
        chain: Chain,
        event: AccountEvent,
    ) -> Result<AccessChange, Error> {
        self.change_access(id, Act::Role(role), now, chain, event)
            .await
    }

    /// Ends access until [`Database::reinstate`].
    pub async fn suspend(
        &self,
        id: BuyerId,
        now: Timestamp,
        chain: Chain,
        event: AccountEvent,
    ) -> Result<AccessChange, Error> {
        self.change_access(id, Act::Suspend, now, chain, event)
            .await
    }

    pub async fn reinstate(
        &self,
        id: BuyerId,
        now: Timestamp,
        chain: Chain,
        event: AccountEvent,
    ) -> Result<AccessChange, Error> {
        self.change_access(id, Act::Reinstate, now, chain, event)
            .await
    }

    /// Destroys the data key and all that was sealed with it. The id stays, because the books name it.
    pub async fn erase_account(
        &self,
        id: BuyerId,
        now: Timestamp,
        chain: Chain,
        event: AccountEvent,
    ) -> Result<AccessChange, Error> {
        self.change_access(id, Act::Erase, now, chain, event).await
    }

    /// Ends all sessions and all access tokens of an account, which exists. Gives the new epoch.
    pub async fn end_access(
        &self,
        id: BuyerId,
        now: Timestamp,
        chain: Chain,
        event: AccountEvent,
    ) -> Result<u64, Error> {
        self.with_event(chain, event, move |connection| {
            async move {
                // The row of the account first: who opens a session at this moment waits for it, or is seen.
                raise_epoch(connection, id, now).await?;
                sessions::revoke_all_of(connection, id, None, now).await?;
                Ok((epoch_of(connection, id).await?, true))
            }
            .boxed()
        })
        .await
    }

    /// Whether there is such an account.
    pub async fn update_profile(&self, id: BuyerId, patch: ProfilePatch) -> Result<bool, Error> {
        self.write(move |connection| {
            async move { update_profile(connection, id, patch).await }.boxed()
        })
        .await
    }

    async fn change_access(
        &self,
        id: BuyerId,
        act: Act,
        now: Timestamp,
        chain: Chain,
        event: AccountEvent,
    ) -> Result<AccessChange, Error> {
        self.with_event(chain, event, move |connection| {
            async move {
                let change = decide_and_act(connection, id, act, now).await?;
                let happened = matches!(change, AccessChange::Changed { .. });
                Ok((change, happened))
            }
            .boxed()
        })
        .await
    }

    /// Runs `act` in a transaction; if it says that it happened, the event is part of it. Acts with events take turns,
    /// so what one of them has read no other one changes.
    async fn with_event<T, F>(&self, chain: Chain, event: AccountEvent, act: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<(T, bool), Error>>
            + Send
            + 'static,
    {
        let dialect = self.dialect();
        let turn = self.event_turn();
        self.write(move |connection| {
            async move {
                let _turn = turn.lock().await;
                let mut transaction = connection.begin_with(dialect.begin_write()).await?;
                let (outcome, happened) = act(&mut transaction).await?;
                if happened {
                    account_events::append(&mut transaction, &chain, &[event]).await?;
                }
                transaction.commit().await?;
                Ok(outcome)
            }
            .boxed()
        })
        .await
    }
}

async fn decide_and_act(
    connection: &mut AnyConnection,
    id: BuyerId,
    act: Act,
    now: Timestamp,
) -> Result<AccessChange, Error> {
    let found = by_id(connection, id).await?;
    let Some(account) = found.filter(|account| account.erased_at.is_none()) else {
        return Ok(AccessChange::NoSuchAccount);
    };
    if act.is_done(&account) {
        return Ok(AccessChange::Unchanged);
    }
    if act.takes_an_admin(&account) && count_acting_admins(connection).await? <= 1 {
        return Ok(AccessChange::LastAdmin);
    }
    match act {
        Act::Role(role) => set_role(connection, id, role).await?,
        Act::Suspend => {
            set_suspended(connection, id, Some(now)).await?;
            sessions::revoke_all_of(connection, id, None, now).await?;
        }
        Act::Reinstate => set_suspended(connection, id, None).await?,
        Act::Erase => erase(connection, id, now).await?,
    }
    raise_epoch(connection, id, now).await?;
    Ok(AccessChange::Changed {
        epoch: account.access_epoch + 1,
    })
}

impl Act {
    fn is_done(self, account: &Account) -> bool {
        match self {
            Self::Role(role) => *account.role == *role,
            Self::Suspend => account.suspended_at.is_some(),
            Self::Reinstate => account.suspended_at.is_none(),
            Self::Erase => false,
        }
    }

    fn takes_an_admin(self, account: &Account) -> bool {
        let acts_as_admin = *account.role == *"admin" && account.suspended_at.is_none();
        acts_as_admin && !matches!(self, Self::Reinstate)
    }
}

async fn after_new_password(
    connection: &mut AnyConnection,
    new: &NewPassword,
) -> Result<u64, Error> {
    let NewPassword { account, now, .. } = *new;
    sessions::revoke_all_of(connection, account, new.kept_session, now).await?;
    raise_epoch(connection, account, now).await?;
    mail_outbox::insert(connection, &new.letter).await?;
    epoch_of(connection, account).await
}

async fn erase(connection: &mut AnyConnection, id: BuyerId, now: Timestamp) -> Result<(), Error> {
    clear(connection, id, now).await?;
    sessions::delete_all_of(connection, id).await?;
    codes::delete_all_of(connection, id).await?;
    mail_outbox::delete_all_of(connection, id).await?;
    wishlist::delete_all_of(connection, id).await?;
    addresses::delete_all_of(connection, id).await
}

async fn clear(connection: &mut AnyConnection, id: BuyerId, now: Timestamp) -> Result<(), Error> {
    sqlx::query(
        "UPDATE accounts
         SET role = 'buyer',
             username_index = NULL,
             email_index = NULL,
             password_hash = NULL,
             data_key = NULL,
             username = NULL,
             email = NULL,
             name = NULL,
             phone = NULL,
             default_address = NULL,
             suspended_at = ?,
             erased_at = ?
         WHERE id = ?",
    )
    .bind(now.as_micros().cast_signed())
    .bind(now.as_micros().cast_signed())
    .bind(id.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn set_hash(connection: &mut AnyConnection, id: BuyerId, hash: &str) -> Result<(), Error> {
    sqlx::query(
        "UPDATE accounts
         SET password_hash = ?
         WHERE id = ?",
    )
    .bind(hash)
    .bind(id.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn set_role(connection: &mut AnyConnection, id: BuyerId, role: &str) -> Result<(), Error> {
    sqlx::query(
        "UPDATE accounts
         SET role = ?
         WHERE id = ?",
    )
    .bind(role)
    .bind(id.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn set_suspended(
    connection: &mut AnyConnection,
    id: BuyerId,
    at: Option<Timestamp>,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE accounts
         SET suspended_at = ?
         WHERE id = ?",
    )
    .bind(at.map(|at| at.as_micros().cast_signed()))
    .bind(id.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn raise_epoch(
    connection: &mut AnyConnection,
    id: BuyerId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE accounts
         SET access_epoch = access_epoch + 1,
             access_changed_at = ?
         WHERE id = ?",
    )
    .bind(now.as_micros().cast_signed())
    .bind(id.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn epoch_of(connection: &mut AnyConnection, id: BuyerId) -> Result<u64, Error> {
    let row = sqlx::query(
        "SELECT access_epoch
         FROM accounts
         WHERE id = ?",
    )
    .bind(id.to_bytes().to_vec())
    .fetch_one(connection)
    .await?;
    Columns::of(&row).count("an epoch of access")
}

/// Admins who can sign in or have a token: not those who are suspended.
async fn count_acting_admins(connection: &mut AnyConnection) -> Result<u64, Error> {
    let row = sqlx::query(
        "SELECT COUNT(*)
         FROM accounts
         WHERE role = 'admin'
           AND suspended_at IS NULL",
    )
    .fetch_one(connection)
    .await?;
    Columns::of(&row).count("a number of admins")
}

async fn update_profile(
    connection: &mut AnyConnection,
    id: BuyerId,
    patch: ProfilePatch,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE accounts
         SET name = COALESCE(?, name),
             phone = COALESCE(?, phone),
             language = COALESCE(?, language)
         WHERE id = ?
           AND erased_at IS NULL",
    )
    .bind(patch.name)
    .bind(patch.phone)
    .bind(patch.language)
    .bind(id.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}
