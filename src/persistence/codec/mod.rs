//! Events as bytes: what a record of the journal says.
//!
//! The layout is written out by hand, little-endian, and belongs to the journal for good: the first byte is the
//! version of the encoding, the second says what kind of event follows. Texts and lists carry their length in four
//! bytes in front, an optional value a byte that is 0 or 1.
//!
//! **Invariant:** a version or a tag that was ever released is never given another meaning, so every journal that was
//! ever written stays readable. A new kind of event takes the next free tag; a changed layout takes a new version, and
//! the old one keeps its decoder. The golden bytes in the tests hold this.
//!
//! Deliberately absent: checksums and sequence numbers (the journal's), and any serialisation library, whose next
//! release would decide what our past looks like.

mod decode;
mod encode;
mod tag;

#[cfg(test)]
pub(crate) mod arbitrary;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

pub use decode::decode;
pub use encode::encode;

/// Whether the bytes of an id stand anywhere in a record. Costs far less than decoding it; they may stand there by chance.
pub fn mentions(record: &[u8], id: u128) -> bool {
    let id = id.to_le_bytes();
    record.windows(id.len()).any(|it| it == id)
}

/// Why bytes are not an event. The checksum of the journal was right, so this is an older or a newer Layby, or a bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    #[error(
        "the record is of version {0}; this release reads version 1: was it written by a newer one?"
    )]
    Version(u8),
    #[error("{what} has the unknown tag {tag}: was the record written by a newer release?")]
    Tag { what: &'static str, tag: u8 },
    #[error("the record ends in the middle of {what}")]
    Truncated { what: &'static str },
    #[error("{extra} bytes follow the end of the event")]
    Trailing { extra: usize },
    #[error("{what} is out of range")]
    Range { what: &'static str },
    #[error("{what} is not UTF-8")]
    Text { what: &'static str },
}
