//! What is personal is kept sealed, and found without being read.
//!
//! Each account has a data key of its own; all that the account entrusts to us is sealed with it. The data key is kept
//! in the account's row, wrapped by a seal key that is never in the database. To erase an account for good, its
//! data key is forgotten. Names and addresses are found by keyed hashes, see [`Vault::index`].
//!
//! A new seal key wraps what is new from the moment it is in the file; [`rotate`] wraps again what is there. What was
//! sealed with a data key stays as it is.
//!
//! Deliberately absent: SQL, a cache of data keys (to unwrap one takes a microsecond), and another index key (there is
//! nothing to compute the new indexes from but every account's opened name).

mod hashes;
pub(crate) mod rotate;
mod sealed;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use crate::domain::BuyerId;
use crate::secrets::{Key, LiveKeys, Secrets};

pub(crate) use hashes::Index;
#[cfg(test)]
pub(crate) use sealed::PLAIN_BYTES_MAX;
pub(crate) use sealed::{Damaged, DataKey, SealedPlace, Why};

use hashes::Hashes;
use sealed::Seal;

/// Seals, finds and recognises. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Vault(Arc<Parts>);

struct Parts {
    seal_keys: Arc<LiveKeys>,
    hashes: Hashes,
}

impl Vault {
    pub(crate) fn new(secrets: &Secrets) -> Self {
        Self(Arc::new(Parts {
            seal_keys: Arc::clone(secrets.seal_keys()),
            hashes: Hashes::new(secrets.index_key()),
        }))
    }

    /// A new data key for the account, and what `accounts.data_key` is to hold.
    ///
    /// A seal key wraps 2^32 data keys before its random nonces may meet; it is to be replaced before.
    pub(crate) fn new_data_key(&self, owner: BuyerId) -> (DataKey, Vec<u8>) {
        let key = DataKey::random();
        let wrapped = self.wrap(owner, &key, &self.0.seal_keys.primary());
        (key, wrapped)
    }

    /// The data key of the account, from what `accounts.data_key` holds.
    pub(crate) fn unwrap(&self, owner: BuyerId, wrapped: &[u8]) -> Result<DataKey, Damaged> {
        let place = SealedPlace::of_data_key(owner);
        let damaged = |why| Damaged { place, why };
        let id = sealed::key_id(wrapped).map_err(damaged)?;
        let key = self.0.seal_keys.get_trusted(id);
        let key = key.ok_or(damaged(Why::OtherKey { id }))?;
        let plain = seal_of(&key).open(place, wrapped)?;
        DataKey::from_plain(&plain).map_err(damaged)
    }

    /// The same data key wrapped by the primary seal key, or `None` if it is already.
    pub(crate) fn rewrap(
        &self,
        owner: BuyerId,
        wrapped: &[u8],
    ) -> Result<Option<Vec<u8>>, Damaged> {
        // Also opened where nothing is to be done, so that a rotation finds what is damaged.
        let key = self.unwrap(owner, wrapped)?;
        let primary = self.0.seal_keys.primary();
        if sealed::key_id(wrapped) == Ok(primary.id()) {
            return Ok(None);
        }
        Ok(Some(self.wrap(owner, &key, &primary)))
    }

    /// Where an account is found by its name or its address, which must be normalised: equal words, equal bytes.
    ///
    /// All 32 bytes, as it decides who is who. Without the index key nobody can try names against a stolen table.
    pub(crate) fn index(&self, index: Index, normalised: &str) -> [u8; 32] {
        self.0.hashes.index(index, normalised)
    }

    /// How a code that was mailed is kept. A code is short; without the key all of them could be tried.
    /// Good for this purpose and this account alone.
    pub(crate) fn code_hash(&self, purpose: &str, owner: BuyerId, code: &str) -> [u8; 32] {
        self.0.hashes.code(purpose, owner, code)
    }

    /// How a refresh token is kept. Its 256 random bits would make a plain hash safe; with a key, whoever can write
    /// to the table but not read the secrets cannot plant a token either.
    pub(crate) fn token_hash(&self, token: &[u8]) -> [u8; 32] {
        self.0.hashes.token(token)
    }

    /// How an address of the network is named in limits and in the log of events.
    pub(crate) fn client_hash(&self, client: &str) -> [u8; 16] {
        self.0.hashes.client(client)
    }

    /// Covers a row of the log of events and, through the mac of the row before, all rows before it.
    /// The first row follows 32 zero bytes.
    pub(crate) fn event_mac(&self, previous: &[u8; 32], row: &[u8]) -> [u8; 32] {
        self.0.hashes.event(previous, row)
    }

    pub(crate) fn seal_keys(&self) -> &LiveKeys {
        &self.0.seal_keys
    }

    fn wrap(&self, owner: BuyerId, key: &DataKey, seal_key: &Key) -> Vec<u8> {
        seal_of(seal_key).seal(SealedPlace::of_data_key(owner), &key.to_plain())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Vault")
    }
}

fn seal_of(key: &Key) -> Seal<'_> {
    Seal {
        id: key.id(),
        key: key.bytes(),
    }
}
