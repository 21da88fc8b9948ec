//! Making the tables, and refusing a database that a newer release has changed.
//!
//! sqlx runs the files; the lock is ours, because its own does nothing on `MariaDB` (it asks for one without end, which
//! `MariaDB` takes for an error) nor on `SQLite`. On `SQLite` everything happens in one transaction. `MySQL` ends a transaction
//! at every DDL, so a run that is killed leaves a file half recorded; files may run twice, so it is simply run again.

use futures_util::FutureExt;
use sqlx::AnyConnection;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{ConnectOptions, Connection, SqlSafeStr};

use super::columns::Columns;
use super::{Database, Dialect, Error, connect};

/// A file as it is in the binary.
struct File {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

macro_rules! migration {
    ($folder:literal, $name:literal, $version:literal) => {
        File {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../../migrations/", $folder, "/", $name, ".sql")),
        }
    };
}

#[rustfmt::skip]
const MYSQL: &[File] = &[
    migration!("mysql", "0010_products", 10),
    migration!("mysql", "0020_orders", 20),
    migration!("mysql", "0030_order_lines", 30),
    migration!("mysql", "0040_payment_attempts", 40),
    migration!("mysql", "0050_audit_log", 50),
    migration!("mysql", "0060_users", 60),
    migration!("mysql", "0070_projection", 70),
    migration!("mysql", "0071_projection_row", 71),
    migration!("mysql", "0073_engine_time", 73),
    migration!("mysql", "0074_engine_time_row", 74),
    migration!("mysql", "0080_accounts", 80),
    migration!("mysql", "0081_accounts_from_users", 81),
    migration!("mysql", "0082_drop_users", 82),
    migration!("mysql", "0090_sessions", 90),
    migration!("mysql", "0100_codes", 100),
    migration!("mysql", "0110_addresses", 110),
    migration!("mysql", "0111_address_versions", 111),
    migration!("mysql", "0120_account_events", 120),
    migration!("mysql", "0130_mail_outbox", 130),
    migration!("mysql", "0140_wishlist", 140),
    migration!("mysql", "0150_audit_entries", 150),
    migration!("mysql", "0151_audit_entries_from_log", 151),
    migration!("mysql", "0152_drop_audit_log", 152),
    migration!("mysql", "0160_notices", 160),
    migration!("mysql", "0161_order_outbox", 161),
    migration!("mysql", "0170_waitlist", 170),
    migration!("mysql", "0200_followers", 200),
    migration!("mysql", "0201_followers_projection", 201),
    migration!("mysql", "0202_followers_notices", 202),
    migration!("mysql", "0203_drop_projection", 203),
    migration!("mysql", "0204_drop_notices", 204),
    migration!("mysql", "0210_in_hand", 210),
    migration!("mysql", "0211_in_hand_from_orders", 211),
];

#[rustfmt::skip]
const SQLITE: &[File] = &[
    migration!("sqlite", "0010_products", 10),
    migration!("sqlite", "0020_orders", 20),
    migration!("sqlite", "0021_orders_by_id", 21),
    migration!("sqlite", "0022_orders_by_buyer", 22),
    migration!("sqlite", "0023_orders_by_standing", 23),
    migration!("sqlite", "0030_order_lines", 30),
    migration!("sqlite", "0031_order_lines_by_product", 31),
    migration!("sqlite", "0040_payment_attempts", 40),
    migration!("sqlite", "0041_payment_attempts_by_id", 41),
    migration!("sqlite", "0050_audit_log", 50),
    migration!("sqlite", "0060_users", 60),
    migration!("sqlite", "0061_users_by_username", 61),
    migration!("sqlite", "0062_users_by_role", 62),
    migration!("sqlite", "0070_projection", 70),
    migration!("sqlite", "0071_projection_row", 71),
    migration!("sqlite", "0073_engine_time", 73),
    migration!("sqlite", "0074_engine_time_row", 74),
    migration!("sqlite", "0080_accounts", 80),
    migration!("sqlite", "0081_accounts_from_users", 81),
    migration!("sqlite", "0082_drop_users", 82),
    migration!("sqlite", "0083_accounts_by_username", 83),
    migration!("sqlite", "0084_accounts_by_email", 84),
    migration!("sqlite", "0085_accounts_by_role", 85),
    migration!("sqlite", "0086_accounts_by_access_change", 86),
    migration!("sqlite", "0090_sessions", 90),
    migration!("sqlite", "0091_sessions_by_account", 91),
    migration!("sqlite", "0092_sessions_by_expiry", 92),
    migration!("sqlite", "0093_sessions_by_revocation", 93),
    migration!("sqlite", "0100_codes", 100),
    migration!("sqlite", "0101_codes_by_expiry", 101),
    migration!("sqlite", "0110_addresses", 110),
    migration!("sqlite", "0111_address_versions", 111),
    migration!("sqlite", "0113_addresses_by_account", 113),
    migration!("sqlite", "0115_address_versions_by_account", 115),
    migration!("sqlite", "0120_account_events", 120),
    migration!("sqlite", "0121_account_events_by_time", 121),
    migration!("sqlite", "0130_mail_outbox", 130),
    migration!("sqlite", "0131_mail_outbox_by_turn", 131),
    migration!("sqlite", "0132_mail_outbox_by_account", 132),
    migration!("sqlite", "0140_wishlist", 140),
    migration!("sqlite", "0150_audit_entries", 150),
    migration!("sqlite", "0151_audit_entries_from_log", 151),
    migration!("sqlite", "0152_drop_audit_log", 152),
    migration!("sqlite", "0160_notices", 160),
    migration!("sqlite", "0161_order_outbox", 161),
    migration!("sqlite", "0162_order_outbox_by_end", 162),
    migration!("sqlite", "0163_order_outbox_by_account", 163),
    migration!("sqlite", "0170_waitlist", 170),
    migration!("sqlite", "0171_waitlist_by_person", 171),
    migration!("sqlite", "0172_waitlist_by_product", 172),
    migration!("sqlite", "0200_followers", 200),
    migration!("sqlite", "0201_followers_projection", 201),
    migration!("sqlite", "0202_followers_notices", 202),
    migration!("sqlite", "0203_drop_projection", 203),
    migration!("sqlite", "0204_drop_notices", 204),
    migration!("sqlite", "0210_in_hand", 210),
    migration!("sqlite", "0211_in_hand_from_orders", 211),
];

/// How long to wait for another process that is making the tables.
const LOCK_TIMEOUT_SECS: i64 = 60;

/// Why the tables are not what this release needs.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "the database has migration {version}, which this release does not know: it was changed by a newer one; start that release, or restore a backup"
    )]
    Newer { version: i64 },
    #[error(
        "migration {version} was changed after it ran here; restore the file that was released"
    )]
    Changed { version: i64 },
    #[error(
        "another process has been changing the tables for {LOCK_TIMEOUT_SECS} s; wait for it and start again"
    )]
    Locked,
    #[error(
        "an earlier release made these tables, migration {version} is missing; run `layby migrate`, or start `layby serve`, which does it"
    )]
    Missing { version: i64 },
    #[error(transparent)]
    Database(#[from] Error),
    #[error("the tables cannot be made: {0}")]
    Failed(#[source] sqlx::migrate::MigrateError),
}

impl Database {
    /// Brings the tables up to this release. Several processes may call it at once: one works, the others wait.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        migrate_with(self, &migrator(self.dialect())).await
    }
}

impl Database {
    /// Are the tables what this release needs? For commands that must not change them.
    pub async fn check_schema(&self) -> Result<(), MigrateError> {
        let applied = self.read(|connection| applied(connection).boxed()).await;
        let applied = match applied {
            Err(Error::Refused(_)) => Vec::new(),
            other => other?,
        };
        let known = migrator(self.dialect());
        let newer = applied
            .iter()
            .find(|version| !known.version_exists(**version));
        if let Some(version) = newer {
            return Err(MigrateError::Newer { version: *version });
        }
        let missing = known.iter().find(|it| !applied.contains(&it.version));
        missing.map_or(Ok(()), |it| {
            Err(MigrateError::Missing {
                version: it.version,
            })
        })
    }
}

async fn applied(connection: &mut AnyConnection) -> Result<Vec<i64>, Error> {
    let rows = sqlx::query(
        "SELECT version
         FROM _sqlx_migrations
         WHERE success = TRUE",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Columns::of(row).number()).collect()
}

/// On a connection of its own: a lock that belongs to a connection must not go back into a pool.
pub(crate) async fn migrate_with(
    database: &Database,
    migrator: &Migrator,
) -> Result<(), MigrateError> {
    let shared = &database.shared;
    let mut connection = shared.connect.connect().await.map_err(Error::from)?;
    connect::prepare_session(shared.dialect, &mut connection)
        .await
        .map_err(Error::from)?;
    let done = match shared.dialect {
        Dialect::Sqlite => migrate_sqlite(&mut connection, migrator).await,
        Dialect::MySql => migrate_mysql(&mut connection, migrator).await,
    };
    connection.close().await.map_err(Error::from)?;
    done
}

async fn migrate_sqlite(
    connection: &mut AnyConnection,
    migrator: &Migrator,
) -> Result<(), MigrateError> {
    wait_longer(connection).await?;
    let mut transaction = connection
        .begin_with(Dialect::Sqlite.begin_write())
        .await
        .map_err(|error| lock_error(error.into()))?;
    run(&mut transaction, migrator).await?;
    Ok(transaction.commit().await.map_err(Error::from)?)
}

async fn migrate_mysql(
    connection: &mut AnyConnection,
    migrator: &Migrator,
) -> Result<(), MigrateError> {
    if !take_lock(connection).await? {
        return Err(MigrateError::Locked);
    }
    forget_half_done(connection).await?;
    run(connection, migrator).await
    // The lock goes with the connection, which is closed by the caller whatever happened.
}

async fn run(connection: &mut AnyConnection, migrator: &Migrator) -> Result<(), MigrateError> {
    migrator
        .run_direct(None, connection, false)
        .await
        .map_err(explain)
}

async fn wait_longer(connection: &mut AnyConnection) -> Result<(), Error> {
    sqlx::query("PRAGMA busy_timeout = 60000")
        .execute(connection)
        .await?;
    Ok(())
}

/// One lock for each database of the server.
async fn take_lock(connection: &mut AnyConnection) -> Result<bool, Error> {
    let row = sqlx::query(
        "SELECT CAST(GET_LOCK(CONCAT('layby_migrate_', LEFT(MD5(DATABASE()), 16)), ?) AS SIGNED)",
    )
    .bind(LOCK_TIMEOUT_SECS)
    .fetch_one(connection)
    .await?;
    Ok(Columns::of(&row).number_or_null()? == Some(1))
}

/// A file is recorded before it runs, and confirmed after. Without the lock this could be somebody's work in progress.
async fn forget_half_done(connection: &mut AnyConnection) -> Result<(), Error> {
    if !has_migrations_table(connection).await? {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM _sqlx_migrations
         WHERE success = FALSE",
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn has_migrations_table(connection: &mut AnyConnection) -> Result<bool, Error> {
    let row = sqlx::query(
        "SELECT CAST(COUNT(*) AS SIGNED)
         FROM information_schema.tables
         WHERE table_schema = DATABASE()
           AND table_name = '_sqlx_migrations'",
    )
    .fetch_one(connection)
    .await?;
    Ok(Columns::of(&row).number()? > 0)
}

fn migrator(dialect: Dialect) -> Migrator {
    let files = match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::MySql => MYSQL,
    };
    let migrations = files.iter().map(|file| {
        let description = file.name.into();
        Migration::new(
            file.version,
            description,
            MigrationType::Simple,
            file.sql.into_sql_str(),
            false,
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_locking(false);
    migrator
}

fn lock_error(error: Error) -> MigrateError {
    if error.heals() {
        return MigrateError::Locked;
    }
    MigrateError::Database(error)
}

fn explain(error: sqlx::migrate::MigrateError) -> MigrateError {
    use sqlx::migrate::MigrateError as Sqlx;
    match error {
        Sqlx::VersionMissing(version) => MigrateError::Newer { version },
        Sqlx::VersionMismatch(version) => MigrateError::Changed { version },
        Sqlx::Execute(error) => MigrateError::Database(error.into()),
        other => MigrateError::Failed(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_in_the_binary() {
        for (folder, files) in [("mysql", MYSQL), ("sqlite", SQLITE)] {
            let root = env!("CARGO_MANIFEST_DIR");
            let listed =
                std::fs::read_dir(format!("{root}/migrations/{folder}")).expect("a folder");
            let mut names: Vec<String> = listed
                .map(|entry| {
                    entry
                        .expect("an entry")
                        .file_name()
                        .to_string_lossy()
                        .into_owned()
                })
                .collect();
            names.sort();
            let embedded: Vec<String> = files.iter().map(|it| format!("{}.sql", it.name)).collect();
            assert_eq!(names, embedded);
        }
    }

    #[test]
    fn a_file_is_one_statement_numbered_by_its_name() {
        for file in MYSQL.iter().chain(SQLITE) {
            assert_eq!(
                file.name.get(..4),
                Some(format!("{:04}", file.version).as_str())
            );
            assert_eq!(file.sql.matches(';').count(), 1, "{}", file.name);
        }
    }

    #[test]
    fn every_table_of_mysql_names_its_character_set() {
        for file in MYSQL.iter().filter(|it| it.sql.contains("CREATE TABLE")) {
            assert!(
                file.sql
                    .contains("CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
                "{}",
                file.name
            );
        }
    }
}
