CREATE UNIQUE INDEX IF NOT EXISTS users_by_username
ON users (username_index);
