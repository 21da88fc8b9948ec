//! Records on their way from the journal to whoever follows it.

use crate::domain::Event;
use crate::persistence::codec::{self, CodecError};
use crate::persistence::journal::{Frames, JournalId, Position, Records};

use super::Bookmark;

/// Consecutive records, decoded, and what it takes to say where each of them stands in its journal.
#[derive(Debug)]
pub(crate) struct Batch {
    journal: JournalId,
    events: Vec<(Position, Event)>,
    frames: Frames,
}

/// A record that is whole and yet says nothing to this program.
#[derive(Debug, thiserror::Error)]
#[error("record {position} cannot be read: {source}")]
pub struct Unreadable {
    pub position: Position,
    pub source: CodecError,
}

impl Batch {
    pub(super) fn decode(journal: JournalId, records: &Records) -> Result<Self, Unreadable> {
        let events = records.iter().map(|(position, record)| {
            let event = codec::decode(record);
            let event = event.map_err(|source| Unreadable { position, source })?;
            Ok((position, event))
        });
        Ok(Self {
            journal,
            events: events.collect::<Result<_, _>>()?,
            frames: records.frames().clone(),
        })
    }

    /// Of no journal that anybody could compare with.
    #[cfg(test)]
    pub(crate) fn of(events: &[(Position, Event)]) -> Self {
        Self {
            journal: JournalId::new(0),
            events: events.to_vec(),
            frames: Frames::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn last(&self) -> Option<Position> {
        self.events.last().map(|(position, _)| *position)
    }

    /// The records behind the one at `position`.
    pub(crate) fn after(&self, position: Position) -> &[(Position, Event)] {
        let known = self.events.partition_point(|(it, _)| *it <= position);
        self.events.get(known..).unwrap_or_default()
    }

    /// What a follower writes down that is done with the record at `position`, which is one of these.
    pub(crate) fn bookmark(&self, position: Position) -> Bookmark {
        Bookmark {
            position,
            journal: Some(self.journal),
            frame: self.frames.checksum_at(position),
        }
    }

    pub(super) fn holds(&self, bookmark: Bookmark) -> bool {
        let is_inside = self.events.iter().any(|(it, _)| *it == bookmark.position);
        is_inside && self.bookmark(bookmark.position) == bookmark
    }
}
