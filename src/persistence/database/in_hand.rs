//! The table `in_hand`: who holds, is offered or has bought how many units of a product. Who has none has no row.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::bulk::{BulkInsert, delete_by_pairs, select_by_keys, select_by_pairs};
use super::columns::{Columns, Values};
use super::{Dialect, Error};
use crate::domain::{BuyerId, IdMap, InHand, ProductId};

/// In the order in which rows are put.
const COLUMNS: [&str; 3] = ["product", "buyer", "units"];

const KEY: [&str; 2] = ["product", "buyer"];

/// A person, and the units of one product that they have in hand.
pub(crate) type Hand = (BuyerId, u64);

#[derive(Debug)]
pub(super) struct Statements {
    insert_or_overwrite: BulkInsert,
}

impl Statements {
    pub(super) fn new(dialect: Dialect) -> Self {
        let tail = dialect.overwrite(&KEY.join(", "), &["units"]);
        Self {
            insert_or_overwrite: BulkInsert::new("in_hand", &COLUMNS, &tail),
        }
    }

    pub(super) async fn insert_or_overwrite(
        &self,
        connection: &mut AnyConnection,
        rows: &[(ProductId, Hand)],
    ) -> Result<(), Error> {
        let put = |values: &mut Values, (product, (buyer, units)): &(ProductId, Hand)| {
            put_key(values, &(*product, *buyer));
            values.count(*units);
        };
        self.insert_or_overwrite.run(connection, rows, put).await
    }
}

pub(super) async fn delete(
    connection: &mut AnyConnection,
    keys: &[(ProductId, BuyerId)],
) -> Result<(), Error> {
    delete_by_pairs(connection, "DELETE FROM in_hand WHERE", KEY, keys, put_key).await
}

/// What these people have of these products, without those who have none.
pub(super) async fn find(
    connection: &mut AnyConnection,
    keys: &[(ProductId, BuyerId)],
) -> Result<Vec<(ProductId, Hand)>, Error> {
    let head = "SELECT product, buyer, units FROM in_hand WHERE";
    let mut found = Vec::with_capacity(keys.len());
    select_by_pairs(connection, head, KEY, keys, put_key, |row| {
        found.push(read(row)?);
        Ok(())
    })
    .await?;
    Ok(found)
}

/// Everybody who has units of these products.
pub(super) async fn of(
    connection: &mut AnyConnection,
    products: &[ProductId],
) -> Result<IdMap<ProductId, InHand>, Error> {
    let head = "SELECT product, buyer, units FROM in_hand WHERE product IN";
    let put_id = |values: &mut Values, id: &ProductId| values.id(id.get());
    let mut people: IdMap<ProductId, InHand> = IdMap::default();
    select_by_keys(connection, head, products, "", put_id, |row| {
        let (product, (buyer, units)) = read(row)?;
        people.entry(product).or_default().give(buyer, units);
        Ok(())
    })
    .await?;
    Ok(people)
}

fn put_key(values: &mut Values, (product, buyer): &(ProductId, BuyerId)) {
    values.id(product.get());
    values.id(buyer.get());
}

fn read(row: &AnyRow) -> Result<(ProductId, Hand), Error> {
    let mut columns = Columns::of(row);
    let product = ProductId::new(columns.id()?);
    let buyer = BuyerId::new(columns.id()?);
    Ok((product, (buyer, columns.count("units in hand")?)))
}
