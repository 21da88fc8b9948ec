-- How far the rows follow the journal: one row, changed in the same transaction as the rows.
CREATE TABLE IF NOT EXISTS projection (
    id INTEGER NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);
