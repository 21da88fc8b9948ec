-- How many units of a product a person has in hand: holds, is offered, or has bought. Who has none has no row.
CREATE TABLE IF NOT EXISTS in_hand (
    product BLOB NOT NULL,
    buyer BLOB NOT NULL,
    units BIGINT NOT NULL,
    PRIMARY KEY (product, buyer)
) WITHOUT ROWID;
