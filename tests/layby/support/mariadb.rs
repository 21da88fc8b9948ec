//! A MariaDB of a test's own, to be killed and started again.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use super::store::execute;
use super::{Process, eventually};

const DATABASE: &str = "layby";

pub(crate) struct MariaDb {
    process: Option<Process>,
    port: u16,
    directory: TempDir,
}

impl MariaDb {
    /// Runs an empty server with one database.
    pub(crate) fn start() -> Self {
        let daemon = daemon();
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .arg("--skip-test-db")
            .args(as_root())
            // Two servers that share a place for temporary tables clear away each other's.
            .env("TMPDIR", directory.path())
            .arg(format!(
                "--datadir={}",
                directory.path().join("data").display()
            ))
            .output()
            .expect("mariadb-install-db in PATH; scripts/test installs it");
        assert!(
            installed.status.success(),
            "mariadb-install-db: {}",
            String::from_utf8_lossy(&installed.stderr)
        );
        let mut server = Self {
            process: None,
            port,
            directory,
        };
        server.run(&daemon);
        execute(&server.server_url(), format!("CREATE DATABASE {DATABASE}"));
        server
    }

    pub(crate) fn database_url(&self) -> String {
        format!("{}/{DATABASE}", self.server_url())
    }

    /// As by `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    pub(crate) fn start_again(&mut self) {
        self.run(&daemon());
    }

    /// Its files as they are in this moment, by which it is interrupted.
    pub(crate) fn back_up(&mut self) {
        self.kill();
        self.copy("data", "backup");
        self.start_again();
    }

    /// It dies, and comes back with what it had when it was backed up.
    pub(crate) fn restore(&mut self) {
        self.kill();
        let data = self.directory.path().join("data");
        std::fs::remove_dir_all(data).expect("removed");
        self.copy("backup", "data");
        self.start_again();
    }

    fn copy(&self, from: &str, to: &str) {
        let path = |name: &str| self.directory.path().join(name);
        let copied = Command::new("cp")
            .args(["--archive", "--no-target-directory"])
            .args([path(from), path(to)])
            .status();
        assert!(
            copied.is_ok_and(|status| status.success()),
            "cp {from} {to}"
        );
    }

    /// It hangs: connections stay open, and nothing is answered.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    fn run(&mut self, daemon: &PathBuf) {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let mut command = Command::new(daemon);
        command
            .args(["--no-defaults", "--bind-address=127.0.0.1"])
            .args(as_root())
            .env("TMPDIR", self.directory.path())
            .arg(format!("--datadir={}", path("data")))
            .arg(format!("--socket={}", path("socket")))
            .arg(format!("--pid-file={}", path("pid")))
            .arg(format!("--port={}", self.port))
            .args(["--innodb-buffer-pool-size=32M", "--performance-schema=OFF"]);
        let process = Process::start(command);
        eventually("MariaDB is ready for connections", || {
            let lines = process.stderr.all();
            lines
                .iter()
                .any(|it| it.contains("ready for connections"))
                .then_some(())
        });
        self.process = Some(process);
    }

    fn server_url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}", self.port)
    }
}

/// It does not run as root unless it is told to.
fn as_root() -> Option<&'static str> {
    rustix::process::geteuid()
        .is_root()
        .then_some("--user=root")
}

fn daemon() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join("mariadbd"))
        .find(|it| it.exists())
        .expect("mariadbd in PATH; scripts/test installs it")
}

/// Free at this moment, and not one of those that the kernel gives to clients: they would take it before a server does.
pub(super) fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let drawn = std::iter::repeat_with(|| rand::random_range(20_000..32_000));
    drawn.take(100).find(is_free).expect("a free port")
}
