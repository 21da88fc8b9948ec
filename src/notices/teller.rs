//! One batch of events: looking up whom it concerns, and writing the letters.
//!
//! Most events of a rush may concern people without an account here, as the buyers of a load test are; those cost one
//! look-up for hundreds of them.

use std::time::Duration;

use super::NoticesParts;
use super::fold::Tales;
use super::letters::{Draft, Facts};
use crate::accounts::{self, Life};
use crate::domain::{BuyerId, IdMap, Line, OrderId, ProductId, Timestamp};
use crate::persistence::database::{Error, NewLetter, NoticeWriter};
use crate::persistence::following::{Batch, Bookmark, Follow, FollowError};
use crate::persistence::journal::Position;

/// Letters in one transaction, about. While it lasts, SQLite takes no other writer.
const LETTERS_AT_ONCE: usize = 200;

/// Why letters were not written. The same batch is tried again.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    #[error(transparent)]
    Database(#[from] Error),
    #[error(
        "{waiting} letters about orders wait to be sent; further ones are written once there is room"
    )]
    OutboxFull { waiting: u64 },
    /// Somebody else moves the position too.
    #[error(
        "letters are no longer written up to {expected} of this journal: the database went back, or another process writes \
         them too"
    )]
    Moved { expected: Position },
    /// The end of the transaction is not known.
    #[error("no answer within {after:?}")]
    TimedOut { after: Duration },
}

impl FollowError for TellError {
    fn may_heal(&self) -> bool {
        match self {
            Self::Database(error) => error.may_be_put_right(),
            Self::OutboxFull { .. } | Self::Moved { .. } | Self::TimedOut { .. } => true,
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::Database(Error::Refused(_)))
    }

    fn timed_out(after: Duration) -> Self {
        Self::TimedOut { after }
    }
}

/// Makes letters of events.
pub(super) struct Teller {
    parts: NoticesParts,
    /// `None` until SQL answers, and again after every failure.
    desk: Option<Desk>,
}

struct Desk(NoticeWriter);

impl Teller {
    pub(super) fn new(parts: NoticesParts) -> Self {
        Self { parts, desk: None }
    }

    async fn desk(&mut self) -> Result<(&mut Desk, &NoticesParts), TellError> {
        let desk = match &mut self.desk {
            Some(desk) => desk,
            none => none.insert(Desk::open(&self.parts).await?),
        };
        Ok((desk, &self.parts))
    }
}

impl Follow for Teller {
    type Error = TellError;

    const NAME: &'static str = "notices";
    const LOSS: &'static str = "no letters about orders are written";
    const SKIPS_RELEASED: bool = true;

    fn may_read_through(&self) -> Position {
        self.parts.projected.position()
    }

    async fn bookmark(&mut self) -> Result<Bookmark, TellError> {
        let (desk, _) = self.desk().await?;
        Ok(desk.0.connection.bookmark().await?)
    }

    async fn settle(&mut self, bookmark: Bookmark) -> Result<(), TellError> {
        let (desk, _) = self.desk().await?;
        let settled = desk.0.connection.settle(bookmark).await?;
        if settled { Ok(()) } else { Err(desk.moved()) }
    }

    fn always_commits_durably(&self) -> bool {
        self.parts.database.dialect().always_commits_durably()
    }

    async fn apply(&mut self, batch: &Batch, durably: bool) -> Result<(), TellError> {
        let (desk, parts) = self.desk().await?;
        desk.0.connection.commit_durably(durably).await?;
        desk.tell(parts, batch).await
    }

    async fn rest(&mut self) -> Result<(), TellError> {
        Ok(())
    }

    fn let_go(&mut self) {
        self.desk = None;
    }
}

impl Desk {
    async fn open(parts: &NoticesParts) -> Result<Self, TellError> {
        Ok(Self(NoticeWriter::open(&parts.database).await?))
    }

    fn moved(&self) -> TellError {
        TellError::Moved {
            expected: self.told(),
        }
    }

    /// Up to where letters are written.
    fn told(&self) -> Position {
        self.0.connection.stored().position
    }

    async fn tell(&mut self, parts: &NoticesParts, batch: &Batch) -> Result<(), TellError> {
        let untold = batch.after(self.told());
        let Some((last, _)) = untold.last() else {
            return Ok(());
        };
        let tales = Tales::of(untold);
        let facts = self.facts(&tales).await?;
        let now = parts.clock.now();
        let drafts = facts.letters(&tales, &parts.calendar, now);
        let mut drafts = drafts.into_iter().peekable();
        loop {
            let part = take_part(&mut drafts);
            let through = drafts.peek().map_or(*last, |next| before(next.position));
            let letters = seal_all(parts, &facts, part, now);
            self.write(parts, batch.bookmark(through), &letters).await?;
            if drafts.peek().is_none() {
                return Ok(());
            }
        }
    }

    async fn write(
        &mut self,
        parts: &NoticesParts,
        through: Bookmark,
        letters: &[NewLetter],
    ) -> Result<(), TellError> {
        if !letters.is_empty() {
            let waiting = self.0.waiting().await?;
            if waiting >= parts.waiting_max {
                return Err(TellError::OutboxFull { waiting });
            }
        }
        if !self.0.tell(through, letters).await? {
            return Err(self.moved());
        }
        if !letters.is_empty() {
            parts.carrier.ring();
        }
        Ok(())
    }

    // -- looking up ----------------------------------------------------------------------------------------------

    async fn facts(&mut self, tales: &Tales) -> Result<Facts, TellError> {
        let mut facts = Facts::default();
        if tales.is_empty() {
            return Ok(facts);
        }
        let placed = tales.orders.values().filter_map(|story| story.buyer);
        let offered = tales.offers.keys().map(|(_, buyer)| *buyer);
        self.add_accounts(&mut facts, placed.chain(offered).collect())
            .await?;
        self.add_orders(&mut facts, tales).await?;
        self.add_lines(&mut facts).await?;
        self.add_names(&mut facts, tales).await?;
        Ok(facts)
    }

    async fn add_accounts(
        &mut self,
        facts: &mut Facts,
        mut ids: Vec<BuyerId>,
    ) -> Result<(), TellError> {
        ids.sort_unstable();
        ids.dedup();
        for account in self.0.addressable(&ids).await? {
            facts.accounts.insert(account.id, account);
        }
        Ok(())
    }

    /// Whose an order is that was placed earlier is known to SQL alone.
    async fn add_orders(&mut self, facts: &mut Facts, tales: &Tales) -> Result<(), TellError> {
        let may_concern =
            |buyer: Option<BuyerId>| buyer.is_none_or(|buyer| facts.accounts.contains_key(&buyer));
        let wanted = tales.orders.iter();
        let mut wanted: Vec<OrderId> = wanted
            .filter(|(_, story)| may_concern(story.buyer))
            .map(|(order, _)| *order)
            .collect();
        wanted.sort_unstable();
        let mut orders = self.0.orders(&wanted).await?;
        let earlier = orders.iter().map(|order| order.buyer);
        let earlier = earlier.filter(|buyer| !facts.accounts.contains_key(buyer));
        self.add_accounts(facts, earlier.collect()).await?;
        orders.retain(|order| facts.accounts.contains_key(&order.buyer));
        facts.orders = orders.into_iter().map(|order| (order.id, order)).collect();
        Ok(())
    }

    async fn add_lines(&mut self, facts: &mut Facts) -> Result<(), TellError> {
        let sequences = facts.orders.values().map(|order| order.sequence);
        let mut sequences: Vec<u64> = sequences.collect();
        sequences.sort_unstable();
        let mut lines: IdMap<u64, Vec<Line>> = IdMap::default();
        for (sequence, line) in self.0.lines(&sequences).await? {
            lines.entry(sequence).or_default().push(line);
        }
        for order in facts.orders.values_mut() {
            order.lines = lines.remove(&order.sequence).unwrap_or_default().into();
        }
        Ok(())
    }

    async fn add_names(&mut self, facts: &mut Facts, tales: &Tales) -> Result<(), TellError> {
        let bought = facts.orders.values().flat_map(|order| &order.lines);
        let bought = bought.map(|line| line.product);
        let offered = tales.offers.keys().map(|(product, _)| *product);
        let mut products: Vec<ProductId> = bought.chain(offered).collect();
        products.sort_unstable();
        products.dedup();
        let names = self.0.product_names(&products).await?;
        facts.names = names.into_iter().collect();
        Ok(())
    }
}

/// About [`LETTERS_AT_ONCE`]. Letters of one record stay together: they are told with it, or not.
fn take_part(drafts: &mut std::iter::Peekable<impl Iterator<Item = Draft>>) -> Vec<Draft> {
    let mut part: Vec<Draft> = Vec::new();
    while let Some(next) = drafts.next_if(|next| {
        part.len() < LETTERS_AT_ONCE
            || part
                .last()
                .is_some_and(|last| last.position == next.position)
    }) {
        part.push(next);
    }
    part
}

/// What does not open is told in the log, and costs its owner the letter, but nobody else theirs.
fn seal_all(
    parts: &NoticesParts,
    facts: &Facts,
    drafts: Vec<Draft>,
    now: Timestamp,
) -> Vec<NewLetter> {
    let seal = |draft: Draft| {
        let account = facts.accounts.get(&draft.to)?;
        let life = Life {
            now,
            ends_at: draft.ends_at,
        };
        accounts::order_letter(&parts.vault, account, draft.letter, life).ok()
    };
    drafts.into_iter().filter_map(seal).collect()
}

fn before(position: Position) -> Position {
    Position::new(position.get().saturating_sub(1))
}
