-- How far, but not of which journal, which the next start finds out.
INSERT IGNORE INTO followers (name, position)
SELECT 'projection', position
FROM projection
WHERE id = 1;
