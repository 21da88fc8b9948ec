CREATE INDEX IF NOT EXISTS accounts_by_role
ON accounts (role);
