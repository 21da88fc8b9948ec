//! Looking at a journal without touching it.

use super::*;

#[test]
fn an_empty_directory_is_an_empty_journal() {
    let found = FileJournal::inspect(&SimDisk::new(1)).expect("nothing there");
    assert_eq!(
        (found.first.get(), found.last.get(), found.segments),
        (1, 0, 0)
    );
    assert!(found.reader.is_none());
}

#[test]
fn it_reads_everything_that_is_there() {
    let disk = disk_with(60);
    let found = FileJournal::inspect(&disk).expect("a good journal");
    assert_eq!(
        (found.first.get(), found.last.get(), found.sealed),
        (1, 60, false)
    );
    let history = drain(found.reader.expect("segments").as_mut(), 9).expect("readable");
    assert_eq!(
        history,
        (1..=60)
            .map(|sequence| (sequence, record(sequence)))
            .collect::<Vec<_>>()
    );
}

#[test]
fn it_changes_nothing_even_where_opening_would() {
    let disk = disk_with(9);
    let name = segment_name(1);
    let mut content = disk.read_file(&name).expect("listed");
    let frame = frames(&content).pop().expect("a frame");
    content[frame.start + 70] ^= 1;
    disk.write_file(&name, &content);
    let before = disk.list().expect("a working disk");
    let found = FileJournal::inspect(&disk).expect("a torn tail is no damage");
    let torn = found.torn_tail.expect("the last batch");
    assert_eq!(
        (found.last.get(), torn.offset, torn.quarantine),
        (6, frame.start as u64, None)
    );
    assert_eq!(disk.list().expect("a working disk"), before);
    assert_eq!(disk.read_file(&name).expect("listed"), content);
}

#[test]
fn it_works_in_a_directory_that_may_only_be_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = RealDisk::open(directory.path()).expect("a directory");
    let (mut journal, _) =
        FileJournal::open(disk.clone(), tiny_options()).expect("an empty directory");
    append_through(&mut journal, 30, 3);
    let found = FileJournal::inspect(&disk).expect("beside the writer, without a lock");
    assert_eq!(found.last.get(), 30);
    append_through(&mut journal, 60, 3);
    let history = drain(found.reader.expect("segments").as_mut(), 9).expect("readable");
    assert_eq!(
        history.len(),
        30,
        "what was there at the moment of the look"
    );
}

/// Beside a writer that switches and recycles as fast as it can.
#[test]
fn a_live_writer_is_not_taken_for_damage() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = RealDisk::open(directory.path()).expect("a directory");
    let (mut journal, _) =
        FileJournal::open(disk.clone(), tiny_options()).expect("an empty directory");
    let looking = std::thread::spawn(move || {
        let mut last = 0;
        while last < 1_500 {
            let found = FileJournal::inspect(&disk).expect("a live writer is not damage");
            assert!(found.last.get() >= last, "the history got shorter");
            last = found.last.get();
        }
    });
    while journal.position().get() < 1_500 {
        append(&mut journal, 3).expect("a working disk");
        let released = journal.position().get().saturating_sub(100);
        journal.release_through(Position::new(released));
    }
    looking.join().expect("no damage was seen");
}
