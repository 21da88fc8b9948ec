//! Files of secrets: made whole or not at all, readable by their owner alone, and told apart when they change.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aes_gcm::aead::Generate;
use anyhow::{Context, bail};
use zeroize::Zeroizing;

use super::ring::{Key, KeyId, KeyRing};

/// A file of secrets has no more bytes; one that has is refused before it is read.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A secret file as it was at one moment.
pub(super) struct Content {
    pub(super) text: Zeroizing<String>,
    pub(super) stamp: Stamp,
}

/// Differs when the file was changed or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    bytes: u64,
    modified_ns: (i64, i64),
    changed_ns: (i64, i64),
}

/// Appends a new key, which is the primary from then on, and gives its id.
///
/// Replaces the file by a whole new one, so that a reader never sees half a key and a crash leaves the old one or the
/// new one. Two that append at once wait for each other; no key is lost.
///
/// # Errors
/// A file that is missing or not usable stays as it is, and so does one that has as many keys as a ring may have.
pub fn append_key(path: &Path) -> anyhow::Result<KeyId> {
    let directory = open_directory(path)?;
    // On the directory, because the file itself is about to be another. Ends with the process, however that ends.
    directory
        .lock()
        .with_context(|| format!("cannot lock the directory of `{}`", path.display()))?;
    let content =
        read(path).with_context(|| format!("cannot read the keys `{}`", path.display()))?;
    let key = Key::random();
    let text = appended(&content.text, &key)
        .with_context(|| format!("cannot add a key to `{}`", path.display()))?;
    let replaced = write_beside(path, &text).and_then(|part| {
        fs::rename(&part.0, path)?;
        directory.sync_all()
    });
    replaced.with_context(|| format!("cannot replace the keys `{}`", path.display()))?;
    Ok(key.id())
}

/// Refuses a file that others may read, one that is too large, and one that is not text.
pub(super) fn read(path: &Path) -> anyhow::Result<Content> {
    let mut file = File::open(path)?;
    // Of the file that is open: the name may belong to another by now.
    let metadata = file.metadata()?;
    let mode = metadata.mode();
    if mode & 0o077 != 0 {
        bail!(
            "it may be read by others (mode {:o}); set it to 600",
            mode & 0o777
        );
    }
    if metadata.len() > FILE_BYTES_MAX {
        bail!(
            "it has {} bytes, at most {FILE_BYTES_MAX} are read",
            metadata.len()
        );
    }
    let length = usize::try_from(metadata.len())?;
    // Room for all of it at once: a string that grows leaves copies behind.
    let mut bytes = Zeroizing::new(vec![0; length]);
    file.read_exact(&mut bytes)?;
    let Ok(text) = std::str::from_utf8(&bytes) else {
        bail!("it is not text; a key is written in base64");
    };
    Ok(Content {
        text: Zeroizing::new(text.to_owned()),
        stamp: Stamp::of(&metadata),
    })
}

/// What the file holds; a missing one is made of the line. Of two that make it at the same time, one does, and both
/// read the same.
pub(super) fn read_or_make(
    path: &Path,
    line: impl FnOnce() -> Zeroizing<String>,
) -> anyhow::Result<Content> {
    if !path.try_exists()? {
        make(path, &line())?;
    }
    read(path)
}

impl Stamp {
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&fs::metadata(path)?))
    }

    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_ns: (metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file under a name of its own, removed when it is not needed any more.
struct Part(std::path::PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // Gone if it was renamed. One that cannot be removed is in nobody's way, and its mode is 0600.
        drop(fs::remove_file(&self.0));
    }
}

fn make(path: &Path, line: &str) -> anyhow::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    }
    let text = Zeroizing::new(format!("{line}\n"));
    let part = write_beside(path, &text)?;
    // A link does not replace: of two processes that start together, one makes the key and both use it.
    match fs::hard_link(&part.0, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    open_directory(path)?.sync_all()?;
    Ok(())
}

/// Whole and on the disk, under a name that nobody else uses.
fn write_beside(path: &Path, text: &str) -> io::Result<Part> {
    let unique = u64::generate();
    let part = Part(path.with_extension(format!("{unique:016x}.part")));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part.0)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(part)
}

/// The text with a line more, comments kept, if it is a ring before and after.
fn appended(text: &str, key: &Key) -> anyhow::Result<Zeroizing<String>> {
    KeyRing::parse_file(text)?.push(key.clone())?;
    let line = key.to_line();
    let mut longer = Zeroizing::new(String::with_capacity(text.len() + line.len() + 2));
    longer.push_str(text);
    if !text.is_empty() && !text.ends_with('\n') {
        longer.push('\n');
    }
    longer.push_str(&line);
    longer.push('\n');
    Ok(longer)
}

fn open_directory(path: &Path) -> io::Result<File> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))
}
