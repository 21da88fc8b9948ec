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

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn push(&mut self, position: Position, record: &[u8]) {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_with_their_positions() {
        let mut records = Records::new();
        assert_eq!((records.len(), records.last()), (0, None));
        records.push(Position::new(7), b"seven");
        records.push(Position::new(8), b"");
        records.push(Position::new(9), b"nine");
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
        records.clear();
        records.push(Position::new(1), b"again");
        assert_eq!(
            records.iter().next(),
            Some((Position::new(1), &b"again"[..]))
        );
    }
}
