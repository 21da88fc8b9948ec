-- What an address said, sealed. A version never changes: orders name the version that they were placed with.
CREATE TABLE IF NOT EXISTS address_versions (
    id BINARY(16) NOT NULL PRIMARY KEY,
    address BINARY(16) NOT NULL,
    account BINARY(16) NOT NULL,
    content BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    KEY address_versions_by_account (account)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
