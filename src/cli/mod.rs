//! The command line, and what its exit codes mean.

mod admin;
mod keys;
mod seed;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::actors::{EngineFailure, ReplayError, StartError};
use crate::config::{ServeOptions, ServeSettings, StoreOptions, StoreSettings};
use crate::notices::PlaceError;
use crate::persistence::following::{Mismatch, ResumeError};
use crate::persistence::journal::{OpenError, ReadError};
use crate::persistence::projection::ResumeProjectionError;
use crate::startup;
use crate::telemetry;

/// A reservation engine for flash sales.
///
/// Exit codes: 0 done; 1 a fault; 2 wrong use; 3 refused to start, the journal is damaged; 4 the journal failed while
/// running; 5 the data directory is in use by another process; 6 refused to start, the journal and the database do not
/// belong together.
#[derive(Debug, Parser)]
#[command(name = "layby", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the shop over HTTP
    Serve {
        #[command(flatten)]
        store: StoreOptions,
        #[command(flatten)]
        serve: Box<ServeOptions>,
    },
    /// Manage admins
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Create or bring up to date the tables of the database
    Migrate {
        #[command(flatten)]
        store: StoreOptions,
    },
    /// Manage keys
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Prove the books: every unit of every product, from the journal and the database
    Verify {
        #[command(flatten)]
        store: StoreOptions,
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Make buyers with ready tokens for a load test
    Seed {
        #[command(flatten)]
        store: StoreOptions,
        /// How many
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
        buyers: u32,
        /// Where to write `user_id,token`, a line each; the tokens are good for a day
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the `OpenAPI` document
    Openapi,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Create an admin and print its id and a token that is good for a day
    Create {
        #[command(flatten)]
        store: StoreOptions,
        #[command(flatten)]
        who: admin::Who,
    },
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Add a key and seal the data key of every account with it, beside a stopped or running server
    Rotate {
        #[command(flatten)]
        store: StoreOptions,
        /// Add a key that signs access tokens instead
        #[arg(long)]
        tokens: bool,
    },
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match carry_out(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("layby: {error:#}");
            exit_code(&error)
        }
    }
}

fn carry_out(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { store, serve } => {
            let settings = ServeSettings::resolve(store, *serve)?;
            telemetry::start(&settings.store.log)?;
            block_on(startup::serve(settings))?;
        }
        Command::Admin {
            command: AdminCommand::Create { store, who },
        } => block_on(admin::create(resolved(store)?, who))?,
        Command::Keys {
            command: KeysCommand::Rotate { store, tokens },
        } => block_on(keys::rotate(resolved(store)?, tokens))?,
        Command::Migrate { store } => block_on(startup::migrate(resolved(store)?))?,
        Command::Verify { store, json } => {
            return block_on(verify::run(resolved(store)?, json));
        }
        Command::Seed { store, buyers, out } => {
            block_on(seed::run(resolved(store)?, buyers, out))?;
        }
        Command::Openapi => {
            let document = crate::http::openapi::document();
            println!("{}", document.to_pretty_json()?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn resolved(store: StoreOptions) -> anyhow::Result<StoreSettings> {
    let settings = StoreSettings::resolve(store)?;
    telemetry::start(&settings.log)?;
    Ok(settings)
}

fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    actix_web::rt::System::new().block_on(command)
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    const DAMAGED: u8 = 3;
    const JOURNAL_FAILED: u8 = 4;
    const IN_USE: u8 = 5;
    const NOT_TOGETHER: u8 = 6;
    if let Some(EngineFailure::Journal(_)) = error.downcast_ref() {
        return ExitCode::from(JOURNAL_FAILED);
    }
    match resume_error(error) {
        // The end of the journal is missing, or a piece of it.
        Some(
            ResumeError::Mismatch(Mismatch::Ahead { .. })
            | ResumeError::Read(ReadError::Damaged { .. }),
        ) => return ExitCode::from(DAMAGED),
        Some(ResumeError::Mismatch(_)) => return ExitCode::from(NOT_TOGETHER),
        Some(ResumeError::Read(_)) | None => {}
    }
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(OpenError::Damaged { .. }), _)
        | (
            _,
            Some(StartError::Replay(ReplayError::Impossible { .. } | ReplayError::Codec { .. })),
        ) => ExitCode::from(DAMAGED),
        (_, Some(StartError::SqlAhead { .. } | StartError::Read(ReadError::Damaged { .. }))) => {
            ExitCode::from(DAMAGED)
        }
        (Some(OpenError::InUse { .. }), _) => ExitCode::from(IN_USE),
        _ => ExitCode::FAILURE,
    }
}

/// Why a follower of the journal has no place in it.
fn resume_error(error: &anyhow::Error) -> Option<&ResumeError> {
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(ResumeProjectionError::Resume(error)), _) => Some(error),
        (_, Some(PlaceError::Resume(error))) => Some(error),
        _ => None,
    }
}
