-- What happened to accounts: sign-ins, denials, reuse of tokens, acts of admins. Nothing personal: client is a keyed hash.
-- Rows are numbered without gaps, and mac covers the row and the mac before it, so that a lost or changed row shows.
CREATE TABLE IF NOT EXISTS account_events (
    sequence BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    act VARCHAR(32) NOT NULL,
    actor BINARY(16),
    account BINARY(16),
    client BINARY(16),
    request BINARY(16),
    detail VARCHAR(255),
    mac BINARY(32) NOT NULL,
    KEY account_events_by_time (at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
