-- One row for each thing that somebody of the shop did, by the number of its record in the journal: to a product, or to
-- an order.
CREATE TABLE IF NOT EXISTS audit_entries (
    position BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    admin BINARY(16) NOT NULL,
    request BINARY(16) NOT NULL,
    act VARCHAR(32) NOT NULL,
    product BINARY(16),
    order_id BINARY(16),
    before_json MEDIUMTEXT,
    after_json MEDIUMTEXT
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
