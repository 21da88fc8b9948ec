//! Access tokens: HS256, with everything a purchase needs in the claims, so that it costs no look-up.
//!
//! The header names the key. A token that is good today stays good when a new key is added, and dies when its key is
//! taken out. What else a header may say (`jku`, `jwk`, `x5u`, `x5c`) is not looked at: keys come from our own ring alone.
//!
//! Deliberately absent: whether the session has ended or the account was suspended. `sid` and `ver` are for whoever
//! knows that.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arc_swap::{ArcSwap, Guard};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::{Clock, SystemClock};
use crate::secrets::{self, KeyId, KeyRing, LiveKeys};

const ISSUER: &str = "layby";
const AUDIENCE: &str = "layby";
const TYPE: &str = "JWT";
/// Sets an access token apart from any other token made with the same key.
const TOKEN_USE: &str = "access";
/// Ours have about 400 bytes. A longer one is not valid, and is not decoded to find that out.
const TOKEN_BYTES_MAX: usize = 2_048;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Buyer,
    Seller,
    Admin,
}

/// Whom a token is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bearer {
    pub user: Uuid,
    pub role: Role,
    /// The sign-in that it belongs to; nil for none.
    pub session: Uuid,
    /// The account's access epoch at this moment.
    pub epoch: u64,
}

/// What a good token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    pub sub: Uuid,
    pub role: Role,
    /// The session; nil for a token that belongs to none: seeds, demos, `admin create`, load tests.
    pub sid: Uuid,
    /// The account's access epoch when the token was made. The account has a later one: the token is no longer good.
    pub ver: u64,
    pub iat: u64,
    pub exp: u64,
    iss: String,
    aud: String,
    #[serde(rename = "use")]
    token_use: String,
}

/// Makes tokens, with the newest key there is at the moment.
#[derive(Debug, Clone)]
pub struct TokenIssuer {
    keys: Arc<LiveKeys>,
}

/// Checks tokens. Every purchase does it: for a known key there is no lock, no disk, and no key is prepared.
pub struct TokenVerifier {
    keys: Arc<LiveKeys>,
    prepared: ArcSwap<Prepared>,
    validation: Validation,
}

/// The keys of a ring as the library wants them.
struct Prepared {
    ring: Arc<KeyRing>,
    keys: Vec<PreparedKey>,
}

struct PreparedKey {
    id: KeyId,
    /// The first part of every token that was made with this key: to compare it is cheaper than to decode it.
    header: String,
    key: DecodingKey,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buyer => "buyer",
            Self::Seller => "seller",
            Self::Admin => "admin",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Buyer, Self::Seller, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == word)
    }
}

#[cfg(test)]
impl Claims {
    pub(crate) fn of(bearer: &Bearer) -> Self {
        Self {
            sub: bearer.user,
            role: bearer.role,
            sid: bearer.session,
            ver: bearer.epoch,
            iat: 0,
            exp: u64::MAX,
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            token_use: TOKEN_USE.into(),
        }
    }
}

impl Bearer {
    /// Somebody without a session, whose token nothing but its end takes back.
    pub const fn plain(user: Uuid, role: Role) -> Self {
        Self {
            user,
            role,
            session: Uuid::nil(),
            epoch: 0,
        }
    }
}

impl TokenIssuer {
    pub const fn new(keys: Arc<LiveKeys>) -> Self {
        Self { keys }
    }

    /// Uses the keys that a server of this data directory made for itself.
    ///
    /// # Errors
    /// If there are none, or they are not usable.
    pub fn from_data_dir(data_dir: &Path) -> anyhow::Result<Self> {
        Ok(Self::new(keys_of(data_dir)?))
    }

    /// A token that says that its bearer is who they are, for `ttl_secs` from now.
    ///
    /// # Errors
    /// If the library cannot sign, which takes no answer of a disk or a network.
    pub fn issue(&self, bearer: &Bearer, ttl_secs: u64) -> anyhow::Result<String> {
        let now = now_secs();
        let claims = Claims {
            sub: bearer.user,
            role: bearer.role,
            sid: bearer.session,
            ver: bearer.epoch,
            iat: now,
            exp: now.saturating_add(ttl_secs),
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            token_use: TOKEN_USE.into(),
        };
        let key = self.keys.primary();
        let signing = EncodingKey::from_secret(key.bytes());
        Ok(jsonwebtoken::encode(
            &header_of(key.id()),
            &claims,
            &signing,
        )?)
    }

    /// As `issue`, for [`Bearer::plain`].
    ///
    /// # Errors
    /// As `issue`.
    pub fn issue_plain(&self, user: Uuid, role: Role, ttl_secs: u64) -> anyhow::Result<String> {
        self.issue(&Bearer::plain(user, role), ttl_secs)
    }
}

impl TokenVerifier {
    pub fn new(keys: Arc<LiveKeys>) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Self {
            prepared: ArcSwap::from_pointee(Prepared::of(keys.ring())),
            keys,
            validation,
        }
    }

    /// Checks what the server of this data directory signs.
    ///
    /// # Errors
    /// As [`TokenIssuer::from_data_dir`].
    pub fn from_data_dir(data_dir: &Path) -> anyhow::Result<Self> {
        Ok(Self::new(keys_of(data_dir)?))
    }

    /// What the token says, if it was made here, for here, and its time is not over.
    ///
    /// # Errors
    /// `Expired` only for a token that is good but for its age.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let (header, _) = token.split_once('.').ok_or(TokenError::Invalid)?;
        let mut prepared = self.prepared();
        if let Some(known) = prepared.by_header(header) {
            return self.verify_with(known, token);
        }
        // Not as we write it: a key that was appended since, a header that somebody else wrote, or a forgery.
        let id = key_id(token)?;
        if prepared.by_id(id).is_none() {
            self.keys.get(id).ok_or(TokenError::Invalid)?;
            prepared = self.prepared();
        }
        let known = prepared.by_id(id).ok_or(TokenError::Invalid)?;
        self.verify_with(known, token)
    }

    fn verify_with(&self, known: &PreparedKey, token: &str) -> Result<Claims, TokenError> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &known.key, &self.validation)
            .map_err(|error| TokenError::from(&error))?;
        if decoded.claims.token_use != TOKEN_USE {
            return Err(TokenError::Invalid);
        }
        Ok(decoded.claims)
    }

    /// The keys of the ring as it is now.
    fn prepared(&self) -> Guard<Arc<Prepared>> {
        let prepared = self.prepared.load();
        if self.keys.is_current(&prepared.ring) {
            return prepared;
        }
        // Two that come here at once prepare the same.
        self.prepared
            .store(Arc::new(Prepared::of(self.keys.ring())));
        self.prepared.load()
    }
}

impl Prepared {
    fn of(ring: Arc<KeyRing>) -> Self {
        // Newest first: most tokens were made with it.
        let mut keys: Vec<_> = ring
            .iter()
            .map(|key| PreparedKey {
                id: key.id(),
                header: encoded(&header_of(key.id())),
                key: DecodingKey::from_secret(key.bytes()),
            })
            .collect();
        keys.reverse();
        Self { ring, keys }
    }

    fn by_header(&self, header: &str) -> Option<&PreparedKey> {
        self.keys.iter().find(|key| key.header == header)
    }

    fn by_id(&self, id: KeyId) -> Option<&PreparedKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// Why a token is not good. No more than this is told to whoever shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the access token has expired; refresh it")]
    Expired,
    #[error("the access token is not valid")]
    Invalid,
}

impl From<&jsonwebtoken::errors::Error> for TokenError {
    fn from(error: &jsonwebtoken::errors::Error) -> Self {
        match error.kind() {
            jsonwebtoken::errors::ErrorKind::ExpiredSignature => Self::Expired,
            _ => Self::Invalid,
        }
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TokenVerifier")
    }
}

/// The key that the header names, if the header is one of an access token at all.
fn key_id(token: &str) -> Result<KeyId, TokenError> {
    let header = jsonwebtoken::decode_header(token).map_err(|error| TokenError::from(&error))?;
    if header.alg != Algorithm::HS256
        || header.typ.as_deref() != Some(TYPE)
        || header.crit.is_some()
    {
        return Err(TokenError::Invalid);
    }
    let id = header.kid.and_then(|kid| kid.parse().ok());
    id.ok_or(TokenError::Invalid)
}

fn header_of(id: KeyId) -> Header {
    Header {
        kid: Some(id.to_string()),
        ..Header::new(Algorithm::HS256)
    }
}

/// The header as it stands in a token.
fn encoded(header: &Header) -> String {
    let json = serde_json::to_vec(header).expect("a header has only strings");
    BASE64_URL.encode(json)
}

fn keys_of(data_dir: &Path) -> anyhow::Result<Arc<LiveKeys>> {
    let path = secrets::token_keys_path(data_dir);
    let keys = LiveKeys::open(&path).with_context(|| {
        format!(
            "cannot read the token keys `{}`; start the server of this data directory once",
            path.display()
        )
    })?;
    Ok(Arc::new(keys))
}

fn now_secs() -> u64 {
    SystemClock.now().as_micros() / 1_000_000
}

#[cfg(test)]
mod tests;
