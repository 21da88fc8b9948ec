//! How many live streams there may be: of the server, and of one account.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::actors::message::Refusal;
use crate::domain::{BuyerId, IdMap};
use crate::http::problem::{Code, Problem};

/// Admits streams; cheap to clone, shared by all workers.
///
/// At most `streams_max` of the server are open; the next is told 503. At most [`Admission::OF_ACCOUNT_MAX`] of an
/// account; its next is told 429.
#[derive(Debug, Clone)]
pub(crate) struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    streams_max: usize,
    open: AtomicUsize,
    of_accounts: Mutex<IdMap<BuyerId, u32>>,
    closed: AtomicBool,
}

/// One stream may be open for as long as this lives.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Admission,
    account: Option<BuyerId>,
}

impl Admission {
    /// Windows and devices in which one person looks at their orders.
    pub(crate) const OF_ACCOUNT_MAX: u32 = 10;

    pub(crate) fn new(streams_max: usize) -> Self {
        Self(Arc::new(Inner {
            streams_max,
            open: AtomicUsize::new(0),
            of_accounts: Mutex::default(),
            closed: AtomicBool::new(false),
        }))
    }

    /// Ends all streams and admits no other: the first thing of a shutdown.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
    }

    /// Streams that are open now.
    pub(super) fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    pub(super) fn admit(&self, account: Option<BuyerId>) -> Result<Permit, Problem> {
        if self.is_closed() {
            return Err(Refusal::ShuttingDown.into());
        }
        let streams_max = self.0.streams_max;
        let mut permit = Permit {
            admission: self.clone(),
            account: None,
        };
        if self.0.open.fetch_add(1, Ordering::AcqRel) >= streams_max {
            return Err(too_many_streams(streams_max));
        }
        if let Some(account) = account {
            self.admit_account(account)?;
            permit.account = Some(account);
        }
        Ok(permit)
    }

    fn admit_account(&self, account: BuyerId) -> Result<(), Problem> {
        let mut of_accounts = self.0.of_accounts.lock();
        let open = of_accounts.entry(account).or_default();
        if *open == Self::OF_ACCOUNT_MAX {
            return Err(too_many_own_streams());
        }
        *open += 1;
        Ok(())
    }

    fn release_account(&self, account: BuyerId) {
        let mut of_accounts = self.0.of_accounts.lock();
        let Some(open) = of_accounts.get_mut(&account) else {
            return;
        };
        *open -= 1;
        if *open == 0 {
            of_accounts.remove(&account);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.0.open.fetch_sub(1, Ordering::AcqRel);
        if let Some(account) = self.account {
            self.admission.release_account(account);
        }
    }
}

fn too_many_streams(streams_max: usize) -> Problem {
    Problem::of(
        Code::TooManyStreams,
        "all live streams of the server are taken; ask for the current state now and then",
    )
    .with("streams_max", streams_max)
}

fn too_many_own_streams() -> Problem {
    let streams_max = Admission::OF_ACCOUNT_MAX;
    Problem::of(
        Code::TooManyOwnStreams,
        format!("an account has at most {streams_max} live streams; close another window first"),
    )
    .with("streams_max", streams_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIM: Option<BuyerId> = Some(BuyerId::new(7));

    fn code(refused: Result<Permit, Problem>) -> Code {
        refused.expect_err("refused").code()
    }

    #[test]
    fn a_stream_that_ends_makes_room_for_another() {
        let admission = Admission::new(2);
        let first = admission.admit(None).expect("room");
        let second = admission.admit(KIM).expect("room");
        assert_eq!(code(admission.admit(None)), Code::TooManyStreams);
        drop(first);
        let third = admission.admit(None).expect("room again");
        assert_eq!(code(admission.admit(None)), Code::TooManyStreams);
        drop((second, third));
        assert_eq!(admission.0.open.load(Ordering::Relaxed), 0);
        assert!(admission.0.of_accounts.lock().is_empty());
    }

    #[test]
    fn one_account_cannot_take_the_room_of_all() {
        let admission = Admission::new(1_000);
        let own: Vec<_> = (0..Admission::OF_ACCOUNT_MAX)
            .map(|_| admission.admit(KIM).expect("room"))
            .collect();
        assert_eq!(code(admission.admit(KIM)), Code::TooManyOwnStreams);
        let other = admission.admit(Some(BuyerId::new(8))).expect("room");
        drop(own);
        let again = admission.admit(KIM).expect("room again");
        drop((other, again));
        assert_eq!(admission.0.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nobody_comes_in_after_closing() {
        let admission = Admission::new(2);
        admission.close();
        assert_eq!(code(admission.admit(None)), Code::ShuttingDown);
    }
}
