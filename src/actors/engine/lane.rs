//! The way back from the engine: one lane an HTTP worker, one wake-up a batch of answers.
//!
//! A requester keeps a slot in its own thread; the engine's thread only ever touches the lane's list, so answering a
//! batch costs one lock and one wake-up a worker, however many requests it serves.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::Notify;

use crate::actors::core::message::{Answer, Refusal};

/// The half that the engine sees.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    answers: Mutex<Vec<(u32, Answer)>>,
    ready: Notify,
}

impl Lane {
    /// Hands over all of `answers` and wakes the worker once.
    pub(crate) fn deliver(&self, answers: &mut Vec<(u32, Answer)>) {
        self.answers.lock().append(answers);
        self.ready.notify_one();
    }
}

/// The half of one worker thread: which requests wait, and for what.
#[derive(Debug)]
pub(crate) struct Port {
    lane: Arc<Lane>,
    slots: RefCell<Slab<Slot>>,
}

#[derive(Debug)]
enum Slot {
    Waiting(Option<Waker>),
    Answered(Answer),
    /// The requester has gone; its answer is dropped when it comes.
    Abandoned,
}

impl Port {
    /// Must be called within a local task set; it spawns the task that completes the requests.
    pub(crate) fn open(lane: Arc<Lane>) -> Rc<Self> {
        let port = Rc::new(Self {
            lane,
            slots: RefCell::new(Slab::new()),
        });
        let weak = Rc::downgrade(&port);
        let lane = Arc::clone(&port.lane);
        actix::spawn(async move {
            let mut batch = Vec::new();
            loop {
                lane.ready.notified().await;
                std::mem::swap(&mut batch, &mut *lane.answers.lock());
                let Some(port) = weak.upgrade() else { return };
                port.complete(&mut batch);
            }
        });
        port
    }

    /// Reserves a slot; the engine answers to its number.
    pub(crate) fn reserve(self: &Rc<Self>) -> PendingAnswer {
        let slot = self.slots.borrow_mut().insert(Slot::Waiting(None));
        PendingAnswer {
            port: Rc::clone(self),
            slot,
        }
    }

    fn complete(&self, batch: &mut Vec<(u32, Answer)>) {
        let mut slots = self.slots.borrow_mut();
        for (slot, answer) in batch.drain(..) {
            let index = slot as usize;
            let Some(entry) = slots.get_mut(index) else {
                continue;
            };
            match std::mem::replace(entry, Slot::Answered(answer)) {
                Slot::Waiting(Some(waker)) => waker.wake(),
                Slot::Waiting(None) | Slot::Answered(_) => {}
                Slot::Abandoned => {
                    slots.remove(index);
                }
            }
        }
    }
}

/// The answer to one command. Dropping it does not undo the command.
#[derive(Debug)]
pub(crate) struct PendingAnswer {
    port: Rc<Port>,
    slot: usize,
}

impl PendingAnswer {
    pub(crate) fn slot(&self) -> u32 {
        u32::try_from(self.slot).unwrap_or(u32::MAX)
    }
}

impl Future for PendingAnswer {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let mut slots = self.port.slots.borrow_mut();
        let slot = &mut slots[self.slot];
        match slot {
            Slot::Answered(answer) => {
                let answer = std::mem::replace(answer, Err(Refusal::ShuttingDown));
                Poll::Ready(answer)
            }
            Slot::Waiting(_) | Slot::Abandoned => {
                *slot = Slot::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        let mut slots = self.port.slots.borrow_mut();
        match &slots[self.slot] {
            Slot::Answered(_) => {
                slots.remove(self.slot);
            }
            Slot::Waiting(_) | Slot::Abandoned => slots[self.slot] = Slot::Abandoned,
        }
    }
}
