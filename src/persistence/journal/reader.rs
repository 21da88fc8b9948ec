//! Following the log from another thread, while the writer goes on.
//!
//! **Invariant:** a reader never looks behind the durable end that the writer published. Up to there every byte is
//! final, so whatever is wrong there is damage, not a race. Behind it anything may stand.
//!
//! A reader holds no segment back. One that falls behind what is kept is told so: before each batch it asks whether
//! its segment is still kept, and if bytes make no sense it looks whether the file has become another segment's.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::batch::BATCH_BYTES_MAX;
use super::format::{
    Chain, FRAME_HEADER_BYTES, Flaw, Frame, FrameKind, HEADER_BLOCK_BYTES, RecordsIn,
    SegmentHeader, claimed_bytes, length,
};
use super::retained::{Retained, Segment};
use super::{
    DiskFile, JournalId, JournalReader, JournalView, Position, ReadError, Records, io_failure,
};

/// Read at once while there is that much to read.
const CHUNK_BYTES: u64 = 256 << 10;

#[derive(Debug)]
pub(super) struct SegmentReader<F> {
    retained: Arc<Retained<F>>,
    /// The last record handed out.
    position: Position,
    /// Where in the log the reader stands; found when the first batch is asked for.
    cursor: Option<Cursor<F>>,
    window: Window,
    /// Payload of the frame that was begun, as a range of the window, with the position of its next record.
    begun: Option<Begun>,
}

/// A place between two frames of a segment.
#[derive(Debug)]
pub(super) struct Cursor<F> {
    segment: Arc<Segment<F>>,
    /// Of the next frame.
    offset: u64,
    chain: Chain,
}

/// A piece of the segment in memory.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    /// Where in the segment it starts.
    offset: u64,
}

#[derive(Debug)]
pub(super) struct Begun {
    payload: Range<usize>,
    next: Position,
    checksum: u32,
}

impl<F: DiskFile> JournalView for Arc<Retained<F>> {
    fn id(&self) -> JournalId {
        self.journal_id
    }

    fn last(&self) -> Position {
        self.durable().0
    }

    fn reader(&self, after: Position) -> Result<Box<dyn JournalReader>, ReadError> {
        self.segment_after(after)?;
        Ok(Box::new(SegmentReader::new(Arc::clone(self), after)))
    }

    fn frame_at(&self, position: Position) -> Result<u32, ReadError> {
        let Some(before) = position.get().checked_sub(1) else {
            return Ok(0);
        };
        let mut records = Records::new();
        self.reader(Position::new(before))?
            .next_batch(1, &mut records)?;
        let frame = records.frames().checksum_at(position);
        frame.ok_or_else(|| ReadError::Ahead {
            after: position,
            last: self.last(),
        })
    }

    fn report_damage(&self, reason: &str) {
        self.soundness.report_damage(reason);
    }

    fn damage(&self) -> Option<Arc<str>> {
        self.soundness.damage().cloned()
    }

    fn unchecked_segments(&self) -> usize {
        self.unchecked.load(Ordering::Relaxed)
    }

    fn on_damage(&self, tell: Box<dyn Fn() + Send + Sync>) {
        self.soundness.on_damage(tell);
    }
}

impl<F: DiskFile> SegmentReader<F> {
    /// A reader of the records after `after`.
    pub(super) fn new(retained: Arc<Retained<F>>, after: Position) -> Self {
        Self {
            retained,
            position: after,
            cursor: None,
            window: Window::default(),
            begun: None,
        }
    }

    /// Hands out what is left of the frame that was begun.
    fn drain_begun(&mut self, records_max: usize, records: &mut Records) {
        let Some(mut begun) = self.begun.take() else {
            return;
        };
        let payload = &self.window.bytes[begun.payload.clone()];
        let mut unread = RecordsIn::new(payload);
        while records.len() < records_max && records.bytes() < BATCH_BYTES_MAX {
            let Some(record) = unread.next() else { return };
            // A reader may start in the middle of a frame.
            if begun.next > self.position {
                records.push(begun.next, record, begun.checksum);
                self.position = begun.next;
            }
            begun.next = begun.next.next();
        }
        begun.payload.start = begun.payload.end - unread.bytes();
        self.begun = Some(begun);
    }

    /// Goes on to the next frame with records. The caller knows that there is one, and that it is durable.
    fn begin_next_frame(&mut self, durable_end: u64) -> Result<(), ReadError> {
        loop {
            let mut cursor = match self.cursor.take() {
                Some(cursor) => cursor,
                None => self.seek()?,
            };
            let step = cursor.step(&mut self.window, durable_end);
            self.cursor = Some(cursor);
            match step? {
                Step::Records(begun) => {
                    self.begun = Some(begun);
                    return Ok(());
                }
                Step::Nothing => {}
                Step::Closed { .. } => self.cursor = None,
            }
        }
    }

    /// The start of the segment that holds the next record.
    fn seek(&mut self) -> Result<Cursor<F>, ReadError> {
        let segment = self.retained.segment_after(self.position)?;
        self.window.clear();
        Ok(Cursor::at_start_of(segment))
    }

    /// A segment that is no longer kept may be overwritten at any moment. That is no trouble for a reader that is
    /// done with it: its next record is in another one.
    fn leave_released_segment(&mut self) {
        let is_kept = |cursor: &Cursor<F>| self.retained.keeps(cursor.segment.header.segment_id);
        if !self.cursor.as_ref().is_some_and(is_kept) {
            self.cursor = None;
        }
    }

    /// Tells damage, which is everybody's, from a segment that was recycled under the reader.
    fn explain(&self, error: ReadError) -> ReadError {
        if !matches!(error, ReadError::Damaged { .. }) {
            return error;
        }
        let is_recycled = self
            .cursor
            .as_ref()
            .is_some_and(|cursor| !cursor.segment.is_still_itself());
        if is_recycled {
            return ReadError::Released {
                wanted: self.position.next(),
                first: self.retained.first(),
            };
        }
        self.retained.soundness.report_damage(&error.to_string());
        error
    }
}

impl<F: DiskFile> JournalReader for SegmentReader<F> {
    fn next_batch(
        &mut self,
        records_max: usize,
        records: &mut Records,
    ) -> Result<usize, ReadError> {
        records.clear();
        let (durable, durable_end) = self.retained.durable();
        self.leave_released_segment();
        self.drain_begun(records_max, records);
        while records.len() < records_max
            && records.bytes() < BATCH_BYTES_MAX
            && self.position < durable
        {
            match self.begin_next_frame(durable_end) {
                Ok(()) => self.drain_begun(records_max, records),
                // What was read before the trouble is good; the next call meets the trouble again.
                Err(_) if !records.is_empty() => break,
                Err(error) => return Err(self.explain(error)),
            }
        }
        Ok(records.len())
    }

    fn position(&self) -> Position {
        self.position
    }

    fn skip_released(&mut self) -> u64 {
        let first = self.retained.first();
        let skipped = first.get().saturating_sub(self.position.next().get());
        if skipped > 0 {
            self.position = self.position.plus(skipped);
            self.cursor = None;
            self.begun = None;
        }
        skipped
    }
}

/// What a frame had for the reader.
pub(super) enum Step {
    Records(Begun),
    Nothing,
    /// The segment ends here. `successor`: the checksum of the next one's header.
    Closed {
        successor: u32,
    },
}

impl<F: DiskFile> Cursor<F> {
    pub(super) fn at_start_of(segment: Arc<Segment<F>>) -> Self {
        let chain = segment.chain();
        Self {
            segment,
            offset: HEADER_BLOCK_BYTES,
            chain,
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads one frame and goes behind it. Stays where it is after an error.
    pub(super) fn step(
        &mut self,
        window: &mut Window,
        durable_end: u64,
    ) -> Result<Step, ReadError> {
        let limit = durable_end
            .saturating_sub(self.segment.base)
            .min(self.segment.header.segment_bytes);
        self.load_frame(window, limit)?;
        let start = window.index_of(self.offset);
        let frame = self
            .check_frame(&window.bytes[start..])
            .map_err(|flaw| self.damaged(flaw))?;
        let step = match frame.kind {
            FrameKind::Batch => {
                let payload_start = start + FRAME_HEADER_BYTES;
                Step::Records(Begun {
                    payload: payload_start..payload_start + frame.payload.len(),
                    next: frame.first,
                    checksum: frame.checksum,
                })
            }
            FrameKind::Seal => Step::Nothing,
            FrameKind::Close => Step::Closed {
                successor: frame.successor(),
            },
        };
        self.offset += frame.bytes();
        self.chain = self.chain.after(frame.checksum, frame.records);
        Ok(step)
    }

    fn check_frame<'a>(&self, bytes: &'a [u8]) -> Result<Frame<'a>, Flaw> {
        let frame = Frame::decode(bytes, self.segment.place(self.offset))?;
        self.chain.check(&frame)?;
        Ok(frame)
    }

    /// Brings the next frame into the window as a whole.
    fn load_frame(&self, window: &mut Window, limit: u64) -> Result<(), ReadError> {
        self.load(window, FRAME_HEADER_BYTES as u64, limit)?;
        let start = window.index_of(self.offset);
        let frame_bytes =
            claimed_bytes(&window.bytes[start..]).map_err(|flaw| self.damaged(flaw))?;
        self.load(window, frame_bytes, limit)
    }

    /// Makes sure that the window holds `bytes_wanted` from the next frame on.
    fn load(&self, window: &mut Window, bytes_wanted: u64, limit: u64) -> Result<(), ReadError> {
        if window.holds(self.offset, bytes_wanted) {
            return Ok(());
        }
        if self.offset + bytes_wanted > limit {
            return Err(self.damaged(Flaw::Truncated));
        }
        let window_bytes = bytes_wanted.max(CHUNK_BYTES).min(limit - self.offset);
        let filled = window.fill(&self.segment.file, self.offset, window_bytes);
        filled.map_err(io_failure::<ReadError>("read", self.segment.name()))?;
        if window.holds(self.offset, bytes_wanted) {
            Ok(())
        } else {
            Err(self.damaged(Flaw::Truncated))
        }
    }

    fn damaged(&self, flaw: Flaw) -> ReadError {
        ReadError::Damaged {
            segment: self.segment.name().to_string(),
            offset: self.offset,
            flaw,
        }
    }
}

impl<F: DiskFile> Segment<F> {
    /// Whether the file still starts with the header of this segment. A recycled one has another before it has
    /// anything else.
    pub(super) fn is_still_itself(&self) -> bool {
        let mut block = vec![0; length(HEADER_BLOCK_BYTES)];
        match self
            .file
            .read_at(&mut block, 0)
            .map(|_| SegmentHeader::decode(&block))
        {
            Ok(Ok((header, _))) => header == self.header,
            // Unreadable is not recycled: that is for the error at hand to say.
            Ok(Err(_)) | Err(_) => true,
        }
    }
}

impl Window {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    fn holds(&self, offset: u64, bytes: u64) -> bool {
        offset >= self.offset && offset + bytes <= self.offset + self.bytes.len() as u64
    }

    /// For an offset that the window holds.
    fn index_of(&self, offset: u64) -> usize {
        length(offset - self.offset)
    }

    fn fill(&mut self, file: &impl DiskFile, offset: u64, bytes: u64) -> std::io::Result<()> {
        self.offset = offset;
        self.bytes.clear();
        self.bytes.resize(length(bytes), 0);
        let read = file.read_at(&mut self.bytes, offset);
        // What was not read must not pass for zeros on the disk.
        self.bytes.truncate(*read.as_ref().unwrap_or(&0));
        read.map(|_| ())
    }
}
