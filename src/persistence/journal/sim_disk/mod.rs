//! A disk in memory that keeps the promises of [`Disk`] and not one more.
//!
//! Two views of every file: what a running process reads (the page cache), and what a power cut leaves. A sync makes
//! them equal; [`SimDisk::crash`] draws from the seed what became of each write that was not synced.
//! Every fault that fires is counted: a green run in which nothing fired says nothing.
//!
//! Deliberately absent: time, threads of its own, and bit rot by itself (damage files with [`SimDisk::write_file`]).

mod state;

use std::{io, path::PathBuf, sync::Arc};

use parking_lot::Mutex;

use self::state::State;
use super::{Disk, DiskFile};

/// What is to go wrong, counted in calls from the moment of [`SimDisk::plan`], the next one being number 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct FaultPlan {
    /// Fails a write.
    pub write: Option<(u64, WriteFault)>,
    /// Fails a sync of a file or of the directory. What a file had not synced is lost, kept or torn there and then, and
    /// later syncs succeed without it.
    pub sync: Option<u64>,
    /// Refuses to create, rename or remove a file.
    pub name_change: Option<u64>,
    /// Cuts the power at a call of any kind: that call and all later ones fail until [`SimDisk::crash`].
    pub power_cut: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFault {
    /// EIO; nothing was written.
    Broken,
    /// ENOSPC, after a part of the bytes.
    Full,
    /// Reported as done; nothing was written.
    Lost,
}

/// The faults that fired so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultsFired {
    pub writes_broken: u64,
    pub writes_cut_short: u64,
    pub writes_lost: u64,
    pub syncs_failed: u64,
    pub name_changes_refused: u64,
    pub power_cuts: u64,
    /// Fates of writes that a power cut or a failed sync found unsynced.
    pub writes_kept: u64,
    pub writes_dropped: u64,
    pub writes_torn: u64,
    pub writes_scattered: u64,
    pub writes_zeroed: u64,
    pub names_lost: u64,
}

impl FaultsFired {
    /// Every counter with its name, for a report and for a check that none is zero.
    pub fn counts(&self) -> [(&'static str, u64); 12] {
        [
            ("writes broken", self.writes_broken),
            ("writes cut short", self.writes_cut_short),
            ("writes lost", self.writes_lost),
            ("syncs failed", self.syncs_failed),
            ("name changes refused", self.name_changes_refused),
            ("power cuts", self.power_cuts),
            ("writes kept", self.writes_kept),
            ("writes dropped", self.writes_dropped),
            ("writes torn", self.writes_torn),
            ("writes scattered", self.writes_scattered),
            ("writes zeroed", self.writes_zeroed),
            ("names lost", self.names_lost),
        ]
    }
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

impl SimDisk {
    /// An empty disk. All fates are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State::new(seed);
        Self {
            state: Arc::new(Mutex::new(state)),
            prefix: String::new(),
            epoch: 0,
        }
    }

    /// Replaces the plan and starts counting anew.
    pub fn plan(&self, plan: FaultPlan) {
        let mut state = self.state.lock();
        state.plan = plan;
        (state.calls, state.writes, state.syncs, state.name_changes) = (0, 0, 0, 0);
    }

    /// From now on the disk says that there is so much room for new files.
    pub fn set_free_bytes(&self, free_bytes: u64) {
        self.state.lock().free_bytes = free_bytes;
    }

    /// Calls of any kind since the last plan.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Bytes that were read from files so far.
    pub fn bytes_read(&self) -> u64 {
        self.state.lock().bytes_read
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
        self.state.lock().put(self.at(name), bytes);
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

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.state.lock().free_bytes)
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
            state.bytes_read += bytes as u64;
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
