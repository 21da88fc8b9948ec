//! Records on their way out of the journal.
//!
//! One buffer that a reader fills again and again, so that following the log allocates nothing.

use super::Position;

/// Consecutive records, filled by [`super::JournalReader::next_batch`].
#[derive(Debug, Default)]
pub struct Records {
    /// Position of the first record, if there is one.
    first: Position,
    /// All records, one behind the other.
    bytes: Vec<u8>,
    /// Where each record ends in `bytes`.
    ends: Vec<usize>,
    frames: Frames,
}

/// Which frames of the journal consecutive records came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frames {
    /// For each frame the last of the records, and its checksum.
    runs: Vec<(Position, u32)>,
}

impl Frames {
    /// The checksum of the frame that holds the record at `position`, if it is among the records.
    pub fn checksum_at(&self, position: Position) -> Option<u32> {
        let run = self.runs.partition_point(|(last, _)| *last < position);
        self.runs.get(run).map(|(_, checksum)| *checksum)
    }

    fn note(&mut self, position: Position, checksum: u32) {
        match self.runs.last_mut() {
            Some((last, known)) if *known == checksum => *last = position,
            _ => self.runs.push((position, checksum)),
        }
    }
}

impl Records {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all records together.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The position of the last record, if there is one.
    pub fn last(&self) -> Option<Position> {
        let after_first = self.len().checked_sub(1)?;
        Some(self.first.plus(after_first as u64))
    }

    /// Each record with its position, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Position, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = starts.zip(self.ends.iter().copied());
        ranges
            .zip(self.first.get()..)
            .map(|((start, end), sequence)| (Position::new(sequence), &self.bytes[start..end]))
    }

    pub fn frames(&self) -> &Frames {
        &self.frames
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.frames.runs.clear();
    }

    /// `frame`: the checksum of the frame that holds the record.
    pub(super) fn push(&mut self, position: Position, record: &[u8], frame: u32) {
        if self.is_empty() {
            self.first = position;
        }
        assert_eq!(
            position,
            self.first.plus(self.len() as u64),
            "a reader skipped a record"
        );
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
        self.frames.note(position, frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_with_their_positions() {
        let mut records = Records::new();
        assert_eq!((records.len(), records.last()), (0, None));
        records.push(Position::new(7), b"seven", 70);
        records.push(Position::new(8), b"", 70);
        records.push(Position::new(9), b"nine", 90);
        let seen: Vec<_> = records.iter().collect();
        assert_eq!(
            seen,
            [
                (Position::new(7), &b"seven"[..]),
                (Position::new(8), b""),
                (Position::new(9), b"nine")
            ]
        );
        assert_eq!(
            (records.last(), records.bytes()),
            (Some(Position::new(9)), 9)
        );
        let frame_of = |position| records.frames().checksum_at(Position::new(position));
        assert_eq!([7, 8, 9].map(frame_of), [Some(70), Some(70), Some(90)]);
        assert_eq!(frame_of(10), None);
        records.clear();
        records.push(Position::new(1), b"again", 10);
        assert_eq!(
            records.iter().next(),
            Some((Position::new(1), &b"again"[..]))
        );
    }
}
