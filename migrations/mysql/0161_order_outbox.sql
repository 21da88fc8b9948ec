-- Letters about orders that are not sent yet, sealed like those of mail_outbox.
CREATE TABLE IF NOT EXISTS order_outbox (
    id BINARY(16) NOT NULL PRIMARY KEY,
    account BINARY(16) NOT NULL,
    letter BLOB NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    KEY order_outbox_by_end (expires_at, id),
    KEY order_outbox_by_account (account)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
