//! Who has how many units of each product in hand.

use futures_util::TryStreamExt;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::Part;
use super::scan::literals;
use crate::domain::{BuyerId, IdMap, Order, ProductId};
use crate::persistence::database::Error;
use crate::persistence::database::columns::Columns;
use crate::persistence::database::words::Standing;

pub(super) type People = IdMap<ProductId, IdMap<BuyerId, u64>>;

/// Who has how many units in hand: of open orders, which are in memory, and of those at rest, which SQL adds up.
pub(super) async fn people(
    connection: &mut AnyConnection,
    part: &Part,
    open: &[Order],
) -> Result<People, Error> {
    let mut people = People::default();
    if matches!(part, Part::Shards(_)) {
        return Ok(people);
    }
    for order in open {
        if order.bucket().is_some_and(|bucket| bucket.is_in_hand()) {
            for line in &order.lines {
                let units = u64::from(line.quantity.get());
                *people
                    .entry(line.product)
                    .or_default()
                    .entry(order.buyer)
                    .or_default() += units;
            }
        }
    }
    add_at_rest(connection, part, &mut people).await?;
    Ok(people)
}

async fn add_at_rest(
    connection: &mut AnyConnection,
    part: &Part,
    people: &mut People,
) -> Result<(), Error> {
    let of_products = match part {
        Part::Products(ids) => format!("AND l.product IN ({})", literals(ids)),
        Part::All | Part::Shards(_) => String::new(),
    };
    let statement = format!(
        "SELECT l.product, o.buyer, CAST(SUM(l.quantity) AS SIGNED INTEGER)
         FROM orders o
         JOIN order_lines l ON l.sequence = o.sequence
         WHERE o.standing IN (?, ?)
           {of_products}
         GROUP BY l.product, o.buyer",
    );
    let mut rows = sqlx::query(AssertSqlSafe(statement))
        .bind(Standing::SettledInHand.number())
        .bind(Standing::Resting.number())
        .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let mut columns = Columns::of(&row);
        let product = ProductId::new(columns.id()?);
        let buyer = BuyerId::new(columns.id()?);
        let units = columns.count("units in hand")?;
        *people.entry(product).or_default().entry(buyer).or_default() += units;
    }
    Ok(())
}
