//! What an admin does to a product.

use super::{Expected, Model, Shelf, TOTAL_MAX, refused};
use crate::actors::core::message::ProductAct;
use crate::domain::{Money, ProductId, Rejection, RestockTo, Span, Stock, Window, WindowAct};

impl Model {
    pub(super) fn change(&mut self, product: ProductId, act: &ProductAct) -> Expected {
        let changed = self.try_change(product, act);
        if changed.is_ok() {
            self.lapse_all(product);
        }
        match changed {
            Ok(()) => Expected::Product(product, self.stock(product)),
            Err(rejection) => refused(rejection),
        }
    }

    pub(super) fn try_change(
        &mut self,
        product: ProductId,
        act: &ProductAct,
    ) -> Result<(), Rejection> {
        if let ProductAct::Register {
            details,
            restock_to,
            total,
        } = act
        {
            return self.register(product, details.price, *restock_to, *total);
        }
        let stock = self
            .shelves
            .contains_key(&product)
            .then(|| self.stock(product));
        let Some((shelf, stock)) = self
            .shelves
            .get_mut(&product)
            .filter(|s| !s.deleted)
            .zip(stock)
        else {
            return Err(Rejection::NoSuchProduct(product));
        };
        match act {
            ProductAct::Register { .. } => unreachable!("handled above"),
            ProductAct::Edit(patch)
                if stock.held > 0
                    && patch
                        .price
                        .is_some_and(|p| p.currency != shelf.price.currency) =>
            {
                return Err(Rejection::CurrencyMismatch);
            }
            ProductAct::Edit(patch) => {
                self.marks.hit_if(
                    patch.price.is_some() && stock.held > 0,
                    "the price changes under a live hold",
                );
                shelf.price = patch.price.unwrap_or(shelf.price);
            }
            ProductAct::Delete if stock.held + stock.sold + stock.returning + stock.offered > 0 => {
                self.marks
                    .hit("a product with committed units is not deleted");
                return Err(Rejection::HasCommittedUnits {
                    held: stock.held,
                    offered: stock.offered,
                    sold: stock.sold,
                    returning: stock.returning,
                });
            }
            ProductAct::Delete => {
                shelf.deleted = true;
                shelf.line.clear();
            }
            ProductAct::SetStock(total) => self.set_stock(product, &stock, *total)?,
            ProductAct::Window(act, given) => self.change_window(product, *act, *given)?,
        }
        self.serve(product);
        Ok(())
    }

    pub(super) fn register(
        &mut self,
        product: ProductId,
        price: Money,
        restock_to: RestockTo,
        total: u64,
    ) -> Result<(), Rejection> {
        if total > TOTAL_MAX {
            return Err(Rejection::StockTooLarge {
                total_max: TOTAL_MAX,
            });
        }
        let shelf = Shelf {
            price,
            window: None,
            deleted: false,
            restock_to,
            supplied: total,
            withdrawn: 0,
            pending: 0,
            line: Vec::new(),
        };
        self.shelves.insert(product, shelf);
        Ok(())
    }

    /// `total` is what is to be in the sale: a raise calls off a withdrawal first, then brings withdrawn units back, then
    /// new ones; a cut waits for what is held.
    pub(super) fn set_stock(
        &mut self,
        product: ProductId,
        stock: &Stock,
        total: u64,
    ) -> Result<(), Rejection> {
        let shelf = self.shelves.get_mut(&product).unwrap();
        let in_books = stock.available + stock.held + stock.offered + stock.sold + stock.returning;
        let in_sale = in_books - stock.withdrawal_pending;
        if total > TOTAL_MAX {
            return Err(Rejection::StockTooLarge {
                total_max: TOTAL_MAX,
            });
        }
        if total < stock.sold {
            self.marks.hit("the stock is cut below what is sold");
            return Err(Rejection::BelowSold {
                total,
                sold: stock.sold,
            });
        }
        if total >= in_sale {
            let raise = total - in_sale;
            let called_off = raise.min(shelf.pending);
            self.marks
                .hit_if(called_off > 0, "a raise calls a withdrawal off");
            self.marks.hit_if(
                called_off > 0 && raise > called_off,
                "a raise calls a withdrawal off and adds units",
            );
            shelf.pending -= called_off;
            let brought_back = (raise - called_off).min(shelf.withdrawn);
            self.marks
                .hit_if(brought_back > 0, "a raise brings withdrawn units back");
            shelf.withdrawn -= brought_back;
            shelf.supplied += raise - called_off - brought_back;
        } else {
            let cut = in_sale - total;
            let at_once = cut.min(stock.available);
            self.marks
                .hit_if(cut > at_once, "a cut waits for held units");
            shelf.withdrawn += at_once;
            shelf.pending += cut - at_once;
        }
        Ok(())
    }

    pub(super) fn change_window(
        &mut self,
        product: ProductId,
        act: WindowAct,
        given: Option<Window>,
    ) -> Result<(), Rejection> {
        let now = self.now;
        let shelf = self.shelves.get_mut(&product).unwrap();
        if act == WindowAct::Schedule {
            // New times do not end a pause; only a resume does.
            let paused = shelf.window.is_some_and(|old| {
                let over = old.closes_at.is_some_and(|closes_at| now >= closes_at);
                old.paused && now >= old.opens_at && !over
            });
            shelf.window = given.map(|window| Window { paused, ..window });
            return Ok(());
        }
        let Some(window) = &mut shelf.window else {
            if act != WindowAct::Open {
                return Err(Rejection::NotOpen {
                    product,
                    opens_at: None,
                    now,
                });
            }
            let hold_ttl = Span::from_secs(300);
            shelf.window = Some(Window {
                opens_at: now,
                closes_at: None,
                paused: false,
                per_person_limit: None,
                hold_ttl,
            });
            return Ok(());
        };
        let closed = window.closes_at.is_some_and(|end| now >= end);
        let scheduled = !closed && now < window.opens_at;
        match act {
            WindowAct::Close if closed => self.marks.hit("a closed window is closed again"),
            _ if closed => return Err(Rejection::Closed(product)),
            WindowAct::Pause | WindowAct::Resume if scheduled => {
                return Err(Rejection::NotOpen {
                    product,
                    opens_at: Some(window.opens_at),
                    now,
                });
            }
            WindowAct::Open if scheduled => window.opens_at = now,
            WindowAct::Open | WindowAct::Resume => window.paused = false,
            WindowAct::Pause => window.paused = true,
            WindowAct::Close => {
                window.opens_at = window.opens_at.min(now);
                window.closes_at = Some(now);
            }
            WindowAct::Schedule => unreachable!("handled above"),
        }
        Ok(())
    }
}
