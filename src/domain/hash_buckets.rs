//! A hash table that grows by one bucket at a time (linear hashing, Litwin 1980).
//!
//! A table that doubles must move everything at once, and is half empty afterwards; with a million holds that is a pause
//! in mid-sale, and as much memory as the entries take. Here an insertion moves a few dozen entries at most, and the
//! table is always equally full.
//!
//! Entries have no keys of their own: the caller gives hashes, and says of an entry whether it is the one.

#[derive(Clone, Debug)]
pub struct HashBuckets<E> {
    buckets: Vec<Vec<E>>,
    len: usize,
}

impl<E> Default for HashBuckets<E> {
    fn default() -> Self {
        Self {
            buckets: Vec::new(),
            len: 0,
        }
    }
}

impl<E> HashBuckets<E> {
    /// Entries a bucket, on average. More would take longer to look through, fewer would take more room.
    const LOAD: usize = 24;
    /// By so many entries a bucket grows, so that little of it is empty.
    const ROOM: usize = 4;

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.buckets.iter().flatten()
    }

    pub fn find(&self, hash: u64, is_it: impl FnMut(&&E) -> bool) -> Option<&E> {
        self.buckets.get(self.bucket_of(hash))?.iter().find(is_it)
    }

    pub fn find_mut(&mut self, hash: u64, mut is_it: impl FnMut(&E) -> bool) -> Option<&mut E> {
        let bucket = self.bucket_of(hash);
        let mut entries = self.buckets.get_mut(bucket)?.iter_mut();
        entries.find(|entry| is_it(entry))
    }

    /// Equal entries are not told apart. `hash_of` gives the hash of an entry that is in already.
    pub fn insert(&mut self, hash: u64, entry: E, hash_of: impl Fn(&E) -> u64) {
        if self.len >= self.buckets.len().saturating_mul(Self::LOAD) {
            self.add_bucket(hash_of);
        }
        self.len = self.len.saturating_add(1);
        self.put(self.bucket_of(hash), entry);
    }

    pub fn remove(&mut self, hash: u64, is_it: impl FnMut(&E) -> bool) -> Option<E> {
        let bucket = self.bucket_of(hash);
        let entries = self.buckets.get_mut(bucket)?;
        let place = entries.iter().position(is_it)?;
        let entry = entries.swap_remove(place);
        give_room_back(entries, Self::ROOM);
        self.len = self.len.saturating_sub(1);
        let buckets = self.buckets.len();
        if buckets > 1 && self.len < buckets.saturating_mul(Self::LOAD / 4) {
            self.drop_bucket();
        }
        Some(entry)
    }

    /// Of two buckets that were one the entries fall into the later by one more bit of their hash.
    fn bucket_of(&self, hash: u64) -> usize {
        let buckets = self.buckets.len();
        let divided = buckets.next_power_of_two();
        let hash = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0);
        let bucket = hash & divided.saturating_sub(1);
        if bucket < buckets {
            bucket
        } else {
            bucket & (divided / 2).saturating_sub(1)
        }
    }

    /// Divides the bucket whose turn it is.
    fn add_bucket(&mut self, hash_of: impl Fn(&E) -> u64) {
        let added = self.buckets.len();
        let divided = Self::divided_for(added);
        self.buckets.push(Vec::new());
        let mut stay = self.take_bucket(divided);
        let mut leave = Vec::with_capacity(Self::LOAD);
        let mut place = 0_usize;
        while let Some(entry) = stay.get(place) {
            if self.bucket_of(hash_of(entry)) == added {
                leave.push(stay.swap_remove(place));
            } else {
                place = place.saturating_add(1);
            }
        }
        for (bucket, mut entries) in [(divided, stay), (added, leave)] {
            give_room_back(&mut entries, Self::ROOM);
            self.put_bucket(bucket, entries);
        }
    }

    /// Joins the last bucket with that from which it was divided.
    fn drop_bucket(&mut self) {
        let entries = self.buckets.pop().unwrap_or_default();
        let joined = Self::divided_for(self.buckets.len());
        for entry in entries {
            self.put(joined, entry);
        }
        let room = self.buckets.len();
        give_room_back(&mut self.buckets, room);
    }

    fn divided_for(added: usize) -> usize {
        let half = added.saturating_add(1).next_power_of_two() / 2;
        added.saturating_sub(half)
    }

    fn take_bucket(&mut self, bucket: usize) -> Vec<E> {
        let bucket = self.buckets.get_mut(bucket);
        bucket.map(std::mem::take).unwrap_or_default()
    }

    fn put_bucket(&mut self, bucket: usize, entries: Vec<E>) {
        if let Some(place) = self.buckets.get_mut(bucket) {
            *place = entries;
        }
    }

    fn put(&mut self, bucket: usize, entry: E) {
        let entries = self
            .buckets
            .get_mut(bucket)
            .expect("a hash falls into a bucket that there is");
        if entries.len() == entries.capacity() {
            entries.reserve_exact(Self::ROOM);
        }
        entries.push(entry);
    }
}

/// Leaves room for so many more; but not for every single one that goes.
fn give_room_back<T>(entries: &mut Vec<T>, room: usize) {
    if entries.capacity().saturating_sub(entries.len()) > room.saturating_mul(2) {
        entries.shrink_to(entries.len().saturating_add(room));
    }
}
