//! The table `accounts`: who may sign in, and as what.
//!
//! What is personal arrives here sealed and leaves sealed; names and addresses are looked up by their keyed hashes.
//! `changes.rs` has the acts that end access, each in one transaction with its entry in the log of events.

mod changes;
mod sign_up;

use futures_util::FutureExt;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::bulk::{BulkInsert, select_by_keys};
use super::columns::{Columns, Values};
use super::{Database, Dialect, Error};
use crate::domain::{BuyerId, Timestamp};

pub use changes::{AccessChange, NewPassword, ProfilePatch};
pub use sign_up::SignedUp;

const COLUMNS: [&str; 18] = [
    "id",
    "role",
    "username_index",
    "email_index",
    "password_hash",
    "data_key",
    "username",
    "email",
    "name",
    "phone",
    "language",
    "default_address",
    "access_epoch",
    "access_changed_at",
    "created_at",
    "verified_at",
    "suspended_at",
    "erased_at",
];

/// The columns in their order, and whatever follows.
macro_rules! select_accounts {
    ($tail:literal) => {
        concat!(
            "SELECT id, role, username_index, email_index, password_hash, data_key, username, email, name, phone, \
             language, default_address, access_epoch, access_changed_at, created_at, verified_at, suspended_at, erased_at \
             FROM accounts ",
            $tail
        )
    };
}

/// An account. Sealed values are as the vault made them.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    pub id: BuyerId,
    /// `buyer`, `seller` or `admin`.
    pub role: Box<str>,
    pub username_index: Option<[u8; 32]>,
    pub email_index: Option<[u8; 32]>,
    /// A PHC string.
    pub password_hash: Option<Box<str>>,
    pub sealed: Sealed,
    /// `en` or `ko`: in what language letters are written.
    pub language: Box<str>,
    pub default_address: Option<u128>,
    /// Tokens of an earlier epoch are no longer good.
    pub access_epoch: u64,
    pub access_changed_at: Timestamp,
    pub created_at: Timestamp,
    pub verified_at: Option<Timestamp>,
    pub suspended_at: Option<Timestamp>,
    pub erased_at: Option<Timestamp>,
}

/// The wrapped data key of an account, and what is sealed with it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Sealed {
    pub data_key: Option<Box<[u8]>>,
    pub username: Option<Box<[u8]>>,
    pub email: Option<Box<[u8]>>,
    pub name: Option<Box<[u8]>>,
    pub phone: Option<Box<[u8]>>,
}

/// What decides about the tokens of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub id: BuyerId,
    pub role: Box<str>,
    pub epoch: u64,
    pub suspended: bool,
    pub changed_at: Timestamp,
}

impl Account {
    /// An account that can be vouched for and has nothing personal: a buyer of a load test, an admin without a name.
    pub fn nameless(id: BuyerId, role: &str, created_at: Timestamp) -> Self {
        Self {
            id,
            role: role.into(),
            username_index: None,
            email_index: None,
            password_hash: None,
            sealed: Sealed::default(),
            language: "en".into(),
            default_address: None,
            access_epoch: 0,
            access_changed_at: Timestamp::ZERO,
            created_at,
            verified_at: Some(created_at),
            suspended_at: None,
            erased_at: None,
        }
    }
}

/// Not derived: hashes of passwords and sealed data do not belong in a log.
impl std::fmt::Debug for Account {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Account")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("access_epoch", &self.access_epoch)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Sealed")
    }
}

impl Database {
    /// [`Error::Taken`] if the id, the name or the address is in use.
    pub async fn create_account(&self, account: Account) -> Result<(), Error> {
        self.write(move |connection| async move { insert(connection, &account).await }.boxed())
            .await
    }

    /// Makes many accounts; those whose id is there already stay as they are. All or none.
    pub async fn create_accounts(&self, accounts: Vec<Account>) -> Result<(), Error> {
        let dialect = self.dialect();
        self.write(move |connection| {
            async move { insert_missing(connection, dialect, &accounts).await }.boxed()
        })
        .await
    }

    pub async fn account(&self, id: BuyerId) -> Result<Option<Account>, Error> {
        self.read(move |connection| by_id(connection, id).boxed())
            .await
    }

    /// Those of the accounts that there are, in no particular order.
    pub async fn accounts(&self, ids: Vec<BuyerId>) -> Result<Vec<Account>, Error> {
        self.read(move |connection| async move { by_ids(connection, &ids, "").await }.boxed())
            .await
    }

    pub async fn account_by_username(&self, index: [u8; 32]) -> Result<Option<Account>, Error> {
        self.read(move |connection| by_username(connection, index).boxed())
            .await
    }

    pub async fn account_by_email(&self, index: [u8; 32]) -> Result<Option<Account>, Error> {
        self.read(move |connection| by_email(connection, index).boxed())
            .await
    }

    /// Accounts whose access changed after `since`: tokens that are older may still be around.
    pub async fn standings_since(&self, since: Timestamp) -> Result<Vec<Standing>, Error> {
        self.read(move |connection| standings(connection, since).boxed())
            .await
    }

    /// Wrapped data keys in the order of their accounts, from the one after `after`.
    pub async fn data_keys(
        &self,
        after: BuyerId,
        limit: u32,
    ) -> Result<Vec<(BuyerId, Vec<u8>)>, Error> {
        self.read(move |connection| data_keys(connection, after, limit).boxed())
            .await
    }

    /// Whether the account had no data key, and so has this one now.
    pub async fn set_first_data_key(&self, id: BuyerId, wrapped: Vec<u8>) -> Result<bool, Error> {
        self.write(move |connection| {
            async move { set_first_data_key(connection, id, wrapped).await }.boxed()
        })
        .await
    }

    /// Whether the key was still `old`, and so is now `new`.
    pub async fn replace_data_key(
        &self,
        id: BuyerId,
        old: Vec<u8>,
        new: Vec<u8>,
    ) -> Result<bool, Error> {
        self.write(move |connection| {
            async move { replace_data_key(connection, id, &old, &new).await }.boxed()
        })
        .await
    }

    /// Whether the hash was still `old`, and so is now `new`: a sign-in must not undo a change of the password.
    pub async fn replace_password_hash(
        &self,
        id: BuyerId,
        old: Box<str>,
        new: Box<str>,
    ) -> Result<bool, Error> {
        self.write(move |connection| {
            async move { replace_password_hash(connection, id, &old, &new).await }.boxed()
        })
        .await
    }
}

async fn insert(connection: &mut AnyConnection, account: &Account) -> Result<(), Error> {
    BulkInsert::new("accounts", &COLUMNS, "")
        .run(connection, std::slice::from_ref(account), put)
        .await
}

async fn insert_missing(
    connection: &mut AnyConnection,
    dialect: Dialect,
    accounts: &[Account],
) -> Result<(), Error> {
    use sqlx::Connection;
    let insert = BulkInsert::new("accounts", &COLUMNS, &dialect.keep("id"));
    let mut transaction = connection.begin_with(dialect.begin_write()).await?;
    insert.run(&mut transaction, accounts, put).await?;
    Ok(transaction.commit().await?)
}

/// Acts on one account take turns until their transactions end. On `SQLite` all writers do anyway.
pub(super) async fn lock(
    connection: &mut AnyConnection,
    dialect: Dialect,
    id: BuyerId,
) -> Result<(), Error> {
    if dialect == Dialect::MySql {
        sqlx::query(
            "SELECT id
             FROM accounts
             WHERE id = ?
             FOR UPDATE",
        )
        .bind(id.to_bytes().to_vec())
        .fetch_optional(connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn by_id(
    connection: &mut AnyConnection,
    id: BuyerId,
) -> Result<Option<Account>, Error> {
    let row = sqlx::query(select_accounts!("WHERE id = ?"))
        .bind(id.to_bytes().to_vec())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

/// Those of these accounts that letters can be written to: verified, and neither suspended nor erased.
pub(super) async fn addressable(
    connection: &mut AnyConnection,
    ids: &[BuyerId],
) -> Result<Vec<Account>, Error> {
    let which = " AND data_key IS NOT NULL
                  AND email IS NOT NULL
                  AND verified_at IS NOT NULL
                  AND suspended_at IS NULL
                  AND erased_at IS NULL";
    by_ids(connection, ids, which).await
}

/// `which` is a further condition on them, or nothing.
async fn by_ids(
    connection: &mut AnyConnection,
    ids: &[BuyerId],
    which: &str,
) -> Result<Vec<Account>, Error> {
    let put_id = |values: &mut Values, id: &BuyerId| values.id(id.get());
    let mut accounts = Vec::new();
    let head = select_accounts!("WHERE id IN");
    select_by_keys(connection, head, ids, which, put_id, |row| {
        accounts.push(read(row)?);
        Ok(())
    })
    .await?;
    Ok(accounts)
}

async fn by_username(
    connection: &mut AnyConnection,
    index: [u8; 32],
) -> Result<Option<Account>, Error> {
    let row = sqlx::query(select_accounts!("WHERE username_index = ?"))
        .bind(index.to_vec())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

async fn by_email(
    connection: &mut AnyConnection,
    index: [u8; 32],
) -> Result<Option<Account>, Error> {
    let row = sqlx::query(select_accounts!("WHERE email_index = ?"))
        .bind(index.to_vec())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

async fn standings(
    connection: &mut AnyConnection,
    since: Timestamp,
) -> Result<Vec<Standing>, Error> {
    let rows = sqlx::query(
        "SELECT id, role, access_epoch, suspended_at, access_changed_at
         FROM accounts
         WHERE access_changed_at > ?",
    )
    .bind(since.as_micros().cast_signed())
    .fetch_all(connection)
    .await?;
    rows.iter().map(read_standing).collect()
}

async fn data_keys(
    connection: &mut AnyConnection,
    after: BuyerId,
    limit: u32,
) -> Result<Vec<(BuyerId, Vec<u8>)>, Error> {
    let rows = sqlx::query(
        "SELECT id, data_key
         FROM accounts
         WHERE id > ?
           AND data_key IS NOT NULL
         ORDER BY id
         LIMIT ?",
    )
    .bind(after.to_bytes().to_vec())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    let read = |row| {
        let mut columns = Columns::of(row);
        Ok((BuyerId::new(columns.id()?), columns.bytes()?.to_vec()))
    };
    rows.iter().map(read).collect()
}

async fn set_first_data_key(
    connection: &mut AnyConnection,
    id: BuyerId,
    wrapped: Vec<u8>,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE accounts
         SET data_key = ?
         WHERE id = ?
           AND data_key IS NULL
           AND erased_at IS NULL",
    )
    .bind(wrapped)
    .bind(id.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn replace_data_key(
    connection: &mut AnyConnection,
    id: BuyerId,
    old: &[u8],
    new: &[u8],
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE accounts
         SET data_key = ?
         WHERE id = ?
           AND data_key = ?",
    )
    .bind(new.to_vec())
    .bind(id.to_bytes().to_vec())
    .bind(old.to_vec())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn replace_password_hash(
    connection: &mut AnyConnection,
    id: BuyerId,
    old: &str,
    new: &str,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE accounts
         SET password_hash = ?
         WHERE id = ?
           AND password_hash = ?",
    )
    .bind(new)
    .bind(id.to_bytes().to_vec())
    .bind(old)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

fn put(values: &mut Values, account: &Account) {
    let sealed = &account.sealed;
    values.id(account.id.get());
    values.text(&account.role);
    values.bytes_or_null(account.username_index.as_ref().map(<[u8; 32]>::as_slice));
    values.bytes_or_null(account.email_index.as_ref().map(<[u8; 32]>::as_slice));
    values.text_or_null(account.password_hash.as_deref());
    values.bytes_or_null(sealed.data_key.as_deref());
    values.bytes_or_null(sealed.username.as_deref());
    values.bytes_or_null(sealed.email.as_deref());
    values.bytes_or_null(sealed.name.as_deref());
    values.bytes_or_null(sealed.phone.as_deref());
    values.text(&account.language);
    values.id_or_null(account.default_address);
    values.count(account.access_epoch);
    values.time(account.access_changed_at);
    values.time(account.created_at);
    values.time_or_null(account.verified_at);
    values.time_or_null(account.suspended_at);
    values.time_or_null(account.erased_at);
}

fn read(row: &AnyRow) -> Result<Account, Error> {
    let mut columns = Columns::of(row);
    Ok(Account {
        id: BuyerId::new(columns.id()?),
        role: columns.text()?.into(),
        username_index: columns.hash_or_null()?,
        email_index: columns.hash_or_null()?,
        password_hash: columns.text_or_null()?.map(Into::into),
        sealed: Sealed {
            data_key: columns.bytes_or_null()?.map(Into::into),
            username: columns.bytes_or_null()?.map(Into::into),
            email: columns.bytes_or_null()?.map(Into::into),
            name: columns.bytes_or_null()?.map(Into::into),
            phone: columns.bytes_or_null()?.map(Into::into),
        },
        language: columns.text()?.into(),
        default_address: columns.id_or_null()?,
        access_epoch: columns.count("an epoch of access")?,
        access_changed_at: columns.time()?,
        created_at: columns.time()?,
        verified_at: columns.time_or_null()?,
        suspended_at: columns.time_or_null()?,
        erased_at: columns.time_or_null()?,
    })
}

fn read_standing(row: &AnyRow) -> Result<Standing, Error> {
    let mut columns = Columns::of(row);
    Ok(Standing {
        id: BuyerId::new(columns.id()?),
        role: columns.text()?.into(),
        epoch: columns.count("an epoch of access")?,
        suspended: columns.time_or_null()?.is_some(),
        changed_at: columns.time()?,
    })
}
