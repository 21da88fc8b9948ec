-- The lines of an order, by the sequence of the order and their place in it.
CREATE TABLE IF NOT EXISTS order_lines (
    sequence BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    product BINARY(16) NOT NULL,
    quantity BIGINT NOT NULL,
    unit_amount BIGINT NOT NULL,
    unit_currency VARCHAR(3) NOT NULL,
    PRIMARY KEY (sequence, ordinal),
    KEY order_lines_by_product (product, sequence)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
