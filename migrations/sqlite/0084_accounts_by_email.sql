CREATE UNIQUE INDEX IF NOT EXISTS accounts_by_email
ON accounts (email_index);
