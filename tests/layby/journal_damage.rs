//! A journal that was damaged, cut, lost, or could not be written any more: noticed and named, never served.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use layby::persistence::journal::{
    FileJournal, OpenError, Options, Position, RealDisk, Recovery, SparePreparation,
};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    Caller, Key, Sale, Shop, Store, at_once, check_that_strace_works, eventually, line,
    on_each_database, run, text, traced,
};

on_each_database! {
    a_flipped_bit_is_refused_by_file_and_offset,
    a_cut_off_batch_that_the_tables_have_is_missed,
    a_cut_off_batch_that_nobody_else_has_is_the_only_one_lost,
    a_lost_journal_is_missed,
    a_missing_swapped_or_doubled_segment_is_refused,
    tables_that_were_lost_are_made_again_from_the_journal,
    after_a_failed_fsync_nothing_is_promised,
    on_a_full_disk_nothing_is_promised,
    a_disk_that_fills_up_takes_no_new_holds_until_there_is_room,
}

const HEADER_BYTES: usize = 4_096;
const SECTOR_BYTES: usize = 512;
const FRAME_HEADER_BYTES: usize = 64;
const BATCH: u8 = 1;

/// A piece of a segment, as `format.rs` describes it.
#[derive(Debug, Clone, Copy)]
struct Frame {
    offset: usize,
    bytes: usize,
    payload_bytes: usize,
    kind: u8,
    records: u64,
}

/// A real segment of a real run.
struct Segment {
    path: PathBuf,
    bytes: Vec<u8>,
    frames: Vec<Frame>,
}

/// Where each field of a frame is.
const FIELDS: &[(&str, usize)] = &[
    ("checksum", 0),
    ("magic", 4),
    ("version", 8),
    ("kind", 9),
    ("length", 12),
    ("records", 16),
    ("chain", 20),
    ("sequence", 24),
    ("segment", 32),
    ("offset", 40),
    ("journal", 48),
    ("first record", FRAME_HEADER_BYTES),
];

fn a_flipped_bit_is_refused_by_file_and_offset(store: Store) {
    let (mut shop, _) = shop_with_orders(store, 12);
    shop.kill();
    let segment = Segment::newest(&shop);
    let frame = segment.batches()[6];
    let last_byte = ("last record", FRAME_HEADER_BYTES + frame.payload_bytes - 1);
    let padding = ("padding", frame.bytes - 1);
    for (field, place) in FIELDS.iter().copied().chain([last_byte, padding]) {
        let damaged = segment.with(frame.offset + place, |byte| byte ^ 0x10);
        fs::write(&segment.path, &damaged).expect("written");
        let (code, said) = shop.fails_to_start();
        assert_eq!(code, Some(3), "{field}: {said}");
        let named = format!("{}` is damaged at byte {}", segment.name(), frame.offset);
        assert!(said.contains(&named), "{field}: {said}");
        let output = run(shop.command("verify").arg("--json"));
        assert!(
            !output.status.success(),
            "verify proves a journal with a bad {field}"
        );
        assert!(
            fs::read(&segment.path).expect("read") == damaged,
            "it was touched"
        );
    }
    for place in [0, 5, 12, 33, 60, 4_000] {
        fs::write(&segment.path, segment.with(place, |byte| byte ^ 1)).expect("written");
        let (code, said) = shop.fails_to_start();
        assert_ne!(code, Some(0));
        assert!(
            said.contains(&segment.name()),
            "byte {place} of the header: {said}"
        );
    }
    fs::write(&segment.path, &segment.bytes).expect("written");
    shop.start();
}

#[test]
fn no_byte_of_the_past_can_change_unnoticed() {
    let (mut shop, _) = shop_with_orders(Store::Sqlite, 12);
    shop.kill();
    let segment = Segment::newest(&shop);
    let frame = segment.batches()[6];
    let copy = Copy::of(&segment);
    for place in frame.offset..frame.offset + frame.bytes {
        let damaged = segment.with(place, |byte| byte ^ (1 << (place % 8)));
        let refused = copy
            .open(&damaged)
            .expect_err("a changed byte was let through");
        let OpenError::Damaged { offset, .. } = refused else {
            panic!("byte {place}: {refused}");
        };
        assert_eq!(offset, frame.offset as u64, "byte {place}");
    }
}

#[test]
fn the_last_batch_may_be_cut_at_every_byte() {
    let (mut shop, _) = shop_with_orders(Store::Sqlite, 12);
    shop.kill();
    let segment = Segment::newest(&shop);
    let last = *segment.batches().last().expect("a batch");
    let all = segment.records();
    let copy = Copy::of(&segment);
    for cut in 0..=last.bytes {
        let end = last.offset + cut;
        // The rest of the file was never written; or the file itself is too short.
        let blank = [&segment.bytes[..end], &vec![0; segment.bytes.len() - end]].concat();
        let is_whole =
            blank[..last.offset + last.bytes] == segment.bytes[..last.offset + last.bytes];
        let kept = if is_whole { all } else { all - last.records };
        let recovery = copy
            .open(&blank)
            .unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(recovery.last, Position::new(kept), "cut at {cut}");
        if cut > 0 && !is_whole {
            let torn = recovery.torn_tail.expect("a torn tail");
            let quarantine = torn
                .quarantine
                .unwrap_or_else(|| panic!("cut at {cut}: nothing was kept"));
            assert!(quarantine.exists(), "{}", quarantine.display());
        }
        if cut % 7 == 0 {
            let recovery = copy
                .open(&segment.bytes[..end])
                .unwrap_or_else(|error| panic!("short at {cut}: {error}"));
            assert!(
                [all, all - last.records].contains(&recovery.last.get()),
                "short at {cut}"
            );
        }
    }
}

#[test]
fn a_sealed_batch_may_not_be_cut_at_any_byte() {
    let (mut shop, _) = shop_with_orders(Store::Sqlite, 12);
    shop.stop();
    let segment = Segment::newest(&shop);
    let seal = *segment.frames.last().expect("a frame");
    assert_ne!(
        seal.kind, BATCH,
        "a server that is stopped seals its journal"
    );
    let last = *segment.batches().last().expect("a batch");
    let copy = Copy::of(&segment);
    for cut in 0..last.payload_bytes + FRAME_HEADER_BYTES {
        let mut damaged = segment.bytes.clone();
        damaged[last.offset + cut..last.offset + last.bytes].fill(0);
        if damaged == segment.bytes {
            continue;
        }
        let refused = copy.open(&damaged).expect_err("a durable batch was let go");
        assert!(
            matches!(refused, OpenError::Damaged { .. }),
            "cut at {cut}: {refused}"
        );
    }
}

fn a_cut_off_batch_that_the_tables_have_is_missed(store: Store) {
    let (mut shop, orders) = shop_with_orders(store, 12);
    shop.catches_up();
    shop.kill();
    let segment = Segment::newest(&shop);
    let last = *segment.batches().last().expect("a batch");
    let all = segment.records();
    for cut in [0, 1, 63, 64, 100, last.payload_bytes] {
        let end = last.offset + cut;
        let torn = [&segment.bytes[..end], &vec![0; segment.bytes.len() - end]].concat();
        fs::write(&segment.path, torn).expect("written");
        for _ in 0..2 {
            let (code, said) = shop.fails_to_start();
            assert!(matches!(code, Some(1 | 3)), "cut at {cut}: {code:?} {said}");
            let positions = [format!("record {all}"), (all - last.records).to_string()];
            assert!(
                positions.iter().all(|it| said.contains(it)),
                "cut at {cut}: {said}"
            );
        }
    }
    fs::write(&segment.path, &segment.bytes).expect("written");
    shop.start();
    for (buyer, order) in &orders {
        assert_eq!(buyer.at(shop.url()).state(order), "held");
    }
}

fn a_cut_off_batch_that_nobody_else_has_is_the_only_one_lost(store: Store) {
    let (mut shop, orders) = shop_with_orders(store, 12);
    shop.kill();
    let segment = Segment::newest(&shop);
    let last = *segment.batches().last().expect("a batch");
    let (unsure, sure) = orders.split_last().expect("orders");
    for cut in [0, 1, 8, 63, 64, 65, 100, 150, last.payload_bytes, 511, 512] {
        shop.lose_tables();
        let end = last.offset + cut.min(last.bytes);
        let torn = [&segment.bytes[..end], &vec![0; segment.bytes.len() - end]].concat();
        fs::write(&segment.path, torn).expect("written");
        shop.start();
        for (buyer, order) in sure {
            assert_eq!(buyer.at(shop.url()).state(order), "held", "cut at {cut}");
        }
        let (buyer, order) = unsure;
        let path = format!("/v1/orders/{}", text(order, "id"));
        let answer = buyer.at(shop.url()).get(&path);
        assert!(matches!(answer.status, 200 | 404), "{answer}");
        shop.prove_books();
        shop.kill();
    }
}

fn a_lost_journal_is_missed(store: Store) {
    let (mut shop, orders) = shop_with_orders(store, 5);
    shop.catches_up();
    let all = shop.prove_books()["journal"]["last"].to_string();
    shop.stop();
    let aside = shop.scratch().join("journal-aside");
    fs::rename(shop.journal_dir(), &aside).expect("moved");
    for _ in 0..2 {
        let (code, said) = shop.fails_to_start();
        assert_eq!(code, Some(6), "{said}");
        let names_both = said.contains(&format!("record {all}")) && said.contains("ends at 0");
        assert!(names_both, "{said}");
    }
    let (code, report) = shop.verify();
    assert_eq!(
        (code, &report["verdict"]),
        (Some(1), &json!("wrong")),
        "{report:#}"
    );
    fs::remove_dir_all(shop.journal_dir()).expect("removed");
    fs::rename(&aside, shop.journal_dir()).expect("moved");
    shop.start();
    for (buyer, order) in &orders {
        assert_eq!(buyer.at(shop.url()).state(order), "held");
    }
}

fn a_missing_swapped_or_doubled_segment_is_refused(store: Store) {
    let mut shop = Shop::open(store);
    let products: Vec<String> = (0..50).map(|_| shop.product(Sale::of(1_000_000))).collect();
    let lines: Vec<Value> = products.iter().map(|product| line(product, 1)).collect();
    eventually("three segments are full", || {
        at_once(&shop.buyers(16), |buyer| {
            for _ in 0..10 {
                buyer.place(&lines).is(201);
            }
        });
        (segments(&shop).len() > 3).then_some(())
    });
    shop.catches_up();
    shop.stop();
    let paths = segments(&shop);
    let (second, third) = (&paths[1], &paths[2]);
    let newest = paths.last().expect("a segment");
    let aside = shop.scratch().join("aside");
    let swap = |a: &Path, b: &Path| {
        fs::rename(a, &aside).expect("moved");
        fs::rename(b, a).expect("moved");
        fs::rename(&aside, b).expect("moved");
    };
    let refused = |shop: &mut Shop, what: &str| {
        let (code, said) = shop.fails_to_start();
        assert!(matches!(code, Some(1 | 3)), "{what}: {code:?} {said}");
        assert!(said.contains("journal"), "{what}: {said}");
    };

    fs::rename(second, &aside).expect("moved");
    refused(&mut shop, "a missing segment");
    fs::copy(third, second).expect("copied");
    refused(&mut shop, "a doubled segment");
    fs::rename(&aside, second).expect("moved");
    swap(second, third);
    refused(&mut shop, "swapped segments");
    swap(second, third);
    fs::rename(newest, &aside).expect("moved");
    refused(&mut shop, "the newest segment missing");
    fs::rename(&aside, newest).expect("moved");
    shop.start();
}

fn tables_that_were_lost_are_made_again_from_the_journal(store: Store) {
    let (mut shop, orders) = shop_with_orders(store, 12);
    let (buyer, order) = &orders[0];
    buyer.pay(order, "card").is(201);
    let (buyer, order) = &orders[1];
    buyer.cancel(order).is(200);
    shop.catches_up();
    let listed = |shop: &Shop| shop.admin().get("/v1/admin/orders?limit=100").is(200);
    let before = listed(&shop);
    shop.stop();
    shop.lose_tables();
    shop.start();
    shop.catches_up();
    assert_eq!(listed(&shop), before);
}

// -- a disk that fails -------------------------------------------------------------------------------------------

fn after_a_failed_fsync_nothing_is_promised(store: Store) {
    fails_in_mid_sale(store, "fdatasync", "EIO");
}

fn on_a_full_disk_nothing_is_promised(store: Store) {
    fails_in_mid_sale(store, "pwrite64", "ENOSPC");
}

/// From its fiftieth such call on, a thread of the server is refused it.
fn fails_in_mid_sale(store: Store, call: &str, errno: &str) {
    let mut shop = Shop::closed(store, &[]);
    check_that_strace_works();
    let trace = format!("--trace={call}");
    let inject = format!("--inject={call}:error={errno}:when=50+");
    let nowhere = Path::new("/dev/null");
    let server = traced(&shop.serve_command(), &[&trace, &inject], nowhere);
    announce_disk_failure(&mut shop);
    // Making the tables would take all of the calls that are to succeed.
    let migrated = run(&mut shop.command("migrate"));
    assert!(migrated.status.success(), "{migrated:?}");
    shop.start_by(server);
    let lamp = shop.product(Sale {
        hold_seconds: 1_800,
        ..Sale::of(1_000_000)
    });
    sell_until_it_fails(&mut shop, &[line(&lamp, 1)]);
}

/// Also with a journal's budget that is larger than the disk. What room there is left is for those who hold.
fn a_disk_that_fills_up_takes_no_new_holds_until_there_is_room(store: Store) {
    let disk = SmallDisk::mount();
    let mut shop = Shop::closed(store, &[]);
    shop.move_data_dir(disk.path.join("data"));
    shop.start();
    let sale = Sale {
        hold_seconds: 1_800,
        ..Sale::of(1_000_000)
    };
    let products: Vec<String> = (0..50).map(|_| shop.product(sale)).collect();
    let lines: Vec<Value> = products.iter().map(|product| line(product, 1)).collect();
    let mut accepted = Vec::new();
    let refused = loop {
        let buyer = shop.buyer();
        let answer = buyer.place(&lines);
        if answer.status != 201 {
            break answer;
        }
        accepted.push((buyer, answer.json()));
        assert!(accepted.len() < 20_000, "the disk never fills up");
    };
    refused.is_refused(503, "disk_full");
    let readiness = shop.visitor().get("/readyz").is(200);
    assert_eq!(
        (&readiness["status"], &readiness["journal"]),
        (&json!("degraded"), &json!("full"))
    );
    let [(payer, paid), (quitter, cancelled), ..] = &accepted[..] else {
        panic!("{} orders were accepted", accepted.len());
    };
    payer.pay(paid, "card_ok").is(201);
    quitter.cancel(cancelled).is(200);
    shop.buyer().place(&lines).is_refused(503, "disk_full");

    disk.grow();
    eventually("it sells again", || {
        (shop.buyer().place(&lines).status == 201).then_some(())
    });
    eventually("it is ready again", || {
        let readiness = shop.visitor().get("/readyz").json();
        (readiness["status"] == "ready" && readiness["journal"] == "ok").then_some(())
    });
    let (_, held, sold) = shop.units(&products[0]);
    assert_eq!((held, sold), (accepted.len() as u64 - 1, 1));
    shop.prove_books();
}

fn announce_disk_failure(shop: &mut Shop) {
    for words in [
        "the journal failed",
        "journal: ",
        "SQL ",
        "sandbox",
        // Of actix: its workers are gone and a connection arrives while the process ends.
        "No workers",
    ] {
        shop.announce(words);
    }
}

/// Sells until the first order that is not accepted; from then on nothing may be, and the server ends with 4.
fn sell_until_it_fails(shop: &mut Shop, lines: &[Value]) {
    let mut accepted = Vec::new();
    let body = json!({"lines": lines});
    let (buyer, key) = loop {
        let (buyer, key) = (shop.buyer(), Key::fresh());
        match buyer.try_send(&Method::POST, "/v1/orders", Some(&key), Some(&body)) {
            Ok(answer) if answer.status == 201 => accepted.push((buyer, key, answer)),
            Ok(answer) => {
                answer.is_refused(503, "journal_failed");
                break (buyer, key);
            }
            Err(_) => break (buyer, key),
        }
        assert!(accepted.len() < 20_000, "the disk never failed");
    };
    assert!(accepted.len() > 10, "it failed before anything was sold");
    let (holder, _, first) = &accepted[0];
    let path = format!("/v1/orders/{}/cancel", text(&first.json(), "id"));
    for _ in 0..20 {
        if let Ok(answer) = holder.try_send(&Method::POST, &path, None, None) {
            answer.is_refused(503, "journal_failed");
        }
        if let Ok(answer) = shop.buyer().try_send(
            &Method::POST,
            "/v1/orders",
            Some(&Key::fresh()),
            Some(&body),
        ) {
            answer.is_refused(503, "journal_failed");
        }
    }
    assert_eq!(
        shop.ends(),
        Some(4),
        "the exit code after the journal failed"
    );

    shop.start();
    for (buyer, key, first) in &accepted {
        let again = buyer.at(shop.url()).place_under(key, lines);
        assert_eq!(
            (again.status, &again.body),
            (first.status, &first.body),
            "{again}"
        );
    }
    let buyer = buyer.at(shop.url());
    let second = buyer.place_under(&key, lines).is(201);
    assert_eq!(buyer.place_under(&key, lines).is(201), second);
    let orders = accepted.len() + 1;
    let product = text(&lines[0], "product_id");
    assert_eq!(shop.units(&product).1, orders as u64);
    shop.prove_books();
}

/// A file system in memory; gone with its test.
struct SmallDisk {
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let disk = Self {
            path: directory.path().to_owned(),
            _directory: directory,
        };
        disk.mounts("size=4m");
        disk
    }

    fn grow(&self) {
        self.mounts("remount,size=64m");
    }

    fn mounts(&self, options: &str) {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&self.path)
            .output();
        let mounted = mounted.expect("mount in PATH");
        assert!(
            mounted.status.success(),
            "a test wants a small disk, which takes the right to mount: {mounted:?}"
        );
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.path).output().ok();
    }
}

// -- segments ----------------------------------------------------------------------------------------------------

/// A shop that has sold so many orders, each in a batch of its own.
fn shop_with_orders(store: Store, count: usize) -> (Shop, Vec<(Caller, Value)>) {
    let shop = Shop::open(store);
    let lamp = shop.product(Sale {
        hold_seconds: 1_800,
        ..Sale::of(1_000)
    });
    let orders = shop.buyers(count).into_iter().map(|buyer| {
        let order = buyer.hold(&lamp, 1);
        (buyer, order)
    });
    let orders = orders.collect();
    (shop, orders)
}

fn segments(shop: &Shop) -> Vec<PathBuf> {
    let entries = fs::read_dir(shop.journal_dir()).expect("the journal");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut segments: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "seg"))
        .filter(|path| {
            path.file_name()
                .is_some_and(|it| it.to_string_lossy().starts_with("journal-"))
        })
        .collect();
    segments.sort();
    segments
}

impl Segment {
    fn newest(shop: &Shop) -> Self {
        let path = segments(shop).pop().expect("a segment");
        let bytes = fs::read(&path).expect("read");
        let frames = frames(&bytes);
        Self {
            path,
            bytes,
            frames,
        }
    }

    fn name(&self) -> String {
        let name = self.path.file_name().expect("a name");
        name.to_string_lossy().into_owned()
    }

    fn batches(&self) -> Vec<Frame> {
        let batches = self.frames.iter().filter(|frame| frame.kind == BATCH);
        batches.copied().collect()
    }

    fn records(&self) -> u64 {
        self.frames.iter().map(|frame| frame.records).sum()
    }

    fn with(&self, place: usize, change: impl Fn(u8) -> u8) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[place] = change(bytes[place]);
        bytes
    }
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let mut frames = Vec::new();
    let mut offset = HEADER_BYTES;
    while bytes.get(offset + 4..offset + 8) == Some(b"LBYF") {
        let payload_bytes = number(offset + 12) as usize;
        let frame = Frame {
            offset,
            bytes: (FRAME_HEADER_BYTES + payload_bytes).next_multiple_of(SECTOR_BYTES),
            payload_bytes,
            kind: bytes[offset + 9],
            records: if bytes[offset + 9] == BATCH {
                number(offset + 16).into()
            } else {
                0
            },
        };
        offset += frame.bytes;
        frames.push(frame);
    }
    frames
}

/// A place to open changed copies of a segment.
struct Copy {
    directory: tempfile::TempDir,
    name: String,
}

impl Copy {
    fn of(segment: &Segment) -> Self {
        let in_memory = Path::new("/dev/shm");
        let directory = if in_memory.is_dir() {
            tempfile::tempdir_in(in_memory)
        } else {
            tempfile::tempdir()
        };
        Self {
            directory: directory.expect("a directory"),
            name: segment.name(),
        }
    }

    fn open(&self, bytes: &[u8]) -> Result<Recovery, OpenError> {
        let path = self.directory.path();
        fs::write(path.join(&self.name), bytes).expect("written");
        let options = Options {
            segment_bytes: 1 << 20,
            spares: SparePreparation::Inline,
            ..Options::default()
        };
        // A process that another test has just forked holds a copy of the lock until it becomes what it is to be.
        eventually("nobody else has the lock", || {
            let disk = RealDisk::open(path).expect("a directory");
            match FileJournal::open(disk, options.clone()) {
                Err(OpenError::InUse { .. }) => None,
                opened => Some(opened.map(|(_, recovery)| recovery)),
            }
        })
    }
}
