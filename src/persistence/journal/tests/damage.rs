//! Bits that flip, files that vanish, move and come back: never a silently shorter history.

use super::*;

/// What a flipped bit may lead to, by where it is.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Refused at this byte of the segment.
    Damaged(u64),
    /// Opened with every record.
    Whole,
    /// Opened without the last batch, and says so.
    Torn,
}

fn verdict(disk: &SimDisk, segment: &str, last: u64, last_batch: u64) -> Verdict {
    match FileJournal::inspect(disk) {
        Err(OpenError::Damaged {
            segment: named,
            offset,
            ..
        }) => {
            assert_eq!(named, segment, "the damage is somewhere else");
            Verdict::Damaged(offset)
        }
        Err(other) => panic!("another error than damage: {other}"),
        Ok(found) if found.last.get() == last => Verdict::Whole,
        Ok(found) => {
            assert_eq!(
                found.last.get(),
                last - last_batch,
                "more than the last batch is gone"
            );
            assert!(found.torn_tail.is_some(), "a silently shorter history");
            Verdict::Torn
        }
    }
}

/// Flips one bit of every byte of the journal, a different one from byte to byte, and checks the verdict.
fn check_every_byte(disk: &SimDisk, last: u64, last_batch: u64, is_sealed: bool) -> usize {
    let names = segments(disk);
    let mut damaged = 0;
    for (index, name) in names.iter().enumerate() {
        let whole = disk.read_file(name).expect("listed");
        let frames = frames(&whole);
        let is_newest = index + 1 == names.len();
        for byte in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[byte] ^= 1 << (byte % 8);
            disk.write_file(name, &flipped);
            let frame = frames.iter().position(|frame| frame.contains(&byte));
            let is_last_frame = frame.is_some_and(|frame| is_newest && frame + 1 == frames.len());
            let expected = match frame {
                _ if byte < length(HEADER_BLOCK_BYTES) => Verdict::Damaged(0),
                None => Verdict::Whole,
                Some(_) if is_last_frame && is_sealed => Verdict::Whole,
                Some(_) if is_last_frame => Verdict::Torn,
                Some(frame) => Verdict::Damaged(frames[frame].start as u64),
            };
            damaged += usize::from(matches!(expected, Verdict::Damaged(_)));
            assert_eq!(
                verdict(disk, name, last, last_batch),
                expected,
                "bit of byte {byte} of {name}"
            );
        }
        disk.write_file(name, &whole);
    }
    damaged
}

#[test]
fn a_flipped_bit_anywhere_is_damage_or_harmless() {
    let disk = disk_with(42);
    assert_eq!(segments(&disk).len(), 3);
    let damaged = check_every_byte(&disk, 42, 3, false);
    assert!(
        damaged > 3 * length(HEADER_BLOCK_BYTES),
        "only {damaged} flips hit what matters"
    );
}

#[test]
fn a_flipped_bit_in_a_sealed_journal_loses_nothing() {
    let disk = disk_with(24);
    open_sim(&disk)
        .expect("a good journal")
        .0
        .seal()
        .expect("a working disk");
    check_every_byte(&disk, 24, 3, true);
}

#[test]
fn opening_judges_like_inspecting() {
    let disk = disk_with(42);
    let name = segments(&disk).swap_remove(1);
    let whole = disk.read_file(&name).expect("listed");
    for byte in (0..whole.len()).step_by(97) {
        let flipped_disk = disk.copy(1);
        let mut flipped = whole.clone();
        flipped[byte] ^= 4;
        flipped_disk.write_file(&name, &flipped);
        let looked = FileJournal::inspect(&flipped_disk).map(|found| found.last);
        let opened = open_sim(&flipped_disk).map(|(_, recovery)| recovery.last);
        assert_eq!(format!("{looked:?}"), format!("{opened:?}"));
    }
}

#[test]
fn a_missing_segment_is_named() {
    let disk = disk_with(90);
    let names = segments(&disk);
    assert!(names.len() >= 5);
    for missing in &names[1..] {
        let without = disk.copy(1);
        without.remove_file(missing);
        assert_eq!(
            damage(open_sim(&without)),
            (missing.clone(), 0, Flaw::Missing)
        );
    }
}

#[test]
fn a_missing_prefix_is_a_released_one() {
    let disk = disk_with(90);
    let oldest = segments(&disk).swap_remove(0);
    disk.remove_file(&oldest);
    let (journal, recovery) = open_sim(&disk).expect("a shorter retention");
    assert_eq!(recovery.last.get(), 90);
    check_history(&journal, recovery.first.get(), 90);
    assert!(recovery.first.get() > 1 && journal.reader(Position::ZERO).is_err());
}

#[test]
fn swapped_segments_are_refused() {
    let disk = disk_with(60);
    let names = segments(&disk);
    let (first, second) = (
        disk.read_file(&names[0]).expect("listed"),
        disk.read_file(&names[1]).expect("listed"),
    );
    disk.write_file(&names[0], &second);
    disk.write_file(&names[1], &first);
    assert_eq!(
        damage(open_sim(&disk)),
        (names[0].clone(), 0, Flaw::OtherSegment(2))
    );
}

#[test]
fn a_duplicated_segment_is_refused_wherever_it_lies() {
    let disk = disk_with(60);
    let names = segments(&disk);
    let copy = disk.read_file(&names[1]).expect("listed");
    for name in names
        .iter()
        .filter(|name| **name != names[1])
        .cloned()
        .chain([segment_name(names.len() as u64 + 1)])
    {
        let duplicated = disk.copy(1);
        duplicated.write_file(&name, &copy);
        let (named, offset, flaw) = damage(open_sim(&duplicated));
        assert_eq!((named, offset, flaw), (name, 0, Flaw::OtherSegment(2)));
    }
}

#[test]
fn a_segment_of_another_journal_is_refused() {
    let disk = disk_with(60);
    let other = SimDisk::new(1);
    let options = Options {
        journal_id: Some(99),
        ..tiny_options()
    };
    let (mut journal, _) = FileJournal::open(other.clone(), options).expect("an empty disk");
    append_through(&mut journal, 60, 3);
    for name in &segments(&disk)[1..] {
        let mixed = disk.copy(1);
        mixed.write_file(name, &other.read_file(name).expect("the same names"));
        assert_eq!(
            damage(open_sim(&mixed)),
            (name.clone(), 0, Flaw::OtherJournal)
        );
    }
}

/// Jepsen's file nemesis: a segment as it was earlier, checksums and all.
#[test]
fn an_earlier_state_of_a_closed_segment_is_refused() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open_sim(&disk).expect("an empty disk");
    let mut earlier = Vec::new();
    while segments(&disk).len() < 3 {
        earlier.push(disk.read_file(&segment_name(1)).expect("the first segment"));
        append(&mut journal, 3).expect("a working disk");
    }
    drop(journal);
    earlier.dedup();
    let last = earlier.pop();
    assert_eq!(
        last,
        disk.read_file(&segment_name(1)),
        "the last state is the closed one"
    );
    for state in earlier {
        let end = frames(&state)
            .last()
            .map_or(length(HEADER_BLOCK_BYTES), |frame| frame.end);
        let restored = disk.copy(1);
        restored.write_file(&segment_name(1), &state);
        let (named, offset, flaw) = damage(open_sim(&restored));
        assert_eq!((named, offset), (segment_name(1), end as u64));
        assert!(matches!(flaw, Flaw::Blank | Flaw::NotClosed));
    }
}

#[test]
fn a_frame_copied_over_another_is_refused() {
    let disk = disk_with(18);
    let name = segments(&disk).swap_remove(0);
    let whole = disk.read_file(&name).expect("listed");
    let frames = frames(&whole);
    for (from, to) in [(0, 1), (1, 0), (2, 1), (0, 3)] {
        let mut content = whole.clone();
        content.copy_within(frames[from].clone(), frames[to].start);
        let misdirected = disk.copy(1);
        misdirected.write_file(&name, &content);
        let (named, offset, flaw) = damage(open_sim(&misdirected));
        assert_eq!((named, offset), (name.clone(), frames[to].start as u64));
        assert_eq!(flaw, Flaw::OtherOffset(frames[from].start as u64));
    }
}

/// A lost write: the sectors of one frame keep what was there before.
#[test]
fn a_write_that_never_happened_is_noticed_by_the_next_frame() {
    let disk = disk_with(18);
    let name = segments(&disk).swap_remove(0);
    let whole = disk.read_file(&name).expect("listed");
    let frames = frames(&whole);
    for lost in &frames[..frames.len() - 1] {
        let mut content = whole.clone();
        content[lost.clone()].fill(0);
        let holed = disk.copy(1);
        holed.write_file(&name, &content);
        assert_eq!(
            damage(open_sim(&holed)),
            (name.clone(), lost.start as u64, Flaw::Blank)
        );
    }
}

/// Two machines go on from the same copy. A frame of one, put into the other's journal at its very place, has the right
/// journal, segment, offset and sequence; only what came before it is another.
#[test]
fn a_frame_from_another_past_is_refused() {
    let one = disk_with(3);
    let other = one.copy(1);
    for (disk, filler) in [(&one, 1), (&other, 2)] {
        let (mut journal, _) = open_sim(disk).expect("a good journal");
        for _ in 0..3 {
            journal
                .append(&batch_of([vec![filler; 40]]))
                .expect("a working disk");
        }
    }
    let name = segment_name(1);
    let foreign = other.read_file(&name).expect("listed");
    let mut content = one.read_file(&name).expect("listed");
    let frame = frames(&content).swap_remove(2);
    content[frame.clone()].copy_from_slice(&foreign[frame.clone()]);
    one.write_file(&name, &content);
    assert_eq!(
        damage(open_sim(&one)),
        (name, frame.start as u64, Flaw::Chain)
    );
}

#[test]
fn a_truncated_segment_in_the_middle_is_damage() {
    let disk = disk_with(60);
    let name = segments(&disk).swap_remove(1);
    let whole = disk.read_file(&name).expect("listed");
    let end = frames(&whole).last().expect("frames").end;
    for length in (0..end).step_by(61) {
        let cut = disk.copy(1);
        cut.write_file(&name, &whole[..length]);
        assert_eq!(damage(open_sim(&cut)).0, name);
    }
    disk.write_file(&name, &whole[..end]);
    let (journal, _) = open_sim(&disk).expect("only unused space is missing");
    check_history(&journal, 1, 60);
}

#[test]
fn a_later_version_is_not_damage() {
    let disk = disk_with(3);
    let mut content = disk.read_file(&segment_name(1)).expect("the first segment");
    content[12] = 2;
    let checksum = crc_fast::crc32_iscsi(&content[4..length(HEADER_BLOCK_BYTES)]);
    content[..4].copy_from_slice(&checksum.to_le_bytes());
    disk.write_file(&segment_name(1), &content);
    assert!(matches!(
        open_sim(&disk),
        Err(OpenError::UnsupportedVersion { version: 2, .. })
    ));
}
