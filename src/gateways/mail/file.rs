//! Letters as files that only their owner may read: one `<uuid>.eml` a letter.
//!
//! For trying things out and for tests; a program that takes letters from a directory may also stand behind it.
//! A letter appears whole or not at all: it is written under a name that nobody looks for, and renamed.
//!
//! Deliberately absent: clearing away. Whoever reads the letters removes them.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lettre::Message;
use uuid::Uuid;

use super::{MailTransport, SendError};

/// See the head of the file.
#[derive(Debug, Clone)]
pub struct FileTransport {
    directory: PathBuf,
    place: String,
}

impl FileTransport {
    /// Makes the directory with mode 0700 if it is not there. One that is there keeps its mode: it is somebody's.
    pub fn open(directory: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let directory = directory.into();
        make_directory(&directory).with_context(|| {
            format!(
                "letters cannot be kept in `{}`; name another directory like file:/var/lib/layby/outbox",
                directory.display()
            )
        })?;
        Ok(Self {
            place: format!("file:{}", directory.display()),
            directory,
        })
    }
}

impl MailTransport for FileTransport {
    fn send(&self, message: Message) -> BoxFuture<'_, Result<(), SendError>> {
        let directory = self.directory.clone();
        async move {
            let written =
                tokio::task::spawn_blocking(move || write(&directory, &message.formatted()));
            match written.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(SendError::Away(format!(
                    "no letter can be written to {}: {error}",
                    self.place
                ))),
                Err(error) => Err(SendError::Away(format!(
                    "writing a letter was broken off: {error}"
                ))),
            }
        }
        .boxed()
    }

    fn place(&self) -> &str {
        &self.place
    }
}

/// Made again at each letter: a directory that somebody has cleared away is no reason to keep letters back.
fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn write(directory: &Path, letter: &[u8]) -> io::Result<()> {
    make_directory(directory)?;
    let id = Uuid::now_v7();
    let unfinished = directory.join(format!(".{id}.part"));
    let written = write_new(&unfinished, letter)
        .and_then(|()| fs::rename(&unfinished, directory.join(format!("{id}.eml"))));
    if written.is_err() {
        // The first error is the one to tell; what is left over has a name that nobody looks for.
        fs::remove_file(&unfinished).ok();
    }
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::conformance::{letter, run};
    use super::*;

    #[test]
    fn only_the_owner_may_read_letters() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = root.path().join("deep").join("outbox");
        let transport = FileTransport::open(&directory).expect("a transport");
        run(transport.send(letter("mode"))).expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let files: Vec<PathBuf> = fs::read_dir(&directory)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert_eq!((mode(&directory), files.len()), (0o700, 1));
        assert_eq!(mode(&files[0]), 0o600);
        assert!(files[0].extension().is_some_and(|it| it == "eml"));
    }

    #[test]
    fn a_directory_that_was_there_keeps_its_mode() {
        let root = tempfile::tempdir().expect("a directory");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o750)).expect("a mode");
        FileTransport::open(root.path()).expect("a transport");
        let mode = fs::metadata(root.path())
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o750);
    }

    #[test]
    fn a_directory_that_was_cleared_away_is_made_again() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = root.path().join("outbox");
        let transport = FileTransport::open(&directory).expect("a transport");
        fs::remove_dir_all(&directory).expect("cleared away");
        run(transport.send(letter("again"))).expect("written");
        assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 1);
    }
}
