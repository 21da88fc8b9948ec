-- The lines of an order, by the sequence of the order and their place in it.
CREATE TABLE IF NOT EXISTS order_lines (
    sequence BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    product BLOB NOT NULL,
    quantity BIGINT NOT NULL,
    unit_amount BIGINT NOT NULL,
    unit_currency VARCHAR(3) NOT NULL,
    PRIMARY KEY (sequence, ordinal)
) WITHOUT ROWID;
