//! What is on the simulated disk, and what becomes of it.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{FaultPlan, FaultsFired, WriteFault};
use crate::persistence::journal::format::{SECTOR_BYTES, length};

#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: StdRng,
    pub(super) plan: FaultPlan,
    /// Calls since the plan was made.
    pub(super) calls: u64,
    pub(super) writes: u64,
    pub(super) syncs: u64,
    pub(super) bytes_read: u64,
    pub(super) name_changes: u64,
    pub(super) fired: FaultsFired,
    pub(super) power_is_off: bool,
    /// Room for new files, as the disk says; writes do not use it up.
    pub(super) free_bytes: u64,
    /// Counts the crashes; handles from before one are dead.
    pub(super) epoch: u64,
    pub(super) is_locked: bool,
    pub(super) next_inode: u64,
    pub(super) inodes: HashMap<u64, Inode>,
    /// The names that a running process sees.
    pub(super) names: BTreeMap<String, u64>,
    pub(super) names_durable: BTreeMap<String, u64>,
    /// Changes of names since the last sync of the directory.
    names_unsynced: Vec<NameChange>,
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) content: Vec<u8>,
    pub(super) durable: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Debug, Clone)]
struct Write {
    offset: usize,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Added {
        name: String,
        inode: u64,
    },
    Moved {
        from: String,
        to: String,
        inode: u64,
    },
    Removed {
        name: String,
    },
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            plan: FaultPlan::default(),
            calls: 0,
            writes: 0,
            syncs: 0,
            bytes_read: 0,
            name_changes: 0,
            fired: FaultsFired::default(),
            power_is_off: false,
            free_bytes: u64::MAX,
            epoch: 0,
            is_locked: false,
            next_inode: 0,
            inodes: HashMap::new(),
            names: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            names_unsynced: Vec::new(),
        }
    }

    /// Puts a durable file under a name.
    pub(super) fn put(&mut self, name: String, bytes: &[u8]) {
        let inode = self.new_inode();
        let (content, durable) = (bytes.to_vec(), bytes.to_vec());
        self.inodes.insert(
            inode,
            Inode {
                content,
                durable,
                unsynced: Vec::new(),
            },
        );
        self.names.insert(name.clone(), inode);
        self.names_durable.insert(name, inode);
    }

    pub(super) fn begin_call(&mut self, epoch: u64) -> io::Result<()> {
        if epoch != self.epoch || self.power_is_off {
            self.calls += 1;
            return Err(power_is_off());
        }
        self.calls += 1;
        if self.is_at_power_cut() {
            self.power_is_off = true;
            self.fired.power_cuts += 1;
            return Err(power_is_off());
        }
        Ok(())
    }

    pub(super) fn is_at_power_cut(&self) -> bool {
        self.plan.power_cut == Some(self.calls)
    }

    pub(super) fn new_inode(&mut self) -> u64 {
        self.next_inode += 1;
        self.next_inode
    }

    pub(super) fn inode(&mut self, inode: u64) -> &mut Inode {
        self.inodes.entry(inode).or_default()
    }

    pub(super) fn find(&self, name: &str) -> io::Result<u64> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    pub(super) fn create(&mut self, name: String) -> io::Result<u64> {
        if self.names.contains_key(&name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let inode = self.new_inode();
        self.inodes.insert(inode, Inode::default());
        self.change_name(NameChange::Added { name, inode })?;
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: String, to: String) -> io::Result<()> {
        let inode = self.find(&from)?;
        self.change_name(NameChange::Moved { from, to, inode })
    }

    pub(super) fn remove(&mut self, name: String) -> io::Result<()> {
        self.find(&name)?;
        self.change_name(NameChange::Removed { name })
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        self.name_changes += 1;
        if self.plan.name_change == Some(self.name_changes) {
            self.fired.name_changes_refused += 1;
            return Err(input_output_error());
        }
        change.apply(&mut self.names);
        self.names_unsynced.push(change);
        Ok(())
    }

    pub(super) fn sync_names(&mut self) -> io::Result<()> {
        self.begin_sync()?;
        for change in std::mem::take(&mut self.names_unsynced) {
            change.apply(&mut self.names_durable);
        }
        Ok(())
    }

    fn begin_sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        if self.plan.sync == Some(self.syncs) {
            self.fired.syncs_failed += 1;
            return Err(input_output_error());
        }
        Ok(())
    }

    pub(super) fn sync_inode(&mut self, inode: u64) -> io::Result<()> {
        let synced = self.begin_sync();
        if synced.is_err() {
            self.settle(inode);
        }
        let inode = self.inode(inode);
        for write in std::mem::take(&mut inode.unsynced) {
            write.apply(&mut inode.durable);
        }
        synced
    }

    pub(super) fn write(&mut self, inode: u64, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.writes += 1;
        let fault = self
            .plan
            .write
            .and_then(|(nth, fault)| (nth == self.writes).then_some(fault));
        let (written, outcome) = match fault {
            None => (bytes.len(), Ok(())),
            Some(WriteFault::Broken) => {
                self.fired.writes_broken += 1;
                (0, Err(input_output_error()))
            }
            Some(WriteFault::Lost) => {
                self.fired.writes_lost += 1;
                (0, Ok(()))
            }
            Some(WriteFault::Full) => {
                self.fired.writes_cut_short += 1;
                (
                    self.rng.random_range(0..bytes.len().max(1)),
                    Err(io::Error::from(io::ErrorKind::StorageFull)),
                )
            }
        };
        let write = Write {
            offset,
            bytes: bytes[..written].to_vec(),
        };
        let inode = self.inode(inode);
        write.apply(&mut inode.content);
        inode.unsynced.push(write);
        outcome
    }

    pub(super) fn crash(&mut self) {
        let inodes: Vec<u64> = self.inodes.keys().copied().collect();
        let mut in_order = inodes;
        in_order.sort_unstable();
        for inode in in_order {
            self.settle(inode);
            let inode = self.inode(inode);
            inode.content = inode.durable.clone();
        }
        self.settle_names();
        self.forget_unnamed();
        self.plan = FaultPlan::default();
        self.power_is_off = false;
        self.is_locked = false;
        self.epoch += 1;
    }

    /// Draws what became of the unsynced writes of a file.
    fn settle(&mut self, inode: u64) {
        let unsynced = std::mem::take(&mut self.inode(inode).unsynced);
        for write in unsynced {
            let fate = self.draw_fate();
            let seed = self.rng.random();
            let durable = &mut self.inode(inode).durable;
            write.apply_partly(durable, fate, &mut StdRng::seed_from_u64(seed));
        }
    }

    fn draw_fate(&mut self) -> Fate {
        let fate = match self.rng.random_range(0..5) {
            0 => Fate::Kept,
            1 => Fate::Dropped,
            2 => Fate::Torn,
            3 => Fate::Scattered,
            _ => Fate::Zeroed,
        };
        let counter = match fate {
            Fate::Kept => &mut self.fired.writes_kept,
            Fate::Dropped => &mut self.fired.writes_dropped,
            Fate::Torn => &mut self.fired.writes_torn,
            Fate::Scattered => &mut self.fired.writes_scattered,
            Fate::Zeroed => &mut self.fired.writes_zeroed,
        };
        *counter += 1;
        fate
    }

    /// Half of the time names survive in order, as with a metadata journal; half of the time any of them may be lost.
    fn settle_names(&mut self) {
        let changes = std::mem::take(&mut self.names_unsynced);
        let kept_in_order = self.rng.random_range(0..=changes.len());
        let is_in_order = self.rng.random_bool(0.5);
        for (index, change) in changes.into_iter().enumerate() {
            let is_kept = if is_in_order {
                index < kept_in_order
            } else {
                self.rng.random_bool(0.5)
            };
            if is_kept {
                change.apply(&mut self.names_durable);
            } else {
                self.fired.names_lost += 1;
            }
        }
        self.names = self.names_durable.clone();
    }

    fn forget_unnamed(&mut self) {
        let names = &self.names;
        self.inodes
            .retain(|inode, _| names.values().any(|named| named == inode));
    }
}

/// What became of a write that was not synced.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Kept,
    Dropped,
    /// Up to a sector.
    Torn,
    /// Some sectors, in no order.
    Scattered,
    /// The file has its length, but zeros where the bytes should be.
    Zeroed,
}

impl Write {
    fn apply(&self, content: &mut Vec<u8>) {
        self.grow(content);
        content[self.offset..self.offset + self.bytes.len()].copy_from_slice(&self.bytes);
    }

    fn grow(&self, content: &mut Vec<u8>) {
        let end = self.offset + self.bytes.len();
        content.resize(content.len().max(end), 0);
    }

    fn apply_partly(&self, durable: &mut Vec<u8>, fate: Fate, rng: &mut StdRng) {
        if matches!(fate, Fate::Dropped) {
            return;
        }
        self.grow(durable);
        let sectors = self.sectors();
        let sectors_kept = rng.random_range(0..=sectors.len());
        for (index, (start, end)) in sectors.into_iter().enumerate() {
            let new = &self.bytes[start - self.offset..end - self.offset];
            let is_kept = match fate {
                Fate::Kept => true,
                Fate::Torn => index < sectors_kept,
                Fate::Scattered => rng.random_bool(0.5),
                Fate::Dropped | Fate::Zeroed => false,
            };
            if is_kept {
                durable[start..end].copy_from_slice(new);
            } else if matches!(fate, Fate::Zeroed) && durable[start..end] != *new {
                // A sector that is written with what it holds already keeps it: see the contract of `Disk`.
                durable[start..end].fill(0);
            }
        }
    }

    /// The write cut at the borders of sectors, as ranges of the file.
    fn sectors(&self) -> Vec<(usize, usize)> {
        let sector_bytes = length(SECTOR_BYTES);
        let end = self.offset + self.bytes.len();
        let mut sectors = Vec::with_capacity(self.bytes.len() / sector_bytes + 2);
        let mut start = self.offset;
        while start < end {
            let border = (start / sector_bytes + 1) * sector_bytes;
            sectors.push((start, border.min(end)));
            start = border;
        }
        sectors
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Added { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Moved { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            Self::Removed { name } => {
                names.remove(name);
            }
        }
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

fn input_output_error() -> io::Error {
    io::Error::from(rustix::io::Errno::IO)
}
