-- One order a row. The key is the number of its record in the journal, so that new rows go to the end of the table.
-- standing: 0 may still change, 1 settled, 2 settled and its units are the buyer's. shipped_at is null until it is shipped.
CREATE TABLE IF NOT EXISTS orders (
    sequence INTEGER NOT NULL PRIMARY KEY,
    id BLOB NOT NULL,
    buyer BLOB NOT NULL,
    key_hash BLOB NOT NULL,
    fingerprint BIGINT NOT NULL,
    address BLOB,
    state VARCHAR(20) NOT NULL,
    standing BIGINT NOT NULL,
    placed_at BIGINT NOT NULL,
    pay_by BIGINT NOT NULL,
    deadline BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    total BIGINT NOT NULL,
    carrier TEXT,
    tracking_number TEXT,
    shipped_at BIGINT,
    delivered_at BIGINT,
    return_until BIGINT,
    return_requested_at BIGINT,
    return_reason TEXT,
    restock_at BIGINT,
    restocked BIGINT
);
