//! Making the tables: twice, at once, after a crash, and not at all when they are newer.

use super::store::{Store, execute, on_each_engine, open, run};
use crate::domain::{AdminMark, BuyerId, ProductId, RequestId, Timestamp};
use crate::persistence::database::{Account, AuditEntry, MigrateError};
use crate::persistence::journal::Position;

/// Each of several processes migrates a database that was empty when it looked.
async fn migrate_at_once(store: &Store) {
    let mut others = Vec::new();
    for _ in 0..4 {
        let database = open(&store.address).await;
        others.push(tokio::spawn(async move {
            database.migrate().await.expect("tables");
            database.close().await;
        }));
    }
    store.database.migrate().await.expect("tables");
    for other in others {
        other.await.expect("another process");
    }
    store.database.check_schema().await.expect("a schema");
    store.database.position().await.expect("a position");
}

#[test]
fn several_processes_may_migrate_at_once() {
    run(async {
        for store in [Store::empty_sqlite().await, Store::empty_mysql().await] {
            migrate_at_once(&store).await;
            store.end().await;
        }
    });
}

#[test]
fn a_schema_of_a_newer_release_is_refused() {
    on_each_engine(async |store| {
        let newer =
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                     VALUES (9999, 'of tomorrow', TRUE, X'00', 0)";
        execute(&store.address, newer.to_owned()).await;
        for refused in [
            store.database.migrate().await,
            store.database.check_schema().await,
        ] {
            assert!(
                matches!(refused, Err(MigrateError::Newer { version: 9999 })),
                "{refused:?}"
            );
        }
    });
}

#[test]
fn a_file_that_was_changed_after_its_release_is_refused() {
    on_each_engine(async |store| {
        let changed = "UPDATE _sqlx_migrations SET checksum = X'00' WHERE version = 20";
        execute(&store.address, changed.to_owned()).await;
        let refused = store.database.migrate().await;
        assert!(
            matches!(refused, Err(MigrateError::Changed { version: 20 })),
            "{refused:?}"
        );
    });
}

#[test]
fn a_schema_that_is_not_there_is_told() {
    run(async {
        let store = Store::empty_sqlite().await;
        let missing = store.database.check_schema().await;
        assert!(
            matches!(missing, Err(MigrateError::Missing { version: 10 })),
            "{missing:?}"
        );
        store.end().await;
    });
}

/// MySQL takes no DDL back, so a process that was killed leaves the record of a file that has not or only just run.
#[test]
fn a_migration_that_was_killed_is_run_again() {
    run(async {
        let store = Store::mysql().await;
        for statement in [
            "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 80",
            "DROP TABLE accounts",
            "DELETE FROM _sqlx_migrations WHERE version > 80",
            // What the files after it read.
            "CREATE TABLE users (id BINARY(16) NOT NULL PRIMARY KEY, role VARCHAR(16) NOT NULL, created_at BIGINT NOT NULL)",
            "ALTER TABLE audit_entries RENAME TO audit_log",
            "CREATE TABLE projection (id BIGINT NOT NULL PRIMARY KEY, position BIGINT NOT NULL)",
        ] {
            execute(&store.address, statement.to_owned()).await;
        }
        store.database.migrate().await.expect("tables");
        let nobody = store
            .database
            .account(BuyerId::new(1))
            .await
            .expect("a read");
        assert_eq!(nobody, None);
        store.database.check_schema().await.expect("a schema");
        store.end().await;
    });
}

/// What earlier releases kept in a table of its own.
#[test]
fn accounts_of_an_earlier_release_are_taken_over() {
    on_each_engine(async |store| {
        for statement in [
            "DELETE FROM _sqlx_migrations WHERE version IN (81, 82)",
            "CREATE TABLE users (id BLOB NOT NULL, role VARCHAR(16) NOT NULL, created_at BIGINT NOT NULL)",
            "INSERT INTO users VALUES (X'00000000000000000000000000000007', 'admin', 5)",
        ] {
            execute(&store.address, statement.to_owned()).await;
        }
        store.database.migrate().await.expect("tables");
        let admin = store
            .database
            .account(BuyerId::new(7))
            .await
            .expect("a read");
        let made = Timestamp::from_micros(5);
        assert_eq!(
            admin,
            Some(Account::nameless(BuyerId::new(7), "admin", made))
        );
    });
}

/// Acts on orders came later; those on products are where they were.
#[test]
fn the_audit_log_of_an_earlier_release_is_taken_over() {
    on_each_engine(async |store| {
        let id = "X'00000000000000000000000000000007'";
        for statement in [
            "DELETE FROM _sqlx_migrations WHERE version IN (150, 151, 152)".to_owned(),
            "ALTER TABLE audit_entries RENAME TO audit_log".to_owned(),
            format!(
                "INSERT INTO audit_log (position, at, admin, request, act, product, after_json)
                 VALUES (3, 5, {id}, {id}, 'registered', {id}, '{{}}')"
            ),
        ] {
            execute(&store.address, statement).await;
        }
        store.database.migrate().await.expect("tables");
        let entries = store.database.audit(u64::MAX, 10).await.expect("a page");
        let taken_over = AuditEntry {
            position: Position::new(3),
            at: Timestamp::from_micros(5),
            mark: AdminMark {
                admin: BuyerId::new(7),
                request: RequestId::new(7),
            },
            act: "registered".into(),
            product: Some(ProductId::new(7)),
            order: None,
            before: None,
            after: Some("{}".into()),
        };
        assert_eq!(entries, [taken_over]);
        store.database.migrate().await.expect("nothing to do");
    });
}
