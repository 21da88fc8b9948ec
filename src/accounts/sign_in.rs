//! Signing in by name and password.

use super::events::{Act, Origin};
use super::fields::Username;
use super::passwords::{Password, Verified};
use super::vault::Index;
use super::{AccountRefusal, Accounts, SignedIn, limit_key, rules};
use crate::persistence::database::Account;
use crate::persistence::limits::Verdict;

/// What an attempt has taken from the buckets, to be given back if it was right.
struct Attempt {
    account: [u8; 16],
    client: [u8; 16],
    /// Of this account and this client together, for marks only: buckets are never of both.
    pair: [u8; 16],
}

impl Accounts {
    /// A name that nobody has costs the same hash as one that somebody has. Whether the address is verified is told only
    /// after the right password.
    pub(crate) async fn sign_in(
        &self,
        username: &Username,
        password: Password,
        origin: Origin,
    ) -> Result<SignedIn, AccountRefusal> {
        let index = self.shared.vault.index(Index::Username, username.key());
        let attempt = self.attempt(&index, origin);
        // Without a look-up: turning somebody away must stay cheap.
        if let Err(refusal) = self.limit_attempt(&attempt).await {
            self.note(Act::SignInLimited, None, None, origin);
            return Err(refusal);
        }
        let found = self.shared.database.account_by_username(index).await?;
        let id = found.as_ref().map(|account| account.id);
        let stored = found.as_ref().and_then(|it| it.password_hash.clone());
        let verified = self.verify(password, stored.clone()).await?;
        let (Some(account), Verified::Yes { rehash }) = (found, verified) else {
            self.failed(&attempt).await;
            self.note(Act::SignInFailed, None, id, origin);
            return Err(AccountRefusal::InvalidCredentials);
        };
        self.succeeded(&attempt).await;
        check_standing(&account)?;
        if let (Some(old), Some(new)) = (stored, rehash) {
            let replaced = self
                .shared
                .database
                .replace_password_hash(account.id, old, new.into());
            replaced.await?;
        }
        let signed_in = self.open_session(&account).await?;
        self.note(Act::SignedIn, Some(account.id), Some(account.id), origin);
        Ok(signed_in)
    }

    pub(super) async fn verify(
        &self,
        password: Password,
        stored: Option<Box<str>>,
    ) -> Result<Verified, AccountRefusal> {
        use super::passwords::VerifyError;
        let verified = self
            .shared
            .passwords
            .verify(password, stored.map(String::from));
        verified.await.map_err(|error| match error {
            VerifyError::Busy(_) => AccountRefusal::Busy,
            VerifyError::Damaged(_) => super::profile::damaged(&"the hash of a password"),
        })
    }

    fn attempt(&self, index: &[u8; 32], origin: Origin) -> Attempt {
        let account = limit_key(index);
        let client = origin.client.to_be_bytes();
        let mut pair = account;
        for (byte, other) in pair.iter_mut().zip(client) {
            *byte ^= other;
        }
        Attempt {
            account,
            client,
            pair,
        }
    }

    async fn limit_attempt(&self, attempt: &Attempt) -> Result<(), AccountRefusal> {
        let limits = &self.shared.limits;
        self.limit(&rules::SIGN_IN_BY_CLIENT, attempt.client)
            .await?;
        let Verdict::Wait(wait) = limits
            .take(&rules::SIGN_IN_BY_ACCOUNT, attempt.account)
            .await
        else {
            return Ok(());
        };
        // First: an address that is known may be shared with somebody who guesses.
        if limits.is_marked(rules::FAILED, attempt.pair).await {
            return Err(AccountRefusal::too_many(wait));
        }
        if limits.is_marked(rules::KNOWN, attempt.pair).await {
            return Ok(());
        }
        self.limit(&rules::SIGN_IN_BY_NEWCOMERS, attempt.account)
            .await
    }

    async fn failed(&self, attempt: &Attempt) {
        let limits = &self.shared.limits;
        limits
            .mark(rules::FAILED, attempt.pair, rules::FAILED_FOR)
            .await;
    }

    async fn succeeded(&self, attempt: &Attempt) {
        let limits = &self.shared.limits;
        limits
            .give_back(&rules::SIGN_IN_BY_CLIENT, attempt.client)
            .await;
        limits
            .forget(&rules::SIGN_IN_BY_ACCOUNT, attempt.account)
            .await;
        limits
            .mark(rules::KNOWN, attempt.pair, rules::KNOWN_FOR)
            .await;
    }
}

/// May somebody who knows the password come in?
pub(super) fn check_standing(account: &Account) -> Result<(), AccountRefusal> {
    if account.suspended_at.is_some() {
        return Err(AccountRefusal::Suspended);
    }
    if account.verified_at.is_none() {
        return Err(AccountRefusal::EmailNotVerified);
    }
    Ok(())
}
