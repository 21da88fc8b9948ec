//! The table `payment_attempts`.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::bulk::{BulkInsert, select_by_keys};
use super::columns::{Columns, Values};
use super::words;
use super::{Dialect, Error};
use crate::domain::{Attempt, AttemptId, Fingerprint, KeyHash};

/// In the order in which `read` and `put` go through them.
const COLUMNS: [&str; 10] = [
    "sequence",
    "id",
    "key_hash",
    "fingerprint",
    "method",
    "started_at",
    "state",
    "answer",
    "refund",
    "ordinal",
];

/// An attempt and the sequence of its order.
pub(super) type AttemptRow = (u64, Attempt);

/// An attempt to be written, and its place in its order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlacedAttempt<'a> {
    pub(crate) sequence: u64,
    pub(crate) ordinal: i64,
    pub(crate) attempt: &'a Attempt,
}

#[derive(Debug)]
pub(super) struct Statements {
    insert_or_overwrite: BulkInsert,
}

impl Statements {
    pub(super) fn new(dialect: Dialect) -> Self {
        let tail = dialect.overwrite("sequence, ordinal", &["state", "answer", "refund"]);
        Self {
            insert_or_overwrite: BulkInsert::new("payment_attempts", &COLUMNS, &tail),
        }
    }

    pub(super) async fn insert_or_overwrite(
        &self,
        connection: &mut AnyConnection,
        attempts: &[PlacedAttempt<'_>],
    ) -> Result<(), Error> {
        self.insert_or_overwrite
            .run(connection, attempts, put)
            .await
    }
}

pub(super) async fn find(
    connection: &mut AnyConnection,
    sequences: &[u64],
) -> Result<Vec<AttemptRow>, Error> {
    let head = format!("{} WHERE a.sequence IN", select());
    let tail = " ORDER BY a.sequence, a.ordinal";
    let put_sequence = |values: &mut Values, sequence: &u64| values.count(*sequence);
    let mut attempts = Vec::with_capacity(sequences.len());
    select_by_keys(connection, &head, sequences, tail, put_sequence, |row| {
        attempts.push(read(row)?);
        Ok(())
    })
    .await?;
    Ok(attempts)
}

/// The columns of an attempt, to be followed by conditions on `a`.
pub(super) fn select() -> String {
    format!("SELECT a.{} FROM payment_attempts a", COLUMNS.join(", a."))
}

fn put(values: &mut Values, placed: &PlacedAttempt<'_>) {
    let attempt = placed.attempt;
    values.count(placed.sequence);
    values.id(attempt.id.get());
    values.id(attempt.key.get());
    values.bits(attempt.fingerprint.0);
    values.text(&attempt.method);
    values.time(attempt.started_at);
    values.text(words::attempt_state_word(attempt.state));
    values.text_or_null(attempt.answer.map(words::answer_word));
    values.text(words::refund_word(attempt.refund));
    values.number(placed.ordinal);
}

pub(super) fn read(row: &AnyRow) -> Result<AttemptRow, Error> {
    let mut columns = Columns::of(row);
    let sequence = columns.count("the sequence of an attempt")?;
    let attempt = Attempt {
        id: AttemptId::new(columns.id()?),
        key: KeyHash::new(columns.id()?),
        fingerprint: Fingerprint(columns.bits()?),
        method: columns.text()?.into(),
        started_at: columns.time()?,
        state: words::attempt_state(columns.text()?)?,
        answer: columns.text_or_null()?.map(words::answer).transpose()?,
        refund: words::refund(columns.text()?)?,
    };
    Ok((sequence, attempt))
}
