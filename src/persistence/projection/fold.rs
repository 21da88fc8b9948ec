//! What a batch of events makes of the rows it touches. Pure: rows come in, rows go out.
//!
//! The events are folded by the domain's own `apply`, the code that replay runs, so that SQL and memory cannot disagree.
//! Whatever happens to a row within a batch, it is written once.

use super::waitlists::Waitlists;
use crate::domain::{
    AdminMark, Attempt, BuyerId, Event, IdMap, Order, OrderChange, OrderId, Posting, Product,
    ProductChange, ProductId, Timestamp, Waiter, WaitlistChange,
};
use crate::persistence::database::{AuditRow, OrderRow, PlacedAttempt};
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
    #[error(
        "record {position} takes {units} units of product {product} from where SQL has fewer: {posting:?}"
    )]
    MissingUnits {
        position: Position,
        product: ProductId,
        units: u64,
        posting: Posting,
    },
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

/// The rows that a batch touches.
#[derive(Debug, Default)]
pub(super) struct Fold {
    products: IdMap<ProductId, Product>,
    orders: IdMap<OrderId, FoldedOrder>,
    waitlists: Waitlists,
    audit: Vec<AuditRow>,
}

#[derive(Debug)]
struct FoldedOrder {
    row: OrderRow,
    /// What SQL has; `None`: not even the order.
    stored: Option<Vec<Attempt>>,
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
    pub(super) fn of(
        products: Vec<Product>,
        orders: Vec<OrderRow>,
        waiters: Vec<(ProductId, Waiter)>,
    ) -> Self {
        let products = products.into_iter().map(|product| (product.id, product));
        let orders = orders.into_iter().map(|row| {
            let stored = Some(row.order.attempts.clone());
            (row.order.id, FoldedOrder { row, stored })
        });
        Self {
            products: products.collect(),
            orders: orders.collect(),
            waitlists: Waitlists::of(waiters),
            audit: Vec::new(),
        }
    }

    pub(super) fn apply(&mut self, position: Position, event: &Event) -> Result<(), Disagreement> {
        match event {
            Event::OrderPlaced(placed) => {
                let row = OrderRow::of(Order::new(position.get(), placed));
                let folded = FoldedOrder { row, stored: None };
                self.orders.insert(placed.order, folded);
            }
            Event::OrderChanged {
                order,
                at,
                mark,
                change,
                ..
            } => self.change_order(position, *order, *at, *mark, change)?,
            Event::ProductChanged { product, .. } => self.begin_product(*product, event),
            Event::WaitlistChanged { .. } => {}
        }
        self.waitlists.apply(position, event)?;
        self.post_all(position, event)?;
        self.change_product(position, event)
    }

    fn change_order(
        &mut self,
        position: Position,
        order: OrderId,
        at: Timestamp,
        mark: Option<AdminMark>,
        change: &OrderChange,
    ) -> Result<(), Disagreement> {
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
        Ok(())
    }

    fn begin_product(&mut self, id: ProductId, event: &Event) {
        let Event::ProductChanged {
            at,
            change:
                ProductChange::Registered {
                    details,
                    restock_to,
                },
            ..
        } = event
        else {
            return;
        };
        let product = Product::new(id, details.clone(), *restock_to, *at);
        self.products.insert(id, product);
    }

    /// What people have in hand is not kept here: that can be worked out from their orders.
    fn post_all(&mut self, position: Position, event: &Event) -> Result<(), Disagreement> {
        let mut posted = Ok(());
        event.for_each_posting(|posting| {
            if posted.is_ok() {
                posted = self.post(position, posting);
            }
        });
        posted
    }

    fn post(&mut self, position: Position, posting: &Posting) -> Result<(), Disagreement> {
        let product = self.product(position, posting.product)?;
        if product.stock.units(posting.from) < posting.units {
            return Err(Disagreement::MissingUnits {
                position,
                product: posting.product,
                units: posting.units,
                posting: *posting,
            });
        }
        product.post(posting, None);
        Ok(())
    }

    fn change_product(&mut self, position: Position, event: &Event) -> Result<(), Disagreement> {
        let Event::ProductChanged {
            product,
            at,
            mark,
            change,
            ..
        } = event
        else {
            return Ok(());
        };
        self.product(position, *product)?.apply(change);
        self.audit
            .push(AuditRow::of_product(position, *at, *mark, *product, change));
        Ok(())
    }

    fn product(
        &mut self,
        position: Position,
        product: ProductId,
    ) -> Result<&mut Product, Disagreement> {
        self.products
            .get_mut(&product)
            .ok_or(Disagreement::NoSuchProduct { position, product })
    }

    // -- what is to be written -----------------------------------------------------------------------------------

    pub(super) fn products(&self) -> Vec<&Product> {
        let mut products: Vec<&Product> = self.products.values().collect();
        products.sort_unstable_by_key(|product| product.id);
        products
    }

    /// Orders that SQL does not have yet, in the order in which they were placed.
    pub(super) fn new_orders(&self) -> Vec<&OrderRow> {
        self.rows(|folded| folded.stored.is_none())
    }

    pub(super) fn changed_orders(&self) -> Vec<&OrderRow> {
        self.rows(|folded| folded.stored.is_some())
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

    pub(super) fn waitlist(&self) -> super::waitlists::Rows {
        self.waitlists.rows()
    }

    pub(super) fn audit(&self) -> &[AuditRow] {
        &self.audit
    }
}

impl FoldedOrder {
    fn attempts(&self) -> impl Iterator<Item = PlacedAttempt<'_>> {
        let order = &self.row.order;
        let stored = self.stored.as_deref().unwrap_or_default();
        let stored = stored.iter().map(Some).chain(std::iter::repeat(None));
        (0..)
            .zip(order.attempts.iter().zip(stored))
            .filter(|(_, (attempt, stored))| Some(*attempt) != *stored)
            .map(|(ordinal, (attempt, _))| PlacedAttempt {
                sequence: order.sequence,
                ordinal,
                attempt,
            })
    }
}
