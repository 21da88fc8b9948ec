//! Readers on their way: what they must not see, and what they are told when they fall behind.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::*;

/// A disk whose syncs tell, before they start and after they end, how far the writer is.
#[derive(Debug, Clone)]
struct WatchedDisk {
    disk: SimDisk,
    /// Run in the middle of each sync, when the bytes are written and not durable.
    in_sync: Arc<parking_lot::Mutex<Vec<Box<dyn JournalReader>>>>,
    syncs_watched: Arc<AtomicU64>,
}

#[derive(Debug)]
struct WatchedFile {
    file: SimFile,
    disk: WatchedDisk,
}

impl fmt::Debug for dyn JournalReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a reader at {}", self.position())
    }
}

impl WatchedDisk {
    fn wrap(&self, file: io::Result<SimFile>) -> io::Result<WatchedFile> {
        Ok(WatchedFile {
            file: file?,
            disk: self.clone(),
        })
    }
}

impl Disk for WatchedDisk {
    type File = WatchedFile;
    type Lock = <SimDisk as Disk>::Lock;

    fn lock(&self) -> io::Result<Option<Self::Lock>> {
        self.disk.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn create(&self, name: &str) -> io::Result<WatchedFile> {
        self.wrap(self.disk.create(name))
    }
    fn open(&self, name: &str) -> io::Result<WatchedFile> {
        self.wrap(self.disk.open(name))
    }
    fn open_read_only(&self, name: &str) -> io::Result<WatchedFile> {
        self.wrap(self.disk.open_read_only(name))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
    fn directory(&self, name: &str) -> io::Result<Self> {
        Ok(Self {
            disk: self.disk.directory(name)?,
            ..self.clone()
        })
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
    fn path(&self) -> std::path::PathBuf {
        self.disk.path()
    }
}

impl DiskFile for WatchedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    /// The bytes are in the file already; nobody may see them yet.
    fn sync_data(&self) -> io::Result<()> {
        for reader in self.disk.in_sync.lock().iter_mut() {
            let mut records = Records::new();
            let read = reader.next_batch(100, &mut records).expect("readable");
            assert_eq!(read, 0, "a reader saw a record that is not durable");
            self.disk.syncs_watched.fetch_add(1, Ordering::Relaxed);
        }
        self.file.sync_data()
    }
}

#[test]
fn a_reader_never_sees_a_record_that_is_written_but_not_durable() {
    let watched = WatchedDisk {
        disk: SimDisk::new(1),
        in_sync: Arc::default(),
        syncs_watched: Arc::default(),
    };
    let (mut journal, _) =
        FileJournal::open(watched.clone(), tiny_options()).expect("an empty disk");
    let reader = journal.reader(Position::ZERO).expect("kept");
    watched.in_sync.lock().push(reader);
    let mut records = Records::new();
    for round in 1..=40 {
        append(&mut journal, 3).expect("a working disk");
        // Caught up again, so that the next sync has nothing durable to show.
        let read = watched.in_sync.lock()[0].next_batch(100, &mut records);
        assert_eq!(
            (read.expect("readable"), records.last()),
            (3, Some(journal.position()))
        );
        if round % 3 == 0 {
            journal.seal().expect("a working disk");
        }
    }
    assert!(watched.syncs_watched.load(Ordering::Relaxed) > 50);
}

#[test]
fn a_reader_does_not_see_the_batch_that_failed() {
    let disk = disk_with(6);
    let (mut journal, _) = open_sim(&disk).expect("a good journal");
    let mut reader = journal.reader(Position::new(3)).expect("kept");
    disk.plan(FaultPlan {
        sync: Some(1),
        ..FaultPlan::default()
    });
    append(&mut journal, 3).expect_err("planned to fail");
    assert_eq!(drain(reader.as_mut(), 10).expect("readable").len(), 3);
    drop(journal);
    assert_eq!(drain(reader.as_mut(), 10).expect("outlives the writer"), []);
}

/// The projection's thread beside the engine's, on a real disk, with segments that are released behind it.
#[test]
fn a_reader_on_another_thread_follows_through_recycled_segments() {
    const LAST: u64 = 3_000;
    let directory = tempfile::tempdir().expect("a directory");
    let disk = RealDisk::open(directory.path()).expect("a directory");
    let options = Options {
        spares: SparePreparation::OnThread,
        ..tiny_options()
    };
    let (mut journal, _) = FileJournal::open(disk.clone(), options).expect("an empty directory");
    let mut reader = journal.reader(Position::ZERO).expect("kept");
    let (durable, projected) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let following = std::thread::spawn({
        let (durable, projected) = (Arc::clone(&durable), Arc::clone(&projected));
        move || {
            let mut records = Records::new();
            let mut next = 1;
            while next <= LAST {
                reader
                    .next_batch(50, &mut records)
                    .expect("the writer releases only what was read");
                for (position, bytes) in records.iter() {
                    assert_eq!((position.get(), bytes), (next, record(next).as_slice()));
                    next += 1;
                }
                // The writer says so after the append returned, so the reader may be ahead by one batch.
                assert!(next - 1 <= durable.load(Ordering::SeqCst) + 10);
                projected.store(next - 1, Ordering::SeqCst);
                std::thread::yield_now();
            }
        }
    });
    while journal.position().get() < LAST {
        append(&mut journal, 10).expect("a working disk");
        durable.store(journal.position().get(), Ordering::SeqCst);
        journal.release_through(Position::new(projected.load(Ordering::SeqCst)));
    }
    following
        .join()
        .expect("the reader saw every record once and in order");
    journal.release_through(Position::new(LAST));
    assert!(journal.reader(Position::ZERO).is_err());
    drop(journal);
    assert!(segments(&disk).len() < 10, "nothing was recycled");
}

#[test]
fn a_reader_that_fell_behind_is_told_so() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open_sim(&disk).expect("an empty disk");
    append_through(&mut journal, 12, 3);
    let mut lagging = journal.reader(Position::ZERO).expect("kept");
    let mut records = Records::new();
    assert_eq!(lagging.next_batch(4, &mut records).expect("kept"), 4);
    while segments(&disk).contains(&segment_name(1)) {
        let position = append(&mut journal, 3).expect("a working disk");
        journal.release_through(position);
    }
    // Two more of the batch that it had read already, then the end.
    assert_eq!(lagging.next_batch(9, &mut records).expect("from memory"), 2);
    for _ in 0..2 {
        let told = lagging.next_batch(9, &mut records);
        assert!(
            matches!(told, Err(ReadError::Released { wanted, first }) if wanted.get() == 7 && first > wanted)
        );
    }
}

#[test]
fn a_reader_reports_damage_where_it_meets_it() {
    let disk = disk_with(60);
    let (journal, _) = open_sim(&disk).expect("a good journal");
    let name = segments(&disk).swap_remove(1);
    let content = disk.read_file(&name).expect("listed");
    let frame = frames(&content).swap_remove(2);
    let file = disk.open(&name).expect("listed");
    file.write_at(&[content[frame.start + 80] ^ 1], frame.start as u64 + 80)
        .expect("a working disk");
    let mut reader = journal.reader(Position::ZERO).expect("kept");
    let mut records = Records::new();
    let error = loop {
        match reader.next_batch(7, &mut records) {
            Ok(read) => assert!(read > 0, "read past the damage"),
            Err(error) => break error,
        }
    };
    let ReadError::Damaged {
        segment,
        offset,
        flaw,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (segment, offset, flaw),
        (name, frame.start as u64, Flaw::Checksum)
    );
    assert!(reader.position().get() > 18);
}

/// What is appended behind a record that cannot be read is lost with the next start. So nobody is promised anything more.
#[test]
fn what_one_reader_finds_damaged_ends_the_promises_to_all() {
    let disk = disk_with(60);
    let (mut journal, _) = open_sim(&disk).expect("a good journal");
    append(&mut journal, 3).expect("a working disk");
    let told = Arc::new(AtomicU64::new(0));
    let tell = |times| {
        let told = Arc::clone(&told);
        move || {
            told.fetch_add(times, Ordering::Relaxed);
        }
    };
    journal.view().on_damage(Box::new(tell(1)));
    let name = segments(&disk).swap_remove(1);
    let content = disk.read_file(&name).expect("listed");
    let frame = frames(&content).swap_remove(2);
    disk.open(&name)
        .and_then(|file| file.write_at(&[0; 512], frame.start as u64))
        .expect("a working disk");
    let mut reader = journal.reader(Position::ZERO).expect("kept");
    let damage = drain(reader.as_mut(), 7).expect_err("a frame is gone");
    let Err(JournalError::Damaged { reason }) = append(&mut journal, 1) else {
        panic!("a promise behind a record that nobody can read");
    };
    assert_eq!(*reason, damage.to_string());
    assert_eq!(journal.view().damage(), Some(reason));
    assert!(matches!(journal.seal(), Err(JournalError::Failed)));
    assert_eq!(told.load(Ordering::Relaxed), 1);
    journal.view().on_damage(Box::new(tell(10)));
    assert_eq!(
        told.load(Ordering::Relaxed),
        11,
        "who comes late is told too"
    );
    // It is no worse than it was: what is whole can be read, and a start says the same.
    assert_eq!(
        drain(journal.reader(Position::new(57)).expect("kept").as_mut(), 7)
            .expect("whole")
            .len(),
        6
    );
    drop(journal);
    assert!(matches!(open_sim(&disk), Err(OpenError::Damaged { .. })));
}

/// The batch that was being made durable when somebody found damage: written, and promised to nobody.
#[test]
fn damage_that_is_found_during_a_sync_takes_the_batch_back() {
    let watched = WatchedDisk {
        disk: SimDisk::new(1),
        in_sync: Arc::default(),
        syncs_watched: Arc::default(),
    };
    let (mut journal, _) =
        FileJournal::open(watched.clone(), tiny_options()).expect("an empty disk");
    append(&mut journal, 3).expect("a working disk");
    let reader = Reporter(journal.view());
    watched.in_sync.lock().push(Box::new(reader));
    let refused = append(&mut journal, 3);
    assert!(matches!(refused, Err(JournalError::Damaged { .. })));
    assert_eq!(journal.position().get(), 3);
}

/// Finds damage wherever it is asked.
struct Reporter(View);

impl JournalReader for Reporter {
    fn next_batch(&mut self, _: usize, _: &mut Records) -> Result<usize, ReadError> {
        self.0.report_damage("somebody said so");
        Ok(0)
    }

    fn position(&self) -> Position {
        Position::ZERO
    }

    fn skip_released(&mut self) -> u64 {
        0
    }
}

/// A disk that cannot be read for a moment is not a damaged journal.
#[test]
fn a_reader_whose_disk_fails_says_so() {
    let disk = disk_with(30);
    let (journal, _) = open_sim(&disk).expect("a good journal");
    let mut reader = journal.reader(Position::ZERO).expect("kept");
    // The first segment is read at once; the second one cannot be.
    disk.plan(FaultPlan {
        power_cut: Some(2),
        ..FaultPlan::default()
    });
    let mut records = Records::new();
    let (mut read, mut refused) = (0, 0);
    for _ in 0..8 {
        match reader.next_batch(5, &mut records) {
            Ok(more) => read += more as u64,
            Err(ReadError::Io(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(read > 0 && read < 30 && refused > 1);
    assert_eq!(reader.position().get(), read);
}
