//! Access tokens: HS256, with everything a purchase needs in the claims, so that it costs no look-up.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::{Clock, SystemClock};

const ISSUER: &str = "layby";
const AUDIENCE: &str = "layby";
/// Sets an access token apart from any other token made with the same key.
const TOKEN_USE: &str = "access";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Buyer,
    Seller,
    Admin,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    pub sub: Uuid,
    pub role: Role,
    pub iat: u64,
    pub exp: u64,
    iss: String,
    aud: String,
    #[serde(rename = "use")]
    token_use: String,
}

pub struct TokenIssuer {
    key: EncodingKey,
    header: Header,
}

pub struct TokenVerifier {
    key: DecodingKey,
    validation: Validation,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buyer => "buyer",
            Self::Seller => "seller",
            Self::Admin => "admin",
        }
    }
}

impl TokenIssuer {
    pub fn new(secret: &[u8]) -> Self {
        Self {
            key: EncodingKey::from_secret(secret),
            header: Header::new(Algorithm::HS256),
        }
    }

    /// Uses the secret that a server of this data directory made for itself.
    pub fn from_data_dir(data_dir: &Path) -> anyhow::Result<Self> {
        Ok(Self::new(&secret_of(data_dir)?))
    }

    /// A token that says that its bearer is `user` in `role`, for `ttl_secs` from now.
    pub fn issue(&self, user: Uuid, role: Role, ttl_secs: u64) -> anyhow::Result<String> {
        let now = now_secs();
        let claims = Claims {
            sub: user,
            role,
            iat: now,
            exp: now.saturating_add(ttl_secs),
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            token_use: TOKEN_USE.into(),
        };
        Ok(jsonwebtoken::encode(&self.header, &claims, &self.key)?)
    }
}

impl TokenVerifier {
    pub fn new(secret: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Self {
            key: DecodingKey::from_secret(secret),
            validation,
        }
    }

    /// Checks what the server of this data directory signs.
    pub fn from_data_dir(data_dir: &Path) -> anyhow::Result<Self> {
        Ok(Self::new(&secret_of(data_dir)?))
    }

    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| TokenError::from(&error))?;
        if decoded.claims.token_use != TOKEN_USE {
            return Err(TokenError::Invalid);
        }
        Ok(decoded.claims)
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

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TokenIssuer")
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TokenVerifier")
    }
}

fn secret_of(data_dir: &Path) -> anyhow::Result<Vec<u8>> {
    let path = crate::secrets::token_key_path(data_dir);
    crate::secrets::read(&path).with_context(|| {
        format!(
            "cannot read the token key `{}`; start the server of this data directory once",
            path.display()
        )
    })
}

fn now_secs() -> u64 {
    SystemClock.now().as_micros() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn issued(ttl_secs: u64) -> String {
        TokenIssuer::new(SECRET)
            .issue(Uuid::from_u128(7), Role::Buyer, ttl_secs)
            .expect("a token")
    }

    fn forged(header: &Header, edit: impl Fn(&mut serde_json::Value), secret: &[u8]) -> String {
        let mut claims = serde_json::json!({
            "sub": Uuid::from_u128(7), "role": "admin", "iat": now_secs(), "exp": now_secs() + 60,
            "iss": ISSUER, "aud": AUDIENCE, "use": TOKEN_USE,
        });
        edit(&mut claims);
        jsonwebtoken::encode(header, &claims, &EncodingKey::from_secret(secret)).expect("a token")
    }

    #[test]
    fn a_token_says_who_its_bearer_is() {
        let claims = TokenVerifier::new(SECRET)
            .verify(&issued(60))
            .expect("good");
        assert_eq!((claims.sub, claims.role), (Uuid::from_u128(7), Role::Buyer));
    }

    #[test]
    fn forged_and_stale_tokens_are_refused() {
        let verifier = TokenVerifier::new(SECRET);
        let hs256 = Header::new(Algorithm::HS256);
        let past = |claims: &mut serde_json::Value| claims["exp"] = (now_secs() - 10).into();
        let stale = forged(&hs256, past, SECRET);
        assert_eq!(verifier.verify(&stale).err(), Some(TokenError::Expired));
        let unsigned = format!(
            "eyJhbGciOiJub25lIn0.{}.",
            issued(60).split('.').nth(1).expect("claims")
        );
        let bad = [
            forged(&hs256, |_| {}, b"another secret of thirty-two byte"),
            forged(&Header::new(Algorithm::HS512), |_| {}, SECRET),
            forged(&hs256, |claims| claims["aud"] = "shop".into(), SECRET),
            forged(&hs256, |claims| claims["iss"] = "shop".into(), SECRET),
            forged(&hs256, |claims| claims["use"] = "refresh".into(), SECRET),
            forged(&hs256, |claims| claims["role"] = "root".into(), SECRET),
            forged(&hs256, |claims| claims["sub"] = "me".into(), SECRET),
            unsigned,
            String::new(),
            "a.b.c".into(),
        ];
        for token in bad {
            assert_eq!(
                verifier.verify(&token).err(),
                Some(TokenError::Invalid),
                "{token}"
            );
        }
    }
}
