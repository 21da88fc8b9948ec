//! Ways for letters to leave, behind one trait.
//!
//! | address | what it does |
//! | --- | --- |
//! | none | files in `<data_dir>/outbox`, so that a shop can be tried out without a mail server |
//! | `file:<directory>` | files in that directory |
//! | `smtp://...`, `smtps://...` | a mail server, see [`SmtpTransport`] |
//!
//! Deliberately absent: trying again, and knowing what a letter says. Whoever sends decides when to send once more
//! (`mail/carrier.rs`); a transport tries once and says how it went.

mod address;
#[cfg(test)]
mod conformance;
mod file;
#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod scripted_server;
mod smtp;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use futures_util::future::BoxFuture;
use lettre::Message;
use lettre::message::Mailbox;

pub use file::FileTransport;
pub use smtp::SmtpTransport;

/// Carries letters out of the house.
///
/// The contract:
/// - `Ok` means that somebody else has the whole letter now: a disk or a mail server.
/// - `Err` means that nobody is known to have it. After a connection that broke in the middle somebody may have it all
///   the same, so a repeat must carry the same `Message-ID`.
/// - No letter is ever delivered in part, and each call delivers at most once.
/// - It ends within [`SEND_TIMEOUT`], whatever the other side does. Dropping the future gives up the try.
/// - After [`SendError::Away`] the same transport works again as soon as the other side does.
/// - Neither errors nor `Debug` nor [`MailTransport::place`] show a password or the address of a person.
pub trait MailTransport: Send + Sync + std::fmt::Debug {
    fn send(&self, message: Message) -> BoxFuture<'_, Result<(), SendError>>;

    /// Where letters go, for messages to operators.
    fn place(&self) -> &str;
}

/// How long one letter may take, connecting included. At the end of it the try has failed: [`SendError::Away`].
pub const SEND_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Why a letter did not go out. The words are for operators and name no person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No letter would have gone out: nobody answers, or not to us. Try again.
    #[error("{0}")]
    Away(String),
    /// This letter is not taken now. Try again.
    #[error("{0}")]
    Temporary(String),
    /// This letter will never be taken.
    #[error("{0}")]
    Permanent(String),
}

/// Where letters go, and whose name is on them.
#[derive(Clone)]
pub struct MailOptions {
    /// `file:<directory>`, `smtp://...` or `smtps://...`; `None`: files in `<data_dir>/outbox`.
    pub url: Option<String>,
    /// `Name <address>` or an address alone.
    pub from: String,
    /// Certificates in PEM that a mail server may be signed by, beside the well-known ones.
    pub ca_file: Option<PathBuf>,
}

impl Default for MailOptions {
    fn default() -> Self {
        Self {
            url: None,
            from: "Layby <no-reply@localhost>".to_owned(),
            ca_file: None,
        }
    }
}

/// Not derived: the address may hold a password.
impl std::fmt::Debug for MailOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("MailOptions")
            .field("from", &self.from)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

impl MailOptions {
    /// Whose name is on the letters. An error that says what is wrong with `from`.
    pub fn sender(&self) -> anyhow::Result<Mailbox> {
        self.from.parse().with_context(|| {
            format!(
                "`{}` is no sender of mail; write it like Layby <no-reply@shop.example>",
                self.from
            )
        })
    }
}

/// The transport that the options name. Does not connect: a mail server that is away is no reason not to sell.
///
/// Errors say what is wrong with the options and never show the password.
pub fn open(options: &MailOptions, data_dir: &Path) -> anyhow::Result<Arc<dyn MailTransport>> {
    options.sender()?;
    let Some(url) = &options.url else {
        return Ok(Arc::new(FileTransport::open(data_dir.join("outbox"))?));
    };
    match url.split_once(':') {
        Some(("file", directory)) if !directory.is_empty() => {
            let directory = directory.strip_prefix("//").unwrap_or(directory);
            Ok(Arc::new(FileTransport::open(directory)?))
        }
        _ => Ok(Arc::new(SmtpTransport::open(
            url,
            options.ca_file.as_deref(),
        )?)),
    }
}
