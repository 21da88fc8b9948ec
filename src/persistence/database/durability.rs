//! What a database server may lose that it has committed.
//!
//! The journal lets go of what SQL has for certain. With SQLite the followers see to that (`commit_durably`); a server is
//! set up by whoever runs it, and can only be asked.

use futures_util::FutureExt;
use sqlx::AnyConnection;

use super::columns::Columns;
use super::{Database, Dialect, Error};

impl Database {
    /// What a power cut would take from the server, in sentences for its operator. None: nothing.
    pub async fn durability_warnings(&self) -> Result<Vec<String>, Error> {
        match self.dialect() {
            Dialect::Sqlite => Ok(Vec::new()),
            Dialect::MySql => self.read(|connection| warnings(connection).boxed()).await,
        }
    }
}

async fn warnings(connection: &mut AnyConnection) -> Result<Vec<String>, Error> {
    let row = sqlx::query(
        "SELECT CAST(@@GLOBAL.innodb_flush_log_at_trx_commit AS SIGNED),
                CAST(@@GLOBAL.log_bin AS SIGNED),
                CAST(@@GLOBAL.sync_binlog AS SIGNED)",
    )
    .fetch_one(connection)
    .await?;
    let mut columns = Columns::of(&row);
    let flush = columns.number()?;
    let has_binlog = columns.flag()?;
    let sync_binlog = columns.number()?;
    let mut warnings = Vec::new();
    if flush != 1 {
        warnings.push(format!(
            "innodb_flush_log_at_trx_commit is {flush}: the server loses its last commits in a power cut; set it to 1"
        ));
    }
    if has_binlog && sync_binlog != 1 {
        warnings.push(format!(
            "sync_binlog is {sync_binlog}: after a power cut replicas may have other rows than the server; set it to 1"
        ));
    }
    Ok(warnings)
}
