//! Checking what a start did not read, behind the first answer.
//!
//! A start reads the newest segment and what it replays. The older segments are kept for whoever wants to know what became
//! of an order, and for a database that comes back older; the more are kept, the longer it would take to read them before
//! anybody is served. So a thread of the lowest priority reads them afterwards, with pauses. Damage that it finds is
//! everybody's, as damage that any reader finds.
//!
//! A segment that is let go while it is read is no longer of interest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing::{error, info};

use super::reader::{Cursor, Step, Window};
use super::retained::{Retained, Segment};
use super::{DiskFile, Flaw, ReadError};

/// After so many bytes it rests for as long as they took.
const BYTES_AT_ONCE: u64 = 4 << 20;
/// The lowest claim on the processor.
const NICENESS: i32 = 19;

/// What is still to be read.
#[derive(Debug)]
pub struct RestCheck<F> {
    retained: Arc<Retained<F>>,
    /// Oldest first, and behind them the first that was read.
    segments: Vec<Arc<Segment<F>>>,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOutcome {
    /// Everything that is still kept is as it was written.
    Sound,
    /// It was reported, and fails the journal.
    Damaged,
    /// The disk did not answer. What was not read stays unchecked until the next start.
    Unreadable,
    /// It was asked to stop.
    Stopped,
}

/// A check on its thread. Dropping it ends it, and waits for that.
#[derive(Debug)]
pub struct RunningCheck {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    is_asked: Mutex<bool>,
    asked: Condvar,
}

impl Stop {
    fn is_asked(&self) -> bool {
        *self.is_asked.lock()
    }

    fn ask(&self) {
        *self.is_asked.lock() = true;
        self.asked.notify_all();
    }

    /// Rests, unless it is asked to stop.
    fn rest(&self, length: Duration) {
        let mut is_asked = self.is_asked.lock();
        if !*is_asked {
            self.asked.wait_for(&mut is_asked, length);
        }
    }
}

impl<F: DiskFile> RestCheck<F> {
    /// `segments`: those that were not read, and the first that was.
    pub(super) fn new(retained: Arc<Retained<F>>, segments: Vec<Arc<Segment<F>>>) -> Self {
        Self { retained, segments }
    }

    /// On a thread of its own.
    pub fn start(self) -> std::io::Result<RunningCheck> {
        let stop = Arc::<Stop>::default();
        let asked = Arc::clone(&stop);
        let work = move || {
            // Not being allowed to step back is no reason not to work.
            rustix::process::nice(NICENESS).ok();
            self.run_until(&asked);
        };
        let thread = thread::Builder::new()
            .name("journal-check".to_owned())
            .spawn(work)?;
        Ok(RunningCheck {
            stop,
            thread: Some(thread),
        })
    }

    /// Here and now.
    pub fn run(self) -> CheckOutcome {
        self.run_until(&Stop::default())
    }

    fn run_until(self, stop: &Stop) -> CheckOutcome {
        let begun = Instant::now();
        let mut window = Window::default();
        for pair in self.segments.windows(2) {
            let [segment, next] = pair else { continue };
            if let Err(outcome) = self.check(segment, next, &mut window, stop) {
                return outcome;
            }
        }
        let checked = self.segments.len().saturating_sub(1);
        if checked > 0 {
            let elapsed = begun.elapsed();
            info!(
                segments = checked,
                ?elapsed,
                "the older journal is as it was written: {checked} segments were checked"
            );
        }
        CheckOutcome::Sound
    }

    fn check(
        &self,
        segment: &Arc<Segment<F>>,
        next: &Segment<F>,
        window: &mut Window,
        stop: &Stop,
    ) -> Result<(), CheckOutcome> {
        let checked = check_segment(segment, next, window, stop);
        let is_gone = !self.retained.keeps(segment.header.segment_id) || !segment.is_still_itself();
        match checked {
            Err(Interrupted::Stop) => return Err(CheckOutcome::Stopped),
            Err(Interrupted::By(damage @ ReadError::Damaged { .. })) if !is_gone => {
                self.retained.soundness.report_damage(&damage.to_string());
                return Err(CheckOutcome::Damaged);
            }
            Err(Interrupted::By(ReadError::Io(failure))) => {
                error!(error = %failure, "the older journal cannot be checked: {failure}");
                return Err(CheckOutcome::Unreadable);
            }
            Err(Interrupted::By(_)) | Ok(()) => {}
        }
        self.retained.unchecked.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

enum Interrupted {
    Stop,
    By(ReadError),
}

/// From its first frame to the one that closes it and announces the next segment.
fn check_segment<F: DiskFile>(
    segment: &Arc<Segment<F>>,
    next: &Segment<F>,
    window: &mut Window,
    stop: &Stop,
) -> Result<(), Interrupted> {
    window.clear();
    let mut cursor = Cursor::at_start_of(Arc::clone(segment));
    let (mut begun, mut rested_at) = (Instant::now(), 0);
    loop {
        let step = cursor.step(window, segment.end());
        if let Step::Closed { successor } = step.map_err(Interrupted::By)? {
            return check_link(next, successor).map_err(Interrupted::By);
        }
        if stop.is_asked() {
            return Err(Interrupted::Stop);
        }
        if cursor.offset() - rested_at >= BYTES_AT_ONCE {
            stop.rest(begun.elapsed());
            (begun, rested_at) = (Instant::now(), cursor.offset());
        }
    }
}

fn check_link<F>(next: &Segment<F>, successor: u32) -> Result<(), ReadError> {
    if next.header_checksum == successor {
        return Ok(());
    }
    Err(ReadError::Damaged {
        segment: next.name().to_string(),
        offset: 0,
        flaw: Flaw::Successor,
    })
}

impl Drop for RunningCheck {
    fn drop(&mut self) {
        self.stop.ask();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread that checks the older journal panicked");
        }
    }
}
