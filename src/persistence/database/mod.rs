//! The SQL database: one file a noun, one function a statement.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `connect.rs` | addresses, sessions, and what to tell an operator whose database does not answer |
//! | `migrate.rs` | the tables, and the lock under which they are made |
//! | `durability.rs` | what a server may lose that it has committed |
//! | `dialect.rs` | the few texts in which the engines differ |
//! | `bulk.rs`, `columns.rs`, `words.rs` | many rows in, rows out, and the words for states |
//! | `products.rs`, `orders.rs`, `lines.rs`, `attempts.rs`, `waitlist.rs`, `in_hand.rs`, `audit.rs`, `position.rs` | the tables that follow the journal |
//! | `accounts/`, `sessions.rs`, `codes.rs`, `addresses.rs`, `wishlist.rs`, `account_events.rs`, `mail_outbox.rs` | the tables of accounts, which are nowhere else |
//! | `follower.rs` | the connection of one who follows the journal, and where SQL stands for him |
//! | `notices.rs` | what letters about orders are made from, and writing them |
//! | `load/`, `pages.rs`, `sale.rs`, `verify.rs` | reading them together: at start-up, for HTTP, to check the books |
//!
//! One set of statements serves `SQLite`, `MySQL` and `MariaDB` through sqlx's `Any` driver.
//!
//! **Invariant:** only the projection writes products, orders, lines, attempts, waitlists, what people have in hand, the audit
//! log and the position.
//!
//! Deliberately absent: any rule of the business. The projection folds events with the code of the domain and copies
//! whole rows, so SQL never works out a state.

mod account_events;
mod accounts;
mod addresses;
mod attempts;
mod audit;
mod bulk;
mod codes;
mod columns;
mod connect;
mod dialect;
mod durability;
mod engine_time;
mod error;
mod follower;
mod in_hand;
mod lines;
mod load;
mod mail_outbox;
mod migrate;
mod notices;
mod orders;
mod pages;
mod position;
mod products;
mod sale;
mod sessions;
mod verify;
mod waitlist;
mod wishlist;
mod words;
mod writer;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::AnyConnection;
use sqlx::AnyPool;
use sqlx::any::AnyConnectOptions;
use tokio::runtime::Handle;

pub use account_events::{AccountEvent, Chain, KeptEvent};
pub use accounts::{AccessChange, Account, NewPassword, ProfilePatch, Sealed, SignedUp, Standing};
pub use addresses::{AddedAddress, AddressRow, AddressVersion, NewVersion};
pub(crate) use attempts::PlacedAttempt;
pub use audit::AuditEntry;
pub(crate) use audit::AuditRow;
pub use codes::{CODE_TRIES_MAX, NewCode, Purpose};
pub use connect::{ConnectError, Options};
pub use dialect::Dialect;
pub use error::Error;
pub(crate) use in_hand::Hand;
pub use load::{Loaded, Loading, OrderStream, Recalled};
pub use mail_outbox::{DueLetter, LETTERS_MAX, NewLetter, Outbox};
pub use migrate::MigrateError;
pub(crate) use notices::NoticeWriter;
pub(crate) use orders::OrderRow;
pub use pages::{OrderFilter, PAGE_ROWS_MAX};
pub use position::FollowerName;
pub use sessions::Session;
pub use verify::{diff, verify_books};
pub use wishlist::{PutWish, Wish};
pub(crate) use writer::Writer;

/// A handle to the database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    shared: Arc<SharedDatabase>,
}

#[derive(Debug)]
struct SharedDatabase {
    dialect: Dialect,
    connect: AnyConnectOptions,
    /// The address without its password, for messages.
    place: String,
    reads: AnyPool,
    /// The same as `reads`, but for `SQLite`: it has one writer, and waiting for it here is better than failing there.
    writes: AnyPool,
    /// The same as `writes`, but for `SQLite`: its commits do not wait for the disk, which the journal needs.
    light_writes: AnyPool,
    /// Who appends to the log of account events holds it until the commit: each row continues the one before.
    event_turn: Arc<tokio::sync::Mutex<()>>,
    /// Where connections live. They must not be driven by an HTTP worker that may go away.
    home: Handle,
}

impl Database {
    pub fn dialect(&self) -> Dialect {
        self.shared.dialect
    }

    /// The address without its password.
    pub fn place(&self) -> &str {
        &self.shared.place
    }

    fn event_turn(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.shared.event_turn)
    }

    /// Waits for connections in use, then closes them.
    pub async fn close(&self) {
        self.shared.reads.close().await;
        self.shared.writes.close().await;
        self.shared.light_writes.close().await;
    }

    /// Runs `act` on a connection of the read pool.
    async fn read<T, F>(&self, act: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        self.run(self.shared.reads.clone(), act).await
    }

    /// Runs `act` on a connection that may write. What it commits may be lost by a power cut, though never by a crash
    /// of ours: for what can be done without, as a sign-in that is then to be repeated.
    async fn write_lightly<T, F>(&self, act: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        self.run(self.shared.light_writes.clone(), act).await
    }

    /// Runs `act` on a connection that may write.
    async fn write<T, F>(&self, act: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        self.run(self.shared.writes.clone(), act).await
    }

    /// The one place where a caller may go away: a client that hangs up drops the wait, never the statement, which
    /// would leave a connection in the middle of an answer for whoever borrows it next.
    async fn run<T, F>(&self, pool: AnyPool, act: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        let task = self.shared.home.spawn(async move {
            let mut connection = pool.acquire().await?;
            act(&mut connection).await
        });
        task.await.unwrap_or(Err(Error::Stopped))
    }
}
