//! What was bought at which price: few distinct pairs for very many orders.

use super::index::HandleIndex;
use super::slab::{Handle, Slab};
use crate::domain::{Money, ProductId, hash_of};

#[derive(Debug, Default)]
pub(super) struct TermsTable {
    terms: Slab<Terms>,
    index: HandleIndex,
}

#[derive(Debug)]
pub(super) struct Terms {
    pub(super) product: ProductId,
    pub(super) unit_price: Money,
    /// How many orders name them; with the last they go.
    orders: u32,
}

impl TermsTable {
    pub(super) fn get(&self, handle: Handle) -> &Terms {
        &self.terms[handle]
    }

    /// The handle of the terms, for one more order.
    pub(super) fn acquire(&mut self, product: ProductId, unit_price: Money) -> Handle {
        let Self { terms, index } = self;
        let hash = hash(product, unit_price);
        let is_it = |handle| {
            let known: &Terms = &terms[handle];
            known.product == product && known.unit_price == unit_price
        };
        if let Some(handle) = index.find(hash, is_it) {
            terms[handle].orders += 1;
            return handle;
        }
        let handle = terms.insert(Terms {
            product,
            unit_price,
            orders: 1,
        });
        index.insert(hash, handle, |handle| terms[handle].hash());
        handle
    }

    pub(super) fn release(&mut self, handle: Handle) {
        let Self { terms, index } = self;
        terms[handle].orders -= 1;
        if terms[handle].orders == 0 {
            let hash = terms[handle].hash();
            index.remove(hash, handle);
            terms.remove(handle);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.terms.len()
    }
}

impl Terms {
    fn hash(&self) -> u64 {
        hash(self.product, self.unit_price)
    }
}

fn hash(product: ProductId, unit_price: Money) -> u64 {
    let price = u128::from(unit_price.amount.cast_unsigned());
    hash_of(product.get() ^ price)
}
