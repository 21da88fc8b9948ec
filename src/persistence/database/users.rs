//! The table `users`: who may sign in, and as what. Names and addresses of people are not kept here.

use futures_util::FutureExt;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::bulk::BulkInsert;
use super::columns::{Columns, Values};
use super::{Database, Engine, Error};
use crate::domain::{BuyerId, Timestamp};

const COLUMNS: [&str; 5] = [
    "id",
    "role",
    "username_index",
    "password_hash",
    "created_at",
];

/// An account to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewUser {
    pub id: BuyerId,
    pub role: Box<str>,
    /// A keyed hash of the name, by which the account is found.
    pub username_index: Option<[u8; 32]>,
    pub password_hash: Option<Box<str>>,
    pub created_at: Timestamp,
}

/// An account.
pub type User = NewUser;

/// Not derived: the hash of a password does not belong in a log.
impl std::fmt::Debug for NewUser {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("User")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// [`Error::Taken`] if the id or the name is in use.
    pub async fn create_user(&self, user: NewUser) -> Result<(), Error> {
        self.write(move |connection| async move { insert(connection, &[user]).await }.boxed())
            .await
    }

    /// Makes many accounts without a name; those that are there already stay as they are. All or none.
    pub async fn insert_users_bulk(
        &self,
        ids: Vec<BuyerId>,
        role: &str,
        created_at: Timestamp,
    ) -> Result<(), Error> {
        let engine = self.engine();
        let users: Vec<NewUser> = ids
            .into_iter()
            .map(|id| NewUser {
                id,
                role: role.into(),
                username_index: None,
                password_hash: None,
                created_at,
            })
            .collect();
        self.write(move |connection| {
            async move { insert_missing(connection, engine, &users).await }.boxed()
        })
        .await
    }

    pub async fn user(&self, id: BuyerId) -> Result<Option<User>, Error> {
        self.read(move |connection| by_id(connection, id).boxed())
            .await
    }

    pub async fn user_by_username(&self, index: [u8; 32]) -> Result<Option<User>, Error> {
        self.read(move |connection| by_username(connection, index).boxed())
            .await
    }

    pub async fn user_exists(&self, id: BuyerId) -> Result<bool, Error> {
        Ok(self.user(id).await?.is_some())
    }

    pub async fn count_admins(&self) -> Result<u64, Error> {
        self.read(|connection| count_by_role(connection, "admin").boxed())
            .await
    }
}

async fn insert(connection: &mut AnyConnection, users: &[NewUser]) -> Result<(), Error> {
    BulkInsert::new("users", &COLUMNS, "")
        .run(connection, users, put)
        .await
}

async fn insert_missing(
    connection: &mut AnyConnection,
    engine: Engine,
    users: &[NewUser],
) -> Result<(), Error> {
    use sqlx::Connection;
    let insert = BulkInsert::new("users", &COLUMNS, &engine.keep("id"));
    let mut transaction = connection.begin_with(engine.begin_write()).await?;
    insert.run(&mut transaction, users, put).await?;
    Ok(transaction.commit().await?)
}

async fn by_id(connection: &mut AnyConnection, id: BuyerId) -> Result<Option<User>, Error> {
    let row = sqlx::query(
        "SELECT id, role, username_index, password_hash, created_at
         FROM users
         WHERE id = ?",
    )
    .bind(id.to_bytes().to_vec())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

async fn by_username(
    connection: &mut AnyConnection,
    index: [u8; 32],
) -> Result<Option<User>, Error> {
    let row = sqlx::query(
        "SELECT id, role, username_index, password_hash, created_at
         FROM users
         WHERE username_index = ?",
    )
    .bind(index.to_vec())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

async fn count_by_role(connection: &mut AnyConnection, role: &'static str) -> Result<u64, Error> {
    let row = sqlx::query(
        "SELECT COUNT(*)
         FROM users
         WHERE role = ?",
    )
    .bind(role)
    .fetch_one(connection)
    .await?;
    Columns::of(&row).count("a number of users")
}

fn put(values: &mut Values, user: &NewUser) {
    values.id(user.id.get());
    values.text(&user.role);
    values.bytes_or_null(user.username_index.as_ref().map(<[u8; 32]>::as_slice));
    values.text_or_null(user.password_hash.as_deref());
    values.time(user.created_at);
}

fn read(row: &AnyRow) -> Result<User, Error> {
    let mut columns = Columns::of(row);
    Ok(User {
        id: BuyerId::new(columns.id()?),
        role: columns.text()?.into(),
        username_index: columns.bytes_or_null()?.map(read_index).transpose()?,
        password_hash: columns.text_or_null()?.map(Into::into),
        created_at: columns.time()?,
    })
}

fn read_index(bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes.try_into().or(Err(Error::Damaged {
        what: "the index of a name",
    }))
}
