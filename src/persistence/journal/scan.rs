//! What is on the disk. Reads and judges, changes nothing.
//!
//! The verdict on the first invalid frame of a segment:
//! - A valid frame of this segment stands anywhere behind it, or a later segment goes on after it: the bad one was
//!   durable once, because there is never more than one frame in flight. **Damaged**; nobody may start on it.
//! - Nothing but zeros, or an older segment's frames, follow: the clean end of the log.
//! - Anything else was being written when the power went: a torn tail, which nobody was promised.
//!
//! A start needs the newest segment and those that are replayed; of the older ones it reads the headers: none is missing, and
//! they are of one journal. What stands in them and how one goes over into the next is checked afterwards, see `check.rs`.
//!
//! What cannot be told: damage to the very last batch from a torn one, unless a seal or a close stands behind it; and
//! a whole segment replaced by an older state of itself. Compare [`Recovered last`](super::Recovery) with what SQL has seen.

use super::format::{
    Chain, FRAME_BYTES_MAX, Flaw, Frame, FrameKind, FramePlace, HEADER_BLOCK_BYTES, HeaderFault,
    SECTOR_BYTES, SEGMENT_BYTES_MAX, SegmentHeader, SegmentName, claimed_bytes, is_blank, length,
    segment_id, segment_name,
};
use super::{Disk, DiskFile, OpenError, Position, io_failure};

/// One segment, read to its end, or its header alone.
#[derive(Debug)]
pub(super) struct Scanned<F> {
    pub(super) file: F,
    pub(super) header: SegmentHeader,
    pub(super) header_checksum: u32,
    /// What the next frame has to follow. `chain.previous` is the checksum of the last batch or seal, or of the header.
    pub(super) chain: Chain,
    /// The end of the last valid frame.
    pub(super) end: u64,
    /// The last valid frame, if there is any.
    pub(super) last_frame: Option<LastFrame>,
    /// The header checksum of the segment that follows, if the segment was closed.
    pub(super) successor: Option<u32>,
    pub(super) tail: Tail,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct LastFrame {
    pub(super) kind: FrameKind,
    pub(super) offset: u64,
}

/// What stands behind the last valid frame of a segment that was not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// Bytes of a frame that was torn; 0 for a clean end.
    pub(super) torn_bytes: u64,
    /// Bytes that the file is too short by.
    pub(super) missing_bytes: u64,
    /// Why the bytes at the end are not a frame.
    pub(super) flaw: Flaw,
}

impl Tail {
    fn is_clean(self) -> bool {
        self.torn_bytes == 0 && self.missing_bytes == 0
    }
}

impl<F> Scanned<F> {
    /// A segment in which nothing was read yet.
    pub(super) fn empty(file: F, header: SegmentHeader, header_checksum: u32) -> Self {
        Self {
            file,
            header,
            header_checksum,
            chain: Chain {
                previous: header_checksum,
                next: header.first,
            },
            end: HEADER_BLOCK_BYTES,
            last_frame: None,
            successor: None,
            tail: Tail {
                torn_bytes: 0,
                missing_bytes: 0,
                flaw: Flaw::Blank,
            },
        }
    }

    pub(super) fn name(&self) -> SegmentName {
        SegmentName(self.header.segment_id)
    }

    pub(super) fn place(&self, offset: u64) -> FramePlace {
        FramePlace {
            journal_id: self.header.journal_id,
            segment_id: self.header.segment_id,
            offset,
        }
    }

    fn damaged_at_end(&self, flaw: Flaw) -> OpenError {
        OpenError::Damaged {
            segment: self.name().to_string(),
            offset: self.end,
            flaw,
        }
    }
}

/// What was found: all segments, oldest first, without gaps and all of one journal.
#[derive(Debug)]
pub(super) struct Scan<F> {
    pub(super) segments: Vec<Scanned<F>>,
    /// Of so many of the oldest only the header was read. The others are checked in themselves and each against the one
    /// before.
    pub(super) unread: usize,
}

/// Reads the segments from the one on that holds the record at `needed`, and of those before it the headers. `ZERO` reads
/// everything.
pub(super) fn scan<D: Disk>(
    disk: &D,
    open: Open<D>,
    needed: Position,
) -> Result<Scan<D::File>, OpenError> {
    let ids = segment_ids(disk)?;
    let mut segments: Vec<Scanned<D::File>> = Vec::with_capacity(ids.len());
    for id in ids {
        let segment = scan_header(disk, open, id)?;
        if let Some(before) = segments.last() {
            check_order(before, &segment)?;
        }
        segments.push(segment);
    }
    // One segment at a time is held in memory, always in the same buffer.
    let mut bytes = Vec::new();
    if let Some(newest) = segments.last_mut() {
        scan_frames(newest, &mut bytes)?;
    }
    let unread = first_to_read(&segments, needed);
    let newest = segments.len().saturating_sub(1);
    for index in unread..newest {
        scan_frames(&mut segments[index], &mut bytes)?;
        if index > unread {
            check_link(&segments[index - 1], &segments[index])?;
        }
    }
    if let [.., before, newest] = segments.as_slice()
        && unread < segments.len() - 1
    {
        check_link(before, newest)?;
    }
    check_closed(&segments[unread..])?;
    Ok(Scan { segments, unread })
}

/// The newest segment is read already. One without a frame says nothing of how the one before it ended.
fn first_to_read<F>(segments: &[Scanned<F>], needed: Position) -> usize {
    let newest = segments.len().saturating_sub(1);
    let holds_needed = |segment: &Scanned<F>| segment.header.first <= needed;
    let needed = segments.iter().rposition(holds_needed).unwrap_or(0);
    match segments.last() {
        Some(it) if it.last_frame.is_none() => needed.min(newest.saturating_sub(1)),
        Some(_) | None => needed.min(newest),
    }
}

/// How to open a segment: to repair it, or only to look.
pub(super) type Open<D> = fn(&D, &str) -> std::io::Result<<D as Disk>::File>;

fn segment_ids(disk: &impl Disk) -> Result<Vec<u64>, OpenError> {
    let names = disk
        .list()
        .map_err(io_failure::<OpenError>("list", disk.path().display()))?;
    let mut ids: Vec<u64> = names.iter().filter_map(|name| segment_id(name)).collect();
    ids.sort_unstable();
    for pair in ids.windows(2) {
        if pair[1] != pair[0] + 1 {
            return Err(missing(pair[0] + 1));
        }
    }
    Ok(ids)
}

fn missing(id: u64) -> OpenError {
    OpenError::Damaged {
        segment: segment_name(id),
        offset: 0,
        flaw: Flaw::Missing,
    }
}

fn scan_header<D: Disk>(disk: &D, open: Open<D>, id: u64) -> Result<Scanned<D::File>, OpenError> {
    let name = segment_name(id);
    let file = open(disk, &name).map_err(io_failure::<OpenError>("open", &name))?;
    let mut block = vec![0; length(HEADER_BLOCK_BYTES)];
    let read = file.read_at(&mut block, 0);
    let read = read.map_err(io_failure::<OpenError>("read", &name))?;
    let (header, header_checksum) = read_header(&name, id, &block[..read])?;
    Ok(Scanned::empty(file, header, header_checksum))
}

fn scan_frames<F: DiskFile>(
    segment: &mut Scanned<F>,
    bytes: &mut Vec<u8>,
) -> Result<(), OpenError> {
    read_whole(&segment.file, bytes).map_err(io_failure::<OpenError>("read", segment.name()))?;
    let segment_bytes = segment.header.segment_bytes;
    let missing_bytes = segment_bytes.saturating_sub(bytes.len() as u64);
    let flaw = follow_chain(segment, up_to(bytes, segment_bytes));
    if let Some(flaw) = flaw {
        let unread = from(up_to(bytes, segment_bytes), segment.end);
        refuse_later_frames(segment, unread, flaw)?;
        segment.tail = Tail {
            torn_bytes: torn_bytes(&segment.header, unread),
            missing_bytes,
            flaw,
        };
    }
    Ok(())
}

fn read_whole(file: &impl DiskFile, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    bytes.resize(length(file.bytes()?.min(SEGMENT_BYTES_MAX)), 0);
    let read = file.read_at(bytes, 0)?;
    bytes.truncate(read);
    Ok(())
}

fn read_header(name: &str, id: u64, bytes: &[u8]) -> Result<(SegmentHeader, u32), OpenError> {
    let damaged = |flaw| OpenError::Damaged {
        segment: name.to_owned(),
        offset: 0,
        flaw,
    };
    let (header, checksum) = SegmentHeader::decode(bytes).map_err(|fault| match fault {
        HeaderFault::Flaw(flaw) => damaged(flaw),
        HeaderFault::Version(version) => OpenError::UnsupportedVersion {
            segment: name.to_owned(),
            version,
        },
    })?;
    if header.segment_id != id {
        return Err(damaged(Flaw::OtherSegment(header.segment_id)));
    }
    Ok((header, checksum))
}

/// Goes from frame to frame. Returns why it ended, or nothing if a close frame ended it.
fn follow_chain<F>(segment: &mut Scanned<F>, bytes: &[u8]) -> Option<Flaw> {
    loop {
        let frame = match next_frame(segment, bytes) {
            Ok(frame) => frame,
            Err(flaw) => return Some(flaw),
        };
        segment.last_frame = Some(LastFrame {
            kind: frame.kind,
            offset: segment.end,
        });
        segment.end += frame.bytes();
        if frame.kind == FrameKind::Close {
            segment.successor = Some(frame.successor());
            return None;
        }
        segment.chain = segment.chain.after(frame.checksum, frame.records);
    }
}

fn next_frame<'a, F>(segment: &Scanned<F>, bytes: &'a [u8]) -> Result<Frame<'a>, Flaw> {
    let frame = Frame::decode(from(bytes, segment.end), segment.place(segment.end))?;
    segment.chain.check(&frame)?;
    Ok(frame)
}

/// A frame that is valid in its place, behind one that is not, proves that the bad one was durable.
fn refuse_later_frames<F>(
    segment: &Scanned<F>,
    unread: &[u8],
    flaw: Flaw,
) -> Result<(), OpenError> {
    for (sector, offset) in (segment.end..)
        .step_by(length(SECTOR_BYTES))
        .zip((0..unread.len()).step_by(length(SECTOR_BYTES)))
    {
        if Frame::decode(&unread[offset..], segment.place(sector)).is_ok() {
            return Err(segment.damaged_at_end(flaw));
        }
    }
    Ok(())
}

/// How many of the bytes behind the last frame were meant to become one.
///
/// In a fresh segment: all up to the last that is not zero. In a recycled one old frames follow anyway, and the sector
/// of zeros behind each frame tells whether somebody began to write there. If of a torn write only later sectors
/// reached the disk, that goes unnoticed there: without its header nobody could read it anyway.
fn torn_bytes(header: &SegmentHeader, unread: &[u8]) -> u64 {
    if !header.recycled {
        let last = unread.iter().rposition(|byte| *byte != 0);
        return last.map_or(0, |index| index as u64 + 1);
    }
    let first_sector = up_to(unread, SECTOR_BYTES);
    if is_blank(first_sector) {
        return 0;
    }
    let claimed = claimed_bytes(unread).unwrap_or(FRAME_BYTES_MAX);
    claimed.min(unread.len() as u64)
}

/// What headers alone tell of two neighbours.
fn check_order<F>(before: &Scanned<F>, after: &Scanned<F>) -> Result<(), OpenError> {
    let refuse = |flaw| {
        Err(OpenError::Damaged {
            segment: after.name().to_string(),
            offset: 0,
            flaw,
        })
    };
    if after.header.journal_id != before.header.journal_id {
        return refuse(Flaw::OtherJournal);
    }
    if after.header.first < before.header.first {
        return refuse(Flaw::Chain);
    }
    Ok(())
}

/// Whether `after` goes on where `before` ends.
fn check_link<F>(before: &Scanned<F>, after: &Scanned<F>) -> Result<(), OpenError> {
    let refuse = |flaw| {
        Err(OpenError::Damaged {
            segment: after.name().to_string(),
            offset: 0,
            flaw,
        })
    };
    if let Some(successor) = before.successor {
        return if after.header_checksum == successor {
            Ok(())
        } else {
            refuse(Flaw::Successor)
        };
    }
    if after.header.first > before.chain.next {
        return Err(before.damaged_at_end(before.tail.flaw));
    }
    if after.header.first != before.chain.next || after.header.previous != before.chain.previous {
        return refuse(Flaw::Chain);
    }
    // The crash came between the new header and the close frame. Nothing was written to the new segment before that.
    let is_untouched = after.last_frame.is_none() && after.tail.is_clean();
    if is_untouched {
        Ok(())
    } else {
        Err(before.damaged_at_end(Flaw::NotClosed))
    }
}

/// Only the last two segments may be open: the newest, and the one before it if its closing was cut short.
fn check_closed<F>(scanned: &[Scanned<F>]) -> Result<(), OpenError> {
    let Some((newest, older)) = scanned.split_last() else {
        return Ok(());
    };
    if newest.successor.is_some() {
        return Err(missing(newest.header.segment_id + 1));
    }
    let earlier = older.split_last().map_or(older, |(_, earlier)| earlier);
    match earlier.iter().find(|segment| segment.successor.is_none()) {
        Some(open) => Err(open.damaged_at_end(Flaw::NotClosed)),
        None => Ok(()),
    }
}

fn from(bytes: &[u8], offset: u64) -> &[u8] {
    bytes.get(length(offset)..).unwrap_or_default()
}

fn up_to(bytes: &[u8], end: u64) -> &[u8] {
    bytes.get(..length(end)).unwrap_or(bytes)
}
