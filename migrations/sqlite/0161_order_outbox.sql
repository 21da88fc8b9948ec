-- Letters about orders that are not sent yet, sealed like those of mail_outbox.
CREATE TABLE IF NOT EXISTS order_outbox (
    id BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL,
    letter BLOB NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
) WITHOUT ROWID;
