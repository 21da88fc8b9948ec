//! My page: what a person sees and changes of themselves.

use zeroize::Zeroizing;

use super::events::{self, Act, Origin};
use super::fields::{PersonName, Phone};
use super::profile::Column;
use super::sessions::role_of;
use super::token::Role;
use super::{AccountRefusal, Accounts, BarChange};
use crate::domain::{BuyerId, Timestamp};
use crate::mail::Language;
use crate::persistence::database::{AccessChange, ProfilePatch};

/// What is known about a person, in the clear. Accounts that an operator vouched for may know nothing.
pub(crate) struct Profile {
    pub(crate) id: BuyerId,
    pub(crate) username: Option<Zeroizing<String>>,
    pub(crate) email: Option<Zeroizing<String>>,
    pub(crate) name: Option<Zeroizing<String>>,
    pub(crate) phone: Option<Zeroizing<String>>,
    pub(crate) role: Role,
    pub(crate) language: Language,
    pub(crate) created_at: Timestamp,
}

/// What is `None` stays as it is.
#[derive(Debug, Default)]
pub(crate) struct ProfileChange {
    pub(crate) name: Option<PersonName>,
    pub(crate) phone: Option<Phone>,
    pub(crate) language: Option<Language>,
}

/// Not derived: what is personal does not belong in a log.
impl std::fmt::Debug for Profile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Profile({})", self.id)
    }
}

impl Accounts {
    pub(crate) async fn profile(&self, id: BuyerId) -> Result<Profile, AccountRefusal> {
        let account = self.own_account(id).await?;
        let mut profile = Profile {
            id,
            username: None,
            email: None,
            name: None,
            phone: None,
            role: role_of(&account)?,
            language: Language::parse(&account.language).unwrap_or_default(),
            created_at: account.created_at,
        };
        if account.sealed.data_key.is_none() {
            return Ok(profile);
        }
        let key = self.data_key(&account)?;
        let sealed = &account.sealed;
        let open =
            |column, value: &Option<Box<[u8]>>| Self::open(&key, id, column, value.as_deref());
        profile.username = open(Column::Username, &sealed.username)?;
        profile.email = open(Column::Email, &sealed.email)?;
        profile.name = open(Column::Name, &sealed.name)?;
        profile.phone = open(Column::Phone, &sealed.phone)?;
        Ok(profile)
    }

    pub(crate) async fn change_profile(
        &self,
        id: BuyerId,
        change: ProfileChange,
    ) -> Result<Profile, AccountRefusal> {
        let account = self.own_account(id).await?;
        let mut patch = ProfilePatch {
            language: change.language.map(Language::as_str),
            ..ProfilePatch::default()
        };
        if change.name.is_some() || change.phone.is_some() {
            let key = self.own_data_key(&account).await?;
            let seal = |column: Column, text: &str| key.seal(column.place(id), text.as_bytes());
            patch.name = change.name.map(|name| seal(Column::Name, name.as_str()));
            patch.phone = change
                .phone
                .map(|phone| seal(Column::Phone, phone.as_str()));
        }
        if !self.shared.database.update_profile(id, patch).await? {
            return Err(AccountRefusal::NoSuchAccount);
        }
        self.profile(id).await
    }

    /// Destroys the data key: nobody can read what it sealed any more, in backups neither. The books keep the id.
    pub(crate) async fn erase(&self, id: BuyerId, origin: Origin) -> Result<(), AccountRefusal> {
        let now = self.now();
        let event = events::event(Act::Erased, Some(id), Some(id), origin, now);
        let chain = self.shared.chain.clone();
        let erased = self.shared.database.erase_account(id, now, chain, event);
        let erased = erased.await?;
        self.shared.versions.forget_all();
        let AccessChange::Changed { epoch } = checked(erased)? else {
            return Ok(());
        };
        self.raise_bar(
            id,
            epoch,
            BarChange {
                role: Role::Buyer,
                spared: None,
                suspended: true,
            },
        );
        Ok(())
    }
}

/// Tells refusals from changes.
pub(super) fn checked(change: AccessChange) -> Result<AccessChange, AccountRefusal> {
    match change {
        AccessChange::NoSuchAccount => Err(AccountRefusal::NoSuchAccount),
        AccessChange::LastAdmin => Err(AccountRefusal::LastAdmin),
        change @ (AccessChange::Unchanged | AccessChange::Changed { .. }) => Ok(change),
    }
}
