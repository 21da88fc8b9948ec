//! What is known about a person, sealed and opened.

use zeroize::Zeroizing;

use super::fields::{Email, PersonName, Phone, Username};
use super::vault::{DataKey, SealedPlace, Vault};
use super::{AccountRefusal, Accounts};
use crate::domain::BuyerId;
use crate::persistence::database::{Account, Sealed};

const TABLE: &str = "accounts";

/// The columns of an account that are sealed.
#[derive(Clone, Copy)]
pub(super) enum Column {
    Username,
    Email,
    Name,
    Phone,
}

impl Column {
    pub(super) const fn place(self, account: BuyerId) -> SealedPlace {
        SealedPlace {
            table: TABLE,
            column: match self {
                Self::Username => "username",
                Self::Email => "email",
                Self::Name => "name",
                Self::Phone => "phone",
            },
            row: account.get(),
        }
    }
}

/// Seals a new person under a key of its own.
pub(super) fn seal_person(
    vault: &Vault,
    account: BuyerId,
    username: &Username,
    email: &Email,
    name: &PersonName,
    phone: &Phone,
) -> (DataKey, Sealed) {
    let (key, wrapped) = vault.new_data_key(account);
    let seal = |column: Column, text: &str| -> Option<Box<[u8]>> {
        Some(key.seal(column.place(account), text.as_bytes()).into())
    };
    let sealed = Sealed {
        data_key: Some(wrapped.into()),
        username: seal(Column::Username, username.as_str()),
        email: seal(Column::Email, email.as_str()),
        name: seal(Column::Name, name.as_str()),
        phone: seal(Column::Phone, phone.as_str()),
    };
    (key, sealed)
}

impl Accounts {
    /// The data key of an account that has one. Only erased accounts and those without a name have none.
    pub(super) fn data_key(&self, account: &Account) -> Result<DataKey, AccountRefusal> {
        data_key(&self.shared.vault, account)
    }

    /// The data key, made at its first use for an account that an operator made without a name.
    pub(super) async fn own_data_key(&self, account: &Account) -> Result<DataKey, AccountRefusal> {
        if account.sealed.data_key.is_some() {
            return self.data_key(account);
        }
        let (key, wrapped) = self.shared.vault.new_data_key(account.id);
        let database = &self.shared.database;
        if database.set_first_data_key(account.id, wrapped).await? {
            return Ok(key);
        }
        // Somebody else was faster.
        self.data_key(&self.own_account(account.id).await?)
    }

    /// `None` if there is nothing sealed.
    pub(super) fn open(
        key: &DataKey,
        account: BuyerId,
        column: Column,
        sealed: Option<&[u8]>,
    ) -> Result<Option<Zeroizing<String>>, AccountRefusal> {
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        open_text(key, column.place(account), sealed).map(Some)
    }
}

pub(super) fn data_key(vault: &Vault, account: &Account) -> Result<DataKey, AccountRefusal> {
    let Some(wrapped) = account.sealed.data_key.as_deref() else {
        return Err(AccountRefusal::NoSuchAccount);
    };
    let key = vault.unwrap(account.id, wrapped);
    key.map_err(|damage| damaged(&damage))
}

pub(super) fn open_text(
    key: &DataKey,
    place: SealedPlace,
    sealed: &[u8],
) -> Result<Zeroizing<String>, AccountRefusal> {
    let bytes = key.open(place, sealed).map_err(|damage| damaged(&damage))?;
    match str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => Err(damaged(&error)),
    }
}

/// Somebody changed the tables, or the keys are other ones: an operator must know, the client only that it failed.
pub(super) fn damaged(damage: &dyn std::fmt::Display) -> AccountRefusal {
    tracing::error!(%damage, "personal data does not open; restore the table or the keys");
    AccountRefusal::Damaged
}
