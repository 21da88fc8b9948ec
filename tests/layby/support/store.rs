//! Where a shop keeps its tables: a file, or a database of its own on a MariaDB.

use std::io::ErrorKind;
use std::path::Path;

use sqlx::any::{AnyRow, install_default_drivers};
use sqlx::{AnyConnection, AssertSqlSafe, Column, Connection, Executor, Row};
use uuid::Uuid;

use super::setting;

const MYSQL_URL: &str = "LAYBY_TEST_MYSQL_URL";

/// The tables that follow the journal; the bookmarks last.
const FOLLOWING: [&str; 9] = [
    "products",
    "in_hand",
    "orders",
    "order_lines",
    "payment_attempts",
    "audit_entries",
    "waitlist",
    "order_outbox",
    "followers",
];

/// Which of the two a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Sqlite,
    MariaDb,
}

/// The tables of one shop; dropped with it.
#[derive(Debug)]
pub(crate) struct Tables {
    url: String,
    /// Where to drop which database.
    created: Option<(String, String)>,
}

impl Store {
    pub(crate) fn tables(self, directory: &Path) -> Tables {
        match self {
            Self::Sqlite => Tables {
                url: format!("sqlite://{}", directory.join("tables.db").display()),
                created: None,
            },
            Self::MariaDb => {
                let server = setting(MYSQL_URL);
                Tables::create(&server.unwrap_or_else(|| {
                    panic!("{MYSQL_URL} names no MariaDB; scripts/test starts one")
                }))
            }
        }
    }
}

impl Tables {
    /// An empty database with a name that nobody else has.
    pub(super) fn create(server: &str) -> Self {
        let server = server.trim_end_matches('/').to_owned();
        let name = format!("layby_test_{}", Uuid::now_v7().simple());
        execute(&server, format!("CREATE DATABASE {name}"));
        Self {
            url: format!("{server}/{name}"),
            created: Some((server, name)),
        }
    }

    /// Tables on a server that ends with its test, and takes them along.
    pub(super) fn lent(url: String) -> Self {
        Self { url, created: None }
    }

    /// As after a disaster: an empty database in the same place.
    pub(super) fn lose(&self) {
        if let Some((server, name)) = &self.created {
            execute(server, format!("DROP DATABASE {name}"));
            execute(server, format!("CREATE DATABASE {name}"));
            return;
        }
        let file = self.url.trim_start_matches("sqlite://");
        for name in [
            file.to_owned(),
            format!("{file}-wal"),
            format!("{file}-shm"),
        ] {
            match std::fs::remove_file(&name) {
                Err(error) if error.kind() != ErrorKind::NotFound => panic!("{name}: {error}"),
                _ => {}
            }
        }
    }

    /// Remembers the tables that follow the journal, under a name.
    pub(super) fn back_up(&self, name: &str) {
        for table in FOLLOWING {
            let copy = format!("CREATE TABLE {name}_{table} AS SELECT * FROM {table}");
            execute(&self.url, copy);
        }
    }

    /// Brings them back all at once, as a restored backup does, or a fail-over to a server that had not got everything.
    pub(super) fn restore(&self, name: &str) {
        let begin = match self.url.starts_with("sqlite:") {
            true => "BEGIN IMMEDIATE",
            false => "START TRANSACTION",
        };
        on_connection(&self.url, "a restored backup", async |connection| {
            let mut transaction = connection.begin_with(begin).await?;
            for table in FOLLOWING.into_iter().rev() {
                for statement in [
                    format!("DELETE FROM {table}"),
                    format!("INSERT INTO {table} SELECT * FROM {name}_{table}"),
                ] {
                    transaction.execute(AssertSqlSafe(statement)).await?;
                }
            }
            transaction.commit().await
        });
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Nobody else writes into the tables that follow the journal while it lives.
pub(crate) struct TablesLock {
    runtime: tokio::runtime::Runtime,
    connection: Option<AnyConnection>,
}

impl TablesLock {
    pub(super) fn take(url: &str) -> Self {
        let lock = match url.starts_with("sqlite:") {
            true => "BEGIN IMMEDIATE",
            false => "LOCK TABLES followers WRITE",
        };
        install_default_drivers();
        let runtime = runtime();
        let connection = runtime.block_on(async {
            let mut connection = AnyConnection::connect(url).await?;
            connection.execute(lock).await?;
            Ok::<_, sqlx::Error>(connection)
        });
        Self {
            runtime,
            connection: Some(connection.unwrap_or_else(|error| panic!("`{lock}`: {error}"))),
        }
    }
}

impl Drop for TablesLock {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.runtime.block_on(connection.close()).ok();
        }
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        if let Some((server, name)) = &self.created {
            execute(server, format!("DROP DATABASE {name}"));
        }
    }
}

/// One statement on a connection of its own.
pub(super) fn execute(server: &str, statement: String) {
    let said = statement.clone();
    on_connection(server, &said, async |connection| {
        connection.execute(AssertSqlSafe(statement)).await.map(drop)
    });
}

/// The rows of a query, every value as text.
pub(super) fn fetch(server: &str, query: String) -> Vec<Vec<String>> {
    let said = query.clone();
    let rows = on_connection(server, &said, async |connection| {
        connection.fetch_all(AssertSqlSafe(query)).await
    });
    let as_text = |row: &AnyRow| -> Vec<String> {
        let columns = row.columns().iter().map(Column::ordinal);
        columns.map(|column| text_at(row, column)).collect()
    };
    rows.iter().map(as_text).collect()
}

fn text_at(row: &AnyRow, column: usize) -> String {
    if let Ok(text) = row.try_get::<Option<String>, _>(column) {
        return text.unwrap_or_else(|| "NULL".into());
    }
    let number: i64 = row.try_get(column).expect("a text or a number");
    number.to_string()
}

fn on_connection<T>(
    server: &str,
    said: &str,
    act: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, sqlx::Error>,
) -> T {
    install_default_drivers();
    let done = runtime().block_on(async {
        let mut connection = AnyConnection::connect(server).await?;
        let done = act(&mut connection).await?;
        connection.close().await?;
        Ok(done)
    });
    done.unwrap_or_else(|error: sqlx::Error| panic!("`{said}` failed at {server}: {error}"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
