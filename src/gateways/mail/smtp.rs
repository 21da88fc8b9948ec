//! Letters to a mail server, over TLS unless it is said otherwise.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use url::{Host, Url};

use super::{MailTransport, SendError};

/// A letter takes at most so long.
const SENT_WITHIN: Duration = Duration::from_secs(10);

/// Sends through a mail server.
pub struct SmtpTransport {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    place: String,
}

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    /// TLS from the first byte.
    Wrapped,
    /// Plain until both have agreed on TLS; no letter goes without.
    StartTls,
    /// TLS if the server offers it.
    IfOffered,
    Nothing,
}

impl std::fmt::Debug for SmtpTransport {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SmtpTransport({})", self.place)
    }
}

impl SmtpTransport {
    /// `smtp://[user:password@]host[:port][?tls=starttls|none]` or `smtps://...`.
    pub fn open(url: &str, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        // Errors do not repeat the address: it may have a password in it.
        let url = Url::parse(url)
            .context("mail_url is not an address such as smtp://user:password@host:587")?;
        let host = url.host_str().context("mail_url names no host")?;
        let protection = protection_of(&url)?;
        let port = url.port().unwrap_or(match protection {
            Protection::Wrapped => 465,
            _ if url.username().is_empty() => 25,
            _ => 587,
        });
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .timeout(Some(SENT_WITHIN))
            .tls(tls(protection, host, ca_file)?);
        if !url.username().is_empty() {
            let user = decoded(url.username())?;
            let password = decoded(url.password().unwrap_or_default())?;
            builder = builder.credentials(Credentials::new(user, password));
        }
        Ok(Self {
            transport: builder.build(),
            place: format!("{}://{host}:{port}", url.scheme()),
        })
    }
}

impl MailTransport for SmtpTransport {
    fn send(&self, message: Message) -> BoxFuture<'_, Result<(), SendError>> {
        async move {
            let sending = self.transport.send(message);
            match tokio::time::timeout(SENT_WITHIN, sending).await {
                Ok(Ok(_accepted)) => Ok(()),
                Ok(Err(error)) if error.is_permanent() => {
                    Err(SendError::Permanent(describe(&error)))
                }
                Ok(Err(error)) => Err(SendError::Temporary(describe(&error))),
                Err(_elapsed) => Err(SendError::Temporary(format!(
                    "no answer within {} s",
                    SENT_WITHIN.as_secs()
                ))),
            }
        }
        .boxed()
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

/// Without what the server said in words, which often repeats the address.
fn describe(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the mail server answered {code}"),
        None => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            text
        }
    }
}

fn protection_of(url: &Url) -> anyhow::Result<Protection> {
    let mut asked = None;
    for (name, value) in url.query_pairs() {
        ensure!(
            name == "tls",
            "mail_url has an option `{name}`; the only one is `tls`"
        );
        asked = Some(value.into_owned());
    }
    match (url.scheme(), asked.as_deref()) {
        ("smtps", None) => Ok(Protection::Wrapped),
        ("smtp", None) if is_this_machine(url) => Ok(Protection::IfOffered),
        ("smtp", None | Some("starttls")) => Ok(Protection::StartTls),
        ("smtp", Some("none")) => Ok(Protection::Nothing),
        (_, asked) => bail!(
            "mail_url asks for tls={}; give smtps:// for TLS from the first byte, or smtp:// with ?tls=starttls or ?tls=none",
            asked.unwrap_or_default()
        ),
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|it| it.is_loopback())
        }
        None => false,
    }
}

fn tls(protection: Protection, host: &str, ca_file: Option<&Path>) -> anyhow::Result<Tls> {
    if protection == Protection::Nothing {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(path) = ca_file {
        let pem = std::fs::read(path)
            .with_context(|| format!("cannot read the certificate `{}`", path.display()))?;
        let certificate = Certificate::from_pem(&pem)
            .with_context(|| format!("`{}` is not a PEM certificate", path.display()))?;
        parameters = parameters.add_root_certificate(certificate);
    }
    let parameters = parameters.build().context("TLS cannot be set up")?;
    Ok(match protection {
        Protection::Wrapped => Tls::Wrapper(parameters),
        Protection::StartTls => Tls::Required(parameters),
        Protection::IfOffered | Protection::Nothing => Tls::Opportunistic(parameters),
    })
}

/// What stands in an address as `%40` is `@`.
fn decoded(text: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = tail.get(..2).and_then(|it| str::from_utf8(it).ok());
        let byte = digits.and_then(|it| u8::from_str_radix(it, 16).ok());
        bytes.push(byte.context("mail_url has a `%` without two hex digits")?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).context("mail_url has a user or password that is no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protection(url: &str) -> anyhow::Result<Protection> {
        protection_of(&Url::parse(url).expect("an address"))
    }

    #[test]
    fn a_server_elsewhere_is_never_written_to_in_the_clear_by_default() {
        let of = |url| protection(url).expect(url);
        assert_eq!(of("smtp://mail.example.com"), Protection::StartTls);
        assert_eq!(of("smtps://mail.example.com"), Protection::Wrapped);
        assert_eq!(of("smtp://mail.example.com?tls=none"), Protection::Nothing);
        assert_eq!(of("smtp://127.0.0.1:2525"), Protection::IfOffered);
        assert_eq!(of("smtp://localhost"), Protection::IfOffered);
        assert_eq!(of("smtp://localhost?tls=starttls"), Protection::StartTls);
        for wrong in [
            "smtp://host?tls=maybe",
            "smtps://host?tls=none",
            "smtp://host?verify=no",
        ] {
            assert!(protection(wrong).is_err(), "{wrong}");
        }
    }

    // The pool of connections needs a runtime from the start.
    #[tokio::test]
    async fn a_password_is_decoded_and_never_shown() {
        assert_eq!(decoded("a%40b%25").expect("fine"), "a@b%");
        assert!(decoded("a%4").is_err());
        let transport = SmtpTransport::open("smtp://kim:s3cret%40@mail.example.com", None);
        let transport = transport.expect("a transport");
        assert_eq!(transport.place(), "smtp://mail.example.com:587");
        assert!(!format!("{transport:?}").contains("s3cret"));
        let wrong = SmtpTransport::open("smtp://kim:s3cret@:25", None).expect_err("no host");
        assert!(!format!("{wrong:#}").contains("s3cret"), "{wrong:#}");
    }
}
