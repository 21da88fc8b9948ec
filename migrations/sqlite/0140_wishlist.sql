-- What accounts want, a line a product. It takes no stock.
CREATE TABLE IF NOT EXISTS wishlist (
    account BLOB NOT NULL,
    product BLOB NOT NULL,
    quantity BIGINT NOT NULL,
    added_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (account, product)
) WITHOUT ROWID;
