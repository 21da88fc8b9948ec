-- One person on the waitlist of a product a row, by the record by which they joined. ticket: the smaller comes first.
-- offer_units and offer_deadline are null while they wait.
CREATE TABLE IF NOT EXISTS waitlist (
    sequence INTEGER NOT NULL PRIMARY KEY,
    product BLOB NOT NULL,
    buyer BLOB NOT NULL,
    quantity BIGINT NOT NULL,
    joined_at BIGINT NOT NULL,
    ticket BIGINT NOT NULL,
    lapsed BIGINT NOT NULL,
    offer_units BIGINT,
    offer_deadline BIGINT
);
