//! What admins do to accounts. Each act ends the access that was there before, at once.

use super::events::{self, Act, Origin};
use super::me::checked;
use super::sessions::role_of;
use super::token::Role;
use super::{AccountRefusal, Accounts, BarChange};
use crate::domain::BuyerId;
use crate::persistence::database::{AccessChange, Account};

impl Accounts {
    pub(crate) async fn role_of(&self, id: BuyerId) -> Result<Role, AccountRefusal> {
        role_of(&self.own_account(id).await?)
    }

    pub(crate) async fn set_role(
        &self,
        admin: BuyerId,
        id: BuyerId,
        role: Role,
        origin: Origin,
    ) -> Result<(), AccountRefusal> {
        let account = self.own_account(id).await?;
        let now = self.now();
        let act = Act::RoleChanged(role_of(&account)?, role);
        let event = events::event(act, Some(admin), Some(id), origin, now);
        let chain = self.shared.chain.clone();
        let database = &self.shared.database;
        let changed = database.set_role(id, role.as_str(), now, chain, event);
        let suspended = account.suspended_at.is_some();
        self.apply(&account, checked(changed.await?)?, role, suspended);
        Ok(())
    }

    /// Ends access until [`Accounts::reinstate`].
    pub(crate) async fn suspend(
        &self,
        admin: BuyerId,
        id: BuyerId,
        origin: Origin,
    ) -> Result<(), AccountRefusal> {
        let account = self.own_account(id).await?;
        let now = self.now();
        let event = events::event(Act::Suspended, Some(admin), Some(id), origin, now);
        let chain = self.shared.chain.clone();
        let changed = self.shared.database.suspend(id, now, chain, event);
        let change = checked(changed.await?)?;
        self.apply(&account, change, role_of(&account)?, true);
        Ok(())
    }

    pub(crate) async fn reinstate(
        &self,
        admin: BuyerId,
        id: BuyerId,
        origin: Origin,
    ) -> Result<(), AccountRefusal> {
        let account = self.own_account(id).await?;
        let now = self.now();
        let event = events::event(Act::Reinstated, Some(admin), Some(id), origin, now);
        let chain = self.shared.chain.clone();
        let changed = self.shared.database.reinstate(id, now, chain, event);
        let change = checked(changed.await?)?;
        self.apply(&account, change, role_of(&account)?, false);
        Ok(())
    }

    fn apply(&self, account: &Account, change: AccessChange, role: Role, suspended: bool) {
        if let AccessChange::Changed { epoch } = change {
            let change = BarChange {
                role,
                spared: None,
                suspended,
            };
            self.raise_bar(account.id, epoch, change);
        }
    }
}
