//! Settings: a flag, else `LAYBY_...` in the environment, else `layby.toml`, else a default that works as it is.
//!
//! **Invariant:** nothing else reads the environment.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::accounts::passwords::PoolOptions;
use crate::actors::{BreakerOptions, EngineOptions, PaymentTimes, PersonLimits};
use crate::calendar::ShopCalendar;
use crate::domain::Span;
use crate::gateways::mail::MailOptions;
use crate::gateways::payment::{PaymentOptions, ProviderKind, SandboxPlan};
use crate::http::HttpOptions;
use crate::http::client_address::TrustedProxies;
use crate::secrets::SecretsOptions;

const CONFIG_FILE: &str = "layby.toml";

/// Where the data is: asked by every command.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreOptions {
    /// File with settings; a missing `layby.toml` is fine, a missing file that was named is not
    #[arg(long, env = "LAYBY_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Directory of the journal, the embedded database and the secrets [default: ./layby-data]
    #[arg(long, env = "LAYBY_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// `mysql://user:password@host/database` or `sqlite://file` [default: `SQLite` in the data directory]
    #[arg(
        long,
        env = "LAYBY_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database_url: Option<String>,
    /// Directory of the keys: `token.keys`, `seal.keys`, `index.key` [default: `secrets` in the data directory]
    #[arg(long, env = "LAYBY_SECRETS_DIR", value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or a filter such as `layby=debug` [default: info]
    #[arg(long, env = "LAYBY_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// How to serve.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeOptions {
    /// Address and port; port 0 takes a free one and prints it [default: 127.0.0.1:8080]
    #[arg(long, env = "LAYBY_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<SocketAddr>,
    /// Set up a demo shop and write its ids and tokens to `demo.json` in the data directory
    #[arg(long, env = "LAYBY_DEMO", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub demo: Option<bool>,
    /// Length of a day of the demo clock in seconds: paid orders are shipped after one and delivered after two; 0 stops it [default: 86400 with --demo, else 0]
    #[arg(long, env = "LAYBY_DEMO_DAY_SECONDS", value_name = "SECONDS")]
    pub demo_day_seconds: Option<u32>,
    /// `redis://host:port`, for limits that several servers share; without it each keeps its own [default: none]
    #[arg(
        long,
        env = "LAYBY_REDIS_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub redis_url: Option<String>,
    /// Where mail goes: `smtp://user:password@host`, `smtps://...` or `file:DIR` [default: `outbox` in the data directory]
    #[arg(
        long,
        env = "LAYBY_MAIL_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub mail_url: Option<String>,
    /// Who mail is from [default: Layby <no-reply@localhost>]
    #[arg(long, env = "LAYBY_MAIL_FROM", value_name = "ADDRESS")]
    pub mail_from: Option<String>,
    /// PEM file with a certificate to trust as the mail server's root, beside the public ones
    #[arg(long, env = "LAYBY_MAIL_CA_FILE", value_name = "FILE")]
    pub mail_ca_file: Option<PathBuf>,
    /// Letters to buyers about their orders: on or off [default: on]
    #[arg(long, env = "LAYBY_ORDER_LETTERS", value_name = "ON|OFF")]
    pub order_letters: Option<Switch>,
    /// Addresses and nets of reverse proxies whose `X-Forwarded-For` is believed: `127.0.0.1,10.0.0.0/8` [default: none]
    #[arg(long, env = "LAYBY_TRUSTED_PROXIES", value_name = "NETS")]
    pub trusted_proxies: Option<String>,
    /// Time zone in which the shop counts days, as for the end of a return window [default: Asia/Seoul]
    #[arg(long, env = "LAYBY_TIME_ZONE", value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// Threads that hash passwords [default: half of the cores]
    #[arg(long, env = "LAYBY_PASSWORD_THREADS", value_name = "N")]
    pub password_threads: Option<usize>,
    /// HTTP worker threads [default: one a core]
    #[arg(long, env = "LAYBY_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// Live streams (Server-Sent Events) open at once; the next is told 503 [default: 20000]
    #[arg(long, env = "LAYBY_LIVE_STREAMS_MAX", value_name = "N")]
    pub live_streams_max: Option<usize>,
    /// Commands in flight at the engine; the next is told 503 [default: 16384]
    #[arg(long, env = "LAYBY_IN_FLIGHT_MAX", value_name = "N")]
    pub in_flight_max: Option<usize>,
    /// Payments under way, and refunds due; the next is told 503 [default: 65536]
    #[arg(long, env = "LAYBY_PAYMENTS_PENDING_MAX", value_name = "N")]
    pub payments_pending_max: Option<usize>,
    /// Size of a journal segment in MiB [default: 64]
    #[arg(long, env = "LAYBY_JOURNAL_SEGMENT_MIB", value_name = "MIB")]
    pub journal_segment_mib: Option<u64>,
    /// Journal that the database may lag behind, in MiB, before new holds are refused [default: 8192]
    #[arg(long, env = "LAYBY_JOURNAL_BUDGET_MIB", value_name = "MIB")]
    pub journal_budget_mib: Option<u64>,
    /// Journal kept although the database has it, in MiB [default: 1024]
    #[arg(long, env = "LAYBY_JOURNAL_RETENTION_MIB", value_name = "MIB")]
    pub journal_retention_mib: Option<u64>,
    /// Orders with a live hold that a person has at once; the next is told 429; 0: no limit [default: 50, with --demo 0]
    #[arg(long, env = "LAYBY_OPEN_ORDERS_MAX", value_name = "N")]
    pub open_orders_max: Option<usize>,
    /// Holds that a person lets end unpaid within an hour; the next is told 429; 0: no limit [default: 120, with --demo 0]
    #[arg(long, env = "LAYBY_ENDED_HOLDS_MAX", value_name = "N")]
    pub ended_holds_max: Option<usize>,
    /// Memory for orders that are done, kept for a day for repeated requests, in MiB; beyond it no new holds [default: 2048]
    #[arg(long, env = "LAYBY_SETTLED_MEMORY_MIB", value_name = "MIB")]
    pub settled_memory_mib: Option<u64>,
    /// How long units are kept for somebody on the waitlist, in seconds [default: 120]
    #[arg(long, env = "LAYBY_OFFER_SECONDS", value_name = "S")]
    pub offer_seconds: Option<u32>,
    /// How long a buyer waits for the payment before being told 202, in ms [default: 3000]
    #[arg(long, env = "LAYBY_PAYMENT_ANSWER_MS", value_name = "MS")]
    pub payment_answer_ms: Option<u64>,
    /// How long a call of the payment provider may take, from when it is sent, in ms [default: 30000]
    #[arg(long, env = "LAYBY_PAYMENT_CALL_MS", value_name = "MS")]
    pub payment_call_ms: Option<u64>,
    /// Charges sent to the payment provider at once, and look-ups and refunds beside them; the next waits its turn [default: 64]
    #[arg(long, env = "LAYBY_PAYMENT_CALLS_MAX", value_name = "N")]
    pub payment_calls_max: Option<usize>,
    /// Calls in a row without an answer of the provider's own after which nobody starts to pay [default: 10]
    #[arg(long, env = "LAYBY_PAYMENT_UNCLEAR_MAX", value_name = "N")]
    pub payment_unclear_max: Option<u32>,
    /// How long nobody starts to pay then, unless an answer comes before, in ms [default: 5000]
    #[arg(long, env = "LAYBY_PAYMENT_PAUSE_MS", value_name = "MS")]
    pub payment_pause_ms: Option<u64>,
    /// Who takes the money: sandbox or stripe [default: sandbox]
    #[arg(long, env = "LAYBY_PAYMENT_PROVIDER", value_name = "NAME")]
    pub payment_provider: Option<String>,
    /// Where Stripe's API is [default: <https://api.stripe.com>]
    #[arg(long, env = "LAYBY_STRIPE_URL", value_name = "URL")]
    pub stripe_url: Option<String>,
    /// Seed of the sandbox provider's misbehaviour [default: 1]
    #[arg(long, env = "LAYBY_SANDBOX_SEED", value_name = "N")]
    pub sandbox_seed: Option<u64>,
    /// Share of payments that the sandbox declines, 0 to 1 [default: 0]
    #[arg(long, env = "LAYBY_SANDBOX_DECLINE_RATE", value_name = "RATE")]
    pub sandbox_decline_rate: Option<f64>,
    /// Share that it answers late [default: 0]
    #[arg(long, env = "LAYBY_SANDBOX_LATE_RATE", value_name = "RATE")]
    pub sandbox_late_rate: Option<f64>,
    /// Share that it answers more than once [default: 0]
    #[arg(long, env = "LAYBY_SANDBOX_DUPLICATE_RATE", value_name = "RATE")]
    pub sandbox_duplicate_rate: Option<f64>,
    /// Share that it takes and never answers [default: 0]
    #[arg(long, env = "LAYBY_SANDBOX_TIMEOUT_RATE", value_name = "RATE")]
    pub sandbox_timeout_rate: Option<f64>,
    /// Share that is followed by a stale decline [default: 0]
    #[arg(long, env = "LAYBY_SANDBOX_OUT_OF_ORDER_RATE", value_name = "RATE")]
    pub sandbox_out_of_order_rate: Option<f64>,
    /// How late a late answer is, in ms [default: 5000]
    #[arg(long, env = "LAYBY_SANDBOX_LATE_MS", value_name = "MS")]
    pub sandbox_late_ms: Option<u64>,
}

/// Something that is done or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    On,
    Off,
}

/// `layby.toml`: the same keys as the options, with `_` for `-`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    data_dir: Option<PathBuf>,
    database_url: Option<String>,
    secrets_dir: Option<PathBuf>,
    log: Option<String>,
    #[serde(flatten)]
    serve: ServeOptions,
}

/// Where the data is, settled.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    pub data_dir: PathBuf,
    pub database_url: String,
    pub secrets: SecretsOptions,
    pub log: String,
}

/// How to serve, settled.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    pub store: StoreSettings,
    pub demo: bool,
    /// Zero: orders stay where they are until somebody moves them.
    pub demo_day: Span,
    pub(crate) http: HttpOptions,
    pub(crate) proxies: TrustedProxies,
    pub redis_url: Option<String>,
    pub mail: MailOptions,
    pub order_letters: bool,
    pub(crate) passwords: PoolOptions,
    pub engine: EngineOptions,
    pub calendar: ShopCalendar,
    pub journal_segment_bytes: u64,
    pub journal_retention_bytes: u64,
    pub payments: PaymentOptions,
}

impl StoreSettings {
    pub fn resolve(options: StoreOptions) -> anyhow::Result<Self> {
        let file = ConfigFile::read(options.config.as_deref())?;
        Ok(Self::merge(options, &file))
    }

    fn merge(options: StoreOptions, file: &ConfigFile) -> Self {
        let data_dir = options
            .data_dir
            .or_else(|| file.data_dir.clone())
            .unwrap_or_else(|| "layby-data".into());
        let database_url = options
            .database_url
            .or_else(|| file.database_url.clone())
            .unwrap_or_else(|| format!("sqlite://{}", data_dir.join("layby.db").display()));
        let secrets_dir = options
            .secrets_dir
            .or_else(|| file.secrets_dir.clone())
            .unwrap_or_else(|| data_dir.join("secrets"));
        Self {
            data_dir,
            database_url,
            secrets: secrets_from(secrets_dir),
            log: options
                .log
                .or_else(|| file.log.clone())
                .unwrap_or_else(|| "info".into()),
        }
    }
}

impl ServeSettings {
    pub fn resolve(store: StoreOptions, serve: ServeOptions) -> anyhow::Result<Self> {
        let file = ConfigFile::read(store.config.as_deref())?;
        let store = StoreSettings::merge(store, &file);
        let options = serve.or(file.serve);
        let listen = options
            .listen
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
        let mut http = HttpOptions::new(listen);
        if let Some(workers) = options.workers {
            ensure!(workers > 0, "--workers must be at least 1");
            http.workers = workers;
        }
        if let Some(streams_max) = options.live_streams_max {
            http.streams_max = streams_max;
        }
        Ok(Self {
            store,
            demo: options.demo.unwrap_or(false),
            demo_day: options.demo_day(),
            http,
            proxies: options.proxies()?,
            mail: options.mail(),
            order_letters: options.order_letters != Some(Switch::Off),
            passwords: options.passwords()?,
            engine: options.engine()?,
            calendar: options.calendar()?,
            journal_segment_bytes: mib(options.journal_segment_mib, 64, 1..=1024)?,
            journal_retention_bytes: mib(options.journal_retention_mib, 1024, 0..=1 << 30)?,
            payments: options.payments()?,
            redis_url: options.redis_url,
        })
    }
}

impl ServeOptions {
    /// These options, and those of the file where these say nothing.
    fn or(self, file: Self) -> Self {
        Self {
            listen: self.listen.or(file.listen),
            demo: self.demo.or(file.demo),
            demo_day_seconds: self.demo_day_seconds.or(file.demo_day_seconds),
            redis_url: self.redis_url.or(file.redis_url),
            mail_url: self.mail_url.or(file.mail_url),
            mail_from: self.mail_from.or(file.mail_from),
            mail_ca_file: self.mail_ca_file.or(file.mail_ca_file),
            order_letters: self.order_letters.or(file.order_letters),
            trusted_proxies: self.trusted_proxies.or(file.trusted_proxies),
            time_zone: self.time_zone.or(file.time_zone),
            password_threads: self.password_threads.or(file.password_threads),
            workers: self.workers.or(file.workers),
            live_streams_max: self.live_streams_max.or(file.live_streams_max),
            in_flight_max: self.in_flight_max.or(file.in_flight_max),
            payments_pending_max: self.payments_pending_max.or(file.payments_pending_max),
            journal_segment_mib: self.journal_segment_mib.or(file.journal_segment_mib),
            journal_budget_mib: self.journal_budget_mib.or(file.journal_budget_mib),
            journal_retention_mib: self.journal_retention_mib.or(file.journal_retention_mib),
            open_orders_max: self.open_orders_max.or(file.open_orders_max),
            ended_holds_max: self.ended_holds_max.or(file.ended_holds_max),
            settled_memory_mib: self.settled_memory_mib.or(file.settled_memory_mib),
            offer_seconds: self.offer_seconds.or(file.offer_seconds),
            payment_answer_ms: self.payment_answer_ms.or(file.payment_answer_ms),
            payment_call_ms: self.payment_call_ms.or(file.payment_call_ms),
            payment_calls_max: self.payment_calls_max.or(file.payment_calls_max),
            payment_unclear_max: self.payment_unclear_max.or(file.payment_unclear_max),
            payment_pause_ms: self.payment_pause_ms.or(file.payment_pause_ms),
            payment_provider: self.payment_provider.or(file.payment_provider),
            stripe_url: self.stripe_url.or(file.stripe_url),
            sandbox_seed: self.sandbox_seed.or(file.sandbox_seed),
            sandbox_decline_rate: self.sandbox_decline_rate.or(file.sandbox_decline_rate),
            sandbox_late_rate: self.sandbox_late_rate.or(file.sandbox_late_rate),
            sandbox_duplicate_rate: self.sandbox_duplicate_rate.or(file.sandbox_duplicate_rate),
            sandbox_timeout_rate: self.sandbox_timeout_rate.or(file.sandbox_timeout_rate),
            sandbox_out_of_order_rate: self
                .sandbox_out_of_order_rate
                .or(file.sandbox_out_of_order_rate),
            sandbox_late_ms: self.sandbox_late_ms.or(file.sandbox_late_ms),
        }
    }

    fn proxies(&self) -> anyhow::Result<TrustedProxies> {
        let nets = self.trusted_proxies.as_deref().unwrap_or_default();
        nets.parse()
            .with_context(|| format!("trusted_proxies = `{nets}` is not right"))
    }

    fn mail(&self) -> MailOptions {
        let defaults = MailOptions::default();
        MailOptions {
            url: self.mail_url.clone(),
            from: self.mail_from.clone().unwrap_or(defaults.from),
            ca_file: self.mail_ca_file.clone(),
        }
    }

    fn passwords(&self) -> anyhow::Result<PoolOptions> {
        let mut options = PoolOptions::default();
        if let Some(threads) = self.password_threads {
            ensure!(
                (1..=64).contains(&threads),
                "password_threads = {threads} is not between 1 and 64"
            );
            options.threads = threads;
        }
        Ok(options)
    }

    fn demo_day(&self) -> Span {
        const DAY_SECONDS: u32 = 86_400;
        let usual = if self.demo == Some(true) {
            DAY_SECONDS
        } else {
            0
        };
        Span::from_secs(self.demo_day_seconds.unwrap_or(usual))
    }

    fn calendar(&self) -> anyhow::Result<ShopCalendar> {
        let name = self.time_zone.as_deref();
        ShopCalendar::in_zone(name.unwrap_or(ShopCalendar::ZONE_DEFAULT))
            .context("time_zone is not right")
    }

    fn engine(&self) -> anyhow::Result<EngineOptions> {
        let defaults = EngineOptions::default();
        ensure!(
            self.in_flight_max != Some(0) && self.payments_pending_max != Some(0),
            "in_flight_max and payments_pending_max must be at least 1"
        );
        ensure!(
            self.payment_calls_max != Some(0) && self.payment_unclear_max != Some(0),
            "payment_calls_max and payment_unclear_max must be at least 1"
        );
        Ok(EngineOptions {
            in_flight_max: self.in_flight_max.unwrap_or(defaults.in_flight_max),
            payments_pending_max: self
                .payments_pending_max
                .unwrap_or(defaults.payments_pending_max),
            journal_budget_bytes: mib(self.journal_budget_mib, 8192, 1..=1 << 30)?,
            settled_memory_bytes: mib(self.settled_memory_mib, 2048, 1..=1 << 30)?,
            person: self.person(),
            offer_ttl: self.offer_ttl(defaults.offer_ttl)?,
            payment_times: self.payment_times(),
            payment_calls_max: self.payment_calls_max.unwrap_or(defaults.payment_calls_max),
            breaker: self.breaker(),
            ..defaults
        })
    }

    /// A demo is there to be stressed, with few buyers.
    fn person(&self) -> PersonLimits {
        let defaults = match self.demo {
            Some(true) => PersonLimits::NONE,
            Some(false) | None => PersonLimits::default(),
        };
        PersonLimits {
            open_orders_max: self.open_orders_max.unwrap_or(defaults.open_orders_max),
            ended_holds_max: self.ended_holds_max.unwrap_or(defaults.ended_holds_max),
        }
    }

    fn payment_times(&self) -> PaymentTimes {
        let times = PaymentTimes::default();
        let or = |setting: Option<u64>, default| setting.map_or(default, Duration::from_millis);
        PaymentTimes {
            answer_within: or(self.payment_answer_ms, times.answer_within),
            call_within: or(self.payment_call_ms, times.call_within),
            ..times
        }
    }

    fn offer_ttl(&self, default: Span) -> anyhow::Result<Span> {
        const SECONDS_MAX: u32 = 86_400;
        let Some(seconds) = self.offer_seconds else {
            return Ok(default);
        };
        ensure!(
            (1..=SECONDS_MAX).contains(&seconds),
            "offer_seconds = {seconds} is not between 1 and {SECONDS_MAX}"
        );
        Ok(Span::from_secs(seconds))
    }

    fn breaker(&self) -> BreakerOptions {
        let defaults = BreakerOptions::default();
        let pause = self.payment_pause_ms.map(|ms| ms.saturating_mul(1_000));
        BreakerOptions {
            unclear_max: self.payment_unclear_max.unwrap_or(defaults.unclear_max),
            pause: pause.map_or(defaults.pause, Span::from_micros_u64),
        }
    }

    fn payments(&self) -> anyhow::Result<PaymentOptions> {
        let name = self.payment_provider.as_deref();
        let provider = match name {
            None => ProviderKind::default(),
            Some(name) => ProviderKind::parse(name).with_context(|| {
                let names = ProviderKind::NAMES.join("` or `");
                format!("payment_provider = `{name}` is not `{names}`")
            })?,
        };
        Ok(PaymentOptions {
            provider,
            stripe_url: self
                .stripe_url
                .clone()
                .unwrap_or_else(|| "https://api.stripe.com".into()),
            call_within: self.payment_times().call_within,
            sandbox: self.sandbox()?,
        })
    }

    fn sandbox(&self) -> anyhow::Result<SandboxPlan> {
        let defaults = SandboxPlan::default();
        Ok(SandboxPlan {
            seed: self.sandbox_seed.unwrap_or(defaults.seed),
            decline_rate: rate("sandbox_decline_rate", self.sandbox_decline_rate)?,
            late_rate: rate("sandbox_late_rate", self.sandbox_late_rate)?,
            duplicate_rate: rate("sandbox_duplicate_rate", self.sandbox_duplicate_rate)?,
            timeout_rate: rate("sandbox_timeout_rate", self.sandbox_timeout_rate)?,
            out_of_order_rate: rate("sandbox_out_of_order_rate", self.sandbox_out_of_order_rate)?,
            late_by: self
                .sandbox_late_ms
                .map_or(defaults.late_by, Duration::from_millis),
            ..defaults
        })
    }
}

impl ConfigFile {
    fn read(named: Option<&Path>) -> anyhow::Result<Self> {
        let path = named.unwrap_or(Path::new(CONFIG_FILE));
        if named.is_none() && !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the settings in `{}`", path.display()))?;
        toml::from_str(&text)
            .with_context(|| format!("the settings in `{}` are not right", path.display()))
    }
}

/// Keys may come from the environment, never from an option or a settings file, where others could see them.
#[expect(clippy::disallowed_methods, reason = "these are settings")]
fn secrets_from(dir: PathBuf) -> SecretsOptions {
    let secret = |name| std::env::var(name).ok().filter(|it| !it.is_empty());
    SecretsOptions {
        dir,
        token_keys: secret("LAYBY_TOKEN_KEYS").map(Zeroizing::new),
        seal_keys: secret("LAYBY_SEAL_KEYS").map(Zeroizing::new),
        index_key: secret("LAYBY_INDEX_KEY").map(Zeroizing::new),
        stripe_key: secret("LAYBY_STRIPE_SECRET_KEY").map(Zeroizing::new),
        stripe_webhooks: secret("LAYBY_STRIPE_WEBHOOK_SECRETS").map(Zeroizing::new),
        sandbox_webhooks: secret("LAYBY_SANDBOX_WEBHOOK_SECRETS").map(Zeroizing::new),
    }
}

/// The password of an admin to be made.
#[expect(clippy::disallowed_methods, reason = "this is a setting")]
pub(crate) fn admin_password() -> Option<Zeroizing<String>> {
    std::env::var("LAYBY_ADMIN_PASSWORD")
        .ok()
        .map(Zeroizing::new)
}

fn mib(
    value: Option<u64>,
    default: u64,
    allowed: std::ops::RangeInclusive<u64>,
) -> anyhow::Result<u64> {
    let mib = value.unwrap_or(default);
    if !allowed.contains(&mib) {
        bail!(
            "{mib} MiB is not between {} and {} MiB",
            allowed.start(),
            allowed.end()
        );
    }
    Ok(mib << 20)
}

fn rate(name: &str, value: Option<f64>) -> anyhow::Result<f64> {
    let rate = value.unwrap_or(0.0);
    ensure!(
        (0.0..=1.0).contains(&rate),
        "{name} = {rate} is not between 0 and 1"
    );
    Ok(rate)
}
