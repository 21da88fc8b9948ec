CREATE INDEX IF NOT EXISTS order_outbox_by_account
ON order_outbox (account);
