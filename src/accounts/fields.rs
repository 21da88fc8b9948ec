//! What people write about themselves, parsed into types: two spellings of the same thing become the same bytes.
//!
//! Errors are sentences for the person who typed it.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

const USERNAME_CHARS: std::ops::RangeInclusive<usize> = 3..=32;
const EMAIL_BYTES_MAX: usize = 254;
const LOCAL_PART_BYTES_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 100;
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// Longer input is not looked at.
const INPUT_BYTES_MAX: usize = 1_024;

/// A name to sign in with: letters, digits, `.`, `_` and `-`, after NFKC. Capitals do not count.
#[derive(Clone)]
pub(crate) struct Username {
    text: Zeroizing<String>,
    key: Zeroizing<String>,
}

/// An address in the one spelling by which it is found and to which letters go: NFKC, lower case, the domain in ASCII.
#[derive(Clone)]
pub(crate) struct Email(Zeroizing<String>);

/// The name of a person, NFC, on one line.
#[derive(Clone)]
pub(crate) struct PersonName(Zeroizing<String>);

/// Digits, with `+` in front if it was there.
#[derive(Clone)]
pub(crate) struct Phone(Zeroizing<String>);

impl Username {
    pub(crate) fn parse(input: &str) -> Result<Self, String> {
        let text = nfkc(input)?;
        let length = text.chars().count();
        if !USERNAME_CHARS.contains(&length) {
            return Err(format!(
                "it has {length} characters; give {} to {}",
                USERNAME_CHARS.start(),
                USERNAME_CHARS.end()
            ));
        }
        let fine = |it: char| it.is_alphanumeric() || matches!(it, '.' | '_' | '-');
        if !text.chars().all(fine) || !text.starts_with(char::is_alphanumeric) {
            return Err(
                "it may have letters, digits, `.`, `_` and `-`, and begins with a letter or digit"
                    .into(),
            );
        }
        let key = Zeroizing::new(text.to_lowercase());
        Ok(Self { text, key })
    }

    /// As it is shown.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// By which it is compared.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

impl Email {
    pub(crate) fn parse(input: &str) -> Result<Self, String> {
        let wrong = || "it is not an e-mail address such as kim@example.com".to_owned();
        let text = nfkc(input.trim())?;
        let (local, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
        let local = local.to_lowercase();
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_malformed| wrong())?;
        if !is_local_part(&local) || domain.is_empty() {
            return Err(wrong());
        }
        let address = Zeroizing::new(format!("{local}@{domain}"));
        if address.len() > EMAIL_BYTES_MAX {
            return Err(format!(
                "it is longer than {EMAIL_BYTES_MAX} bytes, so no mail server would take it"
            ));
        }
        // What the mail library would not take must not come as far as the outbox.
        if address.parse::<lettre::Address>().is_err() {
            return Err(wrong());
        }
        Ok(Self(address))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn local_part(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }
}

impl PersonName {
    pub(crate) fn parse(input: &str) -> Result<Self, String> {
        one_line(input, 1, NAME_CHARS_MAX).map(Self)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Phone {
    pub(crate) fn parse(input: &str) -> Result<Self, String> {
        let text = nfkc(input.trim())?;
        let separator = |it: char| matches!(it, ' ' | '-' | '.' | '(' | ')');
        let plain: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|it| !separator(*it)).collect());
        let digits = plain.strip_prefix('+').unwrap_or(&plain);
        let fine = digits.chars().all(|it| it.is_ascii_digit());
        if !fine || !PHONE_DIGITS.contains(&digits.len()) {
            return Err(format!(
                "it is not a phone number of {} to {} digits such as 010-1234-5678 or +82 10 1234 5678",
                PHONE_DIGITS.start(),
                PHONE_DIGITS.end()
            ));
        }
        Ok(Self(plain))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text on one line, NFC, without space around it, of so many characters.
pub(crate) fn one_line(
    input: &str,
    chars_min: usize,
    chars_max: usize,
) -> Result<Zeroizing<String>, String> {
    check_size(input)?;
    let text: Zeroizing<String> = Zeroizing::new(input.trim().nfc().collect());
    if text.chars().any(breaks_the_line) {
        return Err("it has a line break or another control character".into());
    }
    let length = text.chars().count();
    if !(chars_min..=chars_max).contains(&length) {
        return Err(format!(
            "it has {length} characters; give {chars_min} to {chars_max}"
        ));
    }
    Ok(text)
}

fn nfkc(input: &str) -> Result<Zeroizing<String>, String> {
    check_size(input)?;
    Ok(Zeroizing::new(input.nfkc().collect()))
}

fn check_size(input: &str) -> Result<(), String> {
    if input.len() > INPUT_BYTES_MAX {
        return Err(format!("it is longer than {INPUT_BYTES_MAX} bytes"));
    }
    if input.trim_matches(' ').chars().any(breaks_the_line) {
        return Err("it has a line break or another control character".into());
    }
    Ok(())
}

fn breaks_the_line(it: char) -> bool {
    it.is_control() || matches!(it, '\u{2028}' | '\u{2029}')
}

/// The unquoted form of RFC 5321.
fn is_local_part(local: &str) -> bool {
    let atom = |it: char| it.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(it);
    !local.is_empty()
        && local.len() <= LOCAL_PART_BYTES_MAX
        && local
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(atom))
}

macro_rules! hidden {
    ($($name:ident),+) => {
        $(
            /// Not derived: what is personal does not belong in a log.
            impl std::fmt::Debug for $name {
                fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    out.write_str(stringify!($name))
                }
            }
        )+
    };
}
hidden!(Username, Email, PersonName, Phone);

#[cfg(test)]
mod tests {
    use super::*;

    fn email(input: &str) -> String {
        Email::parse(input).expect(input).as_str().to_owned()
    }

    #[test]
    fn spellings_of_one_mailbox_are_one_address() {
        for spelling in [
            "kim@example.com",
            "Kim@Example.COM",
            " kim@example.com ",
            "ｋｉｍ＠ｅｘａｍｐｌｅ．ｃｏｍ",
            "KIM@example.com",
        ] {
            assert_eq!(email(spelling), "kim@example.com");
        }
        assert_eq!(
            email("kim@예시.한국"),
            email("kim@xn--vv4b11d.xn--3e0b707e")
        );
        assert_ne!(email("kim+a@example.com"), email("kim@example.com"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "k".repeat(65));
        let longer = format!("k@{}.com", "e".repeat(250));
        for input in [
            "",
            "kim",
            "@example.com",
            "kim@",
            "kim@@example.com",
            "a b@example.com",
            "kim@exa mple.com",
            "kim@example.com\r\nBcc: all@example.com",
            "kim\0@example.com",
            "<kim@example.com>",
            ".kim@example.com",
            "k..im@example.com",
            "김@example.com",
            &long,
            &longer,
        ] {
            assert!(Email::parse(input).is_err(), "{input:?}");
        }
    }

    #[test]
    fn a_username_is_the_same_in_any_capitals_and_forms() {
        let key = |input| Username::parse(input).expect(input).key().to_owned();
        assert_eq!(key("Kim.Minsu"), key("kim.minsu"));
        assert_eq!(key("ｋｉｍ"), key("kim"));
        assert_eq!(key("김민수"), key("김민수"));
        for input in [
            "",
            "ab",
            "a b c",
            "kim\n",
            "kim\r\nrole: admin",
            "-kim",
            "k/im",
            &"k".repeat(33),
        ] {
            assert!(Username::parse(input).is_err(), "{input:?}");
        }
    }

    #[test]
    fn phones_keep_their_digits() {
        let phone = |input| Phone::parse(input).expect(input).as_str().to_owned();
        assert_eq!(phone("010-1234-5678"), "01012345678");
        assert_eq!(phone("+82 (10) 1234.5678"), "+821012345678");
        for input in [
            "",
            "123456",
            "1234567890123456",
            "010-CALL-ME",
            "++8210123456",
            "010\n12345678",
        ] {
            assert!(Phone::parse(input).is_err(), "{input:?}");
        }
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(
            PersonName::parse("  김 민수 ").expect("a name").as_str(),
            "김 민수"
        );
        for input in [
            "",
            "   ",
            "Kim\nMinsu",
            "Kim\rX",
            "Kim\0",
            "Kim\u{2028}X",
            &"k".repeat(101),
        ] {
            assert!(PersonName::parse(input).is_err(), "{input:?}");
        }
    }
}
