CREATE INDEX IF NOT EXISTS accounts_by_access_change
ON accounts (access_changed_at);
