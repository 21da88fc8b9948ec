//! Letters to a mail server.
//!
//! | address | protection |
//! | --- | --- |
//! | `smtps://host` | TLS from the first byte, port 465 |
//! | `smtp://host`, `?tls=starttls` | STARTTLS, port 587; a server that does not offer it gets no letter |
//! | `smtp://localhost` | STARTTLS if offered; without a CA file any certificate will do, as no TLS would |
//! | `smtp://host?tls=none` | none |
//!
//! Connections are kept for the next letter by ourselves: lettre's pool takes a connection back that was given up in the
//! middle of a letter, and the next letter would then read the answers to the last one. Here such a connection is closed.
//!
//! Deliberately absent: what the server says about a person. Its words are kept, the address is taken out of them.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lettre::Message;
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::{ClientId, Extension};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::address::{Address, Protection};
use super::{MailTransport, SEND_TIMEOUT, SendError};

/// Connections kept for the next letter; one more is closed.
const IDLE_MAX: usize = 4;

/// A connection that has waited longer is closed instead of used: servers give up silent clients after minutes.
const IDLE_AGE_MAX: Duration = Duration::from_secs(60);

/// Of what a server says, this much is told.
const WORDS_MAX: usize = 200;

/// See the head of the file.
pub struct SmtpTransport {
    address: Address,
    place: String,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    hello: ClientId,
    send_timeout: Duration,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl SmtpTransport {
    /// Reads the address and the certificates; connects at the first letter.
    pub fn open(url: &str, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        Self::with_timeout(url, ca_file, SEND_TIMEOUT)
    }

    pub(super) fn with_timeout(
        url: &str,
        ca_file: Option<&Path>,
        send_timeout: Duration,
    ) -> anyhow::Result<Self> {
        let address = Address::parse(url)?;
        let credentials = address
            .credentials
            .clone()
            .map(|(user, password)| Credentials::new(user, password));
        if credentials.is_some() && address.protection == Protection::None && !address.is_loopback()
        {
            warn!(
                place = %address.place(),
                "the password of the mail server goes over the network in the clear; use tls=starttls or smtps"
            );
        }
        Ok(Self {
            place: address.place(),
            tls: tls_for(&address, ca_file)?,
            credentials,
            hello: ClientId::default(),
            send_timeout,
            idle: Mutex::new(Vec::new()),
            address,
        })
    }

    async fn send_in_time(&self, message: Message) -> Result<(), SendError> {
        // At the end of the time the future is dropped, and with it the connection, wherever it stands.
        match timeout(self.send_timeout, self.send_once(&message)).await {
            Ok(sent) => sent,
            Err(_) => Err(SendError::Away(format!(
                "{} has not taken a letter within {} s",
                self.place,
                self.send_timeout.as_secs_f32()
            ))),
        }
    }

    async fn send_once(&self, message: &Message) -> Result<(), SendError> {
        let envelope = message.envelope();
        let mut connection = match self.take_idle().await {
            Some(connection) => connection,
            None => self
                .connect()
                .await
                .map_err(|error| self.away(&error, envelope))?,
        };
        if needs_wide_addresses(envelope)
            && !connection
                .server_info()
                .supports_feature(Extension::SmtpUtfEight)
        {
            return Err(SendError::Permanent(format!(
                "{} takes no address with letters outside ASCII",
                self.place
            )));
        }
        connection
            .send(envelope, &message.formatted())
            .await
            .map_err(|error| self.explain(&error, envelope))?;
        self.keep(connection);
        Ok(())
    }

    /// A kept connection that still answers. The others are closed by being dropped.
    async fn take_idle(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let idle = self.idle.lock().pop()?;
            let mut connection = idle.connection;
            if idle.since.elapsed() < IDLE_AGE_MAX && connection.test_connected().await {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX && !connection.has_broken() {
            idle.push(Idle {
                connection,
                since: Instant::now(),
            });
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let server = (self.address.host.as_str(), self.address.port);
        let protection = self.address.protection;
        let implicit = self
            .tls
            .clone()
            .filter(|_| protection == Protection::Implicit);
        let mut connection = AsyncSmtpConnection::connect_tokio1(
            server,
            Some(self.send_timeout),
            &self.hello,
            implicit,
            None,
        )
        .await?;
        let starts_tls = match protection {
            Protection::Required => true,
            Protection::Opportunistic => connection.can_starttls(),
            Protection::Implicit | Protection::None => false,
        };
        if let Some(tls) = self.tls.clone().filter(|_| starts_tls) {
            connection.starttls(tls, &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }

    /// What went wrong before there was talk of a letter says nothing about the letter, not even a 5xx.
    fn away(&self, error: &Error, envelope: &Envelope) -> SendError {
        SendError::Away(format!(
            "{} is not ready for letters: {}",
            self.place,
            words(error, envelope)
        ))
    }

    fn explain(&self, error: &Error, envelope: &Envelope) -> SendError {
        let words = words(error, envelope);
        let place = &self.place;
        match error.status().map(u16::from) {
            Some(421) => SendError::Away(format!("{place} is closing down: {words}")),
            // Said to us, and not about the letter: an operator may put it right.
            Some(500 | 502..=504 | 521 | 523..=525 | 530 | 534 | 535 | 538) => {
                SendError::Away(format!("{place} does not work with us: {words}"))
            }
            Some(400..=499) => SendError::Temporary(format!("{place} puts a letter off: {words}")),
            Some(_) => SendError::Permanent(format!("{place} refuses a letter: {words}")),
            None => SendError::Away(format!(
                "{place} broke off in the middle of a letter: {words}"
            )),
        }
    }
}

impl MailTransport for SmtpTransport {
    fn send(&self, message: Message) -> BoxFuture<'_, Result<(), SendError>> {
        self.send_in_time(message).boxed()
    }

    fn place(&self) -> &str {
        &self.place
    }
}

/// Not derived: it holds a password.
impl std::fmt::Debug for SmtpTransport {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SmtpTransport")
            .field("address", &self.address)
            .field("idle", &self.idle.lock().len())
            .finish_non_exhaustive()
    }
}

fn tls_for(address: &Address, ca_file: Option<&Path>) -> anyhow::Result<Option<TlsParameters>> {
    let mut builder = TlsParameters::builder(address.host.clone());
    if let Some(path) = ca_file {
        builder = builder.add_root_certificate(read_certificates(path)?);
    }
    let builder = match address.protection {
        Protection::None => return Ok(None),
        // It could as well do without TLS, so a certificate that proves nothing makes nothing worse.
        Protection::Opportunistic if ca_file.is_none() => {
            builder.dangerous_accept_invalid_certs(true)
        }
        Protection::Opportunistic | Protection::Required | Protection::Implicit => builder,
    };
    builder
        .build()
        .map(Some)
        .context("TLS for the mail server cannot be set up; check the file with its certificates")
}

fn read_certificates(path: &Path) -> anyhow::Result<Certificate> {
    let place = path.display();
    let pem = std::fs::read(path).with_context(|| {
        format!("the certificates for the mail server in `{place}` cannot be read")
    })?;
    let marker = b"-----BEGIN CERTIFICATE-----";
    anyhow::ensure!(
        pem.windows(marker.len()).any(|it| it == marker),
        "`{place}` holds no certificate in PEM; it should have lines like -----BEGIN CERTIFICATE-----"
    );
    Certificate::from_pem(&pem)
        .with_context(|| format!("`{place}` holds a certificate that cannot be read"))
}

fn needs_wide_addresses(envelope: &Envelope) -> bool {
    let mut addresses = envelope.from().into_iter().chain(envelope.to());
    addresses.any(|address| {
        let text: &str = address.as_ref();
        !text.is_ascii()
    })
}

/// What happened, in one line, without the people whom the letter is for.
fn words(error: &Error, envelope: &Envelope) -> String {
    without_people(&error.to_string(), envelope)
}

fn without_people(text: &str, envelope: &Envelope) -> String {
    let is_person = |word: &str| {
        let bare = word.trim_matches(|it: char| !it.is_alphanumeric());
        word.contains('@')
            || envelope
                .to()
                .iter()
                .any(|to| to.user().eq_ignore_ascii_case(bare))
    };
    let clean = text.replace(char::is_control, " ");
    let words: Vec<&str> = clean
        .split_whitespace()
        .map(|word| if is_person(word) { "<address>" } else { word })
        .collect();
    words.join(" ").chars().take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::super::conformance::letter;
    use super::*;

    #[test]
    fn what_a_server_says_is_told_without_the_person() {
        let envelope = letter("x").envelope().clone();
        assert_eq!(envelope.to()[0].to_string(), "buyer@shop.example");
        let cases = [
            (
                "550 5.1.1 <buyer@shop.example>: no such user",
                "550 5.1.1 <address> no such user",
            ),
            ("550 user 'Buyer' unknown", "550 user <address> unknown"),
            (
                "550 one\r\nlevel=error forged",
                "550 one level=error forged",
            ),
        ];
        for (said, told) in cases {
            assert_eq!(without_people(said, &envelope), told);
        }
        let long = without_people(&"x ".repeat(5_000), &envelope);
        assert_eq!(long.chars().count(), WORDS_MAX);
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "no certificate").expect("written");
        let open = |path: &Path| {
            let opened = SmtpTransport::open("smtp://u:s3cret@mail.example", Some(path));
            format!("{:#}", opened.expect_err("no certificates"))
        };
        for path in [file.path(), Path::new("/nowhere/ca.pem")] {
            let told = open(path);
            assert!(told.contains(&path.display().to_string()), "{told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
    }

    #[test]
    fn no_debug_output_shows_a_password() {
        let transport = SmtpTransport::open("smtp://u:s3cret@mail.example", None).expect("good");
        let shown = format!("{transport:?} {}", transport.place());
        assert!(shown.contains("smtp://mail.example:587") && !shown.contains("s3cret"));
    }
}
