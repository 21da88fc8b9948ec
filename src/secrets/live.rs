//! The keys of a running process, which learns of keys that another process appended to the file.
//!
//! **Invariant:** finding a known key takes no lock and asks the disk nothing: every purchase does it. The disk is asked
//! when something new is made with the primary, and when a key is not known.
//!
//! A file that cannot be used any more changes nothing: the keys that were read last stay, and the log says so once.
//! A key that was taken out of the file is forgotten at the next look. Keys from the environment stay as they are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::file::{self, Content, Stamp};
use super::ring::{Key, KeyError, KeyId, KeyRing};
use crate::clock::{Clock, SystemClock};

/// Unknown ids make it look at the file once in this time: anybody can send them.
const LOOK_EVERY_US: u64 = 1_000_000;

pub struct LiveKeys {
    ring: ArcSwap<KeyRing>,
    source: Source,
}

enum Source {
    /// The environment, or a test.
    Given,
    File(Watched),
}

struct Watched {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    /// What the file was when it was read last, usable or not; `None` if it was not there.
    seen: Mutex<Option<Stamp>>,
    /// When an unknown id last made it look; `NEVER` before the first.
    looked_at_us: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl LiveKeys {
    /// Keys that never change.
    pub fn fixed(ring: KeyRing) -> Self {
        Self {
            ring: ArcSwap::from_pointee(ring),
            source: Source::Given,
        }
    }

    /// Keys as an environment variable has them, see [`KeyRing::parse`].
    ///
    /// # Errors
    /// As [`KeyRing::parse`].
    pub fn given(text: &str) -> Result<Self, KeyError> {
        Ok(Self::fixed(KeyRing::parse(text)?))
    }

    /// The keys in the file.
    ///
    /// # Errors
    /// A file that is missing, that others may read, or that is not a ring; names the line.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Self::open_with_clock(path, Arc::new(SystemClock))
    }

    /// As `open`, after making the file with one random key if it is missing.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_or_make(path: &Path) -> anyhow::Result<Self> {
        let content = file::read_or_make(path, || Key::random().to_line())?;
        Self::of(path, &content, Arc::new(SystemClock))
    }

    /// As `open`; the clock counts the time between two looks that unknown ids cause.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_with_clock(path: &Path, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        Self::of(path, &file::read(path)?, clock)
    }

    /// The key for something new. Looks whether the file has changed: for what is done once a sign-in, not once a
    /// purchase.
    pub fn primary(&self) -> Arc<Key> {
        self.look();
        Arc::clone(self.ring.load().primary())
    }

    /// The key of this id, which may come from anybody: an unknown one makes it look at the file, but only once a
    /// second. In between, a key that was appended a moment ago may not be found.
    pub fn get(&self, id: KeyId) -> Option<Arc<Key>> {
        self.known(id).or_else(|| {
            self.look_at_times();
            self.known(id)
        })
    }

    /// The key of this id, which comes from our own tables: an unknown one makes it look at the file each time.
    pub fn get_trusted(&self, id: KeyId) -> Option<Arc<Key>> {
        self.known(id).or_else(|| {
            self.look();
            self.known(id)
        })
    }

    /// The keys as they were read last. Two calls give the same `Arc` as long as nothing has changed.
    pub fn ring(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Whether `ring` is still what [`LiveKeys::ring`] would give; costs no more than a load.
    pub fn is_current(&self, ring: &Arc<KeyRing>) -> bool {
        Arc::ptr_eq(&self.ring.load(), ring)
    }

    /// Where a key can be appended, if the keys are in a file.
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::Given => None,
            Source::File(file) => Some(&file.path),
        }
    }

    /// Reads the file again if it has changed: one `stat`, seldom more.
    pub fn look(&self) {
        let Source::File(file) = &self.source else {
            return;
        };
        let mut seen = file.seen.lock();
        let now = Stamp::at(&file.path).ok();
        if now == *seen {
            return;
        }
        match read_ring(&file.path) {
            Ok((ring, stamp)) => {
                tracing::info!(path = %file.path.display(), ?ring, "the keys have changed");
                self.ring.store(Arc::new(ring));
                *seen = Some(stamp);
            }
            Err(error) => {
                tracing::error!(
                    path = %file.path.display(),
                    error = format!("{error:#}"),
                    "the changed keys cannot be used; those that were read before stay"
                );
                *seen = now;
            }
        }
    }

    /// Looks unless it has done so within the last second.
    fn look_at_times(&self) {
        let Source::File(file) = &self.source else {
            return;
        };
        let now = file.clock.now().as_micros();
        let last = file.looked_at_us.load(Ordering::Relaxed);
        // The distance, not the difference: after a step back of the clock it must not wait until the old time comes.
        if last != NEVER && now.abs_diff(last) < LOOK_EVERY_US {
            return;
        }
        let turn =
            file.looked_at_us
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        if turn.is_ok() {
            self.look();
        }
    }

    fn known(&self, id: KeyId) -> Option<Arc<Key>> {
        self.ring.load().get(id).cloned()
    }

    fn of(path: &Path, content: &Content, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        Ok(Self {
            ring: ArcSwap::from_pointee(KeyRing::parse_file(&content.text)?),
            source: Source::File(Watched {
                path: path.to_owned(),
                clock,
                seen: Mutex::new(Some(content.stamp)),
                looked_at_us: AtomicU64::new(NEVER),
            }),
        })
    }
}

impl fmt::Debug for LiveKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = out.debug_struct("LiveKeys");
        debug.field("ring", &self.ring.load());
        debug.field("path", &self.path());
        debug.finish()
    }
}

fn read_ring(path: &Path) -> anyhow::Result<(KeyRing, Stamp)> {
    let content = file::read(path)?;
    Ok((KeyRing::parse_file(&content.text)?, content.stamp))
}
