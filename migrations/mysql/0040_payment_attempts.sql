-- The attempts to pay an order, by the sequence of the order and their place in it.
CREATE TABLE IF NOT EXISTS payment_attempts (
    sequence BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    id BINARY(16) NOT NULL,
    key_hash BINARY(16) NOT NULL,
    fingerprint BIGINT NOT NULL,
    method MEDIUMTEXT NOT NULL,
    started_at BIGINT NOT NULL,
    state VARCHAR(16) NOT NULL,
    answer VARCHAR(16),
    refund VARCHAR(16) NOT NULL,
    PRIMARY KEY (sequence, ordinal),
    UNIQUE KEY payment_attempts_by_id (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
