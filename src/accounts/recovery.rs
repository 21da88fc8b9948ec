//! A new password: for somebody who knows the old one, or reads the address.

use super::events::{self, Act, Origin};
use super::fields::Email;
use super::passwords::{Password, Verified};
use super::sessions::role_of;
use super::{AccountRefusal, Accounts, BarChange, errands, rules};
use crate::domain::BuyerId;
use crate::mail::Letter;
use crate::persistence::database::{Account, NewPassword, Purpose};

use super::access::Bearer;

impl Accounts {
    /// Mails a code if there is such an account. Answered before it is known whether there is.
    pub(crate) async fn forgot_password(
        &self,
        email: Email,
        origin: Origin,
    ) -> Result<(), AccountRefusal> {
        self.limit_asking(origin).await?;
        self.limit_letters(&rules::RESET_LETTERS, &email).await?;
        self.shared.errands.put(errands::Errand::Reset(email))
    }

    /// Ends all sessions: whoever knew the old password is out.
    pub(crate) async fn reset_password(
        &self,
        email: &Email,
        code: &str,
        password: Password,
        origin: Origin,
    ) -> Result<(), AccountRefusal> {
        self.limit_asking(origin).await?;
        // Before the code is looked at: a wrong code costs as much as a right one.
        let hash = self.hash(password).await?;
        let account = self
            .account_of(email)
            .await?
            .ok_or(AccountRefusal::CodeInvalid)?;
        let id = account.id;
        let now = self.now();
        let code_hash = self.code_hash(id, Purpose::Reset, code);
        let new = NewPassword {
            account: id,
            hash,
            kept_session: None,
            letter: self.notice(&account, Letter::PasswordChanged {})?,
            now,
        };
        let event = events::event(Act::PasswordReset, Some(id), Some(id), origin, now);
        let chain = self.shared.chain.clone();
        let reset = self
            .shared
            .database
            .reset_password(code_hash, new, chain, event);
        let epoch = reset.await?.ok_or(AccountRefusal::CodeInvalid)?;
        self.after_new_password(&account, epoch, None)
    }

    /// Needs the current password; ends all sessions but the one that asks, and tells the address.
    pub(crate) async fn change_password(
        &self,
        bearer: Bearer,
        current: Password,
        new: Password,
        origin: Origin,
    ) -> Result<(), AccountRefusal> {
        let id = bearer.id;
        let key = id.to_bytes();
        self.limit(&rules::PASSWORD_CHECKS, key).await?;
        let account = self.own_account(id).await?;
        let stored = account.password_hash.clone();
        let verified = self.verify(current, stored.clone()).await?;
        let (Some(old), Verified::Yes { .. }) = (stored, verified) else {
            return Err(AccountRefusal::WrongPassword);
        };
        self.shared
            .limits
            .forget(&rules::PASSWORD_CHECKS, key)
            .await;
        let hash = self.hash(new).await?;
        let now = self.now();
        let kept_session = (!bearer.session.is_nil()).then(|| bearer.session.as_u128());
        let new = NewPassword {
            account: id,
            hash,
            kept_session,
            letter: self.notice(&account, Letter::PasswordChanged {})?,
            now,
        };
        let event = events::event(Act::PasswordChanged, Some(id), Some(id), origin, now);
        let chain = self.shared.chain.clone();
        let changed = self.shared.database.change_password(old, new, chain, event);
        // Somebody else was faster: what was typed as current is no longer.
        let epoch = changed.await?.ok_or(AccountRefusal::WrongPassword)?;
        self.after_new_password(&account, epoch, kept_session)
    }

    async fn hash(&self, password: Password) -> Result<Box<str>, AccountRefusal> {
        let hash = self.shared.passwords.hash(password).await;
        hash.map(Into::into).map_err(|_busy| AccountRefusal::Busy)
    }

    fn after_new_password(
        &self,
        account: &Account,
        epoch: u64,
        spared: Option<u128>,
    ) -> Result<(), AccountRefusal> {
        self.raise_bar(
            account.id,
            epoch,
            BarChange {
                role: role_of(account)?,
                spared,
                suspended: account.suspended_at.is_some(),
            },
        );
        self.shared.carrier.ring();
        Ok(())
    }

    /// The account of somebody whose token is good.
    pub(super) async fn own_account(&self, id: BuyerId) -> Result<Account, AccountRefusal> {
        let account = self.shared.database.account(id).await?;
        account
            .filter(|account| account.erased_at.is_none())
            .ok_or(AccountRefusal::NoSuchAccount)
    }
}
