//! A mail server of a test's own, to be killed and started again: Debian's aiosmtpd, which delivers into a folder.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use super::letters::{Letter, Postbox, letters_in};
use super::{Process, eventually};

/// The interpreter that Debian's packages are for.
const PYTHON: &str = "/usr/bin/python3";

pub(crate) struct PostOffice {
    process: Option<Process>,
    port: u16,
    directory: TempDir,
}

impl PostOffice {
    /// `None`, and a word about it: there is no aiosmtpd on this machine.
    pub(crate) fn start() -> Option<Self> {
        let found = Command::new(PYTHON)
            .args(["-c", "import aiosmtpd"])
            .output();
        if !found.is_ok_and(|it| it.status.success()) {
            eprintln!("left out: there is no python3-aiosmtpd on this machine");
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let mut server = Self {
            process: None,
            port,
            directory: tempfile::tempdir().expect("a directory"),
        };
        server.start_again();
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// As by `kill -9`. What was delivered stays.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// On the same port.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        let mut command = Command::new(PYTHON);
        command
            .args(["-m", "aiosmtpd", "-n", "-u", "-l"])
            .arg(format!("127.0.0.1:{}", self.port))
            .args(["-c", "aiosmtpd.handlers.Mailbox"])
            .arg(self.directory.path().join("mail"));
        self.process = Some(Process::start(command));
        eventually("the mail server listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).ok().map(drop)
        });
    }
}

impl Postbox for PostOffice {
    fn letters_to(&self, address: &str) -> Vec<Letter> {
        letters_in(
            &self.directory.path().join("mail").join("new"),
            address,
            |_| true,
        )
    }
}
