//! A disk in memory that keeps the promises of [`Disk`] and not one more.
//!
//! Two views of every file: what a running process reads (the page cache), and what a power cut leaves. A sync makes
//! them equal; [`SimDisk::crash`] draws from the seed what became of each write that was not synced.
//! Every fault that fires is counted: a green run in which nothing fired says nothing.
//!
//! Deliberately absent: time, threads of its own, and bit rot by itself (damage files with [`SimDisk::write_file`]).

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::Arc,
};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::format::SECTOR_BYTES;
use super::{Disk, DiskFile};

/// What is to go wrong, counted in calls from the moment of [`SimDisk::plan`], the next one being number 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct FaultPlan {
    /// Fails a write.
    pub write: Option<(u64, WriteFault)>,
    /// Fails a sync of a file or of the directory. What a file had not synced is lost, kept or torn there and then, and
    /// later syncs succeed without it.
    pub sync: Option<u64>,
    /// Cuts the power at a call of any kind: that call and all later ones fail until [`SimDisk::crash`].
    pub power_cut: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFault {
    /// EIO; nothing was written.
    Broken,
    /// ENOSPC, after a part of the bytes.
    Full,
}

/// The faults that fired so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultsFired {
    pub writes_broken: u64,
    pub writes_cut_short: u64,
    pub syncs_failed: u64,
    pub power_cuts: u64,
    /// Fates of writes that a power cut or a failed sync found unsynced.
    pub writes_kept: u64,
    pub writes_dropped: u64,
    pub writes_torn: u64,
    pub writes_scattered: u64,
    pub writes_zeroed: u64,
    pub names_lost: u64,
}

/// A directory on the simulated disk. Clones share it; after a [`SimDisk::crash`] only the handle it returns works.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// Path of this directory, empty or ending in a slash.
    prefix: String,
    epoch: u64,
}

#[derive(Debug)]
pub struct SimFile {
    state: Arc<Mutex<State>>,
    inode: u64,
    epoch: u64,
}

/// Unlocks when dropped.
#[derive(Debug)]
pub struct SimLock {
    state: Arc<Mutex<State>>,
    epoch: u64,
}

#[derive(Debug)]
struct State {
    rng: StdRng,
    plan: FaultPlan,
    /// Calls since the plan was made.
    calls: u64,
    writes: u64,
    syncs: u64,
    fired: FaultsFired,
    power_is_off: bool,
    /// Counts the crashes; handles from before one are dead.
    epoch: u64,
    is_locked: bool,
    next_inode: u64,
    inodes: HashMap<u64, Inode>,
    /// The names that a running process sees.
    names: BTreeMap<String, u64>,
    names_durable: BTreeMap<String, u64>,
    /// Changes of names since the last sync of the directory.
    names_unsynced: Vec<NameChange>,
}

#[derive(Debug, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
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

impl SimDisk {
    /// An empty disk. All fates are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            plan: FaultPlan::default(),
            calls: 0,
            writes: 0,
            syncs: 0,
            fired: FaultsFired::default(),
            power_is_off: false,
            epoch: 0,
            is_locked: false,
            next_inode: 0,
            inodes: HashMap::new(),
            names: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            names_unsynced: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            prefix: String::new(),
            epoch: 0,
        }
    }

    /// Replaces the plan and starts counting anew.
    pub fn plan(&self, plan: FaultPlan) {
        let mut state = self.state.lock();
        (state.plan, state.calls, state.writes, state.syncs) = (plan, 0, 0, 0);
    }

    /// Calls of any kind since the last plan.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    pub fn faults_fired(&self) -> FaultsFired {
        self.state.lock().fired
    }

    /// Cuts the power and restores it: settles what became of everything unsynced, forgets the plan, frees the lock.
    /// All handles from before are dead; the one returned works.
    pub fn crash(&self) -> Self {
        let mut state = self.state.lock();
        state.crash();
        Self {
            state: Arc::clone(&self.state),
            prefix: self.prefix.clone(),
            epoch: state.epoch,
        }
    }

    /// What a running process would read. For tests that look at a file or damage it.
    pub fn read_file(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let inode = state.names.get(&self.at(name))?;
        state.inodes.get(inode).map(|inode| inode.content.clone())
    }

    /// Puts a file on the disk as if it had always been there, in the place of another if need be.
    pub fn write_file(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state.lock();
        let inode = state.new_inode();
        state.inodes.insert(
            inode,
            Inode {
                content: bytes.to_vec(),
                durable: bytes.to_vec(),
                unsynced: Vec::new(),
            },
        );
        state.names.insert(self.at(name), inode);
        state.names_durable.insert(self.at(name), inode);
    }

    /// Takes a file off the disk as if it had never been there.
    pub fn remove_file(&self, name: &str) {
        let mut state = self.state.lock();
        state.names.remove(&self.at(name));
        state.names_durable.remove(&self.at(name));
    }

    /// Another disk with the same files, everything on it durable.
    pub fn copy(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        let state = self.state.lock();
        for (name, inode) in &state.names {
            let content = state
                .inodes
                .get(inode)
                .map(|inode| inode.content.as_slice());
            copy.write_file(name, content.unwrap_or_default());
        }
        drop(state);
        copy
    }

    fn at(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn call<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock();
        state.begin_call(self.epoch)?;
        act(&mut state)
    }

    fn open_inode(&self, inode: u64) -> SimFile {
        SimFile {
            state: Arc::clone(&self.state),
            inode,
            epoch: self.epoch,
        }
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn lock(&self) -> io::Result<Option<SimLock>> {
        self.call(|state| {
            let is_free = !state.is_locked;
            state.is_locked = true;
            Ok(is_free.then(|| SimLock {
                state: Arc::clone(&self.state),
                epoch: self.epoch,
            }))
        })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.call(|state| {
            let inside = state
                .names
                .keys()
                .filter_map(|name| name.strip_prefix(&self.prefix));
            Ok(inside
                .filter(|name| !name.contains('/'))
                .map(str::to_owned)
                .collect())
        })
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let name = self.at(name);
        self.call(|state| state.create(name))
            .map(|inode| self.open_inode(inode))
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        self.call(|state| state.find(&self.at(name)))
            .map(|inode| self.open_inode(inode))
    }

    fn open_read_only(&self, name: &str) -> io::Result<SimFile> {
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.at(from), self.at(to));
        self.call(|state| state.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let name = self.at(name);
        self.call(|state| state.remove(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.call(State::sync_names)
    }

    fn directory(&self, name: &str) -> io::Result<Self> {
        self.call(|_| Ok(()))?;
        Ok(Self {
            prefix: format!("{}{name}/", self.prefix),
            ..self.clone()
        })
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/simulated/{}", self.prefix))
    }
}

impl SimFile {
    fn call<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock();
        state.begin_call(self.epoch)?;
        act(&mut state)
    }
}

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        self.call(|state| Ok(state.inode(self.inode).content.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call(|state| {
            let content = &state.inode(self.inode).content;
            let start = usize::try_from(offset)
                .map_err(io::Error::other)?
                .min(content.len());
            let bytes = buffer.len().min(content.len() - start);
            buffer[..bytes].copy_from_slice(&content[start..start + bytes]);
            Ok(bytes)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        // The write that the power cut hits may be on the disk, in part or as a whole.
        let begun = state.begin_call(self.epoch);
        let is_cut_now = begun.is_err() && state.epoch == self.epoch && state.is_at_power_cut();
        if begun.is_ok() || is_cut_now {
            let written = state.write(self.inode, offset, bytes);
            return begun.and(written);
        }
        begun
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call(|state| state.sync_inode(self.inode))
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.epoch == self.epoch {
            state.is_locked = false;
        }
    }
}

impl State {
    fn begin_call(&mut self, epoch: u64) -> io::Result<()> {
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

    fn is_at_power_cut(&self) -> bool {
        self.plan.power_cut == Some(self.calls)
    }

    fn new_inode(&mut self) -> u64 {
        self.next_inode += 1;
        self.next_inode
    }

    fn inode(&mut self, inode: u64) -> &mut Inode {
        self.inodes.entry(inode).or_default()
    }

    fn find(&self, name: &str) -> io::Result<u64> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn create(&mut self, name: String) -> io::Result<u64> {
        if self.names.contains_key(&name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let inode = self.new_inode();
        self.inodes.insert(inode, Inode::default());
        self.change_name(NameChange::Added { name, inode });
        Ok(inode)
    }

    fn rename(&mut self, from: String, to: String) -> io::Result<()> {
        let inode = self.find(&from)?;
        self.change_name(NameChange::Moved { from, to, inode });
        Ok(())
    }

    fn remove(&mut self, name: String) -> io::Result<()> {
        self.find(&name)?;
        self.change_name(NameChange::Removed { name });
        Ok(())
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.names_unsynced.push(change);
    }

    fn sync_names(&mut self) -> io::Result<()> {
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

    fn sync_inode(&mut self, inode: u64) -> io::Result<()> {
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

    fn write(&mut self, inode: u64, offset: usize, bytes: &[u8]) -> io::Result<()> {
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

    fn crash(&mut self) {
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
        let sector_bytes = SECTOR_BYTES as usize;
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
