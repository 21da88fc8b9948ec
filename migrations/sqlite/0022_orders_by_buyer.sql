CREATE INDEX IF NOT EXISTS orders_by_buyer
ON orders (buyer, sequence);
