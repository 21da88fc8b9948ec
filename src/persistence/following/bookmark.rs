//! Where a follower stands, and whether that is a place in the journal at hand.
//!
//! A position alone is a number: a copy of the journal that went on by itself, and the journal of another shop, have one of the
//! same value. So a follower keeps with it which journal it read and the checksum of the frame that holds the record,
//! which by the chain covers everything before it.
//!
//! A batch may end in the middle of a frame. The frame that is compared is the one that holds the record, whole: what
//! of it the follower has not read yet is the same if its checksum is.

use crate::persistence::journal::{JournalId, JournalReader, Position, ReadError, View};

/// Where a follower stands, as SQL keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bookmark {
    /// The last record that the follower is done with.
    pub position: Position,
    /// `None`: an earlier release wrote it, or nobody has followed any journal yet.
    pub journal: Option<JournalId>,
    /// Checksum of the frame that holds the record. `None`: an earlier release wrote it, or the journal had let the
    /// frame go.
    pub frame: Option<u32>,
}

/// Why the journal at hand is not the one that the database has followed, or not far enough. Each names both sides.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Mismatch {
    #[error(
        "the database follows another journal: it has followed journal {stored} to record {position}, but this is journal \
         {found}, which ends at {last}; bring the journal and the database together that belong together"
    )]
    OtherJournal {
        stored: JournalId,
        position: Position,
        found: JournalId,
        last: Position,
    },
    #[error(
        "the database follows another copy of the journal: record {position} of journal {journal} is in the frame with \
         checksum {stored:08x} there and {found:08x} here, so both were written to after they were copied; bring the journal \
         and the database together that belong together"
    )]
    OtherPast {
        journal: JournalId,
        position: Position,
        stored: u32,
        found: u32,
    },
    #[error(
        "the database is ahead of the journal: it has followed to record {position}, but the journal ends at {last}. \
         Acknowledged orders are missing from the journal; restore the journal that belongs to this database"
    )]
    Ahead { position: Position, last: Position },
    #[error(
        "the database is too old for the journal: it has followed to record {position}, but the journal begins at {first}; \
         restore a newer backup of the database, or the segments with the records between"
    )]
    RecordsGone { position: Position, first: Position },
}

impl Mismatch {
    /// For programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherJournal { .. } => "other_journal",
            Self::OtherPast { .. } => "other_past",
            Self::Ahead { .. } => "database_ahead",
            Self::RecordsGone { .. } => "records_gone",
        }
    }
}

/// Why a follower has no place in a journal.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Where a follower goes on.
pub struct ResumePoint {
    /// What SQL says.
    pub stored: Bookmark,
    /// What it should say: the same, with what was missing in it.
    pub bookmark: Bookmark,
    /// Begins with the next record that there is.
    pub reader: Box<dyn JournalReader>,
    /// Records that are left out because the journal has let them go.
    pub skipped: u64,
}

impl ResumePoint {
    /// Compares what SQL says with the journal, and reads on behind it. What an earlier release wrote is believed.
    pub fn find(stored: Bookmark, journal: &View) -> Result<Self, ResumeError> {
        let bookmark = stored.checked(journal)?;
        Ok(Self {
            stored,
            bookmark,
            reader: journal.reader(bookmark.position)?,
            skipped: 0,
        })
    }

    /// The same for a follower that can do without what the journal has let go.
    pub fn find_or_skip(stored: Bookmark, journal: &View) -> Result<Self, ResumeError> {
        match Self::find(stored, journal) {
            Err(ResumeError::Mismatch(Mismatch::RecordsGone { position, first })) => {
                let before_first = Position::new(first.get().saturating_sub(1));
                Ok(Self {
                    stored,
                    bookmark: Bookmark {
                        journal: Some(journal.id()),
                        ..stored
                    },
                    reader: journal.reader(before_first)?,
                    skipped: before_first.get().saturating_sub(position.get()),
                })
            }
            other => other,
        }
    }
}

impl std::fmt::Debug for ResumePoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ResumePoint")
            .field("bookmark", &self.bookmark)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

impl Bookmark {
    /// The same bookmark with what was missing in it, if it is one of this journal.
    pub fn checked(self, journal: &View) -> Result<Self, ResumeError> {
        let (position, found, last) = (self.position, journal.id(), journal.last());
        if let Some(stored) = self.journal.filter(|stored| *stored != found) {
            return Err(Mismatch::OtherJournal {
                stored,
                position,
                found,
                last,
            }
            .into());
        }
        if position > last {
            return Err(Mismatch::Ahead { position, last }.into());
        }
        let frame = frame_of(position, journal)?;
        if let (Some(stored), Some(frame)) = (self.frame, frame)
            && stored != frame
        {
            return Err(Mismatch::OtherPast {
                journal: found,
                position,
                stored,
                found: frame,
            }
            .into());
        }
        Ok(Self {
            position,
            journal: Some(found),
            frame: frame.or(self.frame),
        })
    }
}

impl Bookmark {
    /// The same where there is no journal at all, not even an empty one.
    pub fn checked_against_nothing(self) -> Result<(), ResumeError> {
        let (position, last) = (self.position, Position::ZERO);
        if position > last {
            return Err(Mismatch::Ahead { position, last }.into());
        }
        Ok(())
    }
}

/// `None`: the record itself was let go, but what follows it is there.
fn frame_of(position: Position, journal: &View) -> Result<Option<u32>, ResumeError> {
    match journal.reader(position) {
        Err(ReadError::Released { first, .. }) => {
            return Err(Mismatch::RecordsGone { position, first }.into());
        }
        reader => drop(reader?),
    }
    match journal.frame_at(position) {
        Ok(frame) => Ok(Some(frame)),
        Err(ReadError::Released { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
