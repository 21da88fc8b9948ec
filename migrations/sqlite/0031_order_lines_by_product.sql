CREATE INDEX IF NOT EXISTS order_lines_by_product
ON order_lines (product, sequence);
