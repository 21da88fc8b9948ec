//! Records on their way into the journal.
//!
//! The caller keeps one `Batch` and reuses it: records are encoded straight into its buffer, already in the form
//! in which they are written, so a batch costs no allocation once the buffer has grown.

/// Bytes of a batch at most, the four bytes of length before each record included.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Bytes of one record at most.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

pub(super) const RECORD_PREFIX_BYTES: usize = size_of::<u32>();

/// Records that become durable together, in the order in which they were pushed.
#[derive(Debug, Default)]
pub struct Batch {
    /// Each record behind its length as a little-endian `u32`.
    bytes: Vec<u8>,
    records: u32,
}

/// Why a record was not taken. The batch is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("a record of {record_bytes} bytes is over the limit of {RECORD_BYTES_MAX}")]
    RecordTooLarge { record_bytes: usize },
    #[error(
        "the batch is full: {batch_bytes} of {BATCH_BYTES_MAX} bytes are taken; append it first"
    )]
    Full { batch_bytes: usize },
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            records: 0,
        }
    }

    /// Adds the record that `encode` appends to the buffer. What is already in the buffer belongs to other
    /// records and must stay as it is.
    ///
    /// Cannot fail for a record within `RECORD_BYTES_MAX` while `is_full()` is false.
    pub fn push_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), BatchError> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_PREFIX_BYTES]);
        encode(&mut self.bytes);
        let pushed = self.close_record(start);
        if pushed.is_err() {
            self.bytes.truncate(start);
        }
        pushed
    }

    /// Adds a record that is already encoded.
    pub fn push(&mut self, record: &[u8]) -> Result<(), BatchError> {
        self.push_with(|buffer| buffer.extend_from_slice(record))
    }

    pub fn len(&self) -> usize {
        self.records as usize
    }

    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether a record of the largest size might no longer fit.
    pub fn is_full(&self) -> bool {
        self.bytes.len() + RECORD_PREFIX_BYTES + RECORD_BYTES_MAX > BATCH_BYTES_MAX
    }

    /// The bytes taken so far.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the records, keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records = 0;
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn record_count(&self) -> u32 {
        self.records
    }

    fn close_record(&mut self, start: usize) -> Result<(), BatchError> {
        let body = start + RECORD_PREFIX_BYTES;
        assert!(
            self.bytes.len() >= body,
            "an encoder shortened the buffer of its batch"
        );
        let record_bytes = self.bytes.len() - body;
        if record_bytes > RECORD_BYTES_MAX {
            return Err(BatchError::RecordTooLarge { record_bytes });
        }
        if self.bytes.len() > BATCH_BYTES_MAX {
            return Err(BatchError::Full { batch_bytes: start });
        }
        let Ok(prefix) = u32::try_from(record_bytes) else {
            return Err(BatchError::RecordTooLarge { record_bytes });
        };
        self.bytes[start..body].copy_from_slice(&prefix.to_le_bytes());
        self.records += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_over_the_limit_leaves_the_batch_as_it_was() {
        let mut batch = Batch::new();
        batch.push(b"one").expect("small");
        let refused =
            batch.push_with(|buffer| buffer.resize(buffer.len() + RECORD_BYTES_MAX + 1, 7));
        assert_eq!(
            refused,
            Err(BatchError::RecordTooLarge {
                record_bytes: RECORD_BYTES_MAX + 1
            })
        );
        assert_eq!((batch.len(), batch.bytes()), (1, 7));
    }

    #[test]
    fn a_batch_that_is_not_full_takes_the_largest_record() {
        let mut batch = Batch::new();
        let largest = vec![1; RECORD_BYTES_MAX];
        while !batch.is_full() {
            batch.push(&largest).expect("not full");
        }
        assert!(batch.bytes() <= BATCH_BYTES_MAX);
        assert_eq!(
            batch.push(&largest),
            Err(BatchError::Full {
                batch_bytes: batch.bytes()
            })
        );
        batch
            .push(b"a small one still fits")
            .expect("there is room for it");
    }

    #[test]
    fn clearing_keeps_the_buffer() {
        let mut batch = Batch::with_capacity(64);
        batch.push(b"").expect("an empty record is a record");
        assert!(!batch.is_empty());
        batch.clear();
        assert!(batch.is_empty() && batch.bytes() == 0);
    }
}
