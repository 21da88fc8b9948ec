CREATE INDEX IF NOT EXISTS mail_outbox_by_account
ON mail_outbox (account);
