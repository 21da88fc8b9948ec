//! The table `account_events`: what happened to accounts, numbered without gaps, each row sealed to the one before.
//!
//! A row that is changed, or lost from the middle, breaks the chain of codes, which [`Database::check_account_events`] finds. Rows cut
//! off at the end do not show; the backup of another day does.
//!
//! **Invariant:** nothing here is personal. Acts and details are words of Layby, clients are keyed hashes.

use std::sync::Arc;

use futures_util::FutureExt;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection};

use super::bulk::BulkInsert;
use super::columns::{Columns, Values};
use super::{Database, Error};
use crate::domain::{BuyerId, RequestId, Timestamp};

const COLUMNS: [&str; 9] = [
    "sequence", "at", "act", "actor", "account", "client", "request", "detail", "mac",
];

/// Rows that are read at once when the chain is checked.
const CHECK_ROWS: u32 = 1_000;

/// Makes the code of a row from the code before it and the bytes of the row.
pub type Chain = Arc<dyn Fn(&[u8; 32], &[u8]) -> [u8; 32] + Send + Sync>;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountEvent {
    pub at: Timestamp,
    pub act: &'static str,
    /// Who did it, if that is known.
    pub actor: Option<BuyerId>,
    /// Whose account it is about.
    pub account: Option<BuyerId>,
    /// From where, as a keyed hash.
    pub client: Option<u128>,
    pub request: Option<RequestId>,
    /// A few words, at most 255 characters.
    pub detail: Option<Box<str>>,
}

/// An event as it is in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEvent {
    pub sequence: u64,
    pub at: Timestamp,
    pub act: Box<str>,
    pub actor: Option<BuyerId>,
    pub account: Option<BuyerId>,
    pub client: Option<u128>,
    pub request: Option<RequestId>,
    pub detail: Option<Box<str>>,
    mac: [u8; 32],
}

impl Database {
    /// Appends events in their order, all or none. A power cut may take the last of them.
    pub async fn append_account_events(
        &self,
        chain: Chain,
        events: Vec<AccountEvent>,
    ) -> Result<(), Error> {
        let dialect = self.dialect();
        let turn = self.event_turn();
        self.write_lightly(move |connection| {
            async move {
                let _turn = turn.lock().await;
                let mut transaction = connection.begin_with(dialect.begin_write()).await?;
                append(&mut transaction, &chain, &events).await?;
                Ok(transaction.commit().await?)
            }
            .boxed()
        })
        .await
    }

    /// Events before `before`, the latest first.
    pub async fn account_events(&self, before: u64, limit: u32) -> Result<Vec<KeptEvent>, Error> {
        self.read(move |connection| newest(connection, before, limit).boxed())
            .await
    }

    /// The sequence of the first event that is missing or not as it was written; `None`: the chain holds.
    pub async fn check_account_events(&self, chain: Chain) -> Result<Option<u64>, Error> {
        self.read(move |connection| async move { first_broken(connection, &chain).await }.boxed())
            .await
    }
}

/// Within the transaction of what the events tell of. The caller holds the turn: two who append at once would both
/// continue the same row.
pub(super) async fn append(
    connection: &mut AnyConnection,
    chain: &Chain,
    events: &[AccountEvent],
) -> Result<(), Error> {
    let (mut sequence, mut mac) = last(connection).await?;
    let rows: Vec<KeptEvent> = events
        .iter()
        .map(|event| {
            sequence += 1;
            let row = KeptEvent::of(sequence, event, chain, &mac);
            mac = row.mac;
            row
        })
        .collect();
    BulkInsert::new("account_events", &COLUMNS, "")
        .run(connection, &rows, put)
        .await
}

impl KeptEvent {
    fn of(sequence: u64, event: &AccountEvent, chain: &Chain, before: &[u8; 32]) -> Self {
        let mut row = Self {
            sequence,
            at: event.at,
            act: event.act.into(),
            actor: event.actor,
            account: event.account,
            client: event.client,
            request: event.request,
            detail: event.detail.clone(),
            mac: [0; 32],
        };
        row.mac = chain(before, &row.to_bytes());
        row
    }

    /// Everything but the code; each part with its length, so that no two rows look alike.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        let mut part = |value: Option<&[u8]>| match value {
            None => bytes.push(0),
            Some(value) => {
                bytes.push(1);
                bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
                bytes.extend_from_slice(value);
            }
        };
        part(Some(&self.sequence.to_le_bytes()));
        part(Some(&self.at.as_micros().to_le_bytes()));
        part(Some(self.act.as_bytes()));
        part(
            self.actor
                .map(BuyerId::to_bytes)
                .as_ref()
                .map(<[u8; 16]>::as_slice),
        );
        part(
            self.account
                .map(BuyerId::to_bytes)
                .as_ref()
                .map(<[u8; 16]>::as_slice),
        );
        part(
            self.client
                .map(u128::to_be_bytes)
                .as_ref()
                .map(<[u8; 16]>::as_slice),
        );
        part(
            self.request
                .map(RequestId::to_bytes)
                .as_ref()
                .map(<[u8; 16]>::as_slice),
        );
        part(self.detail.as_deref().map(str::as_bytes));
        bytes
    }
}

async fn last(connection: &mut AnyConnection) -> Result<(u64, [u8; 32]), Error> {
    let row = sqlx::query(
        "SELECT sequence, mac
         FROM account_events
         ORDER BY sequence DESC
         LIMIT 1",
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok((0, [0; 32]));
    };
    let mut columns = Columns::of(&row);
    Ok((columns.count("the number of an event")?, columns.hash()?))
}

async fn newest(
    connection: &mut AnyConnection,
    before: u64,
    limit: u32,
) -> Result<Vec<KeptEvent>, Error> {
    let rows = sqlx::query(
        "SELECT sequence, at, act, actor, account, client, request, detail, mac
         FROM account_events
         WHERE sequence < ?
         ORDER BY sequence DESC
         LIMIT ?",
    )
    .bind(i64::try_from(before).unwrap_or(i64::MAX))
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

async fn oldest(connection: &mut AnyConnection, after: u64) -> Result<Vec<KeptEvent>, Error> {
    let rows = sqlx::query(
        "SELECT sequence, at, act, actor, account, client, request, detail, mac
         FROM account_events
         WHERE sequence > ?
         ORDER BY sequence
         LIMIT ?",
    )
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(i64::from(CHECK_ROWS))
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

async fn first_broken(connection: &mut AnyConnection, chain: &Chain) -> Result<Option<u64>, Error> {
    let (mut sequence, mut mac) = (0, [0; 32]);
    loop {
        let rows = oldest(connection, sequence).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        for row in rows {
            sequence += 1;
            if row.sequence != sequence || row.mac != chain(&mac, &row.to_bytes()) {
                return Ok(Some(sequence));
            }
            mac = row.mac;
        }
    }
}

fn put(values: &mut Values, row: &KeptEvent) {
    values.count(row.sequence);
    values.time(row.at);
    values.text(&row.act);
    values.id_or_null(row.actor.map(BuyerId::get));
    values.id_or_null(row.account.map(BuyerId::get));
    values.id_or_null(row.client);
    values.id_or_null(row.request.map(RequestId::get));
    values.text_or_null(row.detail.as_deref());
    values.bytes(&row.mac);
}

fn read(row: &AnyRow) -> Result<KeptEvent, Error> {
    let mut columns = Columns::of(row);
    Ok(KeptEvent {
        sequence: columns.count("the number of an event")?,
        at: columns.time()?,
        act: columns.text()?.into(),
        actor: columns.id_or_null()?.map(BuyerId::new),
        account: columns.id_or_null()?.map(BuyerId::new),
        client: columns.id_or_null()?,
        request: columns.id_or_null()?.map(RequestId::new),
        detail: columns.text_or_null()?.map(Into::into),
        mac: columns.hash()?,
    })
}
