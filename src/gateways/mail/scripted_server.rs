//! A mail server of a few lines that answers what a test tells it to; for tests.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

#[derive(Clone)]
pub(super) struct ScriptedServer {
    shared: Arc<SharedScript>,
    port: u16,
}

#[derive(Default)]
struct SharedScript {
    letters: Mutex<Vec<Vec<u8>>>,
    /// By the verb that it answers; `HELLO` is the greeting and `END` the answer to a letter.
    answers: Mutex<HashMap<&'static str, String>>,
    away: AtomicBool,
    connections: AtomicUsize,
}

impl ScriptedServer {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Self {
            port: listener.local_addr().expect("a port").port(),
            shared: Arc::default(),
        };
        let shared = Arc::clone(&server.shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(client));
            }
        });
        server
    }

    pub(super) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}?tls=none", self.port)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Instead of what is usual. An empty answer is none at all: the client waits for it.
    pub(super) fn answer(&self, verb: &'static str, answer: &str) {
        self.shared.answers.lock().insert(verb, answer.to_owned());
    }

    pub(super) fn answer_as_usual(&self) {
        self.shared.answers.lock().clear();
    }

    /// Breaks what is open at its next word, and all that comes.
    pub(super) fn set_away(&self, away: bool) {
        self.shared.away.store(away, Ordering::SeqCst);
    }

    pub(super) fn letters(&self) -> Vec<Vec<u8>> {
        self.shared.letters.lock().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl SharedScript {
    fn serve(&self, mut client: TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let mut lines = BufReader::new(client.try_clone().expect("a socket"));
        let mut goes_on = self.say(&mut client, "HELLO", "220 scripted ESMTP");
        while goes_on {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let verb = line
                .split_whitespace()
                .next()
                .unwrap_or("")
                .to_ascii_uppercase();
            goes_on = match verb.as_str() {
                "EHLO" => self.say(
                    &mut client,
                    "EHLO",
                    "250-scripted\r\n250-8BITMIME\r\n250 AUTH PLAIN",
                ),
                "AUTH" => self.say(&mut client, "AUTH", "235 welcome"),
                "MAIL" => self.say(&mut client, "MAIL", "250 ok"),
                "RCPT" => self.say(&mut client, "RCPT", "250 ok"),
                "NOOP" => self.say(&mut client, "NOOP", "250 ok"),
                "DATA" => self.take_letter(&mut client, &mut lines),
                _ => false,
            };
        }
    }

    fn take_letter(&self, client: &mut TcpStream, lines: &mut impl BufRead) -> bool {
        let refused = self
            .answers
            .lock()
            .get("DATA")
            .is_some_and(|it| !it.starts_with('3'));
        if !self.say(client, "DATA", "354 go on") || refused {
            return refused;
        }
        let mut letter = Vec::new();
        loop {
            let mut line = Vec::new();
            if lines.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                return false;
            }
            if line == b".\r\n" {
                break;
            }
            letter.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
        let accepted = !self.answers.lock().contains_key("END");
        if accepted && !self.away.load(Ordering::SeqCst) {
            self.letters.lock().push(letter);
        }
        self.say(client, "END", "250 kept")
    }

    /// Says whether the connection goes on.
    fn say(&self, client: &mut TcpStream, verb: &'static str, usual: &str) -> bool {
        if self.away.load(Ordering::SeqCst) {
            return false;
        }
        let answer = self.answers.lock().get(verb).cloned();
        let answer = answer.unwrap_or_else(|| usual.to_owned());
        answer.is_empty() || client.write_all(format!("{answer}\r\n").as_bytes()).is_ok()
    }
}
