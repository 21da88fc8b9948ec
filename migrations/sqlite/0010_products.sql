-- One product a row: what it is, when it is on sale, and where its units are. Times are microseconds since 1970 in UTC.
CREATE TABLE IF NOT EXISTS products (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    image_url TEXT,
    price_amount BIGINT NOT NULL,
    price_currency VARCHAR(3) NOT NULL,
    restock_to VARCHAR(16) NOT NULL,
    registered_at BIGINT NOT NULL,
    deleted BIGINT NOT NULL,
    window_opens_at BIGINT,
    window_closes_at BIGINT,
    window_paused BIGINT,
    window_per_person_limit BIGINT,
    window_hold_ttl BIGINT,
    stock_available BIGINT NOT NULL,
    stock_held BIGINT NOT NULL,
    stock_offered BIGINT NOT NULL,
    stock_sold BIGINT NOT NULL,
    stock_returning BIGINT NOT NULL,
    stock_withdrawn BIGINT NOT NULL,
    stock_withdrawal_pending BIGINT NOT NULL
);
