//! The only place that makes and checks access tokens: the service's own code, with the keys of its data directory.

use std::path::Path;

use anyhow::{Context, Result};
use layby::accounts::token::{Role, TokenIssuer, TokenVerifier};
use layby::secrets::{self, LiveKeys};
use uuid::Uuid;

#[derive(Debug)]
pub(crate) struct Issuer(TokenIssuer);

#[derive(Debug)]
pub(crate) struct Verifier(TokenVerifier);

/// Whether the data directory has the keys of a server.
pub(crate) fn has_key(data_dir: &Path) -> bool {
    secrets::token_keys_path(data_dir).exists()
}

/// A key for peers that run without a server.
pub(crate) fn create_key(data_dir: &Path) -> Result<()> {
    let path = secrets::token_keys_path(data_dir);
    LiveKeys::open_or_make(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
    Ok(())
}

impl Issuer {
    pub(crate) fn from_data_dir(data_dir: &Path) -> Result<Self> {
        Ok(Self(TokenIssuer::from_data_dir(data_dir)?))
    }

    pub(crate) fn issue_to_buyer(&self, user_id: Uuid, ttl_seconds: u64) -> Result<String> {
        self.0.issue_plain(user_id, Role::Buyer, ttl_seconds)
    }
}

impl Verifier {
    pub(crate) fn from_data_dir(data_dir: &Path) -> Result<Self> {
        Ok(Self(TokenVerifier::from_data_dir(data_dir)?))
    }

    pub(crate) fn is_valid(&self, token: &str) -> bool {
        self.0.verify(token).is_ok()
    }
}
