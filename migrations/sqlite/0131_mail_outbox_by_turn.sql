CREATE INDEX IF NOT EXISTS mail_outbox_by_turn
ON mail_outbox (next_at);
