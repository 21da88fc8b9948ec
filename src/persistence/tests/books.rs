//! The books bound together: which journal SQL follows, and what happens when it is another, or SQL an older one.

use std::time::Duration;

use tokio::time::Instant;

use super::shop::Shop;
use super::store::{Store, execute, on_each_engine};
use crate::domain::Timestamp;
use crate::persistence::codec;
use crate::persistence::database::{Database, Dialect, FollowerName, diff, verify_books};
use crate::persistence::following::{Bookmark, Mismatch, Options, Progress, ResumeError};
use crate::persistence::journal::{Batch, Journal, JournalId, MemoryJournal, Position};
use crate::persistence::projection::{PACE, Projection, ResumeProjectionError};

const PATIENCE: Duration = Duration::from_secs(60);
const RECORDS_A_FRAME: usize = 20;

fn impatient() -> Options {
    Options {
        // No multiple of a frame: batches end in the middle of one.
        batch_records_max: 7,
        idle: Duration::from_millis(1),
        batch_timeout: Duration::from_secs(5),
        commit_durably_every: Duration::from_millis(200),
        retry_pause_min: Duration::from_millis(5),
        retry_pause_max: Duration::from_millis(50),
        rush_rest: 0,
        ..PACE
    }
}

/// Appends the events `from` to `to`, twenty a frame.
fn append(journal: &mut MemoryJournal, shop: &Shop, from: usize, to: usize) {
    for events in shop.events[from..to].chunks(RECORDS_A_FRAME) {
        let mut batch = Batch::new();
        for event in events {
            batch
                .push_with(|out| codec::encode(event, out))
                .expect("room");
        }
        journal.append(&batch).expect("a batch");
    }
}

async fn find(
    journal: &MemoryJournal,
    database: &Database,
) -> Result<Bookmark, ResumeProjectionError> {
    let found = Projection::find(database, &journal.view()).await;
    found.map(|point| point.bookmark)
}

async fn start(journal: &MemoryJournal, database: &Database) -> Projection {
    let view = journal.view();
    let point = Projection::find(database, &view).await.expect("a place");
    let progress = Progress::new(point.bookmark.position);
    Projection::start(view, point, progress, database.clone(), impatient()).expect("a projection")
}

/// Projects all of the journal.
async fn project(journal: &MemoryJournal, database: &Database) {
    let projection = start(journal, database).await;
    wait_for(projection.progress(), journal.position()).await;
    projection.stop().expect("an end");
}

async fn wait_for(progress: &Progress, position: Position) {
    let arrived = tokio::time::timeout(PATIENCE, progress.wait_for(position)).await;
    arrived.expect("it takes too long").expect("it ended");
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waited).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn stored(store: &Store) -> Bookmark {
    let bookmark = store.database.bookmark(FollowerName::Projection).await;
    bookmark.expect("a bookmark")
}

async fn check_equal(store: &Store, shop: &Shop) {
    let loaded = store.load_live(Timestamp::ZERO).await;
    let live = shop.live(Timestamp::ZERO);
    assert_eq!(diff(&loaded.expect("a load"), &live), Vec::<String>::new());
    let faults = verify_books(&store.database).await.expect("a check");
    assert_eq!(faults, Vec::<String>::new());
}

fn mismatch(found: Result<Bookmark, ResumeProjectionError>) -> Mismatch {
    match found {
        Err(ResumeProjectionError::Resume(ResumeError::Mismatch(mismatch))) => mismatch,
        other => panic!("no mismatch: {other:?}"),
    }
}

#[test]
fn sql_keeps_which_journal_it_follows_and_the_frame_it_stands_in() {
    on_each_engine(async |store| {
        let shop = Shop::after(200, 300);
        let mut journal = MemoryJournal::with_id(u64::MAX - 5);
        append(&mut journal, &shop, 0, 107);
        project(&journal, &store.database).await;
        let view = journal.view();
        let expected = Bookmark {
            position: Position::new(107),
            journal: Some(view.id()),
            frame: Some(view.frame_at(Position::new(107)).expect("kept")),
        };
        assert_eq!(stored(store).await, expected);
        // In the middle of a frame it is the whole frame that counts.
        append(&mut journal, &shop, 107, 127);
        let halfway = Bookmark {
            position: Position::new(113),
            journal: Some(view.id()),
            frame: Some(view.frame_at(Position::new(127)).expect("kept")),
        };
        assert_eq!(halfway.checked(&view).expect("a place"), halfway);
    });
}

#[test]
fn another_journal_is_refused_and_both_are_named() {
    on_each_engine(async |store| {
        let shop = Shop::after(201, 300);
        let mut journal = MemoryJournal::with_id(0xaaaa);
        append(&mut journal, &shop, 0, 60);
        project(&journal, &store.database).await;
        let mut other = MemoryJournal::with_id(0xbbbb);
        append(&mut other, &shop, 0, 100);
        let refused = mismatch(find(&other, &store.database).await);
        assert_eq!(
            refused,
            Mismatch::OtherJournal {
                stored: JournalId::new(0xaaaa),
                position: Position::new(60),
                found: JournalId::new(0xbbbb),
                last: Position::new(100),
            }
        );
        let said = refused.to_string();
        for side in ["000000000000aaaa", "record 60", "000000000000bbbb", "100"] {
            assert!(said.contains(side), "{said}");
        }
        // Also before a single record was followed.
        let empty = mismatch(find(&MemoryJournal::with_id(7), &store.database).await);
        assert_eq!(empty.code(), "other_journal");
    });
}

/// The journal of a copy has the same id and the same positions, and is longer than SQL is far.
#[test]
fn a_copy_that_went_its_own_way_is_refused() {
    on_each_engine(async |store| {
        let shop = Shop::after(202, 800);
        let mut journal = MemoryJournal::with_id(3);
        append(&mut journal, &shop, 0, 100);
        let mut copy = journal.fork();
        append(&mut journal, &shop, 100, 160);
        // The same records in other frames are another past too: nobody promised them in the same moment.
        append(&mut copy, &shop, 100, 110);
        append(&mut copy, &shop, 110, 280);
        project(&copy, &store.database).await;
        let refused = mismatch(find(&journal, &store.database).await);
        assert_eq!(refused.code(), "database_ahead");
        append(&mut journal, &shop, 160, 330);
        let refused = mismatch(find(&journal, &store.database).await);
        let view = |journal: &MemoryJournal| {
            let frame = journal.view().frame_at(Position::new(280));
            frame.expect("kept")
        };
        assert_eq!(
            refused,
            Mismatch::OtherPast {
                journal: JournalId::new(3),
                position: Position::new(280),
                stored: view(&copy),
                found: view(&journal),
            }
        );
        assert!(find(&copy, &store.database).await.is_ok());
    });
}

#[test]
fn what_an_earlier_release_wrote_is_taken_over_and_bound_from_then_on() {
    on_each_engine(async |store| {
        let shop = Shop::after(203, 300);
        let mut journal = MemoryJournal::with_id(5);
        append(&mut journal, &shop, 0, 60);
        project(&journal, &store.database).await;
        let unbind = "UPDATE followers SET journal_id = NULL, frame_checksum = NULL";
        execute(&store.address, unbind.to_owned()).await;
        assert_eq!(stored(store).await.journal, None);
        // Nothing is new in the journal, and yet it is bound.
        let projection = start(&journal, &store.database).await;
        let bound = async { while stored(store).await.frame.is_none() {} };
        tokio::time::timeout(PATIENCE, bound).await.expect("bound");
        projection.stop().expect("an end");
        let frame = journal.view().frame_at(Position::new(60)).expect("kept");
        let bookmark = stored(store).await;
        assert_eq!(
            (bookmark.journal, bookmark.frame),
            (Some(JournalId::new(5)), Some(frame))
        );
        let other = MemoryJournal::with_id(6);
        assert_eq!(
            mismatch(find(&other, &store.database).await).code(),
            "other_journal"
        );
    });
}

/// An earlier release let go of exactly what SQL had, the frame that it stands in included.
#[test]
fn a_position_whose_frame_is_gone_is_bound_to_its_journal_alone() {
    on_each_engine(async |store| {
        let shop = Shop::after(204, 300);
        let mut journal = MemoryJournal::with_id(5);
        append(&mut journal, &shop, 0, 60);
        project(&journal, &store.database).await;
        let unbind = "UPDATE followers SET journal_id = NULL, frame_checksum = NULL";
        execute(&store.address, unbind.to_owned()).await;
        append(&mut journal, &shop, 60, 80);
        journal.release_through(Position::new(61));
        let bookmark = find(&journal, &store.database).await.expect("a place");
        assert_eq!(
            (bookmark.journal, bookmark.frame),
            (Some(JournalId::new(5)), None)
        );
        project(&journal, &store.database).await;
        assert!(
            stored(store).await.frame.is_some(),
            "bound at the next frame"
        );
        check_equal(store, &prefix(&shop, 80)).await;
    });
}

#[test]
fn sql_that_comes_back_older_is_followed_again_from_where_it_is() {
    on_each_engine(async |store| {
        let shop = Shop::after(205, 900);
        let (half, all) = (shop.events.len() / 2, shop.events.len());
        let mut journal = MemoryJournal::with_id(9);
        append(&mut journal, &shop, 0, 200);
        let projection = start(&journal, &store.database).await;
        let progress = projection.progress().clone();
        wait_for(&progress, Position::new(200)).await;
        store.back_up("old").await;
        append(&mut journal, &shop, 200, half);
        wait_for(&progress, journal.position()).await;
        // While there is nothing to do,
        store.restore("old").await;
        eventually("it notices", || progress.counters().went_back == 1).await;
        wait_for(&progress, journal.position()).await;
        check_equal(store, &prefix(&shop, half)).await;
        // and in the middle of a rush.
        for from in (half..all).step_by(40) {
            append(&mut journal, &shop, from, (from + 40).min(all));
            if from == half + 120 {
                store.restore("old").await;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        eventually("it notices", || progress.counters().went_back == 2).await;
        wait_for(&progress, journal.position()).await;
        assert!(!progress.is_away() && progress.problem().is_none());
        projection.stop().expect("an end");
        check_equal(store, &shop).await;
    });
}

#[test]
fn sql_that_is_older_than_what_the_journal_keeps_is_told_once_and_waited_for() {
    on_each_engine(async |store| {
        let shop = Shop::after(206, 400);
        let mut journal = MemoryJournal::with_id(9);
        append(&mut journal, &shop, 0, 100);
        let projection = start(&journal, &store.database).await;
        let progress = projection.progress().clone();
        wait_for(&progress, Position::new(100)).await;
        store.back_up("old").await;
        append(&mut journal, &shop, 100, 160);
        wait_for(&progress, Position::new(160)).await;
        store.back_up("newer").await;
        append(&mut journal, &shop, 160, 200);
        wait_for(&progress, Position::new(200)).await;
        journal.release_through(Position::new(140));
        store.restore("old").await;
        eventually("it does not fit", || progress.problem().is_some()).await;
        let first = Position::new(140);
        let expected = Mismatch::RecordsGone {
            position: Position::new(100),
            first,
        };
        assert_eq!(progress.problem(), Some("records_gone"));
        assert_eq!(progress.mismatch(), Some(expected));
        assert!(!progress.has_ended());
        // Somebody restores a backup that is new enough.
        store.restore("newer").await;
        eventually("it fits again", || progress.problem().is_none()).await;
        wait_for(&progress, Position::new(200)).await;
        projection.stop().expect("an end");
        check_equal(store, &prefix(&shop, 200)).await;
    });
}

/// Or the journal would keep what led there until somebody buys again.
#[test]
fn what_was_applied_last_becomes_durable_though_nothing_follows_it() {
    on_each_engine(async |store| {
        let shop = Shop::after(208, 300);
        let mut journal = MemoryJournal::with_id(9);
        append(&mut journal, &shop, 0, 100);
        let projection = start(&journal, &store.database).await;
        let progress = projection.progress().clone();
        wait_for(&progress, Position::new(100)).await;
        append(&mut journal, &shop, 100, 160);
        let all = Position::new(160);
        let is_durable = |progress: &Progress| progress.durable_position() == all;
        eventually("all is durable", || is_durable(&progress)).await;
        projection.stop().expect("an end");
        let settled = stored(store).await;
        // What a process finds at its start may be in the memory of the operating system only.
        let projection = start(&journal, &store.database).await;
        let progress = projection.progress().clone();
        eventually("all is durable again", || is_durable(&progress)).await;
        projection.stop().expect("an end");
        assert_eq!(stored(store).await, settled);
        check_equal(store, &prefix(&shop, 160)).await;
    });
}

#[test]
fn sql_that_becomes_another_journals_or_runs_ahead_is_not_written_to() {
    on_each_engine(async |store| {
        let shop = Shop::after(207, 400);
        let mut journal = MemoryJournal::with_id(9);
        append(&mut journal, &shop, 0, 100);
        let projection = start(&journal, &store.database).await;
        let progress = projection.progress().clone();
        wait_for(&progress, Position::new(100)).await;
        let set = async |what: &str| {
            let statement = format!("UPDATE followers SET {what} WHERE name = 'projection'");
            execute(&store.address, statement).await;
        };
        for (from, wrong, code) in [
            (100, "journal_id = 8", "other_journal"),
            (120, "frame_checksum = 1", "other_past"),
            (140, "position = 7000", "database_ahead"),
        ] {
            set(wrong).await;
            append(&mut journal, &shop, from, from + RECORDS_A_FRAME);
            eventually(code, || progress.problem() == Some(code)).await;
            let before = stored(store).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
            assert_eq!(stored(store).await, before, "{code}: it was written to");
            let frame = journal.view().frame_at(Position::new(from as u64));
            let frame = frame.expect("kept");
            set(&format!(
                "position = {from}, journal_id = 9, frame_checksum = {frame}"
            ))
            .await;
            wait_for(&progress, journal.position()).await;
            assert_eq!(progress.problem(), None);
        }
        projection.stop().expect("an end");
        check_equal(store, &prefix(&shop, 160)).await;
    });
}

/// SQLite commits to memory, now and then to the disk. MySQL says that it commits to the disk each time.
#[test]
fn only_what_was_committed_to_the_disk_counts_as_durable() {
    on_each_engine(async |store| {
        let shop = Shop::after(208, 400);
        let mut journal = MemoryJournal::with_id(9);
        append(&mut journal, &shop, 0, 7);
        let projection = start(&journal, &store.database).await;
        let progress = projection.progress().clone();
        let begun = Instant::now();
        wait_for(&progress, Position::new(7)).await;
        eventually("the first batch is durable", || {
            progress.durable_position() == Position::new(7)
        })
        .await;
        append(&mut journal, &shop, 7, 200);
        wait_for(&progress, Position::new(200)).await;
        let (dialect, durable) = (store.database.dialect(), progress.durable_position());
        match dialect {
            Dialect::Sqlite if begun.elapsed() < Duration::from_secs(4) => {
                assert_eq!(durable, Position::new(7));
            }
            Dialect::Sqlite => {}
            // The last batch may be told as done a moment before it is told as durable.
            Dialect::MySql => assert!(durable >= Position::new(193), "{durable}"),
        }
        // What SQL has lost is not durable.
        store.back_up("old").await;
        let older =
            "UPDATE followers SET position = 3, frame_checksum = NULL WHERE name = 'projection'";
        execute(&store.address, older.to_owned()).await;
        eventually("it notices", || progress.counters().went_back == 1).await;
        assert!(progress.durable_position() <= progress.position());
        projection.stop().ok();
    });
}

/// Replays the first events into a new shop.
fn prefix(shop: &Shop, events: usize) -> Shop {
    let mut prefix = Shop::default();
    for event in &shop.events[..events] {
        prefix.record(event.clone());
    }
    prefix
}
