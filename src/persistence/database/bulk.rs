//! Statements over many rows or keys at once.
//!
//! A statement comes in a few fixed sizes, so that each size is prepared once and stays prepared.

use std::sync::Arc;

use sqlx::AssertSqlSafe;
use sqlx::any::{AnyConnection, AnyRow};

use super::Error;
use super::columns::Values;

/// Rows a statement, at most. With the widest table this is half of what SQLite and a fifth of what MySQL can bind.
const ROWS_MAX: usize = 512;
const SIZES: [usize; 4] = [ROWS_MAX, 64, 8, 1];

/// An INSERT of many rows.
#[derive(Debug)]
pub(super) struct BulkInsert {
    texts: [Arc<str>; SIZES.len()],
}

/// A SELECT by many keys.
#[derive(Debug)]
pub(super) struct BulkSelect {
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

impl BulkSelect {
    /// `head` ends before the parenthesis with the keys.
    pub(super) fn new(head: &str, tail: &str) -> Self {
        let texts =
            SIZES.map(|size| format!("{head} ({}){tail}", placeholders(size)).into());
        Self { texts }
    }

    pub(super) async fn run<T>(
        &self,
        connection: &mut AnyConnection,
        mut keys: &[T],
        put: impl Fn(&mut Values, &T),
        mut show: impl FnMut(&AnyRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (size, text) in SIZES.into_iter().zip(&self.texts) {
            while let Some((chunk, rest)) = keys.split_at_checked(size) {
                let mut values = Values::default();
                chunk.iter().for_each(|key| put(&mut values, key));
                let rows = sqlx::query_with(AssertSqlSafe(Arc::clone(text)), values.finish()?)
                    .fetch_all(&mut *connection)
                    .await?;
                rows.iter().try_for_each(&mut show)?;
                keys = rest;
            }
        }
        Ok(())
    }
}

/// `?, ?, ?`
pub(super) fn placeholders(count: usize) -> String {
    vec!["?"; count].join(", ")
}
