//! Sign-ins that last: refresh tokens, of which each is good once, and the access tokens that come with them.
//!
//! A refresh token is the session's id, a tag and 256 random bits. Only their hash is kept. The tag can be made only here, so
//! that somebody who knows a session's id from an access token cannot pass for the holder of an old refresh token and end
//! the session.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::RngExt;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::events::{self, Act, Origin};
use super::sign_in::check_standing;
use super::token::{Bearer as TokenBearer, Role};
use super::{AccountRefusal, Accounts, BarChange};
use crate::domain::{BuyerId, Span, Timestamp};
use crate::mail::Letter;
use crate::persistence::database::{Account, Error, Session};

/// How long an access token is good.
const ACCESS_LIFE: Duration = Duration::from_secs(900);
/// A sign-in ends after this time whatever happens,
const SESSION_LIFE: Span = Span::from_secs(30 * 86_400);
/// or when it was not used for this long.
const SESSION_IDLE_MAX: Span = Span::from_secs(7 * 86_400);

const ID_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const RANDOM_BYTES: usize = 32;
const TOKEN_BYTES: usize = ID_BYTES + TAG_BYTES + RANDOM_BYTES;

/// What somebody gets who signed in.
pub(crate) struct SignedIn {
    pub(crate) access_token: String,
    pub(crate) refresh_token: Zeroizing<String>,
    pub(crate) expires_in_secs: u64,
}

/// A refresh token that was made here, whether or not it is good.
struct Presented {
    session: u128,
    hash: [u8; 32],
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SignedIn")
    }
}

impl Accounts {
    pub(super) async fn open_session(&self, account: &Account) -> Result<SignedIn, AccountRefusal> {
        let id = Uuid::now_v7();
        let (refresh_token, token_hash) = self.draw_refresh_token(id.as_u128());
        let now = self.now();
        let session = Session {
            id: id.as_u128(),
            account: account.id,
            token_hash,
            created_at: now,
            used_at: now,
            expires_at: now.plus(SESSION_LIFE),
            revoked_at: None,
        };
        let opened = self
            .shared
            .database
            .open_session(session, account.access_epoch);
        if !opened.await? {
            // Another password, a suspension: what was checked a moment ago is true no longer.
            return Err(AccountRefusal::InvalidCredentials);
        }
        self.signed_in(account, id, refresh_token)
    }

    /// An access token without a session, for an account that somebody vouches for.
    pub(crate) async fn plain_token(&self, id: BuyerId, ttl_secs: u64) -> anyhow::Result<String> {
        let account = self.own_account(id).await?;
        let bearer = TokenBearer {
            epoch: account.access_epoch,
            ..TokenBearer::plain(Uuid::from_u128(id.get()), role_of(&account)?)
        };
        self.shared.issuer.issue(&bearer, ttl_secs)
    }

    /// Takes a refresh token for a new pair. A token that was used before ends the session: one of the two who had it is
    /// not who they should be.
    pub(crate) async fn refresh(
        &self,
        token: &str,
        origin: Origin,
    ) -> Result<SignedIn, AccountRefusal> {
        let presented = self
            .parse(token)
            .ok_or(AccountRefusal::InvalidRefreshToken)?;
        let session = self.shared.database.session(presented.session).await?;
        let now = self.now();
        let session = session
            .filter(|session| is_live(session, now))
            .ok_or(AccountRefusal::InvalidRefreshToken)?;
        if !bool::from(session.token_hash.ct_eq(&presented.hash)) {
            return Err(self.reused(&session, origin).await?);
        }
        let account = self.shared.database.account(session.account).await?;
        let account = account.ok_or(AccountRefusal::InvalidRefreshToken)?;
        check_standing(&account).map_err(|_ended| AccountRefusal::InvalidRefreshToken)?;
        let (refresh_token, new_hash) = self.draw_refresh_token(session.id);
        let rotated =
            self.shared
                .database
                .rotate_session(session.id, presented.hash, new_hash, now);
        if !rotated.await? {
            let now_kept = self.shared.database.session(session.id).await?;
            // Ended meanwhile, by whoever may, or used twice at once.
            let is_over = now_kept.is_none_or(|it| it.revoked_at.is_some());
            return Err(match is_over {
                true => AccountRefusal::InvalidRefreshToken,
                false => self.reused(&session, origin).await?,
            });
        }
        self.signed_in(&account, Uuid::from_u128(session.id), refresh_token)
    }

    /// Ends the session of the token, or all of its account. A token that is not good ends nothing, and nobody is told.
    pub(crate) async fn sign_out(
        &self,
        token: &str,
        everywhere: bool,
        origin: Origin,
    ) -> Result<(), AccountRefusal> {
        let Some(presented) = self.parse(token) else {
            return Ok(());
        };
        let session = self.shared.database.session(presented.session).await?;
        let now = self.now();
        let Some(session) = session.filter(|session| is_live(session, now)) else {
            return Ok(());
        };
        if !bool::from(session.token_hash.ct_eq(&presented.hash)) {
            self.reused(&session, origin).await?;
            return Ok(());
        }
        if everywhere {
            return self.end_access(session.account, origin).await;
        }
        self.end_session(&session).await?;
        self.note_own(Act::SignedOut, session.account, origin);
        Ok(())
    }

    pub(super) fn note_own(&self, act: Act, account: BuyerId, origin: Origin) {
        self.note(act, Some(account), Some(account), origin);
    }

    async fn end_session(&self, session: &Session) -> Result<(), Error> {
        let now = self.now();
        self.shared.database.revoke_session(session.id, now).await?;
        self.shared.board.end_session(session.id);
        Ok(())
    }

    async fn end_access(&self, id: BuyerId, origin: Origin) -> Result<(), AccountRefusal> {
        let Some(account) = self.shared.database.account(id).await? else {
            return Ok(());
        };
        let now = self.now();
        let event = events::event(Act::SignedOut, Some(id), Some(id), origin, now);
        let chain = self.shared.chain.clone();
        let epoch = self
            .shared
            .database
            .end_access(id, now, chain, event)
            .await?;
        self.raise_bar(
            id,
            epoch,
            BarChange {
                role: role_of(&account)?,
                spared: None,
                suspended: account.suspended_at.is_some(),
            },
        );
        Ok(())
    }

    /// Ends the session and tells its owner.
    async fn reused(
        &self,
        session: &Session,
        origin: Origin,
    ) -> Result<AccountRefusal, AccountRefusal> {
        self.end_session(session).await?;
        self.note(Act::RefreshReused, None, Some(session.account), origin);
        let owner = self.shared.database.account(session.account).await?;
        if let Some(owner) = owner.filter(|owner| owner.sealed.data_key.is_some()) {
            self.write_to(&owner, Letter::SignedOutEverywhere {})
                .await?;
        }
        Ok(AccountRefusal::InvalidRefreshToken)
    }

    fn signed_in(
        &self,
        account: &Account,
        session: Uuid,
        refresh_token: Zeroizing<String>,
    ) -> Result<SignedIn, AccountRefusal> {
        let bearer = TokenBearer {
            user: Uuid::from_u128(account.id.get()),
            role: role_of(account)?,
            session,
            epoch: account.access_epoch,
        };
        let expires_in_secs = ACCESS_LIFE.as_secs();
        let issued = self.shared.issuer.issue(&bearer, expires_in_secs);
        let access_token = issued.map_err(|error| {
            tracing::error!(%error, "an access token could not be signed");
            AccountRefusal::Busy
        })?;
        Ok(SignedIn {
            access_token,
            refresh_token,
            expires_in_secs,
        })
    }

    fn draw_refresh_token(&self, session: u128) -> (Zeroizing<String>, [u8; 32]) {
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        let (id, rest) = bytes.split_at_mut(ID_BYTES);
        let (tag, random) = rest.split_at_mut(TAG_BYTES);
        id.copy_from_slice(&session.to_be_bytes());
        tag.copy_from_slice(&self.tag(session));
        rand::rng().fill(random);
        let hash = self.shared.vault.token_hash(bytes.as_slice());
        (
            Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(bytes.as_slice())),
            hash,
        )
    }

    fn parse(&self, token: &str) -> Option<Presented> {
        if token.len() > 2 * TOKEN_BYTES {
            return None;
        }
        let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?);
        if bytes.len() != TOKEN_BYTES {
            return None;
        }
        let (id, rest) = bytes.split_at(ID_BYTES);
        let (tag, _) = rest.split_at(TAG_BYTES);
        let session = u128::from_be_bytes(id.try_into().ok()?);
        let genuine = bool::from(self.tag(session).as_slice().ct_eq(tag));
        genuine.then(|| Presented {
            session,
            hash: self.shared.vault.token_hash(&bytes),
        })
    }

    fn tag(&self, session: u128) -> [u8; TAG_BYTES] {
        let hash = self
            .shared
            .vault
            .code_hash("session", BuyerId::new(session), "");
        super::limit_key(&hash)
    }
}

pub(super) fn role_of(account: &Account) -> Result<Role, AccountRefusal> {
    Role::parse(&account.role).ok_or(AccountRefusal::Database(Error::Damaged { what: "a role" }))
}

fn is_live(session: &Session, now: Timestamp) -> bool {
    session.revoked_at.is_none()
        && now < session.expires_at
        && now < session.used_at.plus(SESSION_IDLE_MAX)
}
