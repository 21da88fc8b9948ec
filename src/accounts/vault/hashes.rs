//! Keyed hashes: one key for each use, all derived from the index key, so that a value of one use says nothing in another.
//!
//! HMAC-SHA-256 throughout. Whatever has parts is hashed with the length of each in front: no two lists of parts are
//! the same bytes.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::BuyerId;
use crate::secrets::IndexKey;

type HmacSha256 = Hmac<Sha256>;

/// What an account is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Index {
    Username,
    Email,
}

/// A prepared hash for each use.
pub(super) struct Hashes {
    index: HmacSha256,
    code: HmacSha256,
    token: HmacSha256,
    client: HmacSha256,
    event: HmacSha256,
}

impl Index {
    const fn label(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Email => "email",
        }
    }
}

impl Hashes {
    // The labels are part of what is stored: another label is another key, and nothing would be found.
    pub(super) fn new(index_key: &IndexKey) -> Self {
        let derived = |label: &str| {
            let key: Zeroizing<[u8; 32]> =
                Zeroizing::new(hash(&keyed(index_key.bytes()), &[label.as_bytes()]));
            keyed(&key)
        };
        Self {
            index: derived("layby 1 index"),
            code: derived("layby 1 code"),
            token: derived("layby 1 refresh token"),
            client: derived("layby 1 client"),
            event: derived("layby 1 event"),
        }
    }

    pub(super) fn index(&self, index: Index, normalised: &str) -> [u8; 32] {
        hash(
            &self.index,
            &[index.label().as_bytes(), normalised.as_bytes()],
        )
    }

    pub(super) fn code(&self, purpose: &str, owner: BuyerId, code: &str) -> [u8; 32] {
        let parts = [purpose.as_bytes(), &owner.to_bytes(), code.as_bytes()];
        hash(&self.code, &parts)
    }

    pub(super) fn token(&self, token: &[u8]) -> [u8; 32] {
        hash(&self.token, &[token])
    }

    /// Half of the hash: it tells clients apart, it decides nothing.
    pub(super) fn client(&self, client: &str) -> [u8; 16] {
        let whole = hash(&self.client, &[client.as_bytes()]);
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        half
    }

    pub(super) fn event(&self, previous: &[u8; 32], row: &[u8]) -> [u8; 32] {
        hash(&self.event, &[previous, row])
    }
}

fn keyed(key: &[u8; 32]) -> HmacSha256 {
    // As long as the hash is, so it is used as it is.
    HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn hash(keyed: &HmacSha256, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = keyed.clone();
    for part in parts {
        // 64 bits hold the length of whatever fits into memory.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
