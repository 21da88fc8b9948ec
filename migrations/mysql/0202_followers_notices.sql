-- No row: nobody wrote letters.
INSERT IGNORE INTO followers (name, position)
SELECT 'notices', position
FROM notices
WHERE id = 1;
