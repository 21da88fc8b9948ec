CREATE INDEX IF NOT EXISTS address_versions_by_account
ON address_versions (account);
