//! Putting the parts together: store, journal, engine, projection, HTTP; and taking them apart in order.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::accounts::passwords::PasswordPool;
use crate::accounts::token::{TokenIssuer, TokenVerifier};
use crate::accounts::vault::Vault;
use crate::accounts::{self, Accounts, AccountsParts};
use crate::actors::{
    self, EngineFailure, EngineLink, EngineParts, LiveState, Recall, Reload, ReplayBase,
    RunningEngine, Stored,
};
use crate::clock::{Clock, SystemClock};
use crate::config::{ServeSettings, StoreSettings};
use crate::demo;
use crate::demo_clock::DemoClock;
use crate::domain::{BuyerId, Timestamp};
use crate::gateways::mail as mail_transport;
use crate::gateways::payment::{self, Payments, WebhookVerifier};
use crate::http::health::{FollowerHealth, Health, Lag};
use crate::http::{self, HttpParts, Serving};
use crate::mail::{Carrier, CarrierHandle, CarrierOptions, CarrierParts};
use crate::notices::{self, LettersPlace, Notices, NoticesParts};
use crate::persistence::database::{self, Database, Loaded, Loading, Recalled};
use crate::persistence::following::Progress;
use crate::persistence::journal::{
    FileJournal, Journal, LockedJournal, Options, Position, RealDisk, RestCheck, RunningCheck, View,
};
use crate::persistence::journey::Journeys;
use crate::persistence::limits::Limiter;
use crate::persistence::projection::{self, Projection};
use crate::secrets::{self, PaymentSecrets, Secrets};

/// How long SQL is given to catch up when the server stops; the journal has the rest.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(3);

/// Everything but HTTP: journal, database, projection and engine, started in this order.
#[derive(Debug)]
pub struct Service {
    engine: RunningEngine,
    projection: Projection,
    /// Where letters about orders go on, until somebody writes them. `None`: nobody is to.
    place: Option<LettersPlace>,
    notices: Option<Notices>,
    database: Database,
    journeys: Journeys,
    engine_failure: watch::Receiver<Option<EngineFailure>>,
    webhooks: WebhookVerifier,
    journal: View,
    /// What the start did not read of the journal, until that is checked. Dropped, the check ends.
    rest_check: Option<RestCheck<File>>,
    running_check: Option<RunningCheck>,
}

/// Serves until told to stop.
pub async fn serve(settings: ServeSettings) -> anyhow::Result<()> {
    let data_dir = &settings.store.data_dir;
    let mut service = Service::start(&settings).await?;
    let clock = service.link().clock();
    let people = People::start(&settings, &service.database, clock).await?;
    service.start_notices(&settings, &people)?;
    // Before anybody can know that it serves: whoever stops it from then on must find it ready to be stopped.
    let stop = stop_signal()?;
    let Serving {
        server,
        address,
        streams,
    } = http::serve(
        settings.http,
        HttpParts {
            engine: service.link(),
            database: service.database.clone(),
            accounts: people.accounts.clone(),
            journeys: service.journeys.clone(),
            proxies: settings.proxies,
            lag: service.lag(),
            webhooks: service.webhooks.clone(),
        },
    )?;
    let url = format!("http://{address}");
    if settings.demo {
        let engine = service.link().connect();
        demo::set_up(&engine, &people.accounts, data_dir, &url).await?;
    }
    let demo_clock = DemoClock::start(settings.demo_day, &service.link(), &service.database);
    println!("listening on {url}");
    service.check_older_journal()?;
    tracing::info!(%url, data_dir = %data_dir.display(), database = service.database.place(), "layby serves");

    let handle = server.handle();
    let running = tokio::spawn(server);
    let failure = tokio::select! {
        () = stop => None,
        failure = engine_failure(&mut service.engine_failure) => failure,
    };
    streams.close();
    handle.stop(failure.is_none()).await;
    running.await??;
    demo_clock.stop().await;
    people.close().await;
    match failure {
        Some(failure) => Err(failure.into()),
        None => service.close().await,
    }
}

/// Accounts and the mail that they send.
#[derive(Debug)]
struct People {
    accounts: Accounts,
    carrier: CarrierHandle,
    vault: Vault,
}

impl People {
    async fn start(
        settings: &ServeSettings,
        database: &Database,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let secrets = Secrets::open(&settings.store.secrets)?;
        refuse_lost_keys(&secrets, database).await?;
        let vault = Vault::new(&secrets);
        let limits = Limiter::open(settings.redis_url.as_deref(), Arc::clone(&clock))?;
        let carrier = start_carrier(settings, database, &vault, &clock)?;
        let accounts = Accounts::start(AccountsParts {
            database: database.clone(),
            vault: vault.clone(),
            passwords: PasswordPool::start(settings.passwords)?,
            issuer: TokenIssuer::new(Arc::clone(secrets.token_keys())),
            verifier: Arc::new(TokenVerifier::new(Arc::clone(secrets.token_keys()))),
            limits,
            carrier: carrier.clone(),
            clock,
            token_keys: Arc::clone(secrets.token_keys()),
        });
        Ok(Self {
            accounts: accounts.await?,
            carrier,
            vault,
        })
    }

    /// What is noted is written, and the letter in hand sent; the others wait in the outbox.
    async fn close(self) {
        self.accounts.close().await;
        self.carrier.stop().await;
    }
}

/// Keys that were made a moment ago open nothing that is there, and whoever signed up with them would make it worse.
async fn refuse_lost_keys(secrets: &Secrets, database: &Database) -> anyhow::Result<()> {
    let lost = |path: &&PathBuf| !path.ends_with(secrets::TOKEN_KEYS_FILE);
    let Some(path) = secrets.made().iter().find(lost) else {
        return Ok(());
    };
    let sealed = database.data_keys(BuyerId::default(), 1).await?;
    if sealed.is_empty() {
        return Ok(());
    }
    // What was made by mistake must not be taken for the right one at the next start.
    for made in secrets.made() {
        std::fs::remove_file(made)?;
    }
    anyhow::bail!(
        "`{}` is missing, but the database has accounts that were sealed with it; restore it from its copy",
        path.display()
    )
}

fn start_carrier(
    settings: &ServeSettings,
    database: &Database,
    vault: &Vault,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<CarrierHandle> {
    let transport = mail_transport::open(&settings.mail, &settings.store.data_dir)?;
    tracing::info!(mail = transport.place(), "mail goes out");
    let vault = vault.clone();
    Ok(Carrier::start(CarrierParts {
        database: database.clone(),
        transport,
        from: settings.mail.sender()?,
        clock: Arc::clone(clock),
        open: Arc::new(move |letter| accounts::open_letter(&vault, letter)),
        options: CarrierOptions::default(),
    }))
}

impl Service {
    pub async fn start(settings: &ServeSettings) -> anyhow::Result<Self> {
        let store = &settings.store;
        create_data_dir(&store.data_dir)?;
        let locked = lock_journal(settings)?;
        let database = open_database(store).await?;
        warn_of_lost_commits(&database).await;
        let mut journal = open_journal(settings, locked, database.position().await?)?;
        let rest_check = journal.rest_check();
        let view = journal.view();
        let resume = Projection::find(&database, &view).await?;
        let loaded = load(&database).await?;
        let place = find_place(settings, &database, &view, loaded.position).await?;
        let journeys = Journeys::new(View::clone(&view), database.clone());
        let projected = Progress::new(loaded.position);
        let secrets = PaymentSecrets::open(&store.secrets, settings.payments.provider)?;
        let payments = payment::open(&settings.payments, &store.data_dir, secrets)?;
        tracing::info!(
            provider = settings.payments.provider.name(),
            "who takes the money"
        );
        let webhooks = payments.webhooks.clone();
        let (failure, engine_failure) = watch::channel(None);
        let followers = Followers {
            projection: &projected,
            notices: place.as_ref().map(LettersPlace::progress),
        };
        let engine = start_engine(
            settings, journal, loaded, payments, &database, followers, failure,
        )
        .await?;
        fail_on_damage(&view, engine.link());
        // Not before: the replay of the journal may ask SQL for more of what it was loaded from.
        let projection = Projection::start(
            View::clone(&view),
            resume,
            projected,
            database.clone(),
            projection::PACE,
        )?;
        Ok(Self {
            engine,
            projection,
            place,
            notices: None,
            database,
            journeys,
            engine_failure,
            webhooks,
            journal: view,
            rest_check: Some(rest_check),
            running_check: None,
        })
    }

    /// Begins to write letters about orders, if there are to be any.
    fn start_notices(&mut self, settings: &ServeSettings, people: &People) -> anyhow::Result<()> {
        let Some(place) = self.place.take() else {
            return Ok(());
        };
        let parts = NoticesParts {
            database: self.database.clone(),
            vault: people.vault.clone(),
            carrier: people.carrier.clone(),
            clock: self.link().clock(),
            calendar: settings.calendar.clone(),
            projected: self.projection.progress().clone(),
            waiting_max: NoticesParts::WAITING_MAX,
        };
        self.notices = Some(Notices::start(place, parts, notices::PACE)?);
        Ok(())
    }

    /// How far SQL and letters are behind the sale, and how the journal is: for `/readyz` and `/metrics`.
    fn lag(&self) -> Lag {
        let journal = View::clone(&self.journal);
        let projection = self.projection.progress().clone();
        let notices = self.notices.as_ref().map(|it| it.progress().clone());
        Arc::new(move || Health {
            unchecked_segments: journal.unchecked_segments(),
            projection: health_of(&projection),
            notices: notices.as_ref().map(health_of),
        })
    }

    /// Checks what the start did not read. Buyers come first.
    fn check_older_journal(&mut self) -> std::io::Result<()> {
        if let Some(check) = self.rest_check.take() {
            self.running_check = Some(check.start()?);
        }
        Ok(())
    }

    pub fn link(&self) -> EngineLink {
        self.engine.link()
    }

    /// How far SQL has followed.
    pub fn progress(&self) -> &Progress {
        self.projection.progress()
    }

    /// Ends in order: what was admitted is finished, the journal sealed, SQL given a moment to follow.
    pub async fn close(self) -> anyhow::Result<()> {
        drop(self.running_check);
        let closed = self.engine.close().await;
        let last = closed.map_err(|error| EngineFailure::Journal(error.to_string()))?;
        let caught_up = self.projection.progress().wait_for(last);
        if tokio::time::timeout(CATCH_UP_WITHIN, caught_up)
            .await
            .is_err()
        {
            tracing::warn!("the database is behind; it catches up after the next start");
        }
        // Letters that are not written yet are written after the next start.
        if let Some(notices) = self.notices {
            tokio::task::spawn_blocking(|| notices.stop()).await??;
        }
        let projection = self.projection;
        tokio::task::spawn_blocking(|| projection.stop()).await??;
        self.database.close().await;
        tracing::info!("layby has stopped");
        Ok(())
    }
}

/// Brings the tables up to date.
pub async fn migrate(settings: StoreSettings) -> anyhow::Result<()> {
    create_data_dir(&settings.data_dir)?;
    let database = open_database(&settings).await?;
    println!("the tables of {} are up to date", database.place());
    database.close().await;
    Ok(())
}

/// Connects, and brings the tables up to date.
pub(crate) async fn open_database(settings: &StoreSettings) -> anyhow::Result<Database> {
    let database = Database::connect(&settings.database_url, database::Options::default()).await?;
    database.migrate().await?;
    Ok(database)
}

pub(crate) fn create_data_dir(data_dir: &Path) -> anyhow::Result<()> {
    let directory = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir);
    directory.with_context(|| {
        format!(
            "cannot create the data directory `{}`; choose another with --data-dir",
            data_dir.display()
        )
    })
}

/// Signs tokens with the keys of a server, which are made if there are none yet.
pub(crate) fn token_issuer(settings: &StoreSettings) -> anyhow::Result<TokenIssuer> {
    let secrets = Secrets::open(&settings.secrets)?;
    Ok(TokenIssuer::new(Arc::clone(secrets.token_keys())))
}

pub(crate) fn journal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// Live state as SQL has it, with the orders at rest that were placed in the last two days: the keys of one are still
/// kept.
pub(crate) async fn load(database: &Database) -> Result<Loading, database::Error> {
    const TWO_DAYS_US: u64 = 2 * 86_400_000_000;
    let now = SystemClock.now().as_micros();
    let keep_since = Timestamp::from_micros(now.saturating_sub(TWO_DAYS_US));
    database.load_live(keep_since).await
}

/// Comes before anything else: nobody may change the tables of a server that runs.
fn lock_journal(settings: &ServeSettings) -> anyhow::Result<LockedJournal<RealDisk>> {
    let path = journal_dir(&settings.store.data_dir);
    let disk = RealDisk::create(&path)
        .with_context(|| format!("cannot use the journal directory `{}`", path.display()))?;
    Ok(FileJournal::lock(disk)?)
}

/// Reads what lies from the record on to which SQL has followed.
fn open_journal(
    settings: &ServeSettings,
    locked: LockedJournal<RealDisk>,
    followed: Position,
) -> anyhow::Result<FileJournal<RealDisk>> {
    let options = Options {
        segment_bytes: settings.journal_segment_bytes,
        retention_bytes: settings.journal_retention_bytes,
        ..Options::default()
    };
    let (journal, recovery) = locked.open(options, followed)?;
    tracing::info!(
        first = %recovery.first,
        last = %recovery.last,
        unread_segments = recovery.unread,
        torn_tail = ?recovery.torn_tail,
        "the journal is open"
    );
    Ok(journal)
}

/// The journal lets go of what the database has, so the database must not lose it.
async fn warn_of_lost_commits(database: &Database) {
    match database.durability_warnings().await {
        Ok(warnings) => {
            for warning in warnings {
                tracing::warn!("the database: {warning}");
            }
        }
        Err(error) => tracing::warn!(%error, "the database does not say how it commits: {error}"),
    }
}

/// An idle engine would notice damage only when it has something to write.
fn fail_on_damage(journal: &View, engine: EngineLink) {
    journal.on_damage(Box::new(move || engine.nudge()));
}

/// Where letters about orders go on. `None`: they are turned off, and what happens meanwhile will not be told either.
async fn find_place(
    settings: &ServeSettings,
    database: &Database,
    journal: &View,
    projected: Position,
) -> anyhow::Result<Option<LettersPlace>> {
    if !settings.order_letters {
        database.forget_notices().await?;
        return Ok(None);
    }
    let place = LettersPlace::find(database, View::clone(journal), projected);
    Ok(Some(place.await?))
}

/// Who follows the journal.
struct Followers<'a> {
    projection: &'a Progress,
    notices: Option<&'a Progress>,
}

fn position_of(progress: &Progress) -> Box<dyn Fn() -> Position + Send> {
    let progress = progress.clone();
    Box::new(move || progress.position())
}

fn durable_position_of(progress: &Progress) -> Box<dyn Fn() -> Position + Send> {
    let progress = progress.clone();
    Box::new(move || progress.durable_position())
}

async fn start_engine(
    settings: &ServeSettings,
    journal: FileJournal<RealDisk>,
    loaded: Loading,
    payments: Payments,
    database: &Database,
    followers: Followers<'_>,
    failure: watch::Sender<Option<EngineFailure>>,
) -> anyhow::Result<RunningEngine> {
    let engine = actors::start(EngineParts {
        journal: Box::new(journal),
        live: loaded.into(),
        clock: Arc::new(SystemClock),
        calendar: Arc::new(settings.calendar.clone()),
        provider: payments.provider,
        notices: payments.notices,
        options: settings.engine,
        reload: reload(database.clone()),
        recall: recall(database.clone()),
        projected: position_of(followers.projection),
        projected_durably: durable_position_of(followers.projection),
        // Letters are behind SQL; without them SQL is the last.
        followed: durable_position_of(followers.notices.unwrap_or(followers.projection)),
        on_failure: Box::new(move |error| {
            failure.send_replace(Some(error));
        }),
    });
    Ok(engine.await?)
}

fn health_of(progress: &Progress) -> FollowerHealth {
    FollowerHealth {
        position: progress.position().get(),
        connected: !progress.is_away() && !progress.has_ended(),
        problem: progress.problem(),
    }
}

fn reload(database: Database) -> Reload {
    Arc::new(move || {
        let database = database.clone();
        Box::pin(async move { Ok(load(&database).await?.into()) })
    })
}

/// Reads what has left memory.
pub(crate) fn recall(database: Database) -> Recall {
    Arc::new(move |wanted| {
        let database = database.clone();
        Box::pin(async move { Ok(database.recall(wanted.orders, wanted.people).await?.into()) })
    })
}

async fn engine_failure(
    failed: &mut watch::Receiver<Option<EngineFailure>>,
) -> Option<EngineFailure> {
    match failed.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone(),
        Err(_engine_gone) => std::future::pending().await,
    }
}

/// From this call on the process is not killed by a signal to stop; the future ends with the first one.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

impl From<Recalled> for Stored {
    fn from(recalled: Recalled) -> Self {
        Self {
            position: recalled.position,
            orders: recalled.orders,
            people: recalled.people,
        }
    }
}

impl From<Loading> for ReplayBase {
    fn from(loading: Loading) -> Self {
        let orders = loading.orders.map(|order| Ok(order?));
        Self {
            position: loading.position,
            last_stamp: loading.last_stamp,
            products: loading.products,
            orders: Box::new(orders),
        }
    }
}

impl From<Loaded> for LiveState {
    fn from(loaded: Loaded) -> Self {
        Self {
            position: loaded.position,
            last_stamp: loaded.last_stamp,
            products: loaded.products,
            orders: loaded.orders,
        }
    }
}

impl From<LiveState> for Loaded {
    fn from(live: LiveState) -> Self {
        Self {
            position: live.position,
            last_stamp: live.last_stamp,
            products: live.products,
            orders: live.orders,
        }
    }
}
