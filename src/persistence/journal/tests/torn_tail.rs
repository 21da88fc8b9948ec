//! The last batch, hit by a power cut in every way.

use super::*;

/// Seven records in the last batch, more than a sector's worth, so that there are sectors to tear.
fn disk_with_a_long_last_batch() -> (SimDisk, String, std::ops::Range<usize>) {
    let disk = SimDisk::new(3);
    let (mut journal, _) = open_sim(&disk).expect("an empty disk");
    append_through(&mut journal, 9, 3);
    append(&mut journal, 25).expect("a working disk");
    drop(journal);
    let name = segments(&disk).pop().expect("a segment");
    let frame = frames(&disk.read_file(&name).expect("listed"))
        .pop()
        .expect("a frame");
    assert!(frame.len() > 3 * length(SECTOR_BYTES), "{frame:?}");
    (disk, name, frame)
}

/// The disk, its newest segment replaced by what `damage` leaves of it.
fn damaged(disk: &SimDisk, segment: &str, damage: impl FnOnce(&mut Vec<u8>)) -> SimDisk {
    let copy = disk.copy(1);
    let mut content = disk.read_file(segment).expect("a segment");
    damage(&mut content);
    copy.write_file(segment, &content);
    copy
}

#[test]
fn cut_at_every_byte_it_is_a_torn_tail() {
    let (disk, segment, frame) = disk_with_a_long_last_batch();
    let segment_bytes = disk.read_file(&segment).expect("a segment").len();
    for length in frame.start..frame.end {
        let cut = damaged(&disk, &segment, |content| content.truncate(length));
        let (mut journal, recovery) = open_sim(&cut).expect("a torn tail is no damage");
        let torn = recovery.torn_tail.expect("the file is too short");
        assert_eq!((recovery.last.get(), torn.offset), (9, frame.start as u64));
        assert_eq!(torn.missing_bytes, (segment_bytes - length) as u64);
        check_quarantine(
            &cut,
            &torn.quarantine,
            &disk.read_file(&segment).expect("a segment")[frame.start..length],
        );
        assert_eq!(
            cut.read_file(&segment).expect("a segment").len(),
            segment_bytes,
            "it has its size again"
        );
        append_through(&mut journal, 12, 2);
        check_history(&journal, 1, 12);
    }
}

/// The copy holds the torn bytes up to the last one that is not zero.
fn check_quarantine(disk: &SimDisk, quarantine: &Option<std::path::PathBuf>, torn: &[u8]) {
    let torn_bytes = torn
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |index| index + 1);
    let copy = quarantine.as_ref().map(|path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a plain name");
        disk.read_file(&format!("quarantine/{name}"))
            .expect("a copy")
    });
    assert_eq!(copy.unwrap_or_default(), torn[..torn_bytes]);
}

#[test]
fn with_any_sector_zeroed_it_is_a_torn_tail() {
    let (disk, segment, frame) = disk_with_a_long_last_batch();
    for sector in frame.clone().step_by(length(SECTOR_BYTES)) {
        let zeroed = damaged(&disk, &segment, |content| {
            content[sector..sector + length(SECTOR_BYTES)].fill(0)
        });
        let (journal, recovery) = open_sim(&zeroed).expect("a torn tail is no damage");
        let torn = recovery.torn_tail.expect("other sectors are there");
        assert_eq!(
            (recovery.last.get(), torn.offset, torn.missing_bytes),
            (9, frame.start as u64, 0)
        );
        assert!(torn.quarantine.is_some() && torn.bytes > 0);
        check_history(&journal, 1, 9);
        drop(journal);
        let (_, again) = open_sim(&zeroed).expect("cleared");
        assert_eq!(again.torn_tail, None, "what was cleared stays cleared");
    }
}

#[test]
fn wholly_lost_it_leaves_no_trace() {
    let (disk, segment, frame) = disk_with_a_long_last_batch();
    let lost = damaged(&disk, &segment, |content| content[frame].fill(0));
    let (journal, recovery) = open_sim(&lost).expect("a clean end");
    assert_eq!(recovery.torn_tail, None);
    check_history(&journal, 1, 9);
}

#[test]
fn sealed_it_can_only_be_damaged() {
    let (disk, segment, frame) = disk_with_a_long_last_batch();
    open_sim(&disk)
        .expect("a good journal")
        .0
        .seal()
        .expect("a working disk");
    for sector in frame.clone().step_by(length(SECTOR_BYTES)) {
        let zeroed = damaged(&disk, &segment, |content| {
            content[sector..sector + length(SECTOR_BYTES)].fill(0)
        });
        let before = zeroed.read_file(&segment);
        let (named, offset, _) = damage(open_sim(&zeroed));
        assert_eq!((named, offset), (segment.clone(), frame.start as u64));
        assert_eq!(
            (zeroed.read_file(&segment), zeroed.read_file("quarantine")),
            (before, None),
            "nothing is touched"
        );
    }
    let (_, recovery) = open_sim(&disk).expect("a good journal");
    assert!(recovery.sealed);
}

#[test]
fn a_second_torn_tail_at_the_same_place_keeps_the_first_copy() {
    let (disk, segment, frame) = disk_with_a_long_last_batch();
    let whole = disk.read_file(&segment).expect("a segment");
    for copies in 1..=3 {
        let mut torn = whole.clone();
        torn[frame.start + 100] ^= 1;
        disk.write_file(&segment, &torn);
        open_sim(&disk).expect("a torn tail is no damage");
        let quarantine = disk
            .directory("quarantine")
            .expect("there")
            .list()
            .expect("there");
        assert_eq!(quarantine.len(), copies);
    }
}

/// Nothing of a batch whose fsync failed may be taken for durable because the page cache still shows it.
#[test]
fn what_recovery_reports_survives_the_next_power_cut() {
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let (mut journal, _) = open_sim(&disk).expect("an empty disk");
        append_through(&mut journal, 6, 3);
        disk.plan(FaultPlan {
            sync: Some(1),
            ..FaultPlan::default()
        });
        append(&mut journal, 9).expect_err("planned to fail");
        drop(journal);
        let (journal, recovery) =
            open_sim(&disk).expect("the process starts again, the machine does not");
        assert_eq!(recovery.last.get(), 15, "the page cache has it");
        drop(journal);
        let (journal, _) = open_sim(&disk.crash()).expect("recovery made it durable");
        check_history(&journal, 1, 15);
        assert_eq!(disk.faults_fired().syncs_failed, 1);
    }
}

/// A record may hold anything, also the image of a frame.
#[test]
fn a_frame_inside_a_record_is_not_a_frame() {
    let disk = disk_with(9);
    let segment = segments(&disk).pop().expect("a segment");
    let content = disk.read_file(&segment).expect("a segment");
    let image = content[frames(&content)[0].clone()].to_vec();
    let (mut journal, _) = open_sim(&disk).expect("a good journal");
    let mut planted = vec![0; length(SECTOR_BYTES) - FRAME_HEADER_BYTES - size_of::<u32>()];
    planted.extend(image);
    journal
        .append(&batch_of([planted]))
        .expect("a working disk");
    drop(journal);
    let frame = frames(&disk.read_file(&segment).expect("a segment"))
        .pop()
        .expect("a frame");
    let torn = damaged(&disk, &segment, |content| content[frame.start + 70] ^= 1);
    let (journal, recovery) = open_sim(&torn).expect("a torn tail is no damage");
    assert!(recovery.torn_tail.is_some());
    check_history(&journal, 1, 9);
}

#[test]
fn the_copy_in_quarantine_survives_a_power_cut() {
    let (disk, segment, frame) = disk_with_a_long_last_batch();
    for seed in 0..50 {
        let torn_disk = disk.copy(seed);
        let mut torn = disk.read_file(&segment).expect("a segment");
        torn[frame.start + 100] ^= 1;
        torn_disk.write_file(&segment, &torn);
        let (_, recovery) = open_sim(&torn_disk).expect("a torn tail is no damage");
        let quarantine = recovery.torn_tail.expect("the last batch").quarantine;
        check_quarantine(&torn_disk.crash(), &quarantine, &torn[frame.clone()]);
    }
}
