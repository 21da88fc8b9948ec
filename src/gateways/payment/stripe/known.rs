//! Which intent belongs to which attempt, as far as this process has seen. It may forget: then the list is read again.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::objects::IntentId;
use crate::domain::{AttemptId, IdMap};

/// Attempts remembered; the oldest goes when one more comes.
const ATTEMPTS_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct KnownIntents(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    intents: IdMap<AttemptId, IntentId>,
    /// In the order in which they came.
    attempts: VecDeque<AttemptId>,
}

impl KnownIntents {
    pub(super) fn get(&self, attempt: AttemptId) -> Option<IntentId> {
        self.0.lock().intents.get(&attempt).cloned()
    }

    pub(super) fn note(&self, attempt: AttemptId, intent: IntentId) {
        let mut known = self.0.lock();
        if known.intents.insert(attempt, intent).is_some() {
            return;
        }
        known.attempts.push_back(attempt);
        if known.attempts.len() > ATTEMPTS_MAX
            && let Some(oldest) = known.attempts.pop_front()
        {
            known.intents.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_at_the_bound() {
        let known = KnownIntents::default();
        let intent = IntentId::try_from("pi_1".to_owned()).expect("an id");
        for number in 0..=ATTEMPTS_MAX {
            let attempt = AttemptId::new(number as u128);
            known.note(attempt, intent.clone());
            known.note(attempt, intent.clone());
        }
        assert_eq!(known.get(AttemptId::new(0)), None);
        assert_eq!(known.get(AttemptId::new(1)), Some(intent));
        assert_eq!(known.0.lock().intents.len(), ATTEMPTS_MAX);
    }
}
