-- What an address said, sealed. A version never changes: orders name the version that they were placed with.
CREATE TABLE IF NOT EXISTS address_versions (
    id BLOB NOT NULL PRIMARY KEY,
    address BLOB NOT NULL,
    account BLOB NOT NULL,
    content BLOB NOT NULL,
    created_at BIGINT NOT NULL
) WITHOUT ROWID;
