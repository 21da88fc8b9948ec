//! Who may come in: a signature, and what happened to the account since the token was signed.
//!
//! A purchase must not wait for SQL or Redis, so everything that ends access before its time is kept here as well, for as
//! long as a token may live. SQL has it too, and fills this after a restart.
//!
//! **Invariant:** an act that ends access is answered only after it is both in SQL and here.

use std::sync::Arc;

use parking_lot::RwLock;
use uuid::Uuid;

use super::token::{Claims, Role, TokenError, TokenVerifier};
use crate::clock::Clock;
use crate::domain::{BuyerId, IdMap, Span, Timestamp};
use crate::persistence::database::{Database, Error};

/// No token lives longer; those for load tests live a day.
pub(crate) const TOKEN_LIFE_MAX: Span = Span::from_secs(2 * 86_400);

/// Entries that may pile up before those that are too old to matter are dropped.
const ENTRIES_BEFORE_TIDYING: usize = 10_000;

/// Somebody whose token is good now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) id: BuyerId,
    /// As it is now, whatever the token says.
    pub(crate) role: Role,
    /// Nil for a token that belongs to no sign-in.
    pub(crate) session: Uuid,
}

/// What tokens of an account must keep up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) role: Role,
    /// Tokens of an earlier epoch are no good, but for those of `spared`.
    pub(crate) epoch: u64,
    pub(crate) spared: Option<u128>,
    pub(crate) suspended: bool,
    pub(crate) since: Timestamp,
}

/// Checks tokens; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    verifier: Arc<TokenVerifier>,
    board: Arc<AccessBoard>,
}

/// What happened lately to accounts and sessions.
#[derive(Debug)]
pub(crate) struct AccessBoard {
    clock: Arc<dyn Clock>,
    bars: RwLock<Bars>,
}

#[derive(Debug, Default)]
struct Bars {
    accounts: IdMap<BuyerId, Bar>,
    /// Sessions that were ended one by one, and when.
    sessions: IdMap<u128, Timestamp>,
    tidied_to: usize,
}

impl Gate {
    pub(crate) fn new(verifier: Arc<TokenVerifier>, board: Arc<AccessBoard>) -> Self {
        Self { verifier, board }
    }

    pub(crate) fn admit(&self, token: &str) -> Result<Bearer, TokenError> {
        let claims = self.verifier.verify(token)?;
        self.board.admit(&claims).ok_or(TokenError::Invalid)
    }
}

impl AccessBoard {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            bars: RwLock::default(),
        }
    }

    /// Reads what happened while tokens that may still be around were signed.
    pub(crate) async fn load(&self, database: &Database) -> Result<(), Error> {
        let oldest = self.oldest();
        for standing in database.standings_since(oldest).await? {
            let bar = Bar {
                role: Role::parse(&standing.role).ok_or(Error::Damaged { what: "a role" })?,
                epoch: standing.epoch,
                spared: None,
                suspended: standing.suspended,
                since: standing.changed_at,
            };
            self.raise(standing.id, bar);
        }
        for (session, at) in database.sessions_revoked_since(oldest).await? {
            self.end_session_at(session, at);
        }
        Ok(())
    }

    /// From now on tokens of the account must pass this bar. An older one, arriving late, changes nothing.
    pub(crate) fn raise(&self, account: BuyerId, bar: Bar) {
        let oldest = self.oldest();
        let mut bars = self.bars.write();
        let known = bars.accounts.get(&account);
        if known.is_none_or(|known| known.epoch <= bar.epoch) {
            bars.accounts.insert(account, bar);
        }
        bars.tidy(oldest);
    }

    /// Access tokens of the session are good no longer.
    pub(crate) fn end_session(&self, session: u128) {
        self.end_session_at(session, self.clock.now());
    }

    fn end_session_at(&self, session: u128, at: Timestamp) {
        let oldest = self.oldest();
        let mut bars = self.bars.write();
        bars.sessions.insert(session, at);
        bars.tidy(oldest);
    }

    fn admit(&self, claims: &Claims) -> Option<Bearer> {
        let id = BuyerId::new(claims.sub.as_u128());
        let session = claims.sid.as_u128();
        let bars = self.bars.read();
        if bars.sessions.contains_key(&session) {
            return None;
        }
        let bar = bars.accounts.get(&id);
        if bar.is_some_and(|bar| !bar.is_passed_by(claims.ver, session)) {
            return None;
        }
        Some(Bearer {
            id,
            role: bar.map_or(claims.role, |bar| bar.role),
            session: claims.sid,
        })
    }

    fn oldest(&self) -> Timestamp {
        let now = self.clock.now().as_micros();
        Timestamp::from_micros(now.saturating_sub(TOKEN_LIFE_MAX.as_micros()))
    }
}

impl Bar {
    fn is_passed_by(&self, epoch: u64, session: u128) -> bool {
        let spared = session != 0 && self.spared == Some(session);
        !self.suspended && (spared || epoch >= self.epoch)
    }
}

impl Bars {
    /// Each tidying waits until there is twice as much again, so that it costs next to nothing an entry.
    fn tidy(&mut self, oldest: Timestamp) {
        let len = self.accounts.len() + self.sessions.len();
        if len < ENTRIES_BEFORE_TIDYING.max(2 * self.tidied_to) {
            return;
        }
        self.accounts.retain(|_, bar| bar.since >= oldest);
        self.sessions.retain(|_, at| *at >= oldest);
        self.tidied_to = self.accounts.len() + self.sessions.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const KIM: BuyerId = BuyerId::new(7);
    const SESSION: u128 = 70;

    fn board() -> (AccessBoard, ManualClock) {
        let clock = ManualClock::at(Timestamp::from_micros(1_000_000_000_000));
        (AccessBoard::new(Arc::new(clock.clone())), clock)
    }

    fn claims(session: u128, epoch: u64) -> Claims {
        Claims::of(&crate::accounts::token::Bearer {
            user: Uuid::from_u128(KIM.get()),
            role: Role::Buyer,
            session: Uuid::from_u128(session),
            epoch,
        })
    }

    fn bar(board: &AccessBoard, epoch: u64) -> Bar {
        Bar {
            role: Role::Buyer,
            epoch,
            spared: None,
            suspended: false,
            since: board.clock.now(),
        }
    }

    #[test]
    fn a_signature_is_enough_while_nothing_happened() {
        let (board, _) = board();
        assert_eq!(board.admit(&claims(SESSION, 0)).map(|it| it.id), Some(KIM));
    }

    #[test]
    fn an_ended_session_takes_its_tokens_along_and_no_others() {
        let (board, _) = board();
        board.end_session(SESSION);
        assert_eq!(board.admit(&claims(SESSION, 0)), None);
        assert!(board.admit(&claims(71, 0)).is_some());
    }

    #[test]
    fn a_new_epoch_ends_all_tokens_but_those_of_the_session_that_is_spared() {
        let (board, _) = board();
        let spared = Some(SESSION);
        board.raise(
            KIM,
            Bar {
                spared,
                ..bar(&board, 1)
            },
        );
        assert!(board.admit(&claims(SESSION, 0)).is_some());
        assert_eq!(board.admit(&claims(71, 0)), None);
        assert_eq!(board.admit(&claims(0, 0)), None);
        assert!(board.admit(&claims(71, 1)).is_some());
        board.raise(KIM, bar(&board, 2));
        assert_eq!(board.admit(&claims(SESSION, 0)), None);
    }

    #[test]
    fn a_token_without_a_session_is_never_spared() {
        let (board, _) = board();
        board.raise(
            KIM,
            Bar {
                spared: Some(0),
                ..bar(&board, 1)
            },
        );
        assert_eq!(board.admit(&claims(0, 0)), None);
    }

    #[test]
    fn the_role_is_the_one_of_now() {
        let (board, _) = board();
        board.raise(
            KIM,
            Bar {
                role: Role::Admin,
                ..bar(&board, 1)
            },
        );
        let bearer = board.admit(&claims(SESSION, 1)).expect("good");
        assert_eq!(bearer.role, Role::Admin);
    }

    #[test]
    fn an_older_change_that_arrives_late_changes_nothing() {
        let (board, _) = board();
        board.raise(KIM, bar(&board, 2));
        board.raise(KIM, bar(&board, 1));
        assert_eq!(board.admit(&claims(SESSION, 1)), None);
    }

    #[test]
    fn what_no_token_can_remember_is_dropped() {
        let (board, clock) = board();
        for session in 1..=u128::try_from(ENTRIES_BEFORE_TIDYING).expect("small") - 1 {
            board.end_session(session);
        }
        clock.advance(TOKEN_LIFE_MAX);
        clock.advance(Span::from_secs(1));
        board.end_session(u128::MAX);
        assert_eq!(board.bars.read().sessions.len(), 1);
    }
}
