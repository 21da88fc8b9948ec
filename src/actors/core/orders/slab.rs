//! Values of one kind under 32-bit handles.
//!
//! They lie in chunks of a round size: nothing is moved or copied when more come, nothing is half empty for having
//! doubled, and a chunk whose last value has gone gives its memory back.

use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

/// Where a value lies; `Option<Handle>` is as small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle(NonZeroU32);

#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// The chunks that have room.
    open: Vec<usize>,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    values: Vec<Option<T>>,
    /// The empty places among them.
    free: Vec<u16>,
}

impl Handle {
    fn new(index: usize) -> Self {
        let number = u32::try_from(index).ok().and_then(|it| it.checked_add(1));
        Self(
            number
                .and_then(NonZeroU32::new)
                .expect("no more than 2^32 values in a slab"),
        )
    }

    pub(super) fn to_bytes(self) -> [u8; 4] {
        self.0.get().to_le_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 4]) -> Self {
        let number = NonZeroU32::new(u32::from_le_bytes(bytes));
        Self(number.expect("the bytes of a handle"))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            open: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Slab<T> {
    const CHUNK_BYTES: usize = 16 * 1024;
    const CHUNK_LEN: usize = {
        let len = Self::CHUNK_BYTES / size_of::<Option<T>>();
        assert!(
            len > 0 && len <= 1 << 16,
            "a chunk takes one value, and its places fit a u16"
        );
        len
    };

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, value: T) -> Handle {
        let index = self
            .open
            .last()
            .copied()
            .unwrap_or_else(|| self.add_chunk());
        let chunk = &mut self.chunks[index];
        let place = chunk.insert(value, Self::CHUNK_LEN);
        if chunk.is_full(Self::CHUNK_LEN) {
            self.open.pop();
        }
        self.len += 1;
        Handle::new(index * Self::CHUNK_LEN + place)
    }

    pub(super) fn remove(&mut self, handle: Handle) -> T {
        let (index, place) = Self::place_of(handle);
        let chunk = &mut self.chunks[index];
        if chunk.is_full(Self::CHUNK_LEN) {
            self.open.push(index);
        }
        self.len -= 1;
        chunk.remove(place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.chunks.iter().enumerate().flat_map(|(index, chunk)| {
            let values = chunk.values.iter().enumerate();
            values.filter_map(move |(place, value)| {
                Some((
                    Handle::new(index * Self::CHUNK_LEN + place),
                    value.as_ref()?,
                ))
            })
        })
    }

    /// A shop of few orders has one small chunk, which grows; the others are as large as they will be.
    fn add_chunk(&mut self) -> usize {
        let capacity = if self.chunks.is_empty() {
            0
        } else {
            Self::CHUNK_LEN
        };
        self.chunks.push(Chunk {
            values: Vec::with_capacity(capacity),
            free: Vec::new(),
        });
        self.open.push(self.chunks.len() - 1);
        self.chunks.len() - 1
    }

    fn place_of(handle: Handle) -> (usize, usize) {
        let index = handle.index();
        (index / Self::CHUNK_LEN, index % Self::CHUNK_LEN)
    }
}

impl<T> Chunk<T> {
    fn is_full(&self, len_max: usize) -> bool {
        self.free.is_empty() && self.values.len() == len_max
    }

    fn insert(&mut self, value: T, len_max: usize) -> usize {
        if let Some(place) = self.free.pop() {
            self.values[usize::from(place)] = Some(value);
            return usize::from(place);
        }
        // The last step is to the round size.
        if self.values.len() == self.values.capacity() {
            let more = self.values.len().max(4).min(len_max - self.values.len());
            self.values.reserve_exact(more);
        }
        self.values.push(Some(value));
        self.values.len() - 1
    }

    fn remove(&mut self, place: usize) -> T {
        let value = self.values[place]
            .take()
            .expect("a handle outlived its value");
        if self.free.len() + 1 == self.values.len() {
            *self = Self {
                values: Vec::new(),
                free: Vec::new(),
            };
        } else {
            self.free
                .push(u16::try_from(place).expect("a chunk has at most 2^16 places"));
        }
        value
    }
}

impl<T> Index<Handle> for Slab<T> {
    type Output = T;

    fn index(&self, handle: Handle) -> &T {
        let (index, place) = Self::place_of(handle);
        let value = self.chunks[index].values[place].as_ref();
        value.expect("a handle outlived its value")
    }
}

impl<T> IndexMut<Handle> for Slab<T> {
    fn index_mut(&mut self, handle: Handle) -> &mut T {
        let (index, place) = Self::place_of(handle);
        let value = self.chunks[index].values[place].as_mut();
        value.expect("a handle outlived its value")
    }
}
