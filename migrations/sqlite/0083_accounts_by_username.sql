CREATE UNIQUE INDEX IF NOT EXISTS accounts_by_username
ON accounts (username_index);
