-- Codes that were mailed, as keyed hashes: at most one for each account and purpose.
CREATE TABLE IF NOT EXISTS codes (
    account BLOB NOT NULL,
    purpose VARCHAR(16) NOT NULL,
    code_hash BLOB NOT NULL,
    tries BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (account, purpose)
) WITHOUT ROWID;
