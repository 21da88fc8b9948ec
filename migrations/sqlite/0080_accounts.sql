-- Accounts. What is personal is sealed with the account's own data key, which data_key holds wrapped. Names and addresses
-- are found by keyed hashes, never by the words. An erased account has no data key. access_epoch grows whenever tokens
-- that were given out before must no longer be good.
CREATE TABLE IF NOT EXISTS accounts (
    id BLOB NOT NULL PRIMARY KEY,
    role VARCHAR(16) NOT NULL,
    username_index BLOB,
    email_index BLOB,
    password_hash VARCHAR(255),
    data_key BLOB,
    username BLOB,
    email BLOB,
    name BLOB,
    phone BLOB,
    language VARCHAR(8) NOT NULL,
    default_address BLOB,
    access_epoch BIGINT NOT NULL,
    access_changed_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    verified_at BIGINT,
    suspended_at BIGINT,
    erased_at BIGINT
) WITHOUT ROWID;
