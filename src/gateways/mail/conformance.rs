//! The contract of [`MailTransport`], once, for every implementation.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::memory::MemoryTransport;
use super::scripted_server::ScriptedServer;
use super::*;

/// A transport under test, and the other side of it.
trait Bench: Sized {
    type Transport: MailTransport;

    fn create() -> (Self, Self::Transport);

    fn set_away(&self, away: bool);

    /// What has arrived, each letter in the bytes in which it did.
    fn delivered(&self) -> Vec<Vec<u8>>;
}

struct MemoryBench(MemoryTransport);

impl Bench for MemoryBench {
    type Transport = MemoryTransport;

    fn create() -> (Self, MemoryTransport) {
        let transport = MemoryTransport::default();
        (Self(transport.clone()), transport)
    }

    fn set_away(&self, away: bool) {
        self.0.set_away(away);
    }

    fn delivered(&self) -> Vec<Vec<u8>> {
        let taken = self.0.taken();
        taken.iter().map(Message::formatted).collect()
    }
}

struct FileBench {
    root: TempDir,
}

impl FileBench {
    fn directory(&self) -> PathBuf {
        self.root.path().join("outbox")
    }

    fn elsewhere(&self) -> PathBuf {
        self.root.path().join("elsewhere")
    }
}

impl Bench for FileBench {
    type Transport = FileTransport;

    fn create() -> (Self, FileTransport) {
        let bench = Self {
            root: tempfile::tempdir().expect("a directory"),
        };
        let transport = FileTransport::open(bench.directory()).expect("a transport");
        (bench, transport)
    }

    /// A file in the place of the directory: nobody can write into it, not even root.
    fn set_away(&self, away: bool) {
        if away {
            std::fs::rename(self.directory(), self.elsewhere()).expect("moved");
            std::fs::write(self.directory(), "").expect("written");
        } else {
            std::fs::remove_file(self.directory()).expect("removed");
            std::fs::rename(self.elsewhere(), self.directory()).expect("moved back");
        }
    }

    fn delivered(&self) -> Vec<Vec<u8>> {
        let directory = [self.elsewhere(), self.directory()];
        let directory = directory
            .iter()
            .find(|it| it.is_dir())
            .expect("a directory");
        let entries = std::fs::read_dir(directory).expect("a directory");
        entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|it| it == "eml"))
            .map(|path| std::fs::read(path).expect("a letter"))
            .collect()
    }
}

struct SmtpBench(ScriptedServer);

impl Bench for SmtpBench {
    type Transport = SmtpTransport;

    fn create() -> (Self, SmtpTransport) {
        let server = ScriptedServer::start();
        let transport = SmtpTransport::open(&server.url(), None).expect("a transport");
        (Self(server), transport)
    }

    fn set_away(&self, away: bool) {
        self.0.set_away(away);
    }

    fn delivered(&self) -> Vec<Vec<u8>> {
        self.0.letters()
    }
}

pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

/// A letter that is easily damaged: lines with dots alone, letters outside ASCII, and some length.
pub(super) fn letter(name: &str) -> Message {
    let body = format!(
        "{name}\r\n.\r\n..\r\n.dot\r\n한국어\r\n{}",
        "long ".repeat(5_000)
    );
    Message::builder()
        .from("Shop <shop@shop.example>".parse().expect("an address"))
        .to("buyer@shop.example".parse().expect("an address"))
        .subject(name)
        .body(body)
        .expect("a letter")
}

/// As they arrive: some add an empty line at the end.
fn trimmed(letter: &[u8]) -> &[u8] {
    letter.trim_ascii_end()
}

#[track_caller]
fn check_delivered(bench: &impl Bench, expected: &[Message]) {
    let expected: Vec<Vec<u8>> = expected.iter().map(Message::formatted).collect();
    let delivered = bench.delivered();
    let sorted = |letters: &[Vec<u8>]| {
        let mut letters: Vec<Vec<u8>> = letters.iter().map(|it| trimmed(it).to_vec()).collect();
        letters.sort();
        letters
    };
    assert!(
        sorted(&delivered) == sorted(&expected),
        "{} letters came, {} were sent, or one was damaged",
        delivered.len(),
        expected.len()
    );
}

fn what_is_taken_arrives_whole<B: Bench>() {
    let (bench, transport) = B::create();
    run(async {
        let sent = letter("whole");
        assert_eq!(transport.send(sent.clone()).await, Ok(()));
        check_delivered(&bench, &[sent]);
    });
}

fn each_call_delivers_once<B: Bench>() {
    let (bench, transport) = B::create();
    run(async {
        let sent = [letter("one"), letter("two"), letter("one")];
        for letter in &sent {
            assert_eq!(transport.send(letter.clone()).await, Ok(()));
        }
        check_delivered(&bench, &sent);
    });
}

fn letters_at_once_do_not_meet<B: Bench>() {
    let (bench, transport) = B::create();
    run(async {
        for round in 0..3 {
            let names = (0..12).map(|it| format!("letter {it} of round {round}"));
            let sent = names.map(|name| transport.send(letter(&name)));
            assert!(join_all(sent).await.iter().all(Result::is_ok));
        }
        assert_eq!(bench.delivered().len(), 36);
        let mut different = bench.delivered();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), 36);
    });
}

fn nothing_goes_out_while_the_other_side_is_away<B: Bench>() {
    let (bench, transport) = B::create();
    run(async {
        let before = letter("before");
        assert_eq!(transport.send(before.clone()).await, Ok(()));
        bench.set_away(true);
        for _ in 0..3 {
            let sent = transport.send(letter("lost")).await;
            assert!(matches!(sent, Err(SendError::Away(_))), "{sent:?}");
        }
        check_delivered(&bench, std::slice::from_ref(&before));
        bench.set_away(false);
        let after = letter("after");
        assert_eq!(transport.send(after.clone()).await, Ok(()));
        check_delivered(&bench, &[before, after]);
    });
}

fn a_try_that_is_given_up_damages_no_other<B: Bench>() {
    let (bench, transport) = B::create();
    run(async {
        for micros in 0..30 {
            let given_up = transport.send(letter("given up"));
            let limit = Duration::from_micros(micros * 40);
            drop(tokio::time::timeout(limit, given_up).await);
            let sent = letter(&format!("kept {micros}"));
            assert_eq!(transport.send(sent).await, Ok(()));
        }
        let delivered = bench.delivered();
        let kept = delivered
            .iter()
            .filter(|it| it.windows(5).any(|it| it == b"kept "));
        assert_eq!(kept.count(), 30);
        let whole = letter("given up").formatted();
        let short = trimmed(&whole).len() / 2;
        assert!(
            delivered.iter().all(|it| it.len() > short),
            "a letter came in part"
        );
    });
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

conformance!(MemoryBench in in_memory, FileBench in files, SmtpBench in mail_server; [
    what_is_taken_arrives_whole,
    each_call_delivers_once,
    letters_at_once_do_not_meet,
    nothing_goes_out_while_the_other_side_is_away,
    a_try_that_is_given_up_damages_no_other,
]);
