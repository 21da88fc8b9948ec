//! The HTTP server: its workers, its limits, and an engine handle for each worker.
//!
//! It is put together from the parts of `actix_web::HttpServer` and not by it, because that one keeps the connection of
//! an answer for as long as the answer lasts, with all its buffers: too much for thousands of live streams (see `live`).

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_service::{ServiceFactoryExt, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, Server, fn_service};
use actix_web::web::Data;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};

use super::admin::export::Exports;
use super::client_address::TrustedProxies;
use super::health::Lag;
use super::live::{Admission, Connection, Hub};
use crate::accounts::Accounts;
use crate::actors::EngineLink;
use crate::gateways::payment::WebhookVerifier;
use crate::persistence::database::Database;
use crate::persistence::journey::Journeys;

#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpOptions {
    pub(crate) listen: SocketAddr,
    pub(crate) workers: usize,
    /// Connections of one worker; the next waits in the kernel's queue.
    pub(crate) connections_max: usize,
    /// Live streams of the server; the next is told 503. They are no longer among the connections of a worker.
    pub(crate) streams_max: usize,
    /// How long a request head may take.
    pub(crate) head_within: Duration,
    /// How long a connection may be idle between requests.
    pub(crate) keep_alive: Duration,
    /// How long open connections are given at shutdown.
    pub(crate) shutdown_within: Duration,
}

/// What the routes need.
#[derive(Clone)]
pub(crate) struct HttpParts {
    pub(crate) engine: EngineLink,
    pub(crate) database: Database,
    pub(crate) accounts: Accounts,
    pub(crate) journeys: Journeys,
    pub(crate) proxies: TrustedProxies,
    pub(crate) lag: Lag,
    pub(crate) webhooks: WebhookVerifier,
}

/// A server at work.
pub(crate) struct Serving {
    /// To be awaited.
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    /// To be closed before the server is stopped.
    pub(crate) streams: Admission,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; is another server running there? choose another with --listen"
)]
pub(crate) struct ServerError {
    address: SocketAddr,
    source: std::io::Error,
}

impl HttpOptions {
    /// Live streams of the server and connections of each worker, so that all of them together never use up the files
    /// that the journal needs. If there are too few, two in three go to streams: a page has one open all the time, and
    /// asks for something else now and then.
    fn within(&self, open_files_max: u64) -> (usize, usize) {
        let files = open_files_max.saturating_sub(FILES_RESERVED).max(8);
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let streams = self.streams_max.min(files / 3 * 2);
        let share = (files - streams) / self.workers.max(1);
        (streams, share.clamp(1, self.connections_max))
    }

    pub(crate) fn new(listen: SocketAddr) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            listen,
            workers: cores,
            connections_max: 25_000,
            streams_max: 20_000,
            head_within: Duration::from_secs(5),
            keep_alive: Duration::from_secs(75),
            shutdown_within: Duration::from_secs(5),
        }
    }
}

/// Connections that the kernel keeps while the workers are busy: a sale opens with all of them at once.
const BACKLOG: u32 = 8_192;
/// How long a client is given to take the end of an answer after which its connection is closed.
const DISCONNECT_WITHIN: Duration = Duration::from_secs(1);
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

impl std::fmt::Debug for Serving {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Serving")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Binds and starts the workers. Must be called within a tokio runtime.
pub(crate) fn serve(options: HttpOptions, parts: HttpParts) -> Result<Serving, ServerError> {
    let failed = |source| ServerError {
        address: options.listen,
        source,
    };
    let (streams_max, connections_max) = options.within(open_files_max());
    if streams_max < options.streams_max {
        tracing::info!(
            "the limit of open files lets {streams_max} live streams be open, not {}",
            options.streams_max
        );
    }
    let streams = Admission::new(streams_max);
    let listener = listen(options.listen).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let builder = Server::build()
        .workers(options.workers)
        .max_concurrent_connections(connections_max)
        .shutdown_timeout(options.shutdown_within.as_secs())
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let proxies = Data::new(parts.proxies.clone());
    let exports = Data::new(Exports::default());
    let webhooks = Data::new(parts.webhooks.clone());
    let admission = streams.clone();
    let worker = move || {
        let engine = parts.engine.connect();
        let gate = parts.accounts.gate();
        let app = App::new()
            .wrap(super::default_headers())
            .app_data(Data::new(engine.clone()))
            .app_data(Data::new(parts.database.clone()))
            .app_data(Data::new(gate.clone()))
            .app_data(Data::new(parts.accounts.clone()))
            .app_data(Data::new(parts.journeys.clone()))
            .app_data(exports.clone())
            .app_data(proxies.clone())
            .app_data(Data::new(Arc::clone(&parts.lag)))
            .app_data(webhooks.clone())
            .app_data(Data::new(Hub::new(engine, gate, admission.clone())))
            .configure(super::configure);
        let stopping = stopping.clone();
        let http = HttpService::build()
            .client_request_timeout(options.head_within)
            .client_disconnect_timeout(DISCONNECT_WITHIN)
            .keep_alive(options.keep_alive)
            .local_addr(address)
            // Connections that are idle between requests end at once when the server stops.
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .on_connect_ext(|connection: &Connection, to_handlers| {
                connection.introduce(to_handlers)
            })
            .h1(map_config(app, |()| AppConfig::default()));
        fn_service(|socket: TcpStream| {
            let peer = socket.peer_addr().ok();
            ready(Ok::<_, DispatchError>((Connection::new(socket), peer)))
        })
        .and_then(http)
    };
    let server = builder.listen("http", listener, worker).map_err(failed)?;
    Ok(Serving {
        server: server.run(),
        address,
        streams,
    })
}

fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // After a restart the port is free although connections of the server before are not quite gone.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}
