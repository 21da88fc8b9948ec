//! Disks that refuse, and a second writer.

use std::process::Command;

use super::*;

/// Fails the nth call of a kind, for every n until a run meets none, and checks that the failure is final.
fn check_every_failure(plan: impl Fn(u64) -> FaultPlan, fired: impl Fn(FaultsFired) -> u64) -> u64 {
    for nth in 1.. {
        let disk = SimDisk::new(nth);
        let (mut journal, _) = open_sim(&disk).expect("an empty disk");
        disk.plan(plan(nth));
        let acked = append_until_failure(&mut journal);
        if fired(disk.faults_fired()) == 0 {
            return nth - 1;
        }
        drop(journal);
        let (journal, recovery) = open_sim(&disk.crash()).expect("a failure is no damage");
        let last = recovery.last.get();
        assert!(
            last == acked || last == acked + 3,
            "{last} records after {acked} were acknowledged"
        );
        check_history(&journal, 1, last);
    }
    unreachable!("some run meets no fault")
}

/// Returns the last acknowledged record. A spare that cannot be prepared is not a failure yet.
fn append_until_failure(journal: &mut SimJournal) -> u64 {
    while journal.position().get() < 60 {
        if append(journal, 3).is_err() {
            let acked = journal.position();
            for _ in 0..3 {
                assert!(
                    matches!(append(journal, 1), Err(JournalError::Failed)),
                    "nothing is retried"
                );
                assert!(matches!(journal.seal(), Err(JournalError::Failed)));
            }
            assert_eq!(journal.position(), acked);
            check_history(journal, 1, acked.get());
            break;
        }
    }
    journal.position().get()
}

#[test]
fn every_failed_sync_is_final() {
    let plan = |nth| FaultPlan {
        sync: Some(nth),
        ..FaultPlan::default()
    };
    let failures = check_every_failure(plan, |fired| fired.syncs_failed);
    assert!(failures > 20, "only {failures} syncs to fail");
}

#[test]
fn every_failed_write_is_final() {
    let plan = |nth| FaultPlan {
        write: Some((nth, WriteFault::Broken)),
        ..FaultPlan::default()
    };
    let failures = check_every_failure(plan, |fired| fired.writes_broken);
    assert!(failures > 20, "only {failures} writes to fail");
}

#[test]
fn a_full_disk_is_final_until_a_restart() {
    let plan = |nth| FaultPlan {
        write: Some((nth, WriteFault::Full)),
        ..FaultPlan::default()
    };
    let failures = check_every_failure(plan, |fired| fired.writes_cut_short);
    assert!(failures > 20, "only {failures} writes to cut short");
}

/// A disk that says that it wrote, and did not. Where a promise would rest on the write, it is noticed before the promise.
#[test]
fn no_promise_rests_on_a_write_that_never_happened() {
    let mut noticed = 0;
    for nth in 1.. {
        let disk = SimDisk::new(nth);
        let (mut journal, _) = open_sim(&disk).expect("an empty disk");
        disk.plan(FaultPlan {
            write: Some((nth, WriteFault::Lost)),
            ..FaultPlan::default()
        });
        let acked = append_until_failure(&mut journal);
        if disk.faults_fired().writes_lost == 0 {
            break;
        }
        noticed += u64::from(acked < 60);
        drop(journal);
        let (journal, recovery) = open_sim(&disk.crash()).expect("it was noticed in time");
        let last = recovery.last.get();
        assert!(
            last == acked || last == acked + 3,
            "{last} records after {acked} were acknowledged"
        );
        check_history(&journal, 1, last);
    }
    assert!(noticed > 15, "only {noticed} lost writes were noticed");
}

#[test]
fn a_failed_sync_says_which_file() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open_sim(&disk).expect("an empty disk");
    disk.plan(FaultPlan {
        sync: Some(1),
        ..FaultPlan::default()
    });
    let error = append(&mut journal, 1)
        .expect_err("planned to fail")
        .to_string();
    assert!(
        error.starts_with("journal: cannot sync `journal-0000000000000001.seg`: "),
        "{error}"
    );
}

#[test]
fn a_failed_writer_releases_nothing() {
    let disk = disk_with(60);
    let (mut journal, _) = open_sim(&disk).expect("a good journal");
    disk.plan(FaultPlan {
        sync: Some(1),
        ..FaultPlan::default()
    });
    append(&mut journal, 1).expect_err("planned to fail");
    journal.release_through(Position::new(60));
    drop(journal);
    let (journal, _) = open_sim(&disk).expect("a good journal");
    check_history(&journal, 1, journal.position().get());
}

#[test]
fn a_second_writer_is_refused_at_once_and_touches_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = RealDisk::open(directory.path()).expect("a directory");
    let (mut journal, _) =
        FileJournal::open(disk.clone(), tiny_options()).expect("an empty directory");
    append(&mut journal, 3).expect("a working disk");
    let before = disk.list().expect("a directory");
    let refused = FileJournal::open(disk.clone(), tiny_options());
    assert!(matches!(refused, Err(OpenError::InUse { path }) if path == directory.path()));
    assert_eq!(disk.list().expect("a directory"), before);
    append(&mut journal, 3).expect("the first writer is not disturbed");
    drop(journal);
    let (journal, _) = FileJournal::open(disk, tiny_options()).expect("free again");
    check_history(&journal, 1, 6);
}

/// The lock is the kernel's, so it holds against other programs and dies with its process.
#[test]
fn the_lock_holds_against_another_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = RealDisk::open(directory.path()).expect("a directory");
    let try_lock = || {
        let status = Command::new("flock")
            .arg("--nonblock")
            .arg(directory.path())
            .arg("true")
            .status();
        status.map(|status| status.success())
    };
    let (journal, _) = FileJournal::open(disk, tiny_options()).expect("an empty directory");
    let Ok(got_it) = try_lock() else {
        return; // No flock(1) on this machine; the test above covers a second writer in this process.
    };
    assert!(!got_it);
    drop(journal);
    assert!(try_lock().expect("it ran before"));
}
