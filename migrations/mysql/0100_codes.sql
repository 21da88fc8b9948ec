-- Codes that were mailed, as keyed hashes: at most one for each account and purpose.
CREATE TABLE IF NOT EXISTS codes (
    account BINARY(16) NOT NULL,
    purpose VARCHAR(16) NOT NULL,
    code_hash BINARY(32) NOT NULL,
    tries BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (account, purpose),
    KEY codes_by_expiry (expires_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
