//! What an admin does to a product: register, edit, delete, stock, window. The audit mark is part of the record.

use super::Cell;
use crate::actors::core::message::{Answer, DetailsPatch, ProductAct, Refusal, Reply};
use crate::actors::core::turn::Turn;
use crate::domain::{
    AdminMark, Bucket, Details, Event, Posting, Product, ProductChange, ProductId, Rejection,
};

impl Cell {
    pub(super) fn change_product(
        &mut self,
        id: ProductId,
        mark: AdminMark,
        act: ProductAct,
        turn: &mut Turn,
    ) -> Answer {
        if self.broken_products.contains_key(&id) {
            return Err(Refusal::Recovering);
        }
        let (change, postings) = match act {
            ProductAct::Register {
                details,
                restock_to,
                total,
            } if !self.products.contains_key(&id) => {
                decide_registration(id, details, restock_to, total)?
            }
            act => decide_change(self.known_product(id)?, act, turn)?,
        };
        let event = Event::ProductChanged {
            product: id,
            at: turn.now,
            mark,
            change,
            postings,
        };
        turn.touch(id);
        self.happen(&event, turn);
        // More units, a sale that goes on, or one that is over.
        self.offer_free_units(id, turn);
        self.settle_waitlist(id, turn);
        self.snapshot(id)
            .map(|(snapshot, _)| Reply::Product(Box::new(snapshot)))
            .ok_or(Refusal::Recovering)
    }

    pub(super) fn known_product(&self, id: ProductId) -> Result<&Product, Rejection> {
        self.products
            .get(&id)
            .map(super::ProductActor::product)
            .filter(|product| !product.deleted)
            .ok_or(Rejection::NoSuchProduct(id))
    }
}

type Decided = Result<(ProductChange, Vec<Posting>), Rejection>;

fn decide_registration(
    product: ProductId,
    details: Details,
    restock_to: crate::domain::RestockTo,
    total: u64,
) -> Decided {
    if total > Product::TOTAL_MAX {
        return Err(Rejection::StockTooLarge {
            total_max: Product::TOTAL_MAX,
        });
    }
    let supply = Posting {
        product,
        from: Bucket::Outside,
        to: Bucket::Available,
        units: total,
    };
    let postings = if total == 0 { vec![] } else { vec![supply] };
    let change = ProductChange::Registered {
        details,
        restock_to,
    };
    Ok((change, postings))
}

fn decide_change(product: &Product, act: ProductAct, turn: &Turn) -> Decided {
    match act {
        ProductAct::SetStock(total) => product.decide_stock(total),
        ProductAct::Window(act, scheduled) => {
            without_postings(product.decide_window(act, scheduled, turn.now))
        }
        ProductAct::Edit(patch) => {
            without_postings(product.decide_edit(patched(&product.details, patch)))
        }
        // An id is made for one product; a second one under it would wipe the books of the first.
        ProductAct::Register { .. } => Err(Rejection::NoSuchProduct(product.id)),
        ProductAct::Delete => without_postings(product.decide_delete()),
    }
}

fn without_postings(change: Result<ProductChange, Rejection>) -> Decided {
    change.map(|change| (change, Vec::new()))
}

fn patched(details: &Details, patch: DetailsPatch) -> Details {
    Details {
        name: patch.name.unwrap_or_else(|| details.name.clone()),
        description: patch
            .description
            .unwrap_or_else(|| details.description.clone()),
        image_url: patch.image_url.unwrap_or_else(|| details.image_url.clone()),
        price: patch.price.unwrap_or(details.price),
    }
}
