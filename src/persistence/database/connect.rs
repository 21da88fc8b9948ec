//! Finding the database, and saying what is wrong when it is not there.
//!
//! Deliberately absent: passwords. No message, log line or `Debug` of this room shows one.

use std::sync::{Arc, Once};
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::AnyConnection;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{AnyPool, ConnectOptions, Executor};
use tokio::runtime::Handle;

use super::{Database, Dialect, SharedDatabase};

/// How many connections, and how long to wait for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Connections for requests; the projection has one of its own.
    pub connections_max: u32,
    /// A request that gets no connection for this long is told that the database is unavailable.
    pub acquire_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 8,
            acquire_timeout: Duration::from_secs(5),
        }
    }
}

/// Why there is no database. Says where it was looked for and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "`{place}` is no address of a database; write sqlite:<file> or mysql://<user>:<password>@<host>:<port>/<database>"
    )]
    Address { place: String },
    #[error(
        "no database answers at {place}: {source}; check that it runs and that the address is right"
    )]
    Unreachable { place: String, source: sqlx::Error },
    #[error(
        "the database at {place} refuses this user or password: {source}; check both, and GRANT the user access"
    )]
    AccessDenied { place: String, source: sqlx::Error },
    #[error("there is no such database at {place}: {source}; run CREATE DATABASE first")]
    UnknownDatabase { place: String, source: sqlx::Error },
    #[error(
        "the server at {place} wants a way of signing in that is unsafe without TLS: {source}; add ?ssl-mode=REQUIRED to the address or use a unix socket"
    )]
    InsecureSignIn { place: String, source: sqlx::Error },
    #[error("the database at {place} cannot be used: {source}")]
    Other { place: String, source: sqlx::Error },
}

impl Database {
    /// Opens pools of connections and makes sure that one of them works.
    ///
    /// Call it on the runtime that is to drive the connections; that runtime must outlive every request.
    pub async fn connect(address: &str, options: Options) -> Result<Self, ConnectError> {
        let (dialect, connect, place) = parse(address)?;
        let open = async |use_, options| {
            let pool = open_pool(dialect, &connect, options, use_).await;
            pool.map_err(|error| explain(&place, error))
        };
        let reads = open(Use::Reading, options).await?;
        let (writes, light_writes) = match dialect {
            Dialect::MySql => (reads.clone(), reads.clone()),
            Dialect::Sqlite => {
                let one = Options {
                    connections_max: 1,
                    ..options
                };
                (
                    open(Use::Writing, one).await?,
                    open(Use::WritingLightly, one).await?,
                )
            }
        };
        Ok(Self {
            shared: Arc::new(SharedDatabase {
                dialect,
                connect,
                place,
                reads,
                writes,
                light_writes,
                event_turn: Arc::default(),
                home: Handle::current(),
            }),
        })
    }
}

/// What a pool is for.
#[derive(Clone, Copy)]
enum Use {
    Reading,
    Writing,
    WritingLightly,
}

/// What every connection must know before its first statement.
pub(super) async fn prepare_session(
    dialect: Dialect,
    connection: &mut AnyConnection,
) -> Result<(), sqlx::Error> {
    let settings: &[&'static str] = match dialect {
        // The journal is the truth: what a power cut takes from the end of SQLite's log is projected again, so NORMAL,
        // which never damages the file, is durable enough. See `commit_durably` for what the journal may then let go.
        Dialect::Sqlite => &[
            "PRAGMA busy_timeout = 10000",
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = NORMAL",
        ],
        // Without strict mode a text that is too long is cut in silence.
        Dialect::MySql => &[
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')",
            "SET SESSION innodb_lock_wait_timeout = 10",
            // A page of orders is one text; what is longer would be cut.
            "SET SESSION group_concat_max_len = 67108864",
        ],
    };
    for setting in settings {
        connection.execute(*setting).await?;
    }
    Ok(())
}

/// What the connection of a follower needs on top; whoever commits may come to checkpoint what another has written: room for the pages that it touches again and again, what is needed to
/// take back half a statement in memory and not in a file, and checkpoints of 32 MiB. Their fsync holds up those of the
/// journal: at 4 MiB they cost a tenth of the purchases a second, at 256 MiB one of them made purchases wait 130 ms.
pub(super) async fn prepare_following(
    dialect: Dialect,
    connection: &mut AnyConnection,
) -> Result<(), sqlx::Error> {
    if dialect == Dialect::MySql {
        return Ok(());
    }
    for setting in [
        "PRAGMA cache_size = -32768",
        "PRAGMA temp_store = MEMORY",
        "PRAGMA wal_autocheckpoint = 8000",
    ] {
        connection.execute(setting).await?;
    }
    Ok(())
}

/// Whether commits of the connection wait for the disk. One that does takes along all before it, also those of other
/// connections: SQLite has one log, and syncs it as a whole.
pub(super) async fn commit_durably(
    connection: &mut AnyConnection,
    durably: bool,
) -> Result<(), sqlx::Error> {
    let setting = match durably {
        true => "PRAGMA synchronous = FULL",
        false => "PRAGMA synchronous = NORMAL",
    };
    connection.execute(setting).await?;
    Ok(())
}

async fn open_pool(
    dialect: Dialect,
    connect: &AnyConnectOptions,
    options: Options,
    use_: Use,
) -> Result<AnyPool, sqlx::Error> {
    AnyPoolOptions::new()
        .max_connections(options.connections_max)
        .acquire_timeout(options.acquire_timeout)
        .after_connect(move |connection, _| {
            async move {
                prepare_session(dialect, connection).await?;
                if dialect == Dialect::Sqlite {
                    prepare_sqlite(connection, use_).await?;
                }
                Ok(())
            }
            .boxed()
        })
        .connect_with(connect.clone())
        .await
}

/// Accounts are nowhere but here: what is told as done must survive a power cut, and what is erased must not stay in
/// free pages of the file.
async fn prepare_sqlite(connection: &mut AnyConnection, use_: Use) -> Result<(), sqlx::Error> {
    let settings: &[&'static str] = match use_ {
        Use::Reading => &["PRAGMA query_only = ON"],
        Use::Writing => &["PRAGMA synchronous = FULL", "PRAGMA secure_delete = ON"],
        Use::WritingLightly => &[],
    };
    for setting in settings {
        connection.execute(*setting).await?;
    }
    Ok(())
}

fn parse(address: &str) -> Result<(Dialect, AnyConnectOptions, String), ConnectError> {
    static DRIVERS: Once = Once::new();
    DRIVERS.call_once(sqlx::any::install_default_drivers);

    let place = without_password(address);
    let Some(dialect) = engine_of(address) else {
        return Err(ConnectError::Address { place });
    };
    let address = match dialect {
        Dialect::Sqlite => created_if_missing(address),
        Dialect::MySql => address.to_owned(),
    };
    match address.parse::<AnyConnectOptions>() {
        Ok(options) => Ok((dialect, options.disable_statement_logging(), place)),
        Err(_) => Err(ConnectError::Address { place }),
    }
}

fn engine_of(address: &str) -> Option<Dialect> {
    match address.split_once(':')?.0 {
        "sqlite" => Some(Dialect::Sqlite),
        "mysql" | "mariadb" => Some(Dialect::MySql),
        _ => None,
    }
}

/// The first start makes the file.
fn created_if_missing(address: &str) -> String {
    if address.contains("mode=") {
        return address.to_owned();
    }
    let separator = if address.contains('?') { '&' } else { '?' };
    format!("{address}{separator}mode=rwc")
}

/// Up to the last `@` comes who, after it where. An option could be a secret too (`password=`), so they go as well.
fn without_password(address: &str) -> String {
    let address = address.split_once('?').map_or(address, |(place, _)| place);
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let Some((who, place)) = rest.rsplit_once('@') else {
        return address.to_owned();
    };
    let user = who.split_once(':').map_or(who, |(user, _)| user);
    format!("{scheme}://{user}@{place}")
}

fn explain(place: &str, source: sqlx::Error) -> ConnectError {
    let place = place.to_owned();
    let number = source
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
        .map(MySqlDatabaseError::number);
    match (number, &source) {
        (Some(1045 | 1698), _) => ConnectError::AccessDenied { place, source },
        // 1044: the server says "denied" and not "unknown" to a user who may not know which databases there are.
        (Some(1044 | 1049), _) => ConnectError::UnknownDatabase { place, source },
        (Some(2061), _) => ConnectError::InsecureSignIn { place, source },
        (_, sqlx::Error::Configuration(_)) => ConnectError::Address { place },
        (_, error) if error.to_string().contains("rsa") => {
            ConnectError::InsecureSignIn { place, source }
        }
        (_, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) => {
            ConnectError::Unreachable { place, source }
        }
        _ => ConnectError::Other { place, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_shows_a_password() {
        let shown = |address| without_password(address);
        assert_eq!(
            shown("mysql://layby:s3:cr@et@db:3306/shop?ssl-mode=REQUIRED&x=s3cret"),
            "mysql://layby@db:3306/shop"
        );
        assert_eq!(shown("mysql://db/shop"), "mysql://db/shop");
        assert_eq!(shown("sqlite:layby.db?mode=ro"), "sqlite:layby.db");
    }

    #[test]
    fn an_address_names_the_engine() {
        assert_eq!(engine_of("sqlite:layby.db"), Some(Dialect::Sqlite));
        assert_eq!(engine_of("mariadb://db/shop"), Some(Dialect::MySql));
        assert_eq!(engine_of("postgres://db/shop"), None);
        assert_eq!(engine_of("layby.db"), None);
    }
}
