//! The table `projection`: how far the rows follow the journal.

use futures_util::FutureExt;
use sqlx::AnyConnection;

use super::columns::Columns;
use super::{Database, Error};
use crate::persistence::journal::Position;

impl Database {
    /// The last record that the rows stand for. Ahead of the journal: acknowledged records are gone, do not start.
    pub async fn position(&self) -> Result<Position, Error> {
        self.read(|connection| read(connection).boxed()).await
    }
}

pub(super) async fn read(connection: &mut AnyConnection) -> Result<Position, Error> {
    let row = sqlx::query(
        "SELECT position
         FROM projection
         WHERE id = 1",
    )
    .fetch_one(connection)
    .await?;
    Columns::of(&row)
        .count("the position of the projection")
        .map(Position::new)
}

/// Moves the position if it is what the caller thinks, and says whether it was. Until the transaction ends, nobody else
/// can move it.
pub(super) async fn advance(
    connection: &mut AnyConnection,
    expected: Position,
    new: Position,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE projection
         SET position = ?
         WHERE id = 1
           AND position = ?",
    )
    .bind(new.get().cast_signed())
    .bind(expected.get().cast_signed())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
