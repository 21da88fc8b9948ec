-- How many units of a product a person has in hand: holds, is offered, or has bought. Who has none has no row.
CREATE TABLE IF NOT EXISTS in_hand (
    product BINARY(16) NOT NULL,
    buyer BINARY(16) NOT NULL,
    units BIGINT NOT NULL,
    PRIMARY KEY (product, buyer)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
