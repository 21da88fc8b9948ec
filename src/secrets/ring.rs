//! Several keys, of which the newest is used for whatever is new, and all for what is there.
//!
//! As text a key is an id and its 32 bytes in base64. In a file that is `ID BASE64` a line, with `#` comments; in the
//! environment `ID:BASE64,ID:BASE64`. The last key is the primary.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aes_gcm::aead::Generate;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Bytes of a key: AES-256 takes no other number, and it is the output size of HMAC-SHA-256.
pub(super) const KEY_BYTES: usize = 32;
/// Keys in a ring; a ring with more is refused. A rotation a month fills it in five years.
const KEYS_MAX: usize = 64;
/// A key with fewer different bytes was not drawn at random.
const DIFFERENT_BYTES_MIN: usize = 8;
/// A key that repeats itself after up to so many bytes was not drawn at random: it is a word, over and over.
const PERIOD_MAX: usize = 24;

/// Base64 as `openssl rand -base64 32` writes it; the `=` at the end may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The name of a key: drawn at random, never 0. It is no secret, and stands in front of whatever the key made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(u32);

/// A key with its id.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

/// At least one key, the last of them the primary; all ids differ.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<Arc<Key>>,
}

/// Why a text is not a key or a ring. Says where, never what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("there is no key in it")]
    Empty,
    #[error("there are more than {KEYS_MAX} keys; take out those that nothing uses any more")]
    TooMany,
    #[error("{0}: it does not read as an id and a key; write 8 hex digits and 32 bytes in base64")]
    Shape(At),
    #[error("{0}: the id is not 8 lower-case hex digits other than 00000000")]
    Id(At),
    #[error("{0}: id {1} is there twice; each key has an id of its own")]
    Twice(At, KeyId),
    #[error("{0}: {1}")]
    Unfit(At, Flaw),
}

/// Where a key stands, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Line(usize),
    Entry(usize),
}

/// Why bytes are not fit to be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("it is not base64")]
    Base64,
    #[error(
        "it has {bytes} bytes; a key has {KEY_BYTES} (make one with `openssl rand -base64 32`)"
    )]
    Length { bytes: usize },
    #[error("it is a placeholder and not random (make one with `openssl rand -base64 32`)")]
    NotRandom,
}

impl KeyId {
    /// `None` for 0.
    pub const fn new(id: u32) -> Option<Self> {
        if id == 0 { None } else { Some(Self(id)) }
    }

    pub const fn get(self) -> u32 {
        self.0
    }

    pub(crate) fn random() -> Self {
        loop {
            if let Some(id) = Self::new(u32::generate()) {
                return id;
            }
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:08x}", self.0)
    }
}

impl FromStr for KeyId {
    type Err = NotAnId;

    /// Reads what `Display` writes and nothing else, so that a key has one name.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 8 || !text.bytes().all(digit) {
            return Err(NotAnId);
        }
        u32::from_str_radix(text, 16)
            .ok()
            .and_then(Self::new)
            .ok_or(NotAnId)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 8 lower-case hex digits other than 00000000")]
pub struct NotAnId;

impl Key {
    /// A new key under a new id.
    pub fn random() -> Self {
        Self {
            id: KeyId::random(),
            bytes: random_key(),
        }
    }

    /// # Errors
    /// Refuses bytes that were not drawn at random, as far as that shows.
    pub fn new(id: KeyId, bytes: [u8; KEY_BYTES]) -> Result<Self, Flaw> {
        let bytes = Zeroizing::new(bytes);
        check_random(&bytes)?;
        Ok(Self { id, bytes })
    }

    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    /// `ID BASE64`, without an end of line.
    pub(super) fn to_line(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{} {}", self.id, *encode(&self.bytes)))
    }
}

impl KeyRing {
    /// The keys of an environment variable: `ID:BASE64,ID:BASE64`, the last one is the primary.
    ///
    /// # Errors
    /// Names the place in the list, counted from 1.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let keys = text
            .split(',')
            .map(str::trim)
            .enumerate()
            .map(|(index, entry)| {
                let at = At::Entry(index + 1);
                let parts = entry.split_once(':').ok_or(KeyError::Shape(at));
                parts.map(|(id, key)| (at, id.trim(), key.trim()))
            });
        Self::collect(keys)
    }

    /// The keys of a file: `ID BASE64` a line, `#` comments, the last one is the primary.
    ///
    /// # Errors
    /// Names the number of the line.
    pub(super) fn parse_file(text: &str) -> Result<Self, KeyError> {
        let keys = lines(text).map(|(number, line)| {
            let at = At::Line(number);
            let parts = line.split_once(char::is_whitespace);
            let (id, key) = parts.ok_or(KeyError::Shape(at))?;
            Ok((at, id, key.trim()))
        });
        Self::collect(keys)
    }

    /// One key alone.
    pub fn of(key: Key) -> Self {
        Self {
            keys: vec![Arc::new(key)],
        }
    }

    /// The key that whatever is new is made with.
    pub fn primary(&self) -> &Arc<Key> {
        self.keys.last().expect("a ring has a key")
    }

    pub fn get(&self, id: KeyId) -> Option<&Arc<Key>> {
        // Newest first: nearly everything in use was made with it.
        self.keys.iter().rev().find(|key| key.id == id)
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.iter()
    }

    /// # Errors
    /// Refuses an id that is there already, and one key too many.
    pub fn push(&mut self, key: Key) -> Result<(), KeyError> {
        self.push_at(At::Entry(self.keys.len() + 1), key)
    }

    fn collect<'a>(
        keys: impl Iterator<Item = Result<(At, &'a str, &'a str), KeyError>>,
    ) -> Result<Self, KeyError> {
        let mut ring = Self { keys: Vec::new() };
        for key in keys {
            let (at, id, key) = key?;
            let id = id.parse().map_err(|NotAnId| KeyError::Id(at))?;
            let bytes = decode(key).map_err(|flaw| KeyError::Unfit(at, flaw))?;
            ring.push_at(at, Key { id, bytes })?;
        }
        if ring.keys.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(ring)
    }

    fn push_at(&mut self, at: At, key: Key) -> Result<(), KeyError> {
        if self.get(key.id).is_some() {
            return Err(KeyError::Twice(at, key.id));
        }
        if self.keys.len() == KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        self.keys.push(Arc::new(key));
        Ok(())
    }
}

impl fmt::Display for At {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(out, "line {number}"),
            Self::Entry(number) => write!(out, "key {number} of the list"),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({})", self.id)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(&self.keys).finish()
    }
}

/// Lines that say something, with their numbers from 1. A comment has a line of its own.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Drawn from the operating system and not from the thread's generator: a key outlives every process.
pub(super) fn random_key() -> Zeroizing<[u8; KEY_BYTES]> {
    Zeroizing::new(<[u8; KEY_BYTES]>::generate())
}

pub(super) fn encode(key: &[u8; KEY_BYTES]) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(key))
}

/// The bytes of a key, if they are fit to be one.
pub(super) fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, Flaw> {
    let Ok(decoded) = BASE64.decode(text).map(Zeroizing::new) else {
        return Err(Flaw::Base64);
    };
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    if decoded.len() != bytes.len() {
        return Err(Flaw::Length {
            bytes: decoded.len(),
        });
    }
    bytes.copy_from_slice(&decoded);
    check_random(&bytes)?;
    Ok(bytes)
}

/// Refuses what people put where a key should be: one byte over and over, a word, a word over and over (also when the
/// word was taken for base64). A key drawn at random fails this less than once in 10^12.
fn check_random(key: &[u8; KEY_BYTES]) -> Result<(), Flaw> {
    let mut seen = [false; 256];
    for byte in key {
        seen[usize::from(*byte)] = true;
    }
    let different = seen.iter().filter(|seen| **seen).count();
    let printable = key.iter().all(|byte| (0x20..0x7f).contains(byte));
    let repeats = (1..=PERIOD_MAX).any(|period| key[period..] == key[..KEY_BYTES - period]);
    if different < DIFFERENT_BYTES_MIN || printable || repeats {
        return Err(Flaw::NotRandom);
    }
    Ok(())
}
