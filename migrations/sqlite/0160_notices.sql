-- How far letters follow the journal: one row, changed in the same transaction as the letters. No row: nobody writes any.
CREATE TABLE IF NOT EXISTS notices (
    id INTEGER NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);
