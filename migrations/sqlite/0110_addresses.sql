-- The address book. What an address says is in its current version.
CREATE TABLE IF NOT EXISTS addresses (
    id BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL,
    version BLOB NOT NULL,
    created_at BIGINT NOT NULL
) WITHOUT ROWID;
