//! The writer: one batch, one frame, one write, one fsync.
//!
//! Owned by one thread, which waits in the fsync on purpose: what arrives meanwhile is the next batch.
//!
//! **Invariant:** nothing is published, and no position moves, before the fsync of its frame returned `Ok`.
//!
//! **Invariant:** at a switch the next segment has its header and its name durably before the old one is closed, and the
//! old one is closed durably before the next one gets a frame. Each of the states in between is recognised at a start.
//!
//! **Invariant:** what was written is read back before it is synced. A write that was reported and never happened would be
//! noticed by the first reader, when others have been promised something behind it.
//!
//! Deliberately absent: a retry of anything, and a second frame in flight.

use std::{io, sync::Arc};

use super::check::RestCheck;
use super::disk::write_checked;
use super::format::{
    Chain, FRAME_BYTES_MAX, Frame, FrameKind, HEADER_BLOCK_BYTES, MARKERS_RESERVED_BYTES,
    SECTOR_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SegmentHeader, frame_bytes, length,
    segment_name,
};
use super::recovery::{inspect, is_sealed, repair, retain, summary};
use super::retained::{Retained, Segment};
use super::scan::{Scan, Scanned, scan};
use super::spares::{Spare, Spares};
use super::{
    Batch, Disk, DiskFile, Inspection, IoFailure, Journal, JournalError, OpenError, Position,
    Recovery, View, io_failure,
};

#[derive(Debug, Clone)]
pub struct Options {
    /// Size of the segments made from now on; those that are there keep theirs. A batch must fit into one.
    pub segment_bytes: u64,
    /// Released segments are kept until the newer ones make up this many bytes.
    pub retention_bytes: u64,
    pub spares: SparePreparation,
    /// The id of a journal that is created by this opening. `None` draws one at random, as it should be; a
    /// simulation that wants the same bytes each time names it.
    pub journal_id: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            retention_bytes: 256 << 20,
            spares: SparePreparation::OnThread,
            journal_id: None,
        }
    }
}

/// Who fills and recycles segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SparePreparation {
    /// A thread of its own, so that the writer never waits for it.
    OnThread,
    /// The writer itself, in a fixed order: for simulations.
    Inline,
}

/// A journal in a directory. See [`Journal`] for the contract.
#[derive(Debug)]
pub struct FileJournal<D: Disk> {
    /// Before the lock: dropping it waits for the thread that works in the directory.
    spares: Spares<D>,
    disk: D,
    options: Options,
    retained: Arc<Retained<D::File>>,
    /// The newest segment.
    active: Arc<Segment<D::File>>,
    /// Where in it the next frame goes.
    offset: u64,
    /// What the next frame follows. Never ahead of what is durable.
    chain: Chain,
    sealed: bool,
    released: Position,
    /// Segments that were not read when the journal was opened, and the first that was.
    unread: Vec<Arc<Segment<D::File>>>,
    failed: bool,
    /// The frame being written, with room for the largest.
    frame: Vec<u8>,
    _lock: D::Lock,
}

/// A directory that nobody else writes to, before the journal in it is opened: there is time to find out how much of it is
/// needed.
#[derive(Debug)]
pub struct LockedJournal<D: Disk> {
    disk: D,
    lock: D::Lock,
}

impl<D: Disk> LockedJournal<D> {
    /// Opens the journal, or creates one if there is none, and recovers what is there. Reads and checks what lies from the
    /// record at `needed` on, and the newest segment in any case; the rest is for [`FileJournal::rest_check`].
    pub fn open(
        self,
        options: Options,
        needed: Position,
    ) -> Result<(FileJournal<D>, Recovery), OpenError> {
        check_segment_bytes(options.segment_bytes)?;
        let disk = &self.disk;
        let Scan {
            segments: mut scanned,
            unread,
        } = scan(disk, D::open, needed)?;
        let torn_tail = repair(disk, &mut scanned)?;
        let mut spares = Spares::open(disk.clone(), options.segment_bytes, options.spares)?;
        if scanned.is_empty() {
            scanned.push(create_first_segment(disk, &mut spares, &options)?);
        }
        spares.restock();
        let recovery = summary(&scanned, torn_tail, unread);
        let journal = FileJournal::resume(self, options, spares, scanned, &recovery);
        Ok((journal, recovery))
    }
}

impl<D: Disk> FileJournal<D> {
    /// Opens the journal in the directory, or creates one if there is none, and recovers what is there. Reads and checks
    /// everything.
    ///
    /// An empty directory is a new journal: whether one was expected there is for the caller to know.
    pub fn open(disk: D, options: Options) -> Result<(Self, Recovery), OpenError> {
        Self::lock(disk)?.open(options, Position::ZERO)
    }

    /// Keeps other writers out, and touches nothing yet.
    pub fn lock(disk: D) -> Result<LockedJournal<D>, OpenError> {
        let lock = disk
            .lock()
            .map_err(io_failure::<OpenError>("lock", disk.path().display()))?;
        match lock {
            Some(lock) => Ok(LockedJournal { disk, lock }),
            None => Err(OpenError::InUse { path: disk.path() }),
        }
    }

    /// Looks at the journal without a lock and without changing anything, beside a live writer if need be. Damage is
    /// reported; what a live writer is just writing is not.
    pub fn inspect(disk: &D) -> Result<Inspection, OpenError> {
        inspect(disk)
    }

    /// What opening did not read, once. Meant for a moment when the machine has nothing better to do.
    pub fn rest_check(&mut self) -> RestCheck<D::File> {
        let unread = std::mem::take(&mut self.unread);
        RestCheck::new(Arc::clone(&self.retained), unread)
    }

    fn resume(
        locked: LockedJournal<D>,
        options: Options,
        spares: Spares<D>,
        scanned: Vec<Scanned<D::File>>,
        recovery: &Recovery,
    ) -> Self {
        let LockedJournal { disk, lock } = locked;
        let (last, newest) = (recovery.last, scanned.last());
        let sealed = newest.is_none_or(is_sealed);
        let (offset, chain) = newest.map_or(
            (
                0,
                Chain {
                    previous: 0,
                    next: last.next(),
                },
            ),
            |it| (it.end, it.chain),
        );
        let retained = Arc::new(retain(scanned, last));
        let unread = retained.leave_unchecked(recovery.unread);
        let active = retained.newest();
        let frame_bytes_max = FRAME_BYTES_MAX.min(options.segment_bytes) + SECTOR_BYTES;
        Self {
            spares,
            disk,
            retained,
            active,
            offset,
            chain,
            sealed,
            released: Position::ZERO,
            unread,
            failed: false,
            frame: Vec::with_capacity(length(frame_bytes_max)),
            options,
            _lock: lock,
        }
    }

    fn write_batch(&mut self, batch: &Batch) -> Result<(), JournalError> {
        self.make_room(frame_bytes(batch.bytes()))?;
        self.write_frame(FrameKind::Batch, batch.record_count(), batch.payload())?;
        self.sealed = false;
        Ok(())
    }

    fn make_room(&mut self, batch_bytes: u64) -> Result<(), JournalError> {
        if self.offset + batch_bytes + MARKERS_RESERVED_BYTES <= self.active.header.segment_bytes {
            return Ok(());
        }
        let batch_bytes_max =
            self.options.segment_bytes - HEADER_BLOCK_BYTES - MARKERS_RESERVED_BYTES;
        if batch_bytes > batch_bytes_max {
            return Err(JournalError::BatchTooLarge {
                batch_bytes,
                batch_bytes_max,
            });
        }
        self.switch()
    }

    /// Writes a frame at the end of the log, makes it durable and only then says so.
    fn write_frame(
        &mut self,
        kind: FrameKind,
        records: u32,
        payload: &[u8],
    ) -> Result<(), JournalError> {
        let place = self.active.place(self.offset);
        let checksum = Frame::encode(&mut self.frame, kind, place, self.chain, (records, payload));
        let end = self.offset + self.frame.len() as u64;
        self.mark_end(end);
        let failure = |action| io_failure::<JournalError>(action, self.active.name());
        write_checked(&self.active.file, &self.frame, self.offset).map_err(failure("write to"))?;
        self.active.file.sync_data().map_err(failure("sync"))?;
        // Found meanwhile: nobody was told of this batch yet, and nobody will be.
        self.refuse_if_damaged()?;
        self.offset = end;
        self.chain = self.chain.after(checksum, records);
        self.retained
            .publish(self.position(), self.active.base + end);
        Ok(())
    }

    /// Over old frames, zeros behind the frame mark the end of the log. A fresh segment has them already.
    fn mark_end(&mut self, end: u64) {
        if self.active.header.recycled && end < self.active.header.segment_bytes {
            self.frame
                .resize(self.frame.len() + length(SECTOR_BYTES), 0);
        }
    }

    /// Closes the segment and goes on in the next one.
    fn switch(&mut self) -> Result<(), JournalError> {
        let spare = self
            .spares
            .take()
            .map_err(io_failure::<JournalError>("prepare", "the next segment"))?;
        let header = SegmentHeader {
            journal_id: self.active.header.journal_id,
            segment_id: self.active.header.segment_id + 1,
            first: self.chain.next,
            previous: self.chain.previous,
            segment_bytes: self.options.segment_bytes,
            recycled: spare.recycled,
        };
        let (file, header_checksum) = install(&self.disk, spare, &header)?;
        self.write_frame(FrameKind::Close, 0, &header_checksum.to_le_bytes())?;
        let next = Arc::new(Segment {
            header,
            header_checksum,
            base: self.active.end(),
            file,
        });
        self.retained.push(Arc::clone(&next));
        self.offset = HEADER_BLOCK_BYTES;
        self.chain = next.chain();
        self.active = next;
        self.let_go();
        self.spares.restock();
        Ok(())
    }

    /// Gives away the segments that are released and old enough.
    fn let_go(&mut self) {
        while let Some(segment) = self
            .retained
            .pop_released(self.released, self.options.retention_bytes)
        {
            self.spares
                .offer(segment.header.segment_id, segment.header.segment_bytes);
        }
    }

    fn refuse_if_failed(&mut self) -> Result<(), JournalError> {
        if self.failed {
            return Err(JournalError::Failed);
        }
        let sound = self.refuse_if_damaged();
        self.fail_stop(sound)
    }

    fn refuse_if_damaged(&self) -> Result<(), JournalError> {
        match self.retained.soundness.damage() {
            None => Ok(()),
            Some(reason) => Err(JournalError::Damaged {
                reason: Arc::clone(reason),
            }),
        }
    }

    /// After an error nobody knows what is on the disk. Opening it again finds out.
    fn fail_stop(&mut self, outcome: Result<(), JournalError>) -> Result<(), JournalError> {
        self.failed |= outcome.is_err();
        outcome
    }
}

impl<D: Disk> Journal for FileJournal<D> {
    fn append(&mut self, batch: &Batch) -> Result<Position, JournalError> {
        self.refuse_if_failed()?;
        if !batch.is_empty() {
            let outcome = self.write_batch(batch);
            self.fail_stop(outcome)?;
        }
        Ok(self.position())
    }

    fn seal(&mut self) -> Result<(), JournalError> {
        self.refuse_if_failed()?;
        if self.sealed {
            return Ok(());
        }
        let outcome = self.write_frame(FrameKind::Seal, 0, &[]);
        self.sealed = outcome.is_ok();
        self.fail_stop(outcome)
    }

    fn position(&self) -> Position {
        Position::new(self.chain.next.get() - 1)
    }

    fn release_through(&mut self, position: Position) {
        self.released = position.min(self.position());
        // A writer that failed leaves the directory as it is.
        if !self.failed {
            self.let_go();
            self.spares.restock();
        }
    }

    fn has_room(&mut self) -> bool {
        self.spares.is_stocked()
    }

    fn bytes_after(&self, position: Position) -> u64 {
        self.retained.bytes_after(position)
    }

    fn view(&self) -> View {
        Arc::new(Arc::clone(&self.retained))
    }
}

fn check_segment_bytes(segment_bytes: u64) -> Result<(), OpenError> {
    let (multiple_of, min, max) = (HEADER_BLOCK_BYTES, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
    if segment_bytes.is_multiple_of(multiple_of) && (min..=max).contains(&segment_bytes) {
        return Ok(());
    }
    Err(OpenError::SegmentBytes {
        segment_bytes,
        multiple_of,
        min,
        max,
    })
}

fn create_first_segment<D: Disk>(
    disk: &D,
    spares: &mut Spares<D>,
    options: &Options,
) -> Result<Scanned<D::File>, OpenError> {
    let spare = spares
        .take()
        .map_err(io_failure::<OpenError>("prepare", "the first segment"))?;
    let header = SegmentHeader {
        journal_id: options.journal_id.unwrap_or_else(rand::random),
        segment_id: 1,
        first: Position::ZERO.next(),
        previous: 0,
        segment_bytes: options.segment_bytes,
        recycled: spare.recycled,
    };
    let (file, header_checksum) = install(disk, spare, &header)?;
    Ok(Scanned::empty(file, header, header_checksum))
}

/// Makes a segment of a spare: the header first, then the name, each durable. Returns the checksum of the header.
fn install<D: Disk>(
    disk: &D,
    spare: Spare<D::File>,
    header: &SegmentHeader,
) -> Result<(D::File, u32), IoFailure> {
    let (mut block, checksum) = header.encode();
    // In a recycled segment the end of the log is marked by a sector of zeros.
    block.resize(block.len() + length(SECTOR_BYTES), 0);
    let name = segment_name(header.segment_id);
    let write_header = || -> io::Result<()> {
        write_checked(&spare.file, &block, 0)?;
        spare.file.sync_data()
    };
    write_header().map_err(io_failure::<IoFailure>("write the header of", &spare.name))?;
    let name_it = || -> io::Result<()> {
        disk.rename(&spare.name, &name)?;
        disk.sync_dir()
    };
    name_it().map_err(io_failure::<IoFailure>("name", &name))?;
    Ok((spare.file, checksum))
}
