//! The projection on its thread, while SQL goes away and comes back.

use std::time::Duration;

use sqlx::{AnyConnection, Connection, Executor};

use super::proxy::Proxy;
use super::shop::Shop;
use super::store::{Store, execute, on_each_engine, open, run};
use crate::domain::Timestamp;
use crate::persistence::codec;
use crate::persistence::database::{Database, diff, verify_books};
use crate::persistence::following::Options;
use crate::persistence::following::Progress;
use crate::persistence::journal::{Batch, Journal, MemoryJournal, Position};
use crate::persistence::projection::{PACE, Projection, StopReason};

const PATIENCE: Duration = Duration::from_secs(60);

fn impatient() -> Options {
    Options {
        batch_records_max: 50,
        idle: Duration::from_millis(1),
        batch_timeout: Duration::from_millis(400),
        retry_pause_min: Duration::from_millis(5),
        retry_pause_max: Duration::from_millis(50),
        ..PACE
    }
}

fn append(journal: &mut MemoryJournal, shop: &Shop, from: usize, to: usize) {
    let mut batch = Batch::new();
    for event in &shop.events[from..to] {
        batch
            .push_with(|out| codec::encode(event, out))
            .expect("room");
    }
    journal.append(&batch).expect("a batch");
}

async fn start(journal: &MemoryJournal, database: &Database) -> Projection {
    let view = journal.view();
    let point = Projection::find(database, &view).await.expect("a place");
    let progress = Progress::new(point.bookmark.position);
    Projection::start(view, point, progress, database.clone(), impatient()).expect("a projection")
}

async fn wait_for(projection: &Projection, records: usize) {
    let arrived = projection
        .progress()
        .wait_for(Position::new(records as u64));
    let arrived = tokio::time::timeout(PATIENCE, arrived).await;
    arrived.expect("it takes too long").expect("it ended");
}

/// Waits until the projection has noticed that SQL is away.
async fn wait_until_away(projection: &Projection) {
    let noticed = async {
        while !projection.progress().is_away() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noticed)
        .await
        .expect("it never went away");
}

async fn check_equal(database: &Database, shop: &Shop) {
    let loaded = database.load_all().await.expect("a load");
    assert_eq!(
        diff(&loaded, &shop.live(Timestamp::ZERO)),
        Vec::<String>::new()
    );
    let faults = verify_books(database).await.expect("a check");
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn the_projection_follows_the_journal_and_goes_on_after_a_restart() {
    on_each_engine(async |store| {
        let shop = Shop::after(30, 900);
        let all = shop.events.len();
        let mut journal = MemoryJournal::new();
        let projection = start(&journal, &store.database).await;
        for from in (0..all / 2).step_by(20) {
            append(&mut journal, &shop, from, (from + 20).min(all / 2));
        }
        wait_for(&projection, all / 2).await;
        assert_eq!(projection.progress().counters().records, (all / 2) as u64);
        projection.stop().expect("an end");

        append(&mut journal, &shop, all / 2, all);
        let projection = start(&journal, &store.database).await;
        assert_eq!(
            projection.progress().lag(journal.position()),
            (all - all / 2) as u64
        );
        wait_for(&projection, all).await;
        assert_eq!(projection.progress().lag(journal.position()), 0);
        projection.stop().expect("an end");
        check_equal(&store.database, &shop).await;
    });
}

/// A refusal is told and tried again as well: somebody may be putting a table right.
#[test]
fn a_table_that_is_missing_for_a_while_costs_nothing() {
    on_each_engine(async |store| {
        let shop = Shop::after(31, 500);
        let mut journal = MemoryJournal::new();
        append(&mut journal, &shop, 0, 100);
        let projection = start(&journal, &store.database).await;
        wait_for(&projection, 100).await;
        let rename = |from, to| format!("ALTER TABLE {from} RENAME TO {to}");
        execute(&store.address, rename("order_lines", "away")).await;
        append(&mut journal, &shop, 100, shop.events.len());
        wait_until_away(&projection).await;
        execute(&store.address, rename("away", "order_lines")).await;
        wait_for(&projection, shop.events.len()).await;
        assert!(projection.progress().counters().retries > 0);
        assert!(!projection.progress().is_away());
        projection.stop().expect("an end");
        check_equal(&store.database, &shop).await;
    });
}

#[test]
fn sqlite_that_is_locked_by_another_process_is_waited_for() {
    run(async {
        let store = Store::sqlite().await;
        let shop = Shop::after(32, 400);
        let mut journal = MemoryJournal::new();
        let mut other = AnyConnection::connect(&store.address)
            .await
            .expect("a connection");
        other.execute("BEGIN IMMEDIATE").await.expect("a lock");
        append(&mut journal, &shop, 0, shop.events.len());
        let projection = start(&journal, &store.database).await;
        wait_until_away(&projection).await;
        other.execute("ROLLBACK").await.expect("an unlock");
        wait_for(&projection, shop.events.len()).await;
        projection.stop().expect("an end");
        check_equal(&store.database, &shop).await;
        store.end().await;
    });
}

/// A shop between a journal and a server that is reached through `Proxy`.
async fn through_a_network(test: impl AsyncFn(&Proxy, &Projection, &Store)) {
    let store = Store::mysql().await;
    let (head, rest) = store.address.rsplit_once('@').expect("a user");
    let (server, name) = rest.split_once('/').expect("a database");
    let server = if server.contains(':') {
        server.to_owned()
    } else {
        format!("{server}:3306")
    };
    let proxy = Proxy::to(server);
    let address = format!("{head}@127.0.0.1:{}/{name}", proxy.port);
    let database = open(&address).await;

    let shop = Shop::after(33, 3_000);
    let mut journal = MemoryJournal::new();
    append(&mut journal, &shop, 0, 60);
    let projection = start(&journal, &database).await;
    wait_for(&projection, 60).await;
    append(&mut journal, &shop, 60, shop.events.len());
    test(&proxy, &projection, &store).await;
    wait_for(&projection, shop.events.len()).await;
    projection.stop().expect("an end");
    check_equal(&store.database, &shop).await;
    store.end().await;
}

#[test]
fn a_server_that_goes_away_again_and_again_gets_each_record_once() {
    run(through_a_network(async |proxy, projection, _| {
        for _ in 0..8 {
            proxy.cut();
            tokio::time::sleep(Duration::from_millis(20)).await;
            proxy.open();
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        assert!(projection.progress().counters().retries > 0, "no cut fired");
    }));
}

#[test]
fn a_server_that_hangs_is_left_and_tried_again() {
    run(through_a_network(async |proxy, projection, _| {
        proxy.hang();
        wait_until_away(projection).await;
        proxy.open();
    }));
}

#[test]
fn connections_that_an_administrator_kills_are_opened_again() {
    run(through_a_network(async |_, projection, store| {
        let name = store.address.rsplit_once('/').expect("a database").1;
        let find = format!(
            "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = '{name}' AND id <> CONNECTION_ID()"
        );
        let mut admin = AnyConnection::connect(&store.address)
            .await
            .expect("a connection");
        let mut killed = 0;
        while killed < 12 {
            let ids: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(find.clone()))
                .fetch_all(&mut admin)
                .await
                .expect("connections");
            for id in ids {
                let kill = sqlx::AssertSqlSafe(format!("KILL {id}"));
                killed += u32::from(admin.execute(kill).await.is_ok());
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        let retries = projection.progress().counters().retries;
        assert!(retries > 0, "nothing was killed in the middle of a batch");
    }));
}

#[test]
fn a_record_that_cannot_be_read_ends_the_projection_with_its_number() {
    on_each_engine(async |store| {
        let shop = Shop::after(34, 100);
        let mut journal = MemoryJournal::new();
        append(&mut journal, &shop, 0, 30);
        let mut batch = Batch::new();
        batch.push_with(|out| out.extend([99, 1, 2])).expect("room");
        journal.append(&batch).expect("a batch");
        let projection = start(&journal, &store.database).await;
        let progress = projection.progress().clone();
        let ended = tokio::time::timeout(PATIENCE, progress.wait_for(Position::new(31))).await;
        assert!(ended.expect("it takes too long").is_err());
        let reason = projection.stop();
        let Err(StopReason::Record(unreadable)) = reason else {
            panic!("{reason:?}")
        };
        assert_eq!(unreadable.position, Position::new(31));
    });
}
