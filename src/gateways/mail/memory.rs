//! A transport that keeps letters in memory and fails as planned; for tests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lettre::Message;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{MailTransport, SendError};

#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryTransport(Arc<SharedPost>);

#[derive(Debug, Default)]
struct SharedPost {
    taken: Mutex<Vec<Message>>,
    /// What the next calls give, the first one first; then `Ok`.
    plan: Mutex<VecDeque<SendError>>,
    away: AtomicBool,
    /// Calls wait until it is let go.
    held: AtomicBool,
    released: Notify,
    calls: AtomicUsize,
    under_way: AtomicUsize,
    under_way_most: AtomicUsize,
}

impl MemoryTransport {
    pub(crate) fn plan(&self, failures: impl IntoIterator<Item = SendError>) {
        self.0.plan.lock().extend(failures);
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.0.away.store(away, Ordering::SeqCst);
    }

    /// From now on a call lasts until `release`.
    pub(crate) fn hold(&self) {
        self.0.held.store(true, Ordering::SeqCst);
    }

    pub(crate) fn release(&self) {
        self.0.held.store(false, Ordering::SeqCst);
        self.0.released.notify_waiters();
    }

    pub(crate) fn taken(&self) -> Vec<Message> {
        self.0.taken.lock().clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn under_way(&self) -> usize {
        self.0.under_way.load(Ordering::SeqCst)
    }

    pub(crate) fn under_way_most(&self) -> usize {
        self.0.under_way_most.load(Ordering::SeqCst)
    }

    async fn take(&self, message: Message) -> Result<(), SendError> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay::begin(&self.0);
        let released = self.0.released.notified();
        if self.0.held.load(Ordering::SeqCst) {
            released.await;
        }
        if self.0.away.load(Ordering::SeqCst) {
            return Err(SendError::Away("the test has sent it away".to_owned()));
        }
        if let Some(failure) = self.0.plan.lock().pop_front() {
            return Err(failure);
        }
        self.0.taken.lock().push(message);
        Ok(())
    }
}

impl MailTransport for MemoryTransport {
    fn send(&self, message: Message) -> BoxFuture<'_, Result<(), SendError>> {
        self.take(message).boxed()
    }

    fn place(&self) -> &str {
        "memory"
    }
}

/// Counts a call for as long as it lasts, also when it is given up.
struct UnderWay<'a>(&'a SharedPost);

impl<'a> UnderWay<'a> {
    fn begin(shared: &'a SharedPost) -> Self {
        let now = shared.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        shared.under_way_most.fetch_max(now, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}
