//! Letters that were sent, wherever they went, and the codes in them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{MailServer, ReceivedLetter, Shop, eventually};

#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// As it stands in the header, encoded words and all.
    pub(crate) subject: String,
    /// The part for people who read plain text.
    pub(crate) text: String,
}

/// Where letters arrive.
pub(crate) trait Postbox {
    /// Everything that came for an address, the oldest first.
    fn letters_to(&self, address: &str) -> Vec<Letter>;

    /// The code of the `count`th letter with a code that came for an address; waits for it.
    #[track_caller]
    fn code(&self, address: &str, count: usize) -> String {
        eventually(&format!("code {count} for {address}"), || {
            self.codes(address).into_iter().nth(count - 1)
        })
    }

    fn codes(&self, address: &str) -> Vec<String> {
        let letters = self.letters_to(address);
        letters.iter().filter_map(|it| code_in(&it.text)).collect()
    }

    /// Waits until so many letters are there, with and without codes.
    #[track_caller]
    fn letters(&self, address: &str, count: usize) -> Vec<Letter> {
        eventually(&format!("{count} letters for {address}"), || {
            let letters = self.letters_to(address);
            (letters.len() >= count).then_some(letters)
        })
    }
}

/// The folder of a server that was given no mail server.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    folder: PathBuf,
}

/// Six digits that stand alone on their line.
pub(crate) fn code_in(text: &str) -> Option<String> {
    let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|it| it.is_ascii_digit());
    text.lines().map(str::trim).find(is_code).map(str::to_owned)
}

impl Outbox {
    pub(crate) fn of(shop: &Shop) -> Self {
        Self::at(&shop.data_dir().join("outbox"))
    }

    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }
}

impl Postbox for MailServer {
    fn letters_to(&self, address: &str) -> Vec<Letter> {
        let letters = Self::letters_to(self, address).into_iter();
        let plain = |letter: ReceivedLetter| Letter {
            subject: letter.subject,
            text: letter.text,
        };
        letters.map(plain).collect()
    }
}

impl Postbox for Outbox {
    fn letters_to(&self, address: &str) -> Vec<Letter> {
        letters_in(&self.folder, address, |path| {
            path.extension().is_some_and(|it| it == "eml")
        })
    }
}

/// The letters of a folder for an address, the oldest first.
pub(super) fn letters_in(
    folder: &Path,
    address: &str,
    is_letter: impl Fn(&Path) -> bool,
) -> Vec<Letter> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| is_letter(&entry.path()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    let letters = files.iter().filter_map(|(_, path)| {
        let bytes = std::fs::read(path).expect("a letter");
        read(&String::from_utf8_lossy(&bytes), address)
    });
    letters.collect()
}

/// A message as it goes over the wire, if it is for this address.
fn read(message: &str, address: &str) -> Option<Letter> {
    let (head, body) = split(message);
    let to = header(&head, "to")?.to_lowercase();
    if !to.contains(&address.to_lowercase()) {
        return None;
    }
    Some(Letter {
        subject: header(&head, "subject").unwrap_or_default(),
        text: plain_text(&head, body),
    })
}

fn plain_text(head: &str, body: &str) -> String {
    let kind = header(head, "content-type").unwrap_or_default();
    let Some(boundary) = boundary(&kind) else {
        let encoding = header(head, "content-transfer-encoding").unwrap_or_default();
        return decode(&encoding.to_lowercase(), body);
    };
    let boundary = format!("--{boundary}");
    let parts = body.split(&boundary).skip(1).map(split);
    let mut plain = parts.filter(|(head, _)| {
        let kind = header(head, "content-type").unwrap_or_default();
        kind.to_lowercase().starts_with("text/plain")
    });
    let (head, body) = plain.next().expect("a letter has a plain part");
    plain_text(&head, body)
}

/// The header, its folded lines joined, and the rest.
fn split(message: &str) -> (String, &str) {
    let message = message.trim_start_matches(['\r', '\n']);
    let (head, body) = message
        .split_once("\r\n\r\n")
        .or_else(|| message.split_once("\n\n"))
        .unwrap_or((message, ""));
    let head = head.replace("\r\n", "\n");
    (head.replace("\n ", " ").replace("\n\t", " "), body)
}

fn header(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(it, _)| it.eq_ignore_ascii_case(name))?;
    Some(value.trim().to_owned())
}

fn boundary(kind: &str) -> Option<String> {
    let (_, rest) = kind.split_once("boundary=")?;
    let rest = rest.trim_start_matches('"');
    let end = rest.find(['"', ';']).unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

fn decode(encoding: &str, body: &str) -> String {
    let bytes = match encoding {
        "base64" => {
            let digits: String = body.split_whitespace().collect();
            STANDARD.decode(digits).expect("base64")
        }
        "quoted-printable" => unquote(body),
        _ => body.as_bytes().to_vec(),
    };
    String::from_utf8(bytes).expect("UTF-8")
}

fn unquote(body: &str) -> Vec<u8> {
    let body = body.replace("=\r\n", "").replace("=\n", "");
    let mut bytes = body.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'=' {
            plain.push(byte);
            continue;
        }
        let digits: Vec<u8> = bytes.by_ref().take(2).collect();
        let digits = std::str::from_utf8(&digits).expect("ASCII");
        plain.push(u8::from_str_radix(digits, 16).expect("two hex digits"));
    }
    plain
}
