//! Ways for mail to leave: a mail server, or a directory while there is none.

mod file;
mod smtp;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use futures_util::future::BoxFuture;
use lettre::Message;

pub use file::FileTransport;
pub use smtp::SmtpTransport;

/// Where mail goes, and from whom.
#[derive(Debug, Clone)]
pub struct MailOptions {
    /// `smtp://`, `smtps://` or `file:`; without it the `outbox` of the data directory.
    pub url: Option<String>,
    /// `Name <address>`
    pub from: String,
    /// PEM certificate of a root that is trusted beside the public ones.
    pub ca_file: Option<PathBuf>,
}

/// Sends letters.
///
/// `Ok`: the next in line has taken responsibility for the letter. [`SendError::Temporary`]: it has not, or nobody knows; the same
/// letter may be sent again, and may arrive twice. [`SendError::Permanent`]: it will never be taken as it is. An
/// implementation gives up after a time of its own and never waits for ever.
pub trait MailTransport: Send + Sync + Debug {
    fn send(&self, message: Message) -> BoxFuture<'_, Result<(), SendError>>;

    /// Where letters go, without secrets, for the log.
    fn place(&self) -> String;
}

#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("{0}")]
    Temporary(String),
    #[error("{0}")]
    Permanent(String),
}

impl Default for MailOptions {
    fn default() -> Self {
        Self {
            url: None,
            from: "Layby <no-reply@localhost>".into(),
            ca_file: None,
        }
    }
}

/// Does not connect: a mail server that is away at the start is one that is away.
pub fn open(options: &MailOptions, data_dir: &Path) -> anyhow::Result<Arc<dyn MailTransport>> {
    let from = options.from.parse::<lettre::message::Mailbox>();
    from.with_context(|| format!("mail_from = `{}` is not `Name <address>`", options.from))?;
    let Some(url) = options.url.as_deref() else {
        return Ok(Arc::new(FileTransport::create(&data_dir.join("outbox"))?));
    };
    if let Some(directory) = url.strip_prefix("file:") {
        let directory = Path::new(directory.strip_prefix("//").unwrap_or(directory));
        return Ok(Arc::new(FileTransport::create(directory)?));
    }
    if url.starts_with("smtp://") || url.starts_with("smtps://") {
        return Ok(Arc::new(SmtpTransport::open(
            url,
            options.ca_file.as_deref(),
        )?));
    }
    bail!(
        "mail_url is not right; give smtp://user:password@host:587, smtps://user:password@host or file:DIR"
    )
}

#[cfg(test)]
mod tests;
