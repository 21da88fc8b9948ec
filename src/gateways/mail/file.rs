//! Letters as files, for trying things out without a mail server. What is in them has, in effect, left the house.

use std::fs::{DirBuilder, File, OpenOptions, rename};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lettre::Message;
use uuid::Uuid;

use super::{MailTransport, SendError};

/// Writes each letter to a file `<uuid>.eml` that only its owner may read.
#[derive(Debug)]
pub struct FileTransport {
    directory: PathBuf,
}

impl FileTransport {
    pub fn create(directory: &Path) -> anyhow::Result<Self> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        made.with_context(|| format!("cannot make the outbox `{}`", directory.display()))?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// Whole or not at all: somebody may be reading the directory.
    fn write(&self, letter: &[u8]) -> io::Result<()> {
        let name = self.directory.join(Uuid::now_v7().to_string());
        let unfinished = name.with_extension("part");
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(letter)?;
        file.sync_all()?;
        rename(&unfinished, name.with_extension("eml"))?;
        File::open(&self.directory)?.sync_all()
    }
}

impl MailTransport for FileTransport {
    fn send(&self, message: Message) -> BoxFuture<'_, Result<(), SendError>> {
        let written = self.write(&message.formatted()).map_err(|error| {
            SendError::Temporary(format!("the outbox cannot be written: {error}"))
        });
        std::future::ready(written).boxed()
    }

    fn place(&self) -> String {
        self.directory.display().to_string()
    }
}
