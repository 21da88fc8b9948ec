-- Letters that are not sent yet, sealed with the data key of the account that they are for.
CREATE TABLE IF NOT EXISTS mail_outbox (
    id BINARY(16) NOT NULL PRIMARY KEY,
    account BINARY(16) NOT NULL,
    letter BLOB NOT NULL,
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    KEY mail_outbox_by_turn (next_at),
    KEY mail_outbox_by_account (account)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
