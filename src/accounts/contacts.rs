//! Where orders of many people go, opened many at a time: for the export of a sale, which is an admin's alone and noted.

use zeroize::Zeroizing;

use super::address_book::{AddressDraft, open_content};
use super::events::{self, Act, Origin};
use super::profile::Column;
use super::vault::DataKey;
use super::{AccountRefusal, Accounts};
use crate::domain::{AddressId, BuyerId, IdMap, Order, ProductId};
use crate::persistence::database::{Account, AddressVersion};

/// Whom an order is for and where it goes. Nothing is known of who was erased, or never gave a name.
#[derive(Default)]
pub(crate) struct Contact {
    pub(crate) email: Option<Zeroizing<String>>,
    /// As it was when the order was placed.
    pub(crate) address: Option<AddressDraft>,
}

/// Not derived: what is personal does not belong in a log.
impl std::fmt::Debug for Contact {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Contact")
    }
}

/// An account whose data can be opened.
struct Owner {
    account: Account,
    key: DataKey,
}

impl Accounts {
    /// One for each order, in their order.
    pub(crate) async fn contacts(&self, orders: &[Order]) -> Result<Vec<Contact>, AccountRefusal> {
        let owners = self.owners(orders).await?;
        let versions = self.versions(orders).await?;
        let contact = |order: &Order| match owners.get(&order.buyer) {
            Some(owner) => {
                let version = order.address.and_then(|id| versions.get(&id));
                owner.contact(version)
            }
            None => Ok(Contact::default()),
        };
        orders.iter().map(contact).collect()
    }

    /// Notes that the orders of a product are taken away with personal data; not before it is written is it so.
    pub(crate) async fn note_export(
        &self,
        admin: BuyerId,
        product: ProductId,
        origin: Origin,
    ) -> Result<(), AccountRefusal> {
        let act = Act::OrdersExported(product);
        let event = events::event(act, Some(admin), None, origin, self.now());
        let chain = self.shared.chain.clone();
        let database = &self.shared.database;
        Ok(database.append_account_events(chain, vec![event]).await?)
    }

    async fn owners(&self, orders: &[Order]) -> Result<IdMap<BuyerId, Owner>, AccountRefusal> {
        let mut ids: Vec<BuyerId> = orders.iter().map(|order| order.buyer).collect();
        ids.sort_unstable();
        ids.dedup();
        let accounts = self.shared.database.accounts(ids).await?;
        let known = accounts
            .into_iter()
            .filter(|account| account.erased_at.is_none() && account.sealed.data_key.is_some());
        let owner = |account: Account| {
            let key = self.data_key(&account)?;
            Ok((account.id, Owner { account, key }))
        };
        known.map(owner).collect()
    }

    async fn versions(
        &self,
        orders: &[Order],
    ) -> Result<IdMap<AddressId, AddressVersion>, AccountRefusal> {
        let mut ids: Vec<u128> = orders
            .iter()
            .filter_map(|order| order.address.map(AddressId::get))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let versions = self.shared.database.address_versions(ids).await?;
        let by_id = |version: AddressVersion| (AddressId::new(version.id), version);
        Ok(versions.into_iter().map(by_id).collect())
    }
}

impl Owner {
    fn contact(&self, version: Option<&AddressVersion>) -> Result<Contact, AccountRefusal> {
        let Self { account, key } = self;
        let id = account.id;
        let email = account.sealed.email.as_deref();
        let own = version.filter(|version| version.account == id);
        Ok(Contact {
            email: Accounts::open(key, id, Column::Email, email)?,
            address: own.map(|version| open_content(key, version)).transpose()?,
        })
    }
}
