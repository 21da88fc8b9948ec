CREATE UNIQUE INDEX IF NOT EXISTS orders_by_id
ON orders (id);
