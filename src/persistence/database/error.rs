//! What can go wrong with SQL, and whether waiting helps.

/// A statement that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not reachable, overloaded, read-only or busy: the same request may succeed later.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] sqlx::Error),
    #[error("the database refused a statement: {0}")]
    Refused(#[source] sqlx::Error),
    /// The key is in use.
    #[error("there is a row with this key already")]
    Taken,
    /// A row that no release of Layby writes.
    #[error(
        "the database holds {what} that is no such thing; restore it, or drop the tables and let the journal fill them again"
    )]
    Damaged { what: &'static str },
    #[error("the database was closed in the middle of a request")]
    Stopped,
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_unique_violation(&error) {
            return Self::Taken;
        }
        if heals(&error) {
            return Self::Unavailable(error);
        }
        Self::Refused(error)
    }
}

impl Error {
    /// May the same request succeed later, with nobody doing anything about the request?
    pub fn heals(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// May it succeed later, perhaps after somebody has put a table right? Damage and doubled keys stay what they are.
    pub(crate) fn may_be_put_right(&self) -> bool {
        !matches!(self, Self::Damaged { .. } | Self::Taken)
    }
}

fn is_unique_violation(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_unique_violation())
}

fn heals(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
                return mysql_heals(error.number());
            }
            error
                .code()
                .and_then(|code| code.parse().ok())
                .is_some_and(sqlite_heals)
        }
        _ => false,
    }
}

fn mysql_heals(number: u16) -> bool {
    matches!(
        number,
        1020 // record has changed since last read: MariaDB 11.6 and later, like a deadlock
        | 1021 // disk full
        | 1028 | 1030 // an error of the storage engine
        | 1040 | 1203 | 1226 // too many connections, of all or of the user
        | 1053 | 1079 // shutdown in progress
        | 1114 // table full
        | 1158
            ..=1161 // network errors
        | 1184 | 1927 | 3024 | 1969 | 1317 // connection aborted or killed, statement too slow or interrupted
        | 1205 // lock wait timeout
        | 1213 // deadlock
        | 1290 | 1792 | 1836 // read-only
        | 2006 | 2013 // gone away, lost
    )
}

/// The extended codes carry the primary one in the low byte.
fn sqlite_heals(extended_code: i32) -> bool {
    matches!(
        extended_code & 0xff,
        5 // busy
        | 6 // locked
        | 8 // read-only
        | 10 // input or output error
        | 13 // full
        | 14 // cannot open
    )
}
