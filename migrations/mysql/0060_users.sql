-- Accounts. username_index is a keyed hash of the name, never the name itself.
CREATE TABLE IF NOT EXISTS users (
    id BINARY(16) NOT NULL PRIMARY KEY,
    role VARCHAR(16) NOT NULL,
    username_index BINARY(32),
    password_hash VARCHAR(255),
    created_at BIGINT NOT NULL,
    UNIQUE KEY users_by_username (username_index),
    KEY users_by_role (role)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
