-- What happened to accounts: sign-ins, denials, reuse of tokens, acts of admins. Nothing personal: client is a keyed hash.
-- Rows are numbered without gaps, and mac covers the row and the mac before it, so that a lost or changed row shows.
CREATE TABLE IF NOT EXISTS account_events (
    sequence INTEGER NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    act VARCHAR(32) NOT NULL,
    actor BLOB,
    account BLOB,
    client BLOB,
    request BLOB,
    detail VARCHAR(255),
    mac BLOB NOT NULL
);
