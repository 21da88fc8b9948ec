//! The HTTP server: its workers, its limits, and an engine handle for each worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::client_address::TrustedProxies;
use super::health::Lag;
use crate::accounts::Accounts;
use crate::actors::EngineLink;
use crate::gateways::payment::WebhookDoor;
use crate::persistence::database::Database;

#[derive(Debug, Clone, Copy)]
pub struct HttpOptions {
    pub listen: SocketAddr,
    pub workers: usize,
    /// Connections of one worker; the next waits in the kernel's queue.
    pub connections_max: usize,
    /// How long a request head may take.
    pub head_within: Duration,
    /// How long a connection may be idle between requests.
    pub keep_alive: Duration,
    /// How long open connections are given at shutdown.
    pub shutdown_within: Duration,
}

/// What the routes need.
#[derive(Clone)]
pub struct HttpParts {
    pub engine: EngineLink,
    pub database: Database,
    pub accounts: Accounts,
    pub proxies: TrustedProxies,
    pub lag: Lag,
    pub webhooks: WebhookDoor,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; is another server running there? choose another with --listen"
)]
pub struct ServerError {
    address: SocketAddr,
    source: std::io::Error,
}

impl HttpOptions {
    /// A worker's connections, so that all of them together never use up the files that the journal needs.
    fn connections_within(&self, open_files_max: u64) -> usize {
        let share =
            open_files_max.saturating_sub(FILES_RESERVED).max(8) / self.workers.max(1) as u64;
        usize::try_from(share)
            .unwrap_or(usize::MAX)
            .clamp(1, self.connections_max)
    }

    pub fn new(listen: SocketAddr) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            listen,
            workers: cores,
            connections_max: 25_000,
            head_within: Duration::from_secs(5),
            keep_alive: Duration::from_secs(75),
            shutdown_within: Duration::from_secs(5),
        }
    }
}

/// Connections that the kernel keeps while the workers are busy: a sale opens with all of them at once.
const BACKLOG: u32 = 8_192;
/// Open files that connections must leave for the journal, the database and the providers.
const FILES_RESERVED: u64 = 128;

/// Raises the number of files that the process may have open as far as it is allowed to, and says how far that is.
fn open_files_max() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let Some(hard) = limit.maximum else {
        return limit.current.unwrap_or(u64::MAX);
    };
    let raised = Rlimit {
        current: Some(hard),
        maximum: Some(hard),
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            limit.current.unwrap_or(hard)
        }
    }
}

impl std::fmt::Debug for HttpParts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("HttpParts").finish_non_exhaustive()
    }
}

/// Binds and starts the workers. Gives the server, to be awaited, and the address it listens on.
pub fn serve(options: HttpOptions, parts: HttpParts) -> Result<(Server, SocketAddr), ServerError> {
    let failed = |source| ServerError {
        address: options.listen,
        source,
    };
    let HttpParts {
        engine,
        database,
        accounts,
        proxies,
        lag,
        webhooks,
    } = parts;
    let proxies = Data::new(proxies);
    let webhooks = Data::new(webhooks);
    let connections_max = options.connections_within(open_files_max());
    let server = HttpServer::new(move || {
        App::new()
            .wrap(super::default_headers())
            .app_data(Data::new(engine.connect()))
            .app_data(Data::new(database.clone()))
            .app_data(Data::new(accounts.gate()))
            .app_data(Data::new(accounts.clone()))
            .app_data(proxies.clone())
            .app_data(Data::new(Arc::clone(&lag)))
            .app_data(webhooks.clone())
            .configure(super::configure)
    })
    .workers(options.workers)
    .max_connections(connections_max)
    .backlog(BACKLOG)
    .client_request_timeout(options.head_within)
    .keep_alive(options.keep_alive)
    .shutdown_timeout(options.shutdown_within.as_secs())
    .disable_signals()
    .bind(options.listen)
    .map_err(failed)?;
    let address = server.addrs().first().copied().unwrap_or(options.listen);
    Ok((server.run(), address))
}
