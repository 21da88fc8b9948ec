//! The wishlist: what a person wants to buy, some day or in one go.
//!
//! It takes no stock and knows no price: both are the engine's to tell, at the moment when somebody looks or buys.

use super::{AccountRefusal, Accounts};
use crate::domain::{BuyerId, Order, ProductId, Quantity, Timestamp};
use crate::persistence::database::{PutWish, Wish};

/// Lines of a list: as many as an order takes, so that every list can be bought in one go.
const WISHES_MAX: usize = Order::LINES_MAX;

impl Accounts {
    /// The one that was added first comes first.
    pub(crate) async fn wishes(&self, account: BuyerId) -> Result<Vec<Wish>, AccountRefusal> {
        Ok(self.shared.database.wishes(account).await?)
    }

    /// Gives the line, and whether it is a new one. `now` is the engine's time, which an order is stamped with, too.
    pub(crate) async fn put_wish(
        &self,
        account: BuyerId,
        product: ProductId,
        quantity: Quantity,
        now: Timestamp,
    ) -> Result<(Wish, bool), AccountRefusal> {
        let database = &self.shared.database;
        let put = database.put_wish(account, product, quantity, now, WISHES_MAX as u64);
        match put.await? {
            PutWish::Added(wish) => Ok((wish, true)),
            PutWish::Changed(wish) => Ok((wish, false)),
            PutWish::Full => Err(AccountRefusal::WishlistFull {
                lines_max: WISHES_MAX,
            }),
            PutWish::NoSuchAccount => Err(AccountRefusal::NoSuchAccount),
        }
    }

    /// It is not there afterwards, whether or not it was before.
    pub(crate) async fn remove_wish(
        &self,
        account: BuyerId,
        product: ProductId,
    ) -> Result<(), AccountRefusal> {
        Ok(self.shared.database.remove_wish(account, product).await?)
    }

    /// Takes the lines of an order off the list of its buyer, but for those that were put there after it was placed.
    /// May be done again at any time: that is how a removal ends that a crash has interrupted.
    pub(crate) async fn remove_bought(&self, order: &Order) -> Result<(), AccountRefusal> {
        let lines = order.lines.iter().map(|line| (line.product, line.quantity));
        let database = &self.shared.database;
        let removed = database.remove_bought(order.buyer, lines.collect(), order.placed_at);
        Ok(removed.await?)
    }
}
