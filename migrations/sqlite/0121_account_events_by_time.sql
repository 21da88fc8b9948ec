CREATE INDEX IF NOT EXISTS account_events_by_time
ON account_events (at);
