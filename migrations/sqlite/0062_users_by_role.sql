CREATE INDEX IF NOT EXISTS users_by_role
ON users (role);
