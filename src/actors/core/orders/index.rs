//! Finds the handles of values by an id that the values themselves hold: six bytes an entry.

use super::slab::Handle;
use crate::domain::HashBuckets;

#[derive(Debug, Default)]
pub(super) struct HandleIndex {
    entries: HashBuckets<Entry>,
}

/// The tag is a part of the hash, so that a value is looked at only if it is most likely the one.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: [u8; 2],
    handle: [u8; 4],
}

impl HandleIndex {
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(Handle) -> bool) -> Option<Handle> {
        let tag = tag(hash);
        let found = self
            .entries
            .find(hash, |it| it.tag == tag && is_it(it.handle()));
        found.map(Entry::handle)
    }

    /// `hash_of` gives the hash of any value in the index.
    pub(super) fn insert(&mut self, hash: u64, handle: Handle, hash_of: impl Fn(Handle) -> u64) {
        let entry = Entry {
            tag: tag(hash),
            handle: handle.to_bytes(),
        };
        self.entries.insert(hash, entry, |it| hash_of(it.handle()));
    }

    pub(super) fn remove(&mut self, hash: u64, handle: Handle) {
        let bytes = handle.to_bytes();
        self.entries.remove(hash, |it| it.handle == bytes);
    }
}

impl Entry {
    fn handle(&self) -> Handle {
        Handle::from_bytes(self.handle)
    }
}

/// The highest bits; buckets go by the lowest.
fn tag(hash: u64) -> [u8; 2] {
    let [.., high, highest] = hash.to_le_bytes();
    [high, highest]
}
