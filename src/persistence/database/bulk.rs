//! Statements over many rows or keys at once.
//!
//! A statement comes in a few fixed sizes, so that each size is prepared once and stays prepared.

use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::Error;
use super::columns::Values;

/// Rows a statement, at most. With the widest table this is half of what `SQLite` and a fifth of what `MySQL` can bind.
const ROWS_MAX: usize = 512;
const SIZES: [usize; 4] = [ROWS_MAX, 64, 8, 1];

/// An INSERT of many rows.
#[derive(Debug)]
pub(super) struct BulkInsert {
    texts: [Arc<str>; SIZES.len()],
}

impl BulkInsert {
    /// `tail` says what happens to a row that is there already; empty: it is an error.
    pub(super) fn new(table: &str, columns: &[&str], tail: &str) -> Self {
        let head = format!("INSERT INTO {table} ({}) VALUES ", columns.join(", "));
        let row = format!("({})", placeholders(columns.len()));
        let texts = SIZES.map(|size| {
            let rows = vec![row.as_str(); size].join(", ");
            format!("{head}{rows}{tail}").into()
        });
        Self { texts }
    }

    pub(super) async fn run<T>(
        &self,
        connection: &mut AnyConnection,
        mut rows: &[T],
        put: impl Fn(&mut Values, &T),
    ) -> Result<(), Error> {
        for (size, text) in SIZES.into_iter().zip(&self.texts) {
            while let Some((chunk, rest)) = rows.split_at_checked(size) {
                let mut values = Values::default();
                chunk.iter().for_each(|row| put(&mut values, row));
                sqlx::query_with(AssertSqlSafe(Arc::clone(text)), values.finish()?)
                    .execute(&mut *connection)
                    .await?;
                rows = rest;
            }
        }
        Ok(())
    }
}

/// What a row is found by.
#[derive(Clone, Copy)]
enum Key<'c> {
    /// The column is named before the list of keys.
    Single,
    Pair([&'c str; 2]),
}

/// Shows the rows that a SELECT finds for many keys. `head` ends before the parenthesis with the keys.
pub(super) async fn select_by_keys<T>(
    connection: &mut AnyConnection,
    head: &str,
    keys: &[T],
    tail: &str,
    put: impl Fn(&mut Values, &T),
    show: impl FnMut(&AnyRow) -> Result<(), Error>,
) -> Result<(), Error> {
    select(connection, head, Key::Single, keys, tail, put, show).await
}

/// The same with keys of two columns. `head` ends with WHERE.
pub(super) async fn select_by_pairs<T>(
    connection: &mut AnyConnection,
    head: &str,
    columns: [&str; 2],
    keys: &[T],
    put: impl Fn(&mut Values, &T),
    show: impl FnMut(&AnyRow) -> Result<(), Error>,
) -> Result<(), Error> {
    select(connection, head, Key::Pair(columns), keys, "", put, show).await
}

async fn select<T>(
    connection: &mut AnyConnection,
    head: &str,
    key: Key<'_>,
    mut keys: &[T],
    tail: &str,
    put: impl Fn(&mut Values, &T),
    mut show: impl FnMut(&AnyRow) -> Result<(), Error>,
) -> Result<(), Error> {
    while !keys.is_empty() {
        let (list, values) = next_keys(key, &mut keys, &put);
        let statement = format!("{head} {list}{tail}");
        let mut rows =
            sqlx::query_with(AssertSqlSafe(statement), values.finish()?).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            show(&row)?;
        }
    }
    Ok(())
}

/// Deletes the rows that many keys name. `head` ends before the parenthesis with the keys.
pub(super) async fn delete_by_keys<T>(
    connection: &mut AnyConnection,
    head: &str,
    keys: &[T],
    put: impl Fn(&mut Values, &T),
) -> Result<(), Error> {
    delete(connection, head, Key::Single, keys, put).await
}

/// The same with keys of two columns. `head` ends with WHERE.
pub(super) async fn delete_by_pairs<T>(
    connection: &mut AnyConnection,
    head: &str,
    columns: [&str; 2],
    keys: &[T],
    put: impl Fn(&mut Values, &T),
) -> Result<(), Error> {
    delete(connection, head, Key::Pair(columns), keys, put).await
}

async fn delete<T>(
    connection: &mut AnyConnection,
    head: &str,
    key: Key<'_>,
    mut keys: &[T],
    put: impl Fn(&mut Values, &T),
) -> Result<(), Error> {
    while !keys.is_empty() {
        let (list, values) = next_keys(key, &mut keys, &put);
        let statement = format!("{head} {list}");
        sqlx::query_with(AssertSqlSafe(statement), values.finish()?)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The next keys as a list of placeholders of one of the fixed sizes, and their values.
fn next_keys<T>(key: Key<'_>, keys: &mut &[T], put: impl Fn(&mut Values, &T)) -> (String, Values) {
    let (chunk, rest) = keys.split_at(keys.len().min(ROWS_MAX));
    let size = just_large_enough(chunk.len());
    let mut values = Values::default();
    chunk.iter().for_each(|key| put(&mut values, key));
    if let Some(last) = chunk.last() {
        // A key that is named twice is found once.
        (chunk.len()..size).for_each(|_| put(&mut values, last));
    }
    *keys = rest;
    (key.any_of(size), values)
}

impl Key<'_> {
    fn any_of(self, size: usize) -> String {
        match self {
            Self::Single => format!("({})", placeholders(size)),
            // Row values in a list would be shorter, but SQLite then reads the whole table.
            Self::Pair([one, other]) => {
                let pair = format!("({one} = ? AND {other} = ?)");
                vec![pair.as_str(); size].join(" OR ")
            }
        }
    }
}

fn just_large_enough(keys: usize) -> usize {
    let mut sizes = SIZES.into_iter().rev();
    sizes.find(|size| *size >= keys).unwrap_or(ROWS_MAX)
}

/// `?, ?, ?`
fn placeholders(count: usize) -> String {
    vec!["?"; count].join(", ")
}
