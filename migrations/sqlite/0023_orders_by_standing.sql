CREATE INDEX IF NOT EXISTS orders_by_standing
ON orders (standing, placed_at);
