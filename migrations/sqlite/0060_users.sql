-- Accounts. username_index is a keyed hash of the name, never the name itself.
CREATE TABLE IF NOT EXISTS users (
    id BLOB NOT NULL PRIMARY KEY,
    role VARCHAR(16) NOT NULL,
    username_index BLOB,
    password_hash VARCHAR(255),
    created_at BIGINT NOT NULL
) WITHOUT ROWID;
