//! Whether anybody has found the journal damaged: shared by the writer and all readers.
//!
//! A record that cannot be read stops every start, and what was promised after it is gone with it. So one reader's
//! finding is everybody's, at once.

use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tracing::error;

type Tell = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub(super) struct Soundness {
    damage: OnceLock<Arc<str>>,
    listeners: Mutex<Vec<Tell>>,
}

impl Soundness {
    /// Only the first damage is kept and told: what follows from it would hide it.
    pub(super) fn report_damage(&self, reason: &str) {
        let is_news = self.damage.set(reason.into()).is_ok();
        if !is_news {
            return;
        }
        error!("nothing is promised any more, because a record cannot be read: {reason}");
        for tell in self.listeners.lock().iter() {
            tell();
        }
    }

    pub(super) fn damage(&self) -> Option<&Arc<str>> {
        self.damage.get()
    }

    pub(super) fn on_damage(&self, tell: Tell) {
        let mut listeners = self.listeners.lock();
        if self.damage().is_some() {
            tell();
        }
        listeners.push(tell);
    }
}

impl fmt::Debug for Soundness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Soundness")
            .field("damage", &self.damage())
            .finish_non_exhaustive()
    }
}
