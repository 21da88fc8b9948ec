//! The contract of a journal without a disk, for tests of what stands on it.
//!
//! "Durable" means: still there after [`MemoryJournal::restart`]. One failure can be planned ahead.

use std::{collections::VecDeque, io, sync::Arc};

use parking_lot::Mutex;

use super::batch::{BATCH_BYTES_MAX, RECORD_PREFIX_BYTES};
use super::format::RecordsIn;
use super::soundness::Soundness;
use super::{
    Batch, IoFailure, Journal, JournalError, JournalId, JournalReader, JournalView, Position,
    ReadError, Records, View,
};

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
    shared: Arc<SharedLog>,
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
struct SharedLog {
    id: u64,
    log: Mutex<Log>,
    soundness: Soundness,
}

#[derive(Debug, Default, Clone)]
struct Log {
    /// The position before the oldest record.
    before_first: Position,
    records: VecDeque<Kept>,
    /// Checksum of the last batch, under which the next one goes on.
    checksum: u32,
}

/// A record and the checksum of its batch.
#[derive(Debug, Clone)]
struct Kept {
    record: Vec<u8>,
    checksum: u32,
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

    /// Empty, and another journal than all without an id or with another.
    pub fn with_id(id: u64) -> Self {
        Self {
            shared: Arc::new(SharedLog {
                id,
                ..SharedLog::default()
            }),
            ..Self::default()
        }
    }

    /// A copy that goes its own way, as when somebody starts a second server on a copied directory.
    pub fn fork(&self) -> Self {
        let log = self.shared.log.lock().clone();
        Self {
            shared: Arc::new(SharedLog {
                id: self.shared.id,
                log: Mutex::new(log),
                soundness: Soundness::default(),
            }),
            released: self.released,
            retention_records: self.retention_records,
            ..Self::default()
        }
    }

    /// The `nth` append from now on fails, counted from 1; so does everything after it.
    pub fn fail_append(&mut self, nth: u64, fault: AppendFault) {
        self.planned = Some((self.appends + nth, fault));
    }

    /// The journal as a restarted process finds it: the same records, no failure, nothing planned.
    pub fn restart(self) -> Self {
        let kept = self.kept.iter().map(Vec::as_slice);
        self.shared.log.lock().append(kept);
        self.fork()
    }

    fn refuse_if_failed(&mut self) -> Result<(), JournalError> {
        if self.failed {
            return Err(JournalError::Failed);
        }
        let Some(reason) = self.shared.soundness.damage() else {
            return Ok(());
        };
        self.failed = true;
        Err(JournalError::Damaged {
            reason: Arc::clone(reason),
        })
    }

    fn planned_fault(&self) -> Option<AppendFault> {
        self.planned
            .and_then(|(nth, fault)| (nth == self.appends).then_some(fault))
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, batch: &Batch) -> Result<Position, JournalError> {
        self.refuse_if_failed()?;
        if batch.is_empty() {
            return Ok(self.position());
        }
        self.appends += 1;
        let records = RecordsIn::new(batch.payload());
        match self.planned_fault() {
            None => self.shared.log.lock().append(records),
            Some(AppendFault::Kept) => self.kept.extend(records.map(<[u8]>::to_vec)),
            Some(AppendFault::Lost) => {}
        }
        if self.planned_fault().is_some() {
            self.failed = true;
            return Err(planned_failure());
        }
        Ok(self.position())
    }

    fn seal(&mut self) -> Result<(), JournalError> {
        self.refuse_if_failed()
    }

    fn position(&self) -> Position {
        self.shared.log.lock().last()
    }

    fn release_through(&mut self, position: Position) {
        let mut log = self.shared.log.lock();
        self.released = position.min(log.last());
        let keep_after = log.last().get().saturating_sub(self.retention_records);
        // The record at the released position stays, for whoever stands there and compares its frame.
        let released = self.released.get().saturating_sub(1);
        log.forget_through(Position::new(released.min(keep_after)));
    }

    fn has_room(&mut self) -> bool {
        true
    }

    fn bytes_after(&self, position: Position) -> u64 {
        let log = self.shared.log.lock();
        log.records_after(position)
            .map(|kept| (RECORD_PREFIX_BYTES + kept.record.len()) as u64)
            .sum()
    }

    fn view(&self) -> View {
        Arc::new(Arc::clone(&self.shared))
    }
}

impl JournalView for Arc<SharedLog> {
    fn id(&self) -> JournalId {
        JournalId::new(self.id)
    }

    fn last(&self) -> Position {
        self.log.lock().last()
    }

    fn reader(&self, after: Position) -> Result<Box<dyn JournalReader>, ReadError> {
        self.log.lock().check_readable(after)?;
        Ok(Box::new(MemoryReader {
            shared: Self::clone(self),
            position: after,
        }))
    }

    fn frame_at(&self, position: Position) -> Result<u32, ReadError> {
        let Some(before) = position.get().checked_sub(1) else {
            return Ok(0);
        };
        let log = self.log.lock();
        log.check_readable(Position::new(before))?;
        let kept = log.records_after(Position::new(before)).next();
        kept.map(|it| it.checksum).ok_or_else(|| ReadError::Ahead {
            after: position,
            last: log.last(),
        })
    }

    fn report_damage(&self, reason: &str) {
        self.soundness.report_damage(reason);
    }

    fn damage(&self) -> Option<Arc<str>> {
        self.soundness.damage().cloned()
    }

    fn unchecked_segments(&self) -> usize {
        0
    }

    fn on_damage(&self, tell: Box<dyn Fn() + Send + Sync>) {
        self.soundness.on_damage(tell);
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

    fn append<'r>(&mut self, records: impl Iterator<Item = &'r [u8]>) {
        let records: Vec<&[u8]> = records.collect();
        if records.is_empty() {
            return;
        }
        let payload = [&self.checksum.to_le_bytes()[..], &records.concat()].concat();
        self.checksum = crc_fast::crc32_iscsi(&payload);
        let checksum = self.checksum;
        self.records.extend(records.into_iter().map(|record| Kept {
            record: record.to_vec(),
            checksum,
        }));
    }

    fn records_after(&self, position: Position) -> impl Iterator<Item = &Kept> {
        let skipped = position.get().saturating_sub(self.before_first.get());
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        self.records.iter().skip(skipped)
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
    shared: Arc<SharedLog>,
    position: Position,
}

impl JournalReader for MemoryReader {
    fn next_batch(
        &mut self,
        records_max: usize,
        records: &mut Records,
    ) -> Result<usize, ReadError> {
        records.clear();
        let log = self.shared.log.lock();
        log.check_readable(self.position)?;
        for kept in log.records_after(self.position).take(records_max) {
            if records.bytes() >= BATCH_BYTES_MAX {
                break;
            }
            self.position = self.position.next();
            records.push(self.position, &kept.record, kept.checksum);
        }
        Ok(records.len())
    }

    fn position(&self) -> Position {
        self.position
    }

    fn skip_released(&mut self) -> u64 {
        let before_first = self.shared.log.lock().before_first;
        let skipped = before_first.get().saturating_sub(self.position.get());
        self.position = self.position.max(before_first);
        skipped
    }
}
