//! What the writer shares with its readers: how far the log is durable, and which segments are kept.
//!
//! **Invariant:** the writer publishes a position only after the fsync that made it durable. Readers go by what is
//! published, never by what they find in a file.
//!
//! The lock is taken at a switch of segments, at a release and when a reader goes on to another segment; an append
//! costs two atomic stores.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use super::format::{Chain, FramePlace, HEADER_BLOCK_BYTES, SegmentHeader, SegmentName};
use super::soundness::Soundness;
use super::{JournalId, Position, ReadError};

/// A segment that is kept.
#[derive(Debug)]
pub(super) struct Segment<F> {
    pub(super) header: SegmentHeader,
    /// Checksum of the header block, where the chain of this segment starts.
    pub(super) header_checksum: u32,
    /// Bytes of all segments before this one since the journal was opened. Makes one line of all offsets.
    pub(super) base: u64,
    pub(super) file: F,
}

impl<F> Segment<F> {
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

    pub(super) fn chain(&self) -> Chain {
        Chain {
            previous: self.header_checksum,
            next: self.header.first,
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.base + self.header.segment_bytes
    }
}

#[derive(Debug)]
pub(super) struct Retained<F> {
    /// Sequence of the last durable record.
    durable_position: AtomicU64,
    /// End of the last durable frame: base of its segment plus offset.
    durable_end: AtomicU64,
    /// Oldest first, without gaps, never empty.
    segments: Mutex<VecDeque<Arc<Segment<F>>>>,
    pub(super) journal_id: JournalId,
    pub(super) soundness: Soundness,
    /// Segments that nobody has read since the start.
    pub(super) unchecked: AtomicUsize,
}

impl<F> Retained<F> {
    pub(super) fn new(
        segments: VecDeque<Arc<Segment<F>>>,
        position: Position,
        durable_end: u64,
    ) -> Self {
        let newest = segments.back().expect("a journal has a segment");
        let journal_id = JournalId::new(newest.header.journal_id);
        Self {
            durable_position: AtomicU64::new(position.get()),
            durable_end: AtomicU64::new(durable_end),
            segments: Mutex::new(segments),
            journal_id,
            soundness: Soundness::default(),
            unchecked: AtomicUsize::new(0),
        }
    }

    /// Says that everything up to here is durable. The end goes first: who sees the position sees at least its end.
    pub(super) fn publish(&self, position: Position, durable_end: u64) {
        self.durable_end.store(durable_end, Ordering::Release);
        self.durable_position
            .store(position.get(), Ordering::Release);
    }

    /// The last durable record, and an offset at or behind its end up to which everything is durable.
    pub(super) fn durable(&self) -> (Position, u64) {
        let position = self.durable_position.load(Ordering::Acquire);
        (
            Position::new(position),
            self.durable_end.load(Ordering::Acquire),
        )
    }

    pub(super) fn newest(&self) -> Arc<Segment<F>> {
        self.segments
            .lock()
            .back()
            .map(Arc::clone)
            .expect("a journal has a segment")
    }

    pub(super) fn push(&self, segment: Arc<Segment<F>>) {
        self.segments.lock().push_back(segment);
    }

    /// Takes out the oldest segment if all its records are below `released` and the segments after it make up
    /// for `retention_bytes`. The newest one stays in any case, and so does the one that holds the record at `released`:
    /// whoever stands there finds its frame, to compare it.
    pub(super) fn pop_released(
        &self,
        released: Position,
        retention_bytes: u64,
    ) -> Option<Arc<Segment<F>>> {
        let mut segments = self.segments.lock();
        let (oldest, second, newest) = (segments.front()?, segments.get(1)?, segments.back()?);
        let is_released = second.header.first <= released;
        let is_old = newest.end() - oldest.end() >= retention_bytes;
        if is_released && is_old {
            segments.pop_front()
        } else {
            None
        }
    }

    /// The segment that holds the record after `after`, or will hold it.
    pub(super) fn segment_after(&self, after: Position) -> Result<Arc<Segment<F>>, ReadError> {
        let (last, _) = self.durable();
        if after > last {
            return Err(ReadError::Ahead { after, last });
        }
        let segments = self.segments.lock();
        let holder = segments
            .iter()
            .rev()
            .find(|segment| segment.header.first <= after.next());
        holder.cloned().ok_or_else(|| ReadError::Released {
            wanted: after.next(),
            first: first_of(&segments),
        })
    }

    /// Gives the oldest `count` segments, which nobody has read yet, and the one behind them.
    pub(super) fn leave_unchecked(&self, count: usize) -> Vec<Arc<Segment<F>>> {
        self.unchecked.store(count, Ordering::Relaxed);
        let wanted = if count == 0 { 0 } else { count + 1 };
        let segments = self.segments.lock();
        segments.iter().take(wanted).cloned().collect()
    }

    pub(super) fn keeps(&self, segment_id: u64) -> bool {
        let segments = self.segments.lock();
        segments
            .front()
            .is_some_and(|oldest| oldest.header.segment_id <= segment_id)
    }

    pub(super) fn first(&self) -> Position {
        first_of(&self.segments.lock())
    }

    /// Bytes behind `position`, taking the records of a segment as equally long.
    pub(super) fn bytes_after(&self, position: Position) -> u64 {
        let (last, durable_end) = self.durable();
        if position >= last {
            return 0;
        }
        let segments = self.segments.lock();
        let index = segments
            .iter()
            .rposition(|segment| segment.header.first <= position.next())
            .unwrap_or(0);
        let Some(holder) = segments.get(index) else {
            return 0;
        };
        let (end, next) = match segments.get(index + 1) {
            Some(after) => (holder.end(), after.header.first),
            None => (durable_end, last.next()),
        };
        let start = holder.base + HEADER_BLOCK_BYTES;
        let records = next.get() - holder.header.first.get();
        let records_after = next
            .get()
            .saturating_sub(position.next().get())
            .min(records);
        let share = u128::from(end.saturating_sub(start)) * u128::from(records_after)
            / u128::from(records.max(1));
        durable_end.saturating_sub(end) + u64::try_from(share).unwrap_or(u64::MAX)
    }
}

fn first_of<F>(segments: &VecDeque<Arc<Segment<F>>>) -> Position {
    segments
        .front()
        .map_or(Position::ZERO, |segment| segment.header.first)
}
