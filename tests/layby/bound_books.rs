//! The journal and the tables belong together, at a start and while it runs; and damage that one reader finds is everybody's.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    Call, Caller, Key, MariaDb, Sale, Shop, Store, at_once, calls, check_that_strace_works,
    eventually, line, on_each_database, pause, run, traced,
};

on_each_database! {
    a_copy_of_the_journal_that_went_its_own_way_is_refused,
    tables_of_the_release_before_are_bound_at_the_next_start,
    tables_that_come_back_older_are_brought_up_again_while_it_serves,
    tables_older_than_the_journal_are_told_and_it_sells_on,
    tables_that_are_another_journals_while_it_serves_are_told,
    damage_that_the_tables_meet_ends_every_promise,
}

fn holds(shop: &Shop, product: &str, count: usize) -> Vec<(Caller, Value)> {
    let buyers = shop.buyers(count).into_iter();
    buyers
        .map(|buyer| {
            let order = buyer.hold(product, 1);
            (buyer, order)
        })
        .collect()
}

fn long_sale(stock: u64) -> Sale {
    Sale {
        hold_seconds: 1_800,
        ..Sale::of(stock)
    }
}

/// How many orders the tables have.
fn listed(shop: &Shop) -> usize {
    let page = shop.admin().get("/v1/admin/orders?limit=100").is(200);
    page["items"].as_array().map_or(0, Vec::len)
}

fn readiness(shop: &Shop) -> (u16, Value) {
    let answer = shop.visitor().get("/readyz");
    (answer.status, answer.json())
}

#[track_caller]
fn becomes_ready(shop: &Shop) {
    eventually("it is ready", || {
        let (status, said) = readiness(shop);
        (status == 200 && said["status"] == "ready").then_some(())
    });
}

#[track_caller]
fn is_not_ready(shop: &Shop, problem: &str) {
    eventually(problem, || {
        let (status, said) = readiness(shop);
        let is_named = said["projection"]["problem"] == problem;
        (status == 503 && said["status"] == "not_ready" && is_named).then_some(())
    });
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_directory(&from, &to);
        } else {
            fs::copy(&from, &to).expect("copied");
        }
    }
}

// -- at a start --------------------------------------------------------------------------------------------------

/// Somebody tries the data out on a copy, and later puts the copy in the place of the original.
fn a_copy_of_the_journal_that_went_its_own_way_is_refused(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(long_sale(1_000));
    holds(&shop, &lamp, 4);
    shop.stop();
    let mut other = Shop::closed(Store::Sqlite, &[]);
    copy_directory(&shop.data_dir(), &other.data_dir());
    shop.start();
    let orders = holds(&shop, &lamp, 3);
    shop.catches_up();
    shop.stop();
    other.start();
    holds(&other, &lamp, 20);
    other.stop();

    let (own, aside) = (shop.journal_dir(), shop.scratch().join("journal-aside"));
    fs::rename(&own, &aside).expect("moved");
    copy_directory(&other.journal_dir(), &own);
    for _ in 0..2 {
        let (code, said) = shop.fails_to_start();
        assert_eq!(code, Some(6), "{said}");
        assert!(
            said.contains("the database follows another copy of the journal"),
            "{said}"
        );
    }
    let (code, report) = shop.verify();
    assert_eq!((code, &report["verdict"]), (Some(1), &json!("wrong")));
    let faults = report["faults"].to_string();
    assert!(faults.contains("another copy of the journal"), "{faults}");

    fs::remove_dir_all(&own).expect("removed");
    fs::rename(&aside, &own).expect("moved");
    shop.start();
    for (buyer, order) in &orders {
        assert_eq!(buyer.at(shop.url()).state(order), "held");
    }
}

fn tables_of_the_release_before_are_bound_at_the_next_start(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(Sale {
        limit: Some(2),
        ..long_sale(1_000)
    });
    let held = holds(&shop, &lamp, 3);
    let (buyer, paid) = &held[0];
    buyer.pay(paid, "card").is(201);
    shop.catches_up();
    shop.stop();
    bring_back_tables_of_the_release_before(&shop);
    let verified = run(&mut shop.command("verify"));
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(!verified.status.success(), "{verified:?}");
    assert!(said.contains("run `layby migrate`"), "{said}");

    shop.start();
    let buyer = buyer.at(shop.url());
    assert_eq!(buyer.state(paid), "paid");
    assert_eq!(shop.units(&lamp), (997, 2, 1));
    // What people had counts.
    buyer.hold(&lamp, 1);
    buyer
        .place(&[line(&lamp, 1)])
        .is_refused(409, "limit_reached");
    eventually("both are bound", || {
        let unbound =
            "SELECT name FROM followers WHERE journal_id IS NULL OR frame_checksum IS NULL";
        shop.rows(unbound).is_empty().then_some(())
    });
    shop.stop();
    let aside = shop.scratch().join("journal-aside");
    fs::rename(shop.journal_dir(), &aside).expect("moved");
    let (code, said) = shop.fails_to_start();
    assert!(
        code == Some(6) && said.contains("the database follows another journal"),
        "{code:?} {said}"
    );
    fs::remove_dir_all(shop.journal_dir()).expect("removed");
    fs::rename(&aside, shop.journal_dir()).expect("moved");
    shop.start();
}

fn bring_back_tables_of_the_release_before(shop: &Shop) {
    for statement in [
        "CREATE TABLE projection (id BIGINT NOT NULL PRIMARY KEY, position BIGINT NOT NULL)",
        "INSERT INTO projection SELECT 1, position FROM followers WHERE name = 'projection'",
        "CREATE TABLE notices (id BIGINT NOT NULL PRIMARY KEY, position BIGINT NOT NULL)",
        "INSERT INTO notices SELECT 1, position FROM followers WHERE name = 'notices'",
        "DROP TABLE followers",
        "DROP TABLE in_hand",
        "DELETE FROM _sqlx_migrations WHERE version >= 200",
    ] {
        shop.sql(statement);
    }
}

// -- while it runs -----------------------------------------------------------------------------------------------

fn tables_that_come_back_older_are_brought_up_again_while_it_serves(store: Store) {
    let mut shop = Shop::open(store);
    let lamp = shop.product(long_sale(1_000));
    let before = holds(&shop, &lamp, 3);
    shop.catches_up();
    shop.back_up_tables("older");
    let after = holds(&shop, &lamp, 4);
    let (buyer, order) = &after[0];
    buyer.pay(order, "card").is(201);
    shop.catches_up();
    assert_eq!(listed(&shop), 7);
    // Nobody buys anything, and yet it is noticed.
    shop.restore_tables("older");
    eventually("the tables have all orders again", || {
        (listed(&shop) == 7).then_some(())
    });
    becomes_ready(&shop);
    // Somebody buys in the same moment.
    shop.restore_tables("older");
    let meanwhile = holds(&shop, &lamp, 2);
    eventually("the tables have all orders again", || {
        (listed(&shop) == 9).then_some(())
    });
    becomes_ready(&shop);
    shop.catches_up();
    assert_eq!(shop.units(&lamp), (991, 8, 1));
    shop.kill_and_start();
    for (buyer, order) in before.iter().chain(&after[1..]).chain(&meanwhile) {
        assert_eq!(buyer.at(shop.url()).state(order), "held");
    }
    shop.stop_and_hear(|said| {
        // The log of the process that was killed is another one.
        assert!(!said.contains("SQL went back"), "{said}");
    });
}

fn tables_older_than_the_journal_are_told_and_it_sells_on(store: Store) {
    let mut shop = Shop::open_with(store, &["--journal-retention-mib", "0"]);
    shop.announce("the database is too old for the journal");
    let products: Vec<String> = (0..50)
        .map(|_| shop.product(long_sale(1_000_000)))
        .collect();
    let lines: Vec<Value> = products.iter().map(|product| line(product, 1)).collect();
    holds(&shop, &products[0], 2);
    shop.catches_up();
    shop.back_up_tables("older");
    let first = shop.journal_dir().join("journal-0000000000000001.seg");
    eventually("the first segment is let go", || {
        at_once(&shop.buyers(16), |buyer| {
            for _ in 0..5 {
                buyer.place(&lines).is(201);
            }
        });
        (!first.exists()).then_some(())
    });
    shop.catches_up();
    shop.back_up_tables("newer");
    shop.restore_tables("older");
    is_not_ready(&shop, "records_gone");
    shop.buyer().place(&lines).is(201);
    pause(std::time::Duration::from_secs(2));
    is_not_ready(&shop, "records_gone");
    let log = shop.process().stderr.all();
    let told = |it: &&String| it.contains(" ERROR ") && it.contains("projection");
    assert_eq!(log.iter().filter(told).count(), 1, "it is told once");
    // A start is refused, and says the same.
    let (code, report) = shop.verify();
    assert_eq!(code, Some(1), "{report:#}");
    shop.kill();
    let (code, said) = shop.fails_to_start();
    assert!(
        code == Some(6) && said.contains("the database is too old for the journal"),
        "{code:?} {said}"
    );
    shop.restore_tables("newer");
    shop.start();
    becomes_ready(&shop);
    // The same cure while it runs.
    shop.restore_tables("older");
    is_not_ready(&shop, "records_gone");
    shop.restore_tables("newer");
    becomes_ready(&shop);
    shop.catches_up();
}

fn tables_that_are_another_journals_while_it_serves_are_told(store: Store) {
    let mut shop = Shop::open(store);
    shop.announce("waits until this is put right");
    let lamp = shop.product(long_sale(1_000));
    holds(&shop, &lamp, 2);
    shop.catches_up();
    let projection = "WHERE name = 'projection'";
    let stored = |shop: &Shop| {
        let columns = "SELECT position, journal_id, frame_checksum FROM followers";
        shop.rows(&format!("{columns} {projection}")).remove(0)
    };
    let right = stored(&shop);
    for (column, wrong, problem) in [
        ("journal_id", "7", "other_journal"),
        ("frame_checksum", "7", "other_past"),
        ("position", "90000", "database_ahead"),
    ] {
        shop.sql(&format!(
            "UPDATE followers SET {column} = {wrong} {projection}"
        ));
        is_not_ready(&shop, problem);
        let [position, journal, frame] = right.as_slice() else {
            panic!("{right:?}")
        };
        shop.sql(&format!(
            "UPDATE followers SET position = {position}, journal_id = {journal}, frame_checksum = {frame} {projection}"
        ));
        becomes_ready(&shop);
    }
    // Letters too: they say that the database is another one.
    shop.sql("UPDATE followers SET journal_id = 7 WHERE name = 'notices'");
    eventually("letters do not fit", || {
        let (status, said) = readiness(&shop);
        (status == 503 && said["notices"]["problem"] == "other_journal").then_some(())
    });
    let journal = &right[1];
    shop.sql(&format!(
        "UPDATE followers SET journal_id = {journal} WHERE name = 'notices'"
    ));
    becomes_ready(&shop);
    holds(&shop, &lamp, 1);
    shop.catches_up();
}

// -- what may be let go ------------------------------------------------------------------------------------------

/// The embedded database commits without waiting for the disk. A power cut would take its last commits back, and the
/// journal must have them still.
#[test]
fn no_segment_goes_before_what_the_tables_have_of_it_is_on_the_disk() {
    let (mut shop, trace) = open_traced();
    let lines = fifty_lines(&shop);
    let second = segment(&shop, 2);
    let mut was_there = false;
    eventually("two segments are let go", || {
        place_many(&shop, &lines);
        was_there |= second.exists();
        (was_there && !second.exists()).then_some(())
    });
    shop.stop();
    let calls = calls(&trace);
    for number in 1..=2 {
        let closed = calls.iter().find(|it| it.makes(number + 1));
        let closed = closed.expect("its closing").lines.end;
        let gone = calls.iter().find(|it| it.takes_away(number));
        let gone = gone.expect("its end").lines.start;
        let mut syncs = calls.iter().filter(|it| it.syncs_tables());
        assert!(
            syncs.any(|it| it.lines.start > closed && it.lines.end < gone),
            "segment {number} was closed at {closed} and let go at {gone}, without a sync of the tables between"
        );
    }
}

/// Nobody buys any more, so that no further batch takes the last ones to the disk.
#[test]
fn a_shop_that_goes_quiet_lets_its_segments_go_once_the_tables_are_on_the_disk() {
    let (mut shop, trace) = open_traced();
    let lines = fifty_lines(&shop);
    let second = segment(&shop, 2);
    while !second.exists() {
        place_many(&shop, &lines);
    }
    shop.catches_up();
    let first = segment(&shop, 1);
    eventually("the first is let go", || (!first.exists()).then_some(()));
    shop.stop();
    let calls = calls(&trace);
    let gone = calls.iter().position(|it| it.takes_away(1));
    let before = &calls[..gone.expect("its end")];
    let written = before.iter().rposition(|it| it.writes_tables());
    let synced = before.iter().rposition(|it| it.syncs_tables());
    assert!(
        written.expect("a write") < synced.expect("a sync"),
        "the tables were written to without a sync before the segment went"
    );
}

/// A shop on the embedded database that keeps no more of the journal than it must, and where its calls are written down.
fn open_traced() -> (Shop, PathBuf) {
    check_that_strace_works();
    let mut shop = Shop::closed(Store::Sqlite, &["--journal-retention-mib", "0"]);
    let trace = shop.scratch().join("trace");
    let options = [
        "--decode-fds=path",
        "--trace=fdatasync,fsync,pwrite64,rename,unlink",
    ];
    let server = traced(&shop.serve_command(), &options, &trace);
    shop.start_by(server);
    (shop, trace)
}

fn segment(shop: &Shop, number: u32) -> PathBuf {
    shop.journal_dir().join(format!("journal-{number:016}.seg"))
}

fn fifty_lines(shop: &Shop) -> Vec<Value> {
    (0..50)
        .map(|_| line(&shop.product(long_sale(1_000_000)), 1))
        .collect()
}

fn place_many(shop: &Shop, lines: &[Value]) {
    at_once(&shop.buyers(16), |buyer| {
        for _ in 0..5 {
            buyer.place(lines).is(201);
        }
    });
}

impl Call {
    fn makes(&self, segment: u32) -> bool {
        self.text.starts_with("rename(") && self.text.contains(&in_call(segment))
    }

    /// Under its name: it may be kept under another.
    fn takes_away(&self, segment: u32) -> bool {
        let first = self.text.split(',').next().unwrap_or_default();
        let is_move = first.starts_with("rename(") || first.starts_with("unlink(");
        is_move && first.contains(&in_call(segment))
    }

    fn syncs_tables(&self) -> bool {
        self.text.starts_with('f') && self.text.contains("tables.db-wal>")
    }

    fn writes_tables(&self) -> bool {
        self.text.starts_with("pwrite64(") && self.text.contains("tables.db-wal>")
    }
}

fn in_call(segment: u32) -> String {
    format!("journal-{segment:016}.seg\"")
}

/// What a server is set up to lose must be known before it is lost.
#[test]
fn a_database_server_that_commits_to_memory_is_told_of() {
    let database = MariaDb::start();
    let mut shop = Shop::closed_at(database.database_url(), &[]);
    shop.start();
    shop.stop_and_hear(|said| assert!(!said.contains("innodb_flush_log"), "{said}"));
    shop.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2");
    shop.start();
    shop.stop_and_hear(|said| {
        let told = "innodb_flush_log_at_trx_commit is 2";
        assert!(said.contains(told), "{said}");
    });
}

// -- damage ------------------------------------------------------------------------------------------------------

/// A frame that was durable is no longer what it was. Whoever reads it first knows, and then nobody is promised anything
/// that the next start would have to take back.
fn damage_that_the_tables_meet_ends_every_promise(store: Store) {
    let mut shop = Shop::open(store);
    shop.announce("nothing is promised any more");
    shop.announce("the projection ended");
    shop.announce("the journal failed");
    shop.announce("SQL ");
    let lamp = shop.product(long_sale(1_000));
    shop.catches_up();
    let lock = shop.lock_tables();
    // What the projection reads before it waits for the lock does not matter.
    let first = holds(&shop, &lamp, 1);
    pause(std::time::Duration::from_millis(300));
    let waiting = holds(&shop, &lamp, 8);
    let segment = newest_segment(&shop);
    let (offset, frame) = last_frames(&segment, 4);
    flip(&segment, offset + 100);
    drop(lock);

    let lines = [line(&lamp, 1)];
    let body = json!({"lines": lines});
    let mut acknowledged = 0;
    loop {
        let placed = shop.buyer().try_send(
            &Method::POST,
            "/v1/orders",
            Some(&Key::fresh()),
            Some(&body),
        );
        match placed {
            Ok(answer) if answer.status == 201 => acknowledged += 1,
            Ok(answer) => {
                answer.is_refused(503, "journal_failed");
                let (status, said) = readiness_or_gone(&shop);
                assert!(
                    status == 503 && said["status"] == "failed" || status == 0,
                    "{said}"
                );
                break;
            }
            Err(_gone) => break,
        }
        assert!(acknowledged < 20_000, "the damage was never met");
    }
    let log = std::sync::Arc::clone(&shop.process().stderr);
    assert_eq!(shop.ends(), Some(4), "the exit code of a failed journal");
    let named = format!(
        "{}` is damaged at byte {offset}",
        segment.file_name().expect("a name").to_string_lossy()
    );
    let said = log.all().join("\n");
    assert!(said.contains(&named), "{said}");
    let (code, said) = shop.fails_to_start();
    assert!(code == Some(3) && said.contains(&named), "{code:?} {said}");
    let (code, report) = shop.verify();
    let faults = report["faults"].to_string();
    assert!(code == Some(1) && faults.contains(&named), "{report:#}");

    // Somebody has a copy.
    write_at(&segment, &frame, offset);
    shop.start();
    for (buyer, order) in first.iter().chain(&waiting) {
        assert_eq!(buyer.at(shop.url()).state(order), "held");
    }
}

fn readiness_or_gone(shop: &Shop) -> (u16, Value) {
    match shop.visitor().try_send(&Method::GET, "/readyz", None, None) {
        Ok(answer) => (answer.status, answer.json()),
        Err(_gone) => (0, Value::Null),
    }
}

fn newest_segment(shop: &Shop) -> PathBuf {
    let entries = fs::read_dir(shop.journal_dir()).expect("the journal");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let segments = paths.filter(|path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name.starts_with("journal-")
    });
    segments.max().expect("a segment")
}

/// Where the batch begins that has so many behind it, and its bytes.
fn last_frames(segment: &Path, behind: usize) -> (u64, Vec<u8>) {
    const FRAME_MAGIC: &[u8] = b"LBYF";
    const BATCH: u8 = 1;
    let bytes = fs::read(segment).expect("read");
    let starts = (4_096..bytes.len()).step_by(512);
    let batches: Vec<usize> = starts
        .filter(|start| &bytes[start + 4..start + 8] == FRAME_MAGIC && bytes[start + 9] == BATCH)
        .collect();
    let start = batches[batches.len() - 1 - behind];
    (start as u64, bytes[start..start + 512].to_vec())
}

fn flip(segment: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(segment);
    let file = file.expect("a segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[byte[0] ^ 0x10], offset)
        .expect("written");
}

fn write_at(segment: &Path, bytes: &[u8], offset: u64) {
    let file = File::options().write(true).open(segment);
    file.expect("a segment")
        .write_all_at(bytes, offset)
        .expect("written");
}
