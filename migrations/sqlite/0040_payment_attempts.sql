-- The attempts to pay an order, by the sequence of the order and their place in it.
CREATE TABLE IF NOT EXISTS payment_attempts (
    sequence BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    id BLOB NOT NULL,
    key_hash BLOB NOT NULL,
    fingerprint BIGINT NOT NULL,
    method TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    state VARCHAR(16) NOT NULL,
    answer VARCHAR(16),
    refund VARCHAR(16) NOT NULL,
    PRIMARY KEY (sequence, ordinal)
) WITHOUT ROWID;
