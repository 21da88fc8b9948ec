-- One row for each thing an admin did, by the number of its record in the journal.
CREATE TABLE IF NOT EXISTS audit_log (
    position INTEGER NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    admin BLOB NOT NULL,
    request BLOB NOT NULL,
    act VARCHAR(32) NOT NULL,
    product BLOB NOT NULL,
    before_json TEXT,
    after_json TEXT
);
