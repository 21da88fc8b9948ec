//! A child process whose every line is kept, and that never outlives its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::pause;

pub(crate) struct Process {
    name: String,
    child: Child,
    pub(crate) stdout: Arc<Lines>,
    pub(crate) stderr: Arc<Lines>,
    readers: Vec<JoinHandle<()>>,
}

/// What a stream has said so far.
#[derive(Default)]
pub(crate) struct Lines {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    ended: bool,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let (stdout, out) = Lines::of(child.stdout.take().expect("piped"));
        let (stderr, err) = Lines::of(child.stderr.take().expect("piped"));
        Self {
            name,
            child,
            stdout,
            stderr,
            readers: vec![out, err],
        }
    }

    /// As by `kill -9`, and gone when this returns.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself; that is for whoever asks for its status.
        self.child.kill().ok();
        self.reap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal)
            .unwrap_or_else(|error| panic!("cannot send {signal:?} to {}: {error}", self.name));
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for the end that something else brings about.
    #[track_caller]
    pub(crate) fn ends_within(&mut self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        while !self.has_ended() {
            assert!(
                began.elapsed() < limit,
                "{} still runs after {limit:?}; it said:\n{}",
                self.name,
                self.stderr.tail()
            );
            pause(Duration::from_millis(5));
        }
        self.reap()
    }

    fn reap(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("a child");
        for reader in self.readers.drain(..) {
            reader.join().expect("reading lines does not fail");
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> (Arc<Self>, JoinHandle<()>) {
        let lines = Arc::new(Self::default());
        let kept = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                kept.add(String::from_utf8_lossy(&line).into_owned());
            }
            kept.end();
        });
        (lines, reader)
    }

    fn add(&self, line: String) {
        self.said.lock().expect("not poisoned").lines.push(line);
        self.more.notify_all();
    }

    fn end(&self) {
        self.said.lock().expect("not poisoned").ended = true;
        self.more.notify_all();
    }

    /// The first line that is wanted, now or later. `None`: the stream ended without one, or it took too long.
    pub(crate) fn wait_for(
        &self,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let began = Instant::now();
        let mut said = self.said.lock().expect("not poisoned");
        loop {
            if let Some(line) = said.lines.iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            let left = limit.saturating_sub(began.elapsed());
            if said.ended || left.is_zero() {
                return None;
            }
            (said, _) = self.more.wait_timeout(said, left).expect("not poisoned");
        }
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.said.lock().expect("not poisoned").lines.clone()
    }

    pub(crate) fn tail(&self) -> String {
        let lines = self.all();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}
