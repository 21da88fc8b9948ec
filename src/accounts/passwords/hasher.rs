//! Argon2id on one block of memory that is used again and again: fresh memory for each hash would cost the kernel as much
//! as the hash costs us.
//!
//! Knows no threads and no queue. What is left in the memory between two hashes is argon2's working state, from which a
//! password cannot be read but by guessing it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;

/// What a hash costs. The default is OWASP's minimum for argon2id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashOptions {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "argon2id with {} KiB, {} passes and {} lanes is not between {} KiB, {} passes, {} lane and {} KiB, {} passes, {} lanes",
    .given.memory_kib, .given.passes, .given.lanes,
    .least.memory_kib, .least.passes, .least.lanes,
    HashOptions::MOST.memory_kib, HashOptions::MOST.passes, HashOptions::MOST.lanes
)]
pub(crate) struct TooCheap {
    given: HashOptions,
    least: HashOptions,
}

/// A stored hash that cannot be one of ours. A fault of the database, never the fault of who signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored hash of a password cannot be read")]
pub(crate) struct Damaged;

impl Default for HashOptions {
    fn default() -> Self {
        Self::OWASP
    }
}

impl HashOptions {
    const OWASP: Self = Self {
        memory_kib: 19_456,
        passes: 2,
        lanes: 1,
    };
    /// For the unit tests of this crate alone.
    #[cfg(test)]
    pub(super) const TINY: Self = Self {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    /// A row of the database must not make a thread take all memory, nor all time.
    const MOST: Self = Self {
        memory_kib: 1 << 20,
        passes: 64,
        lanes: 16,
    };

    /// Refuses what is cheaper than OWASP's minimum in any respect, or dearer than any server needs.
    pub(crate) fn checked(self) -> Result<Self, TooCheap> {
        #[cfg(test)]
        let least = Self::TINY;
        #[cfg(not(test))]
        let least = Self::OWASP;
        self.at_least(least)
    }

    pub(super) fn at_least(self, least: Self) -> Result<Self, TooCheap> {
        let is_fine = (least.memory_kib..=Self::MOST.memory_kib).contains(&self.memory_kib)
            && (least.passes..=Self::MOST.passes).contains(&self.passes)
            && (least.lanes..=Self::MOST.lanes).contains(&self.lanes)
            && self.memory_kib >= self.lanes * LANE_KIB_MIN;
        match is_fine {
            true => Ok(self),
            false => Err(TooCheap { given: self, least }),
        }
    }
}

/// Argon2's own least.
const LANE_KIB_MIN: u32 = 8;
const HASH_BYTES: usize = 32;

/// One thread's.
pub(super) struct Hasher {
    options: HashOptions,
    memory: Vec<Block>,
    /// Hashes ever made, by all hashers together.
    hashes: Arc<AtomicU64>,
}

impl Hasher {
    /// `options` must have been [`HashOptions::checked`].
    pub(super) fn new(options: HashOptions, hashes: Arc<AtomicU64>) -> Self {
        Self {
            options,
            memory: Vec::new(),
            hashes,
        }
    }

    /// Under a new salt, with the parameters of today. A PHC string of about 100 characters.
    pub(super) fn hash(&mut self, password: &[u8]) -> String {
        let HashOptions {
            memory_kib,
            passes,
            lanes,
        } = self.options;
        let params = Params::new(memory_kib, passes, lanes, Some(HASH_BYTES))
            .expect("they were checked at the start");
        let salt = Salt::generate();
        let mut hash = [0; HASH_BYTES];
        self.fill(&params, password, &salt, &mut hash)
            .expect("parameters and salt are in argon2's range");
        PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).expect("three numbers fit"),
            salt: Some(salt),
            hash: Some(Output::new(&hash).expect("32 bytes are an output")),
        }
        .to_string()
    }

    /// Is it the password of this hash? Takes as long whether it is or not.
    pub(super) fn verify(&mut self, password: &[u8], phc: &str) -> Result<bool, Damaged> {
        let Stored { params, salt, hash } = Stored::read(phc)?;
        let mut found = [0; Output::MAX_LENGTH];
        let found = &mut found[..hash.len()];
        self.fill(&params, password, &salt, found)
            .map_err(|_out_of_range| Damaged)?;
        Ok(found.ct_eq(hash.as_bytes()).into())
    }

    /// Was it made with less than what is asked for today?
    pub(super) fn is_outdated(&self, phc: &str) -> bool {
        Stored::read(phc).is_ok_and(|Stored { params, hash, .. }| {
            params.m_cost() < self.options.memory_kib
                || params.t_cost() < self.options.passes
                || hash.len() < HASH_BYTES
        })
    }

    fn fill(
        &mut self,
        params: &Params,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> argon2::Result<()> {
        self.hashes.fetch_add(1, Ordering::Relaxed);
        let blocks = params.block_count();
        if self.memory.len() < blocks {
            self.memory.resize(blocks, Block::new());
        }
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let filled =
            argon2.hash_password_into_with_memory(password, salt, out, &mut self.memory[..]);
        self.give_back_excess();
        filled
    }

    /// One old hash that was dearer than today's must not keep its memory.
    fn give_back_excess(&mut self) {
        let usual = usize::try_from(self.options.memory_kib).unwrap_or(usize::MAX);
        if self.memory.len() > usual {
            self.memory.truncate(usual);
            self.memory.shrink_to_fit();
        }
    }
}

/// Argon2id of version 19, within bounds: we never wrote anything else.
struct Stored {
    params: Params,
    salt: Salt,
    hash: Output,
}

impl Stored {
    fn read(phc: &str) -> Result<Self, Damaged> {
        let stored = PasswordHash::new(phc).map_err(|_unreadable| Damaged)?;
        let params = Params::try_from(&stored).map_err(|_unreadable| Damaged)?;
        let least = HashOptions {
            memory_kib: LANE_KIB_MIN,
            passes: 1,
            lanes: 1,
        };
        HashOptions {
            memory_kib: params.m_cost(),
            passes: params.t_cost(),
            lanes: params.p_cost(),
        }
        .at_least(least)
        .map_err(|_out_of_bounds| Damaged)?;
        let is_ours =
            stored.algorithm == ARGON2ID_IDENT && stored.version == Some(Version::V0x13.into());
        match (is_ours, stored.salt, stored.hash) {
            (true, Some(salt), Some(hash)) => Ok(Self { params, salt, hash }),
            _ => Err(Damaged),
        }
    }
}
