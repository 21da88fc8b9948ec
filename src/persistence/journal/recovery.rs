//! What opening a journal found, and the little that may be done about it.
//!
//! A torn tail is copied to `quarantine/` and cleared; a switch that was cut short is finished. Nothing else is ever
//! repaired: damage in what a start reads is refused, with file and offset, before anything is touched. Damage in the older
//! segments, which it does not read, fails the journal once it is found (`check.rs`).
//!
//! **Invariant:** what recovery reports as there is durable when it says so. After a failed fsync, or a kill before it,
//! the last frame may be visible and yet exist in the page cache only, marked as written. So the last frame is written
//! again, byte for byte, and synced. Everything before it is durable, because something was written after it.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use tracing::warn;

use super::disk::write_checked;
use super::format::{Frame, FrameKind, MARKER_FRAME_BYTES, SECTOR_BYTES, length};
use super::reader::SegmentReader;
use super::retained::{Retained, Segment};
use super::scan::{Scanned, scan};
use super::{Disk, DiskFile, Flaw, IoFailure, JournalReader, Position, View, io_failure};

const QUARANTINE: &str = "quarantine";
const ZEROS_BYTES_MAX: u64 = 1 << 20;
/// A live writer can make a healthy journal look damaged to somebody who reads it piece by piece, but each time in
/// another way. Damage looks the same twice.
const INSPECTIONS_MAX: usize = 1_000;

/// What was found when the journal was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The oldest record that can be read; if there is none, the next one to be written.
    pub first: Position,
    /// The last record. If SQL has seen more, acknowledged records are gone: do not start.
    pub last: Position,
    /// A seal or a close protects the last record, so nothing can have been cut off behind it unnoticed.
    pub sealed: bool,
    pub torn_tail: Option<TornTail>,
    /// Segments of which only the header was read. What is in them is still to be checked.
    pub unread: usize,
}

/// A batch that was being written when the power went. Nobody was told that it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    pub segment: String,
    /// Where in the segment the batch began.
    pub offset: u64,
    /// How many bytes of it were found.
    pub bytes: u64,
    /// How many bytes the file was too short by. A power cut alone does not do that.
    pub missing_bytes: u64,
    /// Where the bytes were copied to before they were cleared, if there were any and the journal was not opened to
    /// look only.
    pub quarantine: Option<PathBuf>,
}

/// A look at a journal that takes no lock and changes nothing.
pub struct Inspection {
    /// As in [`Recovery`], at the moment of the look.
    pub first: Position,
    pub last: Position,
    pub sealed: bool,
    /// What stands behind the last record. With a live writer: usually the batch it is writing right now.
    pub torn_tail: Option<TornTail>,
    /// Number of segments.
    pub segments: usize,
    /// Reads all of it, from `first` to `last`. `None` if there is no segment yet.
    pub reader: Option<Box<dyn JournalReader>>,
    /// The journal at the moment of the look, for other readers. `None` if there is no segment yet.
    pub view: Option<View>,
}

impl std::fmt::Debug for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspection")
            .field("first", &self.first)
            .field("last", &self.last)
            .field("sealed", &self.sealed)
            .field("torn_tail", &self.torn_tail)
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("journal: `{}` is in use by another process; stop that one first, or use another data directory", path.display())]
    InUse { path: PathBuf },
    /// Records that were durable cannot be read. Nothing was changed.
    #[error(
        "journal: `{segment}` is damaged at byte {offset}: {flaw}; restore it from a copy, nothing was changed"
    )]
    Damaged {
        segment: String,
        offset: u64,
        flaw: Flaw,
    },
    #[error(
        "journal: `{segment}` is of format version {version}, which this program does not read"
    )]
    UnsupportedVersion { segment: String, version: u16 },
    #[error(
        "journal: {segment_bytes} is no size for a segment; it must be a multiple of {multiple_of} from {min} to {max}"
    )]
    SegmentBytes {
        segment_bytes: u64,
        multiple_of: u64,
        min: u64,
        max: u64,
    },
    #[error(transparent)]
    Io(#[from] IoFailure),
}

/// Looks at the journal without a lock, beside a live writer if need be.
pub(super) fn inspect<D: Disk>(disk: &D) -> Result<Inspection, OpenError> {
    let mut seen_before = None;
    for _ in 1..INSPECTIONS_MAX {
        match scan(disk, D::open_read_only, Position::ZERO) {
            Ok(scan) => return Ok(describe(scan.segments)),
            Err(error) if seen_before == Some(error.to_string()) => return Err(error),
            Err(error) => seen_before = Some(error.to_string()),
        }
    }
    let scan = scan(disk, D::open_read_only, Position::ZERO)?;
    Ok(describe(scan.segments))
}

fn describe<F: DiskFile>(scanned: Vec<Scanned<F>>) -> Inspection {
    let Recovery {
        first,
        last,
        sealed,
        ..
    } = summary(&scanned, None, 0);
    let torn_tail = scanned.last().and_then(|newest| torn_tail(newest));
    let segments = scanned.len();
    let retained = (segments > 0).then(|| Arc::new(retain(scanned, last)));
    let before_first = Position::new(first.get().saturating_sub(1));
    let reader = retained.clone().map(|retained| {
        Box::new(SegmentReader::new(retained, before_first)) as Box<dyn JournalReader>
    });
    let view = retained.map(|retained| Arc::new(retained) as View);
    Inspection {
        first,
        last,
        sealed,
        torn_tail,
        segments,
        reader,
        view,
    }
}

pub(super) fn summary<F>(
    scanned: &[Scanned<F>],
    torn_tail: Option<TornTail>,
    unread: usize,
) -> Recovery {
    let first = scanned
        .first()
        .map_or(Position::ZERO.next(), |oldest| oldest.header.first);
    let last = scanned.last().map_or(Position::ZERO, |newest| {
        Position::new(newest.chain.next.get() - 1)
    });
    let sealed = scanned.last().is_none_or(is_sealed);
    Recovery {
        first,
        last,
        sealed,
        torn_tail,
        unread,
    }
}

/// A segment without a frame protects what is before it: its header says where that ended.
pub(super) fn is_sealed<F>(newest: &Scanned<F>) -> bool {
    newest
        .last_frame
        .is_none_or(|frame| frame.kind != FrameKind::Batch)
}

/// The scanned segments as readers want them.
pub(super) fn retain<F>(scanned: Vec<Scanned<F>>, last: Position) -> Retained<F> {
    let mut segments = VecDeque::with_capacity(scanned.len());
    let (mut base, mut durable_end) = (0, 0);
    for segment in scanned {
        let Scanned {
            file,
            header,
            header_checksum,
            end,
            ..
        } = segment;
        durable_end = base + end;
        segments.push_back(Arc::new(Segment {
            header,
            header_checksum,
            base,
            file,
        }));
        base += header.segment_bytes;
    }
    Retained::new(segments, last, durable_end)
}

/// Makes what was found durable and writable: no torn tail, no unfinished switch.
pub(super) fn repair<D: Disk>(
    disk: &D,
    scanned: &mut [Scanned<D::File>],
) -> Result<Option<TornTail>, OpenError> {
    // The names that were found may come from a rename that was never synced.
    disk.sync_dir()
        .map_err(io_failure::<OpenError>("sync", disk.path().display()))?;
    let Some((newest, older)) = scanned.split_last_mut() else {
        return Ok(None);
    };
    let torn = torn_tail(newest)
        .map(|torn| quarantine(disk, newest, torn))
        .transpose()?;
    if newest.last_frame.is_none()
        && let Some(before) = older.last()
    {
        close_again(before, newest).map_err(io_failure::<OpenError>("close", before.name()))?;
    }
    clear_tail(newest).map_err(io_failure::<OpenError>("clear the end of", newest.name()))?;
    write_last_frame_again(newest).map_err(io_failure::<OpenError>(
        "write the last frame again of",
        newest.name(),
    ))?;
    newest
        .file
        .sync_data()
        .map_err(io_failure::<OpenError>("sync", newest.name()))?;
    Ok(torn)
}

fn torn_tail<F>(newest: &Scanned<F>) -> Option<TornTail> {
    let tail = newest.tail;
    let is_torn = tail.torn_bytes > 0 || tail.missing_bytes > 0;
    is_torn.then(|| TornTail {
        segment: newest.name().to_string(),
        offset: newest.end,
        bytes: tail.torn_bytes,
        missing_bytes: tail.missing_bytes,
        quarantine: None,
    })
}

/// Copies the torn bytes to a file of their own, durably, before anyone clears them.
fn quarantine<D: Disk>(
    disk: &D,
    newest: &Scanned<D::File>,
    torn: TornTail,
) -> Result<TornTail, OpenError> {
    let quarantine = match torn.bytes {
        0 => None,
        _ => Some(
            copy_tail(disk, newest, torn.bytes)
                .map_err(io_failure::<OpenError>("copy to quarantine", &torn.segment))?,
        ),
    };
    let torn = TornTail { quarantine, ..torn };
    warn!(
        segment = torn.segment,
        offset = torn.offset,
        bytes = torn.bytes,
        missing_bytes = torn.missing_bytes,
        quarantine = ?torn.quarantine,
        "journal: cut off a batch that was never finished ({})",
        newest.tail.flaw,
    );
    Ok(torn)
}

fn copy_tail<D: Disk>(disk: &D, newest: &Scanned<D::File>, bytes: u64) -> std::io::Result<PathBuf> {
    let mut tail = vec![0; length(bytes)];
    newest.file.read_at(&mut tail, newest.end)?;
    let directory = disk.directory(QUARANTINE)?;
    let name = free_name(
        &directory,
        &format!("journal-{:016}-{}", newest.header.segment_id, newest.end),
    )?;
    let copy = directory.create(&name)?;
    copy.write_at(&tail, 0)?;
    copy.sync_data()?;
    directory.sync_dir()?;
    Ok(directory.path().join(name))
}

/// An earlier recovery at the same place may have left a copy; it is kept.
fn free_name(directory: &impl Disk, stem: &str) -> std::io::Result<String> {
    let taken = directory.list()?;
    let mut name = format!("{stem}.torn");
    let mut copies = 1;
    while taken.contains(&name) {
        copies += 1;
        name = format!("{stem}-{copies}.torn");
    }
    Ok(name)
}

/// Finishes a switch. If the close frame is there already, it may be so in the page cache only.
fn close_again<F: DiskFile>(before: &Scanned<F>, newest: &Scanned<F>) -> std::io::Result<()> {
    let close_offset = match before.successor {
        Some(_) => before.end - MARKER_FRAME_BYTES,
        None => before.end,
    };
    let mut frame = Vec::new();
    let announced = newest.header_checksum.to_le_bytes();
    Frame::encode(
        &mut frame,
        FrameKind::Close,
        before.place(close_offset),
        before.chain,
        (0, &announced),
    );
    write_checked(&before.file, &frame, close_offset)?;
    before.file.sync_data()
}

/// Leaves zeros behind the last frame: over the torn bytes, over what the file lacks, and as the mark of the end.
fn clear_tail<F: DiskFile>(newest: &Scanned<F>) -> std::io::Result<()> {
    let segment_bytes = newest.header.segment_bytes;
    let torn_end = newest.end
        + newest
            .tail
            .torn_bytes
            .next_multiple_of(SECTOR_BYTES)
            .max(SECTOR_BYTES);
    write_zeros(&newest.file, newest.end, torn_end.min(segment_bytes))?;
    write_zeros(
        &newest.file,
        segment_bytes - newest.tail.missing_bytes,
        segment_bytes,
    )
}

fn write_zeros(file: &impl DiskFile, start: u64, end: u64) -> std::io::Result<()> {
    let zeros = vec![0; length(end.saturating_sub(start).min(ZEROS_BYTES_MAX))];
    let mut offset = start;
    while offset < end {
        let chunk_bytes = (end - offset).min(ZEROS_BYTES_MAX);
        write_checked(file, &zeros[..length(chunk_bytes)], offset)?;
        offset += chunk_bytes;
    }
    Ok(())
}

fn write_last_frame_again<F: DiskFile>(newest: &Scanned<F>) -> std::io::Result<()> {
    let Some(last) = newest.last_frame else {
        return Ok(());
    };
    let mut frame = vec![0; length(newest.end - last.offset)];
    newest.file.read_at(&mut frame, last.offset)?;
    newest.file.write_at(&frame, last.offset)
}
