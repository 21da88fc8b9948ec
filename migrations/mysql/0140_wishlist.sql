-- What accounts want, a line a product. It takes no stock.
CREATE TABLE IF NOT EXISTS wishlist (
    account BINARY(16) NOT NULL,
    product BINARY(16) NOT NULL,
    quantity BIGINT NOT NULL,
    added_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (account, product)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
