//! The tables `addresses` and `address_versions`: a book of addresses whose pages never change.
//!
//! An order names the version that it was placed with, so that what is written on a parcel stays what the buyer saw.

use futures_util::FutureExt;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection};

use super::bulk::{BulkInsert, select_by_keys};
use super::columns::{Columns, Values};
use super::{Database, Error, accounts};
use crate::domain::{BuyerId, Timestamp};

const COLUMNS: [&str; 4] = ["id", "account", "version", "created_at"];
const VERSION_COLUMNS: [&str; 5] = ["id", "address", "account", "content", "created_at"];

/// An address with what it says now.
#[derive(Clone, PartialEq, Eq)]
pub struct AddressRow {
    pub id: u128,
    pub created_at: Timestamp,
    pub current: AddressVersion,
}

/// What an address said, sealed, from the time on when it was written.
#[derive(Clone, PartialEq, Eq)]
pub struct AddressVersion {
    pub id: u128,
    pub address: u128,
    pub account: BuyerId,
    pub content: Vec<u8>,
    pub created_at: Timestamp,
}

/// A version to be written.
pub type NewVersion = AddressVersion;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddedAddress {
    Added,
    /// The book is full.
    TooMany,
}

impl std::fmt::Debug for AddressRow {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "AddressRow({:x})", self.id)
    }
}

impl std::fmt::Debug for AddressVersion {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "AddressVersion({:x} of {:x})", self.id, self.address)
    }
}

impl Database {
    /// The addresses of an account, the oldest first. There are few of them.
    pub async fn addresses(&self, account: BuyerId) -> Result<Vec<AddressRow>, Error> {
        self.read(move |connection| all_of(connection, account).boxed())
            .await
    }

    pub async fn address(&self, account: BuyerId, id: u128) -> Result<Option<AddressRow>, Error> {
        self.read(move |connection| one_of(connection, account, id).boxed())
            .await
    }

    /// Versions by their ids, whoever they belong to.
    pub async fn address_versions(&self, ids: Vec<u128>) -> Result<Vec<AddressVersion>, Error> {
        self.read(move |connection| async move { versions(connection, &ids).await }.boxed())
            .await
    }

    /// The first address of an account becomes the default whatever `default` says.
    pub async fn add_address(
        &self,
        version: NewVersion,
        default: bool,
        addresses_max: u64,
    ) -> Result<AddedAddress, Error> {
        let dialect = self.dialect();
        self.write(move |connection| {
            async move {
                let mut transaction = connection.begin_with(dialect.begin_write()).await?;
                accounts::lock(&mut transaction, dialect, version.account).await?;
                let count = count_of(&mut transaction, version.account).await?;
                if count >= addresses_max {
                    return Ok(AddedAddress::TooMany);
                }
                insert(&mut transaction, &version).await?;
                insert_version(&mut transaction, &version).await?;
                if default || count == 0 {
                    set_default(&mut transaction, version.account, Some(version.address)).await?;
                }
                transaction.commit().await?;
                Ok(AddedAddress::Added)
            }
            .boxed()
        })
        .await
    }

    /// Whether the address still said what `before` says. `version: None` changes only the default.
    pub async fn change_address(
        &self,
        before: AddressRow,
        version: Option<NewVersion>,
        default: bool,
    ) -> Result<bool, Error> {
        let dialect = self.dialect();
        self.write(move |connection| {
            async move {
                let mut transaction = connection.begin_with(dialect.begin_write()).await?;
                let account = before.current.account;
                accounts::lock(&mut transaction, dialect, account).await?;
                let version_id = version.as_ref().map_or(before.current.id, |it| it.id);
                let unchanged = swap_version(&mut transaction, &before, version_id).await?;
                if !unchanged {
                    return Ok(false);
                }
                if let Some(version) = version {
                    insert_version(&mut transaction, &version).await?;
                }
                if default {
                    set_default(&mut transaction, account, Some(before.id)).await?;
                }
                transaction.commit().await?;
                Ok(true)
            }
            .boxed()
        })
        .await
    }

    /// Whether there was such an address. Its versions stay for the orders that name them. If it was the default, the
    /// oldest of the others is.
    pub async fn remove_address(&self, account: BuyerId, id: u128) -> Result<bool, Error> {
        let dialect = self.dialect();
        self.write(move |connection| {
            async move {
                let mut transaction = connection.begin_with(dialect.begin_write()).await?;
                accounts::lock(&mut transaction, dialect, account).await?;
                if !delete(&mut transaction, account, id).await? {
                    return Ok(false);
                }
                if default_of(&mut transaction, account).await? == Some(id) {
                    let heir = oldest_of(&mut transaction, account).await?;
                    set_default(&mut transaction, account, heir).await?;
                }
                transaction.commit().await?;
                Ok(true)
            }
            .boxed()
        })
        .await
    }
}

async fn all_of(
    connection: &mut AnyConnection,
    account: BuyerId,
) -> Result<Vec<AddressRow>, Error> {
    let rows = sqlx::query(
        "SELECT a.id, a.created_at, v.id, v.address, v.account, v.content, v.created_at
         FROM addresses a
         JOIN address_versions v ON v.id = a.version
         WHERE a.account = ?
         ORDER BY a.id",
    )
    .bind(account.to_bytes().to_vec())
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

async fn one_of(
    connection: &mut AnyConnection,
    account: BuyerId,
    id: u128,
) -> Result<Option<AddressRow>, Error> {
    let row = sqlx::query(
        "SELECT a.id, a.created_at, v.id, v.address, v.account, v.content, v.created_at
         FROM addresses a
         JOIN address_versions v ON v.id = a.version
         WHERE a.account = ?
           AND a.id = ?",
    )
    .bind(account.to_bytes().to_vec())
    .bind(id.to_be_bytes().to_vec())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

async fn versions(
    connection: &mut AnyConnection,
    ids: &[u128],
) -> Result<Vec<AddressVersion>, Error> {
    let head = "SELECT id, address, account, content, created_at
         FROM address_versions
         WHERE id IN";
    let put_id = |values: &mut Values, id: &u128| values.id(*id);
    let mut found = Vec::with_capacity(ids.len());
    select_by_keys(connection, head, ids, "", put_id, |row| {
        found.push(read_version(&mut Columns::of(row))?);
        Ok(())
    })
    .await?;
    Ok(found)
}

async fn count_of(connection: &mut AnyConnection, account: BuyerId) -> Result<u64, Error> {
    let row = sqlx::query(
        "SELECT COUNT(*)
         FROM addresses
         WHERE account = ?",
    )
    .bind(account.to_bytes().to_vec())
    .fetch_one(connection)
    .await?;
    Columns::of(&row).count("a number of addresses")
}

async fn oldest_of(
    connection: &mut AnyConnection,
    account: BuyerId,
) -> Result<Option<u128>, Error> {
    let row = sqlx::query(
        "SELECT id
         FROM addresses
         WHERE account = ?
         ORDER BY id
         LIMIT 1",
    )
    .bind(account.to_bytes().to_vec())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(|row| Columns::of(row).id()).transpose()
}

async fn default_of(
    connection: &mut AnyConnection,
    account: BuyerId,
) -> Result<Option<u128>, Error> {
    let row = sqlx::query(
        "SELECT default_address
         FROM accounts
         WHERE id = ?",
    )
    .bind(account.to_bytes().to_vec())
    .fetch_optional(connection)
    .await?;
    match row {
        Some(row) => Columns::of(&row).id_or_null(),
        None => Ok(None),
    }
}

async fn set_default(
    connection: &mut AnyConnection,
    account: BuyerId,
    address: Option<u128>,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE accounts
         SET default_address = ?
         WHERE id = ?",
    )
    .bind(address.map(|id| id.to_be_bytes().to_vec()))
    .bind(account.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert(connection: &mut AnyConnection, version: &NewVersion) -> Result<(), Error> {
    let put = |values: &mut Values, version: &NewVersion| {
        values.id(version.address);
        values.id(version.account.get());
        values.id(version.id);
        values.time(version.created_at);
    };
    BulkInsert::new("addresses", &COLUMNS, "")
        .run(connection, std::slice::from_ref(version), put)
        .await
}

async fn insert_version(connection: &mut AnyConnection, version: &NewVersion) -> Result<(), Error> {
    let put = |values: &mut Values, version: &NewVersion| {
        values.id(version.id);
        values.id(version.address);
        values.id(version.account.get());
        values.bytes(&version.content);
        values.time(version.created_at);
    };
    BulkInsert::new("address_versions", &VERSION_COLUMNS, "")
        .run(connection, std::slice::from_ref(version), put)
        .await
}

async fn swap_version(
    connection: &mut AnyConnection,
    before: &AddressRow,
    version: u128,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE addresses
         SET version = ?
         WHERE id = ?
           AND account = ?
           AND version = ?",
    )
    .bind(version.to_be_bytes().to_vec())
    .bind(before.id.to_be_bytes().to_vec())
    .bind(before.current.account.to_bytes().to_vec())
    .bind(before.current.id.to_be_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn delete(connection: &mut AnyConnection, account: BuyerId, id: u128) -> Result<bool, Error> {
    let done = sqlx::query(
        "DELETE FROM addresses
         WHERE account = ?
           AND id = ?",
    )
    .bind(account.to_bytes().to_vec())
    .bind(id.to_be_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Also what orders name: without the data key nobody could read it.
pub(super) async fn delete_all_of(
    connection: &mut AnyConnection,
    account: BuyerId,
) -> Result<(), Error> {
    for statement in [
        "DELETE FROM addresses WHERE account = ?",
        "DELETE FROM address_versions WHERE account = ?",
    ] {
        sqlx::query(statement)
            .bind(account.to_bytes().to_vec())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn read(row: &AnyRow) -> Result<AddressRow, Error> {
    let mut columns = Columns::of(row);
    Ok(AddressRow {
        id: columns.id()?,
        created_at: columns.time()?,
        current: read_version(&mut columns)?,
    })
}

fn read_version(columns: &mut Columns<'_>) -> Result<AddressVersion, Error> {
    Ok(AddressVersion {
        id: columns.id()?,
        address: columns.id()?,
        account: BuyerId::new(columns.id()?),
        content: columns.bytes()?.to_vec(),
        created_at: columns.time()?,
    })
}
