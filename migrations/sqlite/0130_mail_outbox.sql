-- Letters that are not sent yet, sealed with the data key of the account that they are for.
CREATE TABLE IF NOT EXISTS mail_outbox (
    id BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL,
    letter BLOB NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
) WITHOUT ROWID;
