//! `layby verify`: proves the books from the journal and the database, beside a running or a stopped server.
//!
//! It folds the journal with the same code as the engine, whose assertions are the rules of conservation; compares
//! what comes out with the rows at their position; recounts the rows among themselves; and rehearses a start, so that
//! it finds what a start would refuse.

use std::process::ExitCode;

use serde::Serialize;
use tokio::runtime::Handle;

use crate::accounts::{self, vault::Vault};
use crate::actors::{self, LiveState, ReplayBase, ReplayError, Stored};
use crate::config::StoreSettings;
use crate::domain::{IdMap, Product};
use crate::persistence::database::{self, Database, FollowerName, Loaded};
use crate::persistence::following::{Bookmark, Mismatch, ResumeError};
use crate::persistence::journal::{
    FileJournal, Inspection, JournalReader, OpenError, Position, RealDisk,
};
use crate::secrets::Secrets;
use crate::startup;

#[derive(Debug, Serialize)]
struct Report {
    verdict: &'static str,
    journal: JournalReport,
    /// The record that the database has followed to.
    database_position: u64,
    products: usize,
    orders: usize,
    units: Units,
    /// Everything that is wrong, and where.
    faults: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
struct JournalReport {
    first: u64,
    last: u64,
    segments: usize,
    /// `segment@offset` of an unfinished batch that was never acknowledged.
    torn_tail: Option<String>,
    /// Whether the journal reaches back to its first record, so that everything was proved from nothing.
    complete: bool,
}

/// All products together, as of the end of the journal.
#[derive(Debug, Default, Serialize)]
struct Units {
    total: u64,
    available: u64,
    held: u64,
    offered: u64,
    sold: u64,
    returning: u64,
    withdrawn: u64,
}

pub(super) async fn run(settings: StoreSettings, json: bool) -> anyhow::Result<ExitCode> {
    let report = prove(&settings).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(match report.faults.len() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

async fn prove(settings: &StoreSettings) -> anyhow::Result<Report> {
    let database = Database::connect(&settings.database_url, database::Options::default()).await?;
    database.check_schema().await?;
    let mut faults = database::verify_books(&database).await?;
    faults.extend(broken_log(settings, &database).await?);
    // First SQL, then the journal: beside a running server the journal is then never behind.
    let bookmarks = bookmarks(&database).await?;
    let stored = database.load_all().await?;
    let position = stored.position;
    let path = startup::journal_dir(&settings.data_dir);
    let inspection = match FileJournal::inspect(&RealDisk::open(path)?) {
        Ok(inspection) => inspection,
        Err(damage @ (OpenError::Damaged { .. } | OpenError::UnsupportedVersion { .. })) => {
            faults.push(damage.to_string());
            database.close().await;
            let unread = JournalReport::default();
            return Ok(Report::of(unread, position, &stored.into(), faults));
        }
        Err(error) => return Err(error.into()),
    };

    let mismatches = mismatches(&bookmarks, &inspection)?;
    if !mismatches.is_empty() {
        faults.extend(mismatches);
        database.close().await;
        let journal = JournalReport::of(&inspection);
        return Ok(Report::of(journal, position, &stored.into(), faults));
    }
    let complete = inspection.first.get() <= 1;
    let (journal, last) = (JournalReport::of(&inspection), inspection.last);
    let end = match inspection.reader {
        Some(reader) => fold(reader, &stored, last, complete, &mut faults)?,
        None => LiveState::from(stored),
    };
    faults.extend(rehearse_start(settings, &database).await?);
    database.close().await;
    Ok(Report::of(journal, position, &end, faults))
}

/// Where the rows and the letters stand in the journal.
async fn bookmarks(database: &Database) -> anyhow::Result<Vec<(FollowerName, Bookmark)>> {
    let mut bookmarks = Vec::new();
    for follower in [FollowerName::Projection, FollowerName::Notices] {
        if let Some(bookmark) = database.find_bookmark(follower).await? {
            bookmarks.push((follower, bookmark));
        }
    }
    Ok(bookmarks)
}

/// What a start would refuse. Letters can do without records that are gone.
fn mismatches(
    bookmarks: &[(FollowerName, Bookmark)],
    inspection: &Inspection,
) -> anyhow::Result<Vec<String>> {
    let mut mismatches = Vec::new();
    for (follower, bookmark) in bookmarks {
        let checked = match &inspection.view {
            Some(journal) => bookmark.checked(journal).map(drop),
            None => bookmark.checked_against_nothing(),
        };
        match checked {
            Err(ResumeError::Mismatch(Mismatch::RecordsGone { .. }))
                if *follower == FollowerName::Notices => {}
            Err(ResumeError::Mismatch(mismatch)) => mismatches.push(mismatch.to_string()),
            other => other?,
        }
    }
    mismatches.dedup();
    Ok(mismatches)
}

/// The log of account events, if the key that sealed it is at hand: without one there is nothing to compare with.
async fn broken_log(
    settings: &StoreSettings,
    database: &Database,
) -> anyhow::Result<Option<String>> {
    if settings.secrets.index_key.is_none() && !settings.secrets.index_key_path().exists() {
        return Ok(None);
    }
    let vault = Vault::new(&Secrets::open(&settings.secrets)?);
    let broken = database
        .check_account_events(accounts::chain(&vault))
        .await?;
    Ok(broken.map(|sequence| {
        format!("the log of account events is not as it was written from entry {sequence} on")
    }))
}

/// From nothing if the journal reaches that far back, comparing with the rows on the way; then on to its end.
fn fold(
    mut reader: Box<dyn JournalReader>,
    stored: &Loaded,
    last: Position,
    complete: bool,
    faults: &mut Vec<String>,
) -> anyhow::Result<LiveState> {
    let mut state = LiveState::from(stored.clone());
    if complete {
        let nothing = LiveState::from(Loaded::default());
        let Some(from_nothing) = folded(nothing, reader.as_mut(), stored.position, faults)? else {
            return Ok(state);
        };
        let from_nothing = Loaded::from(from_nothing);
        faults.extend(database::diff(&from_nothing, stored));
        state = from_nothing.into();
    }
    let rest = folded(state, reader.as_mut(), last, faults)?;
    Ok(rest.unwrap_or_else(|| stored.clone().into()))
}

/// `None`: the journal holds an event that breaks the books, and the fault says which rule.
fn folded(
    state: LiveState,
    reader: &mut dyn JournalReader,
    through: Position,
    faults: &mut Vec<String>,
) -> anyhow::Result<Option<LiveState>> {
    // Everything that SQL has is in the state already.
    let position = state.position;
    let mut nothing_more = |_| {
        Ok(Stored {
            position,
            orders: Vec::new(),
            people: IdMap::default(),
        })
    };
    told(
        actors::replay_state(state, reader, through, &mut nothing_more),
        faults,
    )
}

/// A start reads less than everything, and asks SQL for the rest when the journal speaks of it.
async fn rehearse_start(
    settings: &StoreSettings,
    database: &Database,
) -> anyhow::Result<Vec<String>> {
    let live: ReplayBase = startup::load(database).await?.into();
    let path = startup::journal_dir(&settings.data_dir);
    let inspection = FileJournal::inspect(&RealDisk::open(path)?)?;
    let (Some(mut reader), last) = (inspection.reader, inspection.last) else {
        return Ok(Vec::new());
    };
    let recall = startup::recall(database.clone());
    let runtime = Handle::current();
    let rehearsed = tokio::task::spawn_blocking(move || {
        let mut ask = |wanted| runtime.block_on(recall(wanted));
        actors::replay_state(live, reader.as_mut(), last, &mut ask)
    });
    let mut faults = Vec::new();
    match rehearsed.await? {
        // Beside a running server SQL goes on while it is read; what it has by now it has not refused.
        Err(ReplayError::Moved { .. }) => {}
        rehearsed => {
            told(rehearsed, &mut faults)?;
        }
    }
    Ok(faults)
}

fn told(
    replayed: Result<LiveState, ReplayError>,
    faults: &mut Vec<String>,
) -> anyhow::Result<Option<LiveState>> {
    match replayed {
        Ok(state) => Ok(Some(state)),
        Err(impossible @ ReplayError::Impossible { .. }) => {
            faults.push(impossible.to_string());
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

impl JournalReport {
    fn of(inspection: &Inspection) -> Self {
        let torn_tail = inspection.torn_tail.as_ref();
        Self {
            first: inspection.first.get(),
            last: inspection.last.get(),
            segments: inspection.segments,
            torn_tail: torn_tail.map(|tail| format!("{}@{}", tail.segment, tail.offset)),
            complete: inspection.first.get() <= 1,
        }
    }
}

impl Report {
    fn of(
        journal: JournalReport,
        database_position: Position,
        end: &LiveState,
        faults: Vec<String>,
    ) -> Self {
        Self {
            verdict: if faults.is_empty() { "ok" } else { "wrong" },
            journal,
            database_position: database_position.get(),
            products: end.products.len(),
            orders: end.orders.len(),
            units: Units::of(&end.products),
            faults,
        }
    }
}

impl Units {
    fn of(products: &[Product]) -> Self {
        products.iter().fold(Self::default(), |sum, product| {
            let stock = &product.stock;
            Self {
                total: sum.total + stock.total(),
                available: sum.available + stock.available,
                held: sum.held + stock.held,
                offered: sum.offered + stock.offered,
                sold: sum.sold + stock.sold,
                returning: sum.returning + stock.returning,
                withdrawn: sum.withdrawn + stock.withdrawn,
            }
        })
    }
}

fn print(report: &Report) {
    let Units {
        total,
        available,
        held,
        offered,
        sold,
        returning,
        withdrawn,
    } = report.units;
    let journal = &report.journal;
    println!(
        "journal   records {} to {} in {} segments{}",
        journal.first,
        journal.last,
        journal.segments,
        if journal.complete {
            ", from the first"
        } else {
            ""
        }
    );
    println!("database  followed to record {}", report.database_position);
    println!("products  {}   orders {}", report.products, report.orders);
    println!(
        "units     {total} = {available} available + {held} held + {offered} offered + {sold} sold \
         + {returning} returning + {withdrawn} withdrawn"
    );
    for fault in &report.faults {
        println!("wrong     {fault}");
    }
    println!("verdict   {}", report.verdict);
}
