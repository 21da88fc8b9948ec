//! The load test of Layby: rehearses a flash sale and checks its books, or compares the server with its peers.
//!
//! One thread does everything, because the generator usually shares the cores with the server that it measures.
//! Deliberately absent: any knowledge of Layby's inside; what a client cannot see is not evidence.

mod api;
mod busy_account;
mod buyers;
mod cli;
mod clock;
mod closed_loop;
mod compare;
mod flash_sale;
mod http;
mod latency;
mod live;
mod machine;
mod open_loop;
mod own_directory;
mod peers;
mod process;
mod progress;
mod report;
mod server;
mod settle;
mod side_by_side;
mod sign_ins;
mod signing;
mod workload;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{CommandFactory, Parser, error::ErrorKind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use cli::{Cli, Misuse, Scenario};
use report::{Report, write_json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXIT_FAULT: u8 = 1;
const EXIT_BOOKS_WRONG: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(Misuse(why)) = cli.validate() {
        Cli::command().error(ErrorKind::ValueValidation, why).exit();
    }
    match start(cli.scenario) {
        Ok(code) => code,
        Err(err) => explain(&err),
    }
}

fn start(scenario: Scenario) -> Result<ExitCode> {
    raise_limit_of_open_files();
    if let Scenario::NoOpServer(options) = &scenario {
        peers::serve_no_op(options)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Dropping the scenario stops the processes that it has started.
        tokio::select! {
            result = run(scenario) => result,
            () = interrupted() => bail!("interrupted; nothing was judged"),
        }
    })
}

async fn run(scenario: Scenario) -> Result<ExitCode> {
    match scenario {
        Scenario::FlashSale(options) => {
            let json = options.json.clone();
            finish(&flash_sale::run(options).await?, json.as_deref())
        }
        Scenario::Latency(options) => {
            finish(&latency::run(&options).await?, options.load.json.as_deref())
        }
        Scenario::Live(options) => {
            finish(&live::run(&options).await?, options.load.json.as_deref())
        }
        Scenario::SignIns(options) => finish(
            &sign_ins::run(&options).await?,
            options.load.json.as_deref(),
        ),
        Scenario::BusyAccount(options) => finish(
            &busy_account::run(&options).await?,
            options.load.json.as_deref(),
        ),
        Scenario::Compare(options) => {
            finish_comparison(&compare::run(&options).await?, options.load.json.as_deref())
        }
        Scenario::ManyProducts(options) => finish_comparison(
            &compare::run_many_products(&options).await?,
            options.load.json.as_deref(),
        ),
        Scenario::NoOpServer(_) => bail!("the no-op server needs a runtime of its own"),
    }
}

fn finish(report: &Report, json: Option<&std::path::Path>) -> Result<ExitCode> {
    report.print()?;
    write_json(report, json)?;
    Ok(if report.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_BOOKS_WRONG)
    })
}

fn finish_comparison(
    comparison: &compare::Comparison,
    json: Option<&std::path::Path>,
) -> Result<ExitCode> {
    comparison.print()?;
    write_json(comparison, json)?;
    Ok(ExitCode::SUCCESS)
}

fn explain(err: &anyhow::Error) -> ExitCode {
    if let Some(Misuse(why)) = err.downcast_ref() {
        Cli::command().error(ErrorKind::ValueValidation, why).exit();
    }
    // Nobody is left to tell if this fails.
    drop(writeln!(std::io::stderr(), "error: {err:#}"));
    ExitCode::from(EXIT_FAULT)
}

/// Ctrl-C or a polite request to end. Without signals there is nothing to wait for.
async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Every connection is an open file, and the usual soft limit of 1024 is below what a sale needs.
fn raise_limit_of_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // If it cannot be raised, opening the connections says so.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}
