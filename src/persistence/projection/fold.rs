//! What a batch of events makes of the rows it touches. Pure: rows come in, rows go out.
//!
//! The events are folded by the domain's own `apply`, the code that replay runs, so that SQL and memory cannot disagree.
//! Whatever happens to a row within a batch, it is written once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::folded::{Changes, FoldedOrder, FoldedProduct};
use crate::domain::{
    AdminMark, BuyerId, Event, IdMap, Order, OrderChange, OrderId, OrderPlaced, Posting, Product,
    ProductChange, ProductId, Timestamp, Waiter, WaitlistChange,
};
use crate::panics::said_by;
use crate::persistence::database::{AuditRow, Hand, OrderRow, PlacedAttempt};
use crate::persistence::journal::Position;

/// An event that cannot have happened to these rows: SQL and the journal do not belong together.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Disagreement {
    #[error("record {position} changes product {product}, of which SQL knows nothing")]
    NoSuchProduct {
        position: Position,
        product: ProductId,
    },
    #[error("record {position} changes order {order}, of which SQL knows nothing")]
    NoSuchOrder { position: Position, order: OrderId },
    #[error(
        "record {position} is about {buyer} on the waitlist of product {product}, where SQL has nobody of that name"
    )]
    NoSuchWaiter {
        position: Position,
        product: ProductId,
        buyer: BuyerId,
    },
    #[error("record {position} breaks the rules if SQL is right: {rule}")]
    Impossible { position: Position, rule: String },
}

/// The ids of rows that must be known before a batch can be folded.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) products: Vec<ProductId>,
    pub(super) orders: Vec<OrderId>,
    /// Whose places on waitlists change.
    pub(super) people: Vec<BuyerId>,
    /// Products whose waitlists end.
    pub(super) emptied: Vec<ProductId>,
}

/// Rows as SQL has them.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) products: Vec<Product>,
    pub(super) orders: Vec<OrderRow>,
    pub(super) waiters: Vec<(ProductId, Waiter)>,
    pub(super) hands: Vec<(ProductId, Hand)>,
}

/// The rows that a batch touches.
#[derive(Debug, Default)]
pub(super) struct Fold {
    products: IdMap<ProductId, FoldedProduct>,
    orders: IdMap<OrderId, FoldedOrder>,
    audit: Vec<AuditRow>,
}

impl Needs {
    pub(super) fn of(batch: &[(Position, Event)]) -> Self {
        let mut products: IdMap<ProductId, bool> = IdMap::default();
        let mut orders: IdMap<OrderId, bool> = IdMap::default();
        let mut people: IdMap<BuyerId, bool> = IdMap::default();
        let mut emptied: IdMap<ProductId, bool> = IdMap::default();
        for (_, event) in batch {
            event.for_each_posting(|posting| {
                products.entry(posting.product).or_insert(true);
            });
            match event {
                Event::ProductChanged {
                    product, change, ..
                } => {
                    let old = !matches!(change, ProductChange::Registered { .. });
                    products.entry(*product).or_insert(old);
                    if *change == ProductChange::Deleted {
                        emptied.insert(*product, true);
                    }
                }
                Event::OrderPlaced(placed) => {
                    orders.entry(placed.order).or_insert(false);
                    if !placed.offers.is_empty() {
                        people.insert(placed.buyer, true);
                    }
                }
                Event::WaitlistChanged {
                    product, change, ..
                } => {
                    products.entry(*product).or_insert(true);
                    people.extend(change.buyers().map(|buyer| (buyer, true)));
                    if *change == WaitlistChange::Ended {
                        emptied.insert(*product, true);
                    }
                }
                Event::OrderChanged { order, .. } => {
                    orders.entry(*order).or_insert(true);
                }
            }
        }
        Self {
            products: wanted(products),
            orders: wanted(orders),
            people: wanted(people),
            emptied: wanted(emptied),
        }
    }

    /// Of whom it must be known what they have of which product. `orders` are those that the batch changes.
    pub(super) fn hands(
        batch: &[(Position, Event)],
        orders: &[OrderRow],
    ) -> Vec<(ProductId, BuyerId)> {
        let stored = orders.iter().map(|row| (row.order.id, row.order.buyer));
        let mut owners: IdMap<OrderId, BuyerId> = stored.collect();
        let mut hands = Vec::new();
        for (_, event) in batch {
            if let Event::OrderPlaced(placed) = event {
                owners.insert(placed.order, placed.buyer);
            }
            event.for_each_handover(
                |order| owners.get(&order).copied(),
                |buyer, _, posting| hands.push((posting.product, buyer)),
            );
        }
        hands.sort_unstable();
        hands.dedup();
        hands
    }
}

fn wanted<K: Copy + Ord>(ids: IdMap<K, bool>) -> Vec<K> {
    let mut ids: Vec<K> = ids
        .into_iter()
        .filter_map(|(id, wanted)| wanted.then_some(id))
        .collect();
    // Each run of the same batch reads, locks and writes in the same order.
    ids.sort_unstable();
    ids
}

impl Fold {
    pub(super) fn of(stored: Stored) -> Self {
        let mut waiters = by_product(stored.waiters);
        let mut hands = by_product(stored.hands);
        let products = stored.products.into_iter().map(|product| {
            let id = product.id;
            let waiters = waiters.remove(&id).unwrap_or_default();
            let hands = hands.remove(&id).unwrap_or_default();
            (id, FoldedProduct::stored(product, waiters, hands))
        });
        let orders = stored.orders.into_iter();
        Self {
            products: products.collect(),
            orders: orders
                .map(|row| (row.order.id, FoldedOrder::stored(row)))
                .collect(),
            audit: Vec::new(),
        }
    }

    pub(super) fn apply(&mut self, position: Position, event: &Event) -> Result<(), Disagreement> {
        // The domain takes what has happened for possible, and says so.
        let applied = catch_unwind(AssertUnwindSafe(|| self.apply_possible(position, event)));
        applied.unwrap_or_else(|panic| {
            Err(Disagreement::Impossible {
                position,
                rule: said_by(panic.as_ref()),
            })
        })
    }

    fn apply_possible(&mut self, position: Position, event: &Event) -> Result<(), Disagreement> {
        match event {
            Event::OrderPlaced(placed) => self.place(position, placed),
            Event::OrderChanged {
                order,
                at,
                mark,
                change,
                postings,
            } => {
                let buyer = self.change_order(position, *order, *at, *mark, change)?;
                self.post(position, postings, Some(buyer))
            }
            Event::ProductChanged {
                product,
                at,
                mark,
                change,
                postings,
            } => {
                self.begin_product(*product, *at, change);
                self.post(position, postings, None)?;
                self.product(position, *product)?.product.apply(change);
                self.audit
                    .push(AuditRow::of_product(position, *at, *mark, *product, change));
                Ok(())
            }
            Event::WaitlistChanged {
                product,
                at,
                change,
                postings,
            } => self
                .product(position, *product)?
                .change_waitlist(position, *at, change, postings),
        }
    }

    fn place(&mut self, position: Position, placed: &OrderPlaced) -> Result<(), Disagreement> {
        for line in &placed.lines {
            let postings: Vec<Posting> = placed.postings(line).collect();
            self.post(position, &postings, Some(placed.buyer))?;
        }
        for taken in &placed.offers {
            let folded = self.product(position, taken.product)?;
            folded.check_waits(position, placed.buyer)?;
            folded.product.take_offer(placed.buyer, taken.units);
        }
        let order = Order::new(position.get(), placed);
        self.orders.insert(placed.order, FoldedOrder::new(order));
        Ok(())
    }

    /// Gives whose order it is.
    fn change_order(
        &mut self,
        position: Position,
        order: OrderId,
        at: Timestamp,
        mark: Option<AdminMark>,
        change: &OrderChange,
    ) -> Result<BuyerId, Disagreement> {
        let Some(folded) = self.orders.get_mut(&order) else {
            return Err(Disagreement::NoSuchOrder { position, order });
        };
        let order = &mut folded.row.order;
        let before = order.state;
        order.apply(change, at);
        if let Some(mark) = mark {
            self.audit.push(AuditRow::of_order(
                position, at, mark, before, order, change,
            ));
        }
        Ok(order.buyer)
    }

    fn begin_product(&mut self, id: ProductId, at: Timestamp, change: &ProductChange) {
        if let ProductChange::Registered {
            details,
            restock_to,
        } = change
        {
            let product = Product::new(id, details.clone(), *restock_to, at);
            self.products.insert(id, FoldedProduct::new(product));
        }
    }

    fn post(
        &mut self,
        position: Position,
        postings: &[Posting],
        buyer: Option<BuyerId>,
    ) -> Result<(), Disagreement> {
        for posting in postings {
            let folded = self.product(position, posting.product)?;
            folded.product.post(posting, buyer);
        }
        Ok(())
    }

    fn product(
        &mut self,
        position: Position,
        product: ProductId,
    ) -> Result<&mut FoldedProduct, Disagreement> {
        self.products
            .get_mut(&product)
            .ok_or(Disagreement::NoSuchProduct { position, product })
    }

    // -- what is to be written -----------------------------------------------------------------------------------

    pub(super) fn products(&self) -> Vec<&Product> {
        let folded = self.products.values();
        let mut products: Vec<&Product> = folded.map(|folded| &folded.product).collect();
        products.sort_unstable_by_key(|product| product.id);
        products
    }

    /// Orders that SQL does not have yet, in the order in which they were placed.
    pub(super) fn new_orders(&self) -> Vec<&OrderRow> {
        self.rows(FoldedOrder::is_new)
    }

    pub(super) fn changed_orders(&self) -> Vec<&OrderRow> {
        self.rows(|folded| !folded.is_new())
    }

    fn rows(&self, wanted: impl Fn(&FoldedOrder) -> bool) -> Vec<&OrderRow> {
        let folded = self.orders.values().filter(|folded| wanted(folded));
        let mut rows: Vec<&OrderRow> = folded.map(|folded| &folded.row).collect();
        rows.sort_unstable_by_key(|row| row.order.sequence);
        rows
    }

    /// Attempts that SQL does not have, or not so.
    pub(super) fn attempts(&self) -> Vec<PlacedAttempt<'_>> {
        let mut changed: Vec<_> = self
            .orders
            .values()
            .flat_map(FoldedOrder::attempts)
            .collect();
        changed.sort_unstable_by_key(|placed| (placed.sequence, placed.ordinal));
        changed
    }

    pub(super) fn waiters(&self) -> Changes<u64, (ProductId, Waiter)> {
        let mut changes = Changes::default();
        for folded in self.products.values() {
            folded.add_waiters(&mut changes);
        }
        changes.gone.sort_unstable();
        changes
            .kept
            .sort_unstable_by_key(|(_, waiter)| waiter.sequence);
        changes
    }

    pub(super) fn hands(&self) -> Changes<(ProductId, BuyerId), (ProductId, Hand)> {
        let mut changes = Changes::default();
        for folded in self.products.values() {
            folded.add_hands(&mut changes);
        }
        changes.gone.sort_unstable();
        changes.kept.sort_unstable();
        changes
    }

    pub(super) fn audit(&self) -> &[AuditRow] {
        &self.audit
    }
}

fn by_product<T>(rows: Vec<(ProductId, T)>) -> IdMap<ProductId, Vec<T>> {
    let mut by_product: IdMap<ProductId, Vec<T>> = IdMap::default();
    for (product, row) in rows {
        by_product.entry(product).or_default().push(row);
    }
    by_product
}
