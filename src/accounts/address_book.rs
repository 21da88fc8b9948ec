//! The address book. What an address says is sealed as a whole; a change makes a new version, and orders name versions.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fields::{Phone, one_line};
use super::profile::damaged;
use super::vault::{DataKey, SealedPlace};
use super::{AccountRefusal, Accounts};
use crate::domain::{AddressId, BuyerId, Timestamp};
use crate::persistence::database::{AddedAddress, AddressRow, AddressVersion, NewVersion};

/// Addresses of a person.
const ADDRESSES_MAX: u64 = 20;
/// Versions that are remembered; the next one starts the memory afresh.
const VERSIONS_KNOWN_MAX: usize = 100_000;
const POSTAL_CODE_CHARS_MAX: usize = 16;
const LINE_CHARS_MAX: usize = 200;
const RECIPIENT_CHARS_MAX: usize = 100;

/// Where something is sent to, checked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddressDraft {
    pub(crate) recipient: String,
    pub(crate) phone: String,
    /// ISO 3166 alpha-2.
    pub(crate) country: String,
    pub(crate) postal_code: String,
    pub(crate) line1: String,
    pub(crate) line2: Option<String>,
}

/// As typed; what is `None` stays as it is, or is missing in a new address.
#[derive(Default)]
pub(crate) struct AddressPatch {
    pub(crate) recipient: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) country: Option<String>,
    pub(crate) postal_code: Option<String>,
    pub(crate) line1: Option<String>,
    /// `Some(None)` takes it away.
    pub(crate) line2: Option<Option<String>>,
}

/// An entry of the book.
pub(crate) struct Address {
    pub(crate) id: u128,
    pub(crate) content: AddressDraft,
    pub(crate) is_default: bool,
    pub(crate) created_at: Timestamp,
}

/// A field that is not right, and what is wrong with it.
pub(crate) type FieldFault = (&'static str, String);

/// The versions of addresses as they are now.
#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<KnownVersions>);

#[derive(Debug, Default)]
struct KnownVersions {
    /// What was read from SQL before a change must not be remembered after it.
    changes: u64,
    known: HashMap<(BuyerId, u128), AddressId>,
}

impl Versions {
    fn get(&self, account: BuyerId, address: u128) -> Option<AddressId> {
        self.0.lock().known.get(&(account, address)).copied()
    }

    fn changes(&self) -> u64 {
        self.0.lock().changes
    }

    fn put(&self, account: BuyerId, address: u128, version: AddressId, as_of: u64) {
        let mut versions = self.0.lock();
        if versions.changes != as_of {
            return;
        }
        if versions.known.len() >= VERSIONS_KNOWN_MAX {
            versions.known.clear();
        }
        versions.known.insert((account, address), version);
    }

    fn forget(&self, account: BuyerId, address: u128) {
        let mut versions = self.0.lock();
        versions.changes += 1;
        versions.known.remove(&(account, address));
    }

    /// For an account that is erased.
    pub(super) fn forget_all(&self) {
        let mut versions = self.0.lock();
        versions.changes += 1;
        versions.known.clear();
    }
}

impl std::fmt::Debug for AddressDraft {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("AddressDraft")
    }
}

impl std::fmt::Debug for AddressPatch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("AddressPatch")
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Address({:x})", self.id)
    }
}

impl AddressDraft {
    /// From a patch to nothing: all but `line2` and `country` must be there.
    pub(crate) fn parse(patch: AddressPatch) -> Result<Self, Vec<FieldFault>> {
        let missing = || "it is missing".to_owned();
        let mut faults = Vec::new();
        for (field, value) in [
            ("recipient", &patch.recipient),
            ("phone", &patch.phone),
            ("postal_code", &patch.postal_code),
            ("line1", &patch.line1),
        ] {
            if value.is_none() {
                faults.push((field, missing()));
            }
        }
        let nothing = Self {
            recipient: String::new(),
            phone: String::new(),
            country: "KR".into(),
            postal_code: String::new(),
            line1: String::new(),
            line2: None,
        };
        match nothing.changed(patch) {
            Ok(draft) if faults.is_empty() => Ok(draft),
            Ok(_) => Err(faults),
            Err(more) => {
                faults.extend(more);
                Err(faults)
            }
        }
    }

    /// This address with the fields of the patch.
    pub(crate) fn changed(&self, patch: AddressPatch) -> Result<Self, Vec<FieldFault>> {
        let mut changed = self.clone();
        let mut faults = Vec::new();
        let mut set =
            |field, target: &mut String, parsed: Option<Result<String, String>>| match parsed {
                None => {}
                Some(Ok(value)) => *target = value,
                Some(Err(fault)) => faults.push((field, fault)),
            };
        let line = |text: &str, max| one_line(text, 1, max).map(|text| text.to_string());
        let recipient = patch.recipient.map(|it| line(&it, RECIPIENT_CHARS_MAX));
        set("recipient", &mut changed.recipient, recipient);
        let phone = patch
            .phone
            .map(|it| Phone::parse(&it).map(|it| it.as_str().to_owned()));
        set("phone", &mut changed.phone, phone);
        let country = patch.country.map(|it| parse_country(&it));
        set("country", &mut changed.country, country);
        let postal_code = patch.postal_code.map(|it| line(&it, POSTAL_CODE_CHARS_MAX));
        set("postal_code", &mut changed.postal_code, postal_code);
        let line1 = patch.line1.map(|it| line(&it, LINE_CHARS_MAX));
        set("line1", &mut changed.line1, line1);
        match patch.line2 {
            None => {}
            Some(None) => changed.line2 = None,
            Some(Some(text)) => {
                let mut line2 = String::new();
                set("line2", &mut line2, Some(line(&text, LINE_CHARS_MAX)));
                changed.line2 = Some(line2);
            }
        }
        if faults.is_empty() {
            Ok(changed)
        } else {
            Err(faults)
        }
    }
}

fn parse_country(text: &str) -> Result<String, String> {
    if text.len() == 2 && text.bytes().all(|it| it.is_ascii_alphabetic()) {
        return Ok(text.to_ascii_uppercase());
    }
    Err("it is not an ISO 3166 code of two letters such as KR".into())
}

impl Accounts {
    /// The oldest first.
    pub(crate) async fn addresses(&self, account: BuyerId) -> Result<Vec<Address>, AccountRefusal> {
        let owner = self.own_account(account).await?;
        let rows = self.shared.database.addresses(account).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let key = self.data_key(&owner)?;
        let open = |row| open_address(&key, row, owner.default_address);
        rows.iter().map(open).collect()
    }

    pub(crate) async fn add_address(
        &self,
        account: BuyerId,
        content: AddressDraft,
        default: bool,
    ) -> Result<Address, AccountRefusal> {
        let owner = self.own_account(account).await?;
        let key = self.own_data_key(&owner).await?;
        let version = self.new_version(&key, account, Uuid::now_v7().as_u128(), &content);
        let (id, created_at) = (version.address, version.created_at);
        let added = self
            .shared
            .database
            .add_address(version, default, ADDRESSES_MAX);
        match added.await? {
            AddedAddress::TooMany => Err(AccountRefusal::TooManyAddresses {
                addresses_max: ADDRESSES_MAX,
            }),
            AddedAddress::Added => Ok(Address {
                id,
                content,
                is_default: self.own_account(account).await?.default_address == Some(id),
                created_at,
            }),
        }
    }

    /// `change` is given what the address says now.
    pub(crate) async fn change_address<F>(
        &self,
        account: BuyerId,
        id: u128,
        default: bool,
        change: F,
    ) -> Result<Result<Address, Vec<FieldFault>>, AccountRefusal>
    where
        F: FnOnce(&AddressDraft) -> Result<AddressDraft, Vec<FieldFault>>,
    {
        let owner = self.own_account(account).await?;
        let before = self.shared.database.address(account, id).await?;
        let before = before.ok_or(AccountRefusal::NoSuchAddress)?;
        let key = self.data_key(&owner)?;
        let old = open_content(&key, &before.current)?;
        let content = match change(&old) {
            Ok(content) => content,
            Err(faults) => return Ok(Err(faults)),
        };
        let created_at = before.created_at;
        let version = (content != old).then(|| self.new_version(&key, account, id, &content));
        let changed = self
            .shared
            .database
            .change_address(before, version, default)
            .await;
        // Also after an error: it may have been carried out all the same.
        self.shared.versions.forget(account, id);
        if !changed? {
            // Somebody removed or changed it meanwhile; nothing was lost, and asking again meets what is there now.
            return Err(AccountRefusal::NoSuchAddress);
        }
        Ok(Ok(Address {
            id,
            content,
            is_default: default || owner.default_address == Some(id),
            created_at,
        }))
    }

    pub(crate) async fn remove_address(
        &self,
        account: BuyerId,
        id: u128,
    ) -> Result<(), AccountRefusal> {
        let removed = self.shared.database.remove_address(account, id).await;
        self.shared.versions.forget(account, id);
        if removed? {
            return Ok(());
        }
        Err(AccountRefusal::NoSuchAddress)
    }

    /// What an order is to be placed with: the version of the address as it is now.
    /// In a sale this is asked far more often than addresses change, and SQL may be away: versions that were looked up
    /// are remembered.
    pub(crate) async fn freeze_address(
        &self,
        account: BuyerId,
        id: u128,
    ) -> Result<AddressId, AccountRefusal> {
        let remembered = &self.shared.versions;
        if let Some(version) = remembered.get(account, id) {
            return Ok(version);
        }
        let as_of = remembered.changes();
        let address = self.shared.database.address(account, id).await?;
        let address = address.ok_or(AccountRefusal::UnknownAddress)?;
        let version = AddressId::new(address.current.id);
        remembered.put(account, id, version, as_of);
        Ok(version)
    }

    /// What the versions said that orders of this account were placed with. Those that are gone, because the account was
    /// erased, or are not of this account, are left out.
    pub(crate) async fn frozen_addresses(
        &self,
        account: BuyerId,
        versions: Vec<AddressId>,
    ) -> Result<Vec<(AddressId, Address)>, AccountRefusal> {
        if versions.is_empty() {
            return Ok(Vec::new());
        }
        let ids = versions.into_iter().map(AddressId::get).collect();
        let found = self.shared.database.address_versions(ids).await?;
        let own: Vec<AddressVersion> = found
            .into_iter()
            .filter(|it| it.account == account)
            .collect();
        if own.is_empty() {
            return Ok(Vec::new());
        }
        let owner = self.own_account(account).await?;
        let key = self.data_key(&owner)?;
        let open = |version: &AddressVersion| {
            let address = Address {
                id: version.address,
                content: open_content(&key, version)?,
                is_default: owner.default_address == Some(version.address),
                created_at: version.created_at,
            };
            Ok((AddressId::new(version.id), address))
        };
        own.iter().map(open).collect()
    }

    fn new_version(
        &self,
        key: &DataKey,
        account: BuyerId,
        address: u128,
        content: &AddressDraft,
    ) -> NewVersion {
        let id = Uuid::now_v7().as_u128();
        // An address is made of texts; writing it cannot fail.
        let text = zeroize::Zeroizing::new(serde_json::to_vec(content).unwrap_or_default());
        NewVersion {
            id,
            address,
            account,
            content: key.seal(place(id), &text),
            created_at: self.now(),
        }
    }
}

const fn place(version: u128) -> SealedPlace {
    SealedPlace {
        table: "address_versions",
        column: "content",
        row: version,
    }
}

fn open_address(
    key: &DataKey,
    row: &AddressRow,
    default: Option<u128>,
) -> Result<Address, AccountRefusal> {
    Ok(Address {
        id: row.id,
        content: open_content(key, &row.current)?,
        is_default: default == Some(row.id),
        created_at: row.created_at,
    })
}

pub(super) fn open_content(
    key: &DataKey,
    version: &AddressVersion,
) -> Result<AddressDraft, AccountRefusal> {
    let text = key
        .open(place(version.id), &version.content)
        .map_err(|damage| damaged(&damage))?;
    serde_json::from_slice(&text).map_err(|_unreadable| {
        damaged(&format_args!(
            "address_versions.content of {:x} is no address",
            version.id
        ))
    })
}
