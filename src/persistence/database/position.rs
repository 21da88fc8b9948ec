//! The table `followers`: how far the rows, and the letters, follow the journal, and which journal that is.
//!
//! **Invariant:** a row changes in one transaction with what was made of the records up to it, from exactly where its
//! writer thinks that it stands, and never from one journal to another.

use futures_util::FutureExt;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::columns::Columns;
use super::{Database, Dialect, Error};
use crate::persistence::following::Bookmark;
use crate::persistence::journal::{JournalId, Position};

/// Who follows the journal into SQL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FollowerName {
    /// The rows.
    Projection,
    /// Letters about orders. It has no row while nobody writes any.
    Notices,
}

impl FollowerName {
    const fn text(self) -> &'static str {
        match self {
            Self::Projection => "projection",
            Self::Notices => "notices",
        }
    }
}

impl Database {
    /// The last record that the rows stand for. Ahead of the journal: acknowledged records are gone, do not start.
    pub async fn position(&self) -> Result<Position, Error> {
        self.read(|connection| read(connection).boxed()).await
    }

    /// Where a follower stands in the journal.
    pub async fn bookmark(&self, follower: FollowerName) -> Result<Bookmark, Error> {
        self.read(move |connection| bookmark(connection, follower).boxed())
            .await
    }

    /// The same of one that may not follow at all.
    pub async fn find_bookmark(&self, follower: FollowerName) -> Result<Option<Bookmark>, Error> {
        self.read(move |connection| find(connection, follower).boxed())
            .await
    }
}

/// How far the rows follow. For whoever reads rows in the same snapshot.
pub(super) async fn read(connection: &mut AnyConnection) -> Result<Position, Error> {
    Ok(bookmark(connection, FollowerName::Projection)
        .await?
        .position)
}

pub(super) async fn bookmark(
    connection: &mut AnyConnection,
    follower: FollowerName,
) -> Result<Bookmark, Error> {
    let found = find(connection, follower).await?;
    found.ok_or(Error::Refused(sqlx::Error::RowNotFound))
}

async fn find(
    connection: &mut AnyConnection,
    follower: FollowerName,
) -> Result<Option<Bookmark>, Error> {
    let row = sqlx::query(
        "SELECT position, journal_id, frame_checksum
         FROM followers
         WHERE name = ?",
    )
    .bind(follower.text())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(bookmark_in).transpose()
}

fn bookmark_in(row: &AnyRow) -> Result<Bookmark, Error> {
    let mut columns = Columns::of(row);
    let position = columns.count("the position of a follower")?;
    let journal = columns.number_or_null()?;
    let frame = columns.number_or_null()?.map(u32::try_from).transpose();
    Ok(Bookmark {
        position: Position::new(position),
        journal: journal.map(|id| JournalId::new(id.cast_unsigned())),
        frame: frame.or(Err(Error::Damaged {
            what: "the checksum of a frame",
        }))?,
    })
}

/// Begins at `first`, unless the follower has a place already.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    dialect: Dialect,
    follower: FollowerName,
    first: Position,
) -> Result<(), Error> {
    let statement = format!(
        "INSERT INTO followers (name, position)
         VALUES (?, ?){}",
        dialect.keep("name")
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(follower.text())
        .bind(first.get().cast_signed())
        .execute(connection)
        .await?;
    Ok(())
}

/// Moves the bookmark if it is the expected one, which may lack what `new` adds, and says whether it was. Until the
/// transaction ends, nobody else can move it. Always writes, also if it stays where it is: a commit that changes nothing
/// is none to SQLite, and syncs nothing.
pub(super) async fn advance(
    connection: &mut AnyConnection,
    follower: FollowerName,
    expected: Bookmark,
    new: Bookmark,
) -> Result<bool, Error> {
    let journal = new.journal.map_or(0, |id| id.get().cast_signed());
    let done = sqlx::query(
        "UPDATE followers
         SET position = ?, journal_id = ?, frame_checksum = ?, writes = writes + 1
         WHERE name = ?
           AND position = ?
           AND COALESCE(journal_id, ?) = ?
           AND COALESCE(frame_checksum, -1) = ?",
    )
    .bind(new.position.get().cast_signed())
    .bind(journal)
    .bind(new.frame.map(i64::from))
    .bind(follower.text())
    .bind(expected.position.get().cast_signed())
    .bind(journal)
    .bind(journal)
    .bind(expected.frame.map_or(-1, i64::from))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn forget(
    connection: &mut AnyConnection,
    follower: FollowerName,
) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM followers
         WHERE name = ?",
    )
    .bind(follower.text())
    .execute(connection)
    .await?;
    Ok(())
}
