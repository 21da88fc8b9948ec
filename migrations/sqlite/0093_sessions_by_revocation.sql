CREATE INDEX IF NOT EXISTS sessions_by_revocation
ON sessions (revoked_at);
