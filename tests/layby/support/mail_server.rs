//! A mail server that nobody here wrote: aiosmtpd, from Debian's package `python3-aiosmtpd`. It delivers into a Maildir.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use mail_parser::{Message, MessageParser};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::mariadb::free_port;
use super::{Process, eventually};

/// Debian's own: another Python does not know the package.
const PYTHON: &str = "/usr/bin/python3";

/// Says no to some recipients, as real servers do. The rest is the server's own.
const PICKY: &str = r#"
from aiosmtpd.handlers import Mailbox

class Picky(Mailbox):
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown@"):
            return f"550 5.1.1 <{address}>: there is no such mailbox"
        if address.startswith("greylisted@"):
            return f"451 4.7.1 <{address}>: try again later"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"
"#;

/// What protects the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    None,
    /// Nothing is taken before STARTTLS.
    Start,
    Implicit,
}

/// To be killed and started again on the same port; its letters stay.
pub(crate) struct MailServer {
    process: Option<Process>,
    port: u16,
    tls: Tls,
    directory: TempDir,
}

/// A letter as another program reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReceivedLetter {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
    /// Names and values as they came.
    pub(crate) headers: Vec<(String, String)>,
}

impl MailServer {
    pub(crate) fn start(tls: Tls) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("picky.py"), PICKY).expect("a handler");
        make_certificates(directory.path());
        let mut server = Self {
            process: None,
            port: free_port(),
            tls,
            directory,
        };
        server.start_again();
        server
    }

    pub(crate) fn start_again(&mut self) {
        let path = |name: &str| self.directory.path().join(name);
        let mut command = Command::new(PYTHON);
        command
            .args(["-m", "aiosmtpd", "--nosetuid"])
            .arg("--listen")
            .arg(format!("127.0.0.1:{}", self.port))
            .env("PYTHONPATH", self.directory.path())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let options = match self.tls {
            Tls::None => None,
            Tls::Start => Some(["--tlscert", "--tlskey"]),
            Tls::Implicit => Some(["--smtpscert", "--smtpskey"]),
        };
        if let Some([certificate, key]) = options {
            command.arg(certificate).arg(path("server.pem"));
            command.arg(key).arg(path("server.key"));
        }
        command
            .args(["--class", "picky.Picky"])
            .arg(path("letters"));
        let mut process = Process::start(command);
        eventually("aiosmtpd takes connections", || {
            assert!(
                !process.has_ended(),
                "{PYTHON} runs no aiosmtpd; scripts/test installs it. It said:\n{}",
                process.stderr.tail()
            );
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
        self.process = Some(process);
    }

    /// As by `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// What `--mail-url` takes.
    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Who has signed the server's certificate for `localhost` and `127.0.0.1`.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Who has signed nothing.
    pub(crate) fn other_ca_file(&self) -> PathBuf {
        self.directory.path().join("other-ca.pem")
    }

    /// In the order in which they arrived.
    pub(crate) fn letters_to(&self, address: &str) -> Vec<ReceivedLetter> {
        let mut files: Vec<PathBuf> = ["new", "cur"]
            .iter()
            .filter_map(|it| fs::read_dir(self.directory.path().join("letters").join(it)).ok())
            .flatten()
            .map(|entry| entry.expect("an entry").path())
            .collect();
        // Names in a Maildir begin with seconds, and go on with a number that does not keep its width.
        files.sort_by_key(|path| arrival(path));
        let letters = files.iter().map(|path| fs::read(path).expect("a letter"));
        letters.filter_map(|bytes| read(&bytes, address)).collect()
    }

    /// The code of the newest letter to the address that has one; waits for it.
    #[track_caller]
    pub(crate) fn code_for(&self, address: &str) -> String {
        eventually(&format!("a code for {address}"), || {
            let letters = self.letters_to(address);
            letters.iter().rev().find_map(ReceivedLetter::code)
        })
    }
}

impl ReceivedLetter {
    /// The paragraph that is a single word with a digit in it.
    pub(crate) fn code(&self) -> Option<String> {
        let is_code = |line: &&str| {
            let mut all = line.chars();
            line.len() >= 4
                && all.all(|it| it.is_ascii_alphanumeric() || it == '-')
                && line.contains(|it: char| it.is_ascii_digit())
        };
        self.text.lines().find(is_code).map(str::to_owned)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(it, _)| it.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }
}

/// `1764000000.M123456P789Q2.host` as seconds, microseconds and number.
fn arrival(path: &Path) -> (u64, u64, u64) {
    let name = path.file_name().expect("a name").to_string_lossy();
    let mut parts = name.split('.');
    let secs = parts.next().and_then(|it| it.parse().ok()).unwrap_or(0);
    let unique = parts.next().unwrap_or("");
    let number = |after: char| {
        let digits = unique.split(after).nth(1).unwrap_or("");
        let end = digits.find(|it: char| !it.is_ascii_digit());
        digits[..end.unwrap_or(digits.len())].parse().unwrap_or(0)
    };
    (secs, number('M'), number('Q'))
}

fn read(bytes: &[u8], address: &str) -> Option<ReceivedLetter> {
    let letter: Message<'_> = MessageParser::default().parse(bytes)?;
    let to = letter.to()?.first()?.address()?;
    if !to.eq_ignore_ascii_case(address) {
        return None;
    }
    let clean = |text: Option<std::borrow::Cow<'_, str>>| {
        let text = text.unwrap_or_default();
        text.replace("\r\n", "\n")
    };
    Some(ReceivedLetter {
        subject: letter.subject().unwrap_or_default().to_owned(),
        text: clean(letter.body_text(0)),
        html: clean(letter.body_html(0)),
        headers: letter
            .headers_raw()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    })
}

/// A CA that signs the server's certificate, and one that does not.
fn make_certificates(directory: &Path) {
    let write = |name: &str, pem: String| {
        fs::write(directory.join(name), pem).expect("written");
    };
    let ca = || {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        CertifiedIssuer::self_signed(params, key).expect("a CA")
    };
    let (signer, other) = (ca(), ca());
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let params = CertificateParams::new(names).expect("names");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &signer).expect("a certificate");
    write("ca.pem", signer.pem());
    write("other-ca.pem", other.pem());
    write("server.pem", certificate.pem());
    write("server.key", key.serialize_pem());
}
