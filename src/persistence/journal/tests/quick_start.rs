//! A start that reads only what it must, and the check of the rest behind it.

use super::*;

/// Opens as a start does whose database has followed to `followed`.
fn open_from(disk: &SimDisk, followed: u64) -> Result<(SimJournal, Recovery), OpenError> {
    FileJournal::lock(disk.clone())?.open(tiny_options(), Position::new(followed))
}

/// The index of the segment with this record.
fn holder(disk: &SimDisk, sequence: u64) -> usize {
    let firsts = segments(disk).into_iter().map(|name| {
        let content = disk.read_file(&name).expect("listed");
        SegmentHeader::decode(&content)
            .expect("a header")
            .0
            .first
            .get()
    });
    let firsts: Vec<u64> = firsts.collect();
    firsts.partition_point(|first| *first <= sequence) - 1
}

fn flip(disk: &SimDisk, name: &str, byte: usize) {
    let mut content = disk.read_file(name).expect("listed");
    content[byte] ^= 1 << (byte % 8);
    disk.write_file(name, &content);
}

#[test]
fn of_what_the_database_has_a_start_reads_the_headers_alone() {
    let disk = disk_with(600);
    let all = segments(&disk).len() as u64;
    assert!(all > 25, "{all} segments");
    let (header_bytes, segment_bytes) = (HEADER_BLOCK_BYTES, tiny_options().segment_bytes);
    let before = disk.bytes_read();
    let (journal, recovery) = open_from(&disk, 600).expect("a good journal");
    let read = disk.bytes_read() - before;
    // The newest segment whole, and a little for the repair of its end.
    assert!(
        read < all * header_bytes + 2 * segment_bytes,
        "{read} bytes of {all} segments"
    );
    assert_eq!(recovery.unread as u64, all - 1);
    assert_eq!(journal.view().unchecked_segments() as u64, all - 1);
    assert_eq!((recovery.first.get(), recovery.last.get()), (1, 600));
    check_history(&journal, 1, 600);
}

#[test]
fn what_lies_behind_the_database_is_read_and_checked_before_anything_is_touched() {
    let disk = disk_with(300);
    let all = segments(&disk);
    for followed in [0, 1, 50, 150, 299, 300] {
        let holder = match followed {
            0 => 0,
            followed => holder(&disk, followed),
        };
        let (_, recovery) = open_from(&disk.copy(1), followed).expect("a good journal");
        assert_eq!(recovery.unread, holder, "followed to {followed}");
        for name in &all[holder..] {
            let damaged = disk.copy(1);
            let frame = frames(&damaged.read_file(name).expect("listed")).swap_remove(0);
            flip(&damaged, name, frame.start + 70);
            let before = damaged.read_file(&all[all.len() - 1]);
            let (segment, offset, _) = damage(open_from(&damaged, followed));
            assert_eq!((&segment, offset), (name, frame.start as u64));
            assert_eq!(damaged.read_file(&all[all.len() - 1]), before);
        }
    }
}

#[test]
fn a_segment_that_is_missing_or_of_another_journal_is_refused_at_once() {
    let disk = disk_with(300);
    let other = SimDisk::new(1);
    let options = Options {
        journal_id: Some(99),
        ..tiny_options()
    };
    let (mut journal, _) = FileJournal::open(other.clone(), options).expect("an empty disk");
    append_through(&mut journal, 300, 3);
    let names = segments(&disk);
    for name in &names[1..4] {
        let without = disk.copy(1);
        without.remove_file(name);
        assert_eq!(
            damage(open_from(&without, 300)),
            (name.clone(), 0, Flaw::Missing)
        );
        let mixed = disk.copy(1);
        mixed.write_file(name, &other.read_file(name).expect("the same names"));
        assert_eq!(
            damage(open_from(&mixed, 300)),
            (name.clone(), 0, Flaw::OtherJournal)
        );
    }
    let swapped = disk.copy(1);
    swapped.write_file(&names[0], &disk.read_file(&names[1]).expect("listed"));
    assert_eq!(
        damage(open_from(&swapped, 300)),
        (names[0].clone(), 0, Flaw::OtherSegment(2))
    );
}

/// Every byte that a start skips: the check says of it what a start would have said that reads everything.
#[test]
fn the_check_finds_in_the_older_segments_what_a_full_start_finds() {
    let disk = disk_with(150);
    let names = segments(&disk);
    assert!(names.len() > 5);
    let (mut found, mut harmless) = (0, 0);
    for name in &names[..names.len() - 1] {
        let bytes = disk.read_file(name).expect("listed").len();
        for byte in (length(HEADER_BLOCK_BYTES)..bytes).step_by(61) {
            let flipped = disk.copy(1);
            flip(&flipped, name, byte);
            let full = FileJournal::inspect(&flipped).map(|it| it.last);
            let (mut journal, _) = open_from(&flipped, 150).expect("it is not read");
            let outcome = journal.rest_check().run();
            match full {
                Ok(_) => {
                    harmless += 1;
                    assert_eq!(outcome, CheckOutcome::Sound);
                    append(&mut journal, 1).expect("nothing is wrong");
                }
                Err(error) => {
                    found += 1;
                    assert_eq!(outcome, CheckOutcome::Damaged);
                    let (segment, offset, _) = damage::<()>(Err(error));
                    let damage = journal.view().damage().expect("reported");
                    let place = format!("`{segment}` is damaged at byte {offset}");
                    assert!(damage.contains(&place), "{damage}");
                    let refused = append(&mut journal, 1);
                    assert!(matches!(refused, Err(JournalError::Damaged { .. })));
                }
            }
        }
    }
    assert!(
        found > 50 && harmless > 5,
        "{found} found, {harmless} harmless"
    );
}

#[test]
fn a_segment_in_the_place_of_another_is_found_by_the_check() {
    // The same records, but sealed now and then: good segments, of the same journal, that follow on another past.
    let disk = disk_with(300);
    let other = SimDisk::new(1);
    let (mut journal, _) = open_sim(&other).expect("an empty disk");
    while journal.position().get() < 300 {
        append(&mut journal, 3).expect("a working disk");
        journal.seal().expect("a working disk");
    }
    let names = segments(&disk);
    disk.write_file(
        &names[1],
        &other.read_file(&names[1]).expect("the same names"),
    );
    let (mut journal, _) = open_from(&disk, 300).expect("the headers are good");
    assert_eq!(journal.rest_check().run(), CheckOutcome::Damaged);
    let damage = journal.view().damage().expect("reported");
    let place = format!("`{}` is damaged at byte 0: {}", names[1], Flaw::Successor);
    assert!(damage.contains(&place), "{damage}");
}

#[test]
fn when_all_is_checked_nothing_is_left_and_it_goes_on() {
    let disk = disk_with(300);
    let (mut journal, recovery) = open_from(&disk, 300).expect("a good journal");
    assert!(recovery.unread > 5);
    assert_eq!(journal.rest_check().run(), CheckOutcome::Sound);
    assert_eq!(journal.view().unchecked_segments(), 0);
    append_through(&mut journal, 330, 3);
    // It was asked for once.
    assert_eq!(journal.rest_check().run(), CheckOutcome::Sound);
    check_history(&journal, 1, 330);
}

/// What is let go while it waits to be checked is written over, and that is no damage.
#[test]
fn segments_that_are_let_go_before_they_are_checked_are_no_damage() {
    let disk = disk_with(300);
    let (mut journal, recovery) = open_from(&disk, 300).expect("a good journal");
    let check = journal.rest_check();
    let oldest = segments(&disk).swap_remove(0);
    journal.release_through(Position::new(300));
    append_through(&mut journal, 400, 3);
    assert!(recovery.unread > 5 && !segments(&disk).contains(&oldest));
    assert_eq!(check.run(), CheckOutcome::Sound);
    assert_eq!(journal.view().unchecked_segments(), 0);
    assert_eq!(journal.view().damage(), None);
}

#[test]
fn a_disk_that_cannot_be_read_leaves_the_rest_unchecked() {
    let disk = disk_with(300);
    let (mut journal, _) = open_from(&disk, 300).expect("a good journal");
    let check = journal.rest_check();
    let before = journal.view().unchecked_segments();
    disk.plan(FaultPlan {
        power_cut: Some(5),
        ..FaultPlan::default()
    });
    assert_eq!(check.run(), CheckOutcome::Unreadable);
    let after = journal.view().unchecked_segments();
    assert!(after > 0 && after < before, "{after} of {before}");
    assert_eq!(journal.view().damage(), None);
}

#[test]
fn the_check_runs_on_a_thread_and_ends_with_whoever_started_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = RealDisk::open(directory.path()).expect("a directory");
    let (mut journal, _) =
        FileJournal::open(disk.clone(), tiny_options()).expect("an empty directory");
    append_through(&mut journal, 3_000, 3);
    drop(journal);
    for wait in [false, true] {
        let locked = FileJournal::lock(disk.clone()).expect("free");
        let opened = locked.open(tiny_options(), Position::new(3_000));
        let (mut journal, _) = opened.expect("a good journal");
        let view = journal.view();
        let running = journal.rest_check().start().expect("a thread");
        while wait && view.unchecked_segments() > 0 {
            std::thread::yield_now();
        }
        drop(running);
        append(&mut journal, 1).expect("nothing is wrong");
    }
}

/// A switch that was cut short: the newest segment has no frame, and the one before it is to be closed.
#[test]
fn an_unfinished_switch_is_finished_by_a_quick_start_too() {
    let disk = disk_with(300);
    let names = segments(&disk);
    let (before, newest) = (&names[names.len() - 2], &names[names.len() - 1]);
    let mut content = disk.read_file(before).expect("listed");
    let close = frames(&content).pop().expect("a close frame");
    content[close].fill(0);
    disk.write_file(before, &content);
    let mut empty = disk.read_file(newest).expect("listed");
    empty[length(HEADER_BLOCK_BYTES)..].fill(0);
    disk.write_file(newest, &empty);
    let (mut journal, recovery) = open_from(&disk, 300).expect("no damage");
    assert_eq!(recovery.unread, names.len() - 2);
    let last = recovery.last.get();
    append_through(&mut journal, last + 9, 3);
    drop(journal);
    let (journal, _) = open_sim(&disk).expect("closed");
    check_history(&journal, 1, last + 9);
}
