//! The secrets of an installation: the keys that sign tokens, the keys that seal data keys, the key of the indexes, and
//! what is shared with a payment provider.
//!
//! Each comes from the environment or from a file that only its owner may read; files that are missing are made at
//! random. Where the keys of several machines must be the same, they come from the environment.
//!
//! Deliberately absent: what the keys are used for (see `accounts`), and passwords of databases or mail servers.

mod file;
mod live;
mod payment;
mod ring;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use zeroize::Zeroizing;

pub use file::append_key;
pub use live::LiveKeys;
pub use payment::{PaymentSecrets, WebhookSecrets};
pub use ring::{At, Flaw, Key, KeyError, KeyId, KeyRing, NotAnId};

pub const TOKEN_KEYS_FILE: &str = "token.keys";
const SEAL_KEYS_FILE: &str = "seal.keys";
const INDEX_KEY_FILE: &str = "index.key";

/// Where the secrets are. What is given here is used instead of the file and never written anywhere.
#[derive(Clone, Default)]
pub struct SecretsOptions {
    /// The directory of the files, made with mode 0700; not touched when everything else is given.
    pub dir: PathBuf,
    /// `ID:BASE64,ID:BASE64`, the last one is the primary.
    pub token_keys: Option<Zeroizing<String>>,
    /// As `token_keys`.
    pub seal_keys: Option<Zeroizing<String>>,
    /// One `BASE64`.
    pub index_key: Option<Zeroizing<String>>,
    /// Stripe's secret key, as Stripe gives it.
    pub stripe_key: Option<Zeroizing<String>>,
    /// Words separated by commas; each of them signs webhooks.
    pub stripe_webhooks: Option<Zeroizing<String>>,
    /// As `stripe_webhooks`.
    pub sandbox_webhooks: Option<Zeroizing<String>>,
}

/// All secrets, checked.
#[derive(Debug, Clone)]
pub struct Secrets {
    token_keys: Arc<LiveKeys>,
    seal_keys: Arc<LiveKeys>,
    index_key: IndexKey,
    made: Vec<PathBuf>,
}

/// 32 bytes under which names and addresses are found. There is one, for as long as there are accounts: with another,
/// nobody would be found.
#[derive(Clone)]
pub struct IndexKey(Zeroizing<[u8; 32]>);

/// Where a data directory keeps the keys that sign its tokens.
pub fn token_keys_path(data_dir: &Path) -> PathBuf {
    secrets_dir(data_dir).join(TOKEN_KEYS_FILE)
}

/// Where a data directory keeps its secrets.
pub fn secrets_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("secrets")
}

impl SecretsOptions {
    /// Everything from the files of this data directory.
    pub fn of_data_dir(data_dir: &Path) -> Self {
        Self {
            dir: secrets_dir(data_dir),
            ..Self::default()
        }
    }

    pub fn seal_keys_path(&self) -> PathBuf {
        self.dir.join(SEAL_KEYS_FILE)
    }

    pub fn token_keys_path(&self) -> PathBuf {
        self.dir.join(TOKEN_KEYS_FILE)
    }

    pub fn index_key_path(&self) -> PathBuf {
        self.dir.join(INDEX_KEY_FILE)
    }
}

impl Secrets {
    /// Reads what is given or in the files, and makes what is missing.
    ///
    /// # Errors
    /// Names the file and the line, or the setting and the place in it, of a key that is not fit to be one, and a file
    /// that others may read. Never says what was read.
    pub fn open(options: &SecretsOptions) -> anyhow::Result<Self> {
        let mut made = Vec::new();
        let mut keys = |name: &str, given: &Option<Zeroizing<String>>, path: PathBuf| match given {
            Some(text) => LiveKeys::given(text)
                .with_context(|| format!("{name} in the environment is not usable")),
            None => open_file(path, &mut made, LiveKeys::open_or_make),
        };
        let token_keys = keys(
            "LAYBY_TOKEN_KEYS",
            &options.token_keys,
            options.token_keys_path(),
        )?;
        let seal_keys = keys(
            "LAYBY_SEAL_KEYS",
            &options.seal_keys,
            options.seal_keys_path(),
        )?;
        let index_key = match &options.index_key {
            Some(text) => {
                IndexKey::parse(text).context("LAYBY_INDEX_KEY in the environment is not usable")?
            }
            None => {
                let path = options.index_key_path();
                open_file(path, &mut made, IndexKey::open_or_make)?
            }
        };
        Ok(Self {
            token_keys: Arc::new(token_keys),
            seal_keys: Arc::new(seal_keys),
            index_key,
            made,
        })
    }

    pub const fn token_keys(&self) -> &Arc<LiveKeys> {
        &self.token_keys
    }

    pub const fn seal_keys(&self) -> &Arc<LiveKeys> {
        &self.seal_keys
    }

    pub const fn index_key(&self) -> &IndexKey {
        &self.index_key
    }

    /// The files that were missing and have just been made. A seal key or an index key among them is bad news for a
    /// database that has accounts already: they were sealed with another.
    pub fn made(&self) -> &[PathBuf] {
        &self.made
    }
}

impl IndexKey {
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        ring::decode(text.trim()).map(Self)
    }

    /// For tests of what is found under a known key. Any bytes will do.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn open_or_make(path: &Path) -> anyhow::Result<Self> {
        let content = file::read_or_make(path, || ring::encode(&ring::random_key()))?;
        let text = content.text.as_str();
        let mut lines = ring::lines(text);
        let (Some((number, line)), None) = (lines.next(), lines.next()) else {
            anyhow::bail!("it must hold one key, on a line of its own");
        };
        Self::parse(line).with_context(|| format!("line {number}"))
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("IndexKey")
    }
}

impl fmt::Debug for SecretsOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SecretsOptions")
            .field("dir", &self.dir)
            .field("token_keys_given", &self.token_keys.is_some())
            .field("seal_keys_given", &self.seal_keys.is_some())
            .field("index_key_given", &self.index_key.is_some())
            .finish_non_exhaustive()
    }
}

fn open_file<T>(
    path: PathBuf,
    made: &mut Vec<PathBuf>,
    open: impl FnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let was_there = path.exists();
    let opened =
        open(&path).with_context(|| format!("cannot use the secret file `{}`", path.display()))?;
    if !was_there {
        tracing::info!(path = %path.display(), "a secret was made; keep a copy of it in a safe place");
        made.push(path);
    }
    Ok(opened)
}
