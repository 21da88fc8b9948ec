//! Addresses of mail servers: `smtp://[user:password@]host[:port][?tls=none|starttls]` and `smtps://...`.
//!
//! Deliberately absent: passwords. No message of this file shows one, not even a part of an address that could be one.

use std::fmt;
use std::net::IpAddr;

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS; a server that does not offer it gets no letter.
    Required,
    /// STARTTLS if the server offers it.
    Opportunistic,
    None,
}

/// Where a mail server is, and who we are to it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) protection: Protection,
    /// Name and password.
    pub(super) credentials: Option<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address of the mail server is not good: {0}; write it like smtp://user:password@mail.example:587, \
     smtps://mail.example, smtp://localhost:25?tls=none or file:/var/lib/layby/outbox, with %40 for an @ in a password"
)]
pub(super) struct BadAddress(String);

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, BadAddress> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| bad("it has no scheme"))?;
        let is_smtps = match scheme {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(bad("its scheme is none of smtp, smtps and file")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold an @ that nobody has encoded; a host may not.
        let (who, place) = match rest.rsplit_once('@') {
            Some((who, place)) => (Some(who), place),
            None => (None, rest),
        };
        let (host, port) = parse_place(place.strip_suffix('/').unwrap_or(place))?;
        let protection = parse_protection(is_smtps, is_loopback(&host), query)?;
        Ok(Self {
            host,
            port: port.unwrap_or(if is_smtps { 465 } else { 587 }),
            protection,
            credentials: who.map(parse_credentials).transpose()?,
        })
    }

    /// The address without name and password.
    pub(super) fn place(&self) -> String {
        let scheme = match self.protection {
            Protection::Implicit => "smtps",
            Protection::Required | Protection::Opportunistic | Protection::None => "smtp",
        };
        match self.host.contains(':') {
            true => format!("{scheme}://[{}]:{}", self.host, self.port),
            false => format!("{scheme}://{}:{}", self.host, self.port),
        }
    }

    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Not derived: a password does not belong in a log.
impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Address")
            .field("place", &self.place())
            .field("protection", &self.protection)
            .field("signs_in", &self.credentials.is_some())
            .finish()
    }
}

fn bad(what: &str) -> BadAddress {
    BadAddress(what.to_owned())
}

fn parse_place(place: &str) -> Result<(String, Option<u16>), BadAddress> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| bad("a `[` in it is never closed"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(bad("what it has between [ and ] is no IPv6 address"));
            }
            (host, rest.strip_prefix(':'))
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() {
        return Err(bad("it names no host"));
    }
    // Nothing else of it is told: a slash in a password that nobody encoded puts half of the password here.
    if !host
        .chars()
        .all(|it| it.is_ascii_alphanumeric() || ".-_:".contains(it))
    {
        return Err(bad(
            "its host has a character that hosts do not have (is everything in the password encoded?)",
        ));
    }
    let port = port
        .map(|port| match port.parse() {
            Ok(0) | Err(_) => Err(bad("its port is no number from 1 to 65535")),
            Ok(port) => Ok(port),
        })
        .transpose()?;
    Ok((host.to_owned(), port))
}

fn parse_protection(
    is_smtps: bool,
    is_loopback: bool,
    query: &str,
) -> Result<Protection, BadAddress> {
    match (query, is_smtps) {
        ("", true) => Ok(Protection::Implicit),
        // Nobody listens between a process and its own machine, and a relay there seldom has a certificate.
        ("", false) if is_loopback => Ok(Protection::Opportunistic),
        ("" | "tls=starttls", false) => Ok(Protection::Required),
        ("tls=none", false) => Ok(Protection::None),
        (_, true) => Err(bad("smtps takes no option: it is TLS from the first byte")),
        (_, false) => Err(bad("after the ? it takes tls=none or tls=starttls")),
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn parse_credentials(who: &str) -> Result<(String, String), BadAddress> {
    let (user, password) = who
        .split_once(':')
        .ok_or_else(|| bad("it names a user but no password"))?;
    let user = decode(user).ok_or_else(|| bad("its user has a % that starts no byte in hex"))?;
    let password =
        decode(password).ok_or_else(|| bad("its password has a % that starts no byte in hex"))?;
    if user.is_empty() {
        return Err(bad("it has a password but names no user"));
    }
    Ok((user, password))
}

/// `%40` is `@`. `None`: a `%` without two hex digits, or bytes that are no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Address {
        Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn an_address_says_where_and_how() {
        let cases = [
            (
                "smtp://mail.example",
                "smtp://mail.example:587",
                Protection::Required,
            ),
            (
                "smtp://mail.example:25/",
                "smtp://mail.example:25",
                Protection::Required,
            ),
            (
                "smtp://mail.example?tls=starttls",
                "smtp://mail.example:587",
                Protection::Required,
            ),
            (
                "smtp://mail.example?tls=none",
                "smtp://mail.example:587",
                Protection::None,
            ),
            (
                "smtps://mail.example",
                "smtps://mail.example:465",
                Protection::Implicit,
            ),
            (
                "smtp://localhost:1025",
                "smtp://localhost:1025",
                Protection::Opportunistic,
            ),
            (
                "smtp://127.0.0.1",
                "smtp://127.0.0.1:587",
                Protection::Opportunistic,
            ),
            (
                "smtp://[::1]:25",
                "smtp://[::1]:25",
                Protection::Opportunistic,
            ),
            (
                "smtp://[::1]?tls=starttls",
                "smtp://[::1]:587",
                Protection::Required,
            ),
            (
                "smtp://[2001:db8::2]",
                "smtp://[2001:db8::2]:587",
                Protection::Required,
            ),
        ];
        for (url, place, protection) in cases {
            let address = parsed(url);
            assert_eq!(
                (address.place().as_str(), address.protection),
                (place, protection),
                "{url}"
            );
            assert_eq!(address.credentials, None, "{url}");
        }
    }

    #[test]
    fn user_and_password_may_hold_anything_once_encoded() {
        let credentials = |url| parsed(url).credentials.expect("a user");
        let pair = |user: &str, password: &str| (user.to_owned(), password.to_owned());
        assert_eq!(
            credentials("smtp://shop%40mail.example:a%3Ab%2fc%25%20%ED%95%9C@mail.example"),
            pair("shop@mail.example", "a:b/c% 한")
        );
        assert_eq!(
            credentials("smtps://u:p@ss:w@mail.example"),
            pair("u", "p@ss:w")
        );
        assert_eq!(credentials("smtps://u:@mail.example"), pair("u", ""));
    }

    #[test]
    fn a_bad_address_is_told_with_an_example_and_without_the_password() {
        let cases = [
            ("mail.example", "no scheme"),
            ("imap://u:s3cret@mail.example", "scheme is none of"),
            ("smtp://", "names no host"),
            ("smtp://u:s3cret@", "names no host"),
            ("smtp://u:s3cret@mail.example:x", "port"),
            ("smtp://u:s3cret@mail.example:0", "port"),
            ("smtp://u:s3cret@mail.example:65536", "port"),
            ("smtp://u:s3cret%@mail.example", "password has a %"),
            ("smtp://u:s3cret%4@mail.example", "password has a %"),
            ("smtp://u:s3cret%+1@mail.example", "password has a %"),
            ("smtp://u:%ffs3cret@mail.example", "password has a %"),
            ("smtp://s3cret@mail.example", "no password"),
            ("smtp://:s3cret@mail.example", "no user"),
            (
                "smtp://u:s3cret@mail.example?tls=maybe",
                "tls=none or tls=starttls",
            ),
            (
                "smtps://u:s3cret@mail.example?tls=none",
                "smtps takes no option",
            ),
            ("smtp://u:s3cret@mail.example/s3cret", "character"),
            ("smtp://u:x/s3cret/y@mail.example:25:s3cret", "port"),
            ("smtp://u:x@[::1", "never closed"),
            ("smtp://u:x@[s3cret]", "IPv6"),
        ];
        for (url, what) in cases {
            let error = Address::parse(url).expect_err(url).to_string();
            assert!(error.contains(what), "{url}: {error}");
            assert!(
                error.contains("smtp://user:password@mail.example:587"),
                "{url}: {error}"
            );
            assert!(!error.contains("s3cret"), "{url}: {error}");
        }
    }

    #[test]
    fn nothing_shows_the_password() {
        let address = parsed("smtp://shop:s3cret@mail.example");
        assert!(!format!("{address:?} {}", address.place()).contains("s3cret"));
        assert!(!format!("{address:?}").contains("shop"));
    }
}
