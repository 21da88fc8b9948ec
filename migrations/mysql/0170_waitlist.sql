-- One person on the waitlist of a product a row, by the record by which they joined. ticket: the smaller comes first.
-- offer_units and offer_deadline are null while they wait.
CREATE TABLE IF NOT EXISTS waitlist (
    sequence BIGINT NOT NULL PRIMARY KEY,
    product BINARY(16) NOT NULL,
    buyer BINARY(16) NOT NULL,
    quantity BIGINT NOT NULL,
    joined_at BIGINT NOT NULL,
    ticket BIGINT NOT NULL,
    lapsed BIGINT NOT NULL,
    offer_units BIGINT,
    offer_deadline BIGINT,
    UNIQUE KEY waitlist_by_person (buyer, product),
    KEY waitlist_by_product (product, ticket)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
