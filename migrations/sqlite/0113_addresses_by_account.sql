CREATE INDEX IF NOT EXISTS addresses_by_account
ON addresses (account, id);
