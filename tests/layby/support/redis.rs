//! A Redis of a test's own, to be killed, held up, emptied and started again.
//!
//! Knows nothing of the other helpers, because the unit tests of `src/persistence/limits` use it too.
#![allow(dead_code, reason = "two sets of tests use it, each a part of it")]

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Ended when it is dropped. Keeps nothing on the disk: who starts again starts empty.
pub(crate) struct Redis {
    child: Option<Child>,
    port: u16,
    directory: TempDir,
}

/// What it says to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Nil,
    Number(i64),
    /// Also a plain `OK`.
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Error(String),
}

/// Another program may take the free port first.
const START_TRIES: u32 = 5;

impl Redis {
    pub(crate) fn start() -> Self {
        let mut server = Self {
            child: None,
            port: free_port(),
            directory: tempfile::tempdir().expect("a directory"),
        };
        for _ in 0..START_TRIES {
            match server.run() {
                Ok(true) => return server,
                Ok(false) => server.port = free_port(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    panic!("there is no redis-server in PATH; scripts/test installs it")
                }
                Err(error) => panic!("redis-server: {error}"),
            }
        }
        panic!("redis-server did not start on {START_TRIES} ports");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// As by `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("an end");
        }
    }

    /// On the same port, and empty.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        assert!(self.run().expect("it was there before"), "port taken");
    }

    /// It hangs: connections stay open, and nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn flush(&self) {
        self.expect_ok(&["FLUSHALL"]);
    }

    pub(crate) fn config(&self, name: &str, value: &str) {
        self.expect_ok(&["CONFIG", "SET", name, value]);
    }

    /// All keys and what they hold, each on a line of its own.
    pub(crate) fn dump(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for key in self.keys() {
            all.extend_from_slice(key.as_bytes());
            all.push(b'\n');
            self.value(&key).write_to(&mut all);
        }
        all
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        let Reply::List(keys) = self.command(&["KEYS", "*"]) else {
            panic!("KEYS gives a list");
        };
        keys.into_iter().map(|key| key.text()).collect()
    }

    /// One command on a connection of its own.
    pub(crate) fn command(&self, words: &[&str]) -> Reply {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let mut asked = format!("*{}\r\n", words.len());
        for word in words {
            asked.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        (&stream).write_all(asked.as_bytes()).expect("a question");
        read_reply(&mut BufReader::new(stream)).expect("an answer")
    }

    fn expect_ok(&self, words: &[&str]) {
        let reply = self.command(words);
        assert_eq!(reply, Reply::Bytes(b"OK".to_vec()), "{words:?}");
    }

    fn value(&self, key: &str) -> Reply {
        match self.command(&["TYPE", key]).text().as_str() {
            "string" => self.command(&["GET", key]),
            "list" => self.command(&["LRANGE", key, "0", "-1"]),
            "set" => self.command(&["SMEMBERS", key]),
            "zset" => self.command(&["ZRANGE", key, "0", "-1", "WITHSCORES"]),
            "hash" => self.command(&["HGETALL", key]),
            "stream" => self.command(&["XRANGE", key, "-", "+"]),
            // Expired between the two questions.
            "none" => Reply::Nil,
            other => panic!("{key} is of the unknown type {other}"),
        }
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("a signal");
    }

    /// False if it ended instead of listening.
    fn run(&mut self) -> io::Result<bool> {
        let mut child = Command::new("redis-server")
            .args(["--port", &self.port.to_string()])
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
        if is_ready(&mut said)? {
            // It must not fill the pipe and stop.
            thread::spawn(move || io::copy(&mut said, &mut io::sink()));
            self.child = Some(child);
            return Ok(true);
        }
        child.wait()?;
        Ok(false)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Reply {
    /// Of a key or a plain value.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Bytes(bytes) => String::from_utf8(bytes).expect("text"),
            other => panic!("no text: {other:?}"),
        }
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nil => {}
            Self::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::List(items) => items.iter().for_each(|item| item.write_to(out)),
            Self::Error(error) => panic!("{error}"),
        }
        out.push(b'\n');
    }
}

fn is_ready(said: &mut BufReader<ChildStdout>) -> io::Result<bool> {
    let mut line = String::new();
    while said.read_line(&mut line)? > 0 {
        if line.contains("Ready to accept connections") {
            return Ok(true);
        }
        line.clear();
    }
    Ok(false)
}

fn read_reply(from: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let (kind, rest) = line.trim_end().split_at(1);
    let number = || rest.parse::<i64>().expect("a number");
    Ok(match kind {
        "+" => Reply::Bytes(rest.into()),
        "-" => Reply::Error(rest.into()),
        ":" => Reply::Number(number()),
        "$" | "*" if number() < 0 => Reply::Nil,
        "$" => {
            let length = usize::try_from(number()).expect("a length");
            let mut bytes = vec![0; length + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Reply::Bytes(bytes)
        }
        "*" => (0..number())
            .map(|_| read_reply(from))
            .collect::<io::Result<_>>()
            .map(Reply::List)?,
        other => panic!("no RESP: {other}{rest}"),
    })
}

/// Free at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
