-- The last instant that the rows know of, changed in the same transaction as the rows. 0: not known.
CREATE TABLE IF NOT EXISTS engine_time (
    id INTEGER NOT NULL PRIMARY KEY,
    last_stamp BIGINT NOT NULL
);
