//! The only place that makes and checks access tokens: the service's own code, with the key of its data directory.

use std::path::Path;

use anyhow::Result;
use layby::http::token::{Role, TokenIssuer, TokenVerifier};
use uuid::Uuid;

#[derive(Debug)]
pub(crate) struct Issuer(TokenIssuer);

#[derive(Debug)]
pub(crate) struct Verifier(TokenVerifier);

impl Issuer {
    pub(crate) fn from_data_dir(data_dir: &Path) -> Result<Self> {
        Ok(Self(TokenIssuer::from_data_dir(data_dir)?))
    }

    pub(crate) fn issue_to_buyer(&self, user_id: Uuid, ttl_seconds: u64) -> Result<String> {
        self.0.issue(user_id, Role::Buyer, ttl_seconds)
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
