//! Sealed bytes: AES-256-GCM, bound to the place where they are kept.
//!
//! ```text
//! version 1 | key id 4 | nonce 12 | ciphertext, as long as the plain text | tag 16
//! ```
//!
//! Authenticated with it, but not in it: table, column and row. What was moved to another place does not open.
//! Nonces are drawn at random; a data key seals a few hundred times in its life, far from the 2^32 of the standard.
//!
//! A version that was released never gets another meaning.

use std::fmt;

use aes_gcm::aead::{Aead, Generate, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use zeroize::Zeroizing;

use crate::domain::BuyerId;
use crate::secrets::KeyId;

/// Bytes that are sealed at once. More is a bug of the caller, who has smaller limits for everything: it panics.
pub(crate) const PLAIN_BYTES_MAX: usize = 16 << 10;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const ID_AT: usize = 1;
const NONCE_AT: usize = ID_AT + 4;
const TEXT_AT: usize = NONCE_AT + NONCE_BYTES;

/// Bytes of a data key: AES-256.
const KEY_BYTES: usize = 32;

/// The column of a row that sealed bytes belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealedPlace {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    /// The row's id.
    pub(crate) row: u128,
}

/// What an account seals with. Kept wrapped, see [`super::Vault::unwrap`]; forgotten when it is dropped.
pub(crate) struct DataKey {
    /// Drawn with the key and wrapped with it, so that what another key sealed is told from what was changed.
    id: KeyId,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

/// Sealed bytes that do not open: where they are kept and why, never what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{place} does not open: {why}")]
pub(crate) struct Damaged {
    pub(crate) place: SealedPlace,
    pub(crate) why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    #[error("it is too short to be sealed bytes")]
    TooShort,
    #[error("it is longer than anything that is sealed")]
    TooLong,
    #[error("version {version} is not known; was it written by a newer release?")]
    UnknownVersion { version: u8 },
    #[error("it was sealed with key {id}, which is not at hand")]
    OtherKey { id: KeyId },
    #[error("its bytes were changed, or belong to another place")]
    ChangedBytes,
}

/// A key at work, whichever kind of key it is.
pub(super) struct Seal<'a> {
    pub(super) id: KeyId,
    pub(super) key: &'a [u8; KEY_BYTES],
}

impl SealedPlace {
    pub(super) const fn of_data_key(owner: BuyerId) -> Self {
        Self {
            table: "accounts",
            column: "data_key",
            row: owner.get(),
        }
    }
}

impl DataKey {
    /// Bytes that only this key opens, and only at this place. 33 more than the plain text has.
    ///
    /// # Panics
    /// If the plain text is longer than [`PLAIN_BYTES_MAX`].
    pub(crate) fn seal(&self, place: SealedPlace, plain: &[u8]) -> Vec<u8> {
        self.as_seal().seal(place, plain)
    }

    /// The plain text, which is wiped from memory when it is dropped.
    pub(crate) fn open(
        &self,
        place: SealedPlace,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Damaged> {
        self.as_seal().open(place, sealed)
    }

    pub(super) fn random() -> Self {
        Self {
            id: KeyId::random(),
            key: Zeroizing::new(Generate::generate()),
        }
    }

    /// What is wrapped: the id, then the key.
    pub(super) fn to_plain(&self) -> Zeroizing<Vec<u8>> {
        let mut plain = Zeroizing::new(Vec::with_capacity(4 + KEY_BYTES));
        plain.extend_from_slice(&self.id.get().to_be_bytes());
        plain.extend_from_slice(&*self.key);
        plain
    }

    pub(super) fn from_plain(plain: &[u8]) -> Result<Self, Why> {
        let (id, key) = plain.split_first_chunk().ok_or(Why::TooShort)?;
        let id = KeyId::new(u32::from_be_bytes(*id)).ok_or(Why::ChangedBytes)?;
        let mut data_key = Self {
            id,
            key: Zeroizing::new([0; KEY_BYTES]),
        };
        if key.len() != KEY_BYTES {
            return Err(Why::ChangedBytes);
        }
        data_key.key.copy_from_slice(key);
        Ok(data_key)
    }

    fn as_seal(&self) -> Seal<'_> {
        Seal {
            id: self.id,
            key: &self.key,
        }
    }
}

impl Seal<'_> {
    pub(super) fn seal(&self, place: SealedPlace, plain: &[u8]) -> Vec<u8> {
        assert!(
            plain.len() <= PLAIN_BYTES_MAX,
            "{} bytes for {place}; at most {PLAIN_BYTES_MAX} are sealed",
            plain.len()
        );
        // From the operating system, not from the thread's generator: a copied process must not draw the same.
        let nonce = <[u8; NONCE_BYTES]>::generate();
        let text = self.cipher().encrypt(
            &Nonce::from(nonce),
            Payload {
                msg: plain,
                aad: &self.bound_to(place),
            },
        );
        let text = text.expect("AES-GCM takes any text of this length");
        let mut sealed = Vec::with_capacity(TEXT_AT + text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.id.get().to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        sealed
    }

    pub(super) fn open(
        &self,
        place: SealedPlace,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Damaged> {
        self.opened(place, sealed)
            .map_err(|why| Damaged { place, why })
    }

    fn opened(&self, place: SealedPlace, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Why> {
        let id = key_id(sealed)?;
        if id != self.id {
            return Err(Why::OtherKey { id });
        }
        let (nonce, text) = sealed[NONCE_AT..]
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(Why::TooShort)?;
        let payload = Payload {
            msg: text,
            aad: &self.bound_to(place),
        };
        let Ok(plain) = self.cipher().decrypt(&Nonce::from(*nonce), payload) else {
            return Err(Why::ChangedBytes);
        };
        Ok(Zeroizing::new(plain))
    }

    /// What is authenticated beside the text. Names have their lengths in front: no two places are the same bytes.
    fn bound_to(&self, place: SealedPlace) -> Vec<u8> {
        let mut bound = Vec::with_capacity(64);
        bound.push(VERSION);
        for name in [place.table, place.column] {
            bound.extend_from_slice(&(name.len() as u64).to_be_bytes());
            bound.extend_from_slice(name.as_bytes());
        }
        bound.extend_from_slice(&place.row.to_be_bytes());
        bound.extend_from_slice(&self.id.get().to_be_bytes());
        bound
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(self.key.into())
    }
}

/// The id of the key that sealed these bytes, if they can be sealed bytes at all.
pub(super) fn key_id(sealed: &[u8]) -> Result<KeyId, Why> {
    let Some((&version, _)) = sealed.split_first() else {
        return Err(Why::TooShort);
    };
    if version != VERSION {
        return Err(Why::UnknownVersion { version });
    }
    if sealed.len() < TEXT_AT + TAG_BYTES {
        return Err(Why::TooShort);
    }
    if sealed.len() > TEXT_AT + PLAIN_BYTES_MAX + TAG_BYTES {
        return Err(Why::TooLong);
    }
    let id = sealed[ID_AT..].first_chunk().ok_or(Why::TooShort)?;
    KeyId::new(u32::from_be_bytes(*id)).ok_or(Why::ChangedBytes)
}

impl fmt::Display for SealedPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = BuyerId::new(self.row);
        write!(out, "{}.{} of {row}", self.table, self.column)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "DataKey({})", self.id)
    }
}
