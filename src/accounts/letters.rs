//! Letters on their way to an account: addressed in its owner's language, and sealed with its key.

use uuid::Uuid;
use zeroize::Zeroizing;

use super::profile::{self, Column};
use super::vault::{DataKey, SealedPlace, Vault};
use super::{AccountRefusal, Accounts};
use crate::domain::{BuyerId, Span, Timestamp};
use crate::mail::{Envelope, Language, Letter};
use crate::persistence::database::{Account, DueLetter, NewLetter, Outbox};

/// Letters without a code are tried for so long.
pub(crate) const LETTER_LIFE: Span = Span::from_secs(3 * 86_400);

/// From when to when a letter is of use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    pub(crate) now: Timestamp,
    pub(crate) ends_at: Timestamp,
}

impl Life {
    pub(super) fn of(now: Timestamp, life: Span) -> Self {
        Self {
            now,
            ends_at: now.plus(life),
        }
    }
}

impl Accounts {
    /// Puts a letter into the outbox.
    pub(super) async fn write_to(
        &self,
        account: &Account,
        letter: Letter,
    ) -> Result<(), AccountRefusal> {
        let letter = self.notice(account, letter)?;
        self.shared.database.insert_letter(letter).await?;
        self.shared.carrier.ring();
        Ok(())
    }

    /// A letter that tells an owner what happened.
    pub(super) fn notice(
        &self,
        account: &Account,
        letter: Letter,
    ) -> Result<NewLetter, AccountRefusal> {
        let key = self.data_key(account)?;
        self.letter(account, &key, letter, Life::of(self.now(), LETTER_LIFE))
    }

    pub(super) fn letter(
        &self,
        account: &Account,
        key: &DataKey,
        letter: Letter,
        life: Life,
    ) -> Result<NewLetter, AccountRefusal> {
        let envelope = address(account, key, letter)?;
        Ok(seal(Outbox::Accounts, key, account.id, &envelope, life))
    }
}

/// A letter about an order to whoever has placed it.
pub(crate) fn order_letter(
    vault: &Vault,
    account: &Account,
    letter: Letter,
    life: Life,
) -> Result<NewLetter, AccountRefusal> {
    let key = profile::data_key(vault, account)?;
    let envelope = address(account, &key, letter)?;
    Ok(seal(Outbox::Orders, &key, account.id, &envelope, life))
}

/// Opens what was sealed here.
pub(crate) fn open_letter(vault: &Vault, letter: &DueLetter) -> Result<Envelope, String> {
    let wrapped = letter.data_key.as_deref().ok_or("the account is gone")?;
    let key = vault
        .unwrap(letter.account, wrapped)
        .map_err(|damage| damage.to_string())?;
    let text = key
        .open(place(letter.outbox, letter.id), &letter.letter)
        .map_err(|damage| damage.to_string())?;
    Envelope::from_json(&text)
}

fn address(account: &Account, key: &DataKey, letter: Letter) -> Result<Envelope, AccountRefusal> {
    let email = account.sealed.email.as_deref();
    let email = Accounts::open(key, account.id, Column::Email, email)?;
    Ok(Envelope {
        to: email.ok_or(AccountRefusal::NoSuchAccount)?.to_string(),
        language: Language::parse(&account.language).unwrap_or_default(),
        letter,
    })
}

pub(super) fn seal(
    outbox: Outbox,
    key: &DataKey,
    account: BuyerId,
    envelope: &Envelope,
    life: Life,
) -> NewLetter {
    let id = Uuid::now_v7().as_u128();
    let text = Zeroizing::new(envelope.to_json());
    NewLetter {
        id,
        account,
        letter: key.seal(place(outbox, id), &text),
        next_at: life.now,
        expires_at: life.ends_at,
        created_at: life.now,
    }
}

const fn place(outbox: Outbox, id: u128) -> SealedPlace {
    SealedPlace {
        table: outbox.table(),
        column: "letter",
        row: id,
    }
}

/// An account that letters can be written to, with the id in its address.
#[cfg(test)]
pub(crate) fn account_with_address(vault: &Vault, id: BuyerId, language: Language) -> Account {
    use super::fields::{Email, PersonName, Phone, Username};
    use super::token::Role;
    use super::vault::Index;

    let username = Username::parse(&format!("somebody.{}", id.get())).expect("a name");
    let email = Email::parse(&format!("somebody.{}@mail.example", id.get())).expect("an address");
    let name = PersonName::parse("Somebody").expect("a name");
    let phone = Phone::parse("+82 10-1234-5678").expect("a number");
    let (_, sealed) = profile::seal_person(vault, id, &username, &email, &name, &phone);
    Account {
        username_index: Some(vault.index(Index::Username, username.key())),
        email_index: Some(vault.index(Index::Email, email.as_str())),
        language: language.as_str().into(),
        sealed,
        ..Account::nameless(id, Role::Buyer.as_str(), Timestamp::ZERO)
    }
}
