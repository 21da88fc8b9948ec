//! The bytes of a segment. No I/O: bytes in, a frame or a [`Flaw`] out.
//!
//! A journal is a directory of segments, `journal-<16-digit id>.seg`, ids dense and rising. A segment has a fixed
//! size, and was filled with zeros (or with an older segment) before it came into use, so that an append changes
//! no metadata. All numbers are little-endian.
//!
//! ```text
//! segment:  header block, 4096 bytes | frame | frame | ... | close frame | unused
//!
//! header block                                   frame: one batch, a whole number of 512-byte sectors
//!    0  u32  CRC-32C of bytes 4..4096               0  u32  CRC-32C of all that follows, padding included
//!    4  [8]  "LAYBYSEG"                             4  [4]  "LBYF"
//!   12  u16  format version                         8  u8   format version
//!   14  u16  1 if recycled                          9  u8   kind: 1 batch, 2 seal, 3 close
//!   16  [16] name of the checksum                  10  u16  zero
//!   32  u64  segment id                            12  u32  payload bytes
//!   40  u64  sequence of its first record          16  u32  records in the payload
//!   48  u64  journal id                            20  u32  checksum of the previous frame
//!   56  u64  segment bytes                         24  u64  sequence of its first record
//!   64  u32  checksum of the last frame before     32  u64  segment id
//!   68       zero                                  40  u64  offset of this frame in the segment
//!                                                  48  u64  journal id
//! payload of a batch: each record behind a u32     56  u64  zero
//! of its length; of a seal: nothing; of a close:   64       payload, then zeros to the end of the sector
//! the u32 checksum of the next segment's header
//! ```
//!
//! Why so much under one checksum: a block that was written to the wrong place, or that is left from earlier, has a
//! valid checksum of its own. Segment, offset and sequence say where a frame belongs; the journal id, drawn at random,
//! keeps out frames of other journals and those that somebody might plant in a record.
//!
//! **The chain.** A frame names its predecessor's checksum. The first frame of a segment names the checksum of its
//! header block, and the header block that of the last batch or seal before it. At a switch the next segment is durable
//! under its name before the close frame is written, and the close frame names its header: so a missing newest
//! segment is noticed, and nothing follows a close frame.
//!
//! **Sectors.** Frames start at a multiple of 512 bytes, so that an append never rewrites a sector that holds
//! durable records. In a recycled segment every frame is followed by one sector of zeros, written along with it: the end
//! of the log looks the same as in a fresh one.
//!
//! The first 14 bytes of a header block stay as they are in all versions to come.

use std::fmt;

use super::Position;
use super::batch::{BATCH_BYTES_MAX, RECORD_PREFIX_BYTES};

pub(super) const FORMAT_VERSION: u8 = 1;
pub(super) const SECTOR_BYTES: u64 = 512;
pub(super) const HEADER_BLOCK_BYTES: u64 = 4096;
pub(super) const FRAME_HEADER_BYTES: usize = 64;
/// A seal or a close: a header, a few bytes of payload, padding.
pub(super) const MARKER_FRAME_BYTES: u64 = SECTOR_BYTES;
pub(super) const FRAME_BYTES_MAX: u64 = frame_bytes(BATCH_BYTES_MAX);
/// The smallest segment: for tests.
pub(super) const SEGMENT_BYTES_MIN: u64 = 2 * HEADER_BLOCK_BYTES;
/// The largest segment: recovery holds one in memory.
pub(super) const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// What a batch leaves free behind itself, so that a seal and a close always fit.
pub(super) const MARKERS_RESERVED_BYTES: u64 = 2 * MARKER_FRAME_BYTES;

const SEGMENT_MAGIC: &[u8; 8] = b"LAYBYSEG";
const FRAME_MAGIC: &[u8; 4] = b"LBYF";
const CHECKSUM_NAME: &[u8; 16] = b"CRC-32/ISCSI\0\0\0\0";
const CHECKSUM_BYTES: usize = size_of::<u32>();

/// What is wrong with a piece of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("nothing is written here, though later records are")]
    Blank,
    #[error("there is no frame here, though later records are")]
    NotAFrame,
    #[error("the checksum does not match")]
    Checksum,
    #[error("the frame is of format version {0}, which this program does not read")]
    FrameVersion(u8),
    #[error("the header is malformed")]
    Header,
    #[error("the frame runs past the end of the segment")]
    Truncated,
    #[error("it belongs to another journal")]
    OtherJournal,
    #[error("it belongs to segment {0}")]
    OtherSegment(u64),
    #[error("it belongs at byte {0}")]
    OtherOffset(u64),
    #[error("it does not follow the frame before it")]
    Chain,
    #[error("it starts with record {found} where {expected} is next")]
    Sequence { found: Position, expected: Position },
    #[error("its records do not fill its payload")]
    Records,
    #[error("the segment is missing")]
    Missing,
    #[error("the segment was continued, but the frame that closes it is gone")]
    NotClosed,
    #[error("it is not the segment that the one before it announced")]
    Successor,
}

/// Bytes of the frame around a payload: a whole number of sectors.
pub(super) const fn frame_bytes(payload_bytes: usize) -> u64 {
    ((FRAME_HEADER_BYTES + payload_bytes) as u64).next_multiple_of(SECTOR_BYTES)
}

/// A number of bytes in a file as a length in memory.
///
/// # Panics
/// On a machine whose memory cannot hold a segment.
pub(super) fn length(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a segment fits in memory")
}

pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// The name of a segment's file. Formatted only when somebody reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentName(pub(super) u64);

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "journal-{:016}.seg", self.0)
    }
}

pub(super) fn segment_name(id: u64) -> String {
    SegmentName(id).to_string()
}

/// The id in a name of exactly the form of [`segment_name`].
pub(super) fn segment_id(name: &str) -> Option<u64> {
    numbered(name, "journal-", ".seg")
}

pub(super) fn numbered(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let is_plain = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { digits.parse().ok() } else { None }
}

/// The first block of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) journal_id: u64,
    pub(super) segment_id: u64,
    pub(super) first: Position,
    /// Checksum of the last batch or seal of the segment before.
    pub(super) previous: u32,
    pub(super) segment_bytes: u64,
    /// The unused part holds frames of an older segment, not zeros.
    pub(super) recycled: bool,
}

/// Why a header block was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    Flaw(Flaw),
    Version(u16),
}

impl SegmentHeader {
    /// The header block, and the checksum that the chain goes on with.
    pub(super) fn encode(&self) -> (Vec<u8>, u32) {
        let mut block = vec![0; length(HEADER_BLOCK_BYTES)];
        block[4..12].copy_from_slice(SEGMENT_MAGIC);
        put_u16(&mut block, 12, FORMAT_VERSION.into());
        put_u16(&mut block, 14, self.recycled.into());
        block[16..32].copy_from_slice(CHECKSUM_NAME);
        put_u64(&mut block, 32, self.segment_id);
        put_u64(&mut block, 40, self.first.get());
        put_u64(&mut block, 48, self.journal_id);
        put_u64(&mut block, 56, self.segment_bytes);
        put_u32(&mut block, 64, self.previous);
        let checksum = crc_fast::crc32_iscsi(&block[CHECKSUM_BYTES..]);
        put_u32(&mut block, 0, checksum);
        (block, checksum)
    }

    /// Reads a header block; `bytes` may be shorter than one, or longer.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, u32), HeaderFault> {
        let Some(block) = bytes.get(..length(HEADER_BLOCK_BYTES)) else {
            return Err(HeaderFault::Flaw(Flaw::Truncated));
        };
        let checksum = u32_at(block, 0);
        if crc_fast::crc32_iscsi(&block[CHECKSUM_BYTES..]) != checksum {
            return Err(HeaderFault::Flaw(Flaw::Checksum));
        }
        if &block[4..12] != SEGMENT_MAGIC {
            return Err(HeaderFault::Flaw(Flaw::Header));
        }
        let version = u16_at(block, 12);
        if version != u16::from(FORMAT_VERSION) {
            return Err(HeaderFault::Version(version));
        }
        let header = Self {
            journal_id: u64_at(block, 48),
            segment_id: u64_at(block, 32),
            first: Position::new(u64_at(block, 40)),
            previous: u32_at(block, 64),
            segment_bytes: u64_at(block, 56),
            recycled: u16_at(block, 14) == 1,
        };
        // What this version would not have written is not read either.
        if header.encode().0 != block {
            return Err(HeaderFault::Flaw(Flaw::Header));
        }
        Ok((header, checksum))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    Batch = 1,
    Seal = 2,
    Close = 3,
}

/// Where a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FramePlace {
    pub(super) journal_id: u64,
    pub(super) segment_id: u64,
    pub(super) offset: u64,
}

/// What the next frame has to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) previous: u32,
    pub(super) next: Position,
}

impl Chain {
    pub(super) fn check(self, frame: &Frame<'_>) -> Result<(), Flaw> {
        if frame.first != self.next {
            return Err(Flaw::Sequence {
                found: frame.first,
                expected: self.next,
            });
        }
        if frame.previous != self.previous {
            return Err(Flaw::Chain);
        }
        Ok(())
    }

    pub(super) fn after(self, checksum: u32, records: u32) -> Self {
        Self {
            previous: checksum,
            next: self.next.plus(records.into()),
        }
    }
}

/// A frame that is valid in itself and in its place. Whether it follows the one before is for [`Chain::check`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) kind: FrameKind,
    pub(super) checksum: u32,
    pub(super) previous: u32,
    pub(super) first: Position,
    pub(super) records: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Puts a frame into `buffer`, replacing what was there, and returns its checksum.
    pub(super) fn encode(
        buffer: &mut Vec<u8>,
        kind: FrameKind,
        place: FramePlace,
        chain: Chain,
        (records, payload): (u32, &[u8]),
    ) -> u32 {
        let mut header = [0; FRAME_HEADER_BYTES];
        header[4..8].copy_from_slice(FRAME_MAGIC);
        header[8] = FORMAT_VERSION;
        header[9] = kind as u8;
        put_u32(
            &mut header,
            12,
            u32::try_from(payload.len()).expect("a batch keeps its limit"),
        );
        put_u32(&mut header, 16, records);
        put_u32(&mut header, 20, chain.previous);
        put_u64(&mut header, 24, chain.next.get());
        put_u64(&mut header, 32, place.segment_id);
        put_u64(&mut header, 40, place.offset);
        put_u64(&mut header, 48, place.journal_id);
        buffer.clear();
        buffer.extend_from_slice(&header);
        buffer.extend_from_slice(payload);
        buffer.resize(length(frame_bytes(payload.len())), 0);
        let checksum = crc_fast::crc32_iscsi(&buffer[CHECKSUM_BYTES..]);
        put_u32(buffer, 0, checksum);
        checksum
    }

    /// Reads the frame at the start of `bytes`, which may go on behind it.
    pub(super) fn decode(bytes: &'a [u8], place: FramePlace) -> Result<Self, Flaw> {
        let frame_bytes = claimed_bytes(bytes)?;
        let found = FramePlace {
            journal_id: u64_at(bytes, 48),
            segment_id: u64_at(bytes, 32),
            offset: u64_at(bytes, 40),
        };
        check_place(found, place)?;
        let whole = bytes.get(..length(frame_bytes)).ok_or(Flaw::Truncated)?;
        let checksum = u32_at(whole, 0);
        if crc_fast::crc32_iscsi(&whole[CHECKSUM_BYTES..]) != checksum {
            return Err(Flaw::Checksum);
        }
        if whole[8] != FORMAT_VERSION {
            return Err(Flaw::FrameVersion(whole[8]));
        }
        let payload = &whole[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + u32_at(whole, 12) as usize];
        let frame = Self {
            kind: kind_of(whole[9])?,
            checksum,
            previous: u32_at(whole, 20),
            first: Position::new(u64_at(whole, 24)),
            records: u32_at(whole, 16),
            payload,
        };
        frame.check_payload()?;
        Ok(frame)
    }

    pub(super) fn bytes(&self) -> u64 {
        frame_bytes(self.payload.len())
    }

    /// The checksum of the header that a close frame announces.
    pub(super) fn successor(&self) -> u32 {
        u32_at(self.payload, 0)
    }

    fn check_payload(&self) -> Result<(), Flaw> {
        match self.kind {
            FrameKind::Batch if self.records > 0 => check_records(self.payload, self.records),
            FrameKind::Seal if self.records == 0 && self.payload.is_empty() => Ok(()),
            FrameKind::Close if self.records == 0 && self.payload.len() == CHECKSUM_BYTES => Ok(()),
            FrameKind::Batch | FrameKind::Seal | FrameKind::Close => Err(Flaw::Records),
        }
    }
}

/// How long the frame at the start of `bytes` says that it is. Not to be believed before its checksum was seen.
pub(super) fn claimed_bytes(bytes: &[u8]) -> Result<u64, Flaw> {
    let Some(header) = bytes.get(..FRAME_HEADER_BYTES) else {
        return Err(if is_blank(bytes) {
            Flaw::Blank
        } else {
            Flaw::Truncated
        });
    };
    if &header[4..8] != FRAME_MAGIC {
        return Err(if is_blank(header) {
            Flaw::Blank
        } else {
            Flaw::NotAFrame
        });
    }
    let payload_bytes = u32_at(header, 12) as usize;
    if payload_bytes > BATCH_BYTES_MAX {
        return Err(Flaw::Header);
    }
    Ok(frame_bytes(payload_bytes))
}

/// The records in the payload of a batch, which was checked when its frame was decoded.
#[derive(Debug, Clone)]
pub(super) struct RecordsIn<'a> {
    payload: &'a [u8],
}

impl<'a> RecordsIn<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { payload }
    }

    /// Bytes not read yet.
    pub(super) fn bytes(&self) -> usize {
        self.payload.len()
    }
}

impl<'a> Iterator for RecordsIn<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (prefix, rest) = self.payload.split_at_checked(RECORD_PREFIX_BYTES)?;
        let (record, rest) = rest.split_at_checked(u32_at(prefix, 0) as usize)?;
        self.payload = rest;
        Some(record)
    }
}

fn check_records(payload: &[u8], records: u32) -> Result<(), Flaw> {
    let mut unread = RecordsIn { payload };
    let found = unread.by_ref().count();
    if found == records as usize && unread.payload.is_empty() {
        Ok(())
    } else {
        Err(Flaw::Records)
    }
}

fn check_place(found: FramePlace, expected: FramePlace) -> Result<(), Flaw> {
    if found.journal_id != expected.journal_id {
        return Err(Flaw::OtherJournal);
    }
    if found.segment_id != expected.segment_id {
        return Err(Flaw::OtherSegment(found.segment_id));
    }
    if found.offset != expected.offset {
        return Err(Flaw::OtherOffset(found.offset));
    }
    Ok(())
}

fn kind_of(byte: u8) -> Result<FrameKind, Flaw> {
    match byte {
        1 => Ok(FrameKind::Batch),
        2 => Ok(FrameKind::Seal),
        3 => Ok(FrameKind::Close),
        _ => Err(Flaw::Header),
    }
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + size_of::<u16>()].copy_from_slice(&value.to_le_bytes());
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + size_of::<u32>()].copy_from_slice(&value.to_le_bytes());
}

fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + size_of::<u64>()].copy_from_slice(&value.to_le_bytes());
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + size_of::<u32>())) << u32::BITS
}
