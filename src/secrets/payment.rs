//! What is shared with the payment provider: the key that moves money, and the secrets that sign its webhooks.
//!
//! They are made by the provider and not here, so they are words and not keys of 32 bytes; only the sandbox's are made.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use zeroize::Zeroizing;

use super::{SecretsOptions, file, ring};
use crate::gateways::payment::ProviderKind;

const STRIPE_KEY_FILE: &str = "stripe.key";
const STRIPE_WEBHOOKS_FILE: &str = "stripe-webhook.secrets";
const SANDBOX_WEBHOOKS_FILE: &str = "sandbox-webhook.secrets";

/// Shorter words can be guessed.
const SECRET_CHARS_MIN: usize = 16;
/// Secrets that are good at the same time; two are enough to exchange one.
const SECRETS_MAX: usize = 8;

/// What the chosen provider needs.
#[derive(Clone)]
pub struct PaymentSecrets {
    /// Stripe's secret key; there is one whenever Stripe is the provider.
    pub stripe_key: Option<Zeroizing<String>>,
    pub webhooks: WebhookSecrets,
}

/// The secrets of which each signs a webhook; none means that no webhook is believed.
#[derive(Clone, Default)]
pub struct WebhookSecrets(Arc<[Zeroizing<String>]>);

impl PaymentSecrets {
    /// Reads what the provider needs, from the environment or the files, and makes what is the sandbox's own.
    ///
    /// # Errors
    /// Names the setting or the file of what is missing, not fit to be a secret, or readable by others.
    pub fn open(options: &SecretsOptions, provider: ProviderKind) -> anyhow::Result<Self> {
        match provider {
            ProviderKind::Sandbox => Ok(Self {
                stripe_key: None,
                webhooks: sandbox_webhooks(options)?,
            }),
            ProviderKind::Stripe => Ok(Self {
                stripe_key: Some(stripe_key(options)?),
                webhooks: stripe_webhooks(options)?,
            }),
        }
    }
}

impl WebhookSecrets {
    /// Words separated by commas.
    ///
    /// # Errors
    /// Names the place of one that is not fit, never the word.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Self::collect(text.split(',').map(str::trim))
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|secret| secret.as_bytes())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A word a line, with `#` comments.
    fn read(path: &Path) -> anyhow::Result<Self> {
        let content = file::read(path)?;
        Self::collect(ring::lines(&content.text).map(|(_, line)| line))
    }

    fn collect<'a>(words: impl Iterator<Item = &'a str>) -> anyhow::Result<Self> {
        let mut secrets = Vec::new();
        for (index, word) in words.enumerate() {
            let secret = checked(word).with_context(|| format!("secret {}", index + 1))?;
            secrets.push(secret);
        }
        ensure!(
            secrets.len() <= SECRETS_MAX,
            "there are {} secrets, at most {SECRETS_MAX} are good at once",
            secrets.len()
        );
        Ok(Self(secrets.into()))
    }
}

impl fmt::Debug for PaymentSecrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PaymentSecrets")
            .field("stripe_key_given", &self.stripe_key.is_some())
            .field("webhooks", &self.webhooks)
            .finish()
    }
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "WebhookSecrets({})", self.0.len())
    }
}

fn stripe_key(options: &SecretsOptions) -> anyhow::Result<Zeroizing<String>> {
    if let Some(key) = &options.stripe_key {
        return checked(key).context("LAYBY_STRIPE_SECRET_KEY in the environment is not usable");
    }
    let path = options.dir.join(STRIPE_KEY_FILE);
    if !path.try_exists()? {
        bail!(
            "Stripe needs its secret key: in LAYBY_STRIPE_SECRET_KEY, or in `{}` with mode 600",
            path.display()
        );
    }
    let key = file::read(&path).and_then(|content| checked(content.text.trim()));
    key.with_context(|| format!("cannot use the secret file `{}`", path.display()))
}

fn stripe_webhooks(options: &SecretsOptions) -> anyhow::Result<WebhookSecrets> {
    if let Some(secrets) = &options.stripe_webhooks {
        return WebhookSecrets::parse(secrets)
            .context("LAYBY_STRIPE_WEBHOOK_SECRETS in the environment is not usable");
    }
    let path = options.dir.join(STRIPE_WEBHOOKS_FILE);
    if path.try_exists()? {
        return WebhookSecrets::read(&path)
            .with_context(|| format!("cannot use the secret file `{}`", path.display()));
    }
    tracing::warn!(
        "no secret of Stripe's webhooks is given, so none is believed; results come by looking them up"
    );
    Ok(WebhookSecrets::default())
}

fn sandbox_webhooks(options: &SecretsOptions) -> anyhow::Result<WebhookSecrets> {
    if let Some(secrets) = &options.sandbox_webhooks {
        return WebhookSecrets::parse(secrets)
            .context("LAYBY_SANDBOX_WEBHOOK_SECRETS in the environment is not usable");
    }
    let path = options.dir.join(SANDBOX_WEBHOOKS_FILE);
    file::read_or_make(&path, || ring::encode(&ring::random_key()))
        .and_then(|_made| WebhookSecrets::read(&path))
        .with_context(|| format!("cannot use the secret file `{}`", path.display()))
}

/// Printable, without spaces, and long enough.
fn checked(word: &str) -> anyhow::Result<Zeroizing<String>> {
    ensure!(
        word.len() >= SECRET_CHARS_MIN,
        "it has {} characters, and fewer than {SECRET_CHARS_MIN} can be guessed",
        word.len()
    );
    ensure!(
        word.bytes().all(|it| it.is_ascii_graphic()),
        "it is not one word of printable ASCII"
    );
    Ok(Zeroizing::new(word.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    fn options() -> (TempDir, SecretsOptions) {
        let directory = TempDir::new().expect("a directory");
        let options = SecretsOptions {
            dir: directory.path().join("secrets"),
            ..SecretsOptions::default()
        };
        (directory, options)
    }

    fn write(options: &SecretsOptions, name: &str, text: &str, mode: u32) {
        fs::create_dir_all(&options.dir).expect("a directory");
        let path = options.dir.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("the mode");
    }

    fn words(secrets: &WebhookSecrets) -> Vec<&[u8]> {
        secrets.iter().collect()
    }

    #[test]
    fn the_sandbox_makes_a_secret_once_and_finds_it_again() {
        let (_directory, options) = options();
        let open = || PaymentSecrets::open(&options, ProviderKind::Sandbox).expect("open");
        let (first, second) = (open(), open());
        assert_eq!(words(&first.webhooks), words(&second.webhooks));
        assert_eq!(words(&first.webhooks).len(), 1);
        let path = options.dir.join(SANDBOX_WEBHOOKS_FILE);
        let mode = fs::metadata(path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_the_environment_gives_is_used_and_not_written() {
        let (_directory, mut options) = options();
        options.stripe_key = Some("sk_test_0123456789abcdef".to_owned().into());
        options.stripe_webhooks =
            Some("whsec_the_older_one, whsec_the_newer_one".to_owned().into());
        options.sandbox_webhooks = Some("the_sandbox_has_its_own".to_owned().into());
        let stripe = PaymentSecrets::open(&options, ProviderKind::Stripe).expect("open");
        let key = stripe.stripe_key.as_deref().map(String::as_str);
        assert_eq!(key, Some("sk_test_0123456789abcdef"));
        let webhooks = words(&stripe.webhooks);
        assert_eq!(
            webhooks,
            [&b"whsec_the_older_one"[..], b"whsec_the_newer_one"]
        );
        let sandbox = PaymentSecrets::open(&options, ProviderKind::Sandbox).expect("open");
        assert_eq!(words(&sandbox.webhooks), [b"the_sandbox_has_its_own"]);
        assert!(!options.dir.exists());
        for shown in [format!("{options:?}"), format!("{stripe:?}")] {
            assert!(
                !shown.contains("whsec") && !shown.contains("sk_test"),
                "{shown}"
            );
        }
    }

    #[test]
    fn stripe_reads_its_files_and_does_without_webhooks() {
        let (_directory, options) = options();
        let open = || PaymentSecrets::open(&options, ProviderKind::Stripe);
        let said = format!("{:#}", open().expect_err("no key"));
        assert!(
            said.contains("LAYBY_STRIPE_SECRET_KEY") && said.contains("stripe.key"),
            "{said}"
        );
        write(
            &options,
            STRIPE_KEY_FILE,
            "sk_test_0123456789abcdef\n",
            0o600,
        );
        assert!(open().expect("a key is enough").webhooks.is_empty());
        let two = "# of May\nwhsec_the_older_one\n\nwhsec_the_newer_one\n";
        write(&options, STRIPE_WEBHOOKS_FILE, two, 0o600);
        assert_eq!(words(&open().expect("open").webhooks).len(), 2);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let (_directory, options) = options();
        write(&options, STRIPE_KEY_FILE, "sk_test_0123456789abcdef", 0o644);
        let error =
            PaymentSecrets::open(&options, ProviderKind::Stripe).expect_err("open to others");
        let said = format!("{error:#}");
        assert!(
            said.contains("stripe.key") && said.contains("644"),
            "{said}"
        );
    }

    #[test]
    fn what_is_no_secret_is_refused_by_place_and_not_repeated() {
        let many = ["whsec_of_sixteen_characters"; 9].join(",");
        let cases = [
            "short",
            "",
            "whsec_the_good_one,hunter2",
            "with a space in it",
            &many,
        ];
        for text in cases {
            let said = format!("{:#}", WebhookSecrets::parse(text).expect_err(text));
            assert!(said.contains("secret"), "{said}");
            assert!(
                !said.contains("hunter2") && !said.contains("whsec"),
                "{said}"
            );
        }
    }
}
