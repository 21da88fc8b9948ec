//! Who watches which buyer, and what of it they have not been told yet.
//!
//! After a batch is durable the engine's thread looks up whose orders it changed, but only if anybody watches at all:
//! without watchers a batch costs one relaxed load. A watcher that does not come for its mail keeps the engine from
//! nothing: the mailbox holds the newest state of each thing and has a bound.
//!
//! **Invariant:** whoever watches first and reads the orders afterwards misses nothing. The read is a command; the turn
//! that takes it sees the watcher, and so does every later one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::actors::core::message::WaitlistPlace;
use crate::domain::{BuyerId, IdMap, Order, ProductId};

/// Something that a buyer should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An order as it stands now.
    Order(Box<Order>),
    /// A place on a waitlist as it is now; `None`: it is gone.
    WaitlistPlace(ProductId, Option<Box<WaitlistPlace>>),
    /// More has happened than was kept, or nobody can tell what: read the lists anew.
    Resync,
}

/// What happens to one buyer, from the moment it was opened until it is dropped.
#[derive(Debug)]
pub struct Watch {
    watchers: Arc<Watchers>,
    buyer: BuyerId,
    mailbox: Arc<Mailbox>,
}

/// The mailboxes of all watchers, by the buyer watched.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    watching: AtomicUsize,
    mailboxes: Mutex<IdMap<BuyerId, SmallVec<[Arc<Mailbox>; 1]>>>,
}

#[derive(Debug, Default)]
struct Mailbox {
    /// There may be mail: looking costs no lock.
    has_mail: AtomicBool,
    mail: Mutex<Mail>,
}

#[derive(Debug, Default)]
struct Mail {
    notices: Vec<Notice>,
    /// What did not fit is not kept: the watcher must read anew.
    is_overfull: bool,
}

impl Watch {
    /// Things of which a mailbox keeps the newest state. One more: all are dropped for one [`Notice::Resync`].
    pub const NOTICES_MAX: usize = 64;

    pub(crate) fn open(watchers: &Arc<Watchers>, buyer: BuyerId) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        watchers.add(buyer, Arc::clone(&mailbox));
        Self {
            watchers: Arc::clone(watchers),
            buyer,
            mailbox,
        }
    }

    /// What has happened since the last call, each thing once, in the order in which it first happened.
    pub fn take(&self) -> Vec<Notice> {
        self.mailbox.take()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watchers.remove(self.buyer, &self.mailbox);
    }
}

impl Watchers {
    pub(crate) fn is_anybody(&self) -> bool {
        self.watching.load(Ordering::Relaxed) > 0
    }

    /// Tells those who watch the buyers of these orders how they stand.
    pub(crate) fn tell(&self, orders: impl Iterator<Item = Order>) {
        let mailboxes = self.mailboxes.lock();
        for order in orders {
            for mailbox in mailboxes.get(&order.buyer).into_iter().flatten() {
                mailbox.put(Notice::Order(Box::new(order.clone())));
            }
        }
    }

    /// Tells those who watch the buyers how their places on waitlists are.
    pub(crate) fn tell_places(
        &self,
        places: impl Iterator<Item = (BuyerId, ProductId, Option<WaitlistPlace>)>,
    ) {
        let mailboxes = self.mailboxes.lock();
        for (buyer, product, place) in places {
            for mailbox in mailboxes.get(&buyer).into_iter().flatten() {
                mailbox.put(Notice::WaitlistPlace(product, place.map(Box::new)));
            }
        }
    }

    /// For when something may have been missed.
    pub(crate) fn tell_all_to_read_anew(&self) {
        for mailbox in self.mailboxes.lock().values().flatten() {
            mailbox.put(Notice::Resync);
        }
    }

    fn add(&self, buyer: BuyerId, mailbox: Arc<Mailbox>) {
        let mut mailboxes = self.mailboxes.lock();
        mailboxes.entry(buyer).or_default().push(mailbox);
        self.watching.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self, buyer: BuyerId, mailbox: &Arc<Mailbox>) {
        let mut mailboxes = self.mailboxes.lock();
        let Some(own) = mailboxes.get_mut(&buyer) else {
            return;
        };
        own.retain(|it| !Arc::ptr_eq(it, mailbox));
        if own.is_empty() {
            mailboxes.remove(&buyer);
        }
        self.watching.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Mailbox {
    fn put(&self, notice: Notice) {
        self.mail.lock().put(notice);
        self.has_mail.store(true, Ordering::Release);
    }

    fn take(&self) -> Vec<Notice> {
        if !self.has_mail.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        let mail = std::mem::take(&mut *self.mail.lock());
        if mail.is_overfull {
            return vec![Notice::Resync];
        }
        mail.notices
    }
}

impl Mail {
    fn put(&mut self, notice: Notice) {
        if self.is_overfull {
            return;
        }
        if let Some(known) = self.notices.iter_mut().find(|it| it.is_about_same(&notice)) {
            *known = notice;
        } else if notice == Notice::Resync || self.notices.len() == Watch::NOTICES_MAX {
            self.notices = Vec::new();
            self.is_overfull = true;
        } else {
            self.notices.push(notice);
        }
    }
}

impl Notice {
    fn is_about_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Order(one), Self::Order(other)) => one.id == other.id,
            (Self::WaitlistPlace(one, _), Self::WaitlistPlace(other, _)) => one == other,
            (Self::Order(_) | Self::WaitlistPlace(..) | Self::Resync, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Currency, Fingerprint, KeyHash, Line, Money, OrderId, OrderPlaced, ProductId, Quantity,
        Timestamp,
    };

    const KIM: BuyerId = BuyerId::new(7);

    fn order(id: u128, sequence: u64) -> Order {
        let placed = OrderPlaced {
            order: OrderId::new(id),
            buyer: KIM,
            at: Timestamp::ZERO,
            key: KeyHash::new(id),
            fingerprint: Fingerprint(0),
            address: None,
            deadline: Timestamp::ZERO,
            offers: vec![],
            lines: vec![Line {
                product: ProductId::new(1),
                quantity: Quantity::new(1).expect("one"),
                unit_price: Money {
                    amount: 1,
                    currency: Currency::parse("KRW").expect("a currency"),
                },
            }],
        };
        Order::new(sequence, &placed)
    }

    fn told(watch: &Watch) -> Vec<(u128, u64)> {
        let seen = |notice| match notice {
            Notice::Order(order) => (order.id.get(), order.sequence),
            Notice::WaitlistPlace(product, _) => (product.get(), u64::MAX),
            Notice::Resync => (0, 0),
        };
        watch.take().into_iter().map(seen).collect()
    }

    #[test]
    fn a_watcher_is_told_of_its_buyer_alone_and_only_while_it_watches() {
        let watchers = Arc::new(Watchers::default());
        assert!(!watchers.is_anybody());
        let watch = Watch::open(&watchers, KIM);
        let other = Watch::open(&watchers, BuyerId::new(8));
        assert!(watchers.is_anybody());
        watchers.tell([order(1, 1)].into_iter());
        assert_eq!(told(&watch), [(1, 1)]);
        assert_eq!((told(&watch), told(&other)), (vec![], vec![]));
        drop((watch, other));
        assert!(!watchers.is_anybody());
        assert!(watchers.mailboxes.lock().is_empty());
    }

    #[test]
    fn what_nobody_has_fetched_is_replaced_by_what_is_newer() {
        let watchers = Arc::new(Watchers::default());
        let watch = Watch::open(&watchers, KIM);
        watchers.tell([order(1, 1), order(2, 2), order(1, 3)].into_iter());
        assert_eq!(told(&watch), [(1, 3), (2, 2)]);
    }

    #[test]
    fn a_place_on_a_waitlist_is_told_as_it_is_last() {
        let watchers = Arc::new(Watchers::default());
        let watch = Watch::open(&watchers, KIM);
        let gone = |product| (KIM, ProductId::new(product), None);
        watchers.tell([order(1, 1)].into_iter());
        watchers.tell_places([gone(5), gone(6), gone(5)].into_iter());
        assert_eq!(told(&watch), [(1, 1), (5, u64::MAX), (6, u64::MAX)]);
    }

    #[test]
    fn more_than_a_mailbox_keeps_becomes_one_word() {
        let watchers = Arc::new(Watchers::default());
        let watch = Watch::open(&watchers, KIM);
        let limit = u128::try_from(Watch::NOTICES_MAX).expect("small");
        for id in 1..=limit {
            watchers.tell([order(id, 1)].into_iter());
        }
        assert_eq!(told(&watch).len(), Watch::NOTICES_MAX);
        for id in 1..=limit + 2 {
            watchers.tell([order(id, 1)].into_iter());
        }
        assert_eq!(told(&watch), [(0, 0)]);
        watchers.tell([order(1, 9)].into_iter());
        assert_eq!(told(&watch), [(1, 9)], "it begins anew");
    }
}
