//! Secrets that the embedded default makes for itself, in files that only their owner may read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rand::RngExt;

/// Bytes of a secret, at least and as made: the output size of HMAC-SHA-256.
const SECRET_BYTES: usize = 32;

pub fn token_key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("secrets").join("token.key")
}

/// The secret in the file, made at random if there is none yet.
pub fn read_or_create(path: &Path) -> io::Result<Vec<u8>> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        other => other,
    }
}

/// Refuses a file that others may read, and a secret that is too short to be one.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let secret = fs::read(path)?;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "`{}` may be read by others (mode {:o}); set it to 600",
            path.display(),
            mode & 0o777
        )));
    }
    if secret.len() < SECRET_BYTES {
        return Err(io::Error::other(format!(
            "`{}` holds {} bytes; a secret has at least {SECRET_BYTES}",
            path.display(),
            secret.len()
        )));
    }
    Ok(secret)
}

fn create(path: &Path) -> io::Result<Vec<u8>> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    let secret: [u8; SECRET_BYTES] = rand::rng().random();
    // Whole or not at all: a short key would keep the next start from succeeding.
    let unfinished = path.with_extension(format!("{}.part", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    // A link does not replace: of two processes that start together, one makes the key and both use it.
    let made = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        made => made.map(|()| secret.to_vec()),
    }
}
