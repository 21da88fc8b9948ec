//! Finds words where they must not be, also when they are written in another way: as base64, hex, UTF-16, escaped.

use std::path::Path;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// Shorter words are found by chance.
const BYTES_MIN: usize = 8;

/// Words that are found nowhere else, and everything that would give them away.
pub(crate) struct Canaries {
    needles: Vec<Needle>,
}

struct Needle {
    what: String,
    bytes: Vec<u8>,
    /// Capitals carry no meaning in it.
    ignores_case: bool,
}

impl Canaries {
    pub(crate) fn new(words: &[&str]) -> Self {
        let needles = words.iter().flat_map(|word| spellings(word)).collect();
        Self { needles }
    }

    /// In which spellings the words are found.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        let lower = bytes.to_ascii_lowercase();
        let is_found = |needle: &&Needle| {
            let place = if needle.ignores_case { &lower } else { bytes };
            contains(place, &needle.bytes)
        };
        let found = self.needles.iter().filter(is_found);
        found.map(|needle| needle.what.clone()).collect()
    }

    /// The same for every file below a folder, but for what is to be skipped.
    pub(crate) fn found_below(&self, folder: &Path, skip: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                found.extend(self.found_in(name.as_bytes()));
                if skip.contains(&&*name) {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = std::fs::read(&path).expect("a file");
                    let hits = self.found_in(&bytes);
                    found.extend(hits.iter().map(|it| format!("{it} in {}", path.display())));
                }
            }
        }
        found
    }
}

fn spellings(word: &str) -> Vec<Needle> {
    assert!(word.len() >= BYTES_MIN, "{word} is found by chance");
    let exact = |how: &str, bytes: Vec<u8>| Needle {
        what: format!("{word} as {how}"),
        bytes,
        ignores_case: false,
    };
    let any_case = |how: &str, text: &str| Needle {
        what: format!("{word} as {how}"),
        bytes: text.to_ascii_lowercase().into_bytes(),
        ignores_case: true,
    };
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|it| format!("{it:02x}")).collect() };
    let mut needles = vec![
        any_case("it is", word),
        any_case("hex", &hex(word.as_bytes())),
        exact(
            "UTF-16 LE",
            word.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        exact(
            "UTF-16 BE",
            word.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        ),
        any_case("a URL", &percent(word)),
    ];
    if !word.is_ascii() {
        let units: Vec<String> = word
            .encode_utf16()
            .map(|it| format!("\\u{it:04x}"))
            .collect();
        needles.push(any_case("JSON", &units.concat()));
        let debug: Vec<String> = word
            .chars()
            .map(|it| it.escape_unicode().to_string())
            .collect();
        needles.push(any_case("Debug", &debug.concat()));
    }
    for (name, digits) in [
        ("base64", &alphabet::STANDARD),
        ("base64url", &alphabet::URL_SAFE),
    ] {
        for offset in 0..3 {
            let how = format!("{name} at {offset}");
            needles.push(exact(
                &how,
                base64_at(word.as_bytes(), offset, digits).into_bytes(),
            ));
        }
    }
    needles
}

/// The digits that do not depend on what stands before and after the word, if it begins `offset` bytes after a
/// group of three.
fn base64_at(word: &[u8], offset: usize, digits: &alphabet::Alphabet) -> String {
    let engine = GeneralPurpose::new(digits, NO_PAD);
    let padded = [&[0; 2][..offset], word].concat();
    let whole = padded.len() / 3 * 4;
    let first = (offset * 8).div_ceil(6);
    let text = engine.encode(padded);
    // The last digit of an unfinished group depends on the next byte.
    text[first..whole].to_owned()
}

fn percent(word: &str) -> String {
    let spell = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02x}"),
    };
    word.bytes().map(spell).collect()
}

fn contains(place: &[u8], needle: &[u8]) -> bool {
    let Some((&first, rest)) = needle.split_first() else {
        return false;
    };
    let mut from = 0;
    while let Some(at) = place[from..].iter().position(|&it| it == first) {
        if place[from + at + 1..].starts_with(rest) {
            return true;
        }
        from += at + 1;
    }
    false
}

#[test]
fn a_word_is_found_in_every_spelling() {
    let canaries = Canaries::new(&["Canary-Bird 42", "카나리아 새장"]);
    let hits = |bytes: &[u8]| canaries.found_in(bytes).len();
    for word in ["Canary-Bird 42", "카나리아 새장"] {
        let standard = base64::engine::general_purpose::STANDARD;
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        for before in ["", "a", "ab", "abc", "??>"] {
            let text = format!("{before}{word}>>?? and more");
            assert!(hits(text.as_bytes()) > 0);
            assert!(hits(text.to_uppercase().as_bytes()) > 0);
            assert!(hits(standard.encode(&text).as_bytes()) > 0, "{text}");
            assert!(hits(url.encode(&text).as_bytes()) > 0, "{text}");
            let hex: String = text.bytes().map(|it| format!("{it:02X}")).collect();
            assert!(hits(hex.as_bytes()) > 0);
            let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            assert!(hits(&utf16) > 0);
        }
        assert!(hits(format!("x={}", percent(word)).as_bytes()) > 0);
    }
    let escaped: String = "카나리아 새장"
        .chars()
        .map(|it| it.escape_unicode().to_string())
        .collect();
    assert!(hits(escaped.as_bytes()) > 0);
    assert_eq!(hits(b"Canary-Bird 43, Q2FuYXJ5LUJpcmQ and nothing else"), 0);
}
