//! How an order is kept: 88 bytes for what every order has, and elsewhere what most orders lack.
//!
//! The rules work on an [`Order`]; it is put together when it is asked for, and taken apart again when it has changed.

use super::slab::{Handle, Slab};
use super::terms::TermsTable;
use crate::domain::{
    AddressId, Aftermath, Attempt, BuyerId, Fingerprint, KeyHash, Line, Lines, Order, OrderId,
    OrderState, Quantity, Span, Timestamp, hash_of,
};

#[derive(Debug, Default)]
pub(super) struct Records {
    records: Slab<Record>,
    terms: TermsTable,
    addresses: Slab<[u8; 16]>,
    extras: Slab<Extra>,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: [u8; 16],
    pub(super) key: [u8; 16],
    fingerprint: Fingerprint,
    pub(super) sequence: u64,
    pub(super) placed_at: Timestamp,
    /// Not what counts if the extra has times.
    times: ShortTimes,
    pub(super) person: Handle,
    /// Product and price of the only line; `None` if the extra has the lines.
    terms: Option<Handle>,
    address: Option<Handle>,
    extra: Option<Handle>,
    quantity: u16,
    pub(super) state: OrderState,
}

/// Microseconds after the order was placed. Enough for 71 minutes, and holds last half an hour.
#[derive(Debug, Clone, Copy, Default)]
struct ShortTimes {
    pay_by: u32,
    deadline: u32,
    changed_at: u32,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    pay_by: Timestamp,
    deadline: Timestamp,
    changed_at: Timestamp,
}

/// What most open holds lack.
#[derive(Debug, Clone, Default)]
struct Extra {
    lines: Option<Box<Lines>>,
    times: Option<Times>,
    attempts: Vec<Attempt>,
    aftermath: Option<Box<Aftermath>>,
}

impl Records {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn get(&self, handle: Handle) -> &Record {
        &self.records[handle]
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = Handle> {
        self.records.iter().map(|(handle, _)| handle)
    }

    /// `buyer` is who the person of the record is.
    pub(super) fn order(&self, handle: Handle, buyer: BuyerId) -> Order {
        let record = &self.records[handle];
        let extra = self.extra(record).cloned().unwrap_or_default();
        self.put_together(record, buyer, extra)
    }

    pub(super) fn insert(&mut self, order: Order, person: Handle) -> Handle {
        let line = short_line(&order.lines);
        let terms = line.map(|(line, _)| self.terms.acquire(line.product, line.unit_price));
        let address = order.address.map(|it| self.addresses.insert(it.to_bytes()));
        let handle = self.records.insert(Record {
            id: order.id.to_bytes(),
            key: order.key.to_bytes(),
            fingerprint: order.fingerprint,
            sequence: order.sequence,
            placed_at: order.placed_at,
            times: ShortTimes::default(),
            person,
            terms,
            address,
            extra: None,
            quantity: line.map_or(0, |(_, quantity)| quantity),
            state: order.state,
        });
        self.take_apart(handle, order);
        handle
    }

    /// Lets `change` work on the order, and keeps what it becomes; who it is of, and of what, stays as it is.
    pub(super) fn change<R>(
        &mut self,
        handle: Handle,
        buyer: BuyerId,
        change: impl FnOnce(&mut Order) -> R,
    ) -> R {
        let extra = self.records[handle].extra.take();
        let extra = extra.map(|it| self.extras.remove(it)).unwrap_or_default();
        let mut order = self.put_together(&self.records[handle], buyer, extra);
        let result = change(&mut order);
        self.take_apart(handle, order);
        result
    }

    pub(super) fn remove(&mut self, handle: Handle) {
        let record = self.records.remove(handle);
        if let Some(terms) = record.terms {
            self.terms.release(terms);
        }
        if let Some(address) = record.address {
            self.addresses.remove(address);
        }
        if let Some(extra) = record.extra {
            self.extras.remove(extra);
        }
    }

    pub(super) fn lines(&self, handle: Handle) -> Lines {
        let record = &self.records[handle];
        let long = self.extra(record).and_then(|extra| extra.lines.as_deref());
        let short = || self.line(record).map(Lines::from).unwrap_or_default();
        long.cloned().unwrap_or_else(short)
    }

    /// When an order last changed.
    pub(super) fn changed_at(&self, handle: Handle) -> Timestamp {
        let record = &self.records[handle];
        record.times(self.extra(record)).changed_at
    }

    pub(super) fn attempts(&self, handle: Handle) -> &[Attempt] {
        let extra = self.extra(&self.records[handle]);
        extra.map_or(&[], |extra| &extra.attempts)
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 4] {
        let Self {
            records,
            terms,
            addresses,
            extras,
        } = self;
        [records.len(), terms.len(), addresses.len(), extras.len()]
    }

    fn extra(&self, record: &Record) -> Option<&Extra> {
        record.extra.map(|it| &self.extras[it])
    }

    fn put_together(&self, record: &Record, buyer: BuyerId, extra: Extra) -> Order {
        let Times {
            pay_by,
            deadline,
            changed_at,
        } = record.times(Some(&extra));
        let address = record.address.map(|it| self.addresses[it]);
        let line = || self.line(record).map(Lines::from).unwrap_or_default();
        Order {
            id: OrderId::from_bytes(record.id),
            buyer,
            sequence: record.sequence,
            key: KeyHash::from_bytes(record.key),
            fingerprint: record.fingerprint,
            address: address.map(AddressId::from_bytes),
            lines: extra.lines.map_or_else(line, |lines| *lines),
            state: record.state,
            placed_at: record.placed_at,
            pay_by,
            deadline,
            changed_at,
            attempts: extra.attempts,
            aftermath: extra.aftermath,
        }
    }

    /// The only line of an order, if it is kept short.
    fn line(&self, record: &Record) -> Option<Line> {
        let terms = self.terms.get(record.terms?);
        Some(Line {
            product: terms.product,
            quantity: Quantity::new(u32::from(record.quantity))?,
            unit_price: terms.unit_price,
        })
    }

    /// Keeps what may change of an order.
    fn take_apart(&mut self, handle: Handle, order: Order) {
        let record = &mut self.records[handle];
        let times = Times {
            pay_by: order.pay_by,
            deadline: order.deadline,
            changed_at: order.changed_at,
        };
        let short = times.after(order.placed_at);
        let extra = Extra {
            lines: record.terms.is_none().then(|| Box::new(order.lines)),
            times: short.is_none().then_some(times),
            attempts: order.attempts,
            aftermath: order.aftermath,
        };
        record.state = order.state;
        record.times = short.unwrap_or_default();
        record.extra = (!extra.is_empty()).then(|| self.extras.insert(extra));
    }
}

impl Record {
    pub(super) fn hash_of_id(&self) -> u64 {
        hash_of(u128::from_be_bytes(self.id))
    }

    pub(super) fn hash_of_key(&self) -> u64 {
        hash_of(u128::from_be_bytes(self.key))
    }

    fn times(&self, extra: Option<&Extra>) -> Times {
        let long = extra.and_then(|extra| extra.times);
        long.unwrap_or_else(|| self.times.from(self.placed_at))
    }
}

impl Extra {
    fn is_empty(&self) -> bool {
        self.lines.is_none()
            && self.times.is_none()
            && self.attempts.is_empty()
            && self.aftermath.is_none()
    }
}

impl Times {
    /// `None`: too long after, or before.
    fn after(self, placed_at: Timestamp) -> Option<ShortTimes> {
        let after = |time: Timestamp| {
            let micros = time.as_micros().checked_sub(placed_at.as_micros())?;
            u32::try_from(micros).ok()
        };
        Some(ShortTimes {
            pay_by: after(self.pay_by)?,
            deadline: after(self.deadline)?,
            changed_at: after(self.changed_at)?,
        })
    }
}

impl ShortTimes {
    fn from(self, placed_at: Timestamp) -> Times {
        let after = |micros: u32| placed_at.plus(Span::from_micros_u64(u64::from(micros)));
        Times {
            pay_by: after(self.pay_by),
            deadline: after(self.deadline),
            changed_at: after(self.changed_at),
        }
    }
}

/// The only line of an order, if it is short enough for a record, and its quantity.
fn short_line(lines: &Lines) -> Option<(&Line, u16)> {
    let [line] = &**lines else { return None };
    Some((line, u16::try_from(line.quantity.get()).ok()?))
}
