-- Accounts of before were made by `seed` and `admin create`, which vouched for them.
INSERT OR IGNORE INTO accounts (id, role, language, access_epoch, access_changed_at, created_at, verified_at)
SELECT id, role, 'en', 0, 0, created_at, created_at
FROM users;
