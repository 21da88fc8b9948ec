//! The few texts in which the engines differ.

/// What kind of database answers. `MySQL` and `MariaDB` are spoken to in the same words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    Sqlite,
    MySql,
}

impl Dialect {
    /// Opens a transaction that will write. `SQLite` must say so at once: a reader that turns into a writer is refused
    /// instead of being made to wait.
    pub(crate) const fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::MySql => "START TRANSACTION",
        }
    }

    /// Whether a commit waits for the disk without being told to, if the server is set up as `operations.md` says.
    pub(crate) const fn always_commits_durably(self) -> bool {
        match self {
            Self::Sqlite => false,
            Self::MySql => true,
        }
    }

    /// Opens a transaction in which every statement sees the same rows.
    pub(super) const fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN DEFERRED",
            Self::MySql => "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        }
    }

    /// The end of an INSERT that overwrites `columns` of the row that has the same `key`.
    pub(super) fn overwrite(self, key: &str, columns: &[&str]) -> String {
        let (head, set) = match self {
            Self::Sqlite => (format!(" ON CONFLICT ({key}) DO UPDATE SET "), "excluded."),
            // `VALUES(c)` is deprecated in MySQL 8, but the alias that replaces it is a syntax error in MariaDB.
            Self::MySql => (" ON DUPLICATE KEY UPDATE ".to_owned(), "VALUES"),
        };
        let assignments: Vec<String> = columns
            .iter()
            .map(|column| match self {
                Self::Sqlite => format!("{column} = {set}{column}"),
                Self::MySql => format!("{column} = {set}({column})"),
            })
            .collect();
        head + &assignments.join(", ")
    }

    /// The end of an INSERT that leaves a row with the same `key` as it is.
    pub(super) fn keep(self, key: &str) -> String {
        match self {
            Self::Sqlite => format!(" ON CONFLICT ({key}) DO NOTHING"),
            // Not INSERT IGNORE, which hides every other error as well.
            Self::MySql => format!(" ON DUPLICATE KEY UPDATE {key} = {key}"),
        }
    }

    /// All rows as one text, a line each.
    pub(super) fn joined_lines(self, line: &str) -> String {
        match self {
            Self::Sqlite => format!("GROUP_CONCAT({line}, CHAR(10))"),
            Self::MySql => format!("GROUP_CONCAT({line} SEPARATOR '\n')"),
        }
    }
}
