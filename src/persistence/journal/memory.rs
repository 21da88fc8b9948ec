//! The contract of a journal without a disk, for tests of what stands on it.
//!
//! "Durable" means: still there after [`MemoryJournal::restart`]. One failure can be planned ahead.

use std::{collections::VecDeque, io, sync::Arc};

use parking_lot::Mutex;

use super::batch::{BATCH_BYTES_MAX, RECORD_PREFIX_BYTES};
use super::format::RecordsIn;
use super::{Batch, IoFailure, Journal, JournalError, JournalReader, Position, ReadError, Records};

/// What becomes of the batch whose `append` fails. The caller cannot tell; both happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFault {
    /// It is gone after a restart.
    Lost,
    /// It is there after a restart, though its caller was told that it failed.
    Kept,
}

#[derive(Debug, Default)]
pub struct MemoryJournal {
    log: Arc<Mutex<Log>>,
    released: Position,
    /// Released records are kept until there are this many newer ones.
    retention_records: u64,
    appends: u64,
    planned: Option<(u64, AppendFault)>,
    failed: bool,
    /// The batch of a failed append that will turn out to be durable.
    kept: Vec<Vec<u8>>,
}

/// What readers see.
#[derive(Debug, Default)]
struct Log {
    /// The position before the oldest record.
    before_first: Position,
    records: VecDeque<Vec<u8>>,
}

impl MemoryJournal {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_retention(retention_records: u64) -> Self {
        Self {
            retention_records,
            ..Self::default()
        }
    }

    /// The `nth` append from now on fails, counted from 1; so does everything after it.
    pub fn fail_append(&mut self, nth: u64, fault: AppendFault) {
        self.planned = Some((self.appends + nth, fault));
    }

    /// The journal as a restarted process finds it: the same records, no failure, nothing planned.
    pub fn restart(self) -> Self {
        self.log.lock().records.extend(self.kept);
        Self {
            log: self.log,
            released: self.released,
            retention_records: self.retention_records,
            ..Self::default()
        }
    }

    fn planned_fault(&self) -> Option<AppendFault> {
        self.planned
            .and_then(|(nth, fault)| (nth == self.appends).then_some(fault))
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, batch: &Batch) -> Result<Position, JournalError> {
        if self.failed {
            return Err(JournalError::Failed);
        }
        if batch.is_empty() {
            return Ok(self.position());
        }
        self.appends += 1;
        let records = RecordsIn::new(batch.payload()).map(<[u8]>::to_vec);
        match self.planned_fault() {
            None => self.log.lock().records.extend(records),
            Some(AppendFault::Kept) => self.kept.extend(records),
            Some(AppendFault::Lost) => {}
        }
        if self.planned_fault().is_some() {
            self.failed = true;
            return Err(planned_failure());
        }
        Ok(self.position())
    }

    fn seal(&mut self) -> Result<(), JournalError> {
        if self.failed {
            Err(JournalError::Failed)
        } else {
            Ok(())
        }
    }

    fn position(&self) -> Position {
        self.log.lock().last()
    }

    fn release_through(&mut self, position: Position) {
        let mut log = self.log.lock();
        self.released = self.released.max(position.min(log.last()));
        let keep_after = log.last().get().saturating_sub(self.retention_records);
        log.forget_through(self.released.min(Position::new(keep_after)));
    }

    fn bytes_after(&self, position: Position) -> u64 {
        let log = self.log.lock();
        let skipped = position.get().saturating_sub(log.before_first.get());
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        log.records
            .iter()
            .skip(skipped)
            .map(|record| (RECORD_PREFIX_BYTES + record.len()) as u64)
            .sum()
    }

    fn reader(&self, after: Position) -> Result<Box<dyn JournalReader>, ReadError> {
        self.log.lock().check_readable(after)?;
        Ok(Box::new(MemoryReader {
            log: Arc::clone(&self.log),
            position: after,
        }))
    }
}

fn planned_failure() -> JournalError {
    let source = io::Error::other("a planned failure");
    JournalError::Io(IoFailure {
        action: "append to",
        file: "memory".to_owned(),
        source,
    })
}

impl Log {
    fn last(&self) -> Position {
        self.before_first.plus(self.records.len() as u64)
    }

    fn forget_through(&mut self, position: Position) {
        while self.before_first < position && self.records.pop_front().is_some() {
            self.before_first = self.before_first.next();
        }
    }

    fn check_readable(&self, after: Position) -> Result<(), ReadError> {
        if after > self.last() {
            return Err(ReadError::Ahead {
                after,
                last: self.last(),
            });
        }
        if after < self.before_first {
            return Err(ReadError::Released {
                wanted: after.next(),
                first: self.before_first.next(),
            });
        }
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryReader {
    log: Arc<Mutex<Log>>,
    position: Position,
}

impl JournalReader for MemoryReader {
    fn next_batch(
        &mut self,
        records_max: usize,
        records: &mut Records,
    ) -> Result<usize, ReadError> {
        records.clear();
        let log = self.log.lock();
        log.check_readable(self.position)?;
        let skipped =
            usize::try_from(self.position.get() - log.before_first.get()).unwrap_or(usize::MAX);
        for record in log.records.iter().skip(skipped).take(records_max) {
            if records.bytes() >= BATCH_BYTES_MAX {
                break;
            }
            self.position = self.position.next();
            records.push(self.position, record);
        }
        Ok(records.len())
    }

    fn position(&self) -> Position {
        self.position
    }

    fn skip_released(&mut self) -> u64 {
        let before_first = self.log.lock().before_first;
        let skipped = before_first.get().saturating_sub(self.position.get());
        self.position = self.position.max(before_first);
        skipped
    }
}
