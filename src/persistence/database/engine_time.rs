//! The table `engine_time`: the last stamp among the records that the rows stand for. A start goes on from there, because
//! the rows themselves do not keep when each thing happened.

use sqlx::AnyConnection;

use super::Error;
use super::columns::Columns;
use crate::domain::Timestamp;

/// Zero in a database into which nothing was written since it has this table.
pub(super) async fn read(connection: &mut AnyConnection) -> Result<Timestamp, Error> {
    let row = sqlx::query(
        "SELECT last_stamp
         FROM engine_time
         WHERE id = 1",
    )
    .fetch_one(connection)
    .await?;
    Columns::of(&row)
        .count("the last stamp")
        .map(Timestamp::from_micros)
}

/// Never makes it less: journals of earlier releases may have gone back in time.
pub(super) async fn note(
    connection: &mut AnyConnection,
    last_stamp: Timestamp,
) -> Result<(), Error> {
    let last_stamp = last_stamp.as_micros().cast_signed();
    sqlx::query(
        "UPDATE engine_time
         SET last_stamp = ?
         WHERE id = 1
           AND last_stamp < ?",
    )
    .bind(last_stamp)
    .bind(last_stamp)
    .execute(connection)
    .await?;
    Ok(())
}
