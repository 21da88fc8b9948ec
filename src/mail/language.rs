//! The languages we write in.

use serde::{Deserialize, Serialize};

/// A header that is longer is read up to here. No browser sends a tenth of it.
const HEADER_BYTES_MAX: usize = 512;

/// Further wishes are not read.
const WISHES_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Language {
    #[default]
    #[serde(rename = "en")]
    English,
    #[serde(rename = "ko")]
    Korean,
}

impl Language {
    /// As in a `lang` attribute, and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }

    /// What [`Language::as_str`] gave; regions (`ko-KR`) and case do not matter.
    pub fn parse(text: &str) -> Option<Self> {
        let primary = text.split_once(['-', '_']).map_or(text, |(it, _)| it);
        [Self::English, Self::Korean]
            .into_iter()
            .find(|language| primary.eq_ignore_ascii_case(language.as_str()))
    }

    /// The language that a browser wishes for most, of those that we write; English if it is none of them.
    pub fn from_accept_language(header: &str) -> Self {
        let end = header.floor_char_boundary(HEADER_BYTES_MAX);
        let wishes = header[..end].split(',').take(WISHES_MAX);
        let mut best = None;
        for (language, weight) in wishes.filter_map(parse_wish) {
            // Of equal wishes the first one counts.
            if weight > best.map_or(0, |(_, weight)| weight) {
                best = Some((language, weight));
            }
        }
        best.map_or(Self::default(), |(language, _)| language)
    }
}

/// `ko-KR;q=0.8` as the language and 800. `None`: a language that we do not write, or no wish at all.
fn parse_wish(wish: &str) -> Option<(Language, u16)> {
    let mut parts = wish.split(';').map(str::trim);
    let tag = parts.next()?;
    let language = match tag {
        "*" => Language::default(),
        _ => Language::parse(tag)?,
    };
    let quality = parts.find_map(|it| it.strip_prefix("q=").or(it.strip_prefix("Q=")));
    let weight = quality.map_or(Some(1_000), parse_quality)?;
    Some((language, weight))
}

/// From `0` to `1` with at most three digits behind the point, in thousandths.
fn parse_quality(text: &str) -> Option<u16> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    if digits.len() > 3 || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{digits:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_comes_back_from_its_word() {
        for language in [Language::English, Language::Korean] {
            assert_eq!(Language::parse(language.as_str()), Some(language));
            let json = serde_json::to_string(&language).expect("json");
            assert_eq!(json, format!("\"{}\"", language.as_str()));
        }
        assert_eq!(Language::parse("KO-kr"), Some(Language::Korean));
        assert_eq!(Language::parse("kok"), None);
        assert_eq!(Language::parse(""), None);
    }

    #[test]
    fn the_strongest_wish_counts() {
        use Language::{English, Korean};
        let cases = [
            ("", English),
            ("ko", Korean),
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Korean),
            ("en-US,en;q=0.9,ko;q=0.8", English),
            ("en;q=0.5, ko;q=0.501", Korean),
            ("fr-CH, fr;q=0.9, ko;q=0.1", Korean),
            ("fr, de", English),
            ("ko;q=0", English),
            ("ko;q=0.000, en;q=0.001", English),
            ("*, ko;q=0.5", English),
            ("*;q=0.1, ko;q=0.5", Korean),
            ("ko;q=0.5, en;q=0.5", Korean),
            ("KO ; Q=1.000", Korean),
            ("ko;q=1.1, en;q=0.1", English),
            ("ko;q=0.1234, en;q=0.1", English),
            ("ko;q=abc", English),
            (";;;,,,q=1", English),
        ];
        for (header, language) in cases {
            assert_eq!(Language::from_accept_language(header), language, "{header}");
        }
    }

    #[test]
    fn what_is_beyond_the_bounds_is_not_read() {
        let many = "fr,".repeat(WISHES_MAX) + "ko";
        assert_eq!(Language::from_accept_language(&many), Language::English);
        // The cut falls into the middle of a letter.
        let long = "한".repeat(HEADER_BYTES_MAX) + ",ko";
        assert_eq!(Language::from_accept_language(&long), Language::English);
        let fits = "fr,".repeat(WISHES_MAX - 1) + "ko";
        assert_eq!(Language::from_accept_language(&fits), Language::Korean);
    }
}
