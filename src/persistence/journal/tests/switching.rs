//! Segments that are created, switched, released and recycled.

use super::*;

/// A journal on recycled segments: everything behind the end of the log is left from earlier.
fn recycled_disk() -> (SimDisk, SimJournal) {
    let disk = SimDisk::new(5);
    let (mut journal, _) = open_sim(&disk).expect("an empty disk");
    for _ in 0..40 {
        let position = append(&mut journal, 3).expect("a working disk");
        journal.release_through(position);
    }
    let newest = segments(&disk).pop().expect("a segment");
    let (header, _) =
        SegmentHeader::decode(&disk.read_file(&newest).expect("listed")).expect("a good header");
    assert!(header.recycled && header.segment_id > 5);
    (disk, journal)
}

#[test]
fn stale_frames_of_a_recycled_segment_are_not_taken_for_later_ones() {
    let (disk, mut journal) = recycled_disk();
    let mut with_stale_frames = 0;
    for _ in 0..30 {
        let position = append(&mut journal, 1).expect("a working disk");
        journal.release_through(position);
        let last = position.get();
        let (_, recovery) = open_sim(&disk.copy(1)).expect("stale frames are no damage");
        assert_eq!((recovery.last.get(), recovery.torn_tail), (last, None));
        let newest = segments(&disk).pop().expect("a segment");
        let content = disk.read_file(&newest).expect("listed");
        let unused = &content[frames(&content)
            .last()
            .map_or(length(HEADER_BLOCK_BYTES), |frame| frame.end)..];
        with_stale_frames += usize::from(!format::is_blank(unused));
    }
    assert!(
        with_stale_frames > 10,
        "nothing stale was left to be taken for anything"
    );
}

/// Old frames of all sizes, so that the log ends in the middle of one.
#[test]
fn the_end_of_a_recycled_segment_is_clean_wherever_it_is() {
    let (disk, mut journal) = recycled_disk();
    for round in 1..=60 {
        let position = append(&mut journal, 1 + round * 7 % 19).expect("a working disk");
        journal.release_through(position);
        let (_, recovery) = open_sim(&disk.copy(1)).expect("stale bytes are no damage");
        assert_eq!((recovery.last, recovery.torn_tail), (position, None));
    }
}

/// Somebody restored a directory from two backups: a spare holds the very segment that comes next, of another journal.
#[test]
fn frames_of_another_journal_in_a_spare_are_not_taken_for_later_ones() {
    let disk = disk_with(3);
    let other = SimDisk::new(1);
    let options = Options {
        journal_id: Some(99),
        ..tiny_options()
    };
    let (mut journal, _) = FileJournal::open(other.clone(), options).expect("an empty disk");
    append_through(&mut journal, 60, 3);
    disk.remove_file("spare-0000000000000001.seg");
    disk.write_file(
        "spare-0000000000000002.seg",
        &other.read_file(&segment_name(2)).expect("listed"),
    );
    let (mut journal, _) = open_sim(&disk).expect("a good journal");
    while segments(&disk).len() == 1 {
        append(&mut journal, 3).expect("a working disk");
    }
    append(&mut journal, 1).expect("a working disk");
    let last = journal.position().get();
    drop(journal);
    let (name, content) = newest(&disk);
    let end = frames(&content).pop().expect("a frame").end;
    assert_eq!(name, segment_name(2));
    assert!(
        !format::is_blank(&content[end..]),
        "nothing was left of the other journal"
    );
    let (journal, _) = open_sim(&disk).expect("foreign frames are no damage");
    check_history(&journal, 1, last);
}

#[test]
fn a_flipped_bit_in_a_recycled_segment_is_not_an_earlier_end() {
    let (disk, mut journal) = recycled_disk();
    while frames(&newest(&disk).1).len() != 4 {
        append(&mut journal, 3).expect("a working disk");
    }
    drop(journal);
    let (name, whole) = newest(&disk);
    let frames = frames(&whole);
    for byte in (frames[0].start..frames[3].start).step_by(7) {
        let copy = disk.copy(1);
        let mut flipped = whole.clone();
        flipped[byte] ^= 16;
        copy.write_file(&name, &flipped);
        let frame = frames
            .iter()
            .find(|frame| frame.contains(&byte))
            .expect("inside");
        let (named, offset, _) = damage(open_sim(&copy));
        assert_eq!((named, offset), (name.clone(), frame.start as u64));
    }
}

#[test]
fn a_torn_tail_in_a_recycled_segment_is_quarantined() {
    let (disk, mut journal) = recycled_disk();
    while frames(&newest(&disk).1).len() != 3 {
        append(&mut journal, 3).expect("a working disk");
    }
    append(&mut journal, 20).expect("a working disk");
    let last = journal.position().get();
    drop(journal);
    let (name, mut content) = newest(&disk);
    let frame = frames(&content).pop().expect("a frame");
    // The first sector made it, the others hold what was there before.
    content[frame.start + length(SECTOR_BYTES)..frame.end].fill(0x5a);
    disk.write_file(&name, &content);
    let (mut journal, recovery) = open_sim(&disk).expect("a torn tail is no damage");
    let torn = recovery.torn_tail.expect("a header without its payload");
    assert_eq!(
        (recovery.last.get(), torn.bytes),
        (last - 20, frame.len() as u64)
    );
    append(&mut journal, 1).expect("a working disk");
    drop(journal);
    let (journal, recovery) = open_sim(&disk).expect("a good journal");
    assert_eq!(recovery.torn_tail, None);
    check_history(&journal, recovery.first.get(), last - 19);
}

fn newest(disk: &SimDisk) -> (String, Vec<u8>) {
    let name = segments(disk).pop().expect("a segment");
    let content = disk.read_file(&name).expect("listed");
    (name, content)
}

/// In the steady state segments go round: no file is made or filled, none is left over.
#[test]
fn released_segments_are_used_again() {
    let (disk, mut journal) = recycled_disk();
    let files = disk.list().expect("a working disk").len();
    for _ in 0..100 {
        let position = append(&mut journal, 3).expect("a working disk");
        journal.release_through(position);
    }
    assert_eq!(disk.list().expect("a working disk").len(), files);
    assert!(
        files <= 4,
        "{files} files for a journal of one segment and two spares"
    );
    let spares = disk
        .list()
        .expect("a working disk")
        .into_iter()
        .filter(|name| name.starts_with("spare-"));
    assert!(
        spares
            .map(|name| disk.read_file(&name).expect("listed"))
            .all(|spare| !format::is_blank(&spare))
    );
}

#[test]
fn retention_keeps_released_segments() {
    let disk = SimDisk::new(1);
    let options = Options {
        retention_bytes: 3 * tiny_options().segment_bytes,
        ..tiny_options()
    };
    let (mut journal, _) = FileJournal::open(disk.clone(), options).expect("an empty disk");
    for _ in 0..40 {
        let position = append(&mut journal, 3).expect("a working disk");
        journal.release_through(position);
    }
    assert_eq!(
        segments(&disk).len(),
        3,
        "what the retention asks for, the newest included"
    );
}

#[test]
fn half_made_and_superfluous_spares_are_removed() {
    let disk = disk_with(3);
    let segment_bytes = length(tiny_options().segment_bytes);
    disk.write_file("spare-0000000000000070.tmp", &[0; 100]);
    disk.write_file("spare-0000000000000071.seg", &[0; 100]);
    for number in 72..76 {
        disk.write_file(&format!("spare-{number:016}.seg"), &vec![0; segment_bytes]);
    }
    disk.write_file("notes.txt", b"not ours");
    let (mut journal, _) = open_sim(&disk).expect("a good journal");
    append_through(&mut journal, 60, 3);
    check_history(&journal, 1, 60);
    let left = disk.list().expect("a working disk");
    assert!(left.contains(&"notes.txt".to_owned()));
    assert_eq!(
        left.iter()
            .filter(|name| name.starts_with("spare-"))
            .count(),
        1
    );
}

#[test]
fn segments_of_another_size_stay_readable() {
    let disk = disk_with(30);
    let options = Options {
        segment_bytes: 4 * HEADER_BLOCK_BYTES,
        ..tiny_options()
    };
    let (mut journal, _) = FileJournal::open(disk.clone(), options).expect("a good journal");
    append_through(&mut journal, 90, 3);
    check_history(&journal, 1, 90);
    drop(journal);
    let (mut journal, _) = open_sim(&disk).expect("a good journal");
    append_through(&mut journal, 150, 3);
    check_history(&journal, 1, 150);
}

#[test]
fn a_batch_of_the_largest_size_fits() {
    let disk = SimDisk::new(1);
    let options = Options {
        segment_bytes: 8 << 20,
        ..tiny_options()
    };
    let (mut journal, _) = FileJournal::open(disk.clone(), options.clone()).expect("an empty disk");
    let mut batch = Batch::new();
    while !batch.is_full() {
        batch.push(&vec![7; RECORD_BYTES_MAX]).expect("not full");
    }
    batch
        .push_with(|buffer| buffer.resize(BATCH_BYTES_MAX, 8))
        .expect("the rest");
    assert_eq!(batch.bytes(), BATCH_BYTES_MAX);
    let position = journal.append(&batch).expect("a working disk");
    journal.append(&batch).expect("in the next segment");
    drop(journal);
    let (journal, recovery) = FileJournal::open(disk, options).expect("a good journal");
    assert_eq!(recovery.last.get(), 2 * position.get());
    let mut reader = journal.reader(Position::ZERO).expect("kept");
    let history = drain(reader.as_mut(), 100).expect("readable");
    assert_eq!(history.len() as u64, recovery.last.get());
}

#[test]
fn a_segment_size_that_makes_no_sense_is_refused() {
    for segment_bytes in [0, 4096, 10_000, 2 << 30] {
        let options = Options {
            segment_bytes,
            ..tiny_options()
        };
        let refused = FileJournal::open(SimDisk::new(1), options);
        assert!(matches!(refused, Err(OpenError::SegmentBytes { .. })));
    }
}

/// Cuts the power at each call of a run that creates, switches, seals, releases and recycles.
#[test]
fn a_crash_at_any_step_recovers() {
    let mut cuts = 0;
    for seed in 0..12 {
        for call in 1.. {
            let disk = SimDisk::new(seed * 10_000 + call);
            disk.plan(FaultPlan {
                power_cut: Some(call),
                ..FaultPlan::default()
            });
            let acked = run_until_cut(&disk);
            let is_done = disk.faults_fired().power_cuts == 0;
            let (journal, recovery) =
                open_sim(&disk.crash()).unwrap_or_else(|error| panic!("call {call}: {error}"));
            let last = recovery.last.get();
            assert!(
                (acked..=acked + 3).contains(&last),
                "call {call}: {last} after {acked} were acknowledged"
            );
            assert!(recovery.first.get() <= last.max(1));
            check_history(&journal, recovery.first.get(), last);
            if is_done {
                break;
            }
            cuts += 1;
        }
    }
    assert!(cuts > 1_000, "only {cuts} steps to crash at");
}

fn run_until_cut(disk: &SimDisk) -> u64 {
    let Ok((mut journal, _)) = open_sim(disk) else {
        return 0;
    };
    while journal.position().get() < 60 {
        let is_ok = append(&mut journal, 3).is_ok()
            && (journal.position().get() % 4 > 0 || journal.seal().is_ok());
        if !is_ok {
            break;
        }
        journal.release_through(Position::new(journal.position().get().saturating_sub(4)));
    }
    journal.position().get()
}

#[test]
fn a_disk_without_room_for_another_segment_is_told_before_it_is_needed() {
    let disk = SimDisk::new(7);
    let (mut journal, _) = open_sim(&disk).expect("an empty disk");
    assert!(journal.has_room());
    disk.set_free_bytes(tiny_options().segment_bytes - 1);
    while journal.has_room() {
        append(&mut journal, 3).expect("the next segment was there before");
    }
    append(&mut journal, 1).expect("room in the last segment");
    journal.release_through(Position::ZERO);
    assert!(!journal.has_room(), "it was tried again, in vain");
    disk.set_free_bytes(u64::MAX);
    journal.release_through(Position::ZERO);
    assert!(journal.has_room());
}

/// A segment that is being tried in vain, again and again, is none that is on its way.
#[test]
fn a_full_disk_stays_full_while_it_is_tried_again() {
    let disk = SimDisk::new(8);
    let options = Options {
        spares: SparePreparation::OnThread,
        ..tiny_options()
    };
    disk.set_free_bytes(tiny_options().segment_bytes * 2);
    let (mut journal, _) = FileJournal::open(disk.clone(), options).expect("an empty disk");
    disk.set_free_bytes(0);
    while journal.has_room() {
        append(&mut journal, 3).expect("the next segment was there before");
        std::thread::yield_now();
    }
    for _ in 0..200 {
        journal.release_through(Position::ZERO);
        assert!(!journal.has_room());
        std::thread::yield_now();
        assert!(!journal.has_room());
    }
    disk.set_free_bytes(u64::MAX);
    while !journal.has_room() {
        journal.release_through(Position::ZERO);
        std::thread::yield_now();
    }
}
