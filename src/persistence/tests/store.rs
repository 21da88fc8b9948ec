//! A database for one test, on every engine there is.

use sqlx::{Connection, Executor};
use tempfile::TempDir;

use crate::domain::Timestamp;
use crate::persistence::database::{Database, Error, Loaded, Options};

pub(super) const MYSQL_URL: &str = "LAYBY_TEST_MYSQL_URL";

/// The tables that follow the journal, by the projection and the notices; the bookmarks last.
const FOLLOWING: [&str; 9] = [
    "products",
    "orders",
    "order_lines",
    "payment_attempts",
    "audit_entries",
    "waitlist",
    "in_hand",
    "order_outbox",
    "followers",
];

/// A migrated database that nobody else uses.
pub(super) struct Store {
    pub(super) database: Database,
    pub(super) address: String,
    /// Kept until the end of the test.
    _directory: Option<TempDir>,
    server: Option<(String, String)>,
}

impl Store {
    pub(super) async fn sqlite() -> Self {
        let mut store = Self::empty_sqlite().await;
        store.database.migrate().await.expect("tables");
        store.server = None;
        store
    }

    pub(super) async fn empty_sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let address = format!("sqlite:{}", directory.path().join("layby.db").display());
        Self {
            database: open(&address).await,
            address,
            _directory: Some(directory),
            server: None,
        }
    }

    pub(super) async fn empty_mysql() -> Self {
        let server = mysql_server();
        let name = format!("layby_test_{}", uuid::Uuid::now_v7().simple());
        execute(&server, format!("CREATE DATABASE {name}")).await;
        let address = format!("{}/{name}", server.trim_end_matches('/'));
        Self {
            database: open(&address).await,
            address,
            _directory: None,
            server: Some((server, name)),
        }
    }

    pub(super) async fn mysql() -> Self {
        let store = Self::empty_mysql().await;
        store.database.migrate().await.expect("tables");
        store
    }

    /// What a start reads, and waits for.
    pub(super) async fn load_live(&self, keep_since: Timestamp) -> Result<Loaded, Error> {
        let loading = self.database.load_live(keep_since).await?;
        loading.gather().await
    }

    /// Remembers the rows that follow the journal as they are now, under a name.
    pub(super) async fn back_up(&self, name: &str) {
        for table in FOLLOWING {
            let copy = format!("CREATE TABLE {name}_{table} AS SELECT * FROM {table}");
            execute(&self.address, copy).await;
        }
    }

    /// Brings back what [`Store::back_up`] remembered, all at once, as a restored backup or a fail-over to a server that
    /// had not got everything.
    pub(super) async fn restore(&self, name: &str) {
        sqlx::any::install_default_drivers();
        let mut connection = sqlx::AnyConnection::connect(&self.address)
            .await
            .expect("a connection");
        let begin = self.database.dialect().begin_write();
        let mut transaction = connection.begin_with(begin).await.expect("a transaction");
        for table in FOLLOWING.into_iter().rev() {
            for statement in [
                format!("DELETE FROM {table}"),
                format!("INSERT INTO {table} SELECT * FROM {name}_{table}"),
            ] {
                transaction
                    .execute(sqlx::AssertSqlSafe(statement))
                    .await
                    .expect("a statement");
            }
        }
        transaction.commit().await.expect("a commit");
    }

    pub(super) async fn end(self) {
        self.database.close().await;
        if let Some((server, name)) = self.server {
            execute(&server, format!("DROP DATABASE {name}")).await;
        }
    }
}

/// Runs a test on a new database of each engine.
pub(super) fn on_each_engine(test: impl AsyncFn(&Store)) {
    run(async {
        for store in [Store::sqlite().await, Store::mysql().await] {
            test(&store).await;
            store.end().await;
        }
    });
}

pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

pub(super) async fn open(address: &str) -> Database {
    Database::connect(address, Options::default())
        .await
        .expect("a database")
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told their server by scripts/test"
)]
pub(super) fn mysql_server() -> String {
    std::env::var(MYSQL_URL)
        .unwrap_or_else(|_| panic!("{MYSQL_URL} names no MariaDB; scripts/test starts one"))
}

/// Runs a statement on a connection of its own.
pub(super) async fn execute(address: &str, statement: String) {
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(address)
        .await
        .expect("a connection");
    connection
        .execute(sqlx::AssertSqlSafe(statement))
        .await
        .expect("a statement");
}
