//! The table `wishlist`: what accounts want, a line a product.

use futures_util::FutureExt;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection};

use super::bulk::BulkInsert;
use super::columns::{Columns, Values};
use super::{Account, Database, Error, accounts};
use crate::domain::{BuyerId, ProductId, Quantity, Timestamp};

const COLUMNS: [&str; 5] = ["account", "product", "quantity", "added_at", "changed_at"];

/// A line of a wishlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    pub product: ProductId,
    pub quantity: Quantity,
    pub added_at: Timestamp,
    /// When it was last put there, in whatever quantity.
    pub changed_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutWish {
    Added(Wish),
    /// The product was on the list already.
    Changed(Wish),
    /// The list takes no more.
    Full,
    NoSuchAccount,
}

impl Database {
    /// The wishes of an account, the oldest first. There are few of them.
    pub async fn wishes(&self, account: BuyerId) -> Result<Vec<Wish>, Error> {
        self.read(move |connection| all_of(connection, account).boxed())
            .await
    }

    /// Puts a product on the list, or changes how much of it is wanted.
    pub async fn put_wish(
        &self,
        account: BuyerId,
        product: ProductId,
        quantity: Quantity,
        now: Timestamp,
        wishes_max: u64,
    ) -> Result<PutWish, Error> {
        let dialect = self.dialect();
        self.write(move |connection| {
            async move {
                let mut transaction = connection.begin_with(dialect.begin_write()).await?;
                // Puts take turns by the row of the account, so that the list keeps its bound; and what was erased
                // meanwhile gets no new rows.
                accounts::lock(&mut transaction, dialect, account).await?;
                let owner = accounts::by_id(&mut transaction, account).await?;
                let lives = |it: &Account| it.erased_at.is_none();
                if !owner.as_ref().is_some_and(lives) {
                    return Ok(PutWish::NoSuchAccount);
                }
                let before = one_of(&mut transaction, account, product).await?;
                let wish = Wish {
                    product,
                    quantity,
                    added_at: before.map_or(now, |it| it.added_at),
                    changed_at: now,
                };
                if before.is_some() {
                    update(&mut transaction, account, &wish).await?;
                    transaction.commit().await?;
                    return Ok(PutWish::Changed(wish));
                }
                if count_of(&mut transaction, account).await? >= wishes_max {
                    return Ok(PutWish::Full);
                }
                insert(&mut transaction, account, &wish).await?;
                transaction.commit().await?;
                Ok(PutWish::Added(wish))
            }
            .boxed()
        })
        .await
    }

    pub async fn remove_wish(&self, account: BuyerId, product: ProductId) -> Result<(), Error> {
        self.write(move |connection| delete(connection, account, product).boxed())
            .await
    }

    /// Removes what was bought at `at`. A line that was put there again since, or in another quantity, stays.
    pub async fn remove_bought(
        &self,
        account: BuyerId,
        bought: Vec<(ProductId, Quantity)>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let dialect = self.dialect();
        self.write(move |connection| {
            async move {
                let mut transaction = connection.begin_with(dialect.begin_write()).await?;
                accounts::lock(&mut transaction, dialect, account).await?;
                for (product, quantity) in bought {
                    delete_bought(&mut transaction, account, product, quantity, at).await?;
                }
                transaction.commit().await?;
                Ok(())
            }
            .boxed()
        })
        .await
    }
}

async fn all_of(connection: &mut AnyConnection, account: BuyerId) -> Result<Vec<Wish>, Error> {
    let rows = sqlx::query(
        "SELECT product, quantity, added_at, changed_at
         FROM wishlist
         WHERE account = ?
         ORDER BY added_at, product",
    )
    .bind(account.to_bytes().to_vec())
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

async fn one_of(
    connection: &mut AnyConnection,
    account: BuyerId,
    product: ProductId,
) -> Result<Option<Wish>, Error> {
    let row = sqlx::query(
        "SELECT product, quantity, added_at, changed_at
         FROM wishlist
         WHERE account = ?
           AND product = ?",
    )
    .bind(account.to_bytes().to_vec())
    .bind(product.to_bytes().to_vec())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(read).transpose()
}

async fn count_of(connection: &mut AnyConnection, account: BuyerId) -> Result<u64, Error> {
    let row = sqlx::query(
        "SELECT COUNT(*)
         FROM wishlist
         WHERE account = ?",
    )
    .bind(account.to_bytes().to_vec())
    .fetch_one(connection)
    .await?;
    Columns::of(&row).count("a number of wishes")
}

async fn insert(
    connection: &mut AnyConnection,
    account: BuyerId,
    wish: &Wish,
) -> Result<(), Error> {
    let put = |values: &mut Values, wish: &Wish| {
        values.id(account.get());
        values.id(wish.product.get());
        values.number(i64::from(wish.quantity.get()));
        values.time(wish.added_at);
        values.time(wish.changed_at);
    };
    BulkInsert::new("wishlist", &COLUMNS, "")
        .run(connection, std::slice::from_ref(wish), put)
        .await
}

async fn update(
    connection: &mut AnyConnection,
    account: BuyerId,
    wish: &Wish,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE wishlist
         SET quantity = ?,
             changed_at = ?
         WHERE account = ?
           AND product = ?",
    )
    .bind(i64::from(wish.quantity.get()))
    .bind(wish.changed_at.as_micros().cast_signed())
    .bind(account.to_bytes().to_vec())
    .bind(wish.product.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn delete(
    connection: &mut AnyConnection,
    account: BuyerId,
    product: ProductId,
) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM wishlist
         WHERE account = ?
           AND product = ?",
    )
    .bind(account.to_bytes().to_vec())
    .bind(product.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

async fn delete_bought(
    connection: &mut AnyConnection,
    account: BuyerId,
    product: ProductId,
    quantity: Quantity,
    at: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM wishlist
         WHERE account = ?
           AND product = ?
           AND quantity = ?
           AND changed_at <= ?",
    )
    .bind(account.to_bytes().to_vec())
    .bind(product.to_bytes().to_vec())
    .bind(i64::from(quantity.get()))
    .bind(at.as_micros().cast_signed())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn delete_all_of(
    connection: &mut AnyConnection,
    account: BuyerId,
) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM wishlist
         WHERE account = ?",
    )
    .bind(account.to_bytes().to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<Wish, Error> {
    let mut columns = Columns::of(row);
    let product = ProductId::new(columns.id()?);
    let quantity = u32::try_from(columns.number()?)
        .ok()
        .and_then(Quantity::new);
    Ok(Wish {
        product,
        quantity: quantity.ok_or(Error::Damaged { what: "a quantity" })?,
        added_at: columns.time()?,
        changed_at: columns.time()?,
    })
}
