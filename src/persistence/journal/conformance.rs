//! The contract of [`Journal`], once, for every implementation.

use super::tests::{append, append_through, batch_of, check_history, drain, record, tiny_options};
use super::*;

/// An implementation under test, and how to restart it.
trait Bench: Sized {
    type Journal: Journal;

    fn create() -> (Self, Self::Journal);

    /// The journal after the process ended and started again.
    fn restart(&mut self, journal: Self::Journal) -> Self::Journal;

    /// An append that fails.
    fn append_that_fails(&mut self, journal: &mut Self::Journal) -> JournalError;
}

struct MemoryBench;

impl Bench for MemoryBench {
    type Journal = MemoryJournal;

    fn create() -> (Self, MemoryJournal) {
        (Self, MemoryJournal::new())
    }

    fn restart(&mut self, journal: MemoryJournal) -> MemoryJournal {
        journal.restart()
    }

    fn append_that_fails(&mut self, journal: &mut MemoryJournal) -> JournalError {
        journal.fail_append(1, AppendFault::Lost);
        append(journal, 1).expect_err("planned to fail")
    }
}

struct RealBench {
    directory: tempfile::TempDir,
}

impl RealBench {
    fn open(&self) -> FileJournal<RealDisk> {
        let disk = RealDisk::open(self.directory.path()).expect("a directory");
        let options = Options {
            spares: SparePreparation::OnThread,
            ..tiny_options()
        };
        FileJournal::open(disk, options).expect("a good journal").0
    }
}

impl Bench for RealBench {
    type Journal = FileJournal<RealDisk>;

    fn create() -> (Self, Self::Journal) {
        let bench = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        let journal = bench.open();
        (bench, journal)
    }

    fn restart(&mut self, journal: Self::Journal) -> Self::Journal {
        drop(journal);
        self.open()
    }

    /// A real disk fails on no one's wish; a batch over the size of a segment does.
    fn append_that_fails(&mut self, journal: &mut Self::Journal) -> JournalError {
        journal
            .append(&batch_of([vec![0; 1 << 16]]))
            .expect_err("larger than a segment")
    }
}

struct SimBench {
    disk: SimDisk,
}

impl SimBench {
    fn open(&self) -> FileJournal<SimDisk> {
        FileJournal::open(self.disk.clone(), tiny_options())
            .expect("a good journal")
            .0
    }
}

impl Bench for SimBench {
    type Journal = FileJournal<SimDisk>;

    fn create() -> (Self, Self::Journal) {
        let bench = Self {
            disk: SimDisk::new(1),
        };
        let journal = bench.open();
        (bench, journal)
    }

    /// The hard way: with a power cut.
    fn restart(&mut self, journal: Self::Journal) -> Self::Journal {
        self.disk = self.disk.crash();
        drop(journal);
        self.open()
    }

    fn append_that_fails(&mut self, journal: &mut Self::Journal) -> JournalError {
        self.disk.plan(FaultPlan {
            write: Some((1, WriteFault::Broken)),
            ..FaultPlan::default()
        });
        append(journal, 1).expect_err("planned to fail")
    }
}

fn a_new_journal_is_empty<B: Bench>() {
    let (_bench, journal) = B::create();
    assert_eq!(
        (journal.position(), journal.bytes_after(Position::ZERO)),
        (Position::ZERO, 0)
    );
    check_history(&journal, 1, 0);
    assert!(matches!(
        journal.reader(Position::new(1)),
        Err(ReadError::Ahead { .. })
    ));
}

fn records_come_back_in_order<B: Bench>() {
    let (_bench, mut journal) = B::create();
    for records in 1..=6 {
        let before = journal.position().get();
        let position = append(&mut journal, records).expect("a working disk");
        assert_eq!(
            (position.get(), journal.position()),
            (before + records, position)
        );
    }
    check_history(&journal, 1, 21);
    for after in 0..=21 {
        check_history(&journal, after + 1, 21);
    }
}

fn a_reader_takes_as_many_as_it_wants<B: Bench>() {
    let (_bench, mut journal) = B::create();
    append_through(&mut journal, 40, 8);
    for records_max in [1, 3, 8, 11, 100] {
        let mut reader = journal.reader(Position::new(2)).expect("kept");
        let mut records = Records::new();
        let mut next = 3;
        while reader
            .next_batch(records_max, &mut records)
            .expect("readable")
            > 0
        {
            assert!(records.len() <= records_max);
            for (position, bytes) in records.iter() {
                assert_eq!((position.get(), bytes), (next, record(next).as_slice()));
                next += 1;
            }
            assert_eq!(
                (reader.position().get(), records.last()),
                (next - 1, Some(reader.position()))
            );
        }
        assert_eq!(next, 41);
    }
}

fn a_restart_changes_nothing<B: Bench>() {
    let (mut bench, mut journal) = B::create();
    for round in 1..=12 {
        append_through(&mut journal, round * 10, 4);
        journal = bench.restart(journal);
        check_history(&journal, 1, round * 10);
    }
}

fn an_empty_batch_is_nothing_and_an_empty_record_something<B: Bench>() {
    let (mut bench, mut journal) = B::create();
    assert_eq!(
        journal.append(&Batch::new()).expect("nothing to do"),
        Position::ZERO
    );
    assert_eq!(
        journal
            .append(&batch_of([vec![], vec![]]))
            .expect("two records"),
        Position::new(2)
    );
    let journal = bench.restart(journal);
    let mut reader = journal.reader(Position::ZERO).expect("kept");
    assert_eq!(
        drain(reader.as_mut(), 9).expect("readable"),
        [(1, vec![]), (2, vec![])]
    );
}

fn a_failure_is_final<B: Bench>() {
    let (mut bench, mut journal) = B::create();
    append_through(&mut journal, 5, 2);
    let failure = bench.append_that_fails(&mut journal);
    assert!(
        !matches!(failure, JournalError::Failed),
        "the first failure says what failed"
    );
    for _ in 0..3 {
        assert!(matches!(append(&mut journal, 1), Err(JournalError::Failed)));
        assert!(matches!(journal.seal(), Err(JournalError::Failed)));
        assert!(matches!(
            journal.append(&Batch::new()),
            Err(JournalError::Failed)
        ));
    }
    check_history(&journal, 1, 5);
    let mut journal = bench.restart(journal);
    let last = journal.position().get();
    assert!(
        last == 5 || last == 6,
        "the failed batch is there as a whole or not at all"
    );
    append_through(&mut journal, 10, 2);
    check_history(&journal, 1, 10);
}

fn reported_damage_is_final_also_for_an_idle_writer<B: Bench>() {
    let (mut bench, mut journal) = B::create();
    append_through(&mut journal, 5, 2);
    journal.seal().expect("a working disk");
    let view = journal.view();
    assert_eq!(view.damage(), None);
    view.report_damage("a record that says nothing");
    view.report_damage("what came of it");
    let Err(JournalError::Damaged { reason }) = journal.seal() else {
        panic!("an idle writer noticed nothing");
    };
    assert_eq!(&*reason, "a record that says nothing");
    assert!(matches!(append(&mut journal, 1), Err(JournalError::Failed)));
    check_history(&journal, 1, 5);
    let mut journal = bench.restart(journal);
    append_through(&mut journal, 7, 2);
    check_history(&journal, 1, 7);
}

fn a_frame_names_its_records_and_their_past<B: Bench>() {
    let (mut bench, mut journal) = B::create();
    append_through(&mut journal, 40, 4);
    let id = journal.view().id();
    let checksums = |journal: &B::Journal| -> Vec<u32> {
        let frame_at = |position| journal.view().frame_at(Position::new(position));
        (0..=40).map(|it| frame_at(it).expect("kept")).collect()
    };
    let before = checksums(&journal);
    assert_eq!(before[0], 0);
    let mut frames = before[1..].to_vec();
    assert!(
        frames
            .chunks(4)
            .all(|it| it.iter().all(|sum| *sum == it[0]))
    );
    frames.dedup();
    assert_eq!(frames.len(), 10, "each frame is another one");
    let ahead = journal.view().frame_at(Position::new(41));
    assert!(matches!(ahead, Err(ReadError::Ahead { .. })));
    // A reader that is let go in the middle of a frame knows the frame.
    let mut reader = journal.reader(Position::new(5)).expect("kept");
    let mut records = Records::new();
    reader.next_batch(5, &mut records).expect("readable");
    let read = |position| records.frames().checksum_at(Position::new(position));
    assert_eq!(
        [6, 8, 9, 10].map(read),
        [6, 8, 9, 10].map(|it| Some(before[it]))
    );
    assert_eq!(read(11), None);
    let journal = bench.restart(journal);
    assert_eq!((journal.view().id(), checksums(&journal)), (id, before));
    assert_eq!(journal.view().last(), journal.position());
}

fn the_frame_of_what_was_released_last_stays<B: Bench>() {
    let (_bench, mut journal) = B::create();
    append_through(&mut journal, 200, 2);
    for released in [1, 77, 120, 121, 150, 199, 200] {
        let frame = journal.view().frame_at(Position::new(released));
        journal.release_through(Position::new(released));
        let kept = journal.view().frame_at(Position::new(released));
        assert_eq!(kept.expect("kept"), frame.expect("kept"));
    }
}

fn sealing_adds_no_record<B: Bench>() {
    let (mut bench, mut journal) = B::create();
    journal.seal().expect("nothing to seal");
    for round in 1..=30 {
        append_through(&mut journal, round * 3, 3);
        journal.seal().expect("a working disk");
        journal.seal().expect("sealed already");
        assert_eq!(journal.position().get(), round * 3);
    }
    check_history(&journal, 1, 90);
    let journal = bench.restart(journal);
    check_history(&journal, 1, 90);
}

fn what_is_not_released_stays<B: Bench>() {
    let (mut bench, mut journal) = B::create();
    append_through(&mut journal, 200, 2);
    check_history(&journal, 1, 200);
    journal.release_through(Position::new(120));
    journal.release_through(Position::new(3));
    check_history(&journal, 121, 200);
    let mut journal = bench.restart(journal);
    check_history(&journal, 121, 200);
    journal.release_through(Position::new(u64::MAX));
    append_through(&mut journal, 210, 2);
    check_history(&journal, 201, 210);
}

fn what_is_wanted_again_stays_from_then_on<B: Bench>() {
    let (_bench, mut journal) = B::create();
    append_through(&mut journal, 200, 2);
    journal.release_through(Position::new(100));
    let Err(ReadError::Released { first, .. }) = journal.reader(Position::ZERO) else {
        panic!("nothing was released");
    };
    journal.release_through(first);
    append_through(&mut journal, 400, 2);
    check_history(&journal, first.get(), 400);
}

fn what_is_released_goes<B: Bench>() {
    let (_bench, mut journal) = B::create();
    append_through(&mut journal, 200, 2);
    let mut lagging = journal.reader(Position::ZERO).expect("kept");
    let mut records = Records::new();
    assert_eq!(lagging.next_batch(2, &mut records).expect("kept"), 2);
    journal.release_through(Position::new(150));
    let first = match journal.reader(Position::ZERO) {
        Err(ReadError::Released { wanted, first }) if wanted.get() == 1 => first.get(),
        other => panic!("the first record is still there: {:?}", other.map(|_| ())),
    };
    assert!((2..=151).contains(&first), "{first} is the oldest one kept");
    assert!(matches!(
        lagging.next_batch(1, &mut records),
        Err(ReadError::Released { .. })
    ));
    assert!(records.is_empty() && lagging.position().get() == 2);
    check_history(&journal, first, 200);
}

fn who_can_do_without_what_is_released_goes_on_behind_it<B: Bench>() {
    let (_bench, mut journal) = B::create();
    append_through(&mut journal, 200, 2);
    let mut lagging = journal.reader(Position::ZERO).expect("kept");
    let mut records = Records::new();
    assert_eq!(lagging.next_batch(3, &mut records).expect("kept"), 3);
    assert_eq!(lagging.skip_released(), 0, "all of it is there");
    assert_eq!(lagging.position().get(), 3);
    journal.release_through(Position::new(150));
    let Err(ReadError::Released { first, .. }) = journal.reader(Position::ZERO) else {
        panic!("the first record is still there");
    };
    assert_eq!(lagging.skip_released(), first.get() - 4);
    assert_eq!(lagging.skip_released(), 0, "once is enough");
    assert_eq!(lagging.next_batch(1, &mut records).expect("kept"), 1);
    assert_eq!(lagging.position(), first);
}

fn a_reader_that_keeps_up_never_misses_what_was_released_behind_it<B: Bench>() {
    let (_bench, mut journal) = B::create();
    let mut reader = journal.reader(Position::ZERO).expect("kept");
    let mut records = Records::new();
    for _ in 0..200 {
        let position = append(&mut journal, 2).expect("a working disk");
        assert_eq!(reader.next_batch(9, &mut records).expect("kept up"), 2);
        journal.release_through(position);
    }
    assert!(
        journal.reader(Position::ZERO).is_err(),
        "nothing was released"
    );
}

fn bytes_after_shrinks_towards_the_end<B: Bench>() {
    let (_bench, mut journal) = B::create();
    append_through(&mut journal, 200, 2);
    let all: Vec<u64> = (0..=200)
        .map(|position| journal.bytes_after(Position::new(position)))
        .collect();
    assert!(all.is_sorted_by(|before, after| before >= after), "{all:?}");
    assert_eq!(all[200], 0);
    let payload: u64 = (1..=200)
        .map(|sequence| record(sequence).len() as u64)
        .sum();
    assert!(all[0] >= payload && all[100] >= payload / 4);
}

fn a_reader_follows_the_writer<B: Bench>() {
    let (_bench, mut journal) = B::create();
    let mut reader = journal.reader(Position::ZERO).expect("kept");
    let mut records = Records::new();
    for round in 1..=60 {
        assert_eq!(
            reader.next_batch(100, &mut records).expect("readable"),
            0,
            "caught up"
        );
        append_through(&mut journal, round * 4, 2);
        if round % 5 == 0 {
            journal.seal().expect("a working disk");
        }
        assert_eq!(reader.next_batch(100, &mut records).expect("readable"), 4);
        assert_eq!(records.last(), Some(journal.position()));
    }
}

fn a_reader_works_on_another_thread<B: Bench>() {
    let (_bench, mut journal) = B::create();
    let mut reader = journal.reader(Position::ZERO).expect("kept");
    let following = std::thread::spawn(move || {
        let (mut records, mut next) = (Records::new(), 1);
        while next <= 300 {
            reader.next_batch(5, &mut records).expect("readable");
            for (position, bytes) in records.iter() {
                assert_eq!((position.get(), bytes), (next, record(next).as_slice()));
                next += 1;
            }
            std::thread::yield_now();
        }
    });
    append_through(&mut journal, 300, 3);
    following
        .join()
        .expect("the reader saw every record once and in order");
}

macro_rules! conformance {
    ($($bench:ident in $module:ident),*; $cases:tt) => {
        $(conformance!(@module $bench $module $cases);)*
    };
    (@module $bench:ident $module:ident [$($case:ident),* $(,)?]) => {
        mod $module {
            $(#[test]
            fn $case() {
                super::$case::<super::$bench>();
            })*
        }
    };
}

conformance!(MemoryBench in memory, RealBench in real_disk, SimBench in sim_disk; [
    a_new_journal_is_empty,
    records_come_back_in_order,
    a_reader_takes_as_many_as_it_wants,
    a_restart_changes_nothing,
    an_empty_batch_is_nothing_and_an_empty_record_something,
    a_failure_is_final,
    reported_damage_is_final_also_for_an_idle_writer,
    a_frame_names_its_records_and_their_past,
    the_frame_of_what_was_released_last_stays,
    sealing_adds_no_record,
    what_is_not_released_stays,
    what_is_wanted_again_stays_from_then_on,
    what_is_released_goes,
    who_can_do_without_what_is_released_goes_on_behind_it,
    a_reader_that_keeps_up_never_misses_what_was_released_behind_it,
    bytes_after_shrinks_towards_the_end,
    a_reader_follows_the_writer,
    a_reader_works_on_another_thread,
]);
