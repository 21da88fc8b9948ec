-- The address book. What an address says is in its current version.
CREATE TABLE IF NOT EXISTS addresses (
    id BINARY(16) NOT NULL PRIMARY KEY,
    account BINARY(16) NOT NULL,
    version BINARY(16) NOT NULL,
    created_at BIGINT NOT NULL,
    KEY addresses_by_account (account, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
