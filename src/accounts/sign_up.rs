//! Signing up, and proving that one reads the address.

use rand::RngExt;
use uuid::Uuid;

use super::events::{Act, Origin};
use super::fields::{Email, PersonName, Phone, Username};
use super::letters::{self, Life};
use super::passwords::{Password, PasswordPool};
use super::profile::{self, Column};
use super::token::Role;
use super::vault::{DataKey, Index, Vault};
use super::{AccountRefusal, Accounts, SharedAccounts, errands, limit_key, rules};
use crate::domain::{BuyerId, Span, Timestamp};
use crate::mail::{Envelope, Language, Letter};
use crate::persistence::database::{self, Account, NewCode, Outbox, Purpose, SignedUp};
use crate::persistence::limits::Rule;

/// How long a code is good.
pub(super) const CODE_MINUTES: u32 = 10;
const CODE_LIFE: Span = Span::from_secs(60 * CODE_MINUTES);
/// An address that is not verified within this time gives its name free.
pub(super) const UNVERIFIED_LIFE: Span = Span::from_secs(86_400);

/// Somebody who wants an account.
#[derive(Debug)]
pub(crate) struct NewPerson {
    pub(crate) username: Username,
    pub(crate) password: Password,
    pub(crate) email: Email,
    pub(crate) name: PersonName,
    pub(crate) phone: Phone,
}

impl Accounts {
    pub(crate) async fn is_username_available(
        &self,
        username: &Username,
        origin: Origin,
    ) -> Result<bool, AccountRefusal> {
        self.limit_asking(origin).await?;
        let index = self.shared.vault.index(Index::Username, username.key());
        let namesake = self.shared.database.account_by_username(index).await?;
        let stale_before = self.stale_before();
        let taken =
            namesake.is_some_and(|it| it.verified_at.is_some() || it.created_at >= stale_before);
        Ok(!taken)
    }

    /// Makes an account whose address is to be verified, and mails the code. Somebody whose address is known already is
    /// answered the same and mailed a word of caution instead; both cost a hash and a write.
    pub(crate) async fn sign_up(
        &self,
        person: NewPerson,
        language: Language,
        origin: Origin,
    ) -> Result<(), AccountRefusal> {
        self.limit_asking(origin).await?;
        self.limit_letters(&rules::VERIFY_LETTERS, &person.email)
            .await?;
        let id = BuyerId::new(Uuid::now_v7().as_u128());
        let code = draw_code();
        let envelope = Envelope {
            to: person.email.as_str().into(),
            language,
            letter: Letter::VerifyEmail {
                username: person.username.as_str().into(),
                code: code.clone(),
                minutes: CODE_MINUTES,
            },
        };
        let (key, account) = self.new_account(id, Role::Buyer, person).await?;
        let account = Account {
            language: language.as_str().into(),
            verified_at: None,
            ..account
        };
        let now = self.now();
        let letter = letters::seal(
            Outbox::Accounts,
            &key,
            id,
            &envelope,
            Life::of(now, CODE_LIFE),
        );
        let code = self.new_code(id, Purpose::Verify, &code, now);
        let stale_before = self.stale_before();
        let database = &self.shared.database;
        match database
            .sign_up(account, code, letter, stale_before)
            .await?
        {
            SignedUp::Made => self.note(Act::SignedUp, Some(id), Some(id), origin),
            SignedUp::UsernameTaken => return Err(AccountRefusal::UsernameTaken),
            SignedUp::AddressKnown(known) => self.write_to(&known, Letter::AddressInUse {}).await?,
        }
        self.shared.carrier.ring();
        Ok(())
    }

    /// Makes an account that is verified from the start: the demo's people, an operator's admin.
    pub(crate) async fn vouch_for(
        &self,
        id: BuyerId,
        role: Role,
        person: NewPerson,
    ) -> Result<(), AccountRefusal> {
        let (_, account) = self.new_account(id, role, person).await?;
        match self.shared.database.create_account(account).await {
            Err(database::Error::Taken) => Err(AccountRefusal::UsernameTaken),
            other => Ok(other?),
        }
    }

    async fn new_account(
        &self,
        id: BuyerId,
        role: Role,
        person: NewPerson,
    ) -> Result<(DataKey, Account), AccountRefusal> {
        let SharedAccounts {
            vault, passwords, ..
        } = &*self.shared;
        new_account(vault, passwords, id, role, person, self.now()).await
    }

    /// A wrong code, a used or an expired one, and an address that nobody has are all the same to whoever asks.
    pub(crate) async fn verify_email(
        &self,
        email: &Email,
        code: &str,
        origin: Origin,
    ) -> Result<(), AccountRefusal> {
        self.limit_asking(origin).await?;
        let account = self
            .account_of(email)
            .await?
            .ok_or(AccountRefusal::CodeInvalid)?;
        let hash = self.code_hash(account.id, Purpose::Verify, code);
        let verified = self
            .shared
            .database
            .verify_email(account.id, hash, self.now());
        if !verified.await? {
            return Err(AccountRefusal::CodeInvalid);
        }
        self.note(
            Act::EmailVerified,
            Some(account.id),
            Some(account.id),
            origin,
        );
        Ok(())
    }

    /// Mails a new code if the address waits to be verified. Answered before it is known whether it does.
    pub(crate) async fn resend_code(
        &self,
        email: Email,
        origin: Origin,
    ) -> Result<(), AccountRefusal> {
        self.limit_asking(origin).await?;
        self.limit_letters(&rules::VERIFY_LETTERS, &email).await?;
        self.shared.errands.put(errands::Errand::Verify(email))
    }

    pub(super) async fn limit_letters(
        &self,
        rule: &Rule,
        email: &Email,
    ) -> Result<(), AccountRefusal> {
        let index = self.shared.vault.index(Index::Email, email.as_str());
        self.limit(rule, limit_key(&index)).await
    }

    pub(super) async fn account_of(
        &self,
        email: &Email,
    ) -> Result<Option<Account>, AccountRefusal> {
        let index = self.shared.vault.index(Index::Email, email.as_str());
        Ok(self.shared.database.account_by_email(index).await?)
    }

    /// Puts a new code and the letter with it in the place of those before.
    pub(super) async fn mail_code(
        &self,
        account: &Account,
        purpose: Purpose,
    ) -> Result<(), AccountRefusal> {
        let key = self.data_key(account)?;
        let username = Self::open(
            &key,
            account.id,
            Column::Username,
            account.sealed.username.as_deref(),
        )?;
        let username = username.unwrap_or_default().to_string();
        let code = draw_code();
        let letter = match purpose {
            Purpose::Verify => Letter::VerifyEmail {
                username,
                code: code.clone(),
                minutes: CODE_MINUTES,
            },
            Purpose::Reset => Letter::ResetPassword {
                username,
                code: code.clone(),
                minutes: CODE_MINUTES,
            },
        };
        let now = self.now();
        let letter = self.letter(account, &key, letter, Life::of(now, CODE_LIFE))?;
        let code = self.new_code(account.id, purpose, &code, now);
        self.shared.database.send_code(code, letter).await?;
        self.shared.carrier.ring();
        Ok(())
    }

    fn new_code(&self, account: BuyerId, purpose: Purpose, code: &str, now: Timestamp) -> NewCode {
        NewCode {
            account,
            purpose,
            code_hash: self.code_hash(account, purpose, code),
            created_at: now,
            expires_at: now.plus(CODE_LIFE),
        }
    }

    pub(super) fn code_hash(&self, account: BuyerId, purpose: Purpose, code: &str) -> [u8; 32] {
        self.shared.vault.code_hash(purpose.as_str(), account, code)
    }

    pub(super) fn stale_before(&self) -> Timestamp {
        let now = self.now().as_micros();
        Timestamp::from_micros(now.saturating_sub(UNVERIFIED_LIFE.as_micros()))
    }
}

/// An account that is verified, with its data key. Not in SQL yet.
pub(crate) async fn new_account(
    vault: &Vault,
    passwords: &PasswordPool,
    id: BuyerId,
    role: Role,
    person: NewPerson,
    now: Timestamp,
) -> Result<(DataKey, Account), AccountRefusal> {
    let hash = passwords.hash(person.password).await;
    let hash = hash.map_err(|_busy| AccountRefusal::Busy)?;
    let (username, email) = (&person.username, &person.email);
    let (key, sealed) =
        profile::seal_person(vault, id, username, email, &person.name, &person.phone);
    let account = Account {
        username_index: Some(vault.index(Index::Username, username.key())),
        email_index: Some(vault.index(Index::Email, email.as_str())),
        password_hash: Some(hash.into()),
        sealed,
        ..Account::nameless(id, role.as_str(), now)
    };
    Ok((key, account))
}

/// Six digits. With five tries within ten minutes a guess is right once in 200,000 codes.
fn draw_code() -> String {
    format!("{:06}", rand::rng().random_range(0..1_000_000_u32))
}
