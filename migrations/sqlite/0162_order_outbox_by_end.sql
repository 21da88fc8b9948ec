CREATE INDEX IF NOT EXISTS order_outbox_by_end
ON order_outbox (expires_at);
