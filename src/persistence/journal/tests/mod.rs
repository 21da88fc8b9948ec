//! Tests of the journal on a disk, and what they share.

mod crash;
mod damage;
mod failing;
mod following;
mod inspecting;
mod quick_start;
mod switching;
mod torn_tail;

use super::format::{
    FRAME_HEADER_BYTES, Frame, FramePlace, HEADER_BLOCK_BYTES, SECTOR_BYTES, SegmentHeader, length,
    segment_name,
};
use super::*;

/// Segments that hold a handful of frames, everything in a fixed order.
pub(super) fn tiny_options() -> Options {
    Options {
        segment_bytes: 2 * HEADER_BLOCK_BYTES,
        retention_bytes: 0,
        spares: SparePreparation::Inline,
        journal_id: Some(0x4c41_5942_5900_0001),
    }
}

/// The record of this sequence: different from all others, of varying length.
pub(super) fn record(sequence: u64) -> Vec<u8> {
    let filler = (sequence * 37 % 90) as usize;
    let mut record = sequence.to_le_bytes().to_vec();
    record.resize(record.len() + filler, sequence.to_le_bytes()[0] | 1);
    record
}

pub(super) fn batch_of(records: impl IntoIterator<Item = Vec<u8>>) -> Batch {
    let mut batch = Batch::new();
    for record in records {
        batch.push(&record).expect("a small record");
    }
    batch
}

/// Appends the next `records` records as one batch.
pub(super) fn append(
    journal: &mut (impl Journal + ?Sized),
    records: u64,
) -> Result<Position, JournalError> {
    let first = journal.position().get() + 1;
    journal.append(&batch_of((first..first + records).map(record)))
}

/// Appends batches until the journal ends with the record of this sequence.
pub(super) fn append_through(
    journal: &mut (impl Journal + ?Sized),
    last: u64,
    records_a_batch: u64,
) {
    while journal.position().get() < last {
        let records = records_a_batch.min(last - journal.position().get());
        append(journal, records).expect("nothing is planned to fail");
    }
}

/// Everything that the reader has to give.
pub(super) fn drain(
    reader: &mut dyn JournalReader,
    records_max: usize,
) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
    let (mut all, mut records) = (Vec::new(), Records::new());
    while reader.next_batch(records_max, &mut records)? > 0 {
        all.extend(
            records
                .iter()
                .map(|(position, record)| (position.get(), record.to_vec())),
        );
    }
    Ok(all)
}

/// Checks that the journal holds exactly the records from `first` to `last`, as [`record`] makes them.
pub(super) fn check_history(journal: &(impl Journal + ?Sized), first: u64, last: u64) {
    assert_eq!(journal.position().get(), last, "the last record");
    let mut reader = journal
        .reader(Position::new(first - 1))
        .expect("the history is kept");
    let history = drain(reader.as_mut(), 7).expect("the history is readable");
    let expected: Vec<_> = (first..=last)
        .map(|sequence| (sequence, record(sequence)))
        .collect();
    assert!(
        history == expected,
        "records {first} to {last} came back otherwise: {history:?}"
    );
}

pub(super) type SimJournal = FileJournal<SimDisk>;

pub(super) fn open_sim(disk: &SimDisk) -> Result<(SimJournal, Recovery), OpenError> {
    FileJournal::open(disk.clone(), tiny_options())
}

/// A disk with the records 1 to `last`, three a batch, not sealed, closed in an orderly way.
pub(super) fn disk_with(last: u64) -> SimDisk {
    let disk = SimDisk::new(last);
    let (mut journal, _) = open_sim(&disk).expect("an empty disk");
    append_through(&mut journal, last, 3);
    disk
}

/// The names of the segments, oldest first.
pub(super) fn segments(disk: &impl Disk) -> Vec<String> {
    let mut names = disk.list().expect("a working disk");
    names.retain(|name| format::segment_id(name).is_some());
    names.sort_unstable();
    names
}

/// The frames of a segment as ranges of the file.
pub(super) fn frames(content: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (header, _) = SegmentHeader::decode(content).expect("a good header");
    let mut frames = Vec::new();
    let mut start = length(HEADER_BLOCK_BYTES);
    loop {
        let place = FramePlace {
            journal_id: header.journal_id,
            segment_id: header.segment_id,
            offset: start as u64,
        };
        let Ok(frame) = Frame::decode(&content[start..], place) else {
            return frames;
        };
        frames.push(start..start + length(frame.bytes()));
        start += length(frame.bytes());
    }
}

/// The damage that an opening reports, as segment and offset.
pub(super) fn damage<T>(opened: Result<T, OpenError>) -> (String, u64, Flaw) {
    match opened {
        Err(OpenError::Damaged {
            segment,
            offset,
            flaw,
        }) => (segment, offset, flaw),
        Err(other) => panic!("another error than damage: {other}"),
        Ok(_) => panic!("opened in spite of damage"),
    }
}
