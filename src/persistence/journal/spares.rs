//! Segments prepared ahead of need.
//!
//! Filling a segment with zeros takes long enough to be noticed by every buyer, so it happens on a thread of its own,
//! one segment ahead. Segments that are no longer needed become spares by a rename, their old frames left in
//! place: the chain tells them apart.
//!
//! **Invariant:** a file has its spare name durably before anything is written into it. Otherwise a crash could
//! bring back the old name over new content.
//!
//! **Invariant:** segments leave in order, each durably before the next one; after a failure none leaves any more. A
//! gap between segments would count as damage.
//!
//! A spare is never read: it holds nothing that anyone was promised.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use tracing::{info, warn};

use super::format::{HEADER_BLOCK_BYTES, is_blank, length, numbered, segment_name};
use super::{Disk, DiskFile, OpenError, SparePreparation, io_failure};

/// With this many ready, another one is filled only after one was taken.
const SPARES_MIN: usize = 1;
/// Released segments are kept as spares up to this many, the rest is removed.
const SPARES_MAX: usize = 2;
/// Zeros are written and synced in pieces of this size. One sync of a whole segment would keep the disk busy for so long
/// that the writer's own syncs, a hundred times smaller, wait milliseconds behind it.
const FILL_CHUNK_BYTES: usize = 256 << 10;
const READY: (&str, &str) = ("spare-", ".seg");
const UNREADY: (&str, &str) = ("spare-", ".tmp");

/// A file of the size of a segment, not in use.
#[derive(Debug)]
pub(super) struct Spare<F> {
    pub(super) name: String,
    pub(super) file: F,
    /// Holds old frames, not zeros.
    pub(super) recycled: bool,
}

#[derive(Debug)]
enum Order {
    Fill,
    /// Make a spare of a released segment.
    Recycle {
        segment: String,
    },
    Remove {
        segment: String,
    },
}

/// The stock of spares, and whoever makes them.
#[derive(Debug)]
pub(super) struct Spares<D: Disk> {
    workshop: Workshop<D>,
    ready: VecDeque<Spare<D::File>>,
    /// Ordered and not yet received.
    ordered: usize,
    worker: Option<Worker<D::File>>,
}

#[derive(Debug)]
struct Worker<F> {
    orders: mpsc::Sender<Order>,
    made: mpsc::Receiver<Option<Spare<F>>>,
    thread: thread::JoinHandle<()>,
}

impl<D: Disk> Spares<D> {
    /// Takes over the spares that are in the directory and removes what is half done.
    pub(super) fn open(
        disk: D,
        segment_bytes: u64,
        preparation: SparePreparation,
    ) -> Result<Self, OpenError> {
        let workshop = Workshop {
            disk,
            segment_bytes,
            next_number: Arc::default(),
            stopped: Arc::default(),
            is_blocked: Arc::default(),
            lacks_room: Arc::default(),
        };
        let ready = workshop
            .adopt()
            .map_err(io_failure::<OpenError>("take over", "the spare segments"))?;
        let mut spares = Self {
            workshop,
            ready,
            ordered: 0,
            worker: None,
        };
        if preparation == SparePreparation::OnThread {
            let worker = spares.workshop.clone().start();
            spares.worker = Some(worker.map_err(io_failure::<OpenError>(
                "start a thread for",
                "the spare segments",
            ))?);
        }
        Ok(spares)
    }

    /// A spare: a ready one, the next that is finished, or one made on the spot.
    pub(super) fn take(&mut self) -> io::Result<Spare<D::File>> {
        while self.ready.is_empty() && self.ordered > 0 {
            self.receive_one();
        }
        match self.ready.pop_front() {
            Some(spare) => Ok(spare),
            None => self.workshop.fill(),
        }
    }

    /// Whether the segment after this one is there, or on its way.
    pub(super) fn is_stocked(&mut self) -> bool {
        while self.ready.is_empty() && self.ordered > 0 {
            match self.worker.as_ref().map(|worker| worker.made.try_recv()) {
                Some(Ok(made)) => self.receive(made),
                Some(Err(mpsc::TryRecvError::Empty)) => break,
                Some(Err(mpsc::TryRecvError::Disconnected)) | None => self.work_alone(),
            }
        }
        let is_on_its_way = self.ordered > 0 && !self.workshop.lacks_room.load(Ordering::Relaxed);
        !self.ready.is_empty() || is_on_its_way
    }

    /// Makes sure that the next spare is on its way.
    pub(super) fn restock(&mut self) {
        if self.ready.len() + self.ordered < SPARES_MIN {
            self.order(Order::Fill);
        }
    }

    /// Takes a segment that nobody needs, of the size given.
    pub(super) fn offer(&mut self, segment_id: u64, segment_bytes: u64) {
        let segment = segment_name(segment_id);
        let is_welcome = self.ready.len() + self.ordered < SPARES_MAX
            && segment_bytes == self.workshop.segment_bytes;
        self.order(if is_welcome {
            Order::Recycle { segment }
        } else {
            Order::Remove { segment }
        });
    }

    fn order(&mut self, order: Order) {
        let makes_spare = !matches!(order, Order::Remove { .. });
        match &self.worker {
            None => self.ready.extend(self.workshop.carry_out(order)),
            Some(worker) => {
                let is_sent = worker.orders.send(order).is_ok();
                self.ordered += usize::from(is_sent && makes_spare);
            }
        }
    }

    fn receive_one(&mut self) {
        match self.worker.as_ref().map(|worker| worker.made.recv()) {
            Some(Ok(made)) => self.receive(made),
            Some(Err(mpsc::RecvError)) | None => self.work_alone(),
        }
    }

    /// The thread is gone; what it had to do is done on the spot.
    fn work_alone(&mut self) {
        self.ordered = 0;
        self.worker = None;
    }

    fn receive(&mut self, made: Option<Spare<D::File>>) {
        self.ordered -= 1;
        self.ready.extend(made);
    }
}

impl<D: Disk> Drop for Spares<D> {
    /// Waits for the thread: the directory must be at rest when the lock is let go.
    fn drop(&mut self) {
        self.workshop.stopped.store(true, Ordering::Relaxed);
        let Some(worker) = self.worker.take() else {
            return;
        };
        drop(worker.orders);
        if worker.thread.join().is_err() {
            warn!("the thread that prepares journal segments panicked");
        }
    }
}

/// What it takes to make a spare.
#[derive(Debug, Clone)]
struct Workshop<D> {
    disk: D,
    segment_bytes: u64,
    next_number: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
    /// A segment could not be taken out, so those behind it stay as well.
    is_blocked: Arc<AtomicBool>,
    /// The last segment that was to be filled found no room. Told once.
    lacks_room: Arc<AtomicBool>,
}

impl<D: Disk> Workshop<D> {
    fn start(self) -> io::Result<Worker<D::File>> {
        let (orders, to_do) = mpsc::channel();
        let (done, made) = mpsc::channel();
        let work = move || {
            for order in to_do {
                let makes_spare = !matches!(order, Order::Remove { .. });
                let spare = self.carry_out(order);
                if makes_spare && done.send(spare).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new()
            .name("journal-spares".to_owned())
            .spawn(work)?;
        Ok(Worker {
            orders,
            made,
            thread,
        })
    }

    /// A failure here harms nobody yet: the segment stays where it is, or the next switch makes its own spare.
    fn carry_out(&self, order: Order) -> Option<Spare<D::File>> {
        let takes_out = !matches!(order, Order::Fill);
        if takes_out && self.is_blocked.load(Ordering::Relaxed) {
            return None;
        }
        let outcome = match &order {
            Order::Fill => return self.fill_if_there_is_room(),
            Order::Recycle { segment } => self.recycle(segment).map(Some),
            Order::Remove { segment } => self.remove(segment).map(|()| None),
        };
        outcome.unwrap_or_else(|error| {
            self.is_blocked.fetch_or(takes_out, Ordering::Relaxed);
            if !self.stopped.load(Ordering::Relaxed) {
                warn!(error = %error, order = ?order, "journal: could not prepare a spare segment");
            }
            None
        })
    }

    fn adopt(&self) -> io::Result<VecDeque<Spare<D::File>>> {
        let mut adopted = VecDeque::new();
        let mut names = self.disk.list()?;
        names.sort_unstable();
        for name in names {
            if let Some(number) = numbered(&name, UNREADY.0, UNREADY.1) {
                self.reserve(number);
                self.disk.remove(&name)?;
            } else if let Some(number) = numbered(&name, READY.0, READY.1) {
                self.reserve(number);
                match self.adopt_one(&name)? {
                    Some(spare) if adopted.len() < SPARES_MAX => adopted.push_back(spare),
                    Some(_) | None => self.disk.remove(&name)?,
                }
            }
        }
        Ok(adopted)
    }

    fn adopt_one(&self, name: &str) -> io::Result<Option<Spare<D::File>>> {
        let file = self.disk.open(name)?;
        if file.bytes()? != self.segment_bytes {
            return Ok(None);
        }
        let mut start = vec![0; length(HEADER_BLOCK_BYTES)];
        file.read_at(&mut start, 0)?;
        Ok(Some(Spare {
            name: name.to_owned(),
            file,
            recycled: !is_blank(&start),
        }))
    }

    /// Asked again and again while there is none.
    fn fill_if_there_is_room(&self) -> Option<Spare<D::File>> {
        let filled = match self.disk.free_bytes() {
            Ok(free_bytes) if free_bytes < self.segment_bytes => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            Ok(_) | Err(_) => self.fill(),
        };
        let lacked_room = self.lacks_room.swap(filled.is_err(), Ordering::Relaxed);
        match &filled {
            Ok(_) if lacked_room => info!("journal: there is room for another segment again"),
            Ok(_) => {}
            Err(_) if lacked_room || self.stopped.load(Ordering::Relaxed) => {}
            Err(error) => {
                warn!(%error, "journal: the next segment cannot be prepared, so no new holds are taken until it can: {error}");
            }
        }
        filled.ok()
    }

    fn fill(&self) -> io::Result<Spare<D::File>> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let unready = name_of(UNREADY, number);
        let file = self.disk.create(&unready)?;
        if let Err(error) = self.fill_with_zeros(&file) {
            // On a full disk the half-filled file would only make things worse.
            self.disk.remove(&unready)?;
            return Err(error);
        }
        let name = name_of(READY, number);
        self.disk.rename(&unready, &name)?;
        self.disk.sync_dir()?;
        Ok(Spare {
            name,
            file,
            recycled: false,
        })
    }

    fn fill_with_zeros(&self, file: &D::File) -> io::Result<()> {
        let zeros = vec![0; FILL_CHUNK_BYTES];
        let mut offset = 0;
        while offset < self.segment_bytes {
            if self.stopped.load(Ordering::Relaxed) {
                return Err(io::Error::from(io::ErrorKind::Interrupted));
            }
            let chunk_bytes = (self.segment_bytes - offset).min(FILL_CHUNK_BYTES as u64);
            file.write_at(&zeros[..length(chunk_bytes)], offset)?;
            file.sync_data()?;
            offset += chunk_bytes;
        }
        Ok(())
    }

    fn recycle(&self, segment: &str) -> io::Result<Spare<D::File>> {
        let name = name_of(READY, self.next_number.fetch_add(1, Ordering::Relaxed));
        self.disk.rename(segment, &name)?;
        self.disk.sync_dir()?;
        let file = self.disk.open(&name)?;
        Ok(Spare {
            name,
            file,
            recycled: true,
        })
    }

    fn remove(&self, segment: &str) -> io::Result<()> {
        self.disk.remove(segment)?;
        self.disk.sync_dir()
    }

    fn reserve(&self, number: u64) {
        self.next_number.fetch_max(number + 1, Ordering::Relaxed);
    }
}

fn name_of((prefix, suffix): (&str, &str), number: u64) -> String {
    format!("{prefix}{number:016}{suffix}")
}
