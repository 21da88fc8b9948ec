-- One row for each thing that somebody of the shop did, by the number of its record in the journal: to a product, or to
-- an order.
CREATE TABLE IF NOT EXISTS audit_entries (
    position INTEGER NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    admin BLOB NOT NULL,
    request BLOB NOT NULL,
    act VARCHAR(32) NOT NULL,
    product BLOB,
    order_id BLOB,
    before_json TEXT,
    after_json TEXT
);
