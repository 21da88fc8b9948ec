CREATE UNIQUE INDEX IF NOT EXISTS payment_attempts_by_id
ON payment_attempts (id);
