//! The seam between the journal and a disk, and the real disk behind it.
//!
//! Everything that may be lost, torn or refused goes through here, so that `sim_disk/` can lose, tear and refuse it.
//! Deliberately absent: buffering, retries, and any knowledge of segments.

use std::{
    fmt::Debug,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// The journal knows who bought what: nobody but its owner reads it.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A directory of files, with the durability of POSIX and no more:
/// - written bytes are durable once [`DiskFile::sync_data`] returned `Ok`; before that each 512-byte sector may be old or new;
/// - a sector that is written again with the bytes it already holds keeps them, whatever happens;
/// - a name (created, renamed, removed) is durable once [`Disk::sync_dir`] returned `Ok`;
/// - after a failed sync nothing is known about the bytes written before it, even if a later sync succeeds.
///
/// A clone is the same directory.
pub trait Disk: Clone + Debug + Send + Sync + 'static {
    type File: DiskFile;
    /// Held as long as the directory is locked.
    type Lock: Debug + Send + 'static;

    /// Locks the directory against other writers without waiting. `None`: somebody else has it.
    /// The lock ends with its process, however that ends.
    fn lock(&self) -> io::Result<Option<Self::Lock>>;

    /// The names of the files in the directory, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new, empty file. Fails if the name is taken.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// An existing file, to read and write.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// An existing file, to read only.
    fn open_read_only(&self, name: &str) -> io::Result<Self::File>;

    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    fn sync_dir(&self) -> io::Result<()>;

    /// The directory `name` inside this one, durably created if it is not there.
    fn directory(&self, name: &str) -> io::Result<Self>;

    /// Bytes that may still be written to new files.
    fn free_bytes(&self) -> io::Result<u64>;

    /// For messages to people.
    fn path(&self) -> PathBuf;
}

/// A file of a [`Disk`]. Offsets are explicit, so threads may share it.
pub trait DiskFile: Debug + Send + Sync + 'static {
    fn bytes(&self) -> io::Result<u64>;

    /// Fills as much of `buffer` as the file has bytes from `offset` on, and says how much that is.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`, growing the file if need be. After an error any part of it may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    fn sync_data(&self) -> io::Result<()>;
}

/// Writes, and looks whether the bytes are there. What is read comes from the memory of the operating system: next to the
/// sync that follows it costs nothing.
pub(super) fn write_checked(file: &impl DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    const CHUNK_BYTES: usize = 16 << 10;
    file.write_at(bytes, offset)?;
    let mut found = [0; CHUNK_BYTES];
    let mut at = offset;
    for chunk in bytes.chunks(CHUNK_BYTES) {
        let read = file.read_at(&mut found[..chunk.len()], at)?;
        if found[..read] != *chunk {
            let message = "the write was reported as done, but the bytes are not there";
            return Err(io::Error::other(message));
        }
        at += chunk.len() as u64;
    }
    Ok(())
}

/// A directory of the operating system. The lock is a `flock` on the directory itself: it leaves no file behind and
/// a process that was killed leaves no lock.
#[derive(Debug, Clone)]
pub struct RealDisk {
    path: PathBuf,
}

impl RealDisk {
    /// The directory at `path`, which must be there.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        if !fs::metadata(&path)?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok(Self { path })
    }

    /// The directory at `path`, durably created with its parents if it is not there.
    pub fn create(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        create_dir_durably(&path)?;
        Self::open(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Disk for RealDisk {
    type File = File;
    type Lock = File;

    fn lock(&self) -> io::Result<Option<File>> {
        let directory = File::open(&self.path)?;
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(directory)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // A segment may be a link to another disk. A name that is not UTF-8 cannot be one of ours.
            if !entry.file_type()?.is_dir()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(self.at(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.at(name))
    }

    fn open_read_only(&self, name: &str) -> io::Result<File> {
        File::open(self.at(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn directory(&self, name: &str) -> io::Result<Self> {
        Self::create(self.at(name))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.path)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

impl DiskFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}

fn create_dir_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    create_dir_durably(parent)?;
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    File::open(parent)?.sync_all()
}
